//! One gzip member, compressed on all processors: the same bytes whatever their number.
//!
//! The input is cut into chunks of two MiB, each compressed for itself by libdeflate, and the
//! results are joined into one deflate stream: the mark of the last block is taken from all chunks
//! but the last, and an empty stored block brings each to a whole byte (what `Z_SYNC_FLUSH` of
//! zlib does too). A file of several members would be easier to make, but the kernel wants an
//! archive to end with its member. The header names no file and no time.
//!
//! Specifications: RFC 1952 (gzip), RFC 1951 (deflate; section 3.2.4 for the stored block).

mod blocks;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor, Crc};

/// How many bytes are compressed at a time. Changing it changes the bytes of every output.
const CHUNK: usize = 2 << 20;
/// libdeflate's effort, 1 to 12. Smaller than `gzip -9` and six times as fast on Debian's files;
/// from 8 on it takes nearly twice the time for two parts in a thousand. Changing it changes the
/// bytes of every output.
const LEVEL: i32 = 7;
/// Magic, deflate, no flags, no time, no statement on the effort, made on Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// Length zero and its complement: what follows the three bits of an empty stored block's header.
const STORED_NOTHING: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses what is written to it, and writes the result to `W` as one gzip member.
///
/// The member is complete only after [`Encoder::finish`].
#[derive(Debug)]
pub struct Encoder<W> {
    output: W,
    /// Bytes that are not being compressed yet. Full chunks wait here too, until it is known
    /// whether they are the last.
    chunk: Vec<u8>,
    /// Chunks that are being compressed, oldest first.
    running: VecDeque<Packed>,
    threads: NonZeroUsize,
    crc: Checksum,
    size: u64,
}

/// A compressed chunk, or the thread that makes it.
#[derive(Debug)]
enum Packed {
    Coming(JoinHandle<io::Result<Vec<u8>>>),
    Done(io::Result<Vec<u8>>),
}

/// The checksum of a member: CRC-32 as in ISO 3309.
struct Checksum(Crc);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:08x})", self.0.sum())
    }
}

/// Whether a chunk ends the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Within,
    Last,
}

impl<W: Write> Encoder<W> {
    /// Writes a header to `output` and compresses on `threads` threads beside the caller's.
    ///
    /// # Errors
    /// What `output` reports.
    pub fn new(mut output: W, threads: NonZeroUsize) -> io::Result<Self> {
        output.write_all(&HEADER)?;
        let (chunk, running, crc) = (Vec::new(), VecDeque::new(), Checksum(Crc::new()));
        Ok(Self { output, chunk, running, threads, crc, size: 0 })
    }

    /// Compresses the rest, completes the member, and gives the output back.
    ///
    /// # Errors
    /// What the output reports.
    pub fn finish(mut self) -> io::Result<W> {
        self.submit(Place::Last)?;
        while self.write_oldest()? {}
        self.output.write_all(&self.crc.0.sum().to_le_bytes())?;
        // The format wants the size modulo 2^32.
        let size = u32::try_from(self.size & u64::from(u32::MAX)).expect("32 bits fit");
        self.output.write_all(&size.to_le_bytes())?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// Hands the chunk to a thread of its own, once fewer than `threads` are busy.
    fn submit(&mut self, place: Place) -> io::Result<()> {
        while self.running.len() >= self.threads.get() {
            self.write_oldest()?;
        }
        let chunk = Arc::new(std::mem::take(&mut self.chunk));
        let shared = Arc::clone(&chunk);
        let run = move || deflate(&shared, place);
        let started = thread::Builder::new().name("gzip".to_owned()).spawn(run);
        // Where no thread can be started, this one does it, which is slower and nothing else.
        let packed = started.map_or_else(|_| Packed::Done(deflate(&chunk, place)), Packed::Coming);
        self.running.push_back(packed);
        Ok(())
    }

    /// Waits for the oldest chunk and writes it. Returns whether there was one.
    fn write_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.running.pop_front() else { return Ok(false) };
        let packed = match oldest {
            Packed::Done(packed) => packed?,
            Packed::Coming(thread) => {
                thread.join().map_err(|_| io::Error::other("compressing panicked"))??
            }
        };
        self.output.write_all(&packed)?;
        Ok(true)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() >= CHUNK && !bytes.is_empty() {
            self.submit(Place::Within)?;
        }
        let room = CHUNK.saturating_sub(self.chunk.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(CHUNK);
        }
        self.chunk.extend_from_slice(taken);
        self.crc.0.update(taken);
        self.size = self.size.saturating_add(taken.len() as u64);
        Ok(taken.len())
    }

