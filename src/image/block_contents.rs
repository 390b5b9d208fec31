//! The contents of files that lie in runs of blocks, as in ext4 and xfs: hashed when an image is read,
//! and read by digest, as the tree that was read refers to them.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::Error;
use super::blocks::{Blocks, FileMap, FileReader};
use super::known::Hashing;
use super::verified::Verified;
use crate::digest::Digest;
use crate::tree::{Content, Contents, InodeId, Kind, Tree};

/// The contents of an image's files. Every reading is checked against the digest again.
pub struct BlockContents<'m> {
    blocks: Blocks<'m>,
    files: BTreeMap<Digest, FileMap>,
    /// Of all files, also those of one content: see [`Self::slack`].
    slack: Vec<(u64, u64)>,
}

impl std::fmt::Debug for BlockContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockContents").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl<'m> BlockContents<'m> {
    /// Hashes `files`, and gives each of them its content in `tree`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(super) fn hash(
        blocks: Blocks<'m>,
        files: Vec<(InodeId, FileMap)>,
        tree: &mut Tree,
        hashing: Hashing<'_>,
    ) -> Result<Self, Error> {
        let digests = hashing.digests(&files, |(_, file)| FileReader::new(blocks, file));
        let digests = digests.map_err(|source| Error::Read { source })?;
        let slack = files.iter().flat_map(|(_, file)| slack(file, blocks.block_size)).collect();
        let mut by_digest = BTreeMap::new();
        for ((id, file), digest) in files.into_iter().zip(digests) {
            tree.inode_mut(id).kind = Kind::Regular(Content::Stored { digest, size: file.size });
            by_digest.insert(digest, file);
        }
        Ok(Self { blocks, files: by_digest, slack })
    }
}

impl BlockContents<'_> {
    /// What belongs to files, and nobody who reads them gets: offsets and lengths within the file system.
    /// That is what lies behind a file's end, and what was never written.
    pub(super) fn slack(&self) -> impl Iterator<Item = (u64, u64)> {
        self.slack.iter().copied()
    }
}

fn slack(file: &FileMap, block_size: u64) -> impl Iterator<Item = (u64, u64)> {
    file.extents.iter().filter_map(move |extent| {
        let start = extent.logical.saturating_mul(block_size);
        let all = extent.run.count.saturating_mul(block_size);
        let read = if extent.written { file.size.saturating_sub(start).min(all) } else { 0 };
        let place = extent.run.start.saturating_mul(block_size).saturating_add(read);
        (read < all).then(|| (place, all.saturating_sub(read)))
    })
}

impl Contents for BlockContents<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let file = self.files.get(digest).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no content with digest {digest}"))
        })?;
        Ok(Box::new(Verified::new(FileReader::new(self.blocks, file), *digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::{Extent, Run};
    use super::super::known::Known;
    use super::*;
    use crate::image::Window;

    #[test]
    fn what_readers_of_a_file_do_not_get_lies_in_its_blocks_wherever_the_file_claims_to_end() {
        let extent =
            |logical, start, written| Extent { logical, run: Run { start, count: 2 }, written };
        let slack_of = |size, extents: &[Extent]| {
            slack(&FileMap { size, extents: extents.to_vec() }, 1024).collect::<Vec<_>>()
        };
        assert_eq!(slack_of(2048, &[extent(0, 10, true)]), []);
        assert_eq!(slack_of(1500, &[extent(0, 10, true)]), [(10 * 1024 + 1500, 548)]);
        // Nothing was written there, so nothing of it is read.
        assert_eq!(slack_of(2048, &[extent(0, 10, false)]), [(10 * 1024, 2048)]);
        // A file of a few bytes with a block far behind: its slack is that block, not all between.
        let far = [extent(0, 10, true), extent(1 << 40, 20, true)];
        assert_eq!(slack_of(5, &far), [(10 * 1024 + 5, 2043), (20 * 1024, 2048)]);
    }

    #[test]
    fn files_of_one_content_have_their_slack_each() {
        let bytes = vec![7; 4096];
        let blocks = Blocks { medium: Window::new(&bytes, 0, 4096), block_size: 1024 };
        let mut tree = Tree::default();
        let files = [1, 2].map(|start| {
            let extents = vec![Extent { logical: 0, run: Run { start, count: 1 }, written: true }];
            (tree.root(), FileMap { size: 3, extents })
        });
        let hashing = Hashing { threads: 1, known: &Known::default() };
        let contents = BlockContents::hash(blocks, files.to_vec(), &mut tree, hashing).unwrap();
        assert_eq!(contents.files.len(), 1);
        assert!(contents.slack().eq([(1027, 1021), (2051, 1021)]));
    }
}
