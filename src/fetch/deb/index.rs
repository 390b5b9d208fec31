//! The package indexes of one repository: all of one snapshot, or none.
//!
//! In: a source, its mirrors and the keys that may vouch for it. Out: a [`Repository`] with the
//! texts of its `Packages` files, each verified against the snapshot's signed digest and unpacked
//! under a cap. Mirrors are asked in turn; a snapshot and its indexes are remembered only when
//! everything is there.

use std::io::Read;

use super::release::Entry;
use super::snapshot::{Judge, Refusal, Snapshot};
use super::source::{Layout, Source};
use crate::digest::Digest;
use crate::event::Event;
use crate::fetch::object::{self, Wanted};
use crate::fetch::openpgp::Keyring;
use crate::fetch::repository::Believed;
use crate::fetch::transport::Transport;
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, Repository, repository};
use crate::lock::LockedRepository;

/// Reads one repository.
pub(super) fn repository(
    transport: &Transport,
    source: &Source,
    (keyring, judge): (&Keyring, &Judge<'_>),
) -> Result<Repository, Error> {
    let reader = Reader { transport, source, keyring, judge };
    repository::read(&reader, &source.mirrors)
}

struct Reader<'a> {
    transport: &'a Transport,
    source: &'a Source,
    keyring: &'a Keyring,
    judge: &'a Judge<'a>,
}

/// The largest index that is accepted when nobody signed its unpacked size.
const MAX_INDEX: u64 = 256 << 20;
/// How much an index may grow when it is unpacked. Real ones grow eightfold.
const MAX_RATIO: u64 = 100;
/// More than the decoder of `xz -9` needs.
const XZ_MEMORY: u64 = 128 << 20;

impl repository::Reader for Reader<'_> {
    type State = (Snapshot, Vec<Vec<u8>>);
    type Refusal = Refusal;

    fn name(&self) -> String {
        self.source.name()
    }

    fn context(&self) -> &Context<'_> {
        self.judge.context
    }

    /// A snapshot and its indexes as one mirror has them. A mirror in motion is asked twice.
    fn at_place(&self, mirror: &Url) -> Result<Self::State, Refusal> {
        let others = self.source.mirrors.iter().filter(|other| *other != mirror).cloned();
        let mirrors: Vec<Url> = std::iter::once(mirror.clone()).chain(others).collect();
        let snapshot = match self.snapshot(mirror, false) {
            Err(Refusal::Transport(error)) if error.is_absent() && self.may_lack_release() => {
                return self.bare(mirror);
            }
            other => other?,
        };
        match self.texts(&snapshot, &mirrors) {
            Err(Refusal::Object(failure)) if failure.is_out_of_step() => {
                let again = self.snapshot(mirror, true)?;
                let texts = self.texts(&again, &mirrors)?;
                Ok((again, texts))
            }
            texts => Ok((snapshot, texts?)),
        }
    }

    /// Complete: offline nothing is added to what the cache has.
    fn cached(&self) -> Result<Option<Believed<Self>>, Error> {
        let snapshot = Snapshot::cached(self.source, self.keyring, self.judge)?;
        let mirrors = if self.judge.context.offline { &[][..] } else { &self.source.mirrors };
        let complete = |snapshot: Snapshot| {
            let texts = self.texts(&snapshot, mirrors)?;
            Ok((snapshot, texts))
        };
        Ok(snapshot.map(|snapshot| snapshot.and_then(complete)))
    }

    fn remember(&self, (snapshot, _): &Self::State) -> Result<(), Error> {
        snapshot.remember(self.source, self.judge.context)
    }

    fn finished(&self, (snapshot, texts): Self::State) -> Repository {
        let locked = LockedRepository {
            url: self.source.root.to_string(),
            suite: self.source.suite(),
            components: self.source.components(),
            digest: snapshot.digest,
            date: snapshot.release.date,
            signed_by: snapshot.signed_by.iter().map(ToString::to_string).collect(),
        };
        Repository { locked, texts, pin: snapshot.release.pin, tag: None }
    }
}

