//! Objects: immutable files named by their SHA-256, such as packages and indexes.
//!
//! They are published by one rename and never waited for: what a power cut tears has another
//! digest, is found by the next reader, put aside, and fetched again.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;

use super::reader::{Slice, Verifying, is_damage};
use super::temporary::Temporary;
use super::{Error, Store};
use crate::digest::{Digest, Hasher};

/// How much is read from a source at a time.
const CHUNK: usize = 1 << 17;

impl Store {
    /// Whether an object with this digest is kept, without reading it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.shared.objects.stat(digest.to_string())?.is_some())
    }

    /// Keeps what `reader` yields as an object; returns its digest and its size in bytes.
    ///
    /// With `expected` (digest and size in bytes), at most one byte more than announced is read,
    /// and other bytes than the announced ones leave nothing behind.
    ///
    /// # Errors
    /// [`Error::Mismatch`], [`Error::Source`] when the reader fails, [`Error::ReadOnly`],
    /// [`Error::Disk`].
    pub fn insert(
        &self,
        reader: impl Read,
        expected: Option<(Digest, u64)>,
    ) -> Result<(Digest, u64), Error> {
        let temporary = self.temporary("object-")?;
        let limit = expected.map_or(u64::MAX, |(_, size)| size.saturating_add(1));
        let (digest, size) = copy(reader.take(limit), temporary.file())?;
        if let Some((expected, announced)) = expected
            && (digest, size) != (expected, announced)
        {
            let (found, found_size) = (digest, size);
            return Err(Error::Mismatch { expected, size: announced, found, found_size });
        }
        self.publish_object(temporary, &digest)?;
        Ok((digest, size))
    }

    fn publish_object(&self, temporary: Temporary, digest: &Digest) -> Result<(), Error> {
        let name = digest.to_string();
        drop(temporary.publish(&self.shared.objects, OsStr::new(&name))?);
        Ok(())
    }

    /// Opens an object whose bytes have just been read and verified: `None` when there is none, or
    /// when it was damaged; then it has been put aside, so that it can be fetched again.
    ///
    /// # Errors
    /// [`Error::Planted`] when something else has its name, [`Error::Disk`].
    pub fn object(&self, digest: &Digest) -> Result<Option<File>, Error> {
        let Some(slice) = self.object_slice(digest)? else { return Ok(None) };
        let path = self.object_path(digest);
        let file = Arc::clone(&slice.file);
        super::note_use(&file);
        let read = slice.open(digest).and_then(|mut reader| drain(&mut reader));
        match read {
            Ok(()) => file.try_clone().map(Some).map_err(Error::disk("open", path)),
            Err(error) if is_damage(&error) => {
                self.put_aside(&self.shared.objects, &digest.to_string())?;
                Ok(None)
            }
            Err(error) => Err(Error::disk("read", path)(error)),
        }
    }

    /// Opens an object for reading. The reader fails when the bytes turn out to be damaged, and
    /// puts the object aside, so that it can be fetched again.
    ///
    /// # Errors
    /// `NotFound` when there is no such object; whatever the disk reports.
    pub fn open_object(&self, digest: &Digest) -> io::Result<Object> {
        let slice = self.object_slice(digest).map_err(io::Error::other)?;
        let slice = slice.ok_or_else(|| super::unknown(digest))?;
        super::note_use(&slice.file);
        let size = slice.size;
        let opened = slice.open(digest);
        if opened.as_ref().is_err_and(is_damage) {
            self.put_aside_quietly(digest);
        }
        Ok(Object { store: self.clone(), digest: *digest, size, reader: opened? })
    }

    /// Where an object is, or would be. Reading it from there is not verified.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        self.shared.objects.path_of(digest.to_string())
    }

    pub(super) fn object_slice(&self, digest: &Digest) -> Result<Option<Slice>, Error> {
        let Some((file, stat)) = self.shared.objects.file_if_there(digest.to_string())? else {
            return Ok(None);
        };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        Ok(Some(Slice { file: Arc::new(file), offset: 0, size }))
    }

    fn put_aside_quietly(&self, digest: &Digest) {
        // The damage itself is reported; that it could not be moved away adds nothing.
        drop(self.put_aside(&self.shared.objects, &digest.to_string()));
    }
}

