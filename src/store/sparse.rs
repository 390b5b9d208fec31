//! Reads a sparse file without asking the kernel for its holes, which would find a page for each and
//! fill it with zeros first.

use std::io::{self, Read};

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Reads a file that nobody else writes to, from its first byte. The file's cursor moves.
#[derive(Debug)]
pub struct SparseReader<'f> {
    file: &'f File,
    at: u64,
    /// The next bytes: up to where they go, and whether the file holds them or they are a hole.
    stretch: (u64, Kind),
}

/// What a stretch of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Hole,
}

impl<'f> SparseReader<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, at: 0, stretch: (0, Kind::Data) }
    }

    /// Finds out what begins where the last stretch ended (lseek(2)). A file system that does not
    /// know holes says that all is data; where none follows, `read` finds the end of the file.
    fn next_stretch(&mut self) -> io::Result<()> {
        let seek = |to| match rustix::fs::seek(self.file, to) {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(io::Error::from(error)),
        };
        let size = self.file.metadata()?.len();
        self.stretch = match seek(SeekFrom::Data(self.at))? {
            Some(start) if start > self.at => (start, Kind::Hole),
            Some(_) => (seek(SeekFrom::Hole(self.at))?.unwrap_or(size), Kind::Data),
            None => (size, Kind::Hole),
        };
        Ok(())
    }
}

impl Read for SparseReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.stretch.0 {
            self.next_stretch()?;
        }
        let (end, kind) = self.stretch;
        let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let part = &mut buffer[..length];
        let count = match kind {
            Kind::Data => self.file.read_at(part, self.at)?,
            Kind::Hole => {
                part.fill(0);
                length
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_file_holds_wherever_its_holes_are() {
        let folder = tempfile::tempdir().unwrap();
        let cases: [(u64, &[(u64, u64)]); 6] = [
            (0, &[]),
            (10_000, &[]),
            (10_000, &[(0, 10_000)]),
            (1 << 20, &[(0, 3), (300_000, 100_000)]),
            (1 << 20, &[(1 << 19, 1 << 19)]),
            ((1 << 20) + 7, &[(0, 1), (1 << 20, 7)]),
        ];
        for (number, (size, written)) in cases.into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            let options = fs_err::OpenOptions::new();
            let file = { options }.read(true).write(true).create(true).open(&path).unwrap();
            file.set_len(size).unwrap();
            for &(start, length) in written {
                file.write_all_at(&vec![7; usize::try_from(length).unwrap()], start).unwrap();
            }
            let mut found = Vec::new();
            SparseReader::new(&file).read_to_end(&mut found).unwrap();
            assert!(found == fs_err::read(&path).unwrap(), "case {number}");
        }
    }
}