impl Reader<'_> {
    fn snapshot(&self, mirror: &Url, fresh: bool) -> Result<Snapshot, Refusal> {
        let trusted = (self.keyring, self.judge);
        Snapshot::fetch(self.transport, (self.source, mirror), trusted, fresh)
    }

    fn texts(&self, snapshot: &Snapshot, mirrors: &[Url]) -> Result<Vec<Vec<u8>>, Refusal> {
        let paths = self.index_paths(snapshot);
        paths.iter().map(|path| self.text(snapshot, path, mirrors)).collect()
    }

    /// Paths of the wanted indexes below the suite, without a compression's suffix.
    fn index_paths(&self, snapshot: &Snapshot) -> Vec<String> {
        let Layout::Suite { components, .. } = &self.source.layout else {
            return vec!["Packages".to_owned()];
        };
        let mut paths = Vec::new();
        for component in components {
            paths.push(format!("{component}/binary-{}/Packages", self.judge.architecture));
            let apart = format!("{component}/binary-all/Packages");
            let listed = forms(&apart).any(|(path, _)| snapshot.release.files.contains_key(&path));
            if snapshot.release.all_is_apart && listed {
                paths.push(apart);
            }
        }
        paths
    }

    /// Brings one index, in the first of its listed forms that can be had.
    fn text(&self, snapshot: &Snapshot, path: &str, mirrors: &[Url]) -> Result<Vec<u8>, Refusal> {
        let files = &snapshot.release.files;
        let listed: Vec<(String, Form, Entry)> = forms(path)
            .filter_map(|(path, form)| files.get(&path).map(|entry| (path, form, *entry)))
            .collect();
        if listed.is_empty() {
            let weak = snapshot.release.weak_files.iter().any(|known| known.starts_with(path));
            let path = path.to_owned();
            return Err(if weak { Refusal::Weak(path) } else { Refusal::NoIndex(path) });
        }
        let plain = files.get(path).copied();
        let mut failure = None;
        for (path, form, entry) in listed {
            match self.object(snapshot, (&path, entry), mirrors) {
                Ok(digest) => return self.unpack((&path, form), digest, plain),
                Err(refusal) => {
                    let absent = matches!(&refusal, Refusal::Object(failure) if is_absent(failure));
                    // A form that is merely not there gives way to what another one says.
                    if failure.is_none() || !absent {
                        failure = Some(refusal);
                    }
                    if !absent {
                        break;
                    }
                }
            }
        }
        Err(failure.expect("at least one form was tried"))
    }

    fn object(
        &self,
        snapshot: &Snapshot,
        (path, entry): (&str, Entry),
        mirrors: &[Url],
    ) -> Result<Digest, Refusal> {
        let wanted = Wanted { size: entry.size, sha256: entry.sha256, sha512: entry.sha512 };
        let store = self.judge.context.store;
        if let Some(digest) = entry.sha256 {
            // Reading it here means that a damaged one is put aside and fetched again.
            if matches!(store.object(&digest), Ok(Some(_))) {
                if !object::agrees(store, &digest, wanted) {
                    return Err(Refusal::Index {
                        path: path.to_owned(),
                        reason: "its SHA-512 differs from the signed one".to_owned(),
                    });
                }
                return Ok(digest);
            }
        }
        let folder = self.source.folder();
        let mut names = vec![format!("{folder}{path}")];
        if let (true, Some(digest)) = (snapshot.release.by_hash, entry.sha256) {
            let parent =
                path.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
            names.insert(0, format!("{folder}{parent}by-hash/SHA256/{digest}"));
        }
        let mut worst = None;
        for mirror in mirrors {
            for name in &names {
                match object::bring((self.transport, store), &mirror.join(name), wanted) {
                    Ok(digest) => return Ok(digest),
                    Err(fatal @ object::Failure::Store { .. }) => return Err(fatal.into()),
                    // That a mirror has another file under this name says more than that it has
                    // none under the other.
                    Err(failure) => match &worst {
                        Some(known) if !is_absent(known) => {}
                        _ => worst = Some(failure),
                    },
                }
            }
        }
        Err(worst.map_or_else(|| Refusal::NoIndex(format!("{path} in the cache")), Refusal::Object))
    }

    fn unpack(
        &self,
        (path, form): (&str, Form),
        digest: Digest,
        plain: Option<Entry>,
    ) -> Result<Vec<u8>, Refusal> {
        let broken = |reason: String| Refusal::Index { path: path.to_owned(), reason };
        let store = self.judge.context.store;
        let object = store.open_object(&digest).map_err(|error| broken(error.to_string()))?;
        let by_ratio = object.size().saturating_mul(MAX_RATIO).min(MAX_INDEX);
        let cap = plain.map_or(by_ratio, |plain| plain.size);
        let text = decode(object, form, cap).map_err(&broken)?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        match plain {
            Some(plain) if length != plain.size => {
                Err(broken(format!("it unpacks to {length} bytes, and {} are signed", plain.size)))
            }
            Some(Entry { sha256: Some(expected), .. }) if Digest::of(&text) != expected => {
                Err(broken("what it unpacks to is not what is signed".to_owned()))
            }
            _ => Ok(text),
        }
    }

    /// Whether a repository without any release file is acceptable.
    fn may_lack_release(&self) -> bool {
        self.judge.insecure && matches!(self.source.layout, Layout::Flat { .. })
    }

    /// A folder with a `Packages` file and nothing else, when checks are switched off.
    fn bare(&self, mirror: &Url) -> Result<(Snapshot, Vec<Vec<u8>>), Refusal> {
        let mut refusal = None;
        for (path, form) in forms("Packages") {
            let url = mirror.join(&format!("{}{path}", self.source.folder()));
            match object::text(self.transport, (&url, false), MAX_INDEX) {
                Ok(bytes) => {
                    let text = decode(bytes.as_slice(), form, MAX_INDEX);
                    let text = text.map_err(|reason| Refusal::Index { path, reason })?;
                    let warning = format!("{} has no signature at all", self.source.name());
                    (self.judge.context.listener)(Event::warning(warning));
                    return Ok((Snapshot::without_release(&text), vec![text]));
                }
                Err(error) => refusal = Some(Refusal::Transport(error)),
            }
        }
        Err(refusal.expect("at least one form was tried"))
    }
}

