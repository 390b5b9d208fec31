//! The rooms of `src/`: which exist, and which may use which.
//!
//! A new room or a new arrow between rooms is a decision; it is made here, where a reviewer sees
//! it. The table says the same as ARCHITECTURE.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("buffer", &[]),
    ("checksum", &["digest"]),
    ("crew", &[]),
    ("digest", &["buffer"]),
    ("event", &[]),
    ("epoch", &[]),
    ("relay", &[]),
    ("tree", &["checksum", "digest"]),
    ("store", &["buffer", "checksum", "crew", "digest", "tree"]),
    ("package", &["digest", "tree"]),
    ("meant", &[]),
    ("document", &["meant"]),
    ("distro", &["document", "meant", "package"]),
    ("recipe", &["digest", "distro", "document", "epoch", "event", "meant", "package", "tree"]),
    ("lock", &["digest", "epoch", "package"]),
    (
        "fetch",
        &[
            "crew", "digest", "distro", "epoch", "event", "lock", "package", "recipe", "relay",
            "store",
        ],
    ),
    ("resolve", &["digest", "distro", "epoch", "fetch", "lock", "package", "recipe"]),
    (
        "unpack",
        &[
            "crew", "digest", "distro", "epoch", "event", "fetch", "lock", "package", "recipe",
            "store", "tree",
        ],
    ),
    ("sandbox", &["tree"]),
    ("lua", &["package", "sandbox"]),
    ("sysusers", &[]),
    ("selinux", &["tree"]),
    (
        "configure",
        &[
            "crew", "digest", "distro", "epoch", "event", "lua", "package", "recipe", "sandbox",
            "store", "sysusers", "tree", "unpack",
        ],
    ),
    ("provision", &["digest", "epoch", "package", "recipe", "tree"]),
    ("image", &["checksum", "crew", "digest", "distro", "epoch", "recipe", "tree"]),
    ("inspect", &["digest", "epoch", "image", "lock", "package", "recipe", "tree"]),
    ("sbom", &["digest", "epoch", "inspect", "lock", "tree"]),
    ("boot", &["distro", "epoch", "event", "image", "recipe", "sandbox", "store", "tree"]),
    (
        "output",
        &[
            "crew", "digest", "epoch", "event", "image", "inspect", "recipe", "selinux", "store",
            "tree", "workshop",
        ],
    ),
    ("installed", &["configure", "digest", "epoch", "event", "lock", "recipe", "store", "tree"]),
    (
        "workshop",
        &[
            "configure",
            "distro",
            "epoch",
            "event",
            "fetch",
            "image",
            "lock",
            "provision",
            "recipe",
            "resolve",
            "selinux",
            "store",
            "tree",
            "unpack",
        ],
    ),
];

