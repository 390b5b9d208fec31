//! One control stanza: the fields of a package as its author wrote them, in order.
//!
//! In comes the text of a `control` member; out come names and values. Field names compare without
//! regard to case; a value keeps its inner lines as they stand, only blanks around it are cut.
//! Meaning (relations, versions) is left to the files of that name. Format: deb-control(5) and
//! deb822(5).

/// An ordered list of fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

/// Why a text is not one control stanza.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line that neither continues a field nor begins one.
    #[error("line {line} of the control stanza is no field")]
    NoField {
        /// Counted from 1.
        line: usize,
    },
    /// The same field twice.
    #[error("line {line} of the control stanza repeats the field {name}")]
    Duplicate {
        /// Counted from 1.
        line: usize,
        /// The field's name.
        name: String,
    },
    /// More than one stanza where one belongs.
    #[error("line {line} begins a second control stanza")]
    SecondStanza {
        /// Counted from 1.
        line: usize,
    },
    /// Bytes that are no text.
    #[error("the control stanza is not UTF-8")]
    NotUtf8,
    /// A control character, which could forge a line or steer a terminal.
    #[error("line {line} of the control stanza holds a control character")]
    ControlCharacter {
        /// Counted from 1.
        line: usize,
    },
    /// A field that every package has is missing.
    #[error("the control stanza has no field {name}")]
    Missing {
        /// The field's name.
        name: &'static str,
    },
}

impl Stanza {
    /// Reads the text of a `control` member: exactly one stanza.
    ///
    /// # Errors
    /// Each of [`Error`] but [`Error::Missing`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8)?;
        let mut stanza = Self::default();
        let mut ended = false;
        for (line, text) in (1..).zip(text.lines()) {
            if text.chars().any(|letter| letter.is_control() && letter != '\t') {
                return Err(Error::ControlCharacter { line });
            }
            if text.trim().is_empty() {
                ended = !stanza.fields.is_empty();
            } else if ended {
                return Err(Error::SecondStanza { line });
            } else {
                stanza.read_line(line, text)?;
            }
        }
        Ok(stanza)
    }

    fn read_line(&mut self, line: usize, text: &str) -> Result<(), Error> {
        if text.starts_with([' ', '\t']) {
            let (_, value) = self.fields.last_mut().ok_or(Error::NoField { line })?;
            value.push('\n');
            value.push_str(text.trim_end());
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or(Error::NoField { line })?;
        let well_formed = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.starts_with(['#', '-']) || !well_formed {
            return Err(Error::NoField { line });
        }
        if self.get(name).is_some() {
            return Err(Error::Duplicate { line, name: name.to_owned() });
        }
        self.fields.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
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
        let fields: Vec<_> = stanza.iter().collect();
        let description = ("Description", "greets\n politely\n .\n at length");
        assert_eq!(fields, [("Package", "hello"), description, ("essential", "yes")]);
        assert_eq!(stanza.get("PACKAGE"), Some("hello"));
        assert!(stanza.is_yes("Essential"));
        assert_eq!(stanza.require("Version"), Err(Error::Missing { name: "Version" }));
    }

    #[test]
    fn what_is_not_one_stanza_is_refused() {
        let cases: [(&[u8], Error); 7] = [
            (b" lost\n", Error::NoField { line: 1 }),
            (b"Package hello\n", Error::NoField { line: 1 }),
            (b"-A: b\n", Error::NoField { line: 1 }),
            (b"A: b\na: c\n", Error::Duplicate { line: 2, name: "a".to_owned() }),
            (b"A: b\n\nC: d\n", Error::SecondStanza { line: 3 }),
            (b"A: \xff\n", Error::NotUtf8),
            (b"A: b\x1b]0;\n", Error::ControlCharacter { line: 1 }),
        ];
        for (text, error) in cases {
            assert_eq!(Stanza::parse(text), Err(error));
        }
    }
}
