//! A database in SQLite: the rows of its table `Packages`, read without SQLite.
//!
//! The file may come from an image of which nothing is trusted. One table is all that is asked of it,
//! and a reader of that in safe code cannot be made to do anything else; SQLite would run in this
//! process with all that its schema may ask for.
//!
//! ```text
//! page 1 from byte 100, others from their beginning: 0 kind  3 cells  8 the last child, if inner
//!   8 or 12 offsets of the cells, two bytes each
//! cell of a leaf:   length, row's number, record, and where that is too long for a page the number of
//!                   the first of the pages with the rest, which begin with the next one's number
//! cell of an inner page: child's page, row's number
//! record:           length of this list, kinds of the columns, columns
//! ```
//!
//! Numbers are big-endian; those of cells and records have one to nine bytes. Indexes, views and
//! triggers are passed over, and nothing in the file is ever carried out. What stands in a write-ahead
//! log beside it is not seen. Specification: SQLite's file format, sections 1.3, 1.5, 1.6, 2.1 and 2.6.

use std::collections::BTreeSet;

use super::BadDatabase;

pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;

const fn broken(rule: &'static str) -> BadDatabase {
    BadDatabase::Broken { form: "SQLite", rule }
}

/// The headers of all packages.
pub(super) fn headers(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BadDatabase> {
    let mut file = File::open(bytes)?;
    let schema = file.rows(1)?;
    let is_it = |row: &&Vec<Value>| {
        matches!(row.as_slice(), [Value::Bytes(kind), Value::Bytes(name), ..]
            if kind == b"table" && name == b"Packages")
    };
    file.room = bytes.len();
    let Some([_, _, _, Value::Number(root), ..]) = schema.iter().find(is_it).map(Vec::as_slice)
    else {
        return Err(broken("there is no table of packages"));
    };
    let root = usize::try_from(*root).map_err(|_| broken("a table has an impossible page"))?;
    let rows = file.rows(root)?.into_iter();
    let header = |row: Vec<Value>| match row.into_iter().nth(1) {
        Some(Value::Bytes(header)) => Ok(header),
        _ => Err(broken("a package has no header")),
    };
    rows.map(header).collect()
}

/// A column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// A whole number.
    Number(i64),
    /// Nothing, or a fraction, which nobody asks for.
    Other,
}

