//! dm-verity: a tree of hashes over a partition, so that the guest's kernel notices every changed
//! bit of it.
//!
//! Comes in: a partition that is written. Goes out: the tree, as it stands in the next partition,
//! and the [`Parameters`] that Kata's runtime puts on the guest's kernel command line. SHA-256, hash
//! type 1, blocks of 4096 bytes, and no superblock unless asked for.
//!
//! ```text
//! superblock │ top block │ … │ blocks of digests of digests │ blocks of digests of data blocks
//! (optional)   its digest is the root hash
//! ```
//!
//! Specification: <https://docs.kernel.org/admin-guide/device-mapper/verity.html> and
//! <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>; judged by `veritysetup`.

mod geometry;
mod parameters;
mod signature;
mod superblock;
mod tree;

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

pub use parameters::{BadParameters, Parameters};
pub use signature::{BadSignature, BadSigner, Signatory, Signer};
pub use superblock::Superblock;
pub use tree::{measure, verify};

use crate::digest::Digest;
use crate::image::{Error, Medium};
use crate::recipe::Verity;
use geometry::Geometry;

/// Bytes of a block of data and of a block of digests.
pub const BLOCK: u64 = 4096;
/// The longest salt, in bytes: the superblock has no room for more.
pub const SALT_MAX: usize = 256;

/// Blocks of the tree over so many blocks of data.
pub(crate) fn tree_blocks(data_blocks: u64) -> u64 {
    Geometry::new(data_blocks).blocks()
}

/// How a partition will be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    salt: Vec<u8>,
    data_blocks: u64,
    /// The UUID in the superblock, when there will be one.
    superblock: Option<[u8; 16]>,
}

impl Plan {
    /// Plans the tree over `data` bytes in a partition of `room` bytes. Salt and UUID derive from
    /// `origin`, the digest of everything that was declared, unless a salt is given.
    ///
    /// # Errors
    /// [`Error::BadOption`] for a salt that is too long; [`Error::TooLarge`] when the tree has no
    /// room: a measured image is never made without its measurement.
    pub(crate) fn new(
        options: &Verity,
        origin: &Digest,
        data: u64,
        room: u64,
    ) -> Result<Self, Error> {
        let salt = options.salt.clone().unwrap_or_else(|| {
            Digest::of(format!("osbuilder verity salt {origin}").as_bytes()).as_bytes().to_vec()
        });
        if salt.len() > SALT_MAX {
            let value = u64::try_from(salt.len()).unwrap_or(u64::MAX);
            let rule = "it has at most 256 bytes";
            return Err(Error::BadOption { option: "salt", value, rule });
        }
        let superblock = options.superblock.then(|| crate::image::uuid_of(origin, "verity uuid"));
        let plan = Self { salt, data_blocks: data / BLOCK, superblock };
        let too_large = |rule| Error::TooLarge { format: "dm-verity", rule };
        if plan.data_blocks == 0 || !data.is_multiple_of(BLOCK) {
            let rule = format!("{data} bytes are not one or more blocks of {BLOCK} bytes");
            return Err(too_large(rule));
        }
        let needed = plan.size();
        if needed > room {
            let rule = format!("the hash tree takes {needed} bytes, and there are {room}");
            return Err(too_large(rule));
        }
        Ok(plan)
    }

    /// Bytes of superblock and tree.
    fn size(&self) -> u64 {
        let blocks = tree_blocks(self.data_blocks);
        blocks.saturating_add(u64::from(self.superblock.is_some())).saturating_mul(BLOCK)
    }

    /// Hashes `data`, which was planned for, on up to `threads` threads, and writes the tree into `file` from byte `at`
    /// on.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub(crate) fn write(
        &self,
        data: &dyn Medium,
        file: &File,
        at: u64,
        threads: usize,
    ) -> Result<Parameters, Error> {
        let (parameters, tree) = measure(data, &self.salt, threads)?;
        let failed = |source| Error::Write { source };
        let mut at = at;
        if let Some(uuid) = self.superblock {
            let superblock =
                Superblock { uuid, data_blocks: self.data_blocks, salt: self.salt.clone() };
            file.write_all_at(&superblock.encode(), at).map_err(failed)?;
            at = at.saturating_add(BLOCK);
        }
        file.write_all_at(&tree, at).map_err(failed)?;
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(salt: usize) -> Verity {
        Verity { salt: Some(vec![1; salt]), ..Verity::default() }
    }

    #[test]
    fn k4_a_tree_without_room_is_refused_and_never_left_out() {
        let origin = Digest::of(b"");
        let plan = |data, room| Plan::new(&options(32), &origin, data, room);
        let (data, tree) = (129 * BLOCK, 3 * BLOCK);
        assert!(plan(data, tree).is_ok());
        let error = plan(data, tree - 1).unwrap_err().to_string();
        assert!(error.contains("the hash tree takes 12288 bytes, and there are 12287"), "{error}");
        let with_superblock = Verity { superblock: true, ..options(32) };
        assert!(Plan::new(&with_superblock, &origin, data, tree).is_err());
        assert!(Plan::new(&with_superblock, &origin, data, tree + BLOCK).is_ok());
    }

    #[test]
    fn k3_nothing_and_parts_of_blocks_cannot_be_measured() {
        for data in [0, 1, BLOCK - 1, BLOCK + 512] {
            assert!(Plan::new(&options(0), &Digest::of(b""), data, 1 << 30).is_err(), "{data}");
        }
        assert!(Plan::new(&options(0), &Digest::of(b""), BLOCK, 0).is_ok());
    }

    #[test]
    fn k1_the_salt_follows_from_what_was_declared() {
        let salt = |origin: &[u8]| {
            Plan::new(&Verity::default(), &Digest::of(origin), BLOCK, 0).unwrap().salt
        };
        assert_eq!(salt(b"a"), salt(b"a"));
        assert_ne!(salt(b"a"), salt(b"b"));
        assert_eq!(salt(b"a").len(), 32);
    }

    #[test]
    fn f20_a_salt_beyond_256_bytes_is_refused() {
        assert!(Plan::new(&options(256), &Digest::of(b""), BLOCK, 0).is_ok());
        assert!(Plan::new(&options(257), &Digest::of(b""), BLOCK, 0).is_err());
    }
}
