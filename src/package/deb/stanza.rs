//! The control stanza of one package, owned: fields as the package's author wrote them, in order.
//!
//! In comes the text of a `control` file; out come names and values that live as long as needed.
//! Reading is [`control`]'s work; meaning (relations, versions) is left to the files
//! of that name. Format: deb-control(5) and deb822(5).

use super::control;

/// An ordered list of fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

/// Why a text is not the stanza of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not one stanza.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// A field that every package has is missing.
    #[error("the control file has no field {name}")]
    Missing {
        /// The field's name.
        name: &'static str,
    },
}

impl Stanza {
    /// Reads the text of a `control` file: exactly one stanza.
    ///
    /// # Errors
    /// [`Error::Control`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let stanza = control::single(bytes)?;
        let fields = stanza.fields().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self { fields: fields.collect() })
    }

    /// Returns the value of a field, blanks around it cut; inner lines keep their first blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the value of a field that every package has.
    ///
    /// # Errors
    /// [`Error::Missing`], also for an empty value.
    pub fn require(&self, name: &'static str) -> Result<&str, Error> {
        self.get(name).filter(|value| !value.is_empty()).ok_or(Error::Missing { name })
    }

    /// Whether a field says `yes`.
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    /// Returns the fields in the author's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_inner_lines() {
        let text =
            b"Package: hello\nDescription: greets\n politely\n .\n at length \nessential:yes\n";
        let stanza = Stanza::parse(text).unwrap();
        let names: Vec<_> = stanza.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Package", "Description", "essential"]);
        assert_eq!(stanza.get("PACKAGE"), Some("hello"));
        assert!(stanza.get("Description").unwrap().starts_with("greets\n politely\n .\n at"));
        assert!(stanza.is_yes("Essential"));
        assert_eq!(stanza.require("Version"), Err(Error::Missing { name: "Version" }));
    }

    #[test]
    fn a_second_stanza_is_refused() {
        assert!(matches!(Stanza::parse(b"A: b\n\nC: d\n"), Err(Error::Control(_))));
    }
}
