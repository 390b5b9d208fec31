//! Finds the last block of a deflate stream, without decompressing it.
//!
//! A stream says in each block's first bit whether it is the last one, but blocks have no length:
//! to find that bit, the codes have to be read. Nothing is copied, only counted.
//!
//! Specification: RFC 1951. The streams are libdeflate's own; others are answered with `None`.

/// Where the last block of a stream lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// The bit, counted from the stream's first, that marks the block as the last.
    pub(super) start: usize,
    /// The bit after the block.
    pub(super) end: usize,
    /// How many bytes the whole stream decompresses to.
    pub(super) decompressed: usize,
}

/// Returns where the last block of `stream` lies; `None` if this is no deflate stream.
pub(super) fn last(stream: &[u8]) -> Option<Last> {
    let mut bits = Bits { stream, position: 0 };
    let mut decompressed = 0_usize;
    loop {
        let start = bits.position;
        let is_last = bits.take(1)? == 1;
        let size = match bits.take(2)? {
            0 => stored(&mut bits)?,
            1 => coded(&mut bits, &fixed_codes()?)?,
            2 => {
                let codes = read_codes(&mut bits)?;
                coded(&mut bits, &codes)?
            }
            _ => return None,
        };
        decompressed = decompressed.checked_add(size)?;
        if is_last {
            return Some(Last { start, end: bits.position, decompressed });
        }
    }
}

/// Passes a stored block and returns how many bytes it holds.
fn stored(bits: &mut Bits<'_>) -> Option<usize> {
    bits.position = bits.position.checked_next_multiple_of(8)?;
    let length = bits.take(16)?;
    let complement = bits.take(16)?;
    let size = usize::try_from(length).ok().filter(|_| length ^ complement == 0xffff)?;
    bits.skip(size.checked_mul(8)?)?;
    Some(size)
}

/// The symbol that ends a block.
const END: u16 = 256;
/// The longest code, in bits.
const LONGEST: u8 = 15;
/// How many bits follow the symbols 257 to 285, and what is added to them.
const LENGTHS: [(u8, u16); 29] = [
    (0, 3),
    (0, 4),
    (0, 5),
    (0, 6),
    (0, 7),
    (0, 8),
    (0, 9),
    (0, 10),
    (1, 11),
    (1, 13),
    (1, 15),
    (1, 17),
    (2, 19),
    (2, 23),
    (2, 27),
    (2, 31),
    (3, 35),
    (3, 43),
    (3, 51),
    (3, 59),
    (4, 67),
    (4, 83),
    (4, 99),
    (4, 115),
    (5, 131),
    (5, 163),
    (5, 195),
    (5, 227),
    (0, 258),
];
/// The order in which the lengths of the codes for code lengths stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The two codes of a block.
struct Codes {
    literals: Code,
    distances: Code,
}

/// Passes the symbols of a block and returns how many bytes they stand for.
fn coded(bits: &mut Bits<'_>, codes: &Codes) -> Option<usize> {
    let mut size = 0_usize;
    loop {
        let symbol = codes.literals.read(bits)?;
        if symbol < END {
            size = size.checked_add(1)?;
            continue;
        }
        if symbol == END {
            return Some(size);
        }
        let (extra, base) = *LENGTHS.get(usize::from(symbol.checked_sub(END + 1)?))?;
        let length = u64::from(base).checked_add(bits.take(extra)?)?;
        size = size.checked_add(usize::try_from(length).ok()?)?;
        let distance = codes.distances.read(bits)?;
        // Distances have an extra bit more for each second symbol from the fourth on.
        let extra = (distance / 2).saturating_sub(1);
        bits.skip(usize::from(extra).min(13))?;
    }
}

/// The codes that the specification itself lays down (section 3.2.6).
fn fixed_codes() -> Option<Codes> {
    let mut lengths = [8; 288];
    lengths.get_mut(144..256)?.fill(9);
    lengths.get_mut(256..280)?.fill(7);
    Some(Codes { literals: Code::new(&lengths)?, distances: Code::new(&[5; 32])? })
}

