//! The packages of a database in ndb, `Packages.db`.
//!
//! ```text
//! header, 32 bytes: "RpmP"  version  generation  pages of slots  next package's number  zeros
//! slots, 16 bytes each, to the end of their last page: "Slot"  package's number  first block  blocks
//! for each package: "BlbS"  number  generation  length, header, zeros to a block's end before the
//!                   last 12 bytes: Adler-32 of all before it  length  "BlbE"
//! ```
//!
//! Blocks have 16 bytes and count from the beginning of the file, pages have 4096; numbers have four
//! bytes and are little-endian. A generation is how often the slots were written: one more for each
//! package that rpm installs. Specification: rpm's `lib/backend/ndb/rpmpkg.c`.

pub(super) const PAGE: usize = 4096;
pub(super) const HEADER: usize = 32;
pub(super) const SLOT: usize = 16;
pub(super) const BLOCK: usize = 16;
/// What stands before and behind a package's header.
const AROUND: usize = 28;

/// The file with these headers, and its generation.
pub(super) fn packages(headers: &[Vec<u8>]) -> (Vec<u8>, u32) {
    let slots = headers.len().saturating_add(HEADER / SLOT);
    let end = slots.saturating_mul(SLOT).next_multiple_of(PAGE);
    let generation = narrow(headers.len()).saturating_add(1);
    let mut bytes = b"RpmP".to_vec();
    let next = generation;
    for number in [0, generation, narrow(end / PAGE), next, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let mut block = end / BLOCK;
    for (number, header) in (1_u32..).zip(headers) {
        let blocks = blocks(header);
        bytes.extend(b"Slot");
        for field in [number, narrow(block), narrow(blocks)] {
            bytes.extend(field.to_le_bytes());
        }
        block = block.saturating_add(blocks);
    }
    while bytes.len() < end {
        bytes.extend(b"Slot");
        bytes.extend([0; 12]);
    }
    for (number, header) in (1_u32..).zip(headers) {
        bytes.extend(blob(number, header));
    }
    (bytes, generation)
}

/// How many blocks a package takes.
const fn blocks(header: &[u8]) -> usize {
    header.len().saturating_add(AROUND).div_ceil(BLOCK)
}

/// A package as it lies in its blocks. Its number is also the generation of the moment before it came.
fn blob(number: u32, header: &[u8]) -> Vec<u8> {
    let length = narrow(header.len());
    let mut bytes = b"BlbS".to_vec();
    for field in [number, number, length] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(header);
    bytes.resize(blocks(header).saturating_mul(BLOCK).saturating_sub(12), 0);
    let sum = adler32(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(b"BlbE");
    bytes
}

pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The checksum of RFC 1950, section 8.2.
pub(super) fn adler32(bytes: &[u8]) -> u32 {
    const LARGEST_PRIME: u32 = 65_521;
    /// So many bytes that the sums cannot overflow.
    const AT_ONCE: usize = 5552;
    let (mut one, mut two) = (1_u32, 0_u32);
    for part in bytes.chunks(AT_ONCE) {
        for byte in part {
            one = one.wrapping_add(u32::from(*byte));
            two = two.wrapping_add(one);
        }
        one %= LARGEST_PRIME;
        two %= LARGEST_PRIME;
    }
    two << 16 | one
}
