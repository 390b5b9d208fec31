//! Packs: many contents in one file, for the files of packages.
//!
//! ```text
//! "osbuilder-pack 2"  contents, one after the other  index  trailer
//! index: for each content, in order of digests: digest (32 bytes), checksum (16), offset (8), size (8)
//! trailer: offset of the index (8), SHA-256 of key, that offset and the index (32)
//! ```
//!
//! Numbers are little-endian; offsets count from the start of the file. One pack holds each content
//! once. It is written front to back by any number of threads, published under the digest of what
//! it was made from, and never changed. As with objects nothing waits for the disk: the trailer
//! shows a pack cut short when it is loaded, and each content is verified when it is read.
//!
//! A pack of another version than this one is as good as none: it stays where it is until the same
//! pack is made anew, or cleaning up removes it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err::File;
use fs_err::os::unix::fs::FileExt;

use super::reader::Slice;
use super::temporary::Temporary;
use super::{Error, Store};
use crate::checksum::{Checksum, Summer};
use crate::digest::{Digest, Hasher};

const MAGIC: &[u8; 16] = b"osbuilder-pack 2";
/// What packs of all versions begin with, before the version's first digit.
const ANY_MAGIC: &[u8] = b"osbuilder-pack ";
const ENTRY: usize = 64;
const TRAILER: u64 = 40;
/// Contents of unknown size are gathered in memory up to this; larger ones are written as they
/// come, and other threads wait meanwhile.
const GATHERED: u64 = 4 << 20;
/// How much is written to the disk at a time.
const CHUNK: usize = 1 << 20;

/// A pack being written. Threads may share it. Dropped without [`PackWriter::finish`], it is gone.
#[derive(Debug)]
pub struct PackWriter {
    store: Store,
    temporary: Temporary,
    state: Mutex<State>,
}

/// What threads share: where each content is, and the bytes not yet on the disk.
#[derive(Debug)]
struct State {
    places: BTreeMap<Digest, Place>,
    /// Where `waiting` will begin in the file.
    written: u64,
    waiting: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    checksum: Checksum,
    offset: u64,
    size: u64,
}

impl PackWriter {
    /// Adds what `reader` yields, unless the pack holds it already; returns its digest and its
    /// size in bytes. Hashing goes on in parallel where threads share the pack.
    ///
    /// # Errors
    /// [`Error::Source`] when the reader fails; the pack is then as it was. [`Error::Disk`].
    pub fn add(&self, mut reader: impl Read) -> Result<(Digest, u64), Error> {
        let mut bytes = Vec::new();
        reader.by_ref().take(GATHERED).read_to_end(&mut bytes).map_err(Error::Source)?;
        if (bytes.len() as u64) < GATHERED {
            return self.add_bytes(&bytes);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = state.end();
        let copied = self.stream(&mut state, io::Cursor::new(bytes).chain(reader));
        let known = copied.as_ref().is_ok_and(|(digest, _)| state.places.contains_key(digest));
        if known || copied.is_err() {
            state.rewind(start);
        }
        let (digest, place) = copied?;
        state.places.entry(digest).or_insert(place);
        Ok((digest, place.size))
    }

    /// Adds `bytes`, unless the pack holds them already; returns their digest and number.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64), Error> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.places.contains_key(&digest) {
            let offset = state.end();
            state.push(self.temporary.file(), bytes)?;
            let checksum = Checksum::of(bytes);
            state.places.insert(digest, Place { checksum, offset, size });
        }
        Ok((digest, size))
    }

    fn stream(&self, state: &mut State, mut reader: impl Read) -> Result<(Digest, Place), Error> {
        let (mut hasher, mut summer, offset) = (Hasher::default(), Summer::default(), state.end());
        let mut size = 0_u64;
        let mut buffer = vec![0; CHUNK];
        loop {
            let chunk = match reader.read(&mut buffer) {
                Ok(0) => {
                    let checksum = summer.finish();
                    return Ok((hasher.finish(), Place { checksum, offset, size }));
                }
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Source(error)),
            };
            hasher.update(chunk);
            summer.update(chunk);
            size = size.saturating_add(chunk.len() as u64);
            state.push(self.temporary.file(), chunk)?;
        }
    }

    /// Completes the pack, publishes it under `key` (the digest of what it was made from), and
    /// makes its contents known to the store.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn finish(self, key: &Digest) -> Result<(), Error> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let index_offset = state.end();
        let index = state.index();
        let trailer = trailer(key, index_offset, &index);
        let file = self.temporary.file();
        state.push(file, &index)?;
        state.push(file, &index_offset.to_le_bytes())?;
        state.push(file, trailer.as_bytes())?;
        state.flush(file)?;
        // A large content that was there already may have left bytes behind the end.
        file.set_len(state.end()).map_err(Error::disk("write", file.path()))?;
        let name = key.to_string();
        let file = self.temporary.publish(&self.store.shared.packs, name.as_ref())?;
        let pack = Pack { key: *key, file: Arc::new(file), index };
        self.store.register(pack);
        Ok(())
    }
}

