//! rpm packages: the words of rpm and of rpm-md repositories.

pub mod archive;
pub mod capability;
pub mod database;
pub mod filelists;
pub mod files;
pub mod header;
pub mod info;
pub mod metalink;
pub mod modules;
pub mod order;
pub mod payload;
pub mod primary;
pub mod relation;
pub mod repomd;
pub mod scripts;
pub mod tag;
pub mod template;
pub mod users;
pub mod version;
pub mod xml;
