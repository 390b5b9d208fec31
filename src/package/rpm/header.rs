//! Headers: the tables of tagged values of which an rpm package mostly consists.
//!
//! ```text
//! magic 8eade801  reserved (4)  number of entries (4)  bytes of data (4)
//! entries: tag (4)  type (4)  offset (4)  count (4)      data
//! ```
//!
//! Numbers are big-endian. The first entry names the region of entries that was signed; here it must
//! be all of them, so that nobody can add an entry to what somebody else has signed. Every offset,
//! count and string is checked when a header is read, under rpm's own limits; looking things up cannot
//! fail afterwards. Specification: rpm's documentation of the header format, and `lib/header.c`.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRODUCTION: usize = 16;
const ENTRY: usize = 16;
/// As in rpm.
const MOST_ENTRIES: u32 = 0xffff;
/// The largest headers, of kernels and documentation, have some ten million bytes; rpm takes 256 MiB.
const MOST_DATA: u32 = 64 << 20;

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A byte.
    Byte,
    /// A number of two bytes.
    Short,
    /// A number of four bytes.
    Word,
    /// A number of eight bytes.
    Long,
    /// One text.
    Text,
    /// Bytes.
    Binary,
    /// Texts.
    Texts,
    /// One text in several languages.
    Translated,
}

impl Type {
    fn of_number(number: u32) -> Option<Self> {
        Some(match number {
            1 | 2 => Self::Byte,
            3 => Self::Short,
            4 => Self::Word,
            5 => Self::Long,
            6 => Self::Text,
            7 => Self::Binary,
            8 => Self::Texts,
            9 => Self::Translated,
            _ => return None,
        })
    }

    /// Bytes of one value, if all have as many.
    const fn size(self) -> Option<usize> {
        match self {
            Self::Byte | Self::Binary => Some(1),
            Self::Short => Some(2),
            Self::Word => Some(4),
            Self::Long => Some(8),
            Self::Text | Self::Texts | Self::Translated => None,
        }
    }
}

/// Where the values of a tag are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Type,
    count: usize,
    data: Range<usize>,
}

/// A header whose every entry can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As it came, with its introduction.
    bytes: Vec<u8>,
    entries: BTreeMap<u32, Entry>,
}

impl Header {
    /// Reads a header whose region has the tag `region`; `reader` then stands right behind it.
    ///
    /// # Errors
    /// [`Error`]
    pub fn read(reader: &mut impl Read, region: u32) -> Result<Self, Error> {
        let mut bytes = vec![0; INTRODUCTION];
        reader.read_exact(&mut bytes).map_err(Error::of_medium)?;
        let length = length_of(&bytes)?;
        let rest = u64::try_from(length).unwrap_or(u64::MAX);
        let count = reader.take(rest).read_to_end(&mut bytes).map_err(Error::Medium)?;
        if count < length {
            return Err(Error::Truncated);
        }
        Self::parse(bytes, region)
    }

