//! Compresses a piece of a file's content into clusters: runs of whole blocks, each of which a
//! kernel decompresses by itself.
//!
//! A compressor is asked for as much input as fits into a cluster. What does not shrink stays as it
//! is, a block for each 4096 bytes. The result depends on the bytes alone.
//!
//! The LZ4 block format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>. Compressed
//! data stands at the end of its blocks: zeros come first, so that a kernel can decompress in place.

use lzzzz::{lz4, lz4_hc};

use super::format::BLOCK_SIZE;
use crate::recipe::Compression;

/// Blocks of the largest compressed cluster. Larger ones compress better, but a kernel that wants a
/// single page decompresses all of one.
pub(super) const CLUSTER_BLOCKS: u16 = 4;
/// How hard `lz4hc` tries: as mkfs.erofs does. In clusters of this size `lz4` alone makes a Debian
/// tree 2 % smaller than mkfs.erofs makes it in its clusters of one block with `lz4hc`.
const LEVEL: i32 = 9;
/// Pieces of a content are compressed apart, on as many threads as there are. Their size decides
/// about the bytes, so it is the same everywhere; each piece may waste a part of a block.
pub(super) const PIECE: usize = 1 << 20;

/// A stretch of a content and the blocks that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// How many bytes of the content.
    pub(super) length: u32,
    /// How many blocks. One that is not compressed takes one.
    pub(super) blocks: u16,
    pub(super) compressed: bool,
}

/// A piece in the form in which it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    /// The blocks of all extents, one after the other.
    pub(super) bytes: Vec<u8>,
    pub(super) extents: Vec<Extent>,
}

/// Packs a piece.
pub(super) fn pack(piece: &[u8], compression: Compression) -> Packed {
    let mut packed = Packed::default();
    let mut rest = piece;
    let mut cluster = vec![0; usize::from(CLUSTER_BLOCKS) * BLOCK_SIZE];
    while !rest.is_empty() {
        let taken = match fill(rest, &mut cluster, compression) {
            Some((taken, length)) => {
                packed.compressed(taken, &cluster[..length]);
                taken
            }
            // As far as the compressor looked, nothing is gained: it need not look again.
            None => packed.plain(&rest[..rest.len().min(cluster.len())]),
        };
        rest = &rest[taken..];
    }
    packed
}

/// Compresses as much of `rest` as fits into `cluster`: how much that was, and how long it became.
/// `None` when it takes as many blocks as before.
fn fill(rest: &[u8], cluster: &mut [u8], compression: Compression) -> Option<(usize, usize)> {
    if rest.len() <= BLOCK_SIZE {
        return None;
    }
    let filled = match compression {
        Compression::None => return None,
        Compression::Lz4 => lz4::compress_fill(rest, cluster),
        Compression::Lz4hc => lz4_hc::compress_fill(rest, cluster, LEVEL),
    };
    let (taken, length) = filled.ok()?;
    (taken > length.next_multiple_of(BLOCK_SIZE)).then_some((taken, length))
}

impl Packed {
    /// Adds a compressed extent.
    fn compressed(&mut self, taken: usize, bytes: &[u8]) {
        let padding = bytes.len().next_multiple_of(BLOCK_SIZE) - bytes.len();
        self.bytes.resize(self.bytes.len() + padding, 0);
        self.bytes.extend(bytes);
        let blocks = bytes.len().div_ceil(BLOCK_SIZE);
        self.extents.push(Extent {
            length: u32::try_from(taken).expect("a piece is small"),
            blocks: u16::try_from(blocks).expect("a cluster has few blocks"),
            compressed: true,
        });
    }

    /// Adds bytes as they are. Returns how many.
    fn plain(&mut self, bytes: &[u8]) -> usize {
        for block in bytes.chunks(BLOCK_SIZE) {
            self.bytes.extend(block);
            self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK_SIZE), 0);
            let length = u32::try_from(block.len()).expect("a block is small");
            self.extents.push(Extent { length, blocks: 1, compressed: false });
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn unpack(packed: &Packed) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = &packed.bytes[..];
        for extent in &packed.extents {
            let (blocks, behind) = rest.split_at(usize::from(extent.blocks) * BLOCK_SIZE);
            let length = extent.length as usize;
            if extent.compressed {
                let start = blocks.iter().position(|byte| *byte != 0).unwrap();
                let mut out = vec![0; length];
                assert_eq!(lz4::decompress(&blocks[start..], &mut out).unwrap(), length);
                bytes.extend(out);
            } else {
                bytes.extend(&blocks[..length]);
            }
            rest = behind;
        }
        assert!(rest.is_empty());
        bytes
    }

    #[test]
    fn what_was_packed_comes_back_and_never_takes_more_blocks() {
        let text = b"a text that repeats itself, more or less ".repeat(40_000);
        let mixed = [&text[..100_000], &noise(100_000), &text[..50_001]].concat();
        for content in [&b""[..], b"x", &text, &mixed, &noise(70_000), &[0; 300_000]] {
            for compression in [Compression::None, Compression::Lz4, Compression::Lz4hc] {
                let packed = pack(content, compression);
                assert_eq!(unpack(&packed), content);
                assert!(packed.bytes.len() <= content.len().next_multiple_of(BLOCK_SIZE));
                for extent in packed.extents.iter().filter(|extent| extent.compressed) {
                    assert!(extent.length as usize > usize::from(extent.blocks) * BLOCK_SIZE);
                    assert!(extent.blocks <= CLUSTER_BLOCKS);
                }
            }
        }
        assert!(pack(&text, Compression::Lz4hc).bytes.len() < text.len() / 20);
        assert!(pack(&noise(70_000), Compression::Lz4hc).extents.iter().all(|e| !e.compressed));
    }
}
