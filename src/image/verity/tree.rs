//! Builds the tree over a partition, and checks one that is there.
//!
//! A block's digest is that of the salt and the block, one after the other. Blocks of digests next
//! to the data are made by all threads, each a stretch of 128 data blocks at a time; what is above
//! them is a hundred times smaller. Most of an image's free space is zero, so the digest of a block
//! of zeros is computed once.

use std::io;
use std::sync::Mutex;

use super::geometry::{FAN_OUT, Geometry, Level};
use super::{BLOCK, Parameters};
use crate::crew;
use crate::digest::{Digest, Hasher};
use crate::image::{Error, Medium};

/// [`BLOCK`] as the formats write it.
pub(super) const BLOCK_SIZE: u32 = 4096;
const SIZE: usize = 4096;
const DIGEST: usize = 32;
/// Data blocks that one block of digests covers: [`FAN_OUT`] as a length.
const STRETCH: usize = 128;
const _: () = assert!(FAN_OUT == 128 && BLOCK == 4096);
const ZEROS: [u8; SIZE] = [0; SIZE];
const FITS: &str = "a tree is small enough to be in memory";

/// A tree in memory.
#[derive(Debug)]
pub(super) struct Tree {
    /// The digest of the top.
    pub(super) root: Digest,
    /// All levels, the top first.
    pub(super) bytes: Vec<u8>,
}

/// Hashes the first `data_blocks` blocks of `data` on up to `threads` threads.
///
/// # Errors
/// [`Error::Read`], [`Error::Unsupported`] for a tree that no memory holds.
pub(super) fn build(
    data: &dyn Medium,
    data_blocks: u64,
    salt: &[u8],
    threads: usize,
) -> Result<Tree, Error> {
    let failed = |source| Error::Read { source };
    let salted = Salted::new(salt);
    let geometry = Geometry::new(data_blocks);
    let Some(leaves) = geometry.levels.last() else {
        let mut block = ZEROS;
        data.read_at(0, &mut block).map_err(failed)?;
        return Ok(Tree { root: salted.digest(&block), bytes: Vec::new() });
    };
    let mut bytes = vec![0; place(geometry.blocks())?];
    let (_, leaf_bytes) = bytes.split_at_mut(place(leaves.first)?);
    hash_data(data, data_blocks, &salted, leaf_bytes, threads).map_err(failed)?;
    for pair in geometry.levels.windows(2).rev() {
        let [upper, lower] = pair else { continue };
        let (above, below) = bytes.split_at_mut(place(lower.first)?);
        let upper = above.get_mut(place(upper.first)?..).expect(FITS);
        let below = below.get(..place(lower.count)?).expect(FITS);
        for (digest, block) in upper.chunks_exact_mut(DIGEST).zip(below.chunks_exact(SIZE)) {
            digest.copy_from_slice(salted.digest(block).as_bytes());
        }
    }
    let top = bytes.get(..SIZE).expect("a tree with levels has a top");
    Ok(Tree { root: salted.digest(top), bytes })
}

/// Hashes all of `data`, whole blocks, on up to `threads` threads. Returns what a kernel needs to
/// check it, and the tree, the top first.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`] for data that is not one or more blocks.
pub fn measure(
    data: &dyn Medium,
    salt: &[u8],
    threads: usize,
) -> Result<(Parameters, Vec<u8>), Error> {
    let size = data.size().map_err(|source| Error::Read { source })?;
    if size == 0 || !size.is_multiple_of(BLOCK) {
        let rule = format!("{size} bytes are not one or more blocks of {BLOCK} bytes");
        return Err(Error::TooLarge { format: "dm-verity", rule });
    }
    let data_blocks = size / BLOCK;
    let Tree { root, bytes } = build(data, data_blocks, salt, threads)?;
    let parameters = Parameters {
        root_hash: root,
        salt: salt.to_vec(),
        data_blocks,
        data_block_size: BLOCK_SIZE,
        hash_block_size: BLOCK_SIZE,
    };
    Ok((parameters, bytes))
}

/// Where a block begins, in bytes.
fn place(block: u64) -> Result<usize, Error> {
    let bytes = block.checked_mul(BLOCK).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| Error::unsupported("dm-verity", "a tree of this size"))
}

