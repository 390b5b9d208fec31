//! The frames around signed texts: clear-signed messages and files of armoured signatures.
//!
//! In: a downloaded `InRelease` or `Release.gpg`. Out: exactly the bytes that the signature covers,
//! and the signature packets; nothing outside the frame is ever looked at, because anything there
//! is refused. RFC 9580, sections 6.2 (armour) and 7 (cleartext framework).
//!
//! Documented answers: CRLF line ends and blanks before them are accepted and dropped, as they are
//! not covered by the signature either; dash-escaped lines are accepted, unescaped dashes are not;
//! the line end after the last line may be missing.

use std::io::Read;

use pgp::armor::Dearmor;

/// A clear-signed message taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The covered text with LF line ends, and none after the last line. The signature covers these
    /// lines with CRLF between them; nothing else may be parsed.
    pub text: String,
    /// Binary signature packets.
    pub signatures: Vec<u8>,
}

/// Why a text is not a proper frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not start as it must.
    #[error("it does not begin with {0:?}")]
    Start(&'static str),
    /// It ends too early.
    #[error("it ends before {0:?}")]
    Cut(&'static str),
    /// Something stands after the end.
    #[error("something stands after its end, at line {0}")]
    Trailing(usize),
    /// A header other than `Hash` before the text.
    #[error("line {0} is not an empty line or a Hash header")]
    Header(usize),
    /// A line of the text begins with a dash that is not escaped.
    #[error("line {0} begins with an unescaped dash")]
    Dash(usize),
    /// A line that is too long.
    #[error("line {line} is longer than {limit} bytes")]
    LongLine {
        /// Counted from one.
        line: usize,
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// A byte that no text holds.
    #[error("line {0} holds a control byte")]
    Control(usize),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The armour does not hold base64.
    #[error("its signature block cannot be decoded: {0}")]
    Armor(String),
}

/// Real release files stay below 1,000 bytes a line.
const MAX_LINE: usize = 16 * 1024;

const BEGIN_MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

/// Takes a clear-signed message apart: exactly one, with nothing before or after it.
///
/// # Errors
/// The rule that is broken, and the line.
pub(super) fn message(bytes: &[u8]) -> Result<Message, Error> {
    let mut lines = Lines::new(bytes)?;
    if lines.next()? != Some(BEGIN_MESSAGE) {
        return Err(Error::Start(BEGIN_MESSAGE));
    }
    loop {
        match lines.next()?.ok_or(Error::Cut(BEGIN_SIGNATURE))? {
            "" => break,
            header if header.starts_with("Hash: ") => {}
            _ => return Err(Error::Header(lines.number)),
        }
    }
    let mut text = Vec::new();
    loop {
        match lines.next()?.ok_or(Error::Cut(BEGIN_SIGNATURE))? {
            BEGIN_SIGNATURE => break,
            line => text.push(match line.strip_prefix("- ") {
                Some(escaped) => escaped,
                None if line.starts_with('-') => return Err(Error::Dash(lines.number)),
                None => line,
            }),
        }
    }
    let signatures = armored_signature(&mut lines)?;
    match lines.next()? {
        None => Ok(Message { text: text.join("\n"), signatures }),
        Some(_) => Err(Error::Trailing(lines.number)),
    }
}

/// Decodes a file of one or more armoured signatures and nothing else.
///
/// # Errors
/// The rule that is broken, and the line.
pub(super) fn detached(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut lines = Lines::new(bytes)?;
    let mut signatures = Vec::new();
    while let Some(line) = lines.next()? {
        match line {
            BEGIN_SIGNATURE => signatures.extend(armored_signature(&mut lines)?),
            _ if signatures.is_empty() => return Err(Error::Start(BEGIN_SIGNATURE)),
            _ => return Err(Error::Trailing(lines.number)),
        }
    }
    if signatures.is_empty() { Err(Error::Start(BEGIN_SIGNATURE)) } else { Ok(signatures) }
}

/// Reads on after the begin line of an armoured signature, up to and with its end line.
fn armored_signature(lines: &mut Lines<'_>) -> Result<Vec<u8>, Error> {
    let mut block = format!("{BEGIN_SIGNATURE}\n");
    loop {
        let line = lines.next()?.ok_or(Error::Cut(END_SIGNATURE))?;
        block.push_str(line);
        block.push('\n');
        if line == END_SIGNATURE {
            break;
        }
        if line.starts_with('-') {
            return Err(Error::Dash(lines.number));
        }
    }
    let mut packets = Vec::new();
    Dearmor::new(block.as_bytes())
        .read_to_end(&mut packets)
        .map_err(|error| Error::Armor(error.to_string()))?;
    Ok(packets)
}

/// Lines without their ends and the blanks before them, numbered from one.
struct Lines<'a> {
    rest: std::str::Split<'a, char>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Self { rest: text.split('\n'), number: 0 })
    }

    fn next(&mut self) -> Result<Option<&'a str>, Error> {
        let Some(raw) = self.rest.next() else { return Ok(None) };
        self.number = self.number.saturating_add(1);
        if raw.len() > MAX_LINE {
            return Err(Error::LongLine { line: self.number, limit: MAX_LINE });
        }
        let line = raw.trim_end_matches([' ', '\t', '\r']);
        if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(Error::Control(self.number));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----\n";

    fn signed(text: &str) -> String {
        format!("{BEGIN_MESSAGE}\nHash: SHA256\n\n{text}\n{BLOCK}")
    }

    #[track_caller]
    fn check(input: &str, expected: Result<&str, Error>) {
        assert_eq!(message(input.as_bytes()).map(|m| m.text), expected.map(str::to_owned));
    }

    #[test]
    fn d1_only_the_covered_text_comes_out() {
        check(&signed("Suite: x\nDate: y"), Ok("Suite: x\nDate: y"));
        check(&signed("- -dash\n- From: x"), Ok("-dash\nFrom: x"));
        check(&signed("a \t\nb").replace('\n', "\r\n"), Ok("a\nb"));
        check(signed("a").trim_end(), Ok("a"));
        check(&signed(""), Ok(""));
    }

    #[test]
    fn d1_text_outside_the_frame_is_refused() {
        let good = signed("a");
        check(&format!("Evil: 1\n\n{good}"), Err(Error::Start(BEGIN_MESSAGE)));
        check(&format!("\n{good}"), Err(Error::Start(BEGIN_MESSAGE)));
        check(&format!("{good}Evil: 1\n"), Err(Error::Trailing(9)));
        check(&format!("{good}\n"), Err(Error::Trailing(9)));
        check(&format!("{good}{good}"), Err(Error::Trailing(9)));
        let between = good.replace("Hash: SHA256\n\n", "Hash: SHA256\nEvil: 1\n\n");
        check(&between, Err(Error::Header(3)));
        check(&signed(&format!("a\n{BEGIN_MESSAGE}\n\nb")), Err(Error::Dash(5)));
        let spaced = good.replace("-----END", "Evil: 1\n-----BEGIN PGP SIGNATURE-----\n-----END");
        assert!(message(spaced.as_bytes()).is_err());
        check("", Err(Error::Start(BEGIN_MESSAGE)));
        check("<html></html>", Err(Error::Start(BEGIN_MESSAGE)));
        check(&good[..good.len() - 10], Err(Error::Dash(8)));
        check(&good[..good.len() - 35], Err(Error::Cut(END_SIGNATURE)));
    }

    #[test]
    fn d1_long_lines_and_control_bytes_are_refused() {
        check(&signed(&"a".repeat(MAX_LINE)), Ok(&"a".repeat(MAX_LINE)));
        let long = Error::LongLine { line: 4, limit: MAX_LINE };
        check(&signed(&"a".repeat(1_000_000)), Err(long));
        check(&signed("a\0b"), Err(Error::Control(4)));
        check(&signed("a\rb"), Err(Error::Control(4)));
        check(&signed("a\tb"), Ok("a\tb"));
        assert_eq!(message(&[0xff, 0xfe]), Err(Error::NotText));
    }

    #[test]
    fn d3_a_detached_file_holds_signatures_and_nothing_else() {
        assert!(detached(BLOCK.as_bytes()).is_ok());
        let two = detached(format!("{BLOCK}{BLOCK}").as_bytes()).unwrap();
        assert_eq!(two.len(), 2 * detached(BLOCK.as_bytes()).unwrap().len());
        let with = |after: &str| detached(format!("{BLOCK}{after}").as_bytes());
        assert_eq!(with("201 URI Done\n\n"), Err(Error::Trailing(5)));
        assert_eq!(with("!<arch>\n"), Err(Error::Trailing(5)));
        assert_eq!(detached(b"201 URI Done\n"), Err(Error::Start(BEGIN_SIGNATURE)));
        assert_eq!(detached(b""), Err(Error::Start(BEGIN_SIGNATURE)));
    }
}
