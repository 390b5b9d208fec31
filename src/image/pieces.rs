//! Writes the pieces of a file system, each to its place, on as many threads as wanted.
//!
//! Pieces are sorted by place and dealt out in batches of neighbours, so each thread writes long
//! stretches. The bytes do not depend on the number of threads, because every place was known
//! before.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err::File;

use super::Error;
use super::sparse::SparseWriter;
use crate::crew;
use crate::tree::{Content, Contents, TreePath};

/// A batch ends with the piece that fills it to this many bytes.
const BATCH: u64 = 4 << 20;

/// Something to be written.
pub(super) trait Piece: Sync {
    /// How many bytes it has, about.
    fn size(&self) -> u64;

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Content`].
    fn write(&self, contents: &dyn Contents, writer: &mut SparseWriter<'_>) -> Result<(), Error>;
}

/// Writes `pieces`, sorted by place, into `file` from byte `base` on.
///
/// # Errors
/// [`Error::Write`]; [`Error::Content`] with the first file, in the order of writing, whose content
/// could not be read or has another size than the tree says.
pub(super) fn write(
    pieces: &[impl Piece],
    contents: &dyn Contents,
    (file, base): (&File, u64),
    threads: usize,
) -> Result<(), Error> {
    let batches = batches(pieces);
    let (next, turn) = (AtomicUsize::new(0), Mutex::new(()));
    let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let work = || {
        let mut writer = SparseWriter::new(file, base).in_turn(&turn);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(index) else { return };
            let write = |piece: &_| Piece::write(piece, contents, &mut writer);
            let written = batch.iter().try_for_each(write);
            if let Err(error) = written.and_then(|()| writer.flush().map_err(write_failed)) {
                next.store(batches.len(), Ordering::Relaxed);
                let mut failed = failed.lock().expect("no thread panics with the lock");
                if failed.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                    *failed = Some((index, error));
                }
                return;
            }
        }
    };
    crew::share(threads.min(batches.len()), work);
    let failed = failed.into_inner().expect("no thread panicked with the lock");
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// Cuts the pieces into batches of neighbours.
fn batches<P: Piece>(pieces: &[P]) -> Vec<&[P]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, piece) in pieces.iter().enumerate() {
        bytes += piece.size();
        if bytes >= BATCH || index + 1 == pieces.len() {
            batches.push(&pieces[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    batches
}

/// Copies a content to stretches of the file system, each an offset and a length in bytes. Reads to
/// the very end, where it shows that there are more bytes than were promised.
///
/// # Errors
/// [`Error::Write`], [`Error::Content`].
pub(super) fn copy(
    writer: &mut SparseWriter<'_>,
    contents: &dyn Contents,
    (content, path): (&Content, &TreePath),
    stretches: impl Iterator<Item = (u64, u64)>,
) -> Result<(), Error> {
    let failed = |source| Error::Content { path: path.clone(), source };
    let mut reader = content.open_unhashed(contents).map_err(failed)?;
    let mut left = content.size();
    for (offset, length) in stretches {
        let count = left.min(length);
        let copied = writer.copy(offset, &mut reader, count);
        copied.map_err(write_failed)?.map_err(failed)?;
        left -= count;
    }
    match io::copy(&mut io::Read::take(reader, 1), &mut io::sink()).map_err(failed)? {
        0 => Ok(()),
        _ => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "longer than the tree says"))),
    }
}

/// An [`Error::Write`].
pub(super) fn write_failed(source: io::Error) -> Error {
    Error::Write { source }
}
