//! All entries of a policy, in the order in which they count.
//!
//! The last entry that fits wins, and an entry without signs counts more than any with some.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::entry::{BadEntry, Entry};

/// All entries of a policy.
#[derive(Debug, Default)]
pub(super) struct FileContexts {
    /// Those with signs, in the order of the files.
    patterns: Vec<Entry>,
    /// Those without, by their path.
    paths: BTreeMap<Vec<u8>, Vec<Entry>>,
}

impl FileContexts {
    /// Adds the entries of a file, which count more than those before.
    ///
    /// # Errors
    /// [`BadEntry`], with the number of the line from 1.
    pub(super) fn add(&mut self, text: &str) -> Result<(), (usize, BadEntry)> {
        for (number, line) in (1_usize..).zip(text.lines()) {
            match Entry::parse(line).map_err(|error| (number, error))? {
                None => {}
                Some(entry) if entry.is_exact() => {
                    self.paths.entry(entry.prefix().to_vec()).or_default().push(entry);
                }
                Some(entry) => self.patterns.push(entry),
            }
        }
        Ok(())
    }

    /// The label of a path with a leading slash; `None` when it shall have none.
    ///
    /// # Errors
    /// [`BadEntry::Pattern`].
    pub(super) fn label(&self, path: &[u8], kind: u8) -> Result<Option<&str>, BadEntry> {
        let exact = self.paths.get(path).map(Vec::as_slice).unwrap_or_default().iter();
        for entry in exact.rev().chain(self.patterns.iter().rev()) {
            if entry.fits(path, kind)? {
                return Ok(entry.label());
            }
        }
        Ok(None)
    }
}
