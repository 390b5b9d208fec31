//! Values of apk's version 3 as they lie in a file: numbers, bytes, lists.
//!
//! In: the bytes of a block of values; out: what they say, borrowed. A value is a word that holds a
//! number or says where something lies, so every place is checked. Several words may lead to one
//! place, and a few bytes can describe endless lists: so work is counted, and there is an end to it.
//!
//! Format: apk-v3(5), "Wire format".

use std::cell::Cell;

/// Values of one block.
#[derive(Debug)]
pub struct Adb<'a> {
    bytes: &'a [u8],
    work: Cell<u64>,
}

/// Bytes and slots that may be looked at for each byte of the block. Indexes whose packages share
/// most of what they say need ten.
const WORK: u64 = 64;
/// The kinds of values, in the highest four bits.
const SPECIAL: u32 = 0x0;
const SMALL: u32 = 0x1;
const NUMBER_32: u32 = 0x2;
const NUMBER_64: u32 = 0x3;
const BYTES_8: u32 = 0x8;
const BYTES_16: u32 = 0x9;
const BYTES_32: u32 = 0xa;
const ARRAY: u32 = 0xd;
const OBJECT: u32 = 0xe;

impl<'a> Adb<'a> {
    /// Looks at a block's bytes.
    ///
    /// # Errors
    /// [`Error::Broken`] for a block without a root, [`Error::Version`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0, _, _, _, _, _, _, _, ..] => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok(Self { bytes, work: Cell::new(size.saturating_mul(WORK)) })
            }
            [version, _, _, _, _, _, _, _, ..] => Err(Error::Version(*version)),
            _ => Err(Error::Broken("it is too short")),
        }
    }

    /// The value that all others hang on.
    pub fn root(&self) -> Value<'_> {
        let tag = self.bytes.get(4..8).map_or(0, little_endian);
        Value { bytes: self.bytes, work: &self.work, tag }
    }
}

/// One value; perhaps none, which has the number 0, no bytes, and nothing in its list.
#[derive(Debug, Clone, Copy)]
pub struct Value<'v> {
    bytes: &'v [u8],
    work: &'v Cell<u64>,
    tag: u32,
}

impl<'v> Value<'v> {
    fn kind(self) -> u32 {
        self.tag >> 28
    }

    /// A small number, or where the value lies.
    fn low(self) -> u32 {
        self.tag & 0x0fff_ffff
    }

    /// Whether there is no value.
    pub const fn is_none(self) -> bool {
        self.tag == 0
    }

    /// So many bytes behind the place of the value, from the `skip`th.
    fn at(self, skip: usize, size: usize) -> Result<&'v [u8], Error> {
        let units = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1);
        let left = self.work.get().checked_sub(units).ok_or(Error::TooMuch)?;
        self.work.set(left);
        let start = usize::try_from(self.low()).ok().and_then(|place| place.checked_add(skip));
        let end = start.and_then(|start| start.checked_add(size));
        start
            .zip(end)
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or(Error::Broken("a value lies outside"))
    }

    /// The number that it is.
    ///
    /// # Errors
    /// [`Error`] for what is none, or lies outside.
    pub fn number(self) -> Result<u64, Error> {
        match self.kind() {
            SPECIAL if self.is_none() => Ok(0),
            SMALL => Ok(self.low().into()),
            NUMBER_32 => Ok(little_endian(self.at(0, 4)?).into()),
            NUMBER_64 => {
                let (low, high) = (little_endian(self.at(0, 4)?), little_endian(self.at(4, 4)?));
                Ok(u64::from(high) << 32 | u64::from(low))
            }
            _ => Err(Error::Broken("a value is no number")),
        }
    }

    /// The bytes that it is.
    ///
    /// # Errors
    /// [`Error`] for what is none, or lies outside.
    pub fn bytes(self) -> Result<&'v [u8], Error> {
        let width = match self.kind() {
            SPECIAL if self.is_none() => return Ok(&[]),
            BYTES_8 => 1,
            BYTES_16 => 2,
            BYTES_32 => 4,
            _ => return Err(Error::Broken("a value is no text")),
        };
        let size = usize::try_from(little_endian(self.at(0, width)?));
        self.at(width, size.map_err(|_| Error::TooMuch)?)
    }

    /// The text that it is.
    ///
    /// # Errors
    /// [`Error`] for what is none, or lies outside.
    pub fn text(self) -> Result<&'v str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Broken("a text is not UTF-8"))
    }

    /// The list that it is: an array's members or an object's fields.
    ///
    /// # Errors
    /// [`Error`] for what is none, or lies outside.
    pub fn list(self) -> Result<List<'v>, Error> {
        let slots = match self.kind() {
            SPECIAL if self.is_none() => &[][..],
            ARRAY | OBJECT => {
                let slots = usize::try_from(little_endian(self.at(0, 4)?));
                let slots = slots.ok().and_then(|slots| slots.checked_sub(1));
                let size = slots.and_then(|slots| slots.checked_mul(4));
                self.at(4, size.ok_or(Error::Broken("a list has no length"))?)?
            }
            _ => return Err(Error::Broken("a value is no list")),
        };
        Ok(List { slots, bytes: self.bytes, work: self.work })
    }
}

