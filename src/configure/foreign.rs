//! Who runs the programs of another processor's packages.
//!
//! In: the guest's architecture; out: a [`Runner`]. An emulator that the administrator registered is
//! taken as it is; else a static one that lies on this host is registered for the sandbox alone,
//! which Linux 6.7 allows to everybody. The scripts, and so the guest, are the same either way.

use std::path::{Path, PathBuf};

use super::Error;
use crate::distro::Architecture;
use crate::sandbox::{self, Emulator, Limits, Machine, Prepared, Step, Walls};

/// Who runs an architecture's programs here.
#[derive(Debug)]
pub(super) enum Runner {
    /// This processor, or an emulator that the host's kernel holds open.
    Kernel,
    /// An emulator for the sandbox alone.
    Emulator(Emulator),
    /// Handlers of ours, as nobody else can or shall; and why, as a sentence.
    BuiltIn(String),
}

impl Runner {
    /// What the sandbox has to be told.
    pub(super) const fn emulator(&self) -> Option<&Emulator> {
        match self {
            Self::Emulator(emulator) => Some(emulator),
            Self::Kernel | Self::BuiltIn(_) => None,
        }
    }
}

/// Where distributions put emulators.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/libexec/qemu-binfmt"];

/// Finds out who runs the programs of `architecture`.
///
/// # Errors
/// [`Error::Sandbox`] when this host offers no sandbox at all.
pub(super) fn runner(architecture: Architecture) -> Result<Runner, Error> {
    if Some(architecture) == Architecture::host() || is_registered(architecture) {
        return Ok(Runner::Kernel);
    }
    of_this_host(architecture, &FOLDERS.map(Path::new))
}

fn of_this_host(architecture: Architecture, folders: &[&Path]) -> Result<Runner, Error> {
    let machine = machine(architecture);
    let found =
        places(architecture, folders).find_map(|path| Emulator::at(&path, machine).ok().flatten());
    let Some(emulator) = found else {
        let name = architecture.kernel_name();
        return Ok(Runner::BuiltIn(format!(
            "there is no emulator for {name} (Debian's package qemu-user-static has one)"
        )));
    };
    match Prepared::new(Limits::default(), Walls::Namespaces, Some(&emulator)) {
        Ok(_) => Ok(Runner::Emulator(emulator)),
        Err(error @ sandbox::Error::Forbidden { step: Step::Emulator, .. }) => {
            Ok(Runner::BuiltIn(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where an emulator may lie, the most usual place first.
fn places(architecture: Architecture, folders: &[&Path]) -> impl Iterator<Item = PathBuf> {
    let name = architecture.kernel_name();
    let names = [format!("qemu-{name}-static"), format!("qemu-{name}"), format!("{name}-binfmt-P")];
    let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    names.into_iter().flat_map(move |name| {
        folders.iter().map(move |folder| folder.join(&name)).collect::<Vec<_>>()
    })
}

/// How programs of an architecture begin; the numbers are those of `elf.h`.
const fn machine(architecture: Architecture) -> Machine {
    match architecture {
        Architecture::X86_64 => Machine { number: 62, big_endian: false },
        Architecture::Aarch64 => Machine { number: 183, big_endian: false },
        Architecture::Ppc64le => Machine { number: 21, big_endian: false },
        Architecture::S390x => Machine { number: 22, big_endian: true },
    }
}

/// Whether the kernel runs an architecture's programs by an emulator that it holds open: only with
/// the flag `F` does that work where the emulator's file cannot be seen; see the kernel's
/// `admin-guide/binfmt-misc`.
fn is_registered(architecture: Architecture) -> bool {
    let path = format!("/proc/sys/fs/binfmt_misc/qemu-{}", architecture.kernel_name());
    let Ok(text) = fs_err::read_to_string(path) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    text.starts_with("enabled") && flags.is_some_and(|flags| flags.contains('F'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_looked_for_where_distributions_put_it() {
        let places: Vec<_> = places(Architecture::Ppc64le, &FOLDERS.map(Path::new)).collect();
        for place in [
            "/usr/bin/qemu-ppc64le-static",
            "/usr/bin/qemu-ppc64le",
            "/usr/libexec/qemu-binfmt/ppc64le-binfmt-P",
        ] {
            assert!(places.contains(&PathBuf::from(place)), "{place}");
        }
        assert_eq!(places[0], Path::new("/usr/bin/qemu-ppc64le-static"));
    }

    #[test]
    fn a_host_without_an_emulator_says_which_package_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let Runner::BuiltIn(why) = of_this_host(Architecture::S390x, &[folder.path()]).unwrap()
        else {
            panic!("nothing is there")
        };
        assert!(why.contains("no emulator for s390x") && why.contains("qemu-user-static"), "{why}");
    }
}
