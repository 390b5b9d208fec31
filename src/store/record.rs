//! Records: small texts under a kind and a digest, such as the listing of a configured tree.
//!
//! ```text
//! "osbuilder-record 1 "  SHA-256 of kind, NUL, key and bytes, in hexadecimal  newline  bytes
//! ```
//!
//! A record that was torn, changed or moved to another name does not have that digest; it is put
//! aside and treated as absent, so it is computed again.

use std::ffi::OsStr;
use std::io::{Read, Write};

use super::folder::Folder;
use super::{Error, Store};
use crate::digest::{Digest, Hasher};

const HEAD: &[u8] = b"osbuilder-record 1 ";
/// As long as a file name may be, and no longer than anybody needs.
const KIND_MAX: usize = 32;

impl Store {
    /// Keeps `bytes` under `kind` and `key`, in place of what was kept there.
    ///
    /// # Errors
    /// [`Error::BadKind`], [`Error::ReadOnly`], [`Error::Disk`].
    pub fn put_record(&self, kind: &str, key: &Digest, bytes: &[u8]) -> Result<(), Error> {
        check_kind(kind)?;
        let temporary = self.temporary("record-")?;
        let head = format!("{}\n", seal(kind, key, bytes));
        let mut file = temporary.file();
        let written = file.write_all(&[HEAD, head.as_bytes()].concat());
        written
            .and_then(|()| file.write_all(bytes))
            .map_err(Error::disk("write a record in", file.path()))?;
        let folder = super::open::own_folder(&self.shared.records, kind)?;
        drop(temporary.publish(&folder, OsStr::new(&key.to_string()))?);
        Ok(())
    }

    /// Returns what is kept under `kind` and `key`, if anything is and if it is undamaged.
    ///
    /// # Errors
    /// [`Error::BadKind`], [`Error::Planted`], [`Error::Disk`].
    pub fn record(&self, kind: &str, key: &Digest) -> Result<Option<Vec<u8>>, Error> {
        check_kind(kind)?;
        if self.shared.records.stat(kind)?.is_none() {
            return Ok(None);
        }
        let folder = self.shared.records.folder(kind)?;
        let record = read(&folder, kind, key)?;
        let name = key.to_string();
        if record.is_some() {
            folder.file_if_there(&name)?.iter().for_each(|(file, _)| super::note_use(file));
        } else if folder.stat(&name)?.is_some() {
            self.put_aside(&folder, &name)?;
        }
        Ok(record)
    }
}

/// Reads a record; `None` when it is absent or damaged.
pub(super) fn read(folder: &Folder, kind: &str, key: &Digest) -> Result<Option<Vec<u8>>, Error> {
    let Some((mut file, _)) = folder.file_if_there(key.to_string())? else { return Ok(None) };
    let mut all = Vec::new();
    file.read_to_end(&mut all).map_err(Error::disk("read", folder.path_of(key.to_string())))?;
    let Some(length) = open(&all, kind, key).map(<[u8]>::len) else { return Ok(None) };
    // Some are large: they are not copied.
    all.drain(..all.len().saturating_sub(length));
    Ok(Some(all))
}

fn open<'a>(all: &'a [u8], kind: &str, key: &Digest) -> Option<&'a [u8]> {
    let (digest, rest) = all.strip_prefix(HEAD)?.split_at_checked(64)?;
    let bytes = rest.strip_prefix(b"\n")?;
    (digest == seal(kind, key, bytes).to_string().as_bytes()).then_some(bytes)
}

fn seal(kind: &str, key: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    for part in [kind.as_bytes(), b"\0", key.as_bytes(), bytes] {
        hasher.update(part);
    }
    hasher.finish()
}

/// A kind becomes the name of a directory, so it must not lead anywhere else.
fn check_kind(kind: &str) -> Result<(), Error> {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=KIND_MAX).contains(&kind.len()) && kind.bytes().all(fit) {
        return Ok(());
    }
    Err(Error::BadKind(kind.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c27_a_kind_that_leads_elsewhere_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let key = Digest::of(b"key");
        for kind in ["../../home", "..", ".", "", "a/b", "A", "a\0", &"a".repeat(33)] {
            let refused = store.put_record(kind, &key, b"").unwrap_err();
            assert!(matches!(refused, Error::BadKind(_)), "{kind}");
            assert!(matches!(store.record(kind, &key).unwrap_err(), Error::BadKind(_)), "{kind}");
        }
        store.put_record("tree-2", &key, b"text").unwrap();
        assert_eq!(store.record("tree-2", &key).unwrap().unwrap(), b"text");
    }

    #[test]
    fn c15_a_record_changed_or_moved_is_absent_and_put_aside() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (key, other) = (Digest::of(b"key"), Digest::of(b"other"));
        store.put_record("tree", &key, b"text").unwrap();
        let path = |key: &Digest| root.path().join("records/tree").join(key.to_string());
        fs_err::copy(path(&key), path(&other)).unwrap();
        assert_eq!(store.record("tree", &other).unwrap(), None);
        assert!(!path(&other).exists());
        let mut bytes = fs_err::read(path(&key)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(path(&key), bytes).unwrap();
        assert_eq!(store.record("tree", &key).unwrap(), None);
        store.put_record("tree", &key, b"new").unwrap();
        assert_eq!(store.record("tree", &key).unwrap().unwrap(), b"new");
    }
}