/// Reads the codes that stand at the beginning of a block (section 3.2.7).
fn read_codes(bits: &mut Bits<'_>) -> Option<Codes> {
    let literals = usize::try_from(bits.take(5)?).ok()?.checked_add(257)?;
    let distances = usize::try_from(bits.take(5)?).ok()?.checked_add(1)?;
    let used = usize::try_from(bits.take(4)?).ok()?.checked_add(4)?;
    let mut lengths = [0; 19];
    for &place in ORDER.get(..used)? {
        *lengths.get_mut(place)? = u8::try_from(bits.take(3)?).ok()?;
    }
    let code = Code::new(&lengths)?;
    let all = literals.checked_add(distances)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(all);
    while lengths.len() < all {
        let (value, count) = match code.read(bits)? {
            16 => (*lengths.last()?, bits.take(2)?.checked_add(3)?),
            17 => (0, bits.take(3)?.checked_add(3)?),
            18 => (0, bits.take(7)?.checked_add(11)?),
            length => (u8::try_from(length).ok()?, 1),
        };
        let count = usize::try_from(count).ok()?;
        lengths.resize(lengths.len().checked_add(count)?, value);
    }
    let (literals, distances) = lengths.get(..all)?.split_at_checked(literals)?;
    Some(Codes { literals: Code::new(literals)?, distances: Code::new(distances)? })
}

/// A prefix code as a table: what the next bits are, for all values of as many bits as the
/// longest code has.
struct Code {
    /// Symbol and length; length zero where no code begins like this.
    table: Vec<(u16, u8)>,
    /// The longest code, in bits.
    longest: u8,
}

impl Code {
    /// Makes the code whose symbols have these lengths in bits, zero for unused (section 3.2.2).
    fn new(lengths: &[u8]) -> Option<Self> {
        let longest = lengths.iter().copied().max().filter(|&longest| longest <= LONGEST)?;
        let mut table = vec![(0, 0); 1 << longest];
        let mut code = 0_u32;
        for length in 1..=longest {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, own)| **own == length) {
                // Codes stand in the stream with their highest bit first.
                let first = code.reverse_bits() >> (32 - u32::from(length));
                let symbol = u16::try_from(symbol).ok()?;
                let places = table.iter_mut().skip(usize::try_from(first).ok()?);
                places.step_by(1 << length).for_each(|place| *place = (symbol, length));
                code = code.checked_add(1).filter(|next| *next <= 1 << length)?;
            }
            code = code.checked_mul(2)?;
        }
        Some(Self { table, longest })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let index = bits.peek() & ((1 << self.longest) - 1);
        let &(symbol, length) = self.table.get(usize::try_from(index).ok()?)?;
        bits.skip(usize::from(length)).filter(|()| length > 0)?;
        Some(symbol)
    }
}

/// A stream of bits, each byte's lowest first.
struct Bits<'a> {
    stream: &'a [u8],
    /// The next bit, counted from the stream's first.
    position: usize,
}

impl Bits<'_> {
    /// Returns at least the next 57 bits, the first of them lowest; zeros after the end.
    fn peek(&self) -> u64 {
        let rest = self.stream.get(self.position / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        word >> (self.position % 8)
    }

    fn take(&mut self, count: u8) -> Option<u64> {
        let value = self.peek() & ((1 << count) - 1);
        self.skip(usize::from(count)).map(|()| value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.position.checked_add(count)?;
        self.position = end;
        (end <= self.stream.len().checked_mul(8)?).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_kinds_are_passed() {
        let stored = [1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];
        let fixed = [0x4b, 0x4c, 0x4a, 0x06, 0x00];
        assert_eq!(last(&stored), Some(Last { start: 0, end: 64, decompressed: 3 }));
        assert_eq!(last(&fixed), Some(Last { start: 0, end: 34, decompressed: 3 }));
        let both: Vec<u8> = [0].into_iter().chain(stored[1..].to_vec()).chain(fixed).collect();
        assert_eq!(last(&both), Some(Last { start: 64, end: 98, decompressed: 6 }));
    }

    #[test]
    fn streams_cut_short_or_damaged_are_answered_with_none() {
        let plain: Vec<u8> = (0..60_000_u32).flat_map(|n| (n * n / 7).to_le_bytes()).collect();
        let level = libdeflater::CompressionLvl::new(9).unwrap();
        let mut compressor = libdeflater::Compressor::new(level);
        let mut packed = vec![0; compressor.deflate_compress_bound(plain.len())];
        let length = compressor.deflate_compress(&plain, &mut packed).unwrap();
        packed.truncate(length);
        assert_eq!(last(&packed).unwrap().decompressed, plain.len());
        assert!((packed.len() - 1) * 8 < last(&packed).unwrap().end);
        for end in [0, 1, 100, packed.len() / 2, packed.len() - 1] {
            assert_eq!(last(&packed[..end]), None, "{end}");
        }
        for place in (0..packed.len()).step_by(997) {
            let mut damaged = packed.clone();
            damaged[place] ^= 0x55;
            assert_ne!(last(&damaged).map(|last| last.start), Some(usize::MAX));
        }
    }
}
