//! What is wrong with a recipe, and where it was written.
//!
//! Mistakes are collected rather than thrown: a person mends all of them at once.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a recipe file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1, counted in characters.
        column: usize,
    },
    /// In this environment variable.
    Variable(String),
    /// By this option, or this operand, of the command line.
    Option(&'static str),
    /// Nowhere: a default, or the want of a value.
    Nowhere,
}

impl fmt::Display for Origin {
    /// With a colon and a blank at the end, unless empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}: ", path.display()),
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Option(name) => write!(f, "{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Given<T> {
    pub(super) const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What, in a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.message)
    }
}

/// Everything that is wrong with a recipe; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes one more.
    pub(super) fn add(&mut self, origin: &Origin, message: impl fmt::Display) {
        let mistake = Mistake { origin: origin.clone(), message: message.to_string() };
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }

    /// Returns the value, or notes why there is none.
    pub(super) fn check<T, E: fmt::Display>(
        &mut self,
        origin: &Origin,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(origin, error)).ok()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, those of the file first and in its order.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        let mut sorted: Vec<&Mistake> = self.0.iter().collect();
        sorted.sort();
        sorted.into_iter()
    }
}

impl fmt::Display for Mistakes {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
