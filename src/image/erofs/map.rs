//! Where the bytes of a file stand, and reading them from front to back.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::io::{self, Read};

use lzzzz::lz4;

use super::volume::Volume;
use crate::image::Medium;

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// How many bytes of the file.
    pub(super) length: u64,
    /// Where they stand, in bytes of the file system, and how many bytes that is.
    pub(super) place: u64,
    pub(super) stored: u64,
    pub(super) compressed: bool,
}

/// The bytes of a file: parts without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileMap {
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

/// Reads a file of an image from front to back.
pub(super) struct FileReader<'a> {
    volume: &'a Volume<'a>,
    parts: &'a [Part],
    /// How much of the first part was read.
    done: u64,
    /// The first part, when it is compressed and was begun.
    buffer: Vec<u8>,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(volume: &'a Volume<'a>, file: &'a FileMap) -> Self {
        Self { volume, parts: &file.parts, done: 0, buffer: Vec::new() }
    }

    /// Decompresses a part.
    fn fill(&mut self, part: Part) -> io::Result<()> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a cluster is damaged");
        let mut stored = vec![0; usize::try_from(part.stored).map_err(io::Error::other)?];
        self.volume.medium.read_at(part.place, &mut stored)?;
        let start = stored.iter().position(|byte| *byte != 0).ok_or_else(broken)?;
        let packed = stored.get(start..).unwrap_or_default();
        self.buffer = vec![0; usize::try_from(part.length).map_err(io::Error::other)?];
        match lz4::decompress(packed, &mut self.buffer) {
            Ok(length) if length == self.buffer.len() => Ok(()),
            _ => Err(broken()),
        }
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while let Some((&part, rest)) = self.parts.split_first() {
            let left = part.length.saturating_sub(self.done);
            if left == 0 {
                self.parts = rest;
                (self.done, self.buffer) = (0, Vec::new());
                continue;
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let target = bytes.get_mut(..length).unwrap_or_default();
            if part.compressed {
                if self.done == 0 {
                    self.fill(part)?;
                }
                let start = usize::try_from(self.done).map_err(io::Error::other)?;
                let source = self.buffer.get(start..).and_then(|rest| rest.get(..length));
                target.copy_from_slice(source.unwrap_or_default());
            } else {
                self.volume.medium.read_at(part.place.saturating_add(self.done), target)?;
            }
            self.done = self.done.saturating_add(u64::try_from(length).map_err(io::Error::other)?);
            return Ok(length);
        }
        Ok(0)
    }
}