/// Fills `leaves` with the digests of the data.
fn hash_data(
    data: &dyn Medium,
    data_blocks: u64,
    salted: &Salted,
    leaves: &mut [u8],
    threads: usize,
) -> io::Result<()> {
    let most = leaves.len() / SIZE;
    let next = Mutex::new(leaves.chunks_exact_mut(SIZE).zip((0..data_blocks).step_by(STRETCH)));
    let failure = Mutex::new(None);
    let work = || {
        let mut buffer = vec![0; SIZE * STRETCH];
        loop {
            let stretch = next.lock().expect("no thread panics with the lock").next();
            let Some((leaf, first)) = stretch else { return };
            if let Err(error) = hash_stretch(data, first..data_blocks, salted, leaf, &mut buffer) {
                failure.lock().expect("no thread panics with the lock").get_or_insert(error);
                return;
            }
        }
    };
    crew::share(threads.min(most), work);
    failure.into_inner().expect("no thread panicked with the lock").map_or(Ok(()), Err)
}

fn hash_stretch(
    data: &dyn Medium,
    blocks: std::ops::Range<u64>,
    salted: &Salted,
    leaf: &mut [u8],
    buffer: &mut [u8],
) -> io::Result<()> {
    let count = blocks.end.saturating_sub(blocks.start).min(FAN_OUT);
    let length = usize::try_from(count.saturating_mul(BLOCK)).map_err(io::Error::other)?;
    let bytes = buffer.get_mut(..length).unwrap_or_default();
    data.read_at(blocks.start.saturating_mul(BLOCK), bytes)?;
    for (digest, block) in leaf.chunks_exact_mut(DIGEST).zip(bytes.chunks_exact(SIZE)) {
        digest.copy_from_slice(salted.digest(block).as_bytes());
    }
    Ok(())
}

/// Hashes blocks after a salt.
struct Salted {
    salt: Hasher,
    zeros: Digest,
}

impl Salted {
    fn new(salt: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(salt);
        let mut zeros = hasher.clone();
        zeros.update(&ZEROS);
        Self { salt: hasher, zeros: zeros.finish() }
    }

    fn digest(&self, block: &[u8]) -> Digest {
        if block == ZEROS {
            return self.zeros;
        }
        let mut hasher = self.salt.clone();
        hasher.update(block);
        hasher.finish()
    }
}

/// Hashes `data` again, on up to `threads` threads, and compares every digest with the tree in
/// `hashes`, and the top with the root hash.
///
/// # Errors
/// [`Error::Broken`], naming the first block of data or of digests that is not what it should be;
/// [`Error::Unsupported`] for other sizes of blocks; [`Error::Read`].
pub fn verify(
    data: &dyn Medium,
    hashes: &dyn Medium,
    parameters: &Parameters,
    threads: usize,
) -> Result<(), Error> {
    let failed = |source| Error::Read { source };
    if (parameters.data_block_size, parameters.hash_block_size) != (BLOCK_SIZE, BLOCK_SIZE) {
        return Err(Error::unsupported("dm-verity", "blocks of other sizes than 4096 bytes"));
    }
    let blocks = parameters.data_blocks;
    let size = data.size().map_err(failed)?;
    if blocks == 0 || blocks.checked_mul(BLOCK).is_none_or(|bytes| bytes > size) {
        return Err(Error::broken("dm-verity parameters", "there is not so much data"));
    }
    let geometry = Geometry::new(blocks);
    let length = geometry.blocks().saturating_mul(BLOCK);
    if hashes.size().map_err(failed)? < length {
        return Err(Error::broken("hash tree", "it is cut off"));
    }
    let mut stored = vec![0; place(geometry.blocks())?];
    hashes.read_at(0, &mut stored).map_err(failed)?;
    let tree = build(data, blocks, &parameters.salt, threads)?;
    if tree.root == parameters.root_hash && tree.bytes == stored {
        return Ok(());
    }
    Err(first_difference(&tree, &stored, &geometry, parameters))
}

