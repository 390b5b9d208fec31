//! The matrix of what can be built: distribution, architecture, first process, and how far each was tried.
//!
//! In: the catalogue, and `verified.toml`, which names for each cell the check that showed it. A cell
//! that nobody tried is data only: the file says where packages are, and nothing was built from it.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{Architecture, Distro, Family};

/// What starts first in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd.
    Systemd,
    /// `OpenRC`.
    Openrc,
    /// The agent.
    Agent,
}

impl Init {
    /// Its name: `systemd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Openrc => "openrc",
            Self::Agent => "agent",
        }
    }
}

/// How far a kind of guest was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Built from the distribution's own packages, started, and the agent answered.
    Booted,
    /// Built from the distribution's own packages.
    Real,
    /// Built from packages that a test made.
    Made,
    /// Its packages were chosen from its own metadata, and not built.
    Chosen,
    /// Not built.
    Data,
}

impl How {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Booted => "built and booted",
            Self::Real => "built from real packages",
            Self::Made => "built from test-made packages",
            Self::Chosen => "chosen from real metadata",
            Self::Data => "data only",
        }
    }
}

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The guest's processor, by the kernel's name.
    pub architecture: &'static str,
    /// What starts first.
    pub init: Init,
    /// How far it was tried.
    pub how: How,
    /// With which release, if it was.
    pub release: Option<String>,
    /// The file of this project with the check that showed it.
    pub by: Option<String>,
}

/// What `verified.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    cells: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    distro: String,
    release: String,
    architectures: Vec<Architecture>,
    inits: Vec<Init>,
    how: How,
    /// A file of this project and a text in it.
    by: [String; 2],
}

fn record() -> &'static [Entry] {
    static RECORD: OnceLock<Record> = OnceLock::new();
    let text = include_str!("verified.toml");
    &RECORD.get_or_init(|| toml::from_str(text).expect("a test reads it")).cells
}

/// The cells of a distribution: all architectures that one of its releases has, with each program that
/// can be a guest's first there.
pub fn cells(distro: &Distro) -> Vec<Cell> {
    let inits = match distro.family {
        Family::Apk => [Init::Openrc, Init::Agent],
        Family::Deb | Family::Rpm => [Init::Systemd, Init::Agent],
    };
    let has = |architecture: &Architecture| {
        distro.releases.iter().any(|release| release.architectures.contains(architecture))
    };
    let there = Architecture::ALL.into_iter().filter(has);
    let cell = |architecture: Architecture, init| {
        let tried = record().iter().find(|entry| {
            entry.distro == distro.name
                && entry.architectures.contains(&architecture)
                && entry.inits.contains(&init)
        });
        Cell {
            architecture: architecture.kernel_name(),
            init,
            how: tried.map_or(How::Data, |entry| entry.how),
            release: tried.map(|entry| entry.release.clone()),
            by: tried.map(|entry| entry.by[0].clone()),
        }
    };
    there.flat_map(|architecture| inits.map(|init| cell(architecture, init))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    #[test]
    fn each_cell_exists_and_the_check_that_showed_it_too() {
        let catalogue = Catalogue::default();
        for entry in record() {
            let distro = catalogue.find(&entry.distro).unwrap();
            let release = distro.release(&entry.release).unwrap();
            let cells = cells(distro);
            for architecture in &entry.architectures {
                assert!(release.architectures.contains(architecture), "{entry:?}");
                for init in &entry.inits {
                    let name = architecture.kernel_name();
                    let cell = cells.iter().find(|c| c.architecture == name && c.init == *init);
                    assert_eq!(cell.unwrap().how, entry.how, "{entry:?}");
                }
            }
            let [file, text] = &entry.by;
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            assert!(fs_err::read_to_string(file).unwrap().contains(text), "{entry:?}");
        }
    }

    #[test]
    fn what_nobody_tried_is_data_only() {
        let catalogue = Catalogue::default();
        let cells = cells(catalogue.find("clearlinux").unwrap());
        assert_eq!(cells.len(), 2);
        assert!(cells.iter().all(|cell| cell.how == How::Data && cell.release.is_none()));
    }
}
