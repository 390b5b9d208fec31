//! The indexes of a compressed file: one for each 4096 bytes of it, which says where the extent
//! begins that they lie in, and where its blocks are.
//!
//! An extent that begins in the middle of such a stretch ends the one before it there, so two
//! extents share it at most. Written are full indexes of eight bytes; compact ones of two and four
//! bytes, which mkfs.erofs makes, are read too.
//!
//! Specification: Linux, `fs/erofs/erofs_fs.h` (`z_erofs_lcluster_index`) and `fs/erofs/zmap.c`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::compress::Extent;
use super::format::{BLOCK, INDEX, cluster, le16, le32};

/// How far back an index may point; beyond it a flag begins. Pieces are shorter.
const FARTHEST: u64 = 2047;

/// A stretch of a file and its blocks, as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mapped {
    /// Where in the file it begins, and how long it is, in bytes.
    pub(super) start: u64,
    pub(super) length: u64,
    /// Its first block, and how many there are.
    pub(super) block: u32,
    pub(super) blocks: u32,
    pub(super) compressed: bool,
}

/// The header and the indexes of a file whose extents stand one after the other from `block` on.
pub(super) fn encode(extents: &[Extent], block: u32) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    if let Some(place) = bytes.get_mut(4..6) {
        place.copy_from_slice(&cluster::BIG.to_le_bytes());
    }
    let (mut offset, mut block) = (0_u64, block);
    for extent in extents {
        encode_extent(extent, offset, block, &mut bytes);
        offset = offset.saturating_add(extent.length.into());
        block = block.saturating_add(extent.blocks.into());
    }
    let within = offset.checked_rem(BLOCK).unwrap_or_default();
    if within > 0 && ends_in_a_stretch_of_its_own(extents, within) {
        // The last extent's end, as if a further one began there.
        push(&mut bytes, cluster::PLAIN, within, [0; 4]);
    }
    bytes
}

/// Whether the last extent began in an earlier stretch than it ends in.
fn ends_in_a_stretch_of_its_own(extents: &[Extent], within: u64) -> bool {
    extents.last().is_some_and(|extent| u64::from(extent.length) > within)
}

fn encode_extent(extent: &Extent, offset: u64, block: u32, bytes: &mut Vec<u8>) {
    let within = offset.checked_rem(BLOCK).unwrap_or_default();
    let kind = if extent.compressed { cluster::HEAD } else { cluster::PLAIN };
    push(bytes, kind, within, block.to_le_bytes());
    let next = within.saturating_add(extent.length.into()) / BLOCK;
    for distance in 1..next {
        let back = if distance == 1 {
            extent.blocks | cluster::BLOCK_COUNT
        } else {
            u16::try_from(distance.min(FARTHEST)).unwrap_or_default()
        };
        let forth = next.saturating_sub(distance).min(u16::MAX.into());
        let [a, b] = back.to_le_bytes();
        let [c, d] = u16::try_from(forth).unwrap_or_default().to_le_bytes();
        push(bytes, cluster::NONHEAD, 0, [a, b, c, d]);
    }
}

fn push(bytes: &mut Vec<u8>, kind: u16, within: u64, rest: [u8; 4]) {
    bytes.extend(kind.to_le_bytes());
    bytes.extend(u16::try_from(within).unwrap_or_default().to_le_bytes());
    bytes.extend(rest);
}

/// One index, whichever form it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) kind: u16,
    pub(super) within: u64,
    /// The first block of an extent that begins here.
    pub(super) block: u32,
    /// What a `NONHEAD` says in place of a distance.
    pub(super) blocks: Option<u32>,
}

/// Reads full indexes.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Index>, &'static str> {
    let index = |bytes: &[u8]| {
        let cut = "its indexes are cut off";
        let kind = le16(bytes, 0).ok_or(cut)?;
        if kind > cluster::NONHEAD {
            return Err("an index has flags or a type that nothing here makes");
        }
        let distance = le16(bytes, 4).ok_or(cut)?;
        let counts = kind == cluster::NONHEAD && distance & cluster::BLOCK_COUNT != 0;
        Ok(Index {
            kind,
            within: le16(bytes, 2).ok_or(cut)?.into(),
            block: le32(bytes, 4).ok_or(cut)?,
            blocks: counts.then(|| u32::from(distance & !cluster::BLOCK_COUNT)),
        })
    };
    bytes.chunks_exact(INDEX).map(index).collect()
}

