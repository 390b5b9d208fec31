//! A reader that fails at its end unless all bytes together have the digest that was promised, and
//! the digests of many contents at once.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::digest::{Digest, Hasher};

/// Reads what it is made of, and checks it.
pub(super) struct Verified<R> {
    bytes: R,
    /// Gone once the end was seen.
    hasher: Option<Hasher>,
    expected: Digest,
}

impl<R: Read> Verified<R> {
    pub(super) fn new(bytes: R, expected: Digest) -> Self {
        Self { bytes, hasher: Some(Hasher::default()), expected }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.expected
        {
            let text = format!("the image changed: no longer the content {}", self.expected);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}

/// The digests of `count` contents, in their order, on up to `threads` threads.
///
/// # Errors
/// That of the first content that cannot be read.
pub(super) fn digests<'a>(
    count: usize,
    threads: usize,
    open: impl Fn(usize) -> Box<dyn Read + 'a> + Sync,
) -> io::Result<Vec<Digest>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let work = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && index < count
        {
            let reader = io::BufReader::with_capacity(1 << 17, open(index));
            let digest = Digest::of_reader(reader).map(|(digest, _)| digest);
            found.lock().expect("no thread panics with the lock").insert(index, digest);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, count.max(1)) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().expect("no thread panicked with the lock").into_values().collect()
}
