//! Control files: stanzas of `Field: value`, separated by empty lines.
//!
//! The bytes of a `Packages`, `Release` or `control` file come in; stanzas that borrow them go out,
//! one at a time, in a single pass. Nothing is copied, and no field is interpreted.
//!
//! Stricter than deb822(5) allows, because other readers disagree on the rest: the text is UTF-8
//! without control characters (a carriage return is one), no line consists of blanks, no field
//! appears twice in a stanza, and no comments are known.

use std::fmt;

/// Returns the stanzas of `bytes` in order; after an error, nothing more.
pub fn stanzas(bytes: &[u8]) -> Stanzas<'_> {
    let (rest, failure) = match check_characters(bytes) {
        Ok(text) => (text, None),
        Err(error) => ("", Some(error)),
    };
    Stanzas { rest, line: 1, failure }
}

/// Reads a file that must be one stanza, such as the `control` file of a package.
///
/// # Errors
/// [`Error`] for broken text, no stanza, or more than one.
pub fn single(bytes: &[u8]) -> Result<Stanza<'_>, Error> {
    let mut stanzas = stanzas(bytes);
    let broken = |line, rule| Error { line, rule };
    let stanza = stanzas.next().ok_or(broken(1, "it has no fields"))??;
    match stanzas.next().transpose()? {
        Some(second) => Err(broken(second.line, "a second stanza follows")),
        None => Ok(stanza),
    }
}

/// More fields than anyone needs. Each is compared with all others, so there must be a limit.
const MAX_FIELDS: usize = 256;

/// One group of fields. Not empty.
#[derive(Clone)]
pub struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
    line: usize,
}

impl<'a> Stanza<'a> {
    /// Returns the value of a field, whose name is found in any case.
    ///
    /// The value has no white space around it. Its further lines, if any, begin with a blank.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let field = self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| *value)
    }

    /// Returns names and values in the order of the file.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().copied()
    }

    /// The number of its first line, from 1.
    pub const fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Debug for Stanza<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields()).finish()
    }
}

/// The stanzas of a text.
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    rest: &'a str,
    line: usize,
    failure: Option<Error>,
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failure.take() {
            return Some(Err(error));
        }
        let stanza = self.read_stanza();
        if stanza.is_err() {
            self.rest = "";
        }
        stanza.transpose()
    }
}

impl<'a> Stanzas<'a> {
    fn read_stanza(&mut self) -> Result<Option<Stanza<'a>>, Error> {
        while self.rest.starts_with('\n') {
            self.take_line();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(32);
        while !(self.rest.is_empty() || self.rest.starts_with('\n')) {
            let (name, value) = self.read_field()?;
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(self.broken("a field appears twice in one stanza"));
            }
            if fields.len() == MAX_FIELDS {
                return Err(self.broken("a stanza has more than 256 fields"));
            }
            fields.push((name, value));
        }
        Ok(Some(Stanza { fields, line }))
    }

    /// Takes a field with its continuation lines, which begin with a blank.
    fn read_field(&mut self) -> Result<(&'a str, &'a str), Error> {
        let whole = self.rest;
        let first = self.take_line();
        let Some((name, _)) = first.split_once(':') else {
            return Err(self.broken(if first.starts_with([' ', '\t']) {
                "a continuation line follows no field"
            } else {
                "a line is neither `Field: value` nor a continuation"
            }));
        };
        let printable = name.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || name.starts_with(['#', '-']) || !printable {
            return Err(self.broken("the name of a field is not well-formed"));
        }
        while self.rest.starts_with([' ', '\t']) {
            if self.take_line().trim_ascii().is_empty() {
                return Err(self.broken("a line consists of blanks"));
            }
        }
        let end = whole.len().saturating_sub(self.rest.len());
        let value = whole.get(name.len().saturating_add(1)..end).unwrap_or_default();
        Ok((name, value.trim_ascii()))
    }

    fn take_line(&mut self) -> &'a str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line = self.line.saturating_add(1);
        line
    }

    /// An error in the line that was taken last.
    const fn broken(&self, rule: &'static str) -> Error {
        Error { line: self.line.saturating_sub(1), rule }
    }
}

