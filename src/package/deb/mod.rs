//! Debian packages: the words of dpkg and apt.

pub mod archive;
pub mod control;
pub mod database;
pub mod index;
pub mod relation;
pub mod scripts;
pub mod stanza;
pub mod version;
