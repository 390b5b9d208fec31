//! From packages that an index names to packages whose every byte a lock names.
//!
//! In: a choice; out: the lock. Each package is brought, if the cache does not have it, and on its way
//! into the cache its control part must be the one that the index names, be signed by a key that may
//! vouch for the repository, and name the digest of all bytes behind it, which are then compared. What
//! comes from the cache is checked in the same way. Only then its digest gets into the lock.

use std::io::{self, BufReader, Read};

use super::index::Refusal;
use super::keys::{Keyring, Shelf};
use super::through::Through;
use super::{places, source_of, sources};
use crate::crew;
use crate::digest::{Digest, Hasher};
use crate::event::Event;
use crate::fetch::object::{self, Check, Failure};
use crate::fetch::packages::{AT_ONCE, Progress};
use crate::fetch::transport::Transport;
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, PackageAttempts, Today};
use crate::lock::{Choice, ChosenPackage, Identity, Lock};
use crate::package::apk::archive::{self, Format, Head};
use crate::recipe::Recipe;

/// The kind of the store's records of which bytes a package has.
const RECORD: &str = "apk-file";

/// Completes a choice by the digest of each package.
pub(in crate::fetch) fn pin(
    choice: Choice,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Lock, Error> {
    let transport = Transport::new(context.network);
    let shelf = Shelf::collect(recipe, context)?;
    let sources = sources(recipe, context)?;
    let keyring = |known| match source_of(&sources, known) {
        Some(source) => shelf.for_trust(&source.trust, (&transport, context)),
        None => Ok(Keyring::default()),
    };
    let repositories = &choice.head.repositories;
    let keyrings = repositories.iter().map(keyring).collect::<Result<Vec<_>, _>>()?;
    let places = places(repositories, recipe, context)?;
    let pinner =
        Pinner { transport: &transport, context, recipe, choice: &choice, keyrings, places };
    let progress = Progress::new(choice.packages.iter().map(|package| package.size));
    let digests = crew::try_map(AT_ONCE, &choice.packages, |package| {
        let digest = pinner.digest(package)?;
        progress.add(package.size, context);
        Ok(digest)
    })?;
    let mut digests = digests.into_iter();
    choice.complete(|_| Ok(digests.next().expect("there is a digest for each package")))
}

struct Pinner<'a> {
    transport: &'a Transport,
    context: &'a Context<'a>,
    recipe: &'a Recipe,
    choice: &'a Choice,
    keyrings: Vec<Keyring>,
    places: Vec<Vec<Url>>,
}

