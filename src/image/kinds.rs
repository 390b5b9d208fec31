//! The types of files as ext4, xfs and erofs write them: the upper four bits of a mode, and the number
//! that repeats them in a directory.
//!
//! Specification: POSIX's `st_mode` with Linux' values (inode(7)); the kernel's `fs_types.h`.

/// A pipe with a name.
pub(super) const FIFO: u16 = 0x1000;
/// A device of characters.
pub(super) const CHARACTER: u16 = 0x2000;
/// A directory.
pub(super) const DIRECTORY: u16 = 0x4000;
/// A device of blocks.
pub(super) const BLOCK: u16 = 0x6000;
/// A file with content.
pub(super) const REGULAR: u16 = 0x8000;
/// A symbolic link.
pub(super) const SYMLINK: u16 = 0xA000;
/// A socket with a name.
pub(super) const SOCKET: u16 = 0xC000;

/// The number by which a directory entry repeats the type of `mode`.
pub(super) const fn in_directory(mode: u16) -> u8 {
    match mode & 0xF000 {
        REGULAR => 1,
        DIRECTORY => 2,
        CHARACTER => 3,
        BLOCK => 4,
        FIFO => 5,
        SOCKET => 6,
        SYMLINK => 7,
        _ => 0,
    }
}
