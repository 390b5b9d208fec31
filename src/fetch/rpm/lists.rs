//! The lists that `repomd.xml` names: packages, the streams of modules, and the files of packages.
//!
//! In: an entry of verified metadata; out: records, for which the list is fetched unless the cache has it,
//! and unpacked under the caps that its entry names. Lists of updates (`updateinfo`), groups and
//! translations are not read: a guest takes the newest packages that fit, whatever they mend.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};

use super::index::Refusal;
use crate::digest::{Digest, Hasher};
use crate::fetch::object::{self, Wanted};
use crate::fetch::transport::Transport;
use crate::fetch::url::Url;
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::rpm::repomd::{DataFile, Repomd};
use crate::package::rpm::{filelists, modules, primary};
use crate::relay;
use crate::store::Store;

/// Plain bytes of a list; the largest lists of packages have two hundred million, of files a thousand.
const MAX_LIST: u64 = 2 << 30;
/// Plain bytes of a description of modules, which is held as a whole; real ones have some ten million.
const MAX_MODULES: u64 = 64 << 20;

/// Where a list may be had: from a place, or from the cache alone.
pub(super) type From<'a> = Option<(&'a Transport, &'a Url)>;

/// The kind of the store's records of packages' records. Its number grows with each change of their form.
const RECORDS: &str = "rpm-packages-3";

/// The records of all packages.
pub(super) fn packages(from: From<'_>, repomd: &Repomd, store: &Store) -> Result<Vec<u8>, Refusal> {
    let file = repomd.file("primary").ok_or(Refusal::NoPrimary)?;
    let digest = digest_of(file)?;
    if let Ok(Some(records)) = store.record(RECORDS, &digest) {
        return Ok(records);
    }
    let read = |plain: &mut dyn BufRead| primary::read(plain).map_err(Refusal::Xml);
    let records = unpack(open(from, file, store)?, (file, MAX_LIST), read)?.into_bytes();
    // A cache that cannot be written costs time and nothing else.
    drop(store.put_record(RECORDS, &digest, &records));
    Ok(records)
}

/// The records of modules; none, if the repository has none.
pub(super) fn modules(
    from: From<'_>,
    repomd: &Repomd,
    store: &Store,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(file) = repomd.file("modules") else { return Ok(None) };
    let read = |plain: &mut dyn BufRead| {
        let mut text = String::new();
        plain.read_to_string(&mut text).map_err(Refusal::Read)?;
        modules::read(&text).map_err(Refusal::Modules)
    };
    unpack(open(from, file, store)?, (file, MAX_MODULES), read).map(|text| Some(text.into_bytes()))
}

/// Which of the `wanted` files each package has.
pub(super) fn files(
    from: From<'_>,
    repomd: &Repomd,
    wanted: &BTreeSet<&str>,
    store: &Store,
) -> Result<BTreeMap<Digest, Vec<String>>, Refusal> {
    let Some(file) = repomd.file("filelists") else { return Ok(BTreeMap::new()) };
    let read = |plain: &mut dyn BufRead| filelists::read(plain, wanted).map_err(Refusal::Xml);
    unpack(open(from, file, store)?, (file, MAX_LIST), read)
}

fn digest_of(file: &DataFile) -> Result<Digest, Refusal> {
    file.digest.ok_or_else(|| Refusal::Weak(file.path.clone()))
}

/// Opens a list, which is fetched first if the cache lacks it and there is somewhere to fetch it.
fn open(
    from: From<'_>,
    file: &DataFile,
    store: &Store,
) -> Result<impl Read + Send + use<>, Refusal> {
    let digest = digest_of(file)?;
    let size = file.size.ok_or_else(|| Refusal::Weak(file.path.clone()))?;
    // Reading it here means that a damaged one is put aside and fetched again.
    if !matches!(store.object(&digest), Ok(Some(_))) {
        let (transport, place) = from.ok_or(Refusal::NotKept)?;
        let wanted = Wanted { size, sha256: Some(digest), sha512: None };
        object::bring((transport, store), &place.join(&file.path), wanted)?;
    }
    store.open_object(&digest).map_err(Refusal::Read)
}

/// Unpacks a list under the caps that its entry names, and reads it.
fn unpack<T>(
    packed: impl Read + Send,
    (file, cap): (&DataFile, u64),
    read: impl FnOnce(&mut dyn BufRead) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let broken = |reason: &str| Refusal::List { path: file.path.clone(), reason: reason.into() };
    let cap = file.open_size.unwrap_or(cap).min(cap);
    let format = Compression::of_name(&file.path);
    let packed = BufReader::with_capacity(1 << 16, packed);
    let plain = Decompressor::chained(packed, format, Limits::up_to(cap)).map_err(Refusal::Read)?;
    let mut plain = Counted { inner: plain, hasher: Hasher::default(), count: 0 };
    let found = relay::read_beside(&mut plain, read)?;
    io::copy(&mut plain, &mut io::sink()).map_err(Refusal::Read)?;
    if file.open_size.is_some_and(|size| size != plain.count) {
        return Err(broken("it unpacks to another number of bytes than is signed"));
    }
    let digest = plain.hasher.finish();
    match file.open_digest {
        Some(expected) if expected != digest => {
            Err(broken("what it unpacks to is not what is signed"))
        }
        _ => Ok(found),
    }
}

struct Counted<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        self.hasher.update(output.get(..count).unwrap_or_default());
        self.count = self.count.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
