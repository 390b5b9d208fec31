//! Puts dpkg's database into the tree, as `dpkg --unpack` of all packages leaves it.
//!
//! In come the packages with the paths that they own; what goes into the tree is the files below
//! `/var/lib/dpkg`. Activated triggers are not recorded: whoever configures the packages knows all
//! paths and works them out.

use std::collections::BTreeMap;

use super::Package;
use super::load::Deb;
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::package::deb::database::{self, State, Status};
use crate::package::deb::version::Version;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::Error;

/// Writes one file after the other below `/var/lib/dpkg`.
struct Writer<'a> {
    tree: &'a mut Tree,
    mtime: i64,
}

/// Writes the whole database.
pub(super) fn write(
    tree: &mut Tree,
    debs: &[Deb],
    packages: &[Package],
    architecture: Architecture,
    epoch: Epoch,
) -> Result<(), Error> {
    let mtime = epoch.clamp(i64::MAX);
    let mut writer = Writer { tree, mtime };
    for directory in ["alternatives", "info", "parts", "triggers", "updates"] {
        writer.directory(directory)?;
    }
    let name = architecture.debian_name();
    writer.file("arch", 0o644, format!("{name}\n").into_bytes())?;
    if packages.iter().any(records_native_architecture) {
        writer.file("arch-native", 0o644, format!("{name}\n").into_bytes())?;
    }
    writer.file("info/format", 0o644, b"1\n".to_vec())?;
    for (name, mode) in [
        ("lock", 0o640),
        ("lock-frontend", 0o640),
        ("triggers/Lock", 0o600),
        ("triggers/Unincorp", 0o644),
        ("diversions", 0o644),
        ("statoverride", 0o644),
    ] {
        writer.file(name, mode, Vec::new())?;
    }
    for (deb, package) in debs.iter().zip(packages) {
        writer.info(deb, package)?;
    }
    writer.interests(packages)?;
    writer.file("status", 0o644, status(packages, State::Unpacked).into_bytes())
}

/// The file `status` for `packages`, all in one state: what configuring them all must leave.
pub fn status(packages: &[Package], state: State) -> String {
    let mut sorted: Vec<_> = packages.iter().collect();
    sorted.sort_by_key(|package| (&package.name, &package.architecture));
    let text = |package: &Package| {
        Status { control: &package.control, state, conffiles: &package.conffile_digests }.to_text()
    };
    sorted.into_iter().map(text).collect()
}

/// Whether a package is a dpkg that keeps the file `arch-native`: since 1.22.16.
fn records_native_architecture(package: &Package) -> bool {
    let since = Version::parse("1.22.16").expect("the version is well-formed");
    let version = Version::parse(&package.version);
    package.name.as_str() == "dpkg" && version.is_ok_and(|version| version >= since)
}

impl Writer<'_> {
    fn directory(&mut self, name: &str) -> Result<(), Error> {
        let path = TreePath::parse(format!("var/lib/dpkg/{name}"))?;
        let meta = Meta { mtime: self.mtime, ..Meta::root(0o755) };
        self.tree.make_directories(&path, &meta)?;
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u16, bytes: Vec<u8>) -> Result<(), Error> {
        let meta = Meta { mtime: self.mtime, ..Meta::root(mode) };
        self.insert(name, meta, bytes.into())
    }

    fn insert(&mut self, name: &str, meta: Meta, bytes: std::sync::Arc<[u8]>) -> Result<(), Error> {
        let path = self.tree.resolve(&TreePath::parse(format!("var/lib/dpkg/{name}"))?)?;
        self.tree.insert(&path, Inode { meta, kind: Kind::Regular(Content::Inline(bytes)) })?;
        Ok(())
    }

    /// The files of one package below `info`.
    fn info(&mut self, deb: &Deb, package: &Package) -> Result<(), Error> {
        let base = &package.database_name;
        for member in deb.control.members.iter().filter(|member| member.name != "control") {
            let meta = Meta { mtime: member.mtime, ..Meta::root(member.mode) };
            self.insert(&format!("info/{base}.{}", member.name), meta, member.bytes.clone())?;
        }
        self.file(&format!("info/{base}.list"), 0o644, database::list(&package.paths))?;
        if deb.control.member("md5sums").is_none() {
            let known: BTreeMap<_, _> =
                deb.files.iter().filter_map(|file| Some((&file.path, file.md5?))).collect();
            let sums = package.paths.iter().filter_map(|path| Some((path, *known.get(path)?)));
            self.file(&format!("info/{base}.md5sums"), 0o644, database::md5sums(sums))?;
        }
        Ok(())
    }

    /// Who is interested in which trigger.
    fn interests(&mut self, packages: &[Package]) -> Result<(), Error> {
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        for package in packages {
            for trigger in &package.triggers.interests {
                let line = database::interest(trigger, &package.database_name);
                let file = if trigger.name.starts_with('/') { "File" } else { &trigger.name };
                files.entry(file).or_default().push_str(&line);
            }
        }
        for (name, text) in files {
            self.file(&format!("triggers/{name}"), 0o644, text.into_bytes())?;
        }
        Ok(())
    }
}
