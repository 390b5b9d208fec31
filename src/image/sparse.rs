//! Writes to a new file in large steps, and leaves holes where there is nothing but zero.
//!
//! Neighbouring pieces are joined until they are worth a system call. The file must be fresh:
//! what is skipped as zero is expected to read as zero.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

/// Bytes collected before they are written.
const BUFFER: usize = 1 << 20;
/// Zeros are looked for in pieces of this size: the pages of the host's file system.
const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// One thread's way of writing to a part of a file.
#[derive(Debug)]
pub(crate) struct SparseWriter<'f> {
    file: &'f File,
    /// Where in the file the part begins that all offsets are relative to.
    base: u64,
    /// Where in the part the buffer belongs.
    start: u64,
    buffer: Box<[u8]>,
    /// How much of the buffer is to be written.
    filled: usize,
    /// Whoever writes to the file at the same time waits for this.
    turn: Option<&'f Mutex<()>>,
}

impl<'f> SparseWriter<'f> {
    /// Writes to the part of `file` that begins at `base`.
    pub(crate) fn new(file: &'f File, base: u64) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { file, base, start: 0, buffer, filled: 0, turn: None }
    }

    /// Lets one of several writers to a file write at a time. A kernel would let them wait for each
    /// other, too, but the one that waits would turn in a loop meanwhile instead of giving way.
    pub(crate) fn in_turn(self, turn: &'f Mutex<()>) -> Self {
        Self { turn: Some(turn), ..self }
    }

    /// Puts `bytes` at `offset` of the part.
    ///
    /// # Errors
    /// Whatever the operating system reports, perhaps about an earlier call.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.go_to(offset)?;
        for chunk in bytes.chunks(BUFFER) {
            if self.filled + chunk.len() > BUFFER {
                self.flush()?;
            }
            self.buffer[self.filled..][..chunk.len()].copy_from_slice(chunk);
            self.filled += chunk.len();
        }
        Ok(())
    }

    /// Puts the next `count` bytes of `reader` at `offset` of the part. Returns the reader's error
    /// apart from the file's; a reader that ends before is one.
    ///
    /// # Errors
    /// Whatever the operating system reports about the file.
    pub(crate) fn copy(
        &mut self,
        offset: u64,
        reader: &mut dyn Read,
        count: u64,
    ) -> io::Result<Result<(), io::Error>> {
        self.go_to(offset)?;
        let mut left = count;
        while left > 0 {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let room = BUFFER - self.filled;
            let wanted = usize::try_from(left).map_or(room, |left| room.min(left));
            if let Err(error) = reader.read_exact(&mut self.buffer[self.filled..][..wanted]) {
                return Ok(Err(error));
            }
            self.filled += wanted;
            left -= wanted as u64;
        }
        Ok(Ok(()))
    }

    /// Makes `offset` the next place to write, filling with zeros or starting anew.
    fn go_to(&mut self, offset: u64) -> io::Result<()> {
        let end = self.start + self.filled as u64;
        let gap = offset.checked_sub(end).and_then(|gap| usize::try_from(gap).ok());
        match gap.filter(|gap| *gap < PAGE && self.filled > 0 && self.filled + gap <= BUFFER) {
            Some(gap) => {
                self.buffer[self.filled..][..gap].fill(0);
                self.filled += gap;
            }
            None => {
                self.flush()?;
                self.start = offset;
            }
        }
        Ok(())
    }

    /// Writes what was collected, except for pages of zeros.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let _turn = self.turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let place = self.base + self.start;
        let to_page = PAGE - usize::try_from(place % PAGE as u64).map_err(io::Error::other)?;
        let head = to_page.min(self.filled);
        let mut pending = 0..0;
        let mut at = 0;
        while at < self.filled {
            let length = if at == 0 { head } else { PAGE.min(self.filled - at) };
            if self.buffer[at..at + length] == ZEROS[..length] {
                self.write(pending)?;
                pending = at + length..at + length;
            } else {
                pending.end = at + length;
            }
            at += length;
        }
        self.write(pending)?;
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn write(&self, range: std::ops::Range<usize>) -> io::Result<()> {
        let place = self.base + self.start + range.start as u64;
        self.file.write_all_at(&self.buffer[range], place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_back_and_zeros_take_no_room() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let file = File::create(&path).unwrap();
        file.set_len(10 << 20).unwrap();
        let mut writer = SparseWriter::new(&file, 1024);
        writer.put(0, b"first").unwrap();
        writer.put(1000, b"near").unwrap();
        writer.put(2 << 20, &vec![0; 3 << 20]).unwrap();
        let mut reader = &b"content"[..];
        writer.copy(6 << 20, &mut reader, 7).unwrap().unwrap();
        let short = writer.copy((6 << 20) + 7, &mut reader, 1).unwrap();
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        writer.flush().unwrap();
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!(bytes.len(), 10 << 20);
        for (at, text) in [(0, &b"first"[..]), (1000, b"near"), (6 << 20, b"content")] {
            assert_eq!(&bytes[1024 + at..][..text.len()], text);
        }
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 5 + 4 + 7);
        assert!(fs_err::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
    }
}
