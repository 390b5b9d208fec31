//! Lays packages out: archives in, one tree with the package manager's database out.
//!
//! What comes out is what `dpkg --unpack` of all packages leaves in an empty root, in memory.
//! No script has run. Running them is `configure`'s work.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::package::PackageName;
use crate::package::deb::scripts::{Conffile, ScriptKind, Triggers};
use crate::package::deb::stanza::Stanza;
use crate::tree::{Tree, TreePath};

/// All packages laid out over each other, none configured.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Every file, and `/var/lib/dpkg` with each package in the state `install ok unpacked`.
    /// Configuration files already have their final names.
    pub tree: Tree,
    /// The packages, sorted by name and architecture.
    pub packages: Vec<Package>,
}

/// What configuring a package takes.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its version, in dpkg's notation.
    pub version: String,
    /// Its architecture: `amd64`, `all`.
    pub architecture: String,
    /// How the database names it: `bash`, or `libc6:amd64` for `Multi-Arch: same`. Also the base
    /// of its files in `/var/lib/dpkg/info`, and the value of `DPKG_MAINTSCRIPT_PACKAGE` without
    /// the architecture.
    pub database_name: String,
    /// Every field of its control file: `Depends`, `Pre-Depends`, `Essential` …
    pub control: Stanza,
    /// Its scripts as they are in the package.
    pub scripts: BTreeMap<ScriptKind, Arc<[u8]>>,
    /// Its configuration files.
    pub conffiles: Vec<Conffile>,
    /// What it is interested in and what it activates.
    pub triggers: Triggers,
    /// What its `.list` holds, in the archive's order: which file triggers it activates.
    pub paths: Vec<TreePath>,
}

impl Package {
    /// Whether the distribution calls it essential.
    pub fn is_essential(&self) -> bool {
        self.control.is_yes("Essential")
    }
}
