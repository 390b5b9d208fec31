//! Programs of another processor: an emulator that only this sandbox's kernel entry knows.
//!
//! In: a statically linked emulator of the host, and which programs it runs. Out: a private
//! instance of `binfmt_misc`, which Linux 6.7 gives to each user namespace that mounts it. The
//! kernel holds the emulator open (flag `F`), so nothing of the host has to be visible inside; the
//! host's own list of formats is neither read nor changed. Where an administrator has registered an
//! emulator with that flag, all this is not needed. Only mounting runs in the forked child, and
//! does not allocate.
//!
//! See the kernel's `admin-guide/binfmt-misc` and elf(5).

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts;

/// An emulator, and the programs that are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// The line that registers it.
    registration: CString,
}

/// A processor, as the head of a program names it: 64-bit programs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// `e_machine`, of `elf.h`.
    pub number: u8,
    /// Whether its numbers have their most significant byte first.
    pub big_endian: bool,
}

/// The kernel takes no longer line.
const LONGEST_LINE: usize = 1920;

impl Emulator {
    /// Takes the program at `path` as the emulator of a machine. `None`: it is no program that
    /// needs nothing but itself, or its path cannot be written into the kernel's line.
    ///
    /// # Errors
    /// The program cannot be read.
    pub fn at(path: &Path, machine: Machine) -> std::io::Result<Option<Self>> {
        let mut head = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(fs_err::File::open(path)?, 1 << 16),
            &mut head,
        )?;
        let name = path.as_os_str().as_bytes();
        let plain = path.is_absolute() && name.iter().all(|byte| byte.is_ascii_graphic());
        if !is_static(&head) || !plain || name.contains(&b':') {
            return Ok(None);
        }
        let line = [machine.pattern().as_bytes(), name, b":F"].concat();
        let fits = line.len() < LONGEST_LINE;
        Ok(CString::new(line).ok().filter(|_| fits).map(|registration| Self { registration }))
    }
}

impl Machine {
    /// The beginning of the line: which files are for it. ELF, 64 bits, the byte order, version 1,
    /// any system's; a program, at a fixed place or not; the machine.
    fn pattern(self) -> String {
        let (order, kind, kind_mask, number) = match self.big_endian {
            false => (1, [2, 0], [0xfe, 0xff], [self.number, 0]),
            true => (2, [0, 2], [0xff, 0xfe], [0, self.number]),
        };
        let mut magic = vec![0x7f, b'E', b'L', b'F', 2, order, 1];
        magic.extend([0; 9]);
        magic.extend(kind.into_iter().chain(number));
        let mut mask = vec![0xff; 7];
        mask.push(0);
        mask.extend([0xff; 8]);
        mask.extend(kind_mask.into_iter().chain([0xff, 0xff]));
        let escaped =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        format!(":emulator:M::{}:{}:", escaped(&magic), escaped(&mask))
    }
}

/// Whether a program of this host's byte order and 64 bits names no other program that has to load
/// it (`PT_INTERP`).
fn is_static(head: &[u8]) -> bool {
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let place = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
        Some(match cfg!(target_endian = "big") {
            true => bytes.iter().fold(0, place),
            false => bytes.iter().rev().fold(0, place),
        })
    };
    let order = if cfg!(target_endian = "big") { 2 } else { 1 };
    let is_program = head.starts_with(&[0x7f, b'E', b'L', b'F', 2, order, 1]);
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut found = false;
        for index in 0..count {
            const PT_INTERP: usize = 3;
            let at = index.checked_mul(size)?.checked_add(table)?;
            found |= number(at, 4)? == PT_INTERP;
        }
        Some(found)
    };
    is_program && interpreted() == Some(false)
}

/// Registers an emulator for this user namespace, and returns what keeps it registered: a mount
/// that cannot be written to. Runs while the host's files still have their names.
pub(super) fn register(emulator: &Emulator) -> rustix::io::Result<OwnedFd> {
    const KIND: &CStr = c"binfmt_misc";
    let formats = mounts::file_system(KIND, &[], MountAttrFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&formats, c"register", flags, Mode::empty())?;
    let line = emulator.registration.to_bytes();
    if rustix::io::write(&file, line)? != line.len() {
        return Err(Errno::MSGSIZE);
    }
    mounts::file_system(KIND, &[], MountAttrFlags::MOUNT_ATTR_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM: Machine = Machine { number: 0xb7, big_endian: false };

    #[test]
    fn a_machine_s_programs_are_told_by_their_first_bytes() {
        let expected = r":emulator:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:";
        assert_eq!(ARM.pattern(), expected);
        let big = Machine { number: 22, big_endian: true }.pattern();
        assert!(big.starts_with(r":emulator:M::\x7f\x45\x4c\x46\x02\x02\x01"), "{big}");
        assert!(
            big.contains(r"\x00\x00\x02\x00\x16:") && big.ends_with(r"\xff\xff\xff\xfe\xff\xff:")
        );
    }

    /// The head of a program with one segment of this kind.
    fn program(segment: u32) -> Vec<u8> {
        let mut head =
            vec![0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "big") { 2 } else { 1 }, 1];
        head.resize(64, 0);
        head[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        head[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        head[56..58].copy_from_slice(&1_u16.to_ne_bytes());
        head.extend(segment.to_ne_bytes());
        head.resize(120, 0);
        head
    }

    #[test]
    fn only_a_static_program_with_a_plain_name_is_an_emulator() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs_err::write(&path, bytes).unwrap();
            Emulator::at(&path, ARM).unwrap()
        };
        let found = at("qemu", &program(1)).unwrap();
        assert!(found.registration.to_bytes().ends_with(b"/qemu:F"));
        for (name, bytes) in [
            ("dynamic", program(3)),
            ("script", b"#!/bin/sh\n".to_vec()),
            ("cut", program(1)[..66].to_vec()),
            ("a:b", program(1)),
            ("a b", program(1)),
        ] {
            assert_eq!(at(name, &bytes), None, "{name}");
        }
        assert!(Emulator::at(&folder.path().join("absent"), ARM).is_err());
    }
}
