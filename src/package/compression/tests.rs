//! Tests of compressed streams: every format, its limits, and what is not of it.

use std::io::{BufReader, Write as _};

use super::*;
use crate::testing::Stuttering;

/// Compresses, for tests of this room and of archives.
pub(crate) fn compress(format: Compression, plain: &[u8]) -> Vec<u8> {
    match format {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Deflate => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
    }
}

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];
const REAL: [Compression; 4] =
    [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];

fn decompress(format: Compression, bytes: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    let mut reader = Decompressor::new(bytes, format, limits).unwrap();
    match reader.read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(error) => Err(Error::of(&error).unwrap().clone()),
    }
}

fn some_text() -> Vec<u8> {
    (0..20_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn f5_every_format_is_read_byte_by_byte_and_through_interruptions() {
    let plain = &some_text()[..3_000];
    for format in ALL {
        let packed = compress(format, plain);
        let slow = |bytes: &[u8]| {
            let input =
                BufReader::with_capacity(1, Stuttering::new(io::Cursor::new(bytes.to_vec())));
            let mut reader = Decompressor::new(input, format, Limits::up_to(1 << 20)).unwrap();
            let mut back = Vec::new();
            reader.read_to_end(&mut back).map(|_| back)
        };
        assert_eq!(slow(&packed).unwrap(), plain, "{format}");
        if format != Compression::None {
            assert!(slow(&packed[..packed.len() - 1]).is_err(), "{format}");
        }
    }
}

#[test]
fn every_format_gives_back_what_went_in() {
    for format in ALL {
        for plain in [Vec::new(), b"x".to_vec(), some_text()] {
            let packed = compress(format, &plain);
            assert_eq!(decompress(format, &packed, Limits::up_to(1 << 20)), Ok(plain));
        }
    }
}

#[test]
fn a_leading_stream_ends_where_it_ends_and_chained_ones_follow_each_other() {
    for format in REAL {
        let (one, two) = (compress(format, b"one"), compress(format, b"two"));
        let both = [one.clone(), two].concat();
        let mut rest = &both[..];
        let mut text = String::new();
        let mut reader = Decompressor::leading(&mut rest, format, Limits::up_to(1 << 20)).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), rest), ("one", &both[one.len()..]));
        let chained = |bytes: &[u8]| {
            let mut text = String::new();
            let limits = Limits::up_to(1 << 20);
            let read = Decompressor::chained(bytes, format, limits).unwrap();
            std::io::BufReader::new(read).read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(chained(&both).unwrap(), "onetwo");
        assert!(chained(&both[..both.len() - 1]).is_err());
        assert!(chained(&[&both[..], b"x"].concat()).is_err());
        assert!(decompress(format, &both, Limits::up_to(1 << 20)).is_err());
    }
}

#[test]
fn little_buffers_on_both_sides_change_nothing() {
    for format in ALL {
        let plain = &some_text()[..3000];
        let packed = compress(format, plain);
        let slow = BufReader::with_capacity(1, &packed[..]);
        let mut reader = Decompressor::new(slow, format, Limits::up_to(4000)).unwrap();
        let (mut read, mut byte) = (Vec::new(), [0]);
        while reader.read(&mut byte).unwrap() == 1 {
            read.push(byte[0]);
        }
        assert_eq!(read, plain, "{format}");
    }
}

#[test]
fn c7_a_stream_cut_anywhere_is_refused_at_once() {
    for format in REAL {
        let packed = compress(format, &some_text()[..3000]);
        for end in 0..packed.len() {
            let cut = decompress(format, &packed[..end], Limits::up_to(4000));
            assert_eq!(cut, Err(Error::Truncated(format)), "{format} cut at {end}");
        }
    }
}

#[test]
fn c24_bombs_are_cut_at_the_cap() {
    let zeros = vec![0; 2 << 20];
    for format in REAL {
        let packed = compress(format, &zeros);
        let tight = decompress(format, &packed, Limits::up_to(1 << 20));
        assert_eq!(tight, Err(Error::TooLarge { format, limit: 1 << 20 }));
        assert_eq!(decompress(format, &packed, Limits::up_to(2 << 20)), Ok(zeros.clone()));
    }
}

