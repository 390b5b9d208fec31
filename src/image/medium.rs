//! Bytes that can be read at any place: a file, a part of one, or a slice in a test.

use std::io;

use super::Error;
use super::fields::first_not_zero;

/// Something with a size and bytes at offsets. Reading never moves a cursor, so any number of
/// threads may share one.
pub trait Medium: Sync {
    /// The size in bytes.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` with what stands at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the medium ends before; whatever the operating system reports.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl Medium for fs_err::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut done: usize = 0;
        while let Some(rest) = bytes.get_mut(done..)
            && !rest.is_empty()
        {
            let place = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match fs_err::os::unix::fs::FileExt::read_at(self, rest, place) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done = done.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Medium for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        u64::try_from(self.len()).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(bytes.len())?));
        let found = range.and_then(|range| self.get(range));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// How many bytes are looked at at a time.
const PIECE: u64 = 64 << 10;

/// Returns where in `medium` the first byte stands from `start` on and before `end` that is not zero.
///
/// # Errors
/// [`Error::Read`].
pub(super) fn first_filled(
    medium: &dyn Medium,
    start: u64,
    end: u64,
) -> Result<Option<u64>, Error> {
    let (mut at, mut bytes) = (start, Vec::new());
    while at < end {
        let length = end.saturating_sub(at).min(PIECE);
        bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
        medium.read_at(at, &mut bytes).map_err(|source| Error::Read { source })?;
        if let Some(found) = first_not_zero(&bytes) {
            return Ok(Some(at.saturating_add(u64::try_from(found).unwrap_or(u64::MAX))));
        }
        at = at.saturating_add(length);
    }
    Ok(None)
}

/// A part of a medium, such as a partition, as a medium of its own.
#[derive(Clone, Copy)]
pub struct Window<'m> {
    medium: &'m dyn Medium,
    start: u64,
    size: u64,
}

impl<'m> Window<'m> {
    /// The `size` bytes from `start` on; reads beyond the medium's end will fail.
    pub fn new(medium: &'m dyn Medium, start: u64, size: u64) -> Self {
        Self { medium, start, size }
    }

    /// What is behind the first `offset` bytes; nothing when there are not so many.
    pub fn part(&self, offset: u64) -> Self {
        let offset = offset.min(self.size);
        let start = self.start.saturating_add(offset);
        Self { medium: self.medium, start, size: self.size.saturating_sub(offset) }
    }
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("start", &self.start).field("size", &self.size).finish()
    }
}

impl Medium for Window<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let end = offset.checked_add(length).filter(|&end| end <= self.size);
        let place = end.and_then(|_| self.start.checked_add(offset));
        self.medium.read_at(place.ok_or(io::ErrorKind::UnexpectedEof)?, bytes)
    }
}

/// Reads a medium from its beginning to its end.
#[derive(Clone, Copy)]
pub struct Stream<'m> {
    medium: &'m dyn Medium,
    offset: u64,
}

impl<'m> Stream<'m> {
    /// Begins at the first byte.
    pub fn new(medium: &'m dyn Medium) -> Self {
        Self { medium, offset: 0 }
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl io::Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.medium.size()?.saturating_sub(self.offset);
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = bytes.get_mut(..count).unwrap_or_default();
        self.medium.read_at(self.offset, part)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_its_part_and_nothing_beyond() {
        let bytes = b"0123456789".to_vec();
        let window = Window::new(&bytes, 2, 4);
        let mut found = [0; 2];
        window.read_at(2, &mut found).unwrap();
        assert_eq!(&found, b"45");
        for offset in [3, 4, u64::MAX] {
            let error = window.read_at(offset, &mut found).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
