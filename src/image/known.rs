//! The digests of contents in an image that is read, those that are expected found by their checksums.
//!
//! Who reads back what was just written knows all that can be there, and the checksum that was taken of
//! each content together with its digest. Only what has none of these is hashed.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::checksum::Checksum;
use crate::crew;
use crate::digest::Digest;
use crate::tree::{Contents, Kind, Tree};

/// Contents that are expected: their digests by checksum and size in bytes. `None` where that is not
/// enough to tell two of them apart.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<(Checksum, u64), Option<Digest>>);

impl Known {
    /// The contents of `tree`, as far as `contents` knows their checksums.
    pub(super) fn of(tree: &Tree, contents: &dyn Contents) -> Self {
        let mut known = Self::default();
        for (_, _, inode) in tree.walk() {
            if let Kind::Regular(content) = &inode.kind
                && let Some(checksum) = content.checksum(contents)
            {
                known.add((checksum, content.size()), content.digest());
            }
        }
        known
    }

    fn add(&mut self, key: (Checksum, u64), digest: Digest) {
        let first = self.0.entry(key).or_insert(Some(digest));
        if *first != Some(digest) {
            *first = None;
        }
    }

    fn find(&self, reader: impl Read) -> io::Result<Option<Digest>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = Checksum::of_reader(reader)?;
        Ok(self.0.get(&key).copied().flatten())
    }
}

/// How the contents of an image are hashed when it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashing<'k> {
    /// On how many threads at most.
    pub(super) threads: usize,
    /// What need not be.
    pub(super) known: &'k Known,
}

impl Hashing<'_> {
    /// The digests of what `open` opens for `files`, in their order.
    ///
    /// # Errors
    /// That of the first content that cannot be read.
    pub(super) fn digests<'f, F: Sync, R: Read>(
        &self,
        files: &'f [F],
        open: impl Fn(&'f F) -> R + Sync,
    ) -> io::Result<Vec<Digest>> {
        let files: Vec<&'f F> = files.iter().collect();
        crew::try_map(self.threads, &files, |file| match self.known.find(open(file))? {
            Some(digest) => Ok(digest),
            None => Digest::of_reader(open(file)).map(|(digest, _)| digest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Inode, Meta, NoContents, TreePath};

    fn tree(contents: &[&[u8]]) -> Tree {
        let mut tree = Tree::default();
        for (number, bytes) in contents.iter().enumerate() {
            let kind = Kind::Regular(Content::Inline((*bytes).into()));
            let path = TreePath::parse(number.to_string()).unwrap();
            tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
        }
        tree
    }

    fn digests(known: &Known, contents: &[&[u8]]) -> Vec<Digest> {
        Hashing { threads: 2, known }.digests(contents, |bytes| *bytes).unwrap()
    }

    #[test]
    fn expected_contents_and_others_get_their_own_digests() {
        let known = Known::of(&tree(&[b"", b"one", b"two", b"one"]), &NoContents);
        assert_eq!(known.0.len(), 3);
        let found: [&[u8]; 5] = [b"two", b"", b"one", b"onf", b"longer"];
        assert_eq!(digests(&known, &found), found.map(Digest::of));
        assert_eq!(digests(&Known::default(), &found), found.map(Digest::of));
    }

    #[test]
    fn contents_that_a_checksum_does_not_tell_apart_are_hashed() {
        let mut known = Known::default();
        let key = (Checksum::of(b"one"), 3);
        known.add(key, Digest::of(b"one"));
        // Nobody can make such bytes here; that their digest was known would be enough for harm.
        known.add(key, Digest::of(b"its twin"));
        assert_eq!(digests(&known, &[b"one"]), [Digest::of(b"one")]);
        known.add(key, Digest::of(b"one"));
        assert_eq!(known.find(&b"one"[..]).unwrap(), None);
    }
}
