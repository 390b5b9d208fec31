//! What becomes of each file of each package: decided before anything is laid out, as rpm does it.
//!
//! In: packages in the order of installing, and where each of their files goes; out: for each file
//! whether it is written, or the conflict for which rpm would install nothing. Directories are files,
//! too. rpm's rules (`handleOverlappedFiles` of `lib/transaction.c`, `rpmfilesCompare` of
//! `lib/rpmfi.c`):
//!
//! - a file is held against the one that came last before it at its place, in its own package as well;
//! - if they are the same in type, permissions, owners and content, the later one is passed over; but
//!   it is written if the earlier one is a ghost, which nobody writes, or was passed over itself;
//! - ghosts are the same as anything;
//! - of a program of 32 bits and another one of 64 the latter stays, whichever comes first;
//! - anything else is a conflict.

use std::collections::BTreeMap;

use super::Error;
use super::load::Rpm;
use crate::package::PackageName;
use crate::package::rpm::files::{File, Kind};
use crate::package::rpm::tag;
use crate::tree::TreePath;

/// The colour that stays where two meet: that of 64 bits.
const PREFERRED: u32 = 2;
/// Both of them.
const COLORS: u32 = 3;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written, unless it is a ghost.
    Written,
    /// The same is there already.
    Same,
    /// A program of 64 bits has its place.
    OtherColor,
}

impl Fate {
    /// What rpm's database says of such a file.
    pub(super) const fn state(self) -> u8 {
        match self {
            Self::Written | Self::Same => 0,
            Self::OtherColor => 4,
        }
    }
}

/// Decides for each package's files, in the order of its header. `places` are those of the files.
pub(super) fn decide(
    rpms: &[&(PackageName, Rpm)],
    places: &[Vec<TreePath>],
) -> Result<Vec<Vec<Fate>>, Error> {
    let mut fates: Vec<Vec<Fate>> = Vec::new();
    let mut last: BTreeMap<&TreePath, (usize, usize)> = BTreeMap::new();
    for (number, ((name, rpm), places)) in rpms.iter().zip(places).enumerate() {
        fates.push(Vec::new());
        for (at, (file, place)) in rpm.files.iter().zip(places).enumerate() {
            let earlier = last.insert(place, (number, at));
            let mut fate = Fate::Written;
            if let Some((other, other_at)) = earlier
                && let Some((other_name, other_rpm)) = rpms.get(other)
                && let Some(other_file) = other_rpm.files.get(other_at)
                && let Some(earlier) = fates.get_mut(other).and_then(|all| all.get_mut(other_at))
            {
                if are_the_same((other_rpm, other_file), (rpm, file)) {
                    fate = after_the_same(*earlier, other_file);
                } else {
                    let conflict = || Error::FileConflict {
                        path: file.path.clone(),
                        first: other_name.to_string(),
                        second: name.to_string(),
                    };
                    fate = by_color((earlier, other_file), file).ok_or_else(conflict)?;
                }
            }
            fates.last_mut().expect("one was added above").push(fate);
        }
    }
    Ok(fates)
}

/// What becomes of a file of which an earlier package has the same.
const fn after_the_same(earlier: Fate, file: &File) -> Fate {
    match earlier {
        Fate::Written if !file.is_ghost() => Fate::Same,
        Fate::Written | Fate::Same => Fate::Written,
        Fate::OtherColor => Fate::OtherColor,
    }
}

/// What becomes of a file that differs from an earlier one, if both are programs of different colours.
fn by_color((earlier, other): (&mut Fate, &File), file: &File) -> Option<Fate> {
    let (color, other_color) = (file.color & COLORS, other.color & COLORS);
    if color == 0 || other_color == 0 || color == other_color {
        return None;
    }
    if color & PREFERRED != 0 {
        *earlier = Fate::OtherColor;
        return Some(Fate::Written);
    }
    (other_color & PREFERRED != 0).then_some(Fate::OtherColor)
}

/// Whether two files at one place are the same for rpm.
fn are_the_same((a_rpm, a): (&Rpm, &File), (b_rpm, b): (&Rpm, &File)) -> bool {
    if a.is_ghost() || b.is_ghost() {
        return true;
    }
    if (&a.user, &a.group) != (&b.user, &b.group) {
        return false;
    }
    match (&a.kind, &b.kind) {
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        _ if a.mode != b.mode => false,
        (Kind::Regular { digest, size }, Kind::Regular { digest: b_digest, size: b_size }) => {
            let algorithm = |rpm: &Rpm| rpm.head.header.number(tag::FILE_DIGEST_ALGORITHM);
            let comparable = digest.is_empty() || algorithm(a_rpm) == algorithm(b_rpm);
            size == b_size && digest == b_digest && comparable
        }
        (a, b) => a == b,
    }
}
