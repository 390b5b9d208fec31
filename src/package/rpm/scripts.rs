//! The scripts of a package: the words, not their running.
//!
//! In: a header; out: programs with what they are given, and of triggers also what they wait for.
//! Scripts of removing are passed over, because nothing is ever removed here. Specification:
//! rpm-scriptlets(7), rpm's documentation of triggers and file triggers.

use super::header::Header;
use super::relation::{Operator, Relation};
use super::{tag, template};

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

    /// The tags of the script, of its program and of its flags.
    const fn tags(self) -> [u32; 3] {
        let [before, after, ..] = tag::SCRIPTS;
        let [program_before, program_after, ..] = tag::SCRIPT_PROGRAMS;
        let [flags_before, flags_after, flags_before_all, flags_after_all] = tag::SCRIPT_FLAGS;
        match self {
            Self::BeforeAll => [tag::PRETRANS, tag::PRETRANS_PROGRAM, flags_before_all],
            Self::Before => [before, program_before, flags_before],
            Self::After => [after, program_after, flags_after],
            Self::AfterAll => [tag::POSTTRANS, tag::POSTTRANS_PROGRAM, flags_after_all],
        }
    }
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The program that runs it, with its arguments: `/bin/sh`, or `<lua>`.
    pub program: Vec<Vec<u8>>,
    /// Its text; none, if the program is all there is.
    pub text: Option<Vec<u8>>,
    /// Whether rpm would put something into the text first that it alone has.
    pub is_template: bool,
}

impl Body {
    /// Without a program it is the shell's.
    fn new(
        program: Vec<Vec<u8>>,
        text: Option<Vec<u8>>,
        (flags, header): (u64, &Header),
    ) -> Option<Self> {
        let filled = text.as_ref().map(|text| template::filled(text, flags, header));
        let is_template = matches!(filled, Some(None));
        let text = filled.flatten().or(text);
        match (program.is_empty(), &text) {
            (true, None) => None,
            (true, Some(_)) => Some(Self { program: vec![b"/bin/sh".to_vec()], text, is_template }),
            (false, _) => Some(Self { program, text, is_template }),
        }
    }

    /// Whether rpm runs it itself, in its own Lua.
    pub fn is_lua(&self) -> bool {
        self.program.first().is_some_and(|program| program == b"<lua>")
    }
}

/// One script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// When it runs.
    pub moment: Moment,
    /// What it is.
    pub body: Body,
}

/// The scripts of a package, in the order of running.
pub fn scripts(header: &Header) -> Vec<Script> {
    let read = |moment: Moment| {
        let [text, program, flags] = moment.tags();
        let text = header.text(text).map(<[u8]>::to_vec);
        let words = header.texts(program).map(<[u8]>::to_vec).collect();
        let body = Body::new(words, text, (header.number(flags).unwrap_or(0), header))?;
        Some(Script { moment, body })
    };
    Moment::ALL.into_iter().filter_map(read).collect()
}

/// What triggers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Packages, by name.
    Packages,
    /// Files of the package that is being installed.
    Files,
    /// Files of all packages of the transaction, once they are there.
    AllFiles,
}

impl Watched {
    /// The tags of names, versions, flags, indexes; of scripts, programs, their flags, priorities.
    const fn tags(self) -> [u32; 8] {
        match self {
            Self::Packages => tag::TRIGGERS,
            Self::Files => tag::FILE_TRIGGERS,
            Self::AllFiles => tag::TRANSACTION_FILE_TRIGGERS,
        }
    }
}

/// The triggers of one kind that a package has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// What they wait for, in the header's order, which is not that of the scripts.
    pub conditions: Vec<Condition>,
    /// What runs; none where the header has none.
    pub scripts: Vec<Option<TriggerScript>>,
}

/// The script of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerScript {
    /// What it is.
    pub body: Body,
    /// File triggers with a higher one run earlier.
    pub priority: u32,
}

/// What a trigger waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The name of a package, or how the paths of files begin.
    pub name: String,
    operator: Operator,
    version: String,
    flags: u32,
    /// The number of the script.
    pub script: usize,
}

impl Condition {
    const INSTALLED: u32 = 1 << 16;
    const TO_BE_INSTALLED: u32 = 1 << 25;

    /// A condition of the script with a number. `flags` are the header's.
    pub fn new(
        name: &str,
        (operator, version): (Operator, &str),
        flags: u32,
        script: usize,
    ) -> Self {
        Self { name: name.to_owned(), operator, version: version.to_owned(), flags, script }
    }

    /// Whether the script runs once something was installed.
    pub const fn is_after(&self) -> bool {
        self.flags & Self::INSTALLED != 0
    }

    /// Whether it runs before something is installed.
    pub const fn is_before(&self) -> bool {
        self.flags & Self::TO_BE_INSTALLED != 0
    }

    /// Whether one of the things that a package provides is meant.
    pub fn is_met_by(&self, provided: &[Relation<'_>]) -> bool {
        let wanted = Relation::new(&self.name, self.operator, &self.version);
        wanted.is_ok_and(|wanted| provided.iter().any(|provided| wanted.is_met_by(provided)))
    }
}

/// The priority of a file trigger that names none.
const USUAL_PRIORITY: u32 = 1_000_000;

/// The triggers of a package that wait for `watched`.
pub fn triggers(header: &Header, watched: Watched) -> Triggers {
    let [names, versions, flags, indexes, texts, programs, script_flags, priorities] =
        watched.tags();
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let (mut versions, mut flags) = (header.texts(versions), header.numbers(flags));
    let mut indexes = header.numbers(indexes);
    let conditions = header.texts(names).map(|name| {
        let flags = narrow(flags.next().unwrap_or(0));
        let version = versions.next().unwrap_or_default();
        let script = indexes.next().and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let (name, version) = (String::from_utf8_lossy(name), String::from_utf8_lossy(version));
        Condition::new(&name, (Operator::of_flags(flags), &version), flags, script)
    });
    let conditions = conditions.collect();
    let (mut texts, mut script_flags) = (header.texts(texts), header.numbers(script_flags));
    let mut priorities = header.numbers(priorities);
    let scripts = header.texts(programs).map(|program| {
        let text = texts.next().filter(|text| !text.is_empty()).map(<[u8]>::to_vec);
        let flags = script_flags.next().unwrap_or(0);
        let priority = priorities.next().map_or(USUAL_PRIORITY, narrow);
        let body = Body::new(vec![program.to_vec()], text, (flags, header))?;
        Some(TriggerScript { body, priority })
    });
    Triggers { conditions, scripts: scripts.collect() }
}
