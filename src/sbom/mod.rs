//! What a guest consists of, for scanners and auditors: a software bill of materials.
//!
//! In: the database of packages that a tree has before it becomes a guest (Kata's guests keep none),
//! the lock, the agent. Out: text, the same for the same guest: SPDX 2.3 or CycloneDX 1.6, both in
//! JSON.

mod cyclonedx;
mod purl;
mod spdx;
mod system;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::inspect::{self, NO_ARCHITECTURE, Package};
use crate::lock::Lock;
use crate::tree::{Contents, Kind, Tree, TreePath};
use system::System;

/// How a bill is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// SPDX 2.3 (ISO/IEC 5962), in JSON.
    Spdx,
    /// CycloneDX 1.6 (ECMA-424), in JSON.
    CycloneDx,
}

impl Format {
    /// The format that a file's name promises: `.spdx.json` or `.cdx.json`.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            _ if name.ends_with(".spdx.json") => Some(Self::Spdx),
            _ if name.ends_with(".cdx.json") => Some(Self::CycloneDx),
            _ => None,
        }
    }
}

/// The parts of a guest.
#[derive(Debug, Clone)]
pub struct Bill {
    system: System,
    parts: Vec<Part>,
}

/// Something that was put into a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    version: Option<String>,
    /// The package URL.
    purl: Option<String>,
    /// The package that it was built from, with its version where that is another one.
    source: Option<String>,
    /// SHA-256 of the package's file, or of the program.
    digest: Option<Digest>,
    /// Where the package's file came from.
    place: Option<String>,
}

/// What a bill is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The name of the file or directory.
    pub name: &'a str,
    /// SHA-256 of the file, or of the directory's listing.
    pub digest: Digest,
    /// Whether it is a file.
    pub is_file: bool,
    /// When it was made, as far as anybody may know.
    pub epoch: Epoch,
}

/// The agent that a guest may have.
#[derive(Debug, Clone, Copy)]
pub struct Agent<'a> {
    /// Its file name below `/usr/bin`.
    pub name: &'a str,
    /// Its version, as far as somebody said it.
    pub version: Option<&'a str>,
    /// Whether it is the first process, so that it may stand in that one's place.
    pub is_init: bool,
}

impl Bill {
    /// The packages in a tree that still has their database. A lock says where their files came from, and
    /// which bytes they had.
    ///
    /// # Errors
    /// As [`inspect::packages`].
    pub fn of_packages(
        tree: &Tree,
        contents: &dyn Contents,
        lock: Option<&Lock>,
    ) -> Result<Self, inspect::Error> {
        let usual = lock.map_or("linux", |lock| &lock.distribution);
        let system = System::of(tree, contents, usual);
        let locked = lock.map(places).unwrap_or_default();
        let part = |package: Package| {
            let key = [&package.name, &package.architecture, &package.version].map(String::clone);
            let (digest, place) = locked.get(&key).cloned().unzip();
            // Folders of the machine that built it concern nobody.
            let place = place.filter(|place: &String| place.starts_with("http"));
            let purl = Some(purl::of(&package, &system));
            let Package { name, version, source, .. } = package;
            Part { name, version: Some(version), purl, source, digest, place }
        };
        // rpm keeps keys like packages; they have no architecture.
        let packages = inspect::packages(tree, contents)?.into_iter();
        let packages = packages.filter(|package| package.architecture != NO_ARCHITECTURE);
        let mut parts: Vec<_> = packages.map(part).collect();
        parts.sort_by(|one, other| (&one.name, &one.purl).cmp(&(&other.name, &other.purl)));
        Ok(Self { system, parts })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Adds the agent, if the guest has it.
    pub fn add_agent(&mut self, guest: &Tree, agent: Agent<'_>) {
        let Agent { name, version, is_init } = agent;
        // Elsewhere than under its name it stands only as the init; any other init is a package's.
        let places = [Some(format!("usr/bin/{name}")), is_init.then(|| "sbin/init".to_owned())];
        let digest = places.iter().flatten().find_map(|place| {
            let path = guest.resolve(&TreePath::parse(place).ok()?).ok()?;
            match &guest.get(&path)?.kind {
                Kind::Regular(content) => Some(content.digest()),
                _ => None,
            }
        });
        if digest.is_some() {
            let (name, version) = (name.to_owned(), version.map(str::to_owned));
            self.parts.push(Part { name, version, purl: None, source: None, digest, place: None });
        }
    }

    /// The text of the file.
    pub fn text(&self, subject: &Subject<'_>, format: Format) -> String {
        let document = match format {
            Format::Spdx => spdx::document(self, subject),
            Format::CycloneDx => cyclonedx::document(self, subject),
        };
        format!("{document:#}\n")
    }
}

/// The digests of packages' files and where they are, by name, architecture and version.
fn places(lock: &Lock) -> BTreeMap<[String; 3], (Digest, String)> {
    let place = |package: &crate::lock::LockedPackage| {
        let root = lock.repositories.get(package.repository).map_or("", |found| &found.url);
        let place = format!("{}/{}", root.trim_end_matches('/'), package.path);
        let key = [package.name.to_string(), package.architecture.clone(), package.version.clone()];
        (key, (package.digest, place))
    };
    lock.packages.iter().map(place).collect()
}

/// An object without the members that nobody knows.
fn known(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}

/// The name of this program, with its version.
const TOOL: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
