//! `ldconfig`: the links and the cache by which the dynamic linker finds libraries; see ldconfig(8).
//!
//! In: the folders that `/etc/ld.so.conf` names and those that every linker knows; out:
//! `/etc/ld.so.cache`, byte for byte what ldconfig of glibc 2.36 and later writes, and the links by
//! a library's own name where a package has none. The notes of ldconfig for itself (`aux-cache`)
//! are not made: they tell inode numbers of one disk, and no tree keeps them.
//!
//! Not understood, so that the script which calls it does not run: folders with variants for better
//! processors, libraries for another processor, links that lead nowhere.

mod cache;
pub(super) mod library;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of, is_match, text_of};
use crate::tree::{Inode, Kind, TreePath};
use cache::Entry;
use library::{Library, Machine};

const CONFIGURATION: &str = "/etc/ld.so.conf";
const CACHE: &str = "/etc/ld.so.cache";
/// Where ldconfig keeps notes for itself; it makes the folder, too.
const NOTES: &str = "/var/cache/ldconfig";
/// Where the program may lie: Ubuntu has a script of the shell in its usual place.
const PROGRAMS: [&str; 3] = ["/sbin/ldconfig.real", "/sbin/ldconfig", "/usr/sbin/ldconfig"];
/// The first release whose cache is written here; those before note a kernel's version in it.
const FIRST_RELEASE: (u32, u32) = (2, 36);
/// Folders with variants for better processors: of glibc 2.33 and later, and those that up to 2.36
/// count besides.
const VARIANTS: [&str; 12] = [
    "glibc-hwcaps",
    "tls",
    "i586",
    "i686",
    "sse2",
    "x86_64",
    "haswell",
    "xeon_phi",
    "avx512_1",
    "atomics",
    "power9",
    "z15",
];

/// A library that will be in the cache under its own name.
struct Found {
    /// The name of the file.
    name: String,
    is_link: bool,
}