    /// As [`Header::read`], from its very bytes.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(bytes: Vec<u8>, region: u32) -> Result<Self, Error> {
        Self::parse_with(bytes, Some(region))
    }

    /// Reads the header of an installed package, as a database holds it: without the magic, and with
    /// entries that rpm has added to those that were signed, in whose place they count.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse_installed(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_with([&MAGIC[..], &[0; 4], bytes].concat(), None)
    }

    fn parse_with(bytes: Vec<u8>, region: Option<u32>) -> Result<Self, Error> {
        let length = length_of(&bytes)?;
        if bytes.len().checked_sub(INTRODUCTION) != Some(length) {
            return Err(Error::Truncated);
        }
        let count = usize::try_from(word(&bytes, 8)).unwrap_or(usize::MAX);
        let start = count.saturating_mul(ENTRY).saturating_add(INTRODUCTION);
        let mut header = Self { bytes, entries: BTreeMap::new() };
        for number in 0..count {
            let at = number.saturating_mul(ENTRY).saturating_add(INTRODUCTION);
            let (tag, entry) = header.entry(at, start)?;
            if let (0, Some(region)) = (number, region) {
                header.check_region(tag, &entry, (region, count))?;
            }
            if header.entries.insert(tag, entry).is_some() && region.is_some() {
                return Err(Error::Repeated { tag });
            }
        }
        Ok(header)
    }

    /// Reads and checks one entry of the table.
    fn entry(&self, at: usize, start: usize) -> Result<(u32, Entry), Error> {
        let field = |place: usize| word(&self.bytes, at.saturating_add(place));
        let (tag, number, offset, count) = (field(0), field(4), field(8), field(12));
        let broken = |rule| Error::Entry { tag, rule };
        let kind = Type::of_number(number).ok_or(broken("is of an unknown type"))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = start.checked_add(offset).ok_or(broken("lies outside"))?;
        let data = self.bytes.get(from..).ok_or(broken("lies outside"))?;
        if count == 0 || count > data.len() {
            return Err(broken("has an impossible number of values"));
        }
        let length = match kind.size() {
            Some(size) if offset.checked_rem(size) != Some(0) => {
                return Err(broken("is not aligned"));
            }
            Some(size) => count.checked_mul(size).ok_or(broken("is too long"))?,
            None if kind == Type::Text && count != 1 => {
                return Err(broken("has an impossible number of values"));
            }
            None => length_of_texts(data, count).ok_or(broken("is a text without an end"))?,
        };
        if length > data.len() {
            return Err(broken("is longer than the data"));
        }
        Ok((tag, Entry { kind, count, data: from..from.saturating_add(length) }))
    }

    /// The first entry must be a region that spans all entries.
    fn check_region(
        &self,
        found: u32,
        entry: &Entry,
        (region, count): (u32, usize),
    ) -> Result<(), Error> {
        if found != region {
            return Err(Error::NoRegion);
        }
        let trailer = self.bytes.get(entry.data.clone()).unwrap_or_default();
        if entry.kind != Type::Binary || trailer.len() != ENTRY {
            return Err(Error::NoRegion);
        }
        let spans = i64::try_from(count.saturating_mul(ENTRY)).unwrap_or(i64::MAX);
        let offset = i64::from(word(trailer, 8).cast_signed());
        let is_trailer = word(trailer, 0) == region
            && word(trailer, 4) == 7
            && word(trailer, 12) == 16
            && offset.checked_neg() == Some(spans);
        if is_trailer { Ok(()) } else { Err(Error::NoRegion) }
    }

    /// The bytes that a signature covers, with the introduction.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the table's entries.
    pub fn table(&self) -> &[u8] {
        let count = usize::try_from(word(&self.bytes, 8)).unwrap_or(usize::MAX);
        let end = count.saturating_mul(ENTRY).saturating_add(INTRODUCTION);
        self.bytes.get(INTRODUCTION..end).unwrap_or_default()
    }

    /// The bytes of all values.
    pub fn data(&self) -> &[u8] {
        let start = self.table().len().saturating_add(INTRODUCTION);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Whether there is a value.
    pub fn has(&self, tag: u32) -> bool {
        self.entries.contains_key(&tag)
    }

    /// The type and number of a tag's values.
    pub fn kind(&self, tag: u32) -> Option<(Type, usize)> {
        self.entries.get(&tag).map(|entry| (entry.kind, entry.count))
    }

    /// The bytes of a tag's values, as they stand in the header.
    pub fn raw(&self, tag: u32) -> Option<&[u8]> {
        self.entries.get(&tag).and_then(|entry| self.bytes.get(entry.data.clone()))
    }

    fn raw_of(&self, tag: u32, kinds: &[Type]) -> &[u8] {
        let entry = self.entries.get(&tag).filter(|entry| kinds.contains(&entry.kind));
        entry.and_then(|entry| self.bytes.get(entry.data.clone())).unwrap_or_default()
    }

    /// The bytes of a binary value; empty, if there is none.
    pub fn binary(&self, tag: u32) -> &[u8] {
        self.raw_of(tag, &[Type::Binary])
    }

    /// All texts of a tag; none, if it has other values.
    pub fn texts(&self, tag: u32) -> impl Iterator<Item = &[u8]> {
        let raw = self.raw_of(tag, &[Type::Text, Type::Texts, Type::Translated]);
        let whole = raw.strip_suffix(b"\0");
        whole.into_iter().flat_map(|whole| whole.split(|byte| *byte == 0))
    }

    /// The first text of a tag, as it is.
    pub fn text(&self, tag: u32) -> Option<&[u8]> {
        self.texts(tag).next()
    }

    /// The first text of a tag, if it is UTF-8.
    pub fn word(&self, tag: u32) -> Option<&str> {
        std::str::from_utf8(self.text(tag)?).ok()
    }

    /// All numbers of a tag, of whatever width; none, if it has other values.
    pub fn numbers(&self, tag: u32) -> impl Iterator<Item = u64> {
        let entry = self.entries.get(&tag);
        let width = entry.map(|entry| entry.kind).filter(|kind| *kind != Type::Binary);
        let width = width.and_then(Type::size).unwrap_or(1);
        let raw = self.raw_of(tag, &[Type::Byte, Type::Short, Type::Word, Type::Long]);
        raw.chunks_exact(width)
            .map(|bytes| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)))
    }

    /// The first number of a tag.
    pub fn number(&self, tag: u32) -> Option<u64> {
        self.numbers(tag).next()
    }
}

