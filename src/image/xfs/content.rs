//! The contents of files in an image, by digest, as the tree that was read refers to them.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::format::BLOCK_SIZE;
use super::inode::Extent;
use super::volume::Volume;
use crate::digest::Digest;
use crate::image::verified::Verified;
use crate::tree::Contents;

/// Where the bytes of a file stand.
#[derive(Debug, Clone)]
pub(super) struct FileMap {
    pub(super) size: u64,
    /// Sorted, without overlap; what lies between reads as zero.
    pub(super) extents: Vec<Extent>,
}

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
        Ok(Box::new(Verified::new(FileReader::new(&self.volume, file), *digest)))
    }
}

/// Reads a file of an image from front to back.
pub(super) struct FileReader<'a> {
    volume: &'a Volume<'a>,
    file: &'a FileMap,
    at: u64,
    /// The first extent that does not end before `at`.
    next: usize,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(volume: &'a Volume<'a>, file: &'a FileMap) -> Self {
        Self { volume, file, at: 0, next: 0 }
    }

    /// How many bytes from `at` on are of one kind, and where on the medium they stand; `None` for
    /// zeros.
    fn stretch(&mut self) -> (u64, Option<u64>) {
        let left = self.file.size.saturating_sub(self.at);
        while let Some(extent) = self.file.extents.get(self.next) {
            let start = extent.logical.saturating_mul(BLOCK_SIZE);
            let end = start.saturating_add(extent.run.count.saturating_mul(BLOCK_SIZE));
            if end <= self.at {
                self.next = self.next.saturating_add(1);
                continue;
            }
            let Some(into) = self.at.checked_sub(start) else {
                return (left.min(start.saturating_sub(self.at)), None);
            };
            let place = extent.run.start.saturating_mul(BLOCK_SIZE).saturating_add(into);
            let length = left.min(end.saturating_sub(self.at));
            return (length, extent.written.then_some(place));
        }
        (left, None)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, place) = self.stretch();
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..length) else { return Ok(0) };
        match place {
            _ if part.is_empty() => return Ok(0),
            Some(place) => self.volume.read_at(place, part).map_err(io::Error::other)?,
            None => part.fill(0),
        }
        self.at = self.at.saturating_add(u64::try_from(length).map_err(io::Error::other)?);
        Ok(length)
    }
}