pub(super) fn ldconfig(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("r: root")?;
    if !options.operands.is_empty() || options.value("root").is_some_and(|root| root != "/") {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    let generator = generator(shell)?;
    let name = shell.world.text("/var/lib/dpkg/arch").unwrap_or_default();
    let machine = Machine::of_debian(name.trim());
    let machine = machine.ok_or_else(|| call.unknown(&format!("for {}", name.trim())))?;
    let mut entries = Vec::new();
    for (name, place) in folders(shell, machine)? {
        search(shell, (&name, &place), machine, &mut entries)?;
    }
    entries.sort_by(|one: &Entry, other| compare(&other.name, &one.name));
    let bytes = cache::write(&entries, machine.is_big_endian, &generator);
    let bytes = bytes.ok_or_else(|| call.unknown("with so many libraries"))?;
    shell.world.replace(CACHE, 0o644, bytes).map_err(failed)?;
    let above = NOTES.rsplit_once('/').map_or("/", |(above, _)| above);
    shell.world.make_directories(above, 0o755).map_err(failed)?;
    shell.world.make_directories(NOTES, 0o700).map_err(failed)?;
    Ok(0)
}

fn failed(fault: Fault) -> Stop {
    Stop::unknown(format!("ldconfig: {}", fault.text()))
}

fn not_understood(what: &str) -> Stop {
    Stop::unknown(format!("ldconfig with {what}"))
}

/// What the program says of itself, which it writes into the cache.
fn generator(shell: &mut Shell<'_, '_>) -> Result<String, Stop> {
    for path in PROGRAMS {
        let Ok(place) = shell.place(path, true) else { continue };
        let Ok(bytes) = shell.world.read(&place) else { continue };
        let Some(text) = cache::generator_in(&bytes) else { continue };
        let release = text.rsplit(' ').next().and_then(|release| {
            let (major, minor) = release.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        return match release {
            Some(release) if release >= FIRST_RELEASE => Ok(text),
            _ => Err(not_understood("a cache of an older release")),
        };
    }
    Err(not_understood("a program that does not say its release"))
}

/// The folders with libraries, each once, in the order of searching: by the name that leads there
/// first, and their places.
fn folders(shell: &mut Shell<'_, '_>, machine: Machine) -> Result<Vec<(String, TreePath)>, Stop> {
    let mut names = Vec::new();
    if shell.file(CONFIGURATION, true).is_some() {
        configured(shell, CONFIGURATION, 0, &mut names)?;
    }
    names.extend(["/lib", "/usr/lib"].map(|folder| format!("{folder}/{}", machine.triplet)));
    names.extend(["/lib", "/usr/lib"].map(str::to_owned));
    let mut folders: Vec<(String, TreePath)> = Vec::new();
    for name in names {
        let Ok(place) = shell.place(&name, true) else { continue };
        if shell.world.is_directory(&place) && !folders.iter().any(|(_, known)| *known == place) {
            folders.push((name, place));
        }
    }
    Ok(folders)
}

/// Reads a configuration file: folders, and patterns of further files.
fn configured(
    shell: &mut Shell<'_, '_>,
    path: &str,
    depth: usize,
    names: &mut Vec<String>,
) -> Result<(), Stop> {
    if depth > 10 {
        return Err(not_understood("files that include each other"));
    }
    let text = shell.world.text(path).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(patterns) = line.strip_prefix("include ").or(line.strip_prefix("include\t")) {
            for pattern in patterns.split_whitespace() {
                for file in matching(shell, path, pattern)? {
                    configured(shell, &file, depth + 1, names)?;
                }
            }
        } else if line.starts_with('/') && !line.contains(['=', ' ', '\t']) {
            names.push(line.trim_end_matches('/').to_owned());
        } else if !line.is_empty() {
            return Err(not_understood(line));
        }
    }
    Ok(())
}

/// The files that a pattern names, which may have signs in its last part.
fn matching(shell: &Shell<'_, '_>, from: &str, pattern: &str) -> Result<Vec<String>, Stop> {
    let (here, _) = from.rsplit_once('/').unwrap_or_default();
    let pattern =
        if pattern.starts_with('/') { pattern.to_owned() } else { format!("{here}/{pattern}") };
    let (folder, last) = pattern.rsplit_once('/').unwrap_or_default();
    if folder.contains(['*', '?', '[']) {
        return Err(not_understood(&pattern));
    }
    let Ok(place) = shell.place(folder, true) else { return Ok(Vec::new()) };
    let names = shell.world.names(&place).into_iter();
    let names = names.filter(|name| !name.starts_with('.') && is_match(last, name));
    Ok(names.map(|name| format!("{folder}/{name}")).collect())
}

/// Whether a name looks like that of a library, or of the linker itself.
fn is_library(name: &str) -> bool {
    (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so")
        || name.starts_with("ld.so.")
        || name.starts_with("ld64.so.")
}

/// Finds the libraries of a folder, makes the links that they lack, and notes them for the cache.
fn search(
    shell: &mut Shell<'_, '_>,
    (folder, place): (&str, &TreePath),
    machine: Machine,
    entries: &mut Vec<Entry>,
) -> Result<(), Stop> {
    let mut all: BTreeMap<String, Found> = BTreeMap::new();
    for name in shell.world.names(place) {
        if VARIANTS.contains(&name.as_str()) {
            let path = place.join(bytes_of(&name)).map_err(|_| not_understood(&name))?;
            let path = shell.world.tree.resolve(&path);
            if path.is_ok_and(|path| shell.world.is_directory(&path)) {
                return Err(not_understood(&format!("{folder}/{name}")));
            }
        }
        if !is_library(&name) {
            continue;
        }
        let Some((own_name, is_link)) = look_at(shell, (folder, place), &name, machine)? else {
            continue;
        };
        let found = Found { name, is_link };
        match all.get_mut(&own_name) {
            // A file rather than a link, and of two the newer one.
            Some(known) => {
                let newer = compare(&known.name, &found.name) == Ordering::Less;
                if !is_link && known.is_link || is_link == known.is_link && newer {
                    *known = found;
                }
            }
            None => drop(all.insert(own_name, found)),
        }
    }
    for (own_name, found) in all {
        if !found.is_link {
            link(shell, place, &own_name, &found.name)?;
        }
        let path = format!("{folder}/{own_name}");
        entries.push(Entry { name: own_name, path, flags: machine.flags });
    }
    Ok(())
}

/// Under which name a file goes into the cache, and whether it is a link that leads to it already;
/// nothing for what is no library.
fn look_at(
    shell: &mut Shell<'_, '_>,
    (folder, place): (&str, &TreePath),
    name: &str,
    machine: Machine,
) -> Result<Option<(String, bool)>, Stop> {
    let path = place.join(bytes_of(name)).map_err(|_| not_understood(name))?;
    let is_link = match shell.world.tree.get(&path) {
        Some(Inode { kind: Kind::Symlink(_), .. }) => true,
        Some(Inode { kind: Kind::Regular(_), .. }) => false,
        _ => return Ok(None),
    };
    let target = shell.world.tree.resolve(&path).map_err(|_| not_understood(name))?;
    match shell.world.tree.get(&target) {
        Some(Inode { kind: Kind::Regular(_), .. }) => {}
        Some(_) => return Ok(None),
        None => return Err(not_understood(&format!("{folder}/{name}, which leads nowhere"))),
    }
    let bytes = shell.world.read_lightly(&target).map_err(failed)?;
    let own_name = match library::read(&bytes) {
        Library::Not => return Ok(None),
        Library::Of { own_name, kind } if kind == machine.kind() => own_name,
        Library::Of { .. } => {
            return Err(not_understood(&format!("{folder}/{name}, for another processor")));
        }
        Library::Broken => {
            return Err(not_understood(&format!("{folder}/{name}, which is broken")));
        }
    };
    let own_name = own_name.map_or_else(|| name.to_owned(), |bytes| text_of(&bytes));
    // A link by the library's own name, or the one for compilers, stands for itself; any other is
    // as good as a file.
    let stands =
        is_link && (name == own_name || name.ends_with(".so") && own_name.starts_with(name));
    Ok(Some((if stands { name.to_owned() } else { own_name }, stands)))
}

/// Makes the link by a library's own name, unless it leads there already.
fn link(
    shell: &mut Shell<'_, '_>,
    place: &TreePath,
    own_name: &str,
    name: &str,
) -> Result<(), Stop> {
    if own_name.contains('/') {
        return Err(not_understood(own_name));
    }
    let path = |name: &str| place.join(bytes_of(name)).map_err(|_| not_understood(name));
    let (at, file) = (path(own_name)?, path(name)?);
    let tree = &shell.world.tree;
    let leads_to = |path: &TreePath| tree.resolve(path).ok().and_then(|path| tree.lookup(&path));
    if leads_to(&at).is_some() && leads_to(&at) == leads_to(&file) {
        return Ok(());
    }
    match tree.get(&at).map(|inode| &inode.kind) {
        Some(Kind::Symlink(_)) => shell.world.remove(&at).map_err(failed)?,
        Some(_) => return Ok(()),
        None => {}
    }
    let target = Kind::Symlink(bytes_of(name).into());
    shell.world.insert(&at, 0o777, target).map_err(failed)
}

/// The order of libraries' names: numbers in them count as numbers, and come after what is none.
fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (first, second) = match (one.first(), other.first()) {
            (Some(first), Some(second)) => (*first, *second),
            (first, second) => return first.is_some().cmp(&second.is_some()),
        };
        match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => {
                let (left, right) = (number(&mut one), number(&mut other));
                if left != right {
                    return left.cmp(&right);
                }
                continue;
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if first != second => return first.cmp(&second),
            (false, false) => {}
        }
        (one, other) = (one.get(1..).unwrap_or_default(), other.get(1..).unwrap_or_default());
    }
}

/// Takes a number from the head.
fn number(text: &mut &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    })
}
