//! Small signed repositories made in memory, keys with every flaw, and a server that misbehaves.
//!
//! For tests only: nothing here is part of the program. A test makes a [`key::Key`], adds packages
//! to a [`repository::Repository`] or makes one of Alpine's kind ([`alpine::repository`]), and serves
//! its files with a [`server::Server`] or writes them into a folder for a `file://` address.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its input should stop at once")]

pub mod alpine;
pub mod alpine3;
pub mod key;
pub mod repository;
pub mod rpm;
pub mod server;
