//! Reading the whole cache: everything in it is verified, and what is damaged is put aside.

use std::path::PathBuf;

use super::folder::Folder;
use super::object::drain;
use super::pack::Found;
use super::reader::is_damage;
use super::{Error, Store, record};
use crate::digest::Digest;

/// What a check has read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Undamaged objects.
    pub objects: u64,
    /// Undamaged packs.
    pub packs: u64,
    /// Undamaged records.
    pub records: u64,
    /// What was damaged, or should not be there, with the place where it was.
    pub damaged: Vec<PathBuf>,
}

impl Store {
    /// Verifies all objects, packs and records. What is damaged is put aside, so that the next
    /// build fetches or computes it again. To have been checked does not count as being of use.
    /// Packs of another version of this program are passed over.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn check(&self) -> Result<Checked, Error> {
        let mut checked = Checked::default();
        let shared = &self.shared;
        checked.objects = self.check_folder(&shared.objects, &mut checked.damaged, |digest| {
            let Some(slice) = self.object_slice(digest)? else { return Ok(Answer::Good) };
            is_whole(slice.open(digest).and_then(|mut reader| drain(&mut reader)))
                .map(Answer::whether)
        })?;
        checked.packs =
            self.check_folder(&shared.packs, &mut checked.damaged, |key| self.check_pack(key))?;
        for kind in shared.records.names()? {
            let kind = kind.to_string_lossy();
            let folder = shared.records.folder(&*kind)?;
            let count = self.check_folder(&folder, &mut checked.damaged, |key| {
                Ok(Answer::whether(record::read(&folder, &kind, key)?.is_some()))
            })?;
            checked.records = checked.records.saturating_add(count);
        }
        Ok(checked)
    }

    fn check_pack(&self, key: &Digest) -> Result<Answer, Error> {
        let pack = match self.read_pack(key)? {
            Found::Whole(pack) => pack,
            Found::OtherVersion => return Ok(Answer::Strange),
            Found::Nothing | Found::Damaged => return Ok(Answer::Bad),
        };
        for digest in pack.digests() {
            let (slice, _) = pack.find(&digest).expect("digests of a pack are found in it");
            if !is_whole(slice.open(&digest).and_then(|mut reader| drain(&mut reader)))? {
                return Ok(Answer::Bad);
            }
        }
        Ok(Answer::Good)
    }

    /// Checks everything in a folder whose names are digests; returns how much of it is good.
    fn check_folder(
        &self,
        folder: &Folder,
        damaged: &mut Vec<PathBuf>,
        look: impl Fn(&Digest) -> Result<Answer, Error>,
    ) -> Result<u64, Error> {
        let mut good: u64 = 0;
        for name in folder.names()? {
            let name = name.to_string_lossy();
            let answer = match name.parse() {
                Ok(digest) => look(&digest),
                Err(_) => Ok(Answer::Bad),
            };
            match answer {
                Ok(Answer::Bad) | Err(Error::Planted { .. }) => {
                    self.put_aside(folder, &name)?;
                    damaged.push(folder.path_of(&*name));
                }
                Ok(Answer::Good) => good = good.saturating_add(1),
                Ok(Answer::Strange) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(good)
    }
}

/// What a look at something in the cache comes to.
enum Answer {
    /// It is sound.
    Good,
    /// It is damaged, or should not be there.
    Bad,
    /// It is another version's: whether it is sound only that one can say.
    Strange,
}

impl Answer {
    const fn whether(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }
}

fn is_whole(read: std::io::Result<()>) -> Result<bool, Error> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if is_damage(&error) => Ok(false),
        Err(error) => Err(Error::Source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_a_check_finds_a_flipped_bit_in_each_class_and_what_should_not_be_there() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let key = Digest::of(b"key");
        store.insert(&b"good"[..], None).unwrap();
        let object = store.insert(&b"object"[..], None).unwrap().0;
        let pack = store.new_pack().unwrap();
        pack.add_bytes(b"content").unwrap();
        pack.finish(&key).unwrap();
        store.put_record("tree", &key, b"record").unwrap();
        let good = Checked { objects: 2, packs: 1, records: 1, damaged: Vec::new() };
        assert_eq!(store.check().unwrap(), good);
        for name in
            [format!("objects/{object}"), format!("packs/{key}"), format!("records/tree/{key}")]
        {
            let path = root.path().join(&name);
            let mut bytes = fs_err::read(&path).unwrap();
            let place = bytes.len() / 5;
            bytes[place] ^= 0x10;
            fs_err::write(&path, bytes).unwrap();
            assert_eq!(store.check().unwrap().damaged, [path], "{name}");
            assert!(store.check().unwrap().damaged.is_empty(), "{name}");
        }
        fs_err::write(root.path().join("objects/stray"), "").unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join(format!("objects/{key}"))).unwrap();
        assert_eq!(store.check().unwrap().damaged.len(), 2);
        assert_eq!(store.check().unwrap(), Checked { objects: 1, ..Checked::default() });
    }
}
