//! The contents of files in an image, by digest, as the tree that was read refers to them.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::volume::Volume;
use crate::digest::Digest;
use crate::image::blocks::{FileMap, FileReader};
use crate::image::verified::Verified;
use crate::tree::Contents;

/// The contents of an image's files. Every reading is checked against the digest again.
pub struct ImageContents<'m> {
    pub(super) volume: Volume<'m>,
    pub(super) files: BTreeMap<Digest, FileMap>,
}

impl std::fmt::Debug for ImageContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageContents").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Contents for ImageContents<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let file = self.files.get(digest).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no content with digest {digest}"))
        })?;
        Ok(Box::new(Verified::new(FileReader::new(self.volume.blocks(), file), *digest)))
    }
}
