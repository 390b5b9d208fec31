//! All entries of a policy, in the order in which they count.
//!
//! The last entry that fits wins, and an entry without signs counts more than any with some. From
//! libselinux 3.9 on, of several without signs in one file, one for a single kind of files counts
//! more than one for all kinds, whichever is the last.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::entry::{BadEntry, Entry};

/// So many entries a policy may have; real ones have some six thousand.
pub(super) const MOST_ENTRIES: usize = 30_000;

/// All entries of a policy.
#[derive(Debug, Default)]
pub(super) struct FileContexts {
    /// Those with signs, in the order of the files.
    patterns: Vec<Entry>,
    /// Those without, by their path, each with the number of its file.
    paths: BTreeMap<Vec<u8>, Vec<(usize, Entry)>>,
    /// How many files there were.
    files: usize,
    /// How many entries there are.
    count: usize,
}

impl FileContexts {
    /// Adds the entries of a file, which count more than those before.
    ///
    /// # Errors
    /// [`BadEntry`], with the number of the line from 1.
    pub(super) fn add(&mut self, text: &str) -> Result<(), (usize, BadEntry)> {
        self.files = self.files.saturating_add(1);
        for (number, line) in (1_usize..).zip(text.lines()) {
            let entry = Entry::parse(line).map_err(|error| (number, error))?;
            self.count = self.count.saturating_add(usize::from(entry.is_some()));
            if self.count > MOST_ENTRIES {
                return Err((number, BadEntry::Many));
            }
            match entry {
                None => {}
                Some(entry) if entry.is_exact() => {
                    let path = entry.prefix().to_vec();
                    self.paths.entry(path).or_default().push((self.files, entry));
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
        let exact = self.exact(path).iter().map(|(_, entry)| entry);
        for entry in exact.rev().chain(self.patterns.iter().rev()) {
            if entry.fits(path, kind)? {
                return Ok(entry.label());
            }
        }
        Ok(None)
    }

    fn exact(&self, path: &[u8]) -> &[(usize, Entry)] {
        self.paths.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether the label is another one from libselinux 3.9 on.
    pub(super) fn differs_by_version(&self, path: &[u8], kind: u8) -> bool {
        let fits = |(_, entry): &&(usize, Entry)| entry.is_for(kind);
        let all = || self.exact(path).iter().filter(fits);
        let Some((file, last)) = all().next_back() else { return false };
        let single = all().rev().find(|(other, entry)| other == file && !entry.is_for_all());
        single.is_some_and(|(_, entry)| entry.label() != last.label())
    }
}
