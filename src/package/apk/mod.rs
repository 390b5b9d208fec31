//! Alpine packages: the words of apk.

pub mod archive;
pub mod checksum;
pub mod database;
pub mod index;
pub mod info;
pub mod order;
pub mod relation;
pub mod scripts;
pub mod segment;
pub mod version;
