//! Which bytes of a file system something leads to.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use crate::image::Error;

/// Stretches of bytes, none of which overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// The end of each stretch by its start.
    stretches: BTreeMap<u64, u64>,
}

impl Claims {
    /// Claims `length` bytes from `start` on for `place`.
    ///
    /// # Errors
    /// [`Error::Broken`] when one of them is taken.
    pub(super) fn claim(&mut self, place: &str, start: u64, length: u64) -> Result<(), Error> {
        let end = start.saturating_add(length);
        let before = self.stretches.range(..end).next_back();
        if length > 0 && before.is_some_and(|(_, taken)| *taken > start) {
            return Err(Error::broken(place, "it uses bytes that something else uses"));
        }
        if length > 0 {
            self.stretches.insert(start, end);
        }
        Ok(())
    }

    /// The stretches before `size` that nothing leads to, by start and end.
    pub(super) fn gaps(&self, size: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut behind = 0;
        for (&start, &end) in self.stretches.iter().chain([(&size, &size)]) {
            if behind < start.min(size) {
                gaps.push((behind, start.min(size)));
            }
            behind = behind.max(end);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_refused_and_gaps_are_what_is_left() {
        let mut claims = Claims::default();
        claims.claim("a", 10, 10).unwrap();
        claims.claim("b", 20, 5).unwrap();
        claims.claim("c", 0, 0).unwrap();
        for (start, length) in [(10, 1), (19, 1), (5, 6), (0, 100), (24, 9), (12, 2)] {
            assert!(claims.claim("d", start, length).is_err(), "{start}");
        }
        claims.claim("e", 5, 5).unwrap();
        assert_eq!(claims.gaps(30), [(0, 5), (25, 30)]);
        assert_eq!(claims.gaps(25), [(0, 5)]);
        assert_eq!(Claims::default().gaps(0), []);
    }
}
