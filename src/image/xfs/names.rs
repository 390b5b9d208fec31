//! Reads the names of a directory that somebody else may have written, in any of its forms.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::directory::{FREE_TAG, NAMES_AT, Place};
use super::format::{BLOCK, FREE_AT, INDEX_AT, be16, be32, be64, byte, field, hash, magic, wide};

/// What was read of a directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) entries: Vec<(Vec<u8>, u64, u8)>,
    /// What `..` leads to.
    pub(super) parent: Option<u64>,
    /// What `.` leads to, where it is written.
    pub(super) own: Option<u64>,
    /// Where each name stands, with its hash.
    places: Vec<Place>,
    /// The same, as the index says.
    index: Vec<Place>,
}

const CUT: &str = "a directory is cut off";

/// Reads a directory in an inode; or the rule that it breaks.
pub(super) fn read_local(bytes: &[u8]) -> Result<Names, &'static str> {
    let count = byte(bytes, 0).ok_or(CUT)?;
    if byte(bytes, 1) != Some(0) {
        return Err("a directory in an inode has inodes of 64 bits");
    }
    let parent = be32(bytes, 2).ok_or(CUT)?;
    let mut names = Names { parent: Some(parent.into()), ..Names::default() };
    let mut rest = bytes.get(6..).ok_or(CUT)?;
    for _ in 0..count {
        let length = usize::from(byte(rest, 0).ok_or(CUT)?);
        let behind = length.checked_add(3).ok_or(CUT)?;
        let name = rest.get(3..behind).ok_or(CUT)?.to_vec();
        let kind = byte(rest, behind).ok_or(CUT)?;
        let inode = be32(rest, behind.checked_add(1).ok_or(CUT)?).ok_or(CUT)?;
        names.entries.push((name, inode.into(), kind));
        rest = rest.get(behind.checked_add(5).ok_or(CUT)?..).ok_or(CUT)?;
    }
    if rest.is_empty() { Ok(names) } else { Err("a directory has bytes behind its names") }
}

impl Names {
    /// Takes in the block of the directory that stands at `logical`.
    pub(super) fn add(&mut self, logical: u64, block: &[u8]) -> Result<(), &'static str> {
        let four = field::<4>(block, 0).ok_or(CUT)?;
        let two = field::<2>(block, 8).ok_or(CUT)?;
        match (four, two) {
            (magic::DIRECTORY_BLOCK, _) if logical == 0 => self.add_single(block),
            (magic::DIRECTORY_DATA, _) if logical < INDEX_AT => {
                self.add_names(logical, block, BLOCK)
            }
            (magic::DIRECTORY_FREE, _) if logical >= FREE_AT => Ok(()),
            (_, magic::LEAF_ALONE | magic::LEAF) if (INDEX_AT..FREE_AT).contains(&logical) => {
                let count = usize::from(be16(block, 56).ok_or(CUT)?);
                self.add_index(block, NAMES_AT, count)
            }
            (_, magic::NODE) if (INDEX_AT..FREE_AT).contains(&logical) => Ok(()),
            _ => Err("a block of a directory stands where it does not belong"),
        }
    }

    fn add_single(&mut self, block: &[u8]) -> Result<(), &'static str> {
        let count = be32(block, BLOCK.saturating_sub(8)).ok_or(CUT)?;
        let size = usize::try_from(count).ok().and_then(|count| count.checked_mul(8));
        let index_at = size.and_then(|size| BLOCK.checked_sub(8)?.checked_sub(size));
        let index_at = index_at.filter(|&at| at >= NAMES_AT).ok_or(CUT)?;
        self.add_names(0, block, index_at)?;
        self.add_index(block, index_at, usize::try_from(count).map_err(|_| CUT)?)
    }

    fn add_index(&mut self, block: &[u8], at: usize, count: usize) -> Result<(), &'static str> {
        let (all, _) = block.get(at..).ok_or(CUT)?.as_chunks::<8>();
        let mut last = 0;
        for entry in all.get(..count).ok_or(CUT)? {
            let place = (be32(entry, 0).ok_or(CUT)?, be32(entry, 4).ok_or(CUT)?);
            if place.0 < last {
                return Err("an index of a directory is not sorted");
            }
            last = place.0;
            // What was removed stays as a place that is none.
            if place.1 != 0 {
                self.index.push(place);
            }
        }
        Ok(())
    }

    fn add_names(&mut self, logical: u64, block: &[u8], end: usize) -> Result<(), &'static str> {
        let mut at = NAMES_AT;
        while at < end {
            let rest = block.get(at..end).ok_or(CUT)?;
            let size = if be16(rest, 0) == Some(FREE_TAG) {
                usize::from(be16(rest, 2).ok_or(CUT)?)
            } else {
                self.add_name(logical, at, rest)?
            };
            let is_tagged = size >= 8
                && size.is_multiple_of(8)
                && be16(rest, size.saturating_sub(2)).map(usize::from) == Some(at);
            if !is_tagged {
                return Err("names of a directory overlap");
            }
            at = at.saturating_add(size);
        }
        if at == end { Ok(()) } else { Err("names of a directory overlap its index") }
    }

    fn add_name(&mut self, logical: u64, at: usize, rest: &[u8]) -> Result<usize, &'static str> {
        let inode = be64(rest, 0).ok_or(CUT)?;
        let length = usize::from(byte(rest, 8).ok_or(CUT)?);
        let behind = length.saturating_add(9);
        let name = rest.get(9..behind).ok_or(CUT)?;
        let kind = byte(rest, behind).ok_or(CUT)?;
        let offset = logical.checked_mul(wide(BLOCK)).and_then(|o| o.checked_add(wide(at)));
        let place = offset.and_then(|offset| u32::try_from(offset / 8).ok()).ok_or(CUT)?;
        self.places.push((hash(name), place));
        let dot = match name {
            b"." => Some(&mut self.own),
            b".." => Some(&mut self.parent),
            _ => None,
        };
        match dot {
            None => self.entries.push((name.to_vec(), inode, kind)),
            Some(dot) if dot.is_none() => *dot = Some(inode),
            Some(_) => return Err("`.` or `..` stands there twice"),
        }
        Ok(behind.saturating_add(3).next_multiple_of(8))
    }

    /// Whether the index leads to every name and nowhere else: then looking a name up finds what
    /// listing shows.
    pub(super) fn is_indexed(&mut self) -> bool {
        self.index.sort_unstable();
        self.places.sort_unstable();
        self.index == self.places
    }
}
