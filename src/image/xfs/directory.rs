//! Directories as xfs keeps them: in the inode, in one block, or in blocks of names with an index of
//! their hashes and a table of what is free in each.
//!
//! Which of the four forms a directory takes follows from its names. Blocks are made without what
//! only their place decides; [`super::format::stamp`] adds that.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_da_format.h`.

use super::format::{BLOCK, FREE_AT, INDEX_AT, hash, magic, narrow, put, wide};

/// Where the names of a block begin, and the entries of an index block or a table of free space.
pub(super) const NAMES_AT: usize = 64;
/// What stands where a stretch of a block is free, in place of an inode's number.
pub(super) const FREE_TAG: u16 = 0xFFFF;
/// Entries of a block of the index, below and above.
const INDEX_CAPACITY: usize = (BLOCK - NAMES_AT) / 8;
/// Blocks of names that one table of free space tells of.
const TABLE_CAPACITY: usize = (BLOCK - NAMES_AT) / 2;

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u64,
    /// Its type, as [`super::format::kinds::in_directory`] gives it.
    pub(super) kind: u8,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// What stands in the inode.
    Local(Vec<u8>),
    /// Blocks by their place in the directory, and how many of them are of names.
    Blocks(Blocks, u64),
}

/// Blocks by their place in a directory.
type Blocks = Vec<(u64, Vec<u8>)>;

/// Where a name stands, by its hash: that of the inode's entry in units of eight bytes.
pub(super) type Place = (u32, u32);

/// Bytes of a name's entry in a block.
fn entry_size(name: &[u8]) -> usize {
    (8 + 1 + name.len() + 1 + 2).next_multiple_of(8)
}

