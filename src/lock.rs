//! The answer of the solver on disk: `osbuilder.lock`.
//!
//! Goals: complete (exact version, place, size and digest of every package), readable, stable in
//! order so that diffs are small, the same value gives the same bytes, checkable against a recipe
//! without network or solving.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::package::PackageName;

/// A resolved recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this format: 1.
    pub format: u32,
    /// The distribution's name.
    pub distribution: String,
    /// The release's code name or number.
    pub release: String,
    /// The kernel's name of the architecture.
    pub architecture: String,
    /// Digest of all that the solver was asked: another recipe is not this lock's.
    pub request: Digest,
    /// The newest date signed by a repository: the build's epoch unless the recipe gives one.
    pub epoch: Epoch,
    /// The snapshot of each repository, in the order of priority.
    #[serde(rename = "repository")]
    pub repositories: Vec<LockedRepository>,
    /// The packages, sorted by name and architecture.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// One repository at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// Its root, without the mirror's choice: the distribution's own address or the user's.
    pub url: String,
    /// Suite or path of the index below the root.
    pub suite: String,
    /// Components used.
    pub components: Vec<String>,
    /// Digest of the signed part of its top-level index.
    pub digest: Digest,
    /// When it was made, as it says itself.
    pub date: Epoch,
    /// Fingerprints of the keys whose signatures were good, in hexadecimal; empty when checks were
    /// switched off.
    pub signed_by: Vec<String>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its exact version, in the family's notation.
    pub version: String,
    /// Its architecture, in the family's notation (`amd64`, `all`).
    pub architecture: String,
    /// Index into [`Lock::repositories`].
    pub repository: usize,
    /// Its file below the repository's root.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}
