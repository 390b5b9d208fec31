//! Maintainer scripts, triggers and conffiles of a package: the words, not their running.
//!
//! In come the members of a control archive, out come values. Specifications: deb-preinst(5) and
//! its siblings, deb-triggers(5), deb-conffiles(5). Running scripts belongs to `configure`.

use std::fmt;

use crate::package::PackageName;
use crate::tree::{BadPath, TreePath};

/// The programs that a package may bring along for dpkg and debconf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptKind {
    /// Before the files are unpacked.
    Preinst,
    /// To configure, and when triggered.
    Postinst,
    /// Before removal.
    Prerm,
    /// After removal.
    Postrm,
    /// debconf's questions, before `preinst`.
    Config,
}

impl ScriptKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Preinst, Self::Postinst, Self::Prerm, Self::Postrm, Self::Config];

    /// The name of the control member, and the suffix in dpkg's database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for ScriptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a package wants to hear of, and what it makes others hear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// Triggers whose activation runs this package's `postinst triggered`.
    pub interests: Vec<Trigger>,
    /// Triggers that any change of this package's state activates.
    pub activations: Vec<Trigger>,
}

/// One line of a triggers file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The trigger's name: an absolute path for file triggers, a word otherwise.
    pub name: String,
    /// Whether the activating package waits for the interested one (`triggers-awaited`).
    pub awaits: bool,
}

impl Trigger {
    /// The path whose files, and files below it, activate this trigger; `None` for explicit ones.
    pub fn file(&self) -> Option<TreePath> {
        self.name.starts_with('/').then(|| TreePath::parse(&self.name).ok()).flatten()
    }
}

/// A configuration file that a user may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// Its place.
    pub path: TreePath,
    /// It is to be removed on upgrade, and is not in the archive.
    pub remove_on_upgrade: bool,
}

/// Why a triggers or conffiles member cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line of the triggers file that says nothing known.
    #[error("line {line} of the triggers file is no directive that dpkg knows")]
    UnknownDirective {
        /// Counted from 1.
        line: usize,
    },
    /// A trigger's name is neither a clean path nor a word that dpkg accepts.
    #[error("line {line} of the triggers file names no possible trigger")]
    BadTrigger {
        /// Counted from 1.
        line: usize,
    },
    /// A conffile that is not absolute, or carries an unknown flag.
    #[error("line {line} of the conffiles list is not an absolute path or carries an unknown flag")]
    BadConffile {
        /// Counted from 1.
        line: usize,
    },
    /// A conffile with a path that is not clean.
    #[error("the conffiles list has a bad path")]
    BadPath(#[from] BadPath),
}

impl Triggers {
    /// Reads the `triggers` member.
    ///
    /// # Errors
    /// [`Error::UnknownDirective`], [`Error::BadTrigger`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut triggers = Self::default();
        for (line, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::BadTrigger { line })?;
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let (directive, name) =
                text.split_once([' ', '\t']).ok_or(Error::UnknownDirective { line })?;
            let name = name.trim();
            if !is_trigger(name) {
                return Err(Error::BadTrigger { line });
            }
            let awaits = !directive.ends_with("-noawait");
            let list = match directive {
                "interest" | "interest-await" | "interest-noawait" => &mut triggers.interests,
                "activate" | "activate-await" | "activate-noawait" => &mut triggers.activations,
                _ => return Err(Error::UnknownDirective { line }),
            };
            list.push(Trigger { name: name.to_owned(), awaits });
        }
        Ok(triggers)
    }
}

/// File triggers are clean absolute paths; others have names like packages, and become names of
/// files in dpkg's database, where three are taken.
fn is_trigger(name: &str) -> bool {
    if name.starts_with('/') {
        return name.bytes().all(|byte| byte.is_ascii_graphic()) && TreePath::parse(name).is_ok();
    }
    PackageName::is_well_formed(name)
        && !name.starts_with('_')
        && !["File", "Lock", "Unincorp"].contains(&name)
}

/// Reads the `conffiles` member.
///
/// # Errors
/// [`Error::BadConffile`], [`Error::BadPath`].
pub fn parse_conffiles(bytes: &[u8]) -> Result<Vec<Conffile>, Error> {
    let mut conffiles = Vec::new();
    for (line, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        let flagged = bytes.strip_prefix(b"remove-on-upgrade ").map(<[u8]>::trim_ascii);
        let path = flagged.unwrap_or(bytes);
        if !path.starts_with(b"/") {
            return Err(Error::BadConffile { line });
        }
        let path = TreePath::parse(path)?;
        conffiles.push(Conffile { path, remove_on_upgrade: flagged.is_some() });
    }
    Ok(conffiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_every_spelling_are_read() {
        let text =
            b"# man\ninterest /usr/share/man\ninterest-noawait  ldconfig # x\n\nactivate-await a\n";
        let triggers = Triggers::parse(text).unwrap();
        let trigger = |name: &str, awaits| Trigger { name: name.to_owned(), awaits };
        assert_eq!(
            triggers.interests,
            [trigger("/usr/share/man", true), trigger("ldconfig", false)]
        );
        assert_eq!(triggers.activations, [trigger("a", true)]);
        let files: Vec<_> = triggers.interests.iter().map(Trigger::file).collect();
        assert_eq!(files, [Some(TreePath::parse("usr/share/man").unwrap()), None]);
    }

    #[test]
    fn other_directives_and_names_are_refused() {
        let cases: [(&[u8], Error); 8] = [
            (b"interest", Error::UnknownDirective { line: 1 }),
            (b"\nlisten x", Error::UnknownDirective { line: 2 }),
            (b"interest a b", Error::BadTrigger { line: 1 }),
            (b"interest a\x1b", Error::BadTrigger { line: 1 }),
            (b"interest ../../../etc/passwd", Error::BadTrigger { line: 1 }),
            (b"interest /usr/../x", Error::BadTrigger { line: 1 }),
            (b"interest a/b", Error::BadTrigger { line: 1 }),
            (b"interest Unincorp", Error::BadTrigger { line: 1 }),
        ];
        for (text, error) in cases {
            assert_eq!(Triggers::parse(text), Err(error));
        }
    }

    #[test]
    fn conffiles_are_absolute_and_may_carry_one_flag() {
        let read = parse_conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n").unwrap();
        let path = |text: &str| TreePath::parse(text).unwrap();
        let expected = [
            Conffile { path: path("etc/a"), remove_on_upgrade: false },
            Conffile { path: path("etc/b"), remove_on_upgrade: true },
        ];
        assert_eq!(read, expected);
        assert_eq!(parse_conffiles(b"etc/a"), Err(Error::BadConffile { line: 1 }));
        assert_eq!(parse_conffiles(b"keep /etc/a"), Err(Error::BadConffile { line: 1 }));
        assert!(matches!(parse_conffiles(b"/etc/../a"), Err(Error::BadPath(_))));
    }
}
