//! The packages' own signatures: each must be signed by a key that may vouch for its repository.
//!
//! In: a lock, whose packages are in the cache; out: nothing, or which package nobody vouches for. Its
//! bytes are those of the lock already, and the lock's are those of a signed index; this says in
//! addition that who built the package vouches for its header, and so for its payload. Signatures count
//! as everywhere: SHA-256 or better, keys of today's strength.

use std::collections::BTreeSet;
use std::io::BufReader;

use super::index::Refusal;
use super::{source, source_of};
use crate::crew;
use crate::epoch::Epoch;
use crate::event::Event;
use crate::fetch::keys::Shelf;
use crate::fetch::openpgp::{self, Fingerprint, Framing, Keyring, Signers};
use crate::fetch::transport::Transport;
use crate::fetch::{Context, Error};
use crate::lock::{Lock, LockedPackage};
use crate::package::rpm::archive::Head;
use crate::recipe::Recipe;

/// Checks all packages of a lock.
pub(in crate::fetch) fn check_signatures(
    lock: &Lock,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<(), Error> {
    let transport = Transport::new(context.network);
    let shelf = Shelf::collect(recipe, context)?;
    let sources = source::sources(recipe)?;
    let keyring = |known| match source_of(&sources, known) {
        Some(source) => shelf.for_trust(&source.trust, (&transport, context)).map(Keyring::by_pin),
        None => Ok(Keyring::default()),
    };
    let keyrings = lock.repositories.iter().map(keyring).collect::<Result<Vec<_>, _>>()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let check = |package: &LockedPackage| {
        let keyring = keyrings.get(package.repository);
        match check_one(package, keyring, context) {
            Ok(weakly) => Ok(weakly),
            Err(refusal) if recipe.sources.insecure => {
                let text = format!("{}: {refusal}; checks are switched off", package.name);
                (context.listener)(Event::warning(text));
                Ok(Vec::new())
            }
            Err(source) => {
                let (name, version) = (package.name.clone(), package.version.clone());
                Err(Error::PackageSignature { name, version, source: source.into() })
            }
        }
    };
    let weakly: BTreeSet<_> =
        crew::try_map(threads, &lock.packages, check)?.into_iter().flatten().collect();
    for key in weakly {
        let text = format!(
            "the key {key}, which signed packages, vouches for itself with SHA-1, which is weak; it counts \
             because it is pinned"
        );
        (context.listener)(Event::warning(text));
    }
    Ok(())
}

/// Who vouches for a package, of those that vouch for themselves with SHA-1.
fn check_one(
    package: &LockedPackage,
    keyring: Option<&Keyring>,
    context: &Context<'_>,
) -> Result<Vec<Fingerprint>, Refusal> {
    let object = context.store.open_object(&package.digest).map_err(Refusal::Read)?;
    let head = Head::read(&mut BufReader::new(object)).map_err(Refusal::Package)?;
    Ok(signers(&head, keyring.unwrap_or(&Keyring::default()), context.now)?.weakly)
}

/// Who vouches for a package's header. A signature that cannot be read, of a kind that is not known yet,
/// is as good as none; the others count.
pub(super) fn signers(head: &Head, keyring: &Keyring, now: Epoch) -> Result<Signers, Refusal> {
    let packets = head.signatures().map_err(Refusal::Package)?;
    if packets.is_empty() {
        return Err(Refusal::Unsigned);
    }
    if keyring.is_empty() {
        return Err(Refusal::NoKey);
    }
    let read = packets.iter().map(|packet| openpgp::read_signatures(packet));
    let (read, unreadable): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    let signatures: Vec<_> = read.into_iter().flatten().flatten().collect();
    match unreadable.into_iter().find_map(Result::err) {
        Some(error) if signatures.is_empty() => return Err(error.into()),
        _ => {}
    }
    let trusted = (keyring, now);
    Ok(openpgp::verify(head.header.as_bytes(), &signatures, Framing::Detached, trusted)?)
}