/// The length of table and data, from the introduction.
fn length_of(bytes: &[u8]) -> Result<usize, Error> {
    if bytes.get(..4) != Some(&MAGIC[..]) {
        return Err(Error::Magic);
    }
    let (entries, data) = (word(bytes, 8), word(bytes, 12));
    if entries == 0 || entries > MOST_ENTRIES || data > MOST_DATA {
        return Err(Error::Size { entries, data });
    }
    let table = entries.checked_mul(16).and_then(|table| table.checked_add(data));
    Ok(table.and_then(|sum| usize::try_from(sum).ok()).unwrap_or(usize::MAX))
}

/// The bytes of `count` texts, each with its NUL.
fn length_of_texts(data: &[u8], count: usize) -> Option<usize> {
    let mut ends = data.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
    ends.nth(count.checked_sub(1)?)?.checked_add(1)
}

/// A number of four bytes at a place; 0 outside.
fn word(bytes: &[u8], at: usize) -> u32 {
    let end = at.saturating_add(4);
    let found = bytes.get(at..end).and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u32::from_be_bytes)
}

/// Why bytes are not a header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They cannot be read.
    #[error("the header cannot be read")]
    Medium(#[source] io::Error),
    /// They end early.
    #[error("the header ends early")]
    Truncated,
    /// They do not begin as a header does.
    #[error("a header does not begin where it should")]
    Magic,
    /// It is larger than headers are.
    #[error("a header of {entries} entries and {data} bytes cannot be")]
    Size {
        /// Its entries.
        entries: u32,
        /// Its bytes of data.
        data: u32,
    },
    /// An entry breaks a rule.
    #[error("the entry {tag} of the header {rule}")]
    Entry {
        /// Its tag.
        tag: u32,
        /// What is wrong.
        rule: &'static str,
    },
    /// A tag stands there twice.
    #[error("the entry {tag} stands in the header twice")]
    Repeated {
        /// Its tag.
        tag: u32,
    },
    /// No region spans all entries.
    #[error("the header has entries outside of what can be signed")]
    NoRegion,
}

impl Error {
    fn of_medium(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Medium(error),
        }
    }
}

/// A header to be written: values by their tags, and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Tag, number of the type, alignment, count and bytes.
    values: Vec<(u32, u32, usize, usize, Vec<u8>)>,
}

impl Extra {
    /// Adds numbers of four bytes.
    pub fn words(&mut self, tag: u32, words: &[u32]) {
        let bytes = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.values.push((tag, 4, 4, words.len(), bytes));
    }

    /// Adds bytes, each a small number.
    pub fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.values.push((tag, 1, 1, bytes.len(), bytes.to_vec()));
    }

    /// Adds the value that another header has under `from`.
    pub fn copy(&mut self, header: &Header, from: u32, tag: u32) {
        let Some(((kind, count), raw)) = header.kind(from).zip(header.raw(from)) else { return };
        let (number, alignment) = match kind {
            Type::Byte => (2, 1),
            Type::Short => (3, 2),
            Type::Word => (4, 4),
            Type::Long => (5, 8),
            Type::Text => (6, 1),
            Type::Binary => (7, 1),
            Type::Texts => (8, 1),
            Type::Translated => (9, 1),
        };
        self.values.push((tag, number, alignment, count, raw.to_vec()));
    }

    /// The header as a database holds it: the package's own entries untouched, these behind them, and
    /// no magic.
    pub fn behind(mut self, header: &Header) -> Vec<u8> {
        self.values.retain(|(.., bytes)| !bytes.is_empty());
        self.values.sort_by_key(|(tag, ..)| *tag);
        let (mut table, mut data) = (header.table().to_vec(), header.data().to_vec());
        for (tag, number, alignment, count, bytes) in &self.values {
            while data.len().checked_rem(*alignment) != Some(0) {
                data.push(0);
            }
            let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            for field in [*tag, *number, place(data.len()), place(*count)] {
                table.extend(field.to_be_bytes());
            }
            data.extend(bytes);
        }
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let entries = table.len().checked_div(ENTRY).unwrap_or(0);
        [&count(entries)[..], &count(data.len()), &table, &data].concat()
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]
mod tests {
    use super::super::tag;
    use super::*;

    /// A header of entries with type, count and data, in a region.
    fn built(entries: &[(u32, u32, u32, u32)], data: &[u8]) -> Vec<u8> {
        let count = u32::try_from(entries.len() + 1).unwrap();
        let place = u32::try_from(data.len()).unwrap();
        let mut bytes = MAGIC.to_vec();
        for number in [0, count, place + 16] {
            bytes.extend(number.to_be_bytes());
        }
        for (tag, kind, offset, count) in [(63, 7, place, 16)].iter().chain(entries) {
            [tag, kind, offset, count].iter().for_each(|field| bytes.extend(field.to_be_bytes()));
        }
        bytes.extend(data);
        let spans = (count * 16).cast_signed().wrapping_neg().cast_unsigned();
        [63, 7, spans, 16].iter().for_each(|field: &u32| bytes.extend(field.to_be_bytes()));
        bytes
    }

