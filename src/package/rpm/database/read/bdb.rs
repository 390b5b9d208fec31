//! A database in Berkeley DB: the hash table `Packages`, from the number of a package to its header.
//!
//! ```text
//! page 0: … 12 magic  16 version  20 bytes of a page  24 encryption  26 flags …
//! page:   8 own number  12 previous  16 next  20 entries  22 free from here  24 level  25 type
//!         26 offsets of the entries, two bytes each: key, value, key, value, … from the page's end
//! entry:  1 and the bytes, or 3, three zeros, first page and length of what lies on pages of its own
//! ```
//!
//! All numbers are in the order of the machine that wrote them. Pages are taken in the order of the
//! file, whichever bucket they belong to: all packages are wanted, and none is looked for.
//! Specification: `dbinc/db_page.h` of Berkeley DB 5.3, and rpm's `lib/backend/bdb_ro.c`.

use std::collections::BTreeSet;

use super::BadDatabase;

const HASH: u32 = 0x0006_1561;
/// Where the offsets begin, and what lies on a page of its own.
const START: usize = 26;

const fn broken(rule: &'static str) -> BadDatabase {
    BadDatabase::Broken { form: "Berkeley DB", rule }
}

const fn unsupported(what: &'static str) -> BadDatabase {
    BadDatabase::Unsupported { form: "Berkeley DB", what }
}

/// The headers of all packages.
pub(super) fn headers(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BadDatabase> {
    let file = File::open(bytes)?;
    let mut headers = Vec::new();
    let mut taken = BTreeSet::new();
    for (number, page) in file.pages().enumerate().skip(1) {
        match page.get(25) {
            Some(2 | 13) => file.hash_page((number, page), &mut taken, &mut headers)?,
            _ => continue,
        }
    }
    Ok(headers)
}

#[derive(Debug, Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    is_swapped: bool,
}

impl<'a> File<'a> {
    /// Reads the first page.
    fn open(bytes: &'a [u8]) -> Result<Self, BadDatabase> {
        let mut file = Self { bytes, page: 0, is_swapped: false };
        let magic = file.number(bytes, 12).ok_or(BadDatabase::Unknown)?;
        file.is_swapped = u32::try_from(magic).map(u32::swap_bytes) == Ok(HASH);
        if file.number(bytes, 12) != usize::try_from(HASH).ok() {
            return Err(BadDatabase::Unknown);
        }
        if !matches!(file.number(bytes, 16), Some(8..=10)) {
            return Err(unsupported("a version of its own"));
        }
        if bytes.get(24) != Some(&0) || bytes.get(26).is_none_or(|flags| flags & 1 != 0) {
            return Err(unsupported("encrypted pages or pages with checksums"));
        }
        file.page = file.number(bytes, 20).unwrap_or(0);
        if !(512..=65_536).contains(&file.page) || !file.page.is_power_of_two() {
            return Err(broken("pages have an impossible size"));
        }
        Ok(file)
    }

    fn pages(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.page.max(1))
    }

    /// A number of four bytes.
    fn number(self, bytes: &[u8], at: usize) -> Option<usize> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        let number = u32::from_le_bytes(*bytes);
        usize::try_from(if self.is_swapped { number.swap_bytes() } else { number }).ok()
    }

    /// A number of two bytes.
    fn short(self, bytes: &[u8], at: usize) -> Option<usize> {
        let number = u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(usize::from(if self.is_swapped { number.swap_bytes() } else { number }))
    }

    /// Takes the headers on a page.
    fn hash_page(
        self,
        (number, page): (usize, &[u8]),
        taken: &mut BTreeSet<usize>,
        headers: &mut Vec<Vec<u8>>,
    ) -> Result<(), BadDatabase> {
        let entries = self.entries((number, page))?;
        for pair in entries.chunks_exact(2) {
            let [key, value] = pair else { continue };
            // The next package's number stands under the number 0.
            match (key.split_first(), value.split_first()) {
                (Some((1, &[0, 0, 0, 0])), _) => {}
                (Some((1, &[_, _, _, _])), Some((1, header))) => headers.push(header.to_vec()),
                (Some((1, &[_, _, _, _])), Some((3, _))) => {
                    headers.push(self.far(value, taken)?);
                }
                (Some((1, &[_, _, _, _])), Some((2 | 4, _))) => {
                    return Err(unsupported("several packages under one number"));
                }
                _ => return Err(broken("an entry is no package under a number")),
            }
        }
        Ok(())
    }

    /// The entries of a page: they lie from its end, one before the other.
    fn entries(self, (number, page): (usize, &'a [u8])) -> Result<Vec<&'a [u8]>, BadDatabase> {
        if self.number(page, 8) != Some(number) {
            return Err(broken("a page has another page's number"));
        }
        let count = self.short(page, 20).unwrap_or(0);
        let mut end = page.len();
        let mut entries = Vec::new();
        for entry in 0..count {
            let at = entry.saturating_mul(2).saturating_add(START);
            let start = self.short(page, at).filter(|start| *start >= START);
            let bytes = start.and_then(|start| page.get(start..end));
            entries.push(bytes.ok_or_else(|| broken("an entry lies outside of its page"))?);
            end = start.unwrap_or(end);
        }
        Ok(entries)
    }

    /// What lies on pages of its own, each of which is nobody else's.
    fn far(self, entry: &[u8], taken: &mut BTreeSet<usize>) -> Result<Vec<u8>, BadDatabase> {
        let ends = || broken("what lies on pages of its own ends early");
        let (first, length) = (self.number(entry, 4), self.number(entry, 8));
        let (mut number, length) = first.zip(length).ok_or_else(ends)?;
        let mut found = Vec::new();
        while found.len() < length {
            let start = number.saturating_mul(self.page);
            let page = self.bytes.get(start..).and_then(|rest| rest.get(..self.page));
            let page = page.filter(|page| number != 0 && page.get(25) == Some(&7));
            let page = page.ok_or_else(ends)?;
            if !taken.insert(number) {
                return Err(broken("a page belongs to two packages"));
            }
            let count = self.short(page, 22).unwrap_or(0);
            let part = page.get(START..).and_then(|rest| rest.get(..count)).ok_or_else(ends)?;
            found.extend(part);
            number = self.number(page, 16).unwrap_or(0);
        }
        if found.len() == length { Ok(found) } else { Err(ends()) }
    }
}
