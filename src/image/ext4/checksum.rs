//! The checksums of ext4's metadata: CRC-32C, chained from a seed of the file system.
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/overview.html#checksums>. Unlike
//! the usual CRC-32C the result is not inverted at the end.

/// The reflected polynomial of Castagnoli, RFC 3720 appendix B.4.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// For each of eight positions and each byte, what that byte does to the remainder.
const TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::as_conversions, reason = "constant evaluation has no checked conversions yet")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut position = 0;
        while position < 8 {
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
                bit += 1;
            }
            tables[position][byte] = value;
            position += 1;
        }
        byte += 1;
    }
    tables
}

/// Continues the checksum `crc` over `bytes`.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(crc, |crc, &word| {
        let [a, b, c, d, e, f, g, h] = (u64::from_le_bytes(word) ^ u64::from(crc)).to_le_bytes();
        [a, b, c, d, e, f, g, h]
            .iter()
            .zip(TABLES.iter().rev())
            .fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLES[0][usize::from(low ^ byte)]
    })
}

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
