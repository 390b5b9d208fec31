//! What a build tells whoever listens: stages, progress, warnings. Never a print.
//!
//! The library emits events; `cli/show.rs` turns them into bars, plain lines or JSON.

use std::time::Duration;

use serde::Serialize;

/// Something a person or a program may want to hear about.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage of the pipeline begins.
    StageStarted {
        /// Which one.
        stage: Stage,
    },
    /// A stage of the pipeline ended well.
    StageFinished {
        /// Which one.
        stage: Stage,
        /// What it took.
        #[serde(flatten)]
        took: Cost,
    },
    /// How far the current stage has come. `total` may be unknown, and may grow.
    Progress {
        /// Which stage.
        stage: Stage,
        /// Units done so far.
        done: u64,
        /// Units in all, if known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// A fact worth a line: "using the host's apt mirror http://…".
    Note {
        /// One sentence without a full stop.
        text: String,
    },
    /// Something that is allowed but that a careful person wants to know.
    Warning {
        /// One sentence without a full stop.
        text: String,
    },
    /// A maintainer script that osbuilder's own handlers could not run, or not all of.
    ScriptNotRun {
        /// The package.
        package: String,
        /// Which script.
        script: String,
        /// What was not understood, or left out.
        reason: String,
    },
    /// Output of a maintainer script, one line of it, as it came.
    ScriptOutput {
        /// The package whose script wrote it.
        package: String,
        /// Which script: `preinst`, `postinst`, `trigger` …
        script: String,
        /// The line, lossily decoded, with control characters escaped.
        line: String,
    },
}

impl Event {
    /// A [`Event::Note`].
    pub fn note(text: impl Into<String>) -> Self {
        Self::Note { text: text.into() }
    }

    /// A [`Event::Warning`].
    pub fn warning(text: impl Into<String>) -> Self {
        Self::Warning { text: text.into() }
    }
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Seconds from its begin to its end.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub wall: Duration,
    /// Seconds of processor time of osbuilder's own threads; what scripts and other processes take
    /// is not in it.
    #[serde(rename = "processor_seconds", serialize_with = "as_seconds")]
    pub processor: Duration,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }
}

/// The stages of the pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Read a directory that is there already, in place of packages.
    Read,
    /// Download and verify the repositories' indexes.
    Indexes,
    /// Choose packages.
    Resolve,
    /// Download and verify packages.
    Fetch,
    /// Read packages into the tree.
    Unpack,
    /// Run maintainer scripts.
    Configure,
    /// Make it a Kata guest.
    Provision,
    /// Lay the image out and write it.
    Image,
    /// Read the output back and check it.
    Check,
    /// Start it in a virtual machine.
    Boot,
}

impl Stage {
    /// The stage as a person reads it in a progress line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Indexes => "indexes",
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Unpack => "unpack",
            Self::Configure => "configure",
            Self::Provision => "provision",
            Self::Image => "image",
            Self::Check => "check",
            Self::Boot => "boot",
        }
    }
}

/// What a progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packages.
    Packages,
    /// Scripts.
    Scripts,
    /// Files of a tree.
    Files,
}

/// Whoever listens. Called from any thread, and expected to return at once.
pub type Listener<'a> = &'a (dyn Fn(Event) + Sync);

/// A listener that hears nothing, for tests and library callers that do not care.
pub fn nobody(_: Event) {}

fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
