//! Reads small pieces of a medium that lie beside each other, such as inodes, with few calls.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::medium::{Medium as _, Window};

/// Pieces up to this many bytes are read with what stands around them.
const SMALL: usize = 1 << 10;
/// Bytes that are read then, from a multiple of them on.
const STRETCH: u64 = 16 << 10;

/// A medium, and the stretch of it that was read last.
pub(super) struct Ahead<'m> {
    medium: Window<'m>,
    last: Mutex<Stretch>,
}

#[derive(Default)]
struct Stretch {
    start: u64,
    bytes: Vec<u8>,
}

impl<'m> Ahead<'m> {
    /// Nothing is read yet.
    pub(super) fn new(medium: Window<'m>) -> Self {
        Self { medium, last: Mutex::default() }
    }

    /// Fills `bytes` with what stands at `offset`.
    ///
    /// # Errors
    /// As those of [`super::Medium::read_at`].
    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if bytes.len() > SMALL {
            return self.medium.read_at(offset, bytes);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.fill(offset, bytes) {
            return Ok(());
        }
        // What cannot be read around a piece says nothing about the piece.
        if last.read(self.medium, offset).is_ok() && last.fill(offset, bytes) {
            return Ok(());
        }
        self.medium.read_at(offset, bytes)
    }
}

impl std::fmt::Debug for Ahead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("medium", &self.medium).finish_non_exhaustive()
    }
}

impl Stretch {
    /// Fills `bytes`, if all of them are here.
    fn fill(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let start = offset.checked_sub(self.start).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(bytes.len())?));
        let found = range.and_then(|range| self.bytes.get(range));
        if let Some(found) = found {
            bytes.copy_from_slice(found);
        }
        found.is_some()
    }

    /// Reads the stretch around `offset`.
    fn read(&mut self, medium: Window<'_>, offset: u64) -> io::Result<()> {
        self.bytes.clear();
        let start = offset.saturating_sub(offset % STRETCH);
        let length = medium.size()?.saturating_sub(start).min(STRETCH);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        medium.read_at(start, &mut bytes)?;
        *self = Self { start, bytes };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::image::Medium;

    /// A medium that counts how often it is read.
    struct Counted(Vec<u8>, AtomicUsize);

    impl Medium for Counted {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read_at(offset, bytes)
        }
    }

    fn counted(size: usize) -> Counted {
        Counted((0..size).map(|at| (at / 256).to_le_bytes()[0]).collect(), AtomicUsize::new(0))
    }

    #[test]
    fn pieces_beside_each_other_take_one_call() {
        let medium = counted(40 << 10);
        let ahead = Ahead::new(Window::new(&medium, 0, 40 << 10));
        for number in 0..64 {
            let mut piece = [0; 256];
            ahead.read_at(number * 256, &mut piece).unwrap();
            assert_eq!(piece, [number.to_le_bytes()[0]; 256]);
        }
        assert_eq!(medium.1.load(Ordering::Relaxed), 1);
        // Over the end of a stretch, the last piece of the medium, and a large one.
        for (offset, length) in [(16_300, 300), (40_900, 60), (5, 9_000)] {
            let mut piece = vec![0; length];
            ahead.read_at(offset, &mut piece).unwrap();
            let start = usize::try_from(offset).unwrap();
            assert_eq!(piece, medium.0[start..start + length]);
        }
        assert!(ahead.read_at(40_900, &mut [0; 61]).is_err());
    }

    #[test]
    fn a_piece_before_the_end_of_a_cut_medium_is_found() {
        let medium = counted(1_000);
        let ahead = Ahead::new(Window::new(&medium, 0, 1 << 20));
        let mut piece = [0; 256];
        ahead.read_at(512, &mut piece).unwrap();
        assert_eq!(piece, [2; 256]);
        assert!(ahead.read_at(900, &mut piece).is_err());
    }
}