impl Pinner<'_> {
    /// The digest of a package, which is then in the cache.
    fn digest(&self, package: &ChosenPackage) -> Result<Digest, Error> {
        let key = Digest::of(format!("{:?} {}", package.identity, package.path).as_bytes());
        if let Some(digest) = self.cached(package, &key)? {
            return Ok(digest);
        }
        if self.context.offline {
            let what = format!("the package {} {}", package.name, package.version);
            return Err(Error::NotCached { what });
        }
        let digest = self.bring(package)?;
        let record = digest.to_string();
        self.context.store.put_record(RECORD, &key, record.as_bytes()).map_err(Error::Store)?;
        Ok(digest)
    }

    /// What an earlier build brought, if it is what is wanted now.
    fn cached(&self, package: &ChosenPackage, key: &Digest) -> Result<Option<Digest>, Error> {
        let store = self.context.store;
        let record = store.record(RECORD, key).map_err(Error::Store)?;
        let text = record.and_then(|record| String::from_utf8(record).ok());
        let Some(digest) = text.and_then(|text| text.parse::<Digest>().ok()) else {
            return Ok(None);
        };
        if !store.contains(&digest).map_err(Error::Store)? {
            return Ok(None);
        }
        let checked = store.open_object(&digest).and_then(|object| {
            let size = object.size();
            let mut reader = self.checked(package, Box::new(object))?;
            io::copy(&mut reader, &mut io::sink())?;
            Ok(size == package.size)
        });
        Ok(checked.unwrap_or(false).then_some(digest))
    }

    fn bring(&self, package: &ChosenPackage) -> Result<Digest, Error> {
        let places = self.places.get(package.repository).map_or(&[][..], Vec::as_slice);
        let store = self.context.store;
        let mut attempts = Vec::new();
        for place in places {
            let url = place.join(&package.path);
            let wanted = Wanted { pinner: self, package };
            match object::bring_checked((self.transport, store), &url, package.size, &wanted) {
                Ok(digest) => return Ok(digest),
                Err(Failure::Store { source, .. }) => {
                    let what = format!("{} {}", package.name, package.version);
                    return Err(Error::Keep { what, source });
                }
                Err(failure) => attempts.push((url, failure)),
            }
        }
        let locked = self.choice.head.repositories.get(package.repository);
        Err(Error::Package {
            name: package.name.clone(),
            version: package.version.clone(),
            locked: locked.map(|repository| repository.date).unwrap_or_default(),
            today: Today(super::date_today(self.transport, self.recipe, places)),
            attempts: PackageAttempts(attempts),
        })
    }

    /// A reader of the same bytes that fails unless they are the package's.
    fn checked<'r>(
        &self,
        package: &ChosenPackage,
        reader: Box<dyn Read + 'r>,
    ) -> io::Result<Box<dyn Read + 'r>> {
        let (format, mut rest) =
            archive::look(BufReader::with_capacity(1 << 16, reader)).map_err(io::Error::other)?;
        if format == Format::Third {
            return Ok(Box::new(Through::begin(rest, package.size, |head| {
                check_identity(package, |identity| head.is(identity))?;
                self.check_signers(package, |keyring, _| keyring.verify_values(&head.signed))
            })?));
        }
        let head = Head::read(&mut rest, package.size).map_err(io::Error::other)?;
        check_identity(package, |identity| head.is(identity))?;
        self.check_signers(package, |keyring, weak| {
            keyring.verify(&head.signatures, &head.signed, weak)
        })?;
        let rest =
            Rest { inner: rest, hasher: Some(Hasher::default()), expected: head.data_digest };
        Ok(Box::new(io::Cursor::new(head.raw()).chain(rest)))
    }

    fn check_signers(
        &self,
        package: &ChosenPackage,
        verify: impl FnOnce(&Keyring, bool) -> Result<Vec<String>, Refusal>,
    ) -> io::Result<()> {
        let weak = self.recipe.distro.sha1_signatures;
        let signers = match self.keyrings.get(package.repository) {
            Some(keyring) if !keyring.is_empty() => verify(keyring, weak),
            _ => Err(Refusal::NoKeys),
        };
        match signers {
            Ok(_) => Ok(()),
            Err(refusal) if self.recipe.sources.insecure => {
                let text = format!("{}: {refusal}; checks are switched off", package.name);
                (self.context.listener)(Event::warning(text));
                Ok(())
            }
            Err(refusal) => Err(io::Error::other(refusal)),
        }
    }
}

fn check_identity(package: &ChosenPackage, is: impl FnOnce(&str) -> bool) -> io::Result<()> {
    match &package.identity {
        Identity::Part(identity) if is(identity) => Ok(()),
        _ => Err(io::Error::other(OtherPackage)),
    }
}

/// A package that is to be brought.
struct Wanted<'a> {
    pinner: &'a Pinner<'a>,
    package: &'a ChosenPackage,
}

impl Check for Wanted<'_> {
    fn check<'r>(&self, reader: Box<dyn Read + 'r>) -> io::Result<Box<dyn Read + 'r>> {
        self.pinner.checked(self.package, reader)
    }
}

/// The bytes behind the control part, which fail at their end if they are others than it names.
struct Rest<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        if let Some(hasher) = self.hasher.as_mut().filter(|_| count > 0) {
            hasher.update(output.get(..count).unwrap_or_default());
        } else if !output.is_empty() {
            let found = self.hasher.take().map(Hasher::finish);
            if let Some(found) = found.filter(|found| *found != self.expected) {
                let expected = self.expected;
                return Err(io::Error::other(archive::Error::OtherData { expected, found }));
            }
        }
        Ok(count)
    }
}

/// A package is another one than the index names.
#[derive(Debug, thiserror::Error)]
#[error("it is another package than the index names")]
struct OtherPackage;