#[test]
fn c24_bombs_are_cut_at_the_ratio_and_long_zeros_pass() {
    let format = Compression::Zstd;
    for (size, good) in [(64 << 20, true), (80 << 20, false)] {
        let packed = compress(format, &vec![0; size]);
        let answer = decompress(format, &packed, Limits::up_to(1 << 40)).map(|p| p.len());
        let refused = Err(Error::TooDense { format, limit: 1024 });
        assert_eq!(answer, if good { Ok(size) } else { refused });
    }
}

#[test]
fn c24_windows_beyond_128_mib_are_refused_and_128_mib_pass() {
    for (log, good) in [(27, true), (28, false), (31, false)] {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(b"hello").unwrap();
        let packed = encoder.finish().unwrap();
        let answer = decompress(Compression::Zstd, &packed, Limits::up_to(10));
        let refused = Err(Error::Unsupported(Compression::Zstd));
        assert_eq!(answer, if good { Ok(b"hello".to_vec()) } else { refused });
    }
}

#[test]
fn c24_xz_dictionaries_beyond_128_mib_are_refused_and_64_mib_pass() {
    for (size, good) in [(64_u32 << 20, true), (1 << 30, false)] {
        let packed = with_xz_dictionary(&compress(Compression::Xz, b"hello"), size);
        let answer = decompress(Compression::Xz, &packed, Limits::up_to(10));
        let refused = Err(Error::Unsupported(Compression::Xz));
        assert_eq!(answer, if good { Ok(b"hello".to_vec()) } else { refused });
    }
}

/// Rewrites the dictionary size in the one block header of `packed` (LZMA2 filter: byte 12 is
/// the header's size, 13 its flags, 14 the filter id, 15 the size of properties, 16 the size).
fn with_xz_dictionary(packed: &[u8], size: u32) -> Vec<u8> {
    let mut packed = packed.to_vec();
    let end = 12 + (usize::from(packed[12]) + 1) * 4;
    assert_eq!(packed[14..16], [0x21, 1]);
    packed[16] =
        (0..40).find(|bits| (2 | u64::from(bits & 1)) << (bits / 2 + 11) >= size.into()).unwrap();
    let mut checksum = flate2::Crc::new();
    checksum.update(&packed[12..end - 4]);
    packed[end - 4..end].copy_from_slice(&checksum.sum().to_le_bytes());
    packed
}

#[test]
fn c24_a_wrong_checksum_is_refused() {
    for (format, from_end) in [
        (Compression::Gzip, 8),
        (Compression::Zstd, 1),
        (Compression::Bzip2, 4),
        (Compression::Xz, 36),
    ] {
        let mut packed = compress(format, b"some text");
        let at = packed.len() - from_end;
        packed[at] ^= 1;
        let refused = decompress(format, &packed, Limits::up_to(100));
        assert_eq!(refused, Err(Error::Corrupt(format)), "{format}");
    }
}

#[test]
fn c24_whatever_follows_the_end_is_refused() {
    for format in REAL {
        let packed = compress(format, b"some text");
        for tail in [&b"\0"[..], b"garbage", &packed] {
            let longer = [&packed, tail].concat();
            let refused = decompress(format, &longer, Limits::up_to(100));
            assert_eq!(refused, Err(Error::Trailing(format)));
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for format in REAL {
        let packed = compress(format, &some_text()[..200]);
        for at in 0..packed.len() {
            let mut broken = packed.clone();
            broken[at] ^= 0x10;
            let answer = decompress(format, &broken, Limits::up_to(1 << 16));
            assert!(answer.is_err() || answer.unwrap() == some_text()[..200]);
        }
    }
}

#[test]
fn names_and_first_bytes_tell_the_format() {
    for (name, format) in [
        ("data.tar", Compression::None),
        ("data.tar.xz", Compression::Xz),
        ("a.tgz", Compression::Gzip),
        ("a.tar.zst", Compression::Zstd),
        ("a.bz2", Compression::Bzip2),
    ] {
        assert_eq!(Compression::of_name(name), format);
        assert_eq!(Compression::of_start(&compress(format, b"text")), format);
    }
}
