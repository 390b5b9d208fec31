//! The block by which Linux takes a file for persistent memory and skips its first 2 MiB.
//!
//! It is the "PFN info block" of the kernel's nvdimm driver (`drivers/nvdimm/pfn.h`), 4096 bytes
//! at offset 4096, always the same: it holds no size and no UUID.

/// Where the block stands in the file.
pub const OFFSET: u64 = 4096;
/// Bytes of the block.
pub const SIZE: usize = 4096;
/// What comes before the disk proper, in bytes. Also the alignment that the block promises.
pub const HEADER: u64 = 2 << 20;
/// What the file's size must be a multiple of, in bytes: the kernel maps persistent memory in
/// sections of this size and refuses a device that ends within one (`memremap_compat_align`;
/// `nd_pfn_validate`: "resource end misaligned").
pub const ALIGNMENT: u64 = 2 << 20;
const SIGNATURE: &[u8] = b"NVDIMM_PFN_INFO\0";
const CHECKSUM_AT: usize = SIZE - 8;

/// Returns the block.
pub fn info_block() -> [u8; SIZE] {
    let mut block = [0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x00, SIGNATURE);
    put(0x36, &2_u16.to_le_bytes()); // minor version
    put(0x38, &HEADER.to_le_bytes()); // where data begins
    put(0x48, &1_u32.to_le_bytes()); // page structures live in RAM
    put(0x54, &2_097_152_u32.to_le_bytes()); // alignment
    let checksum = fletcher64(&block);
    block[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    block
}

/// Whether `block` claims to be such a block.
pub fn is_info_block(block: &[u8; SIZE]) -> bool {
    block.starts_with(SIGNATURE)
}

/// Fletcher's checksum over words of 32 bits. The caller leaves the checksum's place zero.
fn fletcher64(bytes: &[u8; SIZE]) -> u64 {
    let (mut low, mut high) = (0_u32, 0_u64);
    for word in bytes.as_chunks::<4>().0 {
        low = low.wrapping_add(u32::from_le_bytes(*word));
        high = high.wrapping_add(u64::from(low));
    }
    high << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_the_one_of_kata() {
        let block = info_block();
        let checksum = u64::from_le_bytes(*block.last_chunk().unwrap());
        assert_eq!(checksum, 0x685b_032b_e394_3830);
        assert!(block.starts_with(b"NVDIMM_PFN_INFO\0"));
    }
}