/// Values in a row, counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct List<'v> {
    slots: &'v [u8],
    bytes: &'v [u8],
    work: &'v Cell<u64>,
}

impl<'v> List<'v> {
    /// The value in a slot; none behind the last one.
    pub fn get(&self, slot: usize) -> Value<'v> {
        let words = self.slots.chunks_exact(4).nth(slot.saturating_sub(1));
        let tag = words.filter(|_| slot > 0).map_or(0, little_endian);
        Value { bytes: self.bytes, work: self.work, tag }
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = Value<'v>> + use<'v> {
        let (bytes, work) = (self.bytes, self.work);
        self.slots.chunks_exact(4).map(move |word| Value { bytes, work, tag: little_endian(word) })
    }
}

/// The number that up to four bytes are.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Why values cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They break a rule of the format.
    #[error("its values are broken: {0}")]
    Broken(&'static str),
    /// A later version of the format, which this one cannot stand for.
    #[error("its values are of version {0}, which is not supported")]
    Version(u8),
    /// A few bytes describe more than anybody could want.
    #[error("its values repeat each other beyond all measure")]
    TooMuch,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with these bytes behind its head.
    fn block(tag: u32, body: &[u8]) -> Vec<u8> {
        [&[0; 4][..], &tag.to_le_bytes(), body].concat()
    }

    #[test]
    fn numbers_are_in_the_word_or_behind_it() {
        for (tag, body, expected) in [
            (0, &b""[..], 0),
            (0x1000_0007, b"", 7),
            (0x2000_0008, b"\x01\x02\x03\x04", 0x0403_0201),
            (0x3000_0008, b"\x01\0\0\0\x02\0\0\0", 0x2_0000_0001),
        ] {
            assert_eq!(Adb::new(&block(tag, body)).unwrap().root().number().unwrap(), expected);
        }
    }

    #[test]
    fn bytes_and_lists_are_found_and_missing_slots_are_none() {
        for (tag, body) in [
            (0x8000_0008, &b"\x02hi"[..]),
            (0x9000_0008, b"\x02\0hi"),
            (0xa000_0008, b"\x02\0\0\0hi"),
        ] {
            assert_eq!(Adb::new(&block(tag, body)).unwrap().root().text().unwrap(), "hi");
        }
        let body = [3_u32, 0x1000_0005, 0].map(u32::to_le_bytes).concat();
        let bytes = block(0xe000_0008, &body);
        let adb = Adb::new(&bytes).unwrap();
        let list = adb.root().list().unwrap();
        assert_eq!((list.get(1).number().unwrap(), list.iter().count()), (5, 2));
        for slot in [0, 2, 3, usize::MAX] {
            assert!(list.get(slot).is_none(), "{slot}");
        }
        assert_eq!(Adb::new(&block(0, b"")).unwrap().root().list().unwrap().iter().count(), 0);
    }

    #[test]
    fn c13_what_lies_outside_or_is_something_else_is_refused() {
        assert_eq!(Adb::new(&[0; 7]).unwrap_err(), Error::Broken("it is too short"));
        assert_eq!(Adb::new(&[1, 0, 0, 0, 0, 0, 0, 0]).unwrap_err(), Error::Version(1));
        let root = |tag: u32, body: &[u8]| {
            let bytes = block(tag, body);
            let adb = Adb::new(&bytes).unwrap();
            let value = adb.root();
            let list = value.list().is_ok() && !value.is_none();
            (value.number().is_ok(), value.bytes().is_ok(), list)
        };
        for tag in [
            0x2000_0009,
            0x3000_0005,
            0x8000_000c,
            0x9000_000b,
            0xa000_0009,
            0xafff_ffff,
            0xd000_0009,
            0xefff_ffff,
            0x0000_0001,
            0x4000_0000,
            0xf000_0001,
        ] {
            let (number, bytes, list) = root(tag, b"\xff\xff\xff\xff");
            assert!(!number || tag >> 28 == 3, "{tag:x}");
            assert!(!bytes && !list, "{tag:x}");
        }
        // A length of no slots at all has not even itself.
        assert_eq!(root(0xd000_0008, &[0; 4]), (false, false, false));
    }

    #[test]
    fn r12_lists_of_lists_that_are_all_one_list_come_to_an_end() {
        let slots = 1000_u32;
        let mut body = slots.to_le_bytes().to_vec();
        body.extend((1..slots).flat_map(|_| 0xd000_0008_u32.to_le_bytes()));
        let bytes = block(0xd000_0008, &body);
        let adb = Adb::new(&bytes).unwrap();
        let mut open = vec![adb.root()];
        let mut seen = 0_u32;
        let error = loop {
            let Some(value) = open.pop() else { panic!("it never ends") };
            match value.list() {
                Ok(list) => open.extend(list.iter()),
                Err(error) => break error,
            }
            seen = seen.saturating_add(1);
        };
        assert_eq!((error, seen < 1000), (Error::TooMuch, true));
    }
}
