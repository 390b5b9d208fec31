//! An empty journal, for the rare image that will be written to.
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/journal.html>. Its numbers are
//! big-endian. Kata mounts its roots read-only; they have none.

use super::format::put;

/// Blocks of a journal for a file system of `blocks` blocks, as mke2fs chooses.
pub(super) const fn length(blocks: u64) -> u64 {
    match blocks {
        0..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        _ => 131_072,
    }
}

/// The first block: the journal's own superblock, version 2, saying that nothing is to be done.
pub(super) fn superblock(block_size: u32, length: u64, uuid: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let length = u32::try_from(length).expect("journals have at most 131072 blocks");
    let numbers = [
        (0x00, 0xC03B_3998), // magic
        (0x04, 4),           // kind of block: superblock, version 2
        (0x0C, block_size),
        (0x10, length),
        (0x14, 1), // the first block of the log
        (0x18, 1), // the first transaction to come
        (0x40, 1), // file systems that use it
    ];
    numbers.into_iter().for_each(|(at, value): (_, u32)| put(&mut bytes, at, value.to_be_bytes()));
    put(&mut bytes, 0x30, uuid);
    bytes
}
