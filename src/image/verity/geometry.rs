//! How many blocks of digests there are, level by level.
//!
//! A block holds 128 digests. The level next to the data comes last on disk, the single block on
//! top first; one block of data alone needs no level: its digest is the root hash.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

/// Digests in a block.
pub(super) const FAN_OUT: u64 = 128;

/// The levels of a tree, the top first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) levels: Vec<Level>,
}

/// The blocks of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Its first block, counted from the top of the tree.
    pub(super) first: u64,
    /// How many it has.
    pub(super) count: u64,
}

impl Geometry {
    /// The levels over so many blocks of data.
    pub(super) fn new(data_blocks: u64) -> Self {
        let mut counts = Vec::new();
        let mut count = data_blocks;
        while count > 1 {
            count = count.div_ceil(FAN_OUT);
            counts.push(count);
        }
        let mut first = 0_u64;
        let place = |count| {
            let level = Level { first, count };
            first = first.saturating_add(count);
            level
        };
        Self { levels: counts.into_iter().rev().map(place).collect() }
    }

    /// Blocks of all levels together.
    pub(super) fn blocks(&self) -> u64 {
        self.levels.last().map_or(0, |level| level.first.saturating_add(level.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_levels_grow_where_the_fan_out_is_exceeded() {
        let levels = |blocks| {
            let levels = Geometry::new(blocks).levels;
            levels.into_iter().map(|level| (level.first, level.count)).collect::<Vec<_>>()
        };
        assert_eq!(levels(1), []);
        assert_eq!(levels(2), [(0, 1)]);
        assert_eq!(levels(128), [(0, 1)]);
        assert_eq!(levels(129), [(0, 1), (1, 2)]);
        assert_eq!(levels(128 * 128), [(0, 1), (1, 128)]);
        assert_eq!(levels(128 * 128 + 1), [(0, 1), (1, 2), (3, 129)]);
        assert_eq!(Geometry::new(128 * 128 + 1).blocks(), 132);
        assert_eq!(Geometry::new(1).blocks(), 0);
    }
}
