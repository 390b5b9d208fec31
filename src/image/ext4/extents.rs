//! The map from the blocks of a file to the blocks of the file system: a tree of extents.
//!
//! Up to four extents stand in the inode; more go to blocks of their own, which the inode then
//! points to. Specification: <https://docs.kernel.org/filesystems/ext4/ifork.html#extent-tree>.

use super::checksum::Seed;
use super::format::{halves, join, le16, le32, put};
use crate::image::blocks::Run;

/// Marks a node of the tree.
pub(super) const MAGIC: u16 = 0xF30A;
/// The kernel accepts no deeper tree: five levels map every file that can be.
pub(super) const DEPTH_MAX: u16 = 5;
/// Bytes of a node's header, of an entry, and of the checksum behind the entries.
const HEADER: usize = 12;
const ENTRY: usize = 12;
const TAIL: usize = 4;
/// Entries that fit into an inode.
const IN_INODE: usize = 4;
/// Blocks that one extent maps at most; larger lengths mean blocks that were never written.
pub(super) const LENGTH_MAX: u64 = 32_768;

/// An entry of a node: a leaf maps `length` blocks, an index points to the node at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The first block of the file that this is about.
    pub(super) logical: u32,
    /// Blocks mapped, as they stand on disk; 0 in an index.
    pub(super) length: u16,
    /// A block of the file system.
    pub(super) start: u64,
}

/// A node of the tree, read from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Levels below this one.
    pub(super) depth: u16,
    /// Its entries.
    pub(super) entries: Vec<Entry>,
}

/// A finished map: what stands in the inode, and the blocks below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// The inode's part.
    pub(super) root: [u8; 60],
    /// Nodes in blocks of their own: place and bytes.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

impl Map {
    /// Maps a file to `runs`, in their order. `allocate` gives a block for each node that does not
    /// fit into the inode; `seed` is that of the inode.
    pub(super) fn build(
        runs: &[Run],
        block_size: usize,
        seed: Seed,
        mut allocate: impl FnMut() -> u64,
    ) -> Self {
        let mut entries = leaf_entries(runs);
        let mut nodes = Vec::new();
        let mut depth = 0;
        while entries.len() > IN_INODE {
            let mut above = Vec::new();
            for part in entries.chunks(capacity(block_size)) {
                let start = allocate();
                nodes.push((start, node_block(part, depth, block_size, seed)));
                above.push(Entry { logical: part[0].logical, length: 0, start });
            }
            entries = above;
            depth += 1;
        }
        let mut root = [0; 60];
        encode(&mut root, &entries, depth, IN_INODE);
        Self { root, nodes }
    }
}

/// Entries that fit into a block.
fn capacity(block_size: usize) -> usize {
    (block_size - HEADER - TAIL) / ENTRY
}

fn leaf_entries(runs: &[Run]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut logical = 0;
    for run in runs {
        let mut done = 0;
        while done < run.count {
            let count = LENGTH_MAX.min(run.count - done);
            let length = u16::try_from(count).expect("an extent is at most 32768 blocks long");
            entries.push(Entry { logical, length, start: run.start + done });
            logical += u32::from(length);
            done += count;
        }
    }
    entries
}

fn node_block(entries: &[Entry], depth: u16, block_size: usize, seed: Seed) -> Vec<u8> {
    let mut block = vec![0; block_size];
    let capacity = capacity(block_size);
    encode(&mut block, entries, depth, capacity);
    let tail = HEADER + capacity * ENTRY;
    let checksum = seed.over(&block[..tail]);
    put(&mut block, tail, checksum.to_le_bytes());
    block
}

fn encode(bytes: &mut [u8], entries: &[Entry], depth: u16, capacity: usize) {
    let number = |count: usize| u16::try_from(count).expect("a node holds few entries");
    put(bytes, 0, MAGIC.to_le_bytes());
    put(bytes, 2, number(entries.len()).to_le_bytes());
    put(bytes, 4, number(capacity).to_le_bytes());
    put(bytes, 6, depth.to_le_bytes());
    for (entry, bytes) in entries.iter().zip(bytes[HEADER..].chunks_exact_mut(ENTRY)) {
        let (high, low) = halves(entry.start);
        let [high0, high1, ..] = high.to_le_bytes();
        put(bytes, 0, entry.logical.to_le_bytes());
        if depth == 0 {
            put(bytes, 4, entry.length.to_le_bytes());
            put(bytes, 6, [high0, high1]);
            put(bytes, 8, low.to_le_bytes());
        } else {
            put(bytes, 4, low.to_le_bytes());
            put(bytes, 8, [high0, high1]);
        }
    }
}

