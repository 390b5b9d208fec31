//! Debian packages: the words of dpkg and apt.

pub mod scripts;
pub mod stanza;
