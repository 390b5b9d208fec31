//! Paths inside a guest: clean by construction, bytes rather than text.

use std::fmt;
use std::str::FromStr;

/// The longest path that Linux accepts in one system call, in bytes, without the final NUL.
pub const PATH_MAX: usize = 4095;
/// The longest name of one directory entry, in bytes.
pub const NAME_MAX: usize = 255;

/// A path below the root of a guest: names joined by single slashes, no leading slash.
///
/// No name is empty, `.`, `..`, or longer than [`NAME_MAX`]; no byte is NUL; the whole is no longer
/// than [`PATH_MAX`]. The empty path is the root itself.
///
/// Ordering is by bytes of each name in turn, so that a directory comes right before what is in it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root directory.
    pub const ROOT: Self = Self(Vec::new());

    /// Reads a path as archives write it: `usr/bin`, `./usr/bin/`, `/usr/bin` are the same.
    ///
    /// # Errors
    /// [`BadPath`] for `..`, NUL, and for names or paths that are too long.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, BadPath> {
        Self::ROOT.join(bytes)
    }

    /// Returns the bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names from the top down; none for the root.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Returns the last name, or `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.split().map(|(_, name)| name)
    }

    /// Returns the directory that holds this path, or `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| Self(parent.to_vec()))
    }

    /// The bytes of the parent, and the last name; `None` for the root.
    fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None => Some((&[], &self.0)),
        }
    }

    /// Returns this path with `tail` below it.
    ///
    /// # Errors
    /// As [`Self::parse`] for `tail`, and when the result is too long.
    pub fn join(&self, tail: impl AsRef<[u8]>) -> Result<Self, BadPath> {
        let tail = tail.as_ref();
        let mut joined = Vec::with_capacity(self.0.len().saturating_add(tail.len() + 1));
        joined.extend_from_slice(&self.0);
        for name in tail.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(BadPath::new(tail, "contains `..`")),
                _ if name.contains(&0) => return Err(BadPath::new(tail, "contains a NUL byte")),
                _ if name.len() > NAME_MAX => {
                    return Err(BadPath::new(tail, "has a name of more than 255 bytes"));
                }
                _ => {}
            }
            if !joined.is_empty() {
                joined.push(b'/');
            }
            joined.extend_from_slice(name);
        }
        if joined.len() > PATH_MAX {
            return Err(BadPath::new(&joined, "is longer than 4095 bytes"));
        }
        Ok(Self(joined))
    }

    /// Whether this path is `ancestor` or below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        let mut names = self.names();
        ancestor.names().all(|name| names.next() == Some(name))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // No name holds a NUL: with slashes as such, the first byte that differs tells whose name ends.
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        let differ = self.0.iter().zip(&other.0).find(|(one, two)| one != two);
        match differ {
            Some((one, two)) => rank(one).cmp(&rank(two)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    /// With a leading slash, as the guest sees it; bytes that are not printable are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

impl FromStr for TreePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

/// Why bytes are not a path inside a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} {rule}")]
pub struct BadPath {
    path: String,
    rule: &'static str,
}

impl BadPath {
    fn new(path: &[u8], rule: &'static str) -> Self {
        let start = path.get(..path.len().min(200)).unwrap_or_default();
        Self { path: escape(start), rule }
    }
}

/// Writes bytes so that they survive one line of text: printable ASCII without the backslash and
/// valid UTF-8 letters as they are, everything else as `\xNN`.
///
/// Control characters, also those of Unicode (C1, bidirectional overrides), never pass: what comes
/// out of a package must not steer a person's terminal.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    if let Ok(plain) = std::str::from_utf8(bytes)
        && plain.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    {
        text.push_str(plain);
        return text;
    }
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter == '\\' || !is_harmless(letter) {
                let mut buffer = [0; 4];
                letter.encode_utf8(&mut buffer).bytes().for_each(|byte| push_hex(&mut text, byte));
            } else {
                text.push(letter);
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_hex(&mut text, byte));
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    text.push_str(&format!("\\x{byte:02x}"));
}

/// Whether a character cannot move the cursor, hide, or reorder its neighbours.
fn is_harmless(letter: char) -> bool {
    let format_character = matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !letter.is_control() && !format_character
}

/// Reads what [`escape`] wrote. Returns `None` for a bad escape.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.strip_prefix(b"x")?.split_at_checked(2)?;
        let mut byte = [0];
        crate::digest::parse_hex(std::str::from_utf8(digits).ok()?, &mut byte)?;
        bytes.push(byte[0]);
        rest = tail;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_equal() {
        let clean = TreePath::parse("usr/bin/sh").unwrap();
        for spelling in ["/usr/bin/sh", "./usr/bin/sh", "usr//bin/./sh", "usr/bin/sh/"] {
            assert_eq!(TreePath::parse(spelling).unwrap(), clean, "{spelling}");
        }
        assert!(TreePath::parse("./").unwrap().is_root());
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long_name = "a".repeat(256);
        let long_path = "abc/".repeat(1100);
        for bad in ["..", "a/../b", "a\0b", long_name.as_str(), long_path.as_str()] {
            assert!(TreePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_comes_right_before_its_entries() {
        let mut paths: Vec<_> =
            ["a-b", "a/b", "a", "a/b/c", ""].map(|p| TreePath::parse(p).unwrap()).into();
        paths.sort();
        let order: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["/", "/a", "/a/b", "/a/b/c", "/a-b"]);
    }

    #[test]
    fn parents_end_at_the_root() {
        let path = TreePath::parse("usr/bin").unwrap();
        assert_eq!(path.parent().unwrap().to_string(), "/usr");
        assert_eq!(path.parent().unwrap().parent().unwrap(), TreePath::ROOT);
        assert_eq!(TreePath::ROOT.parent(), None);
    }

    #[test]
    fn escaping_hides_control_bytes_and_can_be_undone() {
        let raw = b"a\\b\n\x1b]0;\xffgr\xc3\xbc\xc3\x9fe\xe2\x80\xae";
        let text = escape(raw);
        assert_eq!(text, "a\\x5cb\\x0a\\x1b]0;\\xffgr\u{fc}\u{df}e\\xe2\\x80\\xae");
        assert_eq!(unescape(&text).unwrap(), raw);
        assert_eq!(unescape("\\x0"), None);
    }
}
