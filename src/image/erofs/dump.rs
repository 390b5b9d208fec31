//! A file system as text, and what nothing in it leads to.
//!
//! The text is for people who look at an image, and for tests, which compare it and not bytes. It is
//! made from what stands in the image, not from what was planned.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::fmt::Write as _;

use super::format::{BLOCK, layout};
use super::map::FileMap;
use super::reader::FileSystem;
use super::volume::{Found, read_failed};
use crate::image::{Error, Medium};

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The UUID.
    pub uuid: [u8; 16],
    /// Blocks of 4096 bytes.
    pub blocks: u64,
    /// How many inodes there are.
    pub inodes: u64,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Whether contents may be compressed.
    pub compressed: bool,
}

impl FileSystem<'_> {
    /// What the superblock says.
    pub fn summary(&self) -> Summary {
        let superblock = &self.contents.volume.superblock;
        Summary {
            uuid: superblock.uuid,
            blocks: superblock.blocks.into(),
            inodes: superblock.inodes,
            time: superblock.time,
            compressed: superblock.incompatible != 0,
        }
    }

    /// Everything as text; see the head of this file.
    pub fn dump(&self) -> String {
        let superblock = &self.contents.volume.superblock;
        let mut text = format!(
            "{} blocks, {} inodes from block {} on, root at slot {}, shared attributes at block \
             {}, clusters of {} blocks, features {:#x}, time {}\n",
            superblock.blocks,
            superblock.inodes,
            superblock.meta_block,
            superblock.root,
            superblock.attribute_block,
            superblock.cluster_blocks,
            superblock.incompatible,
            superblock.time,
        );
        for (slot, (found, map)) in &self.inodes {
            writeln!(text, "slot {slot}: {}", line(found, map)).expect("a string takes all");
        }
        text.push_str(&self.tree.to_listing());
        text
    }

    /// Returns the offset, within the file system, of a byte that nothing leads to and that is not
    /// zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        let volume = &self.contents.volume;
        let slack = self.inodes.values().filter_map(|(_, map)| slack(map));
        for (start, end) in self.claims.gaps(volume.size()).into_iter().chain(slack) {
            let mut at = start;
            while at < end {
                let length = end.saturating_sub(at).min(1 << 20);
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
                volume.medium.read_at(at, &mut bytes).map_err(read_failed)?;
                let stray = (at..).zip(&bytes).find(|(_, byte)| **byte != 0);
                if let Some((place, _)) = stray.filter(|(place, _)| !self.is_attribute(*place)) {
                    return Ok(Some(place));
                }
                at = at.saturating_add(length);
            }
        }
        Ok(None)
    }

    /// Whether a byte stands in the table of shared attributes.
    fn is_attribute(&self, place: u64) -> bool {
        let superblock = &self.contents.volume.superblock;
        let start = u64::from(superblock.attribute_block).saturating_mul(BLOCK);
        let end = u64::from(superblock.meta_block).saturating_mul(BLOCK);
        superblock.attribute_block != 0 && (start..end).contains(&place)
    }
}

/// The part of a file's last block that it does not fill: start and end.
fn slack(map: &FileMap) -> Option<(u64, u64)> {
    let last = map.parts.last().filter(|part| !part.compressed && part.stored > part.length)?;
    let end = last.place.saturating_add(last.stored);
    Some((last.place.saturating_add(last.length), end))
}

fn line(found: &Found, map: &FileMap) -> String {
    let inode = &found.inode;
    let layout = match inode.layout {
        layout::PLAIN => "plain",
        layout::INLINE => "inline",
        layout::COMPRESSED => "compressed",
        _ => "compressed, compact",
    };
    let mut text =
        format!("mode {:o}, {} links, {} bytes, {layout}", inode.mode, inode.links, inode.size);
    for part in &map.parts {
        let block = part.place / BLOCK;
        let blocks = part.stored.div_ceil(BLOCK);
        let sign = if part.compressed { "<" } else { "=" };
        write!(text, ", {}{sign}{block}+{blocks}", part.length).expect("a string takes all");
    }
    text
}
