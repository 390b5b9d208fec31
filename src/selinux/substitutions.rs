//! Folders that are labelled as if they were others: `/lib64` as `/usr/lib`.
//!
//! ```text
//! /lib64 /usr/lib
//! ```
//!
//! What the administrator says is done first, and the distribution's upon that; of several lines
//! that fit, the last one counts.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

/// The lines of both files, the last ones first.
#[derive(Debug)]
pub(super) struct Substitutions {
    administrator: Vec<(Vec<u8>, Vec<u8>)>,
    distribution: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Substitutions {
    /// Reads the texts of `file_contexts.subs` and `file_contexts.subs_dist`. Lines that are not two
    /// words are passed over, as in libselinux.
    pub(super) fn new(administrator: &str, distribution: &str) -> Self {
        Self { administrator: lines(administrator), distribution: lines(distribution) }
    }

    /// The path as which a path is labelled.
    pub(super) fn apply(&self, path: &[u8]) -> Vec<u8> {
        let path = substituted(&self.administrator, path).unwrap_or_else(|| path.to_vec());
        substituted(&self.distribution, &path).unwrap_or(path)
    }
}

fn lines(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (from, to) = (words.next()?, words.next()?);
        let is_folder = from.starts_with('/') && from.len() > 1;
        is_folder.then(|| (from.as_bytes().to_vec(), to.as_bytes().to_vec()))
    };
    text.lines().rev().filter_map(pair).collect()
}

fn substituted(pairs: &[(Vec<u8>, Vec<u8>)], path: &[u8]) -> Option<Vec<u8>> {
    pairs.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from.as_slice())?;
        match rest {
            [] => Some(to.clone()),
            [b'/', below @ ..] if to == b"/" => Some([b"/", below].concat()),
            [b'/', ..] => Some([to.as_slice(), rest].concat()),
            _ => None,
        }
    })
}