/// Puts together what the indexes of a file of `size` bytes say.
///
/// # Errors
/// The rule that they break.
pub(super) fn extents(indexes: &[Index], size: u64) -> Result<Vec<Mapped>, &'static str> {
    let mut found: Vec<Mapped> = Vec::new();
    let mut at = 0_u64;
    let mut iterator = indexes.iter().peekable();
    while let Some(index) = iterator.next() {
        let start = at.saturating_add(index.within);
        at = at.saturating_add(BLOCK);
        if index.kind == cluster::NONHEAD {
            continue;
        }
        if index.within >= BLOCK {
            return Err("an extent begins beyond its place");
        }
        if start >= size {
            break;
        }
        let blocks = match iterator.peek() {
            Some(Index { kind: cluster::NONHEAD, blocks: Some(count), .. }) => *count,
            _ => 1,
        };
        if let Some(last) = found.last_mut() {
            last.length = start.checked_sub(last.start).ok_or("extents overlap")?;
        } else if start != 0 {
            return Err("the first extent does not begin with the file");
        }
        let compressed = index.kind == cluster::HEAD;
        let blocks = if compressed { blocks } else { 1 };
        found.push(Mapped { start, length: 0, block: index.block, blocks, compressed });
    }
    if let Some(last) = found.last_mut() {
        last.length = size.saturating_sub(last.start);
    }
    let fits = |extent: &Mapped| {
        extent.length > 0 && extent.blocks > 0 && (extent.compressed || extent.length <= BLOCK)
    };
    match found.iter().all(fits) {
        true if !found.is_empty() || size == 0 => Ok(found),
        _ => Err("an extent is empty, or holds more than its block"),
    }
}

/// Reads compact indexes: `count` of them from `bytes` on, which begin `aligned` bytes behind a
/// multiple of 32.
///
/// They come in packs: two indexes in eight bytes, or sixteen in thirty-two. Each pack ends with the
/// block that comes before its first extent; extents stand one after the other.
///
/// # Errors
/// The rule that they break.
pub(super) fn decode_compact(
    bytes: &[u8],
    count: usize,
    aligned: usize,
    flags: u16,
) -> Result<Vec<Index>, &'static str> {
    let cut = "its indexes are cut off";
    let first = 32_usize.saturating_sub(aligned.checked_rem(32).unwrap_or_default()) / 4;
    let first = if first == 8 { 0 } else { first.min(count) };
    let wide = flags & cluster::TWO_BYTES != 0;
    let left = count.saturating_sub(first);
    let short =
        if wide { left.saturating_sub(left.checked_rem(16).unwrap_or_default()) } else { 0 };
    let mut indexes = Vec::new();
    let mut rest = bytes;
    let mut packs = |rest: &mut &[u8], wanted: usize, per_pack: usize, length: usize| {
        let mut done = 0_usize;
        while done < wanted {
            let (pack, behind) = rest.split_at_checked(length).ok_or(cut)?;
            let found = unpack(pack, per_pack, flags & cluster::BIG != 0)?;
            indexes.extend(found.into_iter().take(wanted.saturating_sub(done)));
            done = done.saturating_add(per_pack);
            *rest = behind;
        }
        Ok::<(), &'static str>(())
    };
    packs(&mut rest, first, 2, 8)?;
    packs(&mut rest, short, 16, 32)?;
    packs(&mut rest, left.saturating_sub(short), 2, 8)?;
    Ok(indexes)
}

