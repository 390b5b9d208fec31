//! Builds guest images for Kata Containers.

pub mod configure;
pub mod digest;
pub mod distro;
pub mod epoch;
pub mod event;
pub mod fetch;
pub mod image;
pub mod lock;
pub mod package;
pub mod provision;
pub mod recipe;
pub mod resolve;
pub mod sandbox;
pub mod store;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod unpack;
