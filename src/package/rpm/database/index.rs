//! The indexes of a database in ndb, `Index.db`: one file that holds a hash table for each tag.
//!
//! ```text
//! header, 32 bytes: "RpmX"  version  generation  pages of slots  bytes of a page  generation of the packages
//! slots, 16 bytes each, to the page's end: "Slo\0"  tag  first page  pages
//! for each tag, from a page of its own on:
//!   header, 64 bytes: "RpmI"  version  generation  slots  used slots  left slots  mask  end of keys
//!   slots, 8 bytes each: key  package;   4 bytes for each slot: what the eight cannot hold
//!   keys: a byte that is not used, then each with its length before it
//! ```
//!
//! A key's place in the file's keys and, in the bits of the mask, a part of its hash are the first
//! number of a slot; the package's number and the place of the value in its header are the second.
//! Where it stands follows from the hash; if somebody is there already, seven slots further, then eight
//! more, nine more. rpm builds the file anew when the packages' generation is another one.
//! Specification: rpm's `lib/backend/ndb/rpmxdb.c` and `rpmidx.c`.

use std::collections::{BTreeMap, BTreeSet};

use super::Row;
use super::keys::Table;
use super::ndb::{PAGE, narrow};

const SLOT: usize = 16;
const HEADER: usize = 64;
/// Bytes of a slot: the first part, and what it cannot hold.
const PARTS: [usize; 2] = [8, 4];
/// There are at least so many slots, a quarter of them used.
const FEWEST: usize = 1024;

/// The file, for packages of this generation.
pub(super) fn index(tables: &[(&Table, Vec<Row>)], generation: u32) -> Vec<u8> {
    let mut bytes = b"RpmX".to_vec();
    // As often as rpm would have written it: thrice for a table, once for a package, once at first.
    let own = narrow(tables.len()).saturating_mul(3).saturating_add(generation).saturating_add(1);
    for number in [0, own, 1, narrow(PAGE), generation, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let (mut page, mut below) = (1_usize, Vec::new());
    for (table, rows) in tables {
        let hashed = hash_table(rows);
        let pages = hashed.len().div_ceil(PAGE);
        bytes.extend(b"Slo\0");
        for field in [table.tag, narrow(page), narrow(pages)] {
            bytes.extend(field.to_le_bytes());
        }
        page = page.saturating_add(pages);
        below.extend(hashed);
    }
    while bytes.len() < PAGE {
        bytes.extend(b"Slo\0");
        bytes.extend([0; SLOT - 4]);
    }
    bytes.extend(below);
    bytes
}

/// The hash table of one tag, whole pages.
fn hash_table(rows: &[Row]) -> Vec<u8> {
    let keys = Keys::new(rows);
    let entries = entries(rows);
    let slots = largest_power(entries.len()).saturating_mul(4).max(FEWEST);
    let start_of_keys = PARTS.iter().sum::<usize>().saturating_mul(slots).saturating_add(HEADER);
    let room = keys.bytes.len().max(PAGE);
    let size = start_of_keys.saturating_add(room).next_multiple_of(PAGE);
    let mask = mask(size.saturating_sub(start_of_keys));
    let mut filled = Slots { first: vec![(0, 0); slots], rest: vec![0; slots] };
    for (key, value) in &entries {
        let hash = murmur(key);
        filled.put(hash, keys.place(key) | hash & mask, *value);
    }
    let mut bytes = b"RpmI".to_vec();
    let used = narrow(entries.len());
    for field in [0, used.saturating_add(1), narrow(slots), used, 0, mask, narrow(keys.bytes.len())]
    {
        bytes.extend(field.to_le_bytes());
    }
    bytes.resize(HEADER, 0);
    for (key, value) in filled.first {
        bytes.extend(key.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(filled.rest.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(keys.bytes);
    bytes.resize(size, 0);
    bytes
}

/// What the slots hold: each once, in the order of the rows.
fn entries(rows: &[Row]) -> Vec<(&[u8], [u32; 2])> {
    let mut seen = BTreeSet::new();
    let all = rows.iter().map(|row| (row.key.as_slice(), encoded(row.number, row.place)));
    all.filter(|entry| seen.insert(*entry)).collect()
}

/// The largest power of two that is not larger.
fn largest_power(number: usize) -> usize {
    number.checked_ilog2().and_then(|power| 1_usize.checked_shl(power)).unwrap_or(0)
}

/// Which bits of a slot's key are those of a hash: keys may grow by some pages before they need them.
fn mask(room: usize) -> u32 {
    let wanted = room.saturating_add(8192).max(1 << 16);
    u32::try_from(wanted.next_power_of_two()).map_or(0, |bit| !bit.saturating_sub(1))
}

/// A package's number and a place, most often in the first of the two numbers alone.
const fn encoded(number: u32, place: u32) -> [u32; 2] {
    match (number, place) {
        (..0x10_0000, ..0x400) => [number | place << 20, 0],
        (..0x100_0000, ..0x40) => [number | place << 24 | 0x4000_0000, 0],
        _ => [place | 0x8000_0000, number],
    }
}

/// The keys, each once.
struct Keys<'a> {
    bytes: Vec<u8>,
    places: BTreeMap<&'a [u8], u32>,
}

impl<'a> Keys<'a> {
    fn new(rows: &'a [Row]) -> Self {
        let mut keys = Self { bytes: vec![0], places: BTreeMap::new() };
        for Row { key, .. } in rows {
            if keys.places.contains_key(key.as_slice()) {
                continue;
            }
            keys.places.insert(key, narrow(keys.bytes.len()));
            keys.bytes.extend(length(key.len()));
            keys.bytes.extend(key);
        }
        keys
    }

    fn place(&self, key: &[u8]) -> u32 {
        *self.places.get(key).expect("every row's key has its place")
    }
}

/// A key's length: one byte, or more behind bytes that say so.
fn length(length: usize) -> Vec<u8> {
    let number = narrow(length);
    let [one, two, ..] = number.to_le_bytes();
    match length {
        1..255 => vec![one],
        ..65_535 => vec![255, one, two],
        _ => [[255; 3].as_slice(), &number.to_le_bytes()].concat(),
    }
}

struct Slots {
    first: Vec<(u32, u32)>,
    rest: Vec<u32>,
}

impl Slots {
    /// Puts an entry where the next free slot for its hash is: half of them are never used.
    fn put(&mut self, hash: u32, key: u32, [value, rest]: [u32; 2]) {
        let last = narrow(self.first.len()).saturating_sub(1);
        let mut at = hash & last;
        for step in 7_u32.. {
            let number = usize::try_from(at).unwrap_or(usize::MAX);
            let Some(slot) = self.first.get_mut(number) else { return };
            if slot.0 == 0 {
                *slot = (key, value);
                if let Some(slot) = self.rest.get_mut(number) {
                    *slot = rest;
                }
                return;
            }
            at = at.wrapping_add(step) & last;
        }
    }
}

/// The hash of a key, after MurmurHash.
pub(super) fn murmur(key: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let mixed = |hash: u32, shift: u32| {
        let hash = hash.wrapping_mul(FACTOR);
        hash ^ hash.wrapping_shr(shift)
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let mut hash = narrow(key.len()).wrapping_mul(FACTOR);
    for part in key.chunks(4) {
        hash = mixed(hash.wrapping_add(number(part)), 16);
    }
    mixed(mixed(hash, 10), 17)
}
