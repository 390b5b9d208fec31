//! The scripts of a package: the words, not their running.
//!
//! In: a header; out: programs with what they are given. Scripts of removing are passed over, because
//! nothing is ever removed here. Specification: rpm-scriptlets(7), rpm's documentation of triggers.

use super::header::Header;
use super::tag;

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the first package is installed.
    BeforeAll,
    /// Before the package's files are there.
    Before,
    /// Once the package's files are there.
    After,
    /// After the last package was installed.
    AfterAll,
}

impl Moment {
    /// In the order in which they come.
    pub const ALL: [Self; 4] = [Self::BeforeAll, Self::Before, Self::After, Self::AfterAll];

    /// The name that rpm gives to the script.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeAll => "%pretrans",
            Self::Before => "%pre",
            Self::After => "%post",
            Self::AfterAll => "%posttrans",
        }
    }

    /// Whether the package is not installed when this script fails; otherwise rpm goes on.
    pub const fn is_critical(self) -> bool {
        matches!(self, Self::BeforeAll | Self::Before)
    }

    /// The tags of the script and of its program.
    const fn tags(self) -> (u32, u32) {
        let [before, after, ..] = tag::SCRIPTS;
        let [program_before, program_after, ..] = tag::SCRIPT_PROGRAMS;
        match self {
            Self::BeforeAll => (tag::PRETRANS, tag::PRETRANS_PROGRAM),
            Self::Before => (before, program_before),
            Self::After => (after, program_after),
            Self::AfterAll => (tag::POSTTRANS, tag::POSTTRANS_PROGRAM),
        }
    }
}

/// One script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// When it runs.
    pub moment: Moment,
    /// The program that runs it, with its arguments: `/bin/sh`, or `<lua>`.
    pub program: Vec<Vec<u8>>,
    /// Its text; none, if the program is all there is.
    pub text: Option<Vec<u8>>,
}

impl Script {
    /// Whether rpm runs it itself, in its own Lua.
    pub fn is_lua(&self) -> bool {
        self.program.first().is_some_and(|program| program == b"<lua>")
    }
}

/// Whether there are triggers: scripts that run when others are installed, or bring certain files.
pub fn has_triggers(header: &Header) -> bool {
    let tags = [tag::TRIGGER_NAME, tag::FILE_TRIGGER_NAME, tag::TRANSACTION_FILE_TRIGGER_NAME];
    tags.into_iter().any(|tag| header.has(tag))
}

/// The scripts of a package, in the order of running.
pub fn scripts(header: &Header) -> Vec<Script> {
    let read = |moment: Moment| {
        let (text, program) = moment.tags();
        let text = header.text(text).map(<[u8]>::to_vec);
        let mut words: Vec<Vec<u8>> = header.texts(program).map(<[u8]>::to_vec).collect();
        if words.is_empty() && text.is_some() {
            words.push(b"/bin/sh".to_vec());
        }
        (!words.is_empty()).then_some(Script { moment, program: words, text })
    };
    Moment::ALL.into_iter().filter_map(read).collect()
}
