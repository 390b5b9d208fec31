//! Which system a tree has, by its `os-release`. Specification: os-release(5).

use std::io::Read;

use crate::tree::{Contents, Kind, Tree, TreePath};

/// More than any has.
const MOST: u64 = 64 << 10;

/// What a system calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    /// `ID`, such as `debian`.
    pub(super) id: String,
    /// `VERSION_ID`, such as `12`, if it has one.
    pub(super) version: Option<String>,
}

impl System {
    /// Reads `/etc/os-release`, or the one in `/usr/lib`. Without, `usual` is its name.
    pub(super) fn of(tree: &Tree, contents: &dyn Contents, usual: &str) -> Self {
        let text = ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|path| text(tree, contents, path))
            .unwrap_or_default();
        let id = field(&text, "ID").unwrap_or_else(|| usual.to_owned());
        Self { id: id.to_ascii_lowercase(), version: field(&text, "VERSION_ID") }
    }

    /// As scanners call it: `debian-12`.
    pub(super) fn full_name(&self) -> String {
        match &self.version {
            Some(version) => format!("{}-{version}", self.id),
            None => self.id.clone(),
        }
    }
}

fn text(tree: &Tree, contents: &dyn Contents, path: &str) -> Option<String> {
    let path = tree.resolve(&TreePath::parse(path).ok()?).ok()?;
    let Kind::Regular(content) = &tree.get(&path)?.kind else { return None };
    let mut text = String::new();
    content.open(contents).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A field's value, without quotes; none, if it is empty.
fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?.trim();
    let quoted = |mark| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let bare = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    Some(bare.to_owned()).filter(|bare| !bare.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_with_and_without_quotes() {
        let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\nID_LIKE='a b'\nX=\n";
        assert_eq!(field(text, "ID").unwrap(), "debian");
        assert_eq!(field(text, "VERSION_ID").unwrap(), "12");
        assert_eq!(field(text, "ID_LIKE").unwrap(), "a b");
        assert_eq!((field(text, "X"), field(text, "VERSION")), (None, None));
    }
}
