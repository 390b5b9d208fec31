//! All distributions that there are: those that are compiled in, and those of the user's data files.

use std::sync::OnceLock;

use super::file::{self, DataFile, Flaws};
use super::{Distro, did_you_mean, nearest};

/// The data files that are compiled in. Adding a distribution is adding a file and its name here; or,
/// without compiling, putting the file into a folder that the program is told of.
const FILES: [(&str, &str); 12] = [
    ("alma.toml", include_str!("alma.toml")),
    ("alpine.toml", include_str!("alpine.toml")),
    ("azurelinux.toml", include_str!("azurelinux.toml")),
    ("centos.toml", include_str!("centos.toml")),
    ("clearlinux.toml", include_str!("clearlinux.toml")),
    ("debian.toml", include_str!("debian.toml")),
    ("euleros.toml", include_str!("euleros.toml")),
    ("fedora.toml", include_str!("fedora.toml")),
    ("openeuler.toml", include_str!("openeuler.toml")),
    ("opensuse.toml", include_str!("opensuse.toml")),
    ("rocky.toml", include_str!("rocky.toml")),
    ("ubuntu.toml", include_str!("ubuntu.toml")),
];

/// The distributions that a recipe can name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    distros: Vec<Distro>,
}

impl Default for Catalogue {
    /// Those that are compiled in.
    fn default() -> Self {
        static BUILT_IN: OnceLock<Vec<Distro>> = OnceLock::new();
        let distros = BUILT_IN.get_or_init(|| {
            let parse = |(_, text)| toml::from_str(text).expect("a test reads every data file");
            FILES.into_iter().map(parse).collect()
        });
        Self { distros: distros.clone() }
    }
}

impl Catalogue {
    /// The data files that are compiled in, as they are written.
    pub fn files() -> impl Iterator<Item = DataFile<'static>> {
        FILES.into_iter().map(|(name, text)| DataFile { path: name.as_ref(), text })
    }

    /// Adds the distributions of data files. One that has the name of another takes its place.
    ///
    /// # Errors
    /// Everything that is wrong with the files, and names that two distributions have.
    pub fn with(mut self, files: &[DataFile<'_>]) -> Result<Self, Flaws> {
        let mut flaws = Flaws::default();
        for file in files {
            match file::read(*file) {
                Ok(distro) => self.add(distro, *file, &mut flaws),
                Err(more) => flaws.extend(more),
            }
        }
        if flaws.is_empty() { Ok(self) } else { Err(flaws) }
    }

    fn add(&mut self, distro: Distro, file: DataFile<'_>, flaws: &mut Flaws) {
        self.distros.retain(|known| known.name != distro.name);
        for known in &self.distros {
            if let Some(name) = known.names().find(|name| distro.names().any(|own| own == *name)) {
                let message = format!("{name:?} is a name of {}, too", known.title);
                flaws.add(file, 0, message);
                return;
            }
        }
        let place = self.distros.partition_point(|known| known.name < distro.name);
        self.distros.insert(place, distro);
    }

    /// Every distribution, sorted by name.
    pub fn all(&self) -> &[Distro] {
        &self.distros
    }

    /// Returns the distribution with this name or alias.
    ///
    /// # Errors
    /// [`Error::UnknownDistribution`], with the nearest name and the list of all.
    pub fn find(&self, name: &str) -> Result<&Distro, Error> {
        let named = self.distros.iter().find(|distro| distro.names().any(|own| own == name));
        named.ok_or_else(|| {
            let names = || self.distros.iter().map(|distro| distro.name.as_str());
            Error::UnknownDistribution {
                name: name.to_owned(),
                meant: nearest(name, names()).map(ToOwned::to_owned),
                known: names().collect::<Vec<_>>().join(", "),
            }
        })
    }
}

impl Distro {
    /// Its name and its aliases.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// Why there is no such distribution or release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No distribution has this name.
    #[error("the distribution {name:?} is unknown{}; known are {known}", did_you_mean(meant.as_deref()))]
    UnknownDistribution {
        /// The name that was asked for.
        name: String,
        /// The most similar known name, if one is near.
        meant: Option<String>,
        /// All names, separated by commas.
        known: String,
    },
    /// The distribution has no release of this name or number.
    #[error(
        "{distro} has no release {release:?}{}; known are {known}; `osbuilder distros --show` begins a \
         data file that adds one",
        did_you_mean(meant.as_deref())
    )]
    UnknownRelease {
        /// The distribution's name for people.
        distro: String,
        /// The release that was asked for.
        release: String,
        /// The most similar known name, if one is near.
        meant: Option<String>,
        /// All releases, separated by commas.
        known: String,
    },
}