/// One pack.
fn unpack(pack: &[u8], count: usize, big: bool) -> Result<Vec<Index>, &'static str> {
    let cut = "its indexes are cut off";
    let (fields, base) = pack.split_last_chunk::<4>().ok_or(cut)?;
    let bits = fields.len().saturating_mul(8).checked_div(count).ok_or(cut)?;
    let mut block = u32::from_le_bytes(*base).wrapping_add(u32::from(!big));
    let mut indexes: Vec<Index> = Vec::new();
    for position in 0..count {
        let value = field(pack, position.saturating_mul(bits)).ok_or(cut)?;
        let (low, kind) = (value & 0xFFF, value >> 12 & 3);
        let kind = u16::try_from(kind).unwrap_or_default();
        if kind > cluster::NONHEAD {
            return Err("an index has a type that nothing here makes");
        }
        let flag = u32::from(cluster::BLOCK_COUNT);
        let counted = (kind == cluster::NONHEAD && low & flag != 0).then_some(low & !flag);
        if kind != cluster::NONHEAD {
            indexes.push(Index { kind, within: low.into(), block, blocks: None });
            block = block.wrapping_add(1);
        } else {
            // A pack that begins in the middle of an extent counts its blocks from before it.
            let blocks = counted.filter(|_| big);
            if let Some(blocks) = blocks {
                let before = u32::from(position > 0);
                block = block.wrapping_add(blocks.wrapping_sub(before));
            }
            indexes.push(Index { kind, within: 0, block: 0, blocks });
        }
    }
    Ok(indexes)
}

/// The 32 bits from bit `at` on, as far as there are so many.
fn field(pack: &[u8], at: usize) -> Option<u32> {
    let mut word = [0; 4];
    let bytes = pack.get(at / 8..)?;
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let shift = u32::try_from(at.checked_rem(8)?).ok()?;
    u32::from_le_bytes(word).checked_shr(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(length: u32, blocks: u16, compressed: bool) -> Extent {
        Extent { length, blocks, compressed }
    }

    /// Encodes, reads back, and compares.
    fn check(extents: &[Extent]) {
        let bytes = encode(extents, 100);
        let size: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
        let indexes = decode(bytes.get(16..).unwrap()).unwrap();
        assert_eq!(u64::try_from(indexes.len()), Ok(size.div_ceil(BLOCK)), "{extents:?}");
        let found = super::extents(&indexes, size).unwrap();
        let (mut start, mut block) = (0, 100);
        for (wanted, found) in extents.iter().zip(&found) {
            let Extent { length, blocks, compressed } = *wanted;
            let (length, blocks) = (u64::from(length), u32::from(blocks));
            assert_eq!(found, &Mapped { start, length, block, blocks, compressed });
            start = start.saturating_add(length);
            block = block.saturating_add(blocks);
        }
        assert_eq!(found.len(), extents.len());
    }

    #[test]
    fn extents_come_back_from_their_indexes() {
        check(&[extent(4096, 1, false)]);
        check(&[extent(4097, 1, true)]);
        check(&[extent(1_000_000, 4, true)]);
        check(&[extent(10_000, 2, true), extent(4096, 1, false), extent(3000, 1, false)]);
        check(&[extent(8192, 1, true), extent(5000, 1, true), extent(100, 1, false)]);
        check(&[extent(9000, 2, true), extent(4096, 1, false), extent(20_000, 4, true)]);
        check(&[extent(4096, 1, false), extent(1, 1, false)]);
    }

    #[test]
    fn indexes_that_lie_are_refused() {
        let good = encode(&[extent(10_000, 2, true), extent(4096, 1, false)], 5);
        let read = |bytes: &[u8]| {
            decode(bytes.get(16..).unwrap()).and_then(|indexes| super::extents(&indexes, 14_096))
        };
        read(&good).unwrap();
        // The first index: type, offset; the second: how many blocks; the third: offset.
        for (at, value) in [(16, 3), (17, 0x80), (18, 1), (19, 0x10), (28, 0), (35, 0x10), (16, 2)]
        {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() = value;
            assert!(read(&bad).is_err(), "{at}");
        }
        assert!(super::extents(&[], 1).is_err());
    }
}
