//! Extended attributes of files on disk (xattr(7)), by descriptor.

use std::collections::BTreeMap;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::Holding;

/// Attributes by full name.
pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// Which attributes the disk holds faithfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// None.
    Nothing,
    /// `user.*`.
    User,
    /// All but the labels that belong to the machine.
    Everything,
}

impl Scope {
    /// What we try to put on the disk.
    pub(super) const fn of(holding: Holding) -> Self {
        match holding {
            Holding::All => Self::Everything,
            Holding::Tame | Holding::TamePrivate => Self::User,
        }
    }

    /// Whether an attribute of this name is read from and written to the disk.
    pub(super) fn holds(self, name: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::User => name.starts_with(b"user."),
            Self::Everything => !is_label_of_the_machine(name),
        }
    }

    /// What is left when the kernel has refused an attribute of this name.
    pub(super) fn without(self, name: &[u8]) -> Self {
        self.min(if name.starts_with(b"user.") { Self::Nothing } else { Self::User })
    }
}

/// Whether the running system puts this attribute on files by itself: labels of its own security
/// policy, which say nothing about a guest.
fn is_label_of_the_machine(name: &[u8]) -> bool {
    let labels: [&[u8]; 4] =
        [b"security.selinux", b"security.ima", b"security.evm", b"security.SMACK64"];
    labels.iter().any(|label| name.starts_with(label))
}

/// Reads the attributes of an open file that the machine does not put there by itself.
///
/// The kernel's limit for the list and for each value is 64 KiB.
pub(super) fn read(file: &impl rustix::fd::AsFd) -> Result<Attributes, Errno> {
    let mut attributes = Attributes::new();
    let mut names = [0; 1 << 16];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        answer => answer?,
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|&byte| byte == 0).filter(|name| Scope::Everything.holds(name)) {
        if name.is_empty() {
            continue;
        }
        let mut value = [0; 1 << 16];
        let length = match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            answer => answer?,
        };
        attributes.insert(name.into(), value.get(..length).unwrap_or_default().into());
    }
    Ok(attributes)
}

/// Sets those of `attributes` that `scope` holds on an open file; returns what of the scope the
/// disk turned out to hold.
pub(super) fn write(
    file: &impl rustix::fd::AsFd,
    attributes: &Attributes,
    mut scope: Scope,
) -> Result<Scope, Errno> {
    for (name, value) in attributes {
        if !scope.holds(name) {
            continue;
        }
        match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => scope = scope.without(name),
            answer => answer?,
        }
    }
    Ok(scope)
}

/// Removes access control lists that a new directory inherited from the one above it: they would
/// go on to everything below.
pub(super) fn forget_inherited(directory: &impl rustix::fd::AsFd) -> Result<(), Errno> {
    for name in ["system.posix_acl_default", "system.posix_acl_access"] {
        match rustix::fs::fremovexattr(directory, name) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            answer => answer?,
        }
    }
    Ok(())
}
