//! How an initrd is compressed: in the formats that kernels can be configured to read.
//!
//! Of each format the variant that kernels take: gzip and zstd in one frame, xz with CRC-32, LZ4 in its
//! legacy frame of blocks of 8 MiB. The bytes never depend on the number of threads.
//!
//! Specification: Linux, `lib/decompress*.c`; RFC 1952, RFC 8878,
//! <https://tukaani.org/xz/xz-file-format.txt>,
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md> (legacy frame).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::io::{self, BufRead, Read, Write};
use std::num::NonZeroUsize;

use liblzma::stream::{Check, MtStreamBuilder, Stream};
use lzzzz::{lz4, lz4_hc};

use super::gzip;
use crate::recipe::InitrdCompression;

/// What compressed data begin with.
const MAGICS: [(InitrdCompression, &[u8]); 4] = [
    (InitrdCompression::Gzip, &[0x1f, 0x8b]),
    (InitrdCompression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
    (InitrdCompression::Lz4, &LZ4_MAGIC),
    (InitrdCompression::Xz, &[0xfd, b'7', b'z', b'X', b'Z', 0]),
];
const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Bytes of a block of the legacy frame, when decompressed: kernels have room for no more.
const LZ4_BLOCK: usize = 8 << 20;
/// How hard each tries: near the best that does not take many times as long. Changing one changes
/// the bytes of every such initrd.
const LZ4_LEVEL: i32 = 9;
const ZSTD_LEVEL: i32 = 12;
const XZ_LEVEL: u32 = 6;
/// xz compresses so many bytes apart, on so many threads at most: each takes some 130 MiB.
const XZ_BLOCK: u64 = 24 << 20;
const XZ_THREADS: usize = 2;
/// Memory for whoever reads xz, in bytes; and the largest window of zstd, as a power of two.
const XZ_MEMORY: u64 = 128 << 20;
const ZSTD_WINDOW: u32 = 27;

/// Which compression `begin` is the beginning of, as far as its few bytes tell; `None` when it is
/// none of these.
pub(super) fn of(begin: &[u8]) -> Option<InitrdCompression> {
    let fits = |magic: &[u8]| begin.starts_with(magic) || magic.starts_with(begin);
    MAGICS.iter().find(|(_, magic)| fits(magic)).map(|(compression, _)| *compression)
}

/// The same of at least as many bytes as it takes to tell.
pub(super) fn surely(begin: &[u8]) -> Option<InitrdCompression> {
    MAGICS.iter().find(|(_, magic)| begin.starts_with(magic)).map(|(compression, _)| *compression)
}

/// Compresses what is written to it. The output is complete only after [`Encoder::finish`].
pub(super) enum Encoder<'w> {
    Gzip(Box<gzip::Encoder<&'w mut dyn Write>>),
    Zstd(zstd::stream::write::Encoder<'static, &'w mut dyn Write>),
    Lz4(Lz4<'w>),
    Xz(liblzma::write::XzEncoder<&'w mut dyn Write>),
    None(&'w mut dyn Write),
}

impl<'w> Encoder<'w> {
    /// Compresses on up to `threads` threads where the format can.
    pub(super) fn new(
        output: &'w mut dyn Write,
        compression: InitrdCompression,
        threads: NonZeroUsize,
    ) -> io::Result<Self> {
        Ok(match compression {
            InitrdCompression::Gzip => Self::Gzip(Box::new(gzip::Encoder::new(output, threads)?)),
            InitrdCompression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            InitrdCompression::Lz4 => {
                output.write_all(&LZ4_MAGIC)?;
                Self::Lz4(Lz4 { output, block: Vec::new() })
            }
            InitrdCompression::Xz => {
                let mut builder = MtStreamBuilder::new();
                builder.preset(XZ_LEVEL).check(Check::Crc32).block_size(XZ_BLOCK);
                builder.threads(u32::try_from(threads.get().min(XZ_THREADS)).unwrap_or(1));
                let stream = builder.encoder().map_err(io::Error::other)?;
                Self::Xz(liblzma::write::XzEncoder::new_stream(output, stream))
            }
            InitrdCompression::None => Self::None(output),
        })
    }

    /// Compresses the rest and completes the output.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.finish().map(drop),
            Self::Zstd(encoder) => encoder.finish()?.flush(),
            Self::Lz4(mut encoder) => encoder.put_block(),
            Self::Xz(encoder) => encoder.finish()?.flush(),
            Self::None(output) => output.flush(),
        }
    }

    fn output(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
            Self::Lz4(encoder) => encoder,
            Self::Xz(encoder) => encoder,
            Self::None(output) => output,
        }
    }
}

impl Write for Encoder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output().flush()
    }
}

