//! Decompression of foreign bytes, streaming and bounded: gzip, deflate, xz, zstd, bzip2, or none.
//!
//! A buffered reader comes in, a reader of the plain bytes goes out. It ends well only if the
//! compressed stream was complete, its stored checksums agree, and nothing follows it: exactly one
//! gzip member, deflate stream, xz stream, zstd frame or bzip2 stream. Concatenated ones are refused unless a caller
//! asks for them, so that no two readers can disagree about where the data ends. Output, expansion
//! and memory are limited.
//!
//! Formats: RFC 1952 (gzip), RFC 1951 (deflate), the .xz file format 1.2, RFC 8878 (zstd); bzip2 by its library.

use std::fmt;
use std::io::{self, BufRead, Read};

use bzip2::{Decompress as Bzip2, Status as Bzip2Status};
use flate2::{Decompress as Gzip, FlushDecompress, Status as GzipStatus};
use liblzma::stream::{
    Action, Error as XzError, Status as XzStatus, Stream as Xz, TELL_UNSUPPORTED_CHECK,
};
use zstd::stream::raw::{DParameter, Decoder as Zstd, Operation};

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Deflate, as it is within gzip: no name, no mark and no checksum.
    Deflate,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// Returns what a file name says: by `.gz`, `.xz`, `.zst`, `.bz2`, or nothing of these.
    pub fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("gz" | "tgz") => Self::Gzip,
            Some("xz" | "txz") => Self::Xz,
            Some("zst" | "tzst") => Self::Zstd,
            Some("bz2" | "tbz2") => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// Returns what the first bytes of a file say; six are enough.
    pub fn of_start(start: &[u8]) -> Self {
        const MAGIC: [(&[u8], Compression); 4] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"BZh", Compression::Bzip2),
        ];
        let found = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
        found.map_or(Self::None, |(_, compression)| *compression)
    }

    /// Its name as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a stream may cost at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Plain bytes in all.
    pub output: u64,
    /// Plain bytes for each compressed byte, once [`FREE_OUTPUT`] is exceeded.
    pub ratio: u64,
}

/// Plain bytes up to which the ratio is not looked at: a file of zeros is no attack.
pub const FREE_OUTPUT: u64 = 64 << 20;
/// The largest dictionary or window, as a power of two: 128 MiB, what the strongest presets that
/// are in use ask for at most. It bounds the memory of a decoder.
const WINDOW_LOG: u32 = 27;
/// Memory that xz may use beside its dictionary.
const XZ_SLACK: u64 = 2 << 20;

impl Limits {
    /// Up to `output` plain bytes, and a thousand for each compressed one.
    pub const fn up_to(output: u64) -> Self {
        Self { output, ratio: 1024 }
    }
}

/// Why compressed bytes are not accepted. Travels inside an [`io::Error`]; see [`Error::of`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The stream breaks a rule of its format, or a stored checksum differs.
    #[error("the {0} data is corrupt")]
    Corrupt(Compression),
    /// The stream ends in the middle.
    #[error("the {0} data ends early")]
    Truncated(Compression),
    /// Something follows the end of the stream.
    #[error("bytes follow the end of the {0} data")]
    Trailing(Compression),
    /// More plain bytes than allowed.
    #[error("the {format} data expands to more than {limit} bytes")]
    TooLarge {
        /// How it is compressed.
        format: Compression,
        /// The limit in bytes.
        limit: u64,
    },
    /// More plain bytes for each compressed one than allowed.
    #[error("the {format} data expands more than {limit}-fold")]
    TooDense {
        /// How it is compressed.
        format: Compression,
        /// The limit.
        limit: u64,
    },
    /// The stream asks for more memory than allowed, or for a feature that is not built in.
    #[error("the {0} data needs more than 128 MiB of memory or an unknown feature to decompress")]
    Unsupported(Compression),
}

impl Error {
    /// Returns the reason if `error` came from a [`Decompressor`] and not from the medium.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// What may follow the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing.
    Nothing,
    /// Whatever: reading stops at the end of the stream.
    Anything,
    /// More streams of the same kind, whose plain bytes follow each other.
    Streams,
}

/// One step of a decoder.
struct Step {
    taken: usize,
    made: usize,
    ended: bool,
}

enum Codec {
    None,
    Gzip(Box<Gzip>),
    Xz(Xz),
    Zstd(Box<Zstd<'static>>),
    Bzip2(Bzip2),
}

/// A reader of the plain bytes behind a compressed reader.
pub struct Decompressor<R> {
    inner: R,
    codec: Codec,
    format: Compression,
    limits: Limits,
    after: After,
    taken: u64,
    made: u64,
    ended: bool,
}

impl<R> fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<R: BufRead> Decompressor<R> {
    /// Prepares to read `inner`, which is compressed as `format` says.
    ///
    /// # Errors
    /// When the decoder cannot be set up for want of memory.
    pub fn new(inner: R, format: Compression, limits: Limits) -> io::Result<Self> {
        Self::followed(inner, format, limits, After::Nothing)
    }

    /// As [`Decompressor::new`], for one stream after which something else follows: reading ends
    /// with the stream, and `inner` then stands right behind it.
    ///
    /// # Errors
    /// As [`Decompressor::new`].
    pub fn leading(inner: R, format: Compression, limits: Limits) -> io::Result<Self> {
        Self::followed(inner, format, limits, After::Anything)
    }

