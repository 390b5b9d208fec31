//! The scripts of a package, and what its trigger wants to hear of: the words, not their running.
//!
//! Specification: apk-package(5). Running scripts belongs to `configure`.

use std::fmt;

/// The programs that a package may bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptKind {
    /// Before its files are there.
    PreInstall,
    /// Once its files are there.
    PostInstall,
    /// Before removal.
    PreDeinstall,
    /// After removal.
    PostDeinstall,
    /// Before it replaces another version.
    PreUpgrade,
    /// After it replaced another version.
    PostUpgrade,
    /// After files changed in directories that it watches.
    Trigger,
}

impl ScriptKind {
    /// All of them, in the order in which the database holds them.
    pub const ALL: [Self; 7] = [
        Self::PreInstall,
        Self::PostInstall,
        Self::PreDeinstall,
        Self::PostDeinstall,
        Self::PreUpgrade,
        Self::PostUpgrade,
        Self::Trigger,
    ];

    /// Its name in the database; in a package there is a dot before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreDeinstall => "pre-deinstall",
            Self::PostDeinstall => "post-deinstall",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::Trigger => "trigger",
        }
    }

    /// The kind of a member of a package: `.post-install`.
    pub fn of_member(name: &str) -> Option<Self> {
        let name = name.strip_prefix('.')?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ScriptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a trigger's pattern covers a directory, both absolute: `/lib/modules/*`. No wildcard
/// covers a slash (fnmatch(3) with `FNM_PATHNAME`). A `+` before the pattern, which limits a trigger
/// to changed directories, changes nothing where every directory is new.
pub fn covers(pattern: &str, directory: &[u8]) -> bool {
    let pattern = pattern.strip_prefix('+').unwrap_or(pattern);
    pattern.starts_with('/') && matches(pattern.as_bytes(), directory)
}

/// Compares from left to right; of the stars passed, only the last one is ever tried again, and
/// never across a slash, so that the work is bounded.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(at..).unwrap_or_default();
        let byte = text.get(place).copied();
        let step = match (rest, byte) {
            ([], None) => return true,
            ([b'*', ..], _) => {
                star = Some((at.saturating_add(1), place));
                at = at.saturating_add(1);
                continue;
            }
            (_, Some(byte)) => one(rest, byte),
            (_, None) => None,
        };
        if let Some(length) = step {
            (at, place) = (at.saturating_add(length), place.saturating_add(1));
            continue;
        }
        match star {
            Some((after, from)) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                let next = from.saturating_add(1);
                star = Some((after, next));
                (at, place) = (after, next);
            }
            _ => return false,
        }
    }
}

/// How much of a pattern covers one byte; none if it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => (byte != b'/').then_some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((true, length)) if byte != b'/' => Some(length.saturating_add(1)),
            Some(_) => None,
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether `[…]` holds a byte, and how long it is without its first bracket; none if it never ends.
fn class(rest: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(rest, [b'!' | b'^', ..]);
    let start = usize::from(negated);
    let body = rest.get(start..)?;
    let end = body.iter().skip(1).position(|byte| *byte == b']')?.saturating_add(1);
    let mut members = body.get(..end)?;
    let mut found = false;
    while let [first, tail @ ..] = members {
        members = tail;
        match members {
            [b'-', last, tail @ ..] => {
                found |= (*first..=*last).contains(&byte);
                members = tail;
            }
            _ => found |= *first == byte,
        }
    }
    Some((found != negated, start.saturating_add(end).saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_package_are_scripts_by_their_names() {
        assert_eq!(ScriptKind::of_member(".post-install"), Some(ScriptKind::PostInstall));
        for other in ["post-install", ".PKGINFO", ".post-installed", "", "."] {
            assert_eq!(ScriptKind::of_member(other), None, "{other}");
        }
    }

    #[test]
    fn patterns_cover_directories_and_no_wildcard_crosses_a_slash() {
        for (pattern, directory, expected) in [
            ("/bin", "/bin", true),
            ("/bin", "/bin/x", false),
            ("/lib/modules/*", "/lib/modules/6.1", true),
            ("/lib/modules/*", "/lib/modules", false),
            ("/lib/modules/*", "/lib/modules/6.1/kernel", false),
            ("/usr/*/x*z", "/usr/lib/xyyz", true),
            ("/usr/*/x*z", "/usr/lib/xy/z", false),
            ("/l?b", "/lib", true),
            ("/?ib", "//ib", false),
            ("/[a-c]x", "/bx", true),
            ("/[!a-c]x", "/bx", false),
            ("/[]x]", "/]", true),
            ("/[x", "/[x", true),
            ("/a\\*", "/a*", true),
            ("/a\\*", "/ab", false),
            ("+/usr/share", "/usr/share", true),
            ("usr", "/usr", false),
            ("/*", "/", true),
            ("", "", false),
        ] {
            assert_eq!(covers(pattern, directory.as_bytes()), expected, "{pattern} {directory}");
        }
        let stars = format!("/{}", "*a".repeat(200));
        assert!(!covers(&stars, format!("/{}b", "a".repeat(10_000)).as_bytes()));
    }
}
