//! Why an image could not be written or read.

use std::io;

use crate::tree::TreePath;

/// Why an image could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The medium failed while writing.
    #[error("cannot write the image")]
    Write {
        /// What the medium said.
        source: io::Error,
    },
    /// The medium failed while reading.
    #[error("cannot read the image")]
    Read {
        /// What the medium said.
        source: io::Error,
    },
    /// The content of a file could not be read, has another size than the tree says, or another
    /// digest.
    #[error("cannot read the content of {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// What its reader said.
        source: io::Error,
    },
    /// A file has a property that the format has no room for. Nothing is ever cut or wrapped.
    #[error("{path} cannot be kept in {format}: {rule}")]
    CannotHold {
        /// The file.
        path: TreePath,
        /// The format: `ext4`, `cpio`.
        format: &'static str,
        /// The limit, and what exceeds it.
        rule: String,
    },
    /// The whole is larger than the format allows.
    #[error("the image would be too large for {format}: {rule}")]
    TooLarge {
        /// The format: `ext4`, `MBR`.
        format: &'static str,
        /// The limit.
        rule: String,
    },
    /// An option that no image can have.
    #[error("the image option {option} cannot be {value}: {rule}")]
    BadOption {
        /// The option, as the recipe calls it.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// What would be right.
        rule: &'static str,
    },
    /// The bytes break a rule of their format.
    #[error("the image is broken: {place}: {rule}")]
    Broken {
        /// Where: `inode 12`, `block 77`, `superblock`.
        place: String,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// The bytes may be right, but use something that this reader does not know.
    #[error("the image is not supported: {place}: {feature}")]
    Unsupported {
        /// Where: `inode 12`, `superblock`.
        place: String,
        /// What is not known.
        feature: String,
    },
    /// An image that was just written does not hold the tree that it was written from.
    #[error("the image does not hold what was written: {difference}")]
    Differs {
        /// The first lines of the two listings that differ.
        difference: String,
    },
}

impl Error {
    /// An [`Error::Broken`].
    pub(crate) fn broken(place: impl Into<String>, rule: &'static str) -> Self {
        Self::Broken { place: place.into(), rule }
    }

    /// An [`Error::Unsupported`].
    pub(crate) fn unsupported(place: impl Into<String>, feature: impl Into<String>) -> Self {
        Self::Unsupported { place: place.into(), feature: feature.into() }
    }
}
