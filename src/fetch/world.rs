//! What the tests of this room share: a recipe for a tiny distribution, a store, a clock.

use std::sync::Mutex;
use std::time::Duration;

use osbuilder_testkit::key::Key;
use osbuilder_testkit::repository::{Package, Repository};

use super::{Context, Error, Indexes, Network, Packages, Patience};
use crate::digest::Digest;
use crate::distro::{Architecture, Mirror, Suite};
use crate::epoch::Epoch;
use crate::event::Event;
use crate::lock::{Lock, LockedPackage};
use crate::recipe::{self, Options, Recipe, Request, Surroundings};
use crate::store::Store;

/// The tests' moment: 2023-11-14.
pub(super) const NOW: u32 = 1_700_000_000;
pub(super) const DAY: u32 = 86_400;

/// A machine with an empty cache that trusts one key for its distribution.
pub(super) struct World {
    folder: tempfile::TempDir,
    pub store: Store,
    pub recipe: Recipe,
    pub now: u32,
    pub network: Network,
    pub max_age: Option<Duration>,
    pub lock: Option<Lock>,
    pub offline: bool,
    pub warnings: Mutex<Vec<String>>,
    /// Packages that were fetched.
    pub arrived: Mutex<Vec<String>>,
}

impl World {
    /// The distribution `key` signs, at the given mirrors.
    pub(super) fn new(key: &Key, mirrors: &[&str]) -> Self {
        let place = "usr/share/keyrings/test.gpg";
        Self::with(recipe(key, mirrors), (place, &key.certificate()))
    }

    /// A recipe's distribution, whose key the host has in a file.
    pub(super) fn with(recipe: Recipe, (place, key): (&str, &[u8])) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host").join(place);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, key).unwrap();
        let patience = Patience {
            connect: Duration::from_secs(2),
            idle: Duration::from_millis(400),
            window: Duration::from_millis(300),
            minimum_rate: 1_000,
            attempts: 2,
            pause: Duration::from_millis(1),
        };
        Self {
            store: Store::open(&folder.path().join("store")).unwrap(),
            recipe,
            now: NOW,
            network: Network { patience, ..Network::default() },
            max_age: None,
            lock: None,
            offline: false,
            warnings: Mutex::default(),
            arrived: Mutex::default(),
            folder,
        }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn indexes(&self) -> Result<Indexes, Error> {
        self.with_context(|context| super::indexes(&self.recipe, context))
    }

    pub(super) fn packages(&self, lock: &Lock) -> Result<Packages, Error> {
        let arrived: super::Arrived<'_> = &|package, archive| {
            assert!(archive.open().is_ok());
            self.arrived.lock().unwrap().push(package.name.to_string());
        };
        self.with_context(|context| super::packages(lock, &self.recipe, context, arrived))
    }

    pub(super) fn with_context<T>(&self, run: impl FnOnce(&Context<'_>) -> T) -> T {
        let listener = |event: Event| {
            if let Event::Warning { text } = event {
                self.warnings.lock().unwrap().push(text);
            }
        };
        let host = self.path("host");
        run(&Context {
            store: &self.store,
            listener: &listener,
            now: Epoch::new(u64::from(self.now)).unwrap(),
            offline: self.offline,
            network: &self.network,
            host: Some(&host),
            max_age: self.max_age,
            lock: self.lock.as_ref(),
        })
    }

    /// The text of the only index.
    #[track_caller]
    pub(super) fn index_text(&self) -> String {
        let indexes = self.indexes().unwrap();
        String::from_utf8(indexes.repositories()[0].texts()[0].clone()).unwrap()
    }

    /// The index is refused, and the message says why.
    #[track_caller]
    pub(super) fn refused(&self, reason: &str) -> String {
        let message = message(&self.indexes().unwrap_err());
        assert!(message.contains(reason), "{message}");
        message
    }
}

/// An error with its causes.
pub(super) fn message(error: &Error) -> String {
    super::chain(error)
}

/// A distribution's usual recipe.
pub(super) fn usual(distro: &str) -> Recipe {
    let options = Options { distro: Some(distro.into()), ..Options::default() };
    let host = Some(Architecture::X86_64);
    let surroundings = Surroundings { host, without_agent: true, ..Surroundings::default() };
    let environment = std::collections::BTreeMap::new();
    let request = Request {
        file: None,
        environment: &environment,
        options: &options,
        surroundings: &surroundings,
    };
    recipe::read(request).unwrap().recipe
}

/// An address that serves all architectures.
pub(super) fn mirror(url: &str) -> Mirror {
    Mirror { url: url.into(), security: None, architectures: vec![] }
}

fn recipe(key: &Key, mirrors: &[&str]) -> Recipe {
    let mut recipe = usual("debian");
    recipe.distro.key_addresses.clear();
    recipe.distro.mirrors = mirrors.iter().map(|url| mirror(url)).collect();
    recipe.release.keys = vec![key.fingerprint()];
    recipe.release.suites = vec![Suite { name: "test".into(), ..Suite::default() }];
    recipe
}

/// A suite with the package `a` in the given version.
pub(super) fn suite(version: &str, date: u32) -> Repository {
    Repository::new("test", date).with(Package::new("a", version))
}

/// A lock that names the package `a` of `repository`, seen through `indexes`.
pub(super) fn lock(indexes: &Indexes, repository: &Repository) -> Lock {
    let package = &repository.packages[0];
    let archive = package.archive("amd64");
    let locked = LockedPackage {
        name: package.name.parse().unwrap(),
        version: package.version.clone(),
        architecture: "amd64".into(),
        repository: 0,
        path: format!("pool/{}_{}_amd64.deb", package.name, package.version),
        size: u64::try_from(archive.len()).unwrap(),
        digest: Digest::of(&archive),
    };
    Lock {
        format: 1,
        distribution: "debian".into(),
        release: "test".into(),
        architecture: "x86_64".into(),
        request: Digest::of(b""),
        plain_chroot: false,
        scripts: crate::lock::Runner::Either,
        epoch: Epoch::default(),
        repositories: indexes.repositories().iter().map(|r| r.locked().clone()).collect(),
        packages: vec![locked],
    }
}