/// Makes the directory with inode `own` below `parent`; in the inode when `room` bytes there are
/// enough. `None` when there are more names than two levels of index reach.
pub(super) fn build(own: u64, parent: u64, entries: &[Entry<'_>], room: usize) -> Option<Form> {
    let names: usize = entries.iter().map(|entry| entry.name.len() + 8).sum();
    if 6 + names <= room {
        return Some(Form::Local(in_inode(parent, entries)));
    }
    let dots =
        [Entry { name: b".", inode: own, kind: 2 }, Entry { name: b"..", inode: parent, kind: 2 }];
    let all: Vec<_> = dots.into_iter().chain(entries.iter().copied()).collect();
    let sizes: usize = all.iter().map(|entry| entry_size(entry.name)).sum();
    if NAMES_AT + sizes + 8 * all.len() + 8 <= BLOCK {
        return Some(Form::Blocks(vec![(0, in_one_block(&all))], 1));
    }
    let (mut blocks, places, free) = in_blocks(&all);
    let count = wide(blocks.len());
    blocks.extend(index(&places, &free)?);
    Some(Form::Blocks(blocks, count))
}

fn in_inode(parent: u64, entries: &[Entry<'_>]) -> Vec<u8> {
    let short = |inode: u64| narrow::<u32>(inode).to_be_bytes();
    let mut bytes = vec![narrow(wide(entries.len())), 0];
    bytes.extend(short(parent));
    // Where the entry would stand in a block: programs hold on to that while they read.
    let mut offset = NAMES_AT + entry_size(b".") + entry_size(b"..");
    for entry in entries {
        bytes.push(narrow(wide(entry.name.len())));
        bytes.extend(narrow::<u16>(wide(offset)).to_be_bytes());
        bytes.extend_from_slice(entry.name);
        bytes.push(entry.kind);
        bytes.extend(short(entry.inode));
        offset += entry_size(entry.name);
    }
    bytes
}

fn put_entry(block: &mut [u8], at: usize, entry: &Entry<'_>) {
    let (length, size) = (entry.name.len(), entry_size(entry.name));
    put(block, at, entry.inode.to_be_bytes());
    put(block, at + 8, [narrow(wide(length))]);
    block[at + 9..][..length].copy_from_slice(entry.name);
    block[at + 9 + length] = entry.kind;
    put(block, at + size - 2, narrow::<u16>(wide(at)).to_be_bytes());
}

/// Marks a stretch as free and says so in the block's header.
fn put_free(block: &mut [u8], at: usize, length: usize) {
    if length > 0 {
        let [at_field, length_field] = [at, length].map(|value| narrow::<u16>(wide(value)));
        put(block, at, FREE_TAG.to_be_bytes());
        put(block, at + 2, length_field.to_be_bytes());
        put(block, at + length - 2, at_field.to_be_bytes());
        put(block, 48, at_field.to_be_bytes());
        put(block, 50, length_field.to_be_bytes());
    }
}

fn in_one_block(all: &[Entry<'_>]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put(&mut block, 0, magic::DIRECTORY_BLOCK);
    let (mut at, mut places) = (NAMES_AT, Vec::new());
    for entry in all {
        put_entry(&mut block, at, entry);
        places.push((hash(entry.name), narrow::<u32>(wide(at / 8))));
        at += entry_size(entry.name);
    }
    places.sort_unstable();
    let index_at = BLOCK - 8 - 8 * places.len();
    put_free(&mut block, at, index_at - at);
    put_places(&mut block, index_at, &places);
    put(&mut block, BLOCK - 8, narrow::<u32>(wide(places.len())).to_be_bytes());
    block
}

fn put_places(block: &mut [u8], at: usize, places: &[Place]) {
    for (index, (hash, place)) in places.iter().enumerate() {
        put(block, at + 8 * index, hash.to_be_bytes());
        put(block, at + 8 * index + 4, place.to_be_bytes());
    }
}

/// Blocks of names, where each name stands, sorted by hash, and what is free in each block.
fn in_blocks(all: &[Entry<'_>]) -> (Blocks, Vec<Place>, Vec<u16>) {
    let (mut blocks, mut places, mut free) = (Vec::new(), Vec::new(), Vec::new());
    let fresh = || {
        let mut block = vec![0; BLOCK];
        put(&mut block, 0, magic::DIRECTORY_DATA);
        block
    };
    let (mut block, mut at) = (fresh(), NAMES_AT);
    let mut finish = |mut block: Vec<u8>, at: usize| {
        put_free(&mut block, at, BLOCK - at);
        free.push(narrow(wide(BLOCK - at)));
        blocks.push((wide(blocks.len()), block));
        blocks.len()
    };
    let mut number = 0;
    for entry in all {
        if at + entry_size(entry.name) > BLOCK {
            number = finish(std::mem::replace(&mut block, fresh()), at);
            at = NAMES_AT;
        }
        put_entry(&mut block, at, entry);
        places.push((hash(entry.name), narrow(wide((number * BLOCK + at) / 8))));
        at += entry_size(entry.name);
    }
    finish(block, at);
    places.sort_unstable();
    (blocks, places, free)
}

/// The index: in one block if it fits, else below a root, with tables of free space apart.
fn index(places: &[Place], free: &[u16]) -> Option<Blocks> {
    let tail = 2 * free.len() + 4;
    if NAMES_AT + 8 * places.len() + tail <= BLOCK {
        let mut block = index_block(magic::LEAF_ALONE, places, (0, 0));
        for (index, length) in free.iter().enumerate() {
            put(&mut block, BLOCK - tail + 2 * index, length.to_be_bytes());
        }
        put(&mut block, BLOCK - 4, narrow::<u32>(wide(free.len())).to_be_bytes());
        return Some(vec![(INDEX_AT, block)]);
    }
    let leaves = super::btree::leaves(places, INDEX_CAPACITY);
    if leaves.len() > INDEX_CAPACITY {
        return None;
    }
    let number = |index: usize| narrow::<u32>(INDEX_AT + 1 + wide(index));
    let mut blocks = vec![(INDEX_AT, root(&leaves, number))];
    for (index, leaf) in leaves.iter().enumerate() {
        let before = index.checked_sub(1).map_or(0, number);
        let after = if index + 1 < leaves.len() { number(index + 1) } else { 0 };
        let block = index_block(magic::LEAF, leaf, (before, after));
        blocks.push((number(index).into(), block));
    }
    let tables = free.chunks(TABLE_CAPACITY).enumerate();
    blocks.extend(tables.map(|(index, part)| (FREE_AT + wide(index), free_table(index, part))));
    Some(blocks)
}

fn index_block(magic: [u8; 2], places: &[Place], (before, after): (u32, u32)) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put(&mut block, 0, after.to_be_bytes());
    put(&mut block, 4, before.to_be_bytes());
    put(&mut block, 8, magic);
    put(&mut block, 56, narrow::<u16>(wide(places.len())).to_be_bytes());
    put_places(&mut block, NAMES_AT, places);
    block
}

/// The block above the leaves: the last hash of each, and where it stands.
fn root(leaves: &[&[Place]], number: impl Fn(usize) -> u32) -> Vec<u8> {
    let last = |(index, leaf): (usize, &&[Place])| {
        (leaf.last().map_or(0, |(hash, _)| *hash), number(index))
    };
    let entries: Vec<Place> = leaves.iter().enumerate().map(last).collect();
    let mut block = index_block(magic::NODE, &entries, (0, 0));
    put(&mut block, 58, 1_u16.to_be_bytes()); // levels below
    block
}

fn free_table(index: usize, part: &[u16]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put(&mut block, 0, magic::DIRECTORY_FREE);
    let count: u32 = narrow(wide(part.len()));
    for (at, value) in [(48, narrow(wide(index * TABLE_CAPACITY))), (52, count), (56, count)] {
        put(&mut block, at, value.to_be_bytes());
    }
    for (index, length) in part.iter().enumerate() {
        put(&mut block, NAMES_AT + 2 * index, length.to_be_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::super::names::{Names, read_local};
    use super::*;

    fn read(form: &Form) -> Names {
        match form {
            Form::Local(bytes) => read_local(bytes).unwrap(),
            Form::Blocks(blocks, _) => {
                let mut names = Names::default();
                for (logical, block) in blocks {
                    names.add(*logical, block).unwrap();
                }
                assert!(names.is_indexed());
                names
            }
        }
    }

    #[test]
    fn names_come_back_from_each_of_the_four_forms() {
        let cases = [(3, 0), (60, 1), (300, 2), (40_000, 3)];
        for (count, form) in cases {
            let names: Vec<String> = (0..count).map(|index| format!("name {index}")).collect();
            let entry = |name| Entry { name: str::as_bytes(name), inode: 200, kind: 1 };
            let entries: Vec<_> = names.iter().map(|name| entry(name)).collect();
            let built = build(99, 96, &entries, 336).unwrap();
            let found = match &built {
                Form::Local(_) => 0,
                Form::Blocks(blocks, 1) if blocks.len() == 1 => 1,
                Form::Blocks(blocks, data) if wide(blocks.len()) == data + 1 => 2,
                Form::Blocks(..) => 3,
            };
            assert_eq!(found, form, "{count}");
            let read = read(&built);
            assert_eq!(read.parent, Some(96));
            let expected: Vec<_> =
                entries.iter().map(|entry| (entry.name.to_vec(), 200, 1)).collect();
            assert_eq!(read.entries, expected);
        }
    }

    #[test]
    fn a_directory_with_more_names_than_the_index_reaches_is_refused() {
        let places = vec![(0, 0); INDEX_CAPACITY * INDEX_CAPACITY + 1];
        assert!(index(&places, &[0]).is_none());
        assert!(index(&places[1..], &[0]).is_some());
    }

    #[test]
    fn c20_blocks_that_lie_are_refused() {
        let entry = Entry { name: &[b'a'; 200], inode: 200, kind: 1 };
        let other = Entry { name: &[b'b'; 200], ..entry };
        let Some(Form::Blocks(blocks, _)) = build(99, 96, &[entry, other], 336) else {
            panic!("it does not fit into an inode");
        };
        // A length, a tag, the length of what is free, the number of places.
        for (at, value) in [(96 + 8, 201), (111, 0), (96 + 2 * 216 + 3, 7), (BLOCK - 5, 99)] {
            let mut block = blocks[0].1.clone();
            block[at] = value;
            let mut names = Names::default();
            assert!(names.add(0, &block).is_err() || !names.is_indexed(), "{at}");
        }
        assert!(Names::default().add(INDEX_AT, &blocks[0].1).is_err());
        for cut in [&[][..], &[1, 0, 0, 0, 0, 96], &[0, 1, 0, 0, 0, 96], &[0, 0, 0, 0, 0, 96, 1]] {
            assert!(read_local(cut).is_err());
        }
    }
}
