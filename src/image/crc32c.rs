//! CRC-32C, by which file systems check their metadata.
//!
//! As the file systems use it: unlike the usual CRC-32C the result is not inverted at the end.

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
