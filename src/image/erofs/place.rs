//! Finds places for inodes, and for what is kept behind them, in the blocks of metadata.
//!
//! What is shorter than a block lies within one: kernels want that of data behind inodes, and it
//! costs others nothing. Blocks that still have room are kept open, the most recent ones, and the
//! fullest that suffices is taken: little room is lost, and neighbours stay near.

use std::collections::VecDeque;

use super::format::{BLOCK, SLOT};

/// How many blocks with room are kept open.
const OPEN: usize = 64;

/// Hands out places, in bytes from the beginning of the metadata.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Where each open block still has room, in the order in which they were begun.
    open: VecDeque<u64>,
    /// The block after the last one.
    next: u64,
}

impl Places {
    /// The place of the next `length` bytes: a multiple of a slot. The first one is 0.
    pub(super) fn take(&mut self, length: u64) -> u64 {
        let length = length.next_multiple_of(SLOT);
        let room = |place: u64| place.next_multiple_of(BLOCK) - place;
        let fits = self.open.iter().enumerate().filter(|(_, place)| room(**place) >= length);
        let found = fits.min_by_key(|(_, place)| room(**place)).map(|(index, _)| index);
        let place = match found.and_then(|index| self.open.remove(index)) {
            Some(place) => place,
            None => {
                let place = self.next * BLOCK;
                self.next += length.div_ceil(BLOCK);
                place
            }
        };
        let rest = place + length;
        if !rest.is_multiple_of(BLOCK) {
            self.open.push_back(rest);
            if self.open.len() > OPEN {
                self.close_one();
            }
        }
        place
    }

    /// Gives up the block with the least room.
    fn close_one(&mut self) {
        let room = |place: u64| place.next_multiple_of(BLOCK) - place;
        let least = self.open.iter().enumerate().min_by_key(|(_, place)| room(**place));
        if let Some(index) = least.map(|(index, _)| index) {
            self.open.remove(index);
        }
    }

    /// Blocks in all.
    pub(super) fn blocks(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap_nor_cross_blocks_without_need() {
        let mut places = Places::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for number in 0..3000_u64 {
            let length = 1 + number * 7919 % if number % 50 == 0 { 20_000 } else { 3000 };
            let place = places.take(length);
            assert!(place.is_multiple_of(SLOT));
            let crosses = place / BLOCK != (place + length - 1) / BLOCK;
            assert!(!crosses || length > BLOCK && place.is_multiple_of(BLOCK));
            taken.push((place, place + length));
        }
        assert_eq!(taken[0].0, 0);
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        let used: u64 = taken.iter().map(|(start, end)| end - start).sum();
        assert!(taken.last().unwrap().1 <= places.blocks() * BLOCK);
        assert!(used * 100 > places.blocks() * BLOCK * 90, "a tenth at most is lost");
    }
}
