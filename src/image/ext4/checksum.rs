//! The checksums of ext4's metadata: CRC-32C, chained from a seed of the file system.
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/overview.html#checksums>.

use crate::image::crc32c::crc32c;

/// The seed of all checksums of one file system: they depend on its UUID, so that a block left
/// over from another one is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(pub(super) u32);

impl Seed {
    /// The seed of the file system with this UUID.
    pub(super) fn of(uuid: &[u8; 16]) -> Self {
        Self(crc32c(u32::MAX, uuid))
    }

    /// The seed for what belongs to one inode.
    pub(super) fn inode(self, number: u32, generation: u32) -> Self {
        let crc = crc32c(self.0, &number.to_le_bytes());
        Self(crc32c(crc, &generation.to_le_bytes()))
    }

    /// The checksum of `bytes`.
    pub(super) fn over(self, bytes: &[u8]) -> u32 {
        crc32c(self.0, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(!crc32c(u32::MAX, b"123456789"), 0xE306_9283);
        assert_eq!(!crc32c(u32::MAX, &[0; 32]), 0x8A91_36AA); // RFC 3720, B.4
    }

    #[test]
    fn a_checksum_in_parts_is_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..100).collect();
        for cut in 0..100 {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(crc32c(crc32c(7, head), tail), crc32c(7, &bytes), "{cut}");
        }
    }
}
