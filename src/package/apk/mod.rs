//! Alpine packages: the words of apk.

pub mod adb;
pub mod archive;
pub mod archive3;
pub mod blocks;
pub mod checksum;
pub mod database;
pub mod index;
pub mod info;
pub mod order;
pub mod relation;
pub mod schema;
pub mod scripts;
pub mod segment;
pub mod version;