/// Whether a mirror merely has no such file.
fn is_absent(failure: &object::Failure) -> bool {
    matches!(failure, object::Failure::Transport(error) if error.is_absent())
}

/// How an index is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Xz,
    Gzip,
    Plain,
}

/// The forms in which an index is looked for: the smallest first.
fn forms(path: &str) -> impl Iterator<Item = (String, Form)> {
    [(".xz", Form::Xz), (".gz", Form::Gzip), ("", Form::Plain)]
        .map(|(suffix, form)| (format!("{path}{suffix}"), form))
        .into_iter()
}

/// Unpacks at most `cap` bytes.
fn decode(packed: impl Read, form: Form, cap: u64) -> Result<Vec<u8>, String> {
    let packed = std::io::BufReader::new(packed);
    match form {
        Form::Plain => read_capped(packed, cap),
        Form::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(packed), cap),
        Form::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)
                .map_err(|error| error.to_string())?;
            read_capped(liblzma::bufread::XzDecoder::new_stream(packed, stream), cap)
        }
    }
}

fn read_capped(reader: impl Read, cap: u64) -> Result<Vec<u8>, String> {
    // A signed size may be a lie of a stolen key: memory is taken as bytes really come.
    let expected = usize::try_from(cap.min(64 << 20)).unwrap_or(0);
    let mut text = Vec::with_capacity(expected);
    let count = reader.take(cap.saturating_add(1)).read_to_end(&mut text);
    match count {
        Err(error) => Err(error.to_string()),
        Ok(_) if u64::try_from(text.len()).is_ok_and(|length| length > cap) => {
            Err(format!("it unpacks to more than {cap} bytes"))
        }
        Ok(_) => {
            text.shrink_to_fit();
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn r4_an_index_that_unpacks_beyond_its_cap_is_cut() {
        let zeros = vec![0; 1 << 20];
        for (packed, form) in [(gzip(&zeros), Form::Gzip), (xz(&zeros), Form::Xz)] {
            assert_eq!(decode(packed.as_slice(), form, 1 << 20).unwrap(), zeros);
            let refused = decode(packed.as_slice(), form, (1 << 20) - 1).unwrap_err();
            assert_eq!(refused, "it unpacks to more than 1048575 bytes");
            assert!(decode(&packed[..packed.len() / 2], form, 1 << 20).is_err());
        }
        assert_eq!(decode(&b"abc"[..], Form::Plain, 3).unwrap(), b"abc");
        assert!(decode(&b"abcd"[..], Form::Plain, 3).is_err());
    }
}
