//! What apk does after the last script, and what no guest should have: directories get the owners and
//! modes that their packages agree on, the database says who owns what, traces of the build go.
//!
//! Pure functions on trees.

use std::collections::{BTreeMap, BTreeSet};

use crate::configure::Error;
use crate::epoch::Epoch;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::apk::{Entry, Packages};

/// Owner, group and mode of a directory: of several packages' words those of the lowest owner count,
/// and of these the permissions that all of them give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agreed {
    uid: u32,
    gid: u32,
    mode: u16,
}

impl Agreed {
    fn of(meta: &Meta) -> Self {
        Self { uid: meta.uid, gid: meta.gid, mode: meta.mode }
    }

    fn and(self, other: Self) -> Self {
        match (other.uid, other.gid).cmp(&(self.uid, self.gid)) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal => Self { mode: self.mode & other.mode, ..self },
            std::cmp::Ordering::Greater => self,
        }
    }
}

/// Gives directories that packages made what these agree on. Those that were there before, made by apk
/// itself or by a script, stay as they are.
pub(super) fn directories(tree: &mut Tree, packages: &Packages, made: &BTreeSet<TreePath>) {
    let mut agreed: BTreeMap<&TreePath, Agreed> = BTreeMap::new();
    let entries = packages.as_slice().iter().flat_map(|package| &package.entries);
    let ours = |entry: &&Entry| entry.is_directory && made.contains(&entry.place);
    for Entry { place, meta, .. } in entries.filter(ours) {
        let own = Agreed::of(meta);
        agreed.entry(place).and_modify(|known| *known = known.and(own)).or_insert(own);
    }
    for (place, Agreed { uid, gid, mode }) in agreed {
        if let Some(Inode { meta, kind: Kind::Directory(_) }) = tree.get_mut(place) {
            (meta.uid, meta.gid, meta.mode) = (uid, gid, mode);
        }
    }
}

/// Writes who owns what.
pub(super) fn database(tree: &mut Tree, packages: &Packages, epoch: Epoch) -> Result<(), Error> {
    let path = tree.resolve(&TreePath::parse("lib/apk/db/installed")?)?;
    let bytes = packages.installed().map_err(|error| Error::Database(Box::new(error)))?;
    let meta = Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(0o644) };
    let kind = Kind::Regular(Content::Inline(bytes.into()));
    tree.insert(&path, Inode { meta, kind })?;
    Ok(())
}

/// Sets the day on which passwords were last changed, which busybox takes from the clock, to the
/// build's: of those users that no package brought. `before` and `after` are texts of shadow(5).
pub(super) fn without_today(before: &[u8], after: &[u8], epoch: Epoch) -> Vec<u8> {
    let known: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
    let day = (epoch.seconds() / 86_400).to_string();
    let line = |line: &[u8]| -> Vec<u8> {
        let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        match fields.get_mut(2) {
            Some(field) if !known.contains(&line) && !field.is_empty() => *field = day.as_bytes(),
            _ => return line.to_vec(),
        }
        fields.join(&b':')
    };
    let lines: Vec<Vec<u8>> = after.split(|byte| *byte == b'\n').map(line).collect();
    lines.join(&b'\n')
}

/// Removes what is in the directories for temporary files.
pub(super) fn temporary_files(tree: &mut Tree) -> Result<(), Error> {
    for directory in ["tmp", "run", "lib/apk/exec"] {
        let directory = tree.resolve(&TreePath::parse(directory)?)?;
        let names: Vec<_> = match tree.get(&directory) {
            Some(Inode { kind: Kind::Directory(entries), .. }) => entries.keys().cloned().collect(),
            _ => Vec::new(),
        };
        for name in names {
            tree.remove(&directory.join(name)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_owner_counts_and_what_all_of_its_packages_give() {
        let agreed = |uid, gid, mode| Agreed { uid, gid, mode };
        for (one, other, expected) in [
            ((0, 0, 0o755), (0, 0, 0o775), (0, 0, 0o755)),
            ((0, 0, 0o755), (0, 0, 0o700), (0, 0, 0o700)),
            ((100, 101, 0o700), (0, 0, 0o755), (0, 0, 0o755)),
            ((0, 0, 0o755), (0, 5, 0o777), (0, 0, 0o755)),
        ] {
            let make = |(uid, gid, mode)| agreed(uid, gid, mode);
            assert_eq!(make(one).and(make(other)), make(expected));
        }
    }

    #[test]
    fn f7_the_day_of_the_build_is_not_that_of_the_clock() {
        let epoch = Epoch::new(86_400 * 19_000).unwrap();
        let before = b"root:*::0:::::\nbin:!:18000:0:::::\n";
        let after = b"root:*::0:::::\nbin:!:18000:0:::::\nchrony:!:20779:0:99999:7:::\nbad\n";
        let expected = b"root:*::0:::::\nbin:!:18000:0:::::\nchrony:!:19000:0:99999:7:::\nbad\n";
        assert_eq!(without_today(before, after, epoch), expected);
        assert_eq!(without_today(before, before, epoch), before);
    }
}