/// Returns the bytes as text if they hold no control characters but line feed and tab.
fn check_characters(bytes: &[u8]) -> Result<&str, Error> {
    let control = |b: &u8| (*b < b' ' && *b != b'\n' && *b != b'\t') || *b == 0x7f;
    let line_at = |at: usize| {
        let before = bytes.get(..at).unwrap_or_default();
        before.iter().filter(|b| **b == b'\n').count().saturating_add(1)
    };
    // Whole blocks without an early exit, which the compiler turns into vector instructions.
    let suspect = bytes.chunks(4096).any(|c| c.iter().fold(false, |found, b| found | control(b)));
    if suspect && let Some(at) = bytes.iter().position(control) {
        return Err(Error { line: line_at(at), rule: "it holds a control character" });
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Error { line: line_at(error.valid_up_to()), rule: "it is not UTF-8" })
}

/// A control file that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of a control file is broken: {rule}")]
pub struct Error {
    line: usize,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Vec<(&str, &str)>> {
        stanzas(text.as_bytes()).map(|stanza| stanza.unwrap().fields().collect()).collect()
    }

    #[test]
    fn stanzas_are_separated_by_empty_lines_and_values_are_trimmed() {
        assert_eq!(read(""), Vec::<Vec<_>>::new());
        assert_eq!(read("\n\n"), Vec::<Vec<_>>::new());
        assert_eq!(read("A: 1\nB:2 \n\n\nA:\t3"), [vec![("A", "1"), ("B", "2")], vec![("A", "3")]]);
        assert_eq!(read("\nA:\nB: x:y\n"), [[("A", ""), ("B", "x:y")]]);
    }

    #[test]
    fn further_lines_belong_to_the_field_above() {
        let text =
            "Description: a thing\n that does\n .\n\tmore\nConffiles:\n /etc/a 1\n /etc/b 2\n";
        let expected = [
            ("Description", "a thing\n that does\n .\n\tmore"),
            ("Conffiles", "/etc/a 1\n /etc/b 2"),
        ];
        assert_eq!(read(text), [expected]);
    }

    #[test]
    fn a_field_is_found_in_any_case() {
        let stanza = single(b"Package: a\npre-depends: b\n").unwrap();
        assert_eq!(stanza.get("Pre-Depends"), Some("b"));
        assert_eq!(stanza.get("PACKAGE"), Some("a"));
        assert_eq!(stanza.get("Depends"), None);
    }

    #[test]
    fn a_broken_text_is_refused_with_line_and_rule() {
        let cases: [(&[u8], usize, &str); 14] = [
            (b"A: 1\nB\n", 2, "neither"),
            (b" A: 1\n", 1, "name of a field"),
            (b" A\n", 1, "follows no field"),
            (b"A: 1\n\n B\n", 3, "follows no field"),
            (b"A: 1\n \nB: 1\n", 2, "blanks"),
            (b"A: 1\nB: 1\na: 2\n", 3, "twice"),
            (b": 1\n", 1, "name of a field"),
            (b"#A: 1\n", 1, "name of a field"),
            (b"-----BEGIN: 1\n", 1, "name of a field"),
            (b"A B: 1\n", 1, "name of a field"),
            (b"A: 1\nB: \x00\n", 2, "control character"),
            (b"A: 1\r\n", 1, "control character"),
            (b"A: \x1b[2J\n", 1, "control character"),
            (b"A: 1\nB: \xff\n", 2, "UTF-8"),
        ];
        for (text, line, rule) in cases {
            let mut found = stanzas(text).filter_map(Result::err);
            let error = found.next().unwrap();
            let shown = error.to_string();
            assert!(error.line == line && shown.contains(rule), "{text:?}: {shown}");
            assert!(found.next().is_none());
        }
    }

    #[test]
    fn a_stanza_has_at_most_256_fields() {
        let text = |count| (0..count).map(|n| format!("F{n}: 1\n")).collect::<String>();
        assert!(single(text(256).as_bytes()).is_ok());
        assert_eq!(single(text(257).as_bytes()).unwrap_err().line, 257);
    }

    #[test]
    fn a_package_has_exactly_one_stanza() {
        assert_eq!(single(b"").unwrap_err().line, 1);
        assert_eq!(single(b"A: 1\n\nB: 2\n").unwrap_err().line, 3);
        assert_eq!(single(b"\nA: 1\n\n").unwrap().line(), 2);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again_and_nothing_panics(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            text in "([A-C]{1,2}:[ a:\n]{0,4}\n){0,4}",
        ) {
            for stanza in stanzas(&bytes).chain(stanzas(text.as_bytes())).flatten() {
                let written: String =
                    stanza.fields().map(|(name, value)| format!("{name}: {value}\n")).collect();
                let again = single(written.as_bytes()).unwrap();
                proptest::prop_assert_eq!(&again.fields, &stanza.fields);
            }
        }
    }
}