/// The legacy frame of LZ4: blocks, each with its size before it.
pub(super) struct Lz4<'w> {
    output: &'w mut dyn Write,
    block: Vec<u8>,
}

impl Lz4<'_> {
    fn put_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut packed = vec![0; lz4::max_compressed_size(self.block.len())];
        let length = lz4_hc::compress(&self.block, &mut packed, LZ4_LEVEL);
        let length = length.map_err(io::Error::other)?;
        let size = u32::try_from(length).map_err(io::Error::other)?;
        self.output.write_all(&size.to_le_bytes())?;
        self.output.write_all(packed.get(..length).unwrap_or_default())?;
        self.block.clear();
        Ok(())
    }
}

impl Write for Lz4<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LZ4_BLOCK.saturating_sub(self.block.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        if self.block.len() >= LZ4_BLOCK {
            self.put_block()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Decompresses what `input` begins with, and no more than that.
pub(super) fn decoder<'r>(
    input: &'r mut dyn BufRead,
    compression: InitrdCompression,
) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match compression {
        InitrdCompression::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        InitrdCompression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        InitrdCompression::Lz4 => {
            let mut magic = [0; LZ4_MAGIC.len()];
            input.read_exact(&mut magic)?;
            if magic != LZ4_MAGIC {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Box::new(Unlz4 { input, block: io::Cursor::new(Vec::new()) })
        }
        InitrdCompression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        InitrdCompression::None => Box::new(input),
    })
}

/// Reads the legacy frame of LZ4, which goes on to the end of its input.
struct Unlz4<'r> {
    input: &'r mut dyn BufRead,
    block: io::Cursor<Vec<u8>>,
}

impl Unlz4<'_> {
    /// Reads the next block; nothing when there is none.
    fn next_block(&mut self) -> io::Result<()> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(());
        }
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let mut size = [0; 4];
        self.input.read_exact(&mut size)?;
        let size = usize::try_from(u32::from_le_bytes(size)).map_err(|_| damaged())?;
        if size == 0 || size > lz4::max_compressed_size(LZ4_BLOCK) {
            return Err(damaged());
        }
        let mut packed = vec![0; size];
        self.input.read_exact(&mut packed)?;
        let mut block = vec![0; LZ4_BLOCK];
        let length = lz4::decompress(&packed, &mut block).map_err(|_| damaged())?;
        block.truncate(length);
        self.block = io::Cursor::new(block);
        Ok(())
    }
}

impl Read for Unlz4<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.block.read(buffer)? {
            0 => {
                self.next_block()?;
                self.block.read(buffer)
            }
            count => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [InitrdCompression; 4] = [
        InitrdCompression::Gzip,
        InitrdCompression::Zstd,
        InitrdCompression::Lz4,
        InitrdCompression::Xz,
    ];

    fn pack(bytes: &[u8], compression: InitrdCompression, threads: usize) -> Vec<u8> {
        let mut output = Vec::new();
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut encoder = Encoder::new(&mut output, compression, threads).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
        output
    }

    fn unpack(mut packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let compression = of(packed).unwrap();
        decoder(&mut packed, compression)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_is_packed_is_unpacked_and_does_not_depend_on_threads() {
        let text = b"all work and no play\n".repeat(500_000);
        for compression in ALL {
            let packed = pack(&text, compression, 1);
            assert_eq!(of(&packed), Some(compression));
            assert_eq!(packed, pack(&text, compression, 3), "{compression:?}");
            assert_eq!(unpack(&packed).unwrap(), text, "{compression:?}");
            assert_eq!(unpack(&pack(b"", compression, 1)).unwrap(), b"", "{compression:?}");
        }
    }

    #[test]
    fn c24_damage_and_sizes_beyond_the_format_are_refused() {
        for compression in ALL {
            let packed = pack(&b"text".repeat(2000), compression, 1);
            let cut = packed.get(..packed.len().saturating_sub(5)).unwrap();
            assert!(unpack(cut).is_err(), "{compression:?}");
        }
        let huge = [&LZ4_MAGIC[..], &[0xff; 4], &[0; 100]].concat();
        assert_eq!(unpack(&huge).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
