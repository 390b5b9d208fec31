//! The `newc` archive: the form in which the kernel takes an initial root file system.
//!
//! `writer` turns a tree into one archive, `reader` turns one or several archives, one after the
//! other as the kernel accepts them, back into a tree, and `format` holds what both must agree on.
//! Neither knows about compression (`image::gzip`), and neither touches the disk.

mod format;
mod reader;
mod writer;

pub use reader::{Entries, Entry, Keep, read};
pub use writer::{Summary, write};
