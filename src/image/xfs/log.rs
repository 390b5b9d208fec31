//! The log, empty: one record that says "unmounted", as mkfs.xfs writes it.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_log_format.h` (`struct xlog_rec_header`,
//! `xlog_op_header`, `xfs_unmount_log_format`).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{SECTOR, be32, field, put};

const MAGIC: u32 = 0xFEED_BABE;
/// The first time round.
const CYCLE: u32 = 1;
/// One operation of the log itself: unmounting.
const OPERATION: [u8; 4] = [0xAA, 0x20, 0, 0];
/// "Un", which the unmounting says.
const UNMOUNTED: [u8; 2] = [0x6E, 0x55];

/// The two sectors at the beginning of the log; the rest is zero.
pub(super) fn encode(uuid: [u8; 16]) -> [u8; 2 * SECTOR] {
    let mut bytes = [0; 2 * SECTOR];
    let words = [
        (0, MAGIC),
        (4, CYCLE),
        (8, 2),      // version of the log
        (12, 512),   // bytes of the record
        (16, CYCLE), // this record's place, and that of the first that matters: cycle, block
        (24, CYCLE),
        (36, u32::MAX),    // no record before
        (40, 1),           // operations
        (44, 0xB0C0_D0D0), // what stood where the record's first word says the cycle
        (300, 1),          // numbers are little-endian
        (320, 32_768),     // bytes of a buffer
        (512, CYCLE),
        (516, 8), // bytes of the operation
    ];
    words.into_iter().for_each(|(at, word)| put(&mut bytes, at, word.to_be_bytes()));
    put(&mut bytes, 304, uuid);
    put(&mut bytes, 520, OPERATION);
    put(&mut bytes, 524, UNMOUNTED);
    bytes
}

/// Whether the beginning of a log says that nothing must be done again.
pub(super) fn is_clean(begin: &[u8]) -> bool {
    be32(begin, 0) == Some(MAGIC)
        && be32(begin, 4) == Some(CYCLE)
        && be32(begin, 40) == Some(1)
        && be32(begin, SECTOR) == Some(CYCLE)
        && field(begin, 520) == Some(OPERATION)
        && field(begin, 524) == Some(UNMOUNTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_clean_and_anything_else_is_not() {
        let clean = encode([7; 16]);
        assert!(is_clean(&clean));
        for at in [0, 7, 43, 515, 521, 525] {
            let mut other = clean;
            *other.get_mut(at).unwrap() ^= 1;
            assert!(!is_clean(&other), "{at}");
        }
        assert!(!is_clean(&[0; 1024]));
    }
}