impl State {
    fn end(&self) -> u64 {
        self.written.saturating_add(self.waiting.len() as u64)
    }

    fn push(&mut self, file: &File, bytes: &[u8]) -> Result<(), Error> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK { self.flush(file) } else { Ok(()) }
    }

    fn flush(&mut self, file: &File) -> Result<(), Error> {
        file.write_all_at(&self.waiting, self.written)
            .map_err(Error::disk("write", file.path()))?;
        self.written = self.end();
        self.waiting.clear();
        Ok(())
    }

    /// Forgets everything from `start` on.
    fn rewind(&mut self, start: u64) {
        match start.checked_sub(self.written).and_then(|kept| usize::try_from(kept).ok()) {
            Some(kept) => self.waiting.truncate(kept),
            None => {
                self.written = start;
                self.waiting.clear();
            }
        }
    }

    fn index(&self) -> Vec<u8> {
        let mut index = Vec::with_capacity(self.places.len().saturating_mul(ENTRY));
        for (digest, place) in &self.places {
            index.extend_from_slice(digest.as_bytes());
            index.extend_from_slice(&place.checksum.to_bytes());
            index.extend_from_slice(&place.offset.to_le_bytes());
            index.extend_from_slice(&place.size.to_le_bytes());
        }
        index
    }
}

fn trailer(key: &Digest, index_offset: u64, index: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(key.as_bytes());
    hasher.update(&index_offset.to_le_bytes());
    hasher.update(index);
    hasher.finish()
}

/// A published pack, open for reading.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) key: Digest,
    file: Arc<File>,
    /// As on the disk: checked once, searched in place.
    index: Vec<u8>,
}

/// What stands under the name of a pack.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A pack of another version of this program, or what may be one.
    OtherVersion,
    /// A pack that is not whole.
    Damaged,
    /// A pack.
    Whole(Pack),
}

impl Pack {
    /// Reads whatever stands in a pack's file.
    fn read(key: &Digest, file: File, size: u64) -> io::Result<Found> {
        let mut magic = Vec::new();
        (&file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            let version = magic.strip_prefix(ANY_MAGIC).and_then(<[u8]>::first);
            let is_known = version.is_some_and(u8::is_ascii_digit);
            return Ok(if is_known { Found::OtherVersion } else { Found::Damaged });
        }
        Ok(Self::read_index(key, file, size)?.map_or(Found::Damaged, Found::Whole))
    }

    /// Reads and checks the index; `None` when the pack is not whole.
    fn read_index(key: &Digest, file: File, size: u64) -> io::Result<Option<Self>> {
        let Some(trailer_offset) = size.checked_sub(TRAILER) else { return Ok(None) };
        let (mut place, mut expected) = ([0; 8], [0; 32]);
        file.read_exact_at(&mut place, trailer_offset)?;
        file.read_exact_at(&mut expected, trailer_offset.saturating_add(8))?;
        let index_offset = u64::from_le_bytes(place);
        let Some(length) = trailer_offset.checked_sub(index_offset) else { return Ok(None) };
        let index = Slice { file: Arc::new(file), offset: index_offset, size: length };
        let bytes = index.to_vec()?;
        let whole = trailer(key, index_offset, &bytes).as_bytes() == &expected;
        let pack = Self { key: *key, file: index.file, index: bytes };
        Ok((whole && pack.is_in_order(index_offset)).then_some(pack))
    }

    /// Whether digests rise and every place lies before the index.
    fn is_in_order(&self, index_offset: u64) -> bool {
        let rising = self.digests().zip(self.digests().skip(1)).all(|(one, next)| one < next);
        let inside = (0..self.len()).filter_map(|number| self.place(number)).all(|place| {
            place.offset.checked_add(place.size).is_some_and(|end| end <= index_offset)
        });
        self.index.len().is_multiple_of(ENTRY) && rising && inside
    }

