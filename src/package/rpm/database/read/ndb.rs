//! The packages of a database in ndb: `Packages.db`, as the sibling that writes it says.
//!
//! Specification: rpm's `lib/backend/ndb/rpmpkg.c`.

use super::super::ndb::{BLOCK, HEADER, PAGE, SLOT, adler32};
use super::{BadDatabase, little};

pub(super) const MAGIC: &[u8] = b"RpmP";
/// What stands before a package's header.
const BEFORE: usize = 16;
/// What stands behind it.
const BEHIND: usize = 12;

const fn broken(rule: &'static str) -> BadDatabase {
    BadDatabase::Broken { form: "ndb", rule }
}

/// Where a package lies, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    start: usize,
    count: usize,
    number: usize,
}

/// The headers of all packages.
pub(super) fn headers(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BadDatabase> {
    let mut slots = slots(bytes)?;
    slots.sort_unstable();
    let mut end = 0;
    let mut headers = Vec::new();
    for slot in slots {
        if slot.start < end {
            return Err(broken("two packages lie in one block"));
        }
        end = slot.start.saturating_add(slot.count);
        headers.push(header(bytes, slot)?.to_vec());
    }
    Ok(headers)
}

fn slots(bytes: &[u8]) -> Result<Vec<Slot>, BadDatabase> {
    let short = || broken("the header ends early");
    let version = little(bytes, 4).ok_or_else(short)?;
    if version != 0 {
        return Err(BadDatabase::Unsupported { form: "ndb", what: "a version of its own" });
    }
    let end = little(bytes, 12).ok_or_else(short)?.saturating_mul(PAGE);
    let table = bytes.get(HEADER..end).ok_or_else(|| broken("the slots end early"))?;
    let mut slots = Vec::new();
    for slot in table.chunks_exact(SLOT) {
        if !slot.starts_with(b"Slot") {
            return Err(broken("a slot does not begin as slots do"));
        }
        let field = |at| little(slot, at).unwrap_or(0);
        let (number, start, count) = (field(4), field(8), field(12));
        if start != 0 {
            slots.push(Slot { start, count, number });
        }
    }
    Ok(slots)
}

/// The header of the package in a slot.
fn header(bytes: &[u8], slot: Slot) -> Result<&[u8], BadDatabase> {
    let start = slot.start.saturating_mul(BLOCK);
    let end = slot.count.saturating_mul(BLOCK).saturating_add(start);
    let blob = bytes.get(start..end).ok_or_else(|| broken("a package lies outside"))?;
    let tail = blob.len().checked_sub(BEHIND).and_then(|at| blob.split_at_checked(at));
    let (before, tail) = tail.ok_or_else(|| broken("a package has too few blocks"))?;
    let length = little(blob, 12).unwrap_or(usize::MAX);
    let is_whole = blob.starts_with(b"BlbS")
        && tail.ends_with(b"BlbE")
        && little(blob, 4) == Some(slot.number)
        && little(tail, 4) == Some(length);
    if !is_whole {
        return Err(broken("a package does not begin and end as packages do"));
    }
    if little(tail, 0) != usize::try_from(adler32(before)).ok() {
        return Err(broken("the checksum of a package is another one"));
    }
    let header = before.get(BEFORE..).and_then(|rest| rest.get(..length));
    header.ok_or_else(|| broken("a package is longer than its blocks"))
}