/// An object being read and verified.
#[derive(Debug)]
pub struct Object {
    store: Store,
    digest: Digest,
    size: u64,
    reader: Verifying,
}

impl Object {
    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let answer = self.reader.read(buffer);
        if answer.as_ref().is_err_and(is_damage) {
            self.store.put_aside_quietly(&self.digest);
        }
        answer
    }
}

/// Reads to the end, for the verification alone.
pub(super) fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies and hashes, telling a failing source from a failing disk.
fn copy(mut reader: impl Read, mut file: &File) -> Result<(Digest, u64), Error> {
    let (mut hasher, mut size) = (Hasher::default(), 0_u64);
    let mut buffer = vec![0; CHUNK];
    loop {
        let chunk = match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Source(error)),
        };
        hasher.update(chunk);
        size = size.saturating_add(chunk.len() as u64);
        file.write_all(chunk).map_err(Error::disk("write a file in", file.path()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Stuttering;

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        (root, store)
    }

    #[test]
    fn an_object_is_found_under_its_digest() {
        let (_root, store) = store();
        let digest = Digest::of(b"abc");
        assert!(!store.contains(&digest).unwrap());
        assert!(store.object(&digest).unwrap().is_none());
        assert_eq!(store.open_object(&digest).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(store.insert(&b"abc"[..], None).unwrap(), (digest, 3));
        assert!(store.contains(&digest).unwrap());
        let mut text = String::new();
        store.open_object(&digest).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        assert!(store.shared.temporary.names().unwrap().is_empty());
    }

    #[test]
    fn f5_objects_and_packs_are_filled_byte_by_byte_and_through_interruptions() {
        let (_root, store) = store();
        let bytes = b"some bytes, one after the other".as_slice();
        let announced = Some((Digest::of(bytes), bytes.len() as u64));
        store.insert(Stuttering::new(bytes), announced).unwrap();
        assert!(store.object(&Digest::of(bytes)).unwrap().is_some());
        let cut = store.insert(Stuttering::new(&bytes[1..]), announced).unwrap_err();
        assert!(matches!(cut, Error::Mismatch { .. }));
        let pack = store.new_pack().unwrap();
        let large = [7; 20_000].as_slice();
        for content in [bytes, large] {
            let added = pack.add(Stuttering::new(content)).unwrap();
            assert_eq!(added, (Digest::of(content), content.len() as u64));
        }
    }

    #[test]
    fn r4_bytes_other_than_announced_leave_nothing_and_endless_ones_are_cut() {
        let (_root, store) = store();
        let announced = (Digest::of(b"abc"), 3);
        for wrong in ["abd", "ab", "abcd", ""] {
            let refused = store.insert(wrong.as_bytes(), Some(announced)).unwrap_err();
            assert!(matches!(refused, Error::Mismatch { .. }), "{wrong}");
        }
        let endless = store.insert(io::repeat(b'a'), Some(announced)).unwrap_err();
        assert!(matches!(endless, Error::Mismatch { found_size: 4, .. }));
        assert!(store.shared.objects.names().unwrap().is_empty());
        store.insert(&b"abc"[..], Some(announced)).unwrap();
    }

    #[test]
    fn f6_a_damaged_object_is_put_aside_and_can_be_kept_again() {
        let (root, store) = store();
        for size in [3, 3 << 20] {
            let bytes = vec![9; size];
            for by_stream in [false, true] {
                let (digest, _) = store.insert(bytes.as_slice(), None).unwrap();
                let path = store.object_path(&digest);
                let mut bad = bytes.clone();
                bad[size - 1] ^= 1;
                fs_err::write(&path, bad).unwrap();
                if by_stream {
                    let read = store.open_object(&digest).and_then(|mut object| drain(&mut object));
                    assert!(is_damage(&read.unwrap_err()));
                } else {
                    assert!(store.object(&digest).unwrap().is_none());
                }
                assert!(!store.contains(&digest).unwrap());
                assert!(root.path().join("damaged").join(digest.to_string()).exists());
                store.insert(bytes.as_slice(), None).unwrap();
                assert!(store.object(&digest).unwrap().is_some());
            }
        }
    }
}
