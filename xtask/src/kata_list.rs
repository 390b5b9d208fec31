//! Kata's own list of Alpine packages, with packages that are made on the spot: no medium at hand has
//! all the real ones. They bring what the list's real ones bring: a shell with its links, a trigger,
//! libraries that others need by name, users, set-id bits, links into other packages' directories.

use std::path::{Path, PathBuf};

use osbuilder_testkit::alpine::{Algorithm, Entry, Key, Package, repository_for};
use osbuilder_testkit::{alpine3, repository::write};

/// What Kata asks for.
pub(crate) const NAMES: &[&str] = &["alpine-base", "bash", "ip6tables", "iptables", "libseccomp"];

/// Directories come in the order of a table of apk's: what is left must not depend on it.
const TRIGGER: &str =
    "#!/bin/sh\nfor place in \"$@\"; do echo $# > \"/etc/watched-${place##*/}\"; done\n";
const SHELL: &str = "#!/bin/sh\necho /bin/bash >> /etc/shells\n";
const BASE: &str = "#!/bin/sh\nchmod 600 /etc/shadow\nexit 0\n";

/// A repository and the key that it is signed with.
pub(crate) struct Medium {
    /// The folder with a repository for each architecture.
    pub(crate) folder: PathBuf,
    /// The file of the key.
    pub(crate) key: PathBuf,
}

/// Makes the repository below `work`, in apk's version 2 or 3, for a processor in Alpine's words, with a
/// static busybox for it. Version 3 is made for x86_64 only.
///
/// # Errors
/// When the disk fails.
pub(crate) fn make(
    work: &Path,
    third: bool,
    (architecture, busybox): (&str, &[u8]),
) -> Result<Medium, Box<dyn std::error::Error>> {
    let trusted = Key::trusted();
    let version = if third { "list-3" } else { "list-2" };
    let (folder, key) = (work.join(version), work.join(&trusted.name));
    let packages = packages(busybox);
    let files = match third {
        true => alpine3::repository(".", &packages, &trusted),
        false => repository_for(architecture, ".", &packages, (&trusted, Algorithm::Sha1)),
    };
    write(&files, &folder);
    fs_err::write(&key, trusted.public())?;
    Ok(Medium { folder, key })
}

fn packages(program: &[u8]) -> Vec<Package> {
    let passwd = b"root:x:0:0:root:/root:/bin/sh\n";
    let mut layout = Package::empty("alpine-baselayout", "3.7-r0")
        .fields("depend = busybox\n")
        .script(".post-install", BASE);
    for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
        layout = layout.with(Entry::directory(folder));
    }
    let layout = layout
        .with(Entry::file("etc/group", 0o644, b"root:x:0:root\nshadow:x:42:\n"))
        .with(Entry::file("etc/passwd", 0o644, passwd))
        .with(Entry::file("etc/shadow", 0o640, b"root:*::0:::::\n").owned_by("root", "shadow"))
        .with(Entry::file("etc/shells", 0o644, b"/bin/sh\n"));
    let base = Package::empty("alpine-base", "3.24.0-r0")
        .fields("depend = alpine-baselayout\ndepend = busybox\n");
    let libc = library("musl", "libc.musl-x86_64.so.1");
    let seccomp = library("libseccomp", "libseccomp.so.2");
    let shell = Package::empty("bash", "5.3.3-r1")
        .fields("depend = so:libc.musl-x86_64.so.1\nprovides = cmd:bash=5.3.3-r1\n")
        .script(".post-install", SHELL)
        .with(Entry::directory("bin"))
        .with(Entry::file("bin/bash", 0o755, b"a shell"));
    let tables = Package::empty("iptables", "1.8.11-r1")
        .fields("depend = so:libc.musl-x86_64.so.1\nprovides = cmd:iptables=1.8.11-r1\n")
        .with(Entry::directory("sbin"))
        .with(Entry::file("sbin/xtables-nft-multi", 0o4750, b"tables"))
        .with(Entry::symlink("sbin/iptables", "xtables-nft-multi"));
    let tables6 = Package::empty("ip6tables", "1.8.11-r1")
        .fields("depend = iptables=1.8.11-r1\n")
        .with(Entry::directory("sbin"))
        .with(Entry::symlink("sbin/ip6tables", "xtables-nft-multi"));
    let rules = Package::new("iptables-openrc", "1.8.11-r1")
        .fields("depend = iptables=1.8.11-r1\ninstall_if = bash iptables=1.8.11-r1\n");
    vec![base, layout, busybox(program), libc, seccomp, shell, tables, tables6, rules]
}

fn busybox(program: &[u8]) -> Package {
    let mut package = Package::empty("busybox", "1.37.0-r20")
        .fields("provides = /bin/sh\ntriggers = /bin /sbin\n")
        .script(".trigger", TRIGGER)
        .with(Entry::directory("bin"))
        .with(Entry::file("bin/busybox", 0o755, program));
    for name in ["sh", "chmod", "echo"] {
        package = package.with(Entry::symlink(&format!("bin/{name}"), "/bin/busybox"));
    }
    package
}

fn library(name: &str, file: &str) -> Package {
    Package::empty(name, "1.2.5-r9")
        .fields(&format!("provides = so:{file}=1\n"))
        .with(Entry::directory("lib"))
        .with(Entry::file(&format!("lib/{file}"), 0o755, name.as_bytes()))
}
