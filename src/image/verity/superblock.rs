//! The block before the tree that says how it was made, for tools that look for it.
//!
//! Kata's runtime gives all of this on the kernel command line and expects none; it is written only
//! when asked for. Layout: `struct verity_sb` of cryptsetup's `lib/verity/verity.c`, 512 bytes,
//! little-endian; the rest of the block is zero.

use super::{BLOCK, SALT_MAX, tree};
use crate::image::Error;

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";
const ALGORITHM_AT: usize = 32;
const ALGORITHM_SIZE: usize = 32;
const SALT_AT: usize = 88;

/// What the block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The UUID of the tree.
    pub uuid: [u8; 16],
    /// How many blocks of data it covers.
    pub data_blocks: u64,
    /// What each block is hashed with.
    pub salt: Vec<u8>,
}

impl Superblock {
    /// The block's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(SIGNATURE);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(HASH_TYPE.to_le_bytes());
        bytes.extend(self.uuid);
        bytes.extend(ALGORITHM);
        bytes.resize(ALGORITHM_AT.saturating_add(ALGORITHM_SIZE), 0);
        bytes.extend(tree::BLOCK_SIZE.to_le_bytes());
        bytes.extend(tree::BLOCK_SIZE.to_le_bytes());
        bytes.extend(self.data_blocks.to_le_bytes());
        bytes.extend(u16::try_from(self.salt.len()).expect("a plan checks the salt").to_le_bytes());
        bytes.resize(SALT_AT, 0);
        bytes.extend(&self.salt);
        bytes.resize(usize::try_from(BLOCK).expect("a block is small"), 0);
        bytes
    }

    /// The salt in hexadecimal digits.
    pub fn salt_text(&self) -> String {
        super::parameters::hex(&self.salt)
    }

    /// Reads the block; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Unsupported`] for other algorithms and sizes of blocks.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let place = "dm-verity superblock";
        let Some(rest) = bytes.strip_prefix(SIGNATURE) else { return Ok(None) };
        let cut = || Error::broken(place, "it is cut off");
        let rest: &[u8; 504] = rest.first_chunk().ok_or_else(cut)?;
        let word = |at: usize| -> Result<u32, Error> {
            let bytes = rest.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
            Ok(u32::from_le_bytes(*bytes))
        };
        let algorithm = rest.get(24..24 + ALGORITHM_SIZE).ok_or_else(cut)?;
        let algorithm = algorithm.split(|byte| *byte == 0).next().unwrap_or_default();
        if (word(0)?, word(4)?) != (VERSION, HASH_TYPE) || algorithm != ALGORITHM {
            return Err(Error::unsupported(place, "a version, hash type or algorithm"));
        }
        if (word(56)?, word(60)?) != (tree::BLOCK_SIZE, tree::BLOCK_SIZE) {
            return Err(Error::unsupported(place, "blocks of other sizes than 4096 bytes"));
        }
        let length = usize::from(u16::try_from(word(72)? & 0xFFFF).unwrap_or(u16::MAX));
        let salt = rest.get(80..80_usize.saturating_add(length)).filter(|s| s.len() <= SALT_MAX);
        let salt = salt.ok_or_else(|| Error::broken(place, "its salt is too long"))?.to_vec();
        let uuid = *rest.get(8..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
        let data_blocks = u64::from(word(68)?) << 32 | u64::from(word(64)?);
        Ok(Some(Self { uuid, data_blocks, salt }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_comes_back_and_lies_are_refused() {
        let block = Superblock { uuid: [7; 16], data_blocks: 1 << 33, salt: vec![9; 256] };
        let bytes = block.encode();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(Superblock::decode(&bytes).unwrap(), Some(block));
        assert_eq!(Superblock::decode(&[0; 4096]).unwrap(), None);
        for (at, value) in [(8, 2), (12, 0), (32, b'x'), (64, 1), (69, 2), (81, 2)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert!(Superblock::decode(&bad).is_err(), "{at}");
        }
        assert!(Superblock::decode(&bytes[..100]).is_err());
    }
}
