//! The collected test data: of Alpine the packages of a genuine installation medium, and smaller ones
//! that were packed anew; of rpm's family packages and metadata.
//!
//! They lie where `OSBUILDER_TEST_DATA` says, or beside the checkout. Where they are absent, tasks
//! leave them out and say so; where `CI` is set, that is an error.

use std::path::{Path, PathBuf};

use crate::{peer, say};

/// What guests are made of that are built from the genuine packages.
pub(crate) const PACKAGES: &[&str] =
    &["alpine-base", "chrony", "e2fsprogs", "libseccomp", "openssh"];

/// A folder of the data, if it is there.
///
/// # Errors
/// Where nothing may be skipped and it is not there.
#[expect(clippy::disallowed_methods, reason = "the place of test data comes from the environment")]
pub(crate) fn data(folder: &str) -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
    let given = std::env::var_os("OSBUILDER_TEST_DATA").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| peer::checkout().join("../shared/data")).join(folder);
    if let Some(folder) = folder.canonicalize().ok().filter(|folder| folder.is_dir()) {
        return Ok(Some(folder));
    }
    let reason = format!("no test data at {}", folder.display());
    if std::env::var_os("CI").is_some() {
        return Err(reason.into());
    }
    say(&format!("SKIPPED: {reason}"));
    Ok(None)
}

/// The folder of Alpine's data, if it is there.
///
/// # Errors
/// As [`data`].
pub(crate) fn alpine() -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
    data("alpine")
}

/// A recipe for a guest made from the genuine packages.
pub(crate) fn recipe(data: &Path) -> String {
    let packages: Vec<String> = PACKAGES.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "distribution = \"alpine\"\nversion = \"3.19\"\narchitecture = \"x86_64\"\n\
         packages = [{}]\nsources.mirrors = [\"file://{}\"]\n",
        packages.join(", "),
        data.join("genuine-3.19.1").display()
    )
}
