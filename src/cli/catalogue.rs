//! The distributions that this run knows: those that are compiled in, and those of the user's folder.

use std::path::{Path, PathBuf};

use osbuilder::distro::{Catalogue, DataFile};

use super::{Failure, Kind, Session};

impl Session {
    /// Reads the data files of the folder that is named, or else of the customary one if it is there.
    pub(super) fn catalogue(&self) -> Result<Catalogue, Failure> {
        let customary = || {
            let folder = self.environment.configuration()?.join("distros");
            folder.is_dir().then_some(folder)
        };
        let Some(folder) = self.distro_dir.clone().or_else(customary) else {
            return Ok(Catalogue::default());
        };
        let files = data_files(&folder).map_err(|error| Failure::new(Kind::Request, error))?;
        let files: Vec<_> = files.iter().map(|(path, text)| DataFile { path, text }).collect();
        Catalogue::default().with(&files).map_err(|flaws| {
            let hint = "`osbuilder distros --check FILE` says the same of one file";
            Failure::new(Kind::Request, flaws).hint(hint)
        })
    }
}

/// The data files in a folder, sorted by name, with what they say.
fn data_files(folder: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(|path| Ok((path.clone(), fs_err::read_to_string(&path)?))).collect()
}