#[derive(Debug)]
struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    /// Bytes of a page that are used.
    usable: usize,
    /// Pages that were read: none is read twice.
    taken: BTreeSet<usize>,
    /// How long all further records may be: cells may lie over each other.
    room: usize,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, BadDatabase> {
        let page = match short(bytes, 16) {
            Some(1) => 65_536,
            Some(size) => size,
            None => return Err(broken("the header ends early")),
        };
        let unused = bytes.get(20).map_or(0, |unused| usize::from(*unused));
        let usable = page.saturating_sub(unused);
        if !(512..=65_536).contains(&page) || !page.is_power_of_two() || usable < 480 {
            return Err(broken("pages have an impossible size"));
        }
        if bytes.get(56..60) != Some(&[0, 0, 0, 1]) {
            let what = "texts in another form than UTF-8";
            return Err(BadDatabase::Unsupported { form: "SQLite", what });
        }
        Ok(Self { bytes, page, usable, taken: BTreeSet::new(), room: bytes.len() })
    }

    /// A page, from 1; each can be had once.
    fn page(&mut self, number: usize) -> Result<&'a [u8], BadDatabase> {
        let start = number.checked_sub(1).and_then(|before| before.checked_mul(self.page));
        let page = start.and_then(|start| self.bytes.get(start..));
        let page = page.and_then(|rest| rest.get(..self.usable));
        let page = page.ok_or_else(|| broken("a page lies outside"))?;
        if !self.taken.insert(number) {
            return Err(broken("a page belongs to two"));
        }
        Ok(page)
    }

    /// The rows of the table whose first page this is.
    fn rows(&mut self, root: usize) -> Result<Vec<Vec<Value>>, BadDatabase> {
        const INNER: u8 = 5;
        const LEAF: u8 = 13;
        let mut rows = Vec::new();
        let mut waiting = vec![root];
        while let Some(number) = waiting.pop() {
            let page = self.page(number)?;
            let at = if number == 1 { HEADER } else { 0 };
            let head = page.get(at..).unwrap_or_default();
            let cells = |length| {
                let count = short(head, 3).unwrap_or(0);
                let offsets = head.get(length..).unwrap_or_default().chunks_exact(2).take(count);
                offsets.map(|offset| page.get(short(offset, 0).unwrap_or(0)..).unwrap_or_default())
            };
            let outside = || broken("a cell lies outside");
            match head.first() {
                Some(&INNER) => {
                    let last = word(head, 8).ok_or_else(outside)?;
                    let children = cells(12).map(|cell| word(cell, 0).ok_or_else(outside));
                    let children = children.collect::<Result<Vec<_>, _>>()?;
                    waiting.push(last);
                    waiting.extend(children.into_iter().rev());
                }
                Some(&LEAF) => {
                    for cell in cells(8) {
                        let record = self.record(cell)?;
                        rows.push(columns(&record).ok_or_else(|| broken("a row is no row"))?);
                    }
                }
                _ => return Err(broken("a page is of no known kind")),
            }
        }
        Ok(rows)
    }

    /// The record of a leaf's cell, with what lies on other pages.
    fn record(&mut self, cell: &[u8]) -> Result<Vec<u8>, BadDatabase> {
        let ends = || broken("a row ends early");
        let (length, rest) = varint(cell).ok_or_else(ends)?;
        let (_, rest) = varint(rest).ok_or_else(ends)?;
        let length = usize::try_from(length).map_err(|_| ends())?;
        let room = self.room.checked_sub(length);
        self.room = room.ok_or_else(|| broken("rows are longer than the file"))?;
        let (here, rest) = rest.split_at_checked(self.local(length)).ok_or_else(ends)?;
        let mut record = here.to_vec();
        let mut next = word(rest, 0).unwrap_or(0);
        while record.len() < length {
            let page = self.page(next)?;
            next = word(page, 0).unwrap_or(0);
            let missing = length.saturating_sub(record.len());
            let part = page.get(4..).unwrap_or_default();
            record.extend(part.iter().take(missing));
        }
        Ok(record)
    }

    /// How much of a record of this length is in the cell itself.
    fn local(&self, length: usize) -> usize {
        let most = self.usable.saturating_sub(35);
        if length <= most {
            return length;
        }
        let least = self.usable.saturating_sub(12).saturating_mul(32) / 255;
        let least = least.saturating_sub(23);
        let on_pages = self.usable.saturating_sub(4);
        let over = length.saturating_sub(least).checked_rem(on_pages).unwrap_or(0);
        let here = least.saturating_add(over);
        if here <= most { here } else { least }
    }
}

/// The columns of a record.
fn columns(record: &[u8]) -> Option<Vec<Value>> {
    let (length, kinds) = varint(record)?;
    let (list, mut rest) = record.split_at_checked(usize::try_from(length).ok()?)?;
    let used = record.len().checked_sub(kinds.len())?;
    let mut kinds = list.get(used..)?;
    let mut columns = Vec::new();
    while !kinds.is_empty() {
        let (kind, behind) = varint(kinds)?;
        kinds = behind;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => kind.checked_sub(12)? / 2,
        };
        let (value, behind) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        rest = behind;
        columns.push(match kind {
            1..=6 => Value::Number(signed(value)),
            8 | 9 => Value::Number(i64::from(kind == 9)),
            12.. => Value::Bytes(value.to_vec()),
            _ => Value::Other,
        });
    }
    Some(columns)
}

/// A number in two's complement of up to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let first = bytes.first().map_or(0, |byte| i64::from(byte.cast_signed() < 0));
    bytes.iter().fold(first.wrapping_neg(), |sum, byte| sum << 8 | i64::from(*byte))
}

/// A number of one to nine bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        let rest = || bytes.get(at.saturating_add(1)..).unwrap_or_default();
        if at == 8 {
            return Some((number << 8 | u64::from(*byte), rest()));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, rest()));
        }
    }
    None
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}
