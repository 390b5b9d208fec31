//! Writes a tree as an image, and reads images back.
//!
//! Comes in: a [`Tree`](crate::tree::Tree) and where its contents are. Goes out: the bytes of a
//! disk image or an initrd, the same ones on every machine. Nothing here reads a clock, makes a
//! random number, mounts, or starts a process. Names and renames of files are the caller's.

pub mod cpio;
mod disk;
mod error;
pub mod ext4;
pub mod gzip;
pub mod initrd;
mod layout;
mod medium;
pub mod nvdimm;
mod sparse;
pub mod table;
mod uuid;
pub mod verity;

pub use disk::{Disk, Image, Plan, check, plan, read, write};
pub use error::Error;
pub use medium::{Medium, Stream, Window};
pub(crate) use uuid::uuid_of;