impl Node {
    /// Reads a node from an inode's 60 bytes or from a block.
    ///
    /// # Errors
    /// The rule that its header or the order of its entries breaks.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "the node of an extent tree is cut off";
        let (count, capacity) = (le16(bytes, 2).ok_or(SHORT)?, le16(bytes, 4).ok_or(SHORT)?);
        let depth = le16(bytes, 6).ok_or(SHORT)?;
        let room = bytes.len().saturating_sub(HEADER) / ENTRY;
        if le16(bytes, 0) != Some(MAGIC) {
            return Err("the node of an extent tree has no magic number");
        }
        if depth > DEPTH_MAX {
            return Err("an extent tree is deeper than five levels");
        }
        if count > capacity || usize::from(capacity) > room {
            return Err("a node holds more extents than it has room for");
        }
        let entries = bytes.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY);
        let entries: Option<Vec<_>> = entries
            .take(usize::from(count))
            .map(|bytes| if depth == 0 { decode_leaf(bytes) } else { decode_index(bytes) })
            .collect();
        Ok(Self { depth, entries: entries.ok_or(SHORT)? })
    }
}

/// Whether the checksum of a node in a block is right.
pub(super) fn is_intact(block: &[u8], seed: Seed) -> bool {
    let capacity = usize::from(le16(block, 4).unwrap_or_default());
    let tail = capacity.saturating_mul(ENTRY).saturating_add(HEADER);
    block.get(..tail).is_some_and(|body| le32(block, tail) == Some(seed.over(body)))
}

fn decode_leaf(bytes: &[u8]) -> Option<Entry> {
    let start = join(u32::from(le16(bytes, 6)?), le32(bytes, 8)?);
    Some(Entry { logical: le32(bytes, 0)?, length: le16(bytes, 4)?, start })
}

fn decode_index(bytes: &[u8]) -> Option<Entry> {
    let start = join(u32::from(le16(bytes, 8)?), le32(bytes, 4)?);
    Some(Entry { logical: le32(bytes, 0)?, length: 0, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u64) -> Vec<Run> {
        (0..count).map(|index| Run { start: 100 + 10 * index, count: 5 }).collect()
    }

    fn build(runs: &[Run]) -> Map {
        let mut next = 1000;
        Map::build(runs, 1024, Seed(1), || {
            next += 1;
            next
        })
    }

    #[test]
    fn four_extents_stand_in_the_inode_and_five_do_not() {
        let four = build(&runs(4));
        assert!(four.nodes.is_empty());
        let root = Node::decode(&four.root).unwrap();
        assert_eq!((root.depth, root.entries.len()), (0, 4));
        assert_eq!(root.entries[3], Entry { logical: 15, length: 5, start: 130 });

        let five = build(&runs(5));
        let root = Node::decode(&five.root).unwrap();
        assert_eq!(root.entries, [Entry { logical: 0, length: 0, start: 1001 }]);
        let leaf = Node::decode(&five.nodes[0].1).unwrap();
        assert_eq!((root.depth, leaf.depth, leaf.entries.len()), (1, 0, 5));
        assert!(is_intact(&five.nodes[0].1, Seed(1)));
    }

    #[test]
    fn a_tree_grows_a_level_when_the_inode_overflows() {
        let map = build(&runs(84 * 4 + 1));
        let root = Node::decode(&map.root).unwrap();
        assert_eq!((root.depth, map.nodes.len()), (2, 5 + 1));
    }

    #[test]
    fn long_runs_are_cut_into_extents() {
        let map = build(&[Run { start: 7, count: LENGTH_MAX + 1 }]);
        let second = Entry { logical: 32_768, length: 1, start: 7 + 32_768 };
        assert_eq!(Node::decode(&map.root).unwrap().entries[1], second);
    }

    #[test]
    fn c19_headers_that_lie_are_refused() {
        let good = build(&runs(4)).root;
        assert!(Node::decode(&good).is_ok());
        let cases: [(usize, u16, &str); 4] = [
            (0, 0, "the node of an extent tree has no magic number"),
            (2, 5, "a node holds more extents than it has room for"),
            (4, 5, "a node holds more extents than it has room for"),
            (6, 65_535, "an extent tree is deeper than five levels"),
        ];
        for (at, value, rule) in cases {
            let mut bad = good;
            put(&mut bad, at, value.to_le_bytes());
            assert_eq!(Node::decode(&bad), Err(rule));
        }
    }
}