    const fn len(&self) -> usize {
        self.index.len() / ENTRY
    }

    /// The digests of all contents, rising.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.index
            .chunks_exact(ENTRY)
            .filter_map(|entry| entry.first_chunk().map(|digest| Digest::from_bytes(*digest)))
    }

    fn place(&self, number: usize) -> Option<Place> {
        let entry = self.index.chunks_exact(ENTRY).nth(number)?;
        let (checksum, rest) = entry.get(32..)?.split_first_chunk::<{ Checksum::SIZE }>()?;
        let (offset, size) = rest.split_first_chunk::<8>()?;
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let (offset, size) = (number(offset), number(size.first_chunk()?));
        Some(Place { checksum: Checksum::from_bytes(*checksum), offset, size })
    }

    /// Finds a content, and its checksum.
    pub(super) fn find(&self, digest: &Digest) -> Option<(Slice, Checksum)> {
        let Place { checksum, offset, size } = self.find_place(digest)?;
        Some((Slice { file: Arc::clone(&self.file), offset, size }, checksum))
    }

    /// The checksum of a content.
    pub(super) fn checksum(&self, digest: &Digest) -> Option<Checksum> {
        self.find_place(digest).map(|place| place.checksum)
    }

    /// Finds a content by halving, as the index is sorted.
    fn find_place(&self, digest: &Digest) -> Option<Place> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let start = middle.checked_mul(ENTRY)?;
            match self.index.get(start..)?.first_chunk::<32>()?.cmp(digest.as_bytes()) {
                std::cmp::Ordering::Less => low = middle.checked_add(1)?,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.place(middle),
            }
        }
        None
    }
}

impl Store {
    /// Begins a pack.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Disk`].
    pub fn new_pack(&self) -> Result<PackWriter, Error> {
        let temporary = self.temporary("pack-")?;
        let state = State { places: BTreeMap::new(), written: 0, waiting: MAGIC.to_vec() };
        Ok(PackWriter { store: self.clone(), temporary, state: Mutex::new(state) })
    }

    /// Makes the contents of the pack under `key` known; says whether there is such a pack. One
    /// that is not whole is put aside, and then there is none; nor is one of another version.
    ///
    /// # Errors
    /// [`Error::Planted`], [`Error::Disk`].
    pub fn load_pack(&self, key: &Digest) -> Result<bool, Error> {
        if self.is_registered(key) {
            return Ok(true);
        }
        let Found::Whole(pack) = self.read_pack(key)? else { return Ok(false) };
        super::note_use(&pack.file);
        self.register(pack);
        Ok(true)
    }

    /// Opens a pack; puts aside one that is not whole.
    pub(super) fn read_pack(&self, key: &Digest) -> Result<Found, Error> {
        let name = key.to_string();
        let packs = &self.shared.packs;
        let Some((file, stat)) = packs.file_if_there(&name)? else { return Ok(Found::Nothing) };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let found =
            Pack::read(key, file, size).map_err(Error::disk("read", packs.path_of(&name)))?;
        if matches!(found, Found::Damaged) {
            self.put_aside(packs, &name)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Contents;

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("cache")).unwrap();
        (root, store)
    }

    fn read(store: &Store, digest: &Digest) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        store.open(digest)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Contents of every size that takes another way, and their digests.
    fn filled(store: &Store, key: &Digest) -> Vec<(Digest, Vec<u8>)> {
        let pack = store.new_pack().unwrap();
        let sizes = [0, 1, 100, 1 << 20, (1 << 20) + 1, 4 << 20, (9 << 20) + 7, 3];
        let contents = sizes.map(|size: usize| vec![u8::try_from(size % 251).unwrap(); size]);
        let mut added = Vec::new();
        for bytes in contents.iter().chain(&contents) {
            let (digest, size) = pack.add(bytes.as_slice()).unwrap();
            assert_eq!((digest, size), (Digest::of(bytes), bytes.len() as u64));
            added.push((digest, bytes.clone()));
        }
        pack.finish(key).unwrap();
        added
    }

    #[test]
    fn contents_of_a_pack_come_back_and_are_kept_once() {
        let (root, store) = store();
        let key = Digest::of(b"key");
        let added = filled(&store, &key);
        let size = store.shared.packs.stat(key.to_string()).unwrap().unwrap().st_size;
        let once: usize = added.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() / 2;
        assert_eq!(u64::try_from(size).unwrap(), 16 + once as u64 + 8 * 64 + 40);
        let again = Store::open(&root.path().join("cache")).unwrap();
        assert!(again.load_pack(&key).unwrap());
        for (digest, bytes) in &added {
            assert_eq!(&read(&store, digest).unwrap(), bytes);
            assert_eq!(&read(&again, digest).unwrap(), bytes);
        }
        assert!(!again.load_pack(&Digest::of(b"other")).unwrap());
    }