/// Words that no room may be named after: they have no subject.
const SUBJECTLESS: &[&str] = &["util", "utils", "common", "helpers", "types", "manager", "misc"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every `.rs` file of a room, or of the whole of `src/`.
fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut entries: Vec<PathBuf> =
        fs_err::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let below = entries.iter().flat_map(|entry| match entry.is_dir() {
        true => files_below(entry),
        false => vec![entry.clone()],
    });
    below.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn room_of(file: &Path) -> String {
    let below = file.strip_prefix(source()).unwrap();
    let first = below.iter().next().unwrap().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// The rooms that a file names by `crate::room`.
fn used_by(file: &Path) -> BTreeSet<String> {
    let text = fs_err::read_to_string(file).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let statement = rest.split(';').next().unwrap_or_default();
        let names: Vec<&str> = match statement.strip_prefix('{') {
            Some(group) => group.split(['{', ',', '}']).collect(),
            None => vec![rest],
        };
        for name in names {
            let end = name.trim().find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            used.insert(name.trim()[..end.unwrap_or(name.trim().len())].to_owned());
        }
    }
    used
}

#[test]
fn every_room_is_listed_and_has_a_subject() {
    let listed: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    let program = ["lib", "main", "cli", "testing"].map(str::to_owned);
    let found: BTreeSet<String> = files_below(&source()).iter().map(|f| room_of(f)).collect();
    let found: BTreeSet<String> = found.into_iter().filter(|r| !program.contains(r)).collect();
    assert_eq!(found, listed, "the entries of src/ and the table in tests/architecture.rs differ");
    for file in files_below(&source()) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(!SUBJECTLESS.contains(&name.as_str()), "{} has no subject", file.display());
    }
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in files_below(&source()) {
        let room = room_of(&file);
        let Some(allowed) = table.get(room.as_str()) else { continue };
        for used in used_by(&file) {
            let is_room = table.contains_key(used.as_str());
            if is_room && used != room && !allowed.contains(&used.as_str()) {
                let place = file.strip_prefix(source()).unwrap().display().to_string();
                wrong.push(format!("`{room}` uses `{used}` (in {place})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_a_header() {
    for folder in ["src", "guest-probe/src", "xtask/src", "testkit/src", "tests"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in files_below(&root) {
            let text = fs_err::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{} has no header", file.display());
        }
    }
}

#[test]
fn unsafe_code_and_child_processes_stay_in_their_rooms() {
    for file in files_below(&source()) {
        let room = room_of(&file);
        let text = fs_err::read_to_string(&file).unwrap();
        let place = file.display();
        let is_unsafe = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(!is_unsafe || room == "sandbox", "{place} has unsafe code");
        let starts = text.contains("Command::new(") && room != "cli";
        let may_start = ["sandbox", "boot"].contains(&room.as_str());
        assert!(!starts || may_start || text.contains("#[cfg(test)]"), "{place} starts processes");
    }
}

/// A refused thread is a panic in `thread::spawn` and `Scope::spawn`; `crew`, `relay` and `Builder` go on.
#[test]
fn nobody_relies_on_getting_a_thread() {
    for folder in ["src", "guest-probe/src"] {
        for file in files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let text = fs_err::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let is_test = file.ends_with("tests.rs") || file.ends_with("ordinary_user.rs");
            let relies = ["thread::scope(", "thread::spawn(", "scope.spawn("];
            let found = relies.into_iter().find(|words| !is_test && code.contains(words));
            let goes_on = file.ends_with("src/crew.rs") || file.ends_with("src/relay.rs");
            assert!(found.is_none() || goes_on, "{}: {found:?}", file.display());
        }
    }
}

/// What reads archives cannot write anything: entries go into a tree, and only the store's open
/// directories and the sandbox bring a tree to a disk.
#[test]
fn c17_no_reader_of_archives_touches_a_disk() {
    for file in files_below(&source()) {
        let pure = ["package", "unpack", "tree", "provision", "recipe", "resolve"];
        let is_test = file.ends_with("tests.rs");
        if !pure.contains(&room_of(&file).as_str()) || is_test {
            continue;
        }
        let text = fs_err::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let found = ["fs_err::", "std::fs", "rustix::fs"].into_iter().find(|w| code.contains(w));
        assert!(found.is_none(), "{}: {found:?}", file.display());
    }
}

/// What is compiled is what the lock's digests say, and no file of the checkout is a blob that only
/// its maker could explain: test data is made by code.
#[test]
fn c23_dependencies_are_locked_by_digest_and_every_file_is_text_or_has_its_maker() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let text = fs_err::read_to_string(root.join(lock)).unwrap();
        for package in text.split("[[package]]").skip(1) {
            let name = package.lines().find(|line| line.starts_with("name")).unwrap();
            let source = package.lines().find(|line| line.starts_with("source"));
            let is_ours = source.is_none();
            let is_registry = source.is_some_and(|s| s.contains("\"registry+https://"));
            let has_digest = package.lines().any(|line| line.starts_with("checksum"));
            assert!(is_ours || is_registry && has_digest, "{lock}: {name}");
        }
    }
    let fuzz = ["fuzz/fuzz_targets", "fuzz/src"];
    for folder in ["src", "tests", "testkit", "guest-probe", "xtask", "recipes"].iter().chain(&fuzz)
    {
        for file in every_file_below(&root.join(folder)) {
            // The test `broken` holds each of these to the code that makes it.
            if file.starts_with(root.join("tests/broken")) {
                continue;
            }
            assert!(fs_err::read_to_string(&file).is_ok(), "{} is no text", file.display());
        }
    }
}

fn every_file_below(path: &Path) -> Vec<PathBuf> {
    let paths = fs_err::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|p| if p.is_dir() { every_file_below(&p) } else { vec![p] }).collect()
}