    fn parse(bytes: Vec<u8>) -> Result<Header, Error> {
        Header::parse(bytes, tag::HEADER_IMMUTABLE)
    }

    #[test]
    fn values_are_found_by_their_tags() {
        let data = b"name\0one\0two\0\0\0\0\0\0\0\x01\x02";
        let bytes =
            built(&[(1000, 6, 0, 1), (1049, 8, 5, 2), (1028, 4, 16, 1), (5, 3, 18, 2)], data);
        let header = parse(bytes.clone()).unwrap();
        assert_eq!(header.word(1000), Some("name"));
        assert_eq!(header.texts(1049).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(header.numbers(1028).collect::<Vec<_>>(), [0x1]);
        assert_eq!(header.numbers(5).collect::<Vec<_>>(), [1, 0x0200]);
        assert!(header.texts(1028).next().is_none() && header.number(1000).is_none());
        assert_eq!(header.as_bytes(), bytes);
        let read = Header::read(&mut crate::testing::Stuttering::new(&bytes[..]), 63).unwrap();
        assert_eq!(read, header);
    }

    #[test]
    fn m7_numbers_that_lead_elsewhere_are_refused() {
        let good = |entry| parse(built(&[entry], b"name\0\0\0\0"));
        assert!(good((1000, 6, 0, 1)).is_ok());
        for (entry, rule) in [
            ((1000, 0, 0, 1), "unknown type"),
            ((1000, 10, 0, 1), "unknown type"),
            ((1000, 6, 1 << 31, 1), "outside"),
            ((1000, 6, u32::MAX, 1), "outside"),
            ((1000, 6, 0, 0), "number of values"),
            ((1000, 6, 0, 2), "number of values"),
            ((1000, 8, 0, 1 << 31), "number of values"),
            ((1000, 4, 2, 1), "not aligned"),
            ((1000, 5, 0, 9), "longer than the data"),
            ((1000, 8, 0, 24), "without an end"),
        ] {
            let error = good(entry).unwrap_err().to_string();
            assert!(error.contains(rule), "{entry:?} {error}");
        }
        let twice = parse(built(&[(5, 6, 0, 1), (5, 6, 0, 1)], b"a\0"));
        assert!(matches!(twice, Err(Error::Repeated { tag: 5 })));
    }

    #[test]
    fn m7_sizes_beyond_all_measure_are_refused_before_memory_is_taken() {
        for (entries, data) in [(1_u32 << 31, 16), (0, 16), (1 << 17, 0), (1, 1 << 31)] {
            let mut bytes = MAGIC.to_vec();
            [0, entries, data].iter().for_each(|field: &u32| bytes.extend(field.to_be_bytes()));
            assert!(matches!(parse(bytes), Err(Error::Size { .. })));
        }
        let huge = [&MAGIC[..], &[0; 4], &1_u32.to_be_bytes(), &(60_u32 << 20).to_be_bytes()];
        let mut huge: &[u8] = &huge.concat();
        assert!(matches!(Header::read(&mut huge, 63), Err(Error::Truncated)));
    }

    #[test]
    fn c9_entries_that_no_signature_covers_are_refused() {
        let bytes = built(&[(1000, 6, 0, 1)], b"name\0\0\0\0");
        let end = bytes.len();
        for (at, byte) in [(end - 8 + 3, 0xf0), (end - 1, 15), (end - 13, 62), (19, 62)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert!(matches!(parse(changed), Err(Error::NoRegion)), "{at}");
        }
        assert!(matches!(Header::parse(bytes, 62), Err(Error::NoRegion)));
    }

    #[test]
    fn entries_are_added_behind_without_touching_what_was_signed() {
        let header = parse(built(&[(1000, 6, 0, 1)], b"name\0")).unwrap();
        let mut extra = Extra::default();
        extra.words(tag::installed::INSTALL_TIME, &[7]);
        extra.copy(&header, 1000, 5);
        let blob = extra.behind(&header);
        let count = |at| word(&blob, at);
        assert_eq!(count(0), 4);
        assert_eq!(&blob[8..8 + 32], header.table());
        let start = 8 + 4 * 16;
        assert_eq!(&blob[start..start + header.data().len()], header.data());
        assert_eq!(word(&blob, 8 + 32), 5);
        assert!(word(&blob, 8 + 48 + 8).is_multiple_of(4));
    }
}