    /// As [`Decompressor::new`], for one or more streams that make up one text.
    ///
    /// # Errors
    /// As [`Decompressor::new`].
    pub fn chained(inner: R, format: Compression, limits: Limits) -> io::Result<Self> {
        Self::followed(inner, format, limits, After::Streams)
    }

    fn followed(inner: R, format: Compression, limits: Limits, after: After) -> io::Result<Self> {
        let codec = Codec::new(format)?;
        Ok(Self { inner, codec, format, limits, after, taken: 0, made: 0, ended: false })
    }

    /// Reads and discards what is left, and returns the reader below, at its end.
    ///
    /// # Errors
    /// Any of [`Error`], or what the medium reports.
    pub fn finish(mut self) -> io::Result<R> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.inner)
    }

    /// What to do after the end of a stream: whether another one begins.
    fn begin_next(&mut self) -> io::Result<bool> {
        if self.after == After::Anything || self.inner.fill_buf()?.is_empty() {
            return Ok(false);
        }
        if self.after == After::Nothing {
            return Err(Error::Trailing(self.format).into());
        }
        self.codec = Codec::new(self.format)?;
        self.ended = false;
        Ok(true)
    }

    fn count(&mut self, step: &Step) -> Result<(), Error> {
        let Limits { output, ratio } = self.limits;
        self.taken = self.taken.saturating_add(widen(step.taken));
        self.made = self.made.saturating_add(widen(step.made));
        if self.made > output {
            return Err(Error::TooLarge { format: self.format, limit: output });
        }
        let dense = self.format != Compression::None && self.made > FREE_OUTPUT;
        if dense && self.made > self.taken.saturating_mul(ratio) {
            return Err(Error::TooDense { format: self.format, limit: ratio });
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Decompressor<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        loop {
            if self.ended && !self.begin_next()? {
                return Ok(0);
            }
            let input = self.inner.fill_buf()?;
            let at_end = input.is_empty();
            let step = self.codec.step(input, output, self.format)?;
            self.inner.consume(step.taken);
            self.count(&step)?;
            self.ended = step.ended;
            let progress = step.taken > 0 || step.made > 0 || step.ended;
            if !progress {
                // With input left and room for output, a sound decoder always does something.
                let error = if at_end { Error::Truncated } else { Error::Corrupt };
                return Err(error(self.format).into());
            }
            if step.made > 0 {
                return Ok(step.made);
            }
        }
    }
}

impl Codec {
    fn new(format: Compression) -> io::Result<Self> {
        Ok(match format {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip(Box::new(Gzip::new_gzip(15))),
            Compression::Deflate => Self::Gzip(Box::new(Gzip::new(false))),
            Compression::Xz => {
                let memory = (1_u64 << WINDOW_LOG).saturating_add(XZ_SLACK);
                Self::Xz(Xz::new_stream_decoder(memory, TELL_UNSUPPORTED_CHECK)?)
            }
            Compression::Zstd => {
                let mut decoder = Zstd::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
                Self::Zstd(Box::new(decoder))
            }
            Compression::Bzip2 => Self::Bzip2(Bzip2::new(false)),
        })
    }

    /// Decodes some of `input` into `output`. An empty `input` says that no more will come.
    fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        format: Compression,
    ) -> Result<Step, Error> {
        let corrupt = Error::Corrupt(format);
        match self {
            Self::None => Ok(copy(input, output)),
            Self::Gzip(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|_| corrupt)?;
                let after = (decoder.total_in(), decoder.total_out());
                Ok(Step::between(before, after, status == GzipStatus::StreamEnd))
            }
            Self::Xz(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.process(input, output, Action::Run).map_err(|e| match e {
                    XzError::MemLimit | XzError::Options | XzError::UnsupportedCheck => {
                        Error::Unsupported(format)
                    }
                    _ => corrupt,
                })?;
                let after = (decoder.total_in(), decoder.total_out());
                Ok(Step::between(before, after, status == XzStatus::StreamEnd))
            }
            Self::Zstd(decoder) => {
                let status =
                    decoder.run_on_buffers(input, output).map_err(|e| zstd_error(&e, format))?;
                let (taken, made) = (status.bytes_read, status.bytes_written);
                let ended = status.remaining == 0 && (taken > 0 || made > 0);
                Ok(Step { taken, made, ended })
            }
            Self::Bzip2(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output).map_err(|_| corrupt)?;
                let after = (decoder.total_in(), decoder.total_out());
                Ok(Step::between(before, after, status == Bzip2Status::StreamEnd))
            }
        }
    }
}

impl Step {
    fn between(before: (u64, u64), after: (u64, u64), ended: bool) -> Self {
        let difference = |after: u64, before: u64| {
            usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
        };
        Self { taken: difference(after.0, before.0), made: difference(after.1, before.1), ended }
    }
}

fn copy(input: &[u8], output: &mut [u8]) -> Step {
    let size = input.len().min(output.len());
    for (to, from) in output.iter_mut().zip(input) {
        *to = *from;
    }
    Step { taken: size, made: size, ended: input.is_empty() }
}

/// zstd's own error texts are its interface for telling a window that is too large.
fn zstd_error(error: &io::Error, format: Compression) -> Error {
    if error.to_string().contains("too much memory") {
        Error::Unsupported(format)
    } else {
        Error::Corrupt(format)
    }
}

fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]
pub(crate) mod tests;