    #[test]
    fn threads_fill_one_pack() {
        let (_root, store) = store();
        let pack = store.new_pack().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let pack = &pack;
                scope.spawn(move || {
                    for number in 0..500_u32 {
                        pack.add_bytes(format!("{} {number}", thread % 2).as_bytes()).unwrap();
                    }
                });
            }
        });
        pack.finish(&Digest::of(b"")).unwrap();
        let digest = Digest::of(b"1 499");
        assert_eq!(read(&store, &digest).unwrap(), b"1 499");
        let Found::Whole(pack) = store.read_pack(&Digest::of(b"")).unwrap() else {
            panic!("the pack is whole");
        };
        assert_eq!(pack.len(), 1000);
    }

    #[test]
    fn a_failing_source_leaves_the_pack_as_it_was() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no more"))
            }
        }
        let (_root, store) = store();
        let pack = store.new_pack().unwrap();
        let large = vec![1; 6 << 20];
        let failed = pack.add(large.as_slice().chain(Fails)).unwrap_err();
        assert!(matches!(failed, Error::Source(_)));
        let (digest, _) = pack.add(&b"good"[..]).unwrap();
        pack.finish(&Digest::of(b"")).unwrap();
        assert_eq!(read(&store, &digest).unwrap(), b"good");
    }

    #[test]
    fn f6_a_flipped_bit_anywhere_in_a_pack_is_found_and_the_pack_put_aside() {
        let key = Digest::of(b"key");
        let size = {
            let (_root, store) = store();
            filled(&store, &key);
            store.shared.packs.stat(key.to_string()).unwrap().unwrap().st_size
        };
        let size = usize::try_from(size).unwrap();
        for place in [0, 20, 1000, size - 400, size - 45, size - 41, size - 1] {
            let (root, store) = store();
            let added = filled(&store, &key);
            drop(store);
            let path = root.path().join("cache/packs").join(key.to_string());
            let mut bytes = fs_err::read(&path).unwrap();
            bytes[place] ^= 4;
            fs_err::write(&path, bytes).unwrap();
            let store = Store::open(&root.path().join("cache")).unwrap();
            let loaded = store.load_pack(&key).unwrap();
            let bad = added.iter().filter(|(digest, _)| read(&store, digest).is_err()).count();
            assert!(!loaded || bad > 0, "{place}");
            assert!(!path.exists(), "{place}");
            assert!(!store.load_pack(&key).unwrap());
        }
    }

    #[test]
    fn a_pack_of_another_version_is_absent_and_stays_until_it_is_made_anew() {
        let key = Digest::of(b"key");
        for text in
            ["osbuilder-pack 1", "osbuilder-pack 1 and what an index was then", "osbuilder-pack 10"]
        {
            let (root, store) = store();
            let path = root.path().join("cache/packs").join(key.to_string());
            fs_err::write(&path, text).unwrap();
            assert!(!store.load_pack(&key).unwrap(), "{text}");
            let checked = store.check().unwrap();
            assert_eq!((checked.packs, checked.damaged.len()), (0, 0), "{text}");
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
            assert_eq!(store.shared.damaged.names().unwrap(), [""; 0]);
            let added = filled(&store, &key);
            assert_eq!(read(&store, &added[2].0).unwrap(), added[2].1);
            assert_eq!(store.check().unwrap().packs, 1, "{text}");
        }
    }

    #[test]
    fn f1_a_pack_cut_anywhere_is_absent() {
        let key = Digest::of(b"key");
        for keep in [0, 15, 16, 39, 40, 60, 100, 150] {
            let (root, store) = store();
            let pack = store.new_pack().unwrap();
            pack.add_bytes(b"some").unwrap();
            pack.add_bytes(b"content").unwrap();
            pack.finish(&key).unwrap();
            drop(store);
            let path = root.path().join("cache/packs").join(key.to_string());
            let bytes = fs_err::read(&path).unwrap();
            fs_err::write(&path, &bytes[..keep]).unwrap();
            let store = Store::open(&root.path().join("cache")).unwrap();
            assert!(!store.load_pack(&key).unwrap(), "{keep}");
        }
    }
}
