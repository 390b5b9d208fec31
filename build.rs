//! Gives the program a digest of the code that unpacks and configures packages.
//!
//! A tree that was configured by other code is not found in the cache: nobody has to remember to
//! raise a number. Collisions need not be feared, as nobody gains by one.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

/// What a configured tree depends on: the rooms that make it, and the libraries.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "src/configure",
    "src/distro",
    "src/lua",
    "src/package",
    "src/resolve",
    "src/sandbox",
    "src/tree",
    "src/unpack",
];

fn main() -> std::io::Result<()> {
    let mut files = BTreeSet::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(file.as_os_str().as_encoded_bytes());
        hasher.write(&fs_err::read(file)?);
    }
    println!("cargo::rustc-env=OSBUILDER_INSTALLING_CODE={:016x}", hasher.finish());
    Ok(())
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs_err::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.insert(path.to_owned());
    }
    Ok(())
}
