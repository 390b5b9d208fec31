//! Writes a tree as an image, and reads images back.
//!
//! Comes in: a [`Tree`](crate::tree::Tree) and where its contents are. Goes out: the bytes of a
//! disk image or an initrd, the same ones on every machine. Nothing here reads a clock, makes a
//! random number, mounts, or starts a process. Names and renames of files are the caller's.

mod ahead;
mod block_contents;
mod blocks;
pub mod cpio;
mod crc32c;
mod disk;
pub mod erofs;
mod error;
pub mod ext4;
mod fields;
mod file_system;
pub mod gzip;
pub mod initrd;
mod kinds;
mod known;
mod layout;
mod medium;
pub mod nvdimm;
mod packing;
mod pieces;
mod read;
mod sparse;
mod stray;
pub mod table;
mod uuid;
mod verified;
pub mod verity;
pub mod xfs;

pub use block_contents::BlockContents;
pub use disk::{Image, Plan, check, plan, write};
pub(crate) use disk::{add_lost_and_found, add_machine_id};
pub use error::Error;
pub use file_system::{FileSystem, Summary, kind};
pub use medium::{Medium, Stream, Window};
pub use read::{Disk, Parts, parts, read};
pub(crate) use uuid::uuid_of;
