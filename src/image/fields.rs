//! Numbers in the structures of file systems: read where they may be missing, and written.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

/// Returns the `N` bytes at `at`, or `None` beyond the end.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Returns the byte at `at`, or `None` beyond the end.
pub(super) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Returns the little-endian number of 16 bits at `at`, or `None` beyond the end.
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_le_bytes)
}

/// Returns the little-endian number of 32 bits at `at`, or `None` beyond the end.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

/// Returns the little-endian number of 64 bits at `at`, or `None` beyond the end.
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

/// Returns the big-endian number of 16 bits at `at`, or `None` beyond the end.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_be_bytes)
}

/// Returns the big-endian number of 32 bits at `at`, or `None` beyond the end.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_be_bytes)
}

/// Returns the big-endian number of 64 bits at `at`, or `None` beyond the end.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_be_bytes)
}

/// Returns where the first byte stands that is not zero. Nearly all that this is asked of is zero, so
/// it is compared in large pieces.
pub(super) fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    let (pieces, _) = bytes.as_chunks::<512>();
    let zeros = pieces.iter().take_while(|piece| **piece == [0; 512]).count().saturating_mul(512);
    let rest = bytes.get(zeros..).unwrap_or_default();
    rest.iter().position(|byte| *byte != 0).map(|at| at.saturating_add(zeros))
}

/// Puts `value` at `at` of a structure of ours, which is always long enough.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    let place = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
    *place.expect("a structure of ours is long enough") = value;
}
