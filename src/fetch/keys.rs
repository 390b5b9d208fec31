//! Where key material comes from, in this order: files the user names, the host's keyring folders,
//! what is compiled in, the distribution's published addresses over https.
//!
//! Out: a keyring that holds just the certificates that may vouch for one source. Material counts
//! only by its pinned fingerprint, or because the user named the file; its origin proves nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::openpgp::{Fingerprint, Keyring};
use super::transport::{Request, Transport};
use super::url::{Scheme, Url};
use super::{Context, Error};
use crate::recipe::Recipe;
use crate::store;

/// Debian's keys, exported (minimal) from its package debian-archive-keyring 2023.3+deb12u2, and
/// Ubuntu's, from Debian's package ubuntu-keyring 2023.11.28.1-0.2.
const COMPILED_IN: [&[u8]; 10] = [
    include_bytes!("../distro/keys/debian/bullseye-archive.asc"),
    include_bytes!("../distro/keys/debian/bullseye-security.asc"),
    include_bytes!("../distro/keys/debian/bullseye-stable.asc"),
    include_bytes!("../distro/keys/debian/bookworm-archive.asc"),
    include_bytes!("../distro/keys/debian/bookworm-security.asc"),
    include_bytes!("../distro/keys/debian/bookworm-stable.asc"),
    include_bytes!("../distro/keys/debian/trixie-archive.asc"),
    include_bytes!("../distro/keys/debian/trixie-security.asc"),
    include_bytes!("../distro/keys/debian/trixie-stable.asc"),
    include_bytes!("../distro/keys/ubuntu/archive-2018.asc"),
];

/// Where apt and Debian keep keys, below the host's root.
const HOST_FOLDERS: [&str; 3] = ["usr/share/keyrings", "etc/apt/trusted.gpg.d", "etc/apt/keyrings"];
/// Where rpm and its distributions do; there the names of key files end as they like.
const RPM_FOLDERS: [&str; 9] = [
    "etc/pki/rpm-gpg",
    "usr/share/distribution-gpg-keys/alma",
    "usr/share/distribution-gpg-keys/azure-linux",
    "usr/share/distribution-gpg-keys/centos",
    "usr/share/distribution-gpg-keys/fedora",
    "usr/share/distribution-gpg-keys/openeuler",
    "usr/share/distribution-gpg-keys/opensuse",
    "usr/share/distribution-gpg-keys/rocky",
    "usr/share/distribution-gpg-keys/suse",
];

/// A key file is a few kilobytes; a whole distribution's keyring stays below one megabyte.
const MAX_KEY_FILE: u64 = 4 << 20;

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// The keys pinned in the distribution's data file, and the user's if the user also chose the
    /// mirrors.
    Distribution { pins: BTreeSet<Fingerprint>, and_the_users: bool },
    /// Any key in the user's files.
    Users,
    /// The keys in this file alone.
    File(PathBuf),
}

/// All key material at hand, before anybody is trusted.
pub(super) struct Shelf<'a> {
    all: Keyring,
    users: BTreeSet<Fingerprint>,
    addresses: &'a [String],
}

impl<'a> Shelf<'a> {
    /// Collects what needs no network.
    pub(super) fn collect(recipe: &'a Recipe, context: &Context<'_>) -> Result<Self, Error> {
        let mut shelf = Self {
            all: Keyring::default(),
            users: BTreeSet::new(),
            addresses: &recipe.distro.key_addresses,
        };
        for path in &recipe.sources.keys {
            let fingerprints = add_file(&mut shelf.all, path)?;
            shelf.users.extend(fingerprints);
        }
        for file in host_files(context.host) {
            if let Ok(bytes) = fs_err::read(&file) {
                // Whatever else lies in those folders is the host's business.
                drop(shelf.all.add(&bytes));
            }
        }
        for bytes in COMPILED_IN {
            shelf.all.add(bytes).map_err(Error::CompiledInKeys)?;
        }
        Ok(shelf)
    }

    /// The certificates that may vouch for a source with this trust.
    pub(super) fn for_trust(
        &self,
        trust: &Trust,
        (transport, context): (&Transport, &Context<'_>),
    ) -> Result<Keyring, Error> {
        let pins = match trust {
            Trust::Users => self.users.clone(),
            Trust::File(path) => {
                let mut keyring = Keyring::default();
                add_file(&mut keyring, path)?;
                return Ok(keyring);
            }
            Trust::Distribution { pins, and_the_users: false } => pins.clone(),
            Trust::Distribution { pins, and_the_users: true } => &self.users | pins,
        };
        let mut keyring = self.all.pinned(&pins);
        let published = matches!(trust, Trust::Distribution { .. });
        if keyring.is_empty() && published && !context.offline {
            keyring = self.download(transport)?.pinned(&pins);
        }
        Ok(keyring)
    }

    /// Asks the published addresses. A key that cannot be had there is simply missing later.
    fn download(&self, transport: &Transport) -> Result<Keyring, Error> {
        let mut keyring = Keyring::default();
        for address in self.addresses {
            let url: Url = address.parse().map_err(Error::Url)?;
            if url.scheme() == Scheme::Http {
                continue;
            }
            let request = Request { url, size: None, cap: MAX_KEY_FILE, fresh: false };
            if let Ok(bytes) = transport.open(request).and_then(|download| download.into_bytes()) {
                drop(keyring.add(&bytes));
            }
        }
        Ok(keyring)
    }
}

fn add_file(keyring: &mut Keyring, path: &Path) -> Result<Vec<Fingerprint>, Error> {
    let bytes = fs_err::read(path).map_err(Error::KeyFile)?;
    let broken = |source| Error::KeyFileContent { path: path.to_owned(), source };
    keyring.add(&bytes).map_err(broken)
}

fn host_files(root: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in HOST_FOLDERS.into_iter().chain(RPM_FOLDERS) {
        let paths = root.and_then(|root| store::paths_in(&root.join(folder)).ok());
        files.extend(paths.into_iter().flatten().filter(|path| {
            let small =
                || fs_err::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_KEY_FILE);
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_key = matches!(extension, Some("gpg" | "asc")) || RPM_FOLDERS.contains(&folder);
            is_key && small()
        }));
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::{Catalogue, Family};

    #[test]
    fn every_pinned_key_comes_with_the_program_and_nothing_else_does() {
        let mut all = Keyring::default();
        let brought: BTreeSet<Fingerprint> =
            COMPILED_IN.into_iter().flat_map(|bytes| all.add(bytes).unwrap()).collect();
        let catalogue = Catalogue::default();
        let debs = catalogue.all().iter().filter(|distro| distro.family == Family::Deb);
        let releases = debs.flat_map(|distro| &distro.releases);
        let pinned: BTreeSet<Fingerprint> =
            releases.flat_map(|release| &release.keys).map(|key| key.parse().unwrap()).collect();
        assert_eq!(brought, pinned);
    }
}
