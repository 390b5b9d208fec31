//! Puts into the tree what apk itself makes: its database, the world file, devices, mount points.
//!
//! In come the packages with what they own; what goes into the tree is `/lib/apk/db`, files below
//! `/etc/apk`, and what `apk --initdb` makes before the first package. Who owns files may change once
//! scripts have made users; then `installed` is written once more.

use super::{Entry, Error, Package};
use crate::fetch::Tagged;
use crate::package::apk::database::{self, Directory, File, Installed, Owned, Script};
use crate::package::apk::info::Info;
use crate::package::apk::relation;
use crate::recipe::Recipe;
use crate::tree::{Content, Device, Inode, Kind, Meta, Tree, TreePath};

/// Directories that apk makes, with their modes.
const DIRECTORIES: [(&str, u16); 13] = [
    ("tmp", 0o1777),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/apk", 0o755),
    ("lib", 0o755),
    ("lib/apk", 0o755),
    ("lib/apk/db", 0o755),
    ("lib/apk/exec", 0o700),
    ("proc", 0o555),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apk", 0o755),
    ("var/cache/misc", 0o755),
];
/// Devices that apk makes: name, mode, major and minor number.
const DEVICES: [(&str, u16, u32, u32); 5] = [
    ("dev/null", 0o666, 1, 3),
    ("dev/zero", 0o666, 1, 5),
    ("dev/random", 0o666, 1, 8),
    ("dev/urandom", 0o666, 1, 9),
    ("dev/console", 0o600, 5, 1),
];

/// The tree before the first package.
pub(super) fn skeleton(mtime: i64) -> Result<Tree, Error> {
    let meta = |mode| Meta { mtime, ..Meta::root(mode) };
    let mut tree = Tree::new(meta(0o755));
    for (name, mode) in DIRECTORIES {
        tree.make_directories(&TreePath::parse(name)?, &meta(mode))?;
    }
    for (name, mode, major, minor) in DEVICES {
        let kind = Kind::CharacterDevice(Device { major, minor });
        tree.insert(&TreePath::parse(name)?, Inode { meta: meta(mode), kind })?;
    }
    Ok(tree)
}

/// Writes the whole database.
pub(super) fn write(
    tree: &mut Tree,
    (packages, infos): (&[Package], &[&Info<'_>]),
    (recipe, tagged): (&Recipe, &[Tagged]),
    mtime: i64,
) -> Result<(), Error> {
    let mut writer = Writer { tree, mtime };
    let words = recipe.packages.asked();
    let asked: Vec<_> = words.iter().filter_map(|word| relation::parse_tagged(word).ok()).collect();
    writer.file("etc/apk/arch", 0o644, format!("{}\n", recipe.architecture.alpine_name()))?;
    writer.file("etc/apk/world", 0o644, database::world(&asked))?;
    writer.file("etc/apk/repositories", 0o644, repositories(recipe, tagged))?;
    writer.file("lib/apk/db/lock", 0o600, "")?;
    writer.file("lib/apk/db/installed", 0o644, installed(packages, infos))?;
    let scripts = packages.iter().zip(infos).flat_map(|(package, info)| {
        let scripts = package.scripts.iter();
        scripts.map(move |(kind, bytes)| Script { info, kind: *kind, bytes })
    });
    writer.file("lib/apk/db/scripts.tar", 0o644, database::scripts(scripts))?;
    let triggers = packages.iter().map(|p| (&p.identity, p.triggers.as_slice()));
    writer.file("lib/apk/db/triggers", 0o644, database::triggers(triggers))
}

/// Where the guest's own apk would look: the distribution's place, whoever served this build; and the
/// repositories with tags, without which apk would not know what the tags in the world file are.
fn repositories(recipe: &Recipe, tagged: &[Tagged]) -> String {
    let components = match recipe.sources.components.as_slice() {
        [] => &recipe.distro.components,
        named => named,
    };
    let own = recipe.release.suites_for(recipe.architecture).map(|suite| suite.name.as_str());
    let suites: Vec<&str> =
        own.chain(recipe.sources.extra_suites.iter().map(String::as_str)).collect();
    let mut text = String::new();
    for mirror in recipe.distro.mirrors_for(&recipe.release, recipe.architecture).take(1) {
        for suite in &suites {
            for component in components {
                text.push_str(&format!("{}/{suite}/{component}\n", mirror.url));
            }
        }
    }
    for Tagged { tag, address } in tagged {
        text.push_str(&format!("@{tag} {address}\n"));
    }
    text
}

/// The file `installed`, as the entries are owned now.
pub(super) fn installed(packages: &[Package], infos: &[&Info<'_>]) -> Vec<u8> {
    let installed = packages.iter().zip(infos).map(|(package, info)| {
        let directories = directories(&package.entries);
        Installed { info, directories, format: package.format, tag: package.tag.as_deref() }
    });
    database::installed(&installed.collect::<Vec<_>>())
}

/// The directories of a package with their files, both in the order of the archive.
fn directories(entries: &[Entry]) -> Vec<Directory> {
    let mut directories: Vec<Directory> = Vec::new();
    for entry in entries {
        let Meta { uid, gid, mode, .. } = entry.meta;
        let owned = Owned { uid, gid, mode, attributes: entry.attributes };
        if entry.is_directory {
            let path = entry.path.clone();
            directories.push(Directory { path, owned, files: Vec::new() });
            continue;
        }
        let parent = entry.path.parent().unwrap_or_default();
        // Mostly the last one.
        let at = directories.iter().rposition(|directory| directory.path == parent);
        let at = at.unwrap_or_else(|| {
            let owned = Owned::root(0o755);
            directories.push(Directory { path: parent, owned, files: Vec::new() });
            directories.len().saturating_sub(1)
        });
        if let Some(directory) = directories.get_mut(at) {
            let name = entry.path.name().unwrap_or_default().to_vec();
            directory.files.push(File { name, owned, checksum: entry.checksum });
        }
    }
    directories
}

/// Writes one file after the other.
struct Writer<'a> {
    tree: &'a mut Tree,
    mtime: i64,
}

impl Writer<'_> {
    fn file(&mut self, name: &str, mode: u16, text: impl Into<Vec<u8>>) -> Result<(), Error> {
        let path = self.tree.resolve(&TreePath::parse(name)?)?;
        let meta = Meta { mtime: self.mtime, ..Meta::root(mode) };
        let kind = Kind::Regular(Content::Inline(text.into().into()));
        self.tree.insert(&path, Inode { meta, kind })?;
        Ok(())
    }
}
