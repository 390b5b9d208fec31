//! Brings this very program into a tree, with the libraries that it is linked with, so that it can run
//! there before there is anything else.
//!
//! In: the tree and a folder of it; out: how it is started. Its own loader finds its libraries in that
//! folder; the tree's are of another system, or not there yet.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::file;
use crate::tree::{TreePath, escape};

/// The name of the program in the folder.
const OWN: &str = "self";
/// The type of an ELF program header that names the loader.
const INTERPRETER: u32 = 3;

/// Where a program is inside, and how it is started.
#[derive(Debug, Clone)]
pub struct ThisProgram {
    /// The words before its own arguments.
    pub words: Vec<Vec<u8>>,
    /// The files that were brought.
    pub files: Vec<TreePath>,
}

/// Copies everything into a folder of the tree that is there.
pub(super) fn bring(root: &OwnedFd, folder: &TreePath) -> std::io::Result<ThisProgram> {
    let own = fs_err::canonicalize("/proc/self/exe")?;
    let loader = loader(&own)?;
    let mut sources = vec![(own.clone(), OWN.as_bytes().to_vec())];
    if let Some(loader) = &loader {
        let canonical = fs_err::canonicalize(loader)?;
        let libraries = libraries()?.into_iter().filter(|path| *path != own && *path != canonical);
        sources.extend(libraries.map(|path| (path.clone(), name_of(&path))));
        sources.push((canonical, name_of(loader)));
    }
    let mut files = Vec::new();
    for (source, name) in sources {
        let path = folder.join(&name).map_err(|_| std::io::Error::from(Errno::NAMETOOLONG))?;
        let file = fs_err::File::open(source)?;
        file::copy(root, &path, &file)?;
        files.push(path);
    }
    let inside = |name: &[u8]| [b"/", folder.as_bytes(), b"/", name].concat();
    let words = match loader.as_deref() {
        Some(loader) => vec![
            inside(&name_of(loader)),
            b"--inhibit-cache".to_vec(),
            b"--library-path".to_vec(),
            [b"/", folder.as_bytes()].concat(),
            inside(OWN.as_bytes()),
        ],
        None => vec![inside(OWN.as_bytes())],
    };
    Ok(ThisProgram { words, files })
}

fn name_of(path: &Path) -> Vec<u8> {
    path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default()
}

/// The loader that a program names; none, if it needs none.
fn loader(program: &Path) -> std::io::Result<Option<PathBuf>> {
    use std::os::unix::fs::FileExt;
    let file = fs_err::File::open(program)?;
    let mut head = vec![0; 4096];
    file.file().read_exact_at(&mut head, 0)?;
    let at = |place: usize| head.get(place..);
    let word = |place| at(place).and_then(<[u8]>::first_chunk).copied().map(u32::from_ne_bytes);
    let long = |place| at(place).and_then(<[u8]>::first_chunk).copied().map(u64::from_ne_bytes);
    let short = |place| at(place).and_then(<[u8]>::first_chunk).copied().map(u16::from_ne_bytes);
    let number = |value: Option<u64>| usize::try_from(value.unwrap_or(0)).unwrap_or(0);
    let (table, size) = (number(long(32)), usize::from(short(54).unwrap_or(0)));
    for entry in 0..usize::from(short(56).unwrap_or(0)) {
        let place = table + entry * size;
        if word(place) == Some(INTERPRETER) {
            let mut name = vec![0; number(long(place + 32)).min(4096)];
            file.file().read_exact_at(&mut name, long(place + 8).unwrap_or(0))?;
            let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(&name).into_owned())));
        }
    }
    Ok(None)
}

/// The files whose code this process runs.
fn libraries() -> std::io::Result<Vec<PathBuf>> {
    let maps = fs_err::read_to_string("/proc/self/maps")?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let is_code = words.nth(1).is_some_and(|permissions| permissions.contains('x'));
        let path = line.find('/').and_then(|at| line.get(at..)).map(PathBuf::from);
        paths.extend(path.filter(|path| is_code && !paths.contains(path)));
    }
    if let Some(gone) = paths.iter().find(|path| path.to_string_lossy().ends_with(" (deleted)")) {
        let name = escape(gone.as_os_str().as_encoded_bytes());
        return Err(std::io::Error::other(format!("{name} was replaced while this runs")));
    }
    Ok(paths)
}
