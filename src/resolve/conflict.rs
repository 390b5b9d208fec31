//! A request that cannot be met, in words that a person can act on.
//!
//! A conflict is a value: sentences, each with the sentences that explain it. Showing it is all it
//! does; the families' folders find the reasons.

use std::fmt;

use serde::Serialize;

/// Why no choice of packages does what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Conflict {
    /// What leads to the contradiction, in order; the last is the contradiction itself.
    pub sentences: Vec<Sentence>,
}

/// A statement about packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// The statement, without a full stop.
    pub text: String,
    /// Why it is so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Self>,
}

impl Sentence {
    /// A statement that needs no explanation.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), because: Vec::new() }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "\n{:1$}{2}", "", depth * 2, self.text)?;
        self.because.iter().try_for_each(|sentence| sentence.show(f, depth + 1))
    }
}

impl fmt::Display for Conflict {
    /// One line a sentence, explanations indented below, each line after a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is asked for cannot be installed:")?;
        self.sentences.iter().try_for_each(|sentence| sentence.show(f, 1))
    }
}