/// Names the first block that does not fit, from the root hash downwards.
fn first_difference(
    tree: &Tree,
    stored: &[u8],
    geometry: &Geometry,
    parameters: &Parameters,
) -> Error {
    let salted = Salted::new(&parameters.salt);
    let block = |number: u64| {
        let start = place(number).unwrap_or(usize::MAX);
        stored.get(start..).and_then(|rest| rest.get(..SIZE)).unwrap_or_default()
    };
    let unlike = "it is not what the root hash vouches for";
    if geometry.levels.is_empty() {
        return Error::broken("data block 0", unlike);
    }
    if salted.digest(block(0)) != parameters.root_hash {
        return Error::broken("hash block 0", "the root hash is not its digest");
    }
    for pair in geometry.levels.windows(2) {
        let [upper, lower] = pair else { continue };
        let wrong = digests(stored, *upper)
            .zip(lower.first..lower.first.saturating_add(lower.count))
            .find(|(digest, number)| salted.digest(block(*number)).as_bytes() != *digest);
        if let Some((_, number)) = wrong {
            return Error::broken(format!("hash block {number}"), unlike);
        }
    }
    let leaves = geometry.levels.last().copied().unwrap_or(Level { first: 0, count: 0 });
    let pairs = digests(&tree.bytes, leaves).zip(digests(stored, leaves));
    let wrong = (0..parameters.data_blocks).zip(pairs).find(|(_, (found, wanted))| found != wanted);
    match wrong {
        Some((number, _)) => Error::broken(format!("data block {number}"), unlike),
        None => Error::broken("hash tree", "it has digests behind the last one"),
    }
}

/// The digests in the blocks of a level.
fn digests(tree: &[u8], level: Level) -> impl Iterator<Item = &[u8]> {
    let start = place(level.first).unwrap_or(usize::MAX);
    let length = place(level.count).unwrap_or_default();
    let bytes = tree.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default();
    bytes.chunks_exact(DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(blocks: u64) -> Vec<u8> {
        let words = (0..blocks * BLOCK / 8).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        words.flat_map(u64::to_le_bytes).collect()
    }

    fn measure(data: &Vec<u8>, threads: usize) -> (Tree, Parameters) {
        let (parameters, bytes) = super::measure(data, b"salt", threads).unwrap();
        (Tree { root: parameters.root_hash, bytes }, parameters)
    }

    #[test]
    fn the_number_of_threads_makes_no_difference() {
        let data = data(300);
        let (one, _) = measure(&data, 1);
        for threads in [2, 3, 64] {
            let (other, _) = measure(&data, threads);
            assert_eq!((one.root, &one.bytes), (other.root, &other.bytes));
        }
    }

    #[test]
    fn k2_a_flipped_bit_in_any_block_is_found_and_named() {
        for blocks in [1, 2, 128, 129, 300] {
            let good = data(blocks);
            let (tree, parameters) = measure(&good, 2);
            verify(&good, &tree.bytes, &parameters, 2).unwrap();
            for block in 0..blocks {
                let mut bad = good.clone();
                bad[usize::try_from(block * BLOCK + block % BLOCK).unwrap()] ^= 0x10;
                let error = verify(&bad, &tree.bytes, &parameters, 2).unwrap_err().to_string();
                assert!(error.contains(&format!("data block {block}:")), "{error}");
            }
            for block in 0..tree.bytes.len() / SIZE {
                let mut bad = tree.bytes.clone();
                bad[block * SIZE + 17] ^= 1;
                let error = verify(&good, &bad, &parameters, 2).unwrap_err().to_string();
                assert!(error.contains(&format!("hash block {block}:")), "{error}");
            }
        }
    }

    #[test]
    fn k2_other_parameters_do_not_fit() {
        let good = data(3);
        let (tree, right) = measure(&good, 1);
        let wrong = [
            Parameters { root_hash: Digest::of(b""), ..right.clone() },
            Parameters { salt: b"pepper".to_vec(), ..right.clone() },
            Parameters { data_blocks: 2, ..right.clone() },
            Parameters { data_blocks: 4, ..right.clone() },
            Parameters { data_blocks: u64::MAX, ..right.clone() },
            Parameters { data_blocks: 0, ..right.clone() },
            Parameters { hash_block_size: 512, ..right.clone() },
        ];
        for parameters in wrong {
            assert!(verify(&good, &tree.bytes, &parameters, 1).is_err(), "{parameters:?}");
        }
        verify(&good, &tree.bytes, &right, 1).unwrap();
        assert!(verify(&good, &tree.bytes[..4095].to_vec(), &right, 1).is_err());
    }
}
