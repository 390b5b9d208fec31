//! From an error to what a person sees: a line for each cause, hints, an exit status.
//!
//! Only this file knows exit statuses and hints. Errors of the library say what went wrong; what to
//! do about it is said here.

use std::error::Error as StdError;
use std::process::ExitCode;

use osbuilder::tree::escape;
use serde_json::json;

use super::show::{Manner, say};

/// Why the program ends without having done what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    error: Box<dyn StdError + Send + Sync>,
    hints: Vec<String>,
}

/// What sort of failure it is; its number is the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The build failed, or a check found something: 1.
    Failed,
    /// The request makes no sense: 2, as for a mistyped option.
    Request,
    /// A server or the network did not do its part, or a signature is wrong: 3.
    Network,
    /// The host forbids what the build needs: 4.
    Host,
}

impl Kind {
    const fn status(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Request => 2,
            Self::Network => 3,
            Self::Host => 4,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Request => "request",
            Self::Network => "network",
            Self::Host => "host",
        }
    }
}

impl Failure {
    /// A failure of some kind with its cause.
    pub(super) fn new(kind: Kind, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new() }
    }

    /// Adds advice.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The causes, the outermost first. Neighbours that say the same are told once.
    fn causes(&self) -> Vec<String> {
        let first: &(dyn StdError + 'static) = self.error.as_ref();
        let mut lines = Vec::new();
        let mut next = Some(first);
        while let Some(error) = next {
            lines.push(printable(&error.to_string()));
            next = error.source();
        }
        lines.dedup_by(|later, earlier| earlier.ends_with(later.as_str()));
        lines
    }

    /// Tells the person or program, and returns the exit status.
    pub(super) fn tell(&self, manner: Manner) -> ExitCode {
        let causes = self.causes();
        if manner == Manner::Json {
            let kind = self.kind.name();
            let object = json!({
                "event": "failure", "kind": kind, "causes": causes, "hints": self.hints,
            });
            say(&object.to_string());
        } else {
            for (depth, cause) in causes.iter().enumerate() {
                say(&format!("{}: {cause}", if depth == 0 { "error" } else { "  caused by" }));
            }
            self.hints.iter().for_each(|hint| say(&format!("hint: {hint}")));
        }
        ExitCode::from(self.kind.status())
    }
}

impl From<osbuilder::Error> for Failure {
    fn from(error: osbuilder::Error) -> Self {
        use fetch::Error::NotCached;
        use osbuilder::{Error, configure, fetch};
        let kind = match &error {
            Error::Indexes(error) if is_asked(error) => Kind::Request,
            Error::Indexes(error) | Error::Packages(error) if is_disk(error) => Kind::Host,
            Error::Indexes(_) | Error::Packages(_) => Kind::Network,
            Error::Store(_)
            | Error::Full { .. }
            | Error::Limit { .. }
            | Error::Configure(configure::Error::Sandbox(_)) => Kind::Host,
            Error::Resolve(_)
            | Error::Input { .. }
            | Error::Tarball { .. }
            | Error::Signer { .. }
            | Error::Unnamed { .. }
            | Error::NoProbe { .. } => Kind::Request,
            _ => Kind::Failed,
        };
        let hint = match &error {
            Error::Indexes(error) if is_asked(error) => None,
            Error::Indexes(error) | Error::Packages(error) if is_disk(error) => {
                Some("--cache DIR names another folder for the cache")
            }
            Error::Indexes(NotCached { .. }) | Error::Packages(NotCached { .. }) => {
                Some("without --offline it is fetched")
            }
            Error::Indexes(_) => Some(
                "--mirror URL names another mirror, --key FILE a key to be trusted with it, --offline \
                 uses the cache",
            ),
            Error::Packages(_) => {
                Some("`osbuilder lock` chooses packages anew if the archive has moved on")
            }
            Error::Configure(_) => Some("--verbose shows the output of all scripts"),
            Error::Lock(_) => Some("`osbuilder lock` writes it anew"),
            Error::NoGuest { .. } => Some(
                "--init (AGENT_INIT) says what starts first; --any-tree (SKIP_ROOTFS_CHECK=yes) \
                 accepts trees that are no guests",
            ),
            Error::NoProbe { .. } => Some("`make program ARCH=…` builds it for a processor"),
            _ => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Whether what was asked for makes no sense, and no server was asked.
fn is_asked(error: &osbuilder::fetch::Error) -> bool {
    use osbuilder::fetch::Error;
    matches!(
        error,
        Error::KeyFile(_)
            | Error::RsaKeyFile { .. }
            | Error::Repository { .. }
            | Error::NoPlace { .. }
            | Error::Url(_)
    )
}

/// Whether it is this machine that failed, and no server.
fn is_disk(error: &osbuilder::fetch::Error) -> bool {
    use osbuilder::fetch::Error;
    matches!(error, Error::Store(_) | Error::Keep { .. })
}

/// Hides control characters, but keeps the line breaks of a text that is a list.
pub(super) fn printable(text: &str) -> String {
    text.lines().map(unescaped_backslashes).collect::<Vec<_>>().join("\n")
}

/// As [`escape`], but our own sentences contain backslashes that are escapes already.
fn unescaped_backslashes(line: &str) -> String {
    line.split('\\').map(|part| escape(part.as_bytes())).collect::<Vec<_>>().join("\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write the image")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_told_from_the_outside_in() {
        let failure = Failure::new(Kind::Failed, Outer(std::io::Error::other("disk on fire")));
        assert_eq!(failure.causes(), ["cannot write the image", "disk on fire"]);
    }

    #[test]
    fn a_name_from_a_package_cannot_steer_the_terminal() {
        let failure = Failure::new(Kind::Failed, "bad name \x1b]0;pwned\x07\nsecond line \\x1b");
        assert_eq!(failure.causes(), ["bad name \\x1b]0;pwned\\x07\nsecond line \\x1b"]);
    }
}