    /// Does nothing: flushing in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses one chunk to deflate blocks that can stand at `place` in a stream.
fn deflate(chunk: &[u8], place: Place) -> io::Result<Vec<u8>> {
    let level = CompressionLvl::new(LEVEL).expect("the level exists");
    let mut compressor = Compressor::new(level);
    let mut packed = vec![0; compressor.deflate_compress_bound(chunk.len())];
    let length = compressor
        .deflate_compress(chunk, &mut packed)
        .expect("the output is as large as libdeflate asks for");
    packed.truncate(length);
    if place == Place::Within {
        join(&mut packed, chunk.len())?;
    }
    Ok(packed)
}

/// Makes a complete deflate stream of `size` decompressed bytes one that another can follow.
fn join(packed: &mut Vec<u8>, size: usize) -> io::Result<()> {
    let last = blocks::last(packed)
        .filter(|last| last.decompressed == size)
        .ok_or_else(|| io::Error::other("the compressor's output is not what was compressed"))?;
    let mark = packed.get_mut(last.start / 8).expect("the block is in the stream");
    *mark &= !(1 << (last.start % 8));
    // Three zero bits begin a stored block; the rest of the byte in which they end is not used.
    packed.resize((last.end + 3).div_ceil(8), 0);
    packed.extend(STORED_NOTHING);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn compress(bytes: &[u8], threads: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), NonZeroUsize::new(threads).unwrap()).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Text, noise and zeros in turn, so that blocks of all three kinds occur.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        let text =
            (0..9_000).flat_map(|_| format!("line {} of text\n", noise() >> 24).into_bytes());
        let text: Vec<u8> = text.collect();
        let noise: Vec<u8> = (0..40_000).flat_map(|_| noise().to_be_bytes()).collect();
        let mut bytes = [text, noise, vec![0; 70_000]].concat();
        bytes = bytes.repeat(length.div_ceil(bytes.len()));
        bytes.truncate(length);
        bytes
    }

    /// Decompresses the first member, and returns what follows it.
    fn decompress(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        let mut out = Vec::new();
        decoder.read_to_end(&mut out).unwrap();
        (out, decoder.into_inner())
    }

    #[test]
    fn one_member_holds_everything() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 12_345] {
            let plain = sample(length);
            let packed = compress(&plain, 2);
            let (back, rest) = decompress(&packed);
            assert!(back == plain, "{length}");
            assert_eq!(rest, b"", "{length}");
        }
    }

    #[test]
    fn k1_the_bytes_depend_on_neither_threads_nor_the_size_of_writes() {
        let plain = sample(2 * CHUNK + 99);
        let one = compress(&plain, 1);
        assert!(one == compress(&plain, 7));
        let mut encoder = Encoder::new(Vec::new(), NonZeroUsize::MIN).unwrap();
        plain.chunks(4099).for_each(|part| encoder.write_all(part).unwrap());
        assert!(one == encoder.finish().unwrap());
    }

    #[test]
    fn k5_the_header_names_no_time_and_no_file() {
        let expected = *b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\0\0\xff\xff\0\0\0\0\0\0\0\0";
        assert_eq!(compress(b"", 1), expected);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the judge is another program")]
    fn gzip_accepts_the_member() {
        let program =
            Command::new("gzip").arg("-t").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = program else { return crate::testing::skip("gzip is not installed") };
        let packed = compress(&sample(2 * CHUNK + 1), 2);
        child.stdin.take().unwrap().write_all(&packed).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    }

    #[test]
    fn a_full_disk_is_reported() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for room in [5, 100, 20_000] {
            let result = Encoder::new(Full(room), NonZeroUsize::MIN)
                .and_then(|mut encoder| {
                    encoder.write_all(&sample(3 * CHUNK))?;
                    encoder.finish().map(|_| ())
                })
                .map_err(|error| error.kind());
            assert_eq!(result, Err(io::ErrorKind::StorageFull), "{room}");
        }
    }
}
