//! What can go wrong between a build and the disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::tree::{BadPath, ListingError, TreePath};

/// Why something could not be kept, found or put in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the disk failed.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried: "create", "read" …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The cache folder belongs to somebody else, who could change what is in it.
    #[error("the cache {} belongs to user {owner}, and this is user {user}: choose another folder", path.display())]
    ForeignCache {
        /// The cache.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Whoever runs the build.
        user: u32,
    },
    /// Others may write into the cache.
    #[error("others may write into the cache {} (mode {mode:04o}): run `chmod go-w` on it, or choose another folder", path.display())]
    OpenCache {
        /// The cache.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder was laid out by another version, or is no cache.
    #[error("{} is not a cache of this version: its layout file says {found:?}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The start of what its layout file says.
        found: String,
    },
    /// Something stands where the cache keeps its own files, and it is of another type.
    #[error("{} should be {expected}: somebody has put something else there", path.display())]
    Planted {
        /// Where.
        path: PathBuf,
        /// What it should be: "a directory", "a regular file".
        expected: &'static str,
    },
    /// The cache cannot be written, and something new was to be kept.
    #[error("the cache {} is read-only", path.display())]
    ReadOnly {
        /// The cache.
        path: PathBuf,
    },
    /// Builds are using the cache, so nothing may be removed from it.
    #[error("the cache {} is in use by a running build", path.display())]
    Busy {
        /// The cache.
        path: PathBuf,
    },
    /// Bytes that were to be kept are not those that were announced.
    #[error(
        "{found_size} bytes with digest {found} came instead of {size} bytes with digest {expected}"
    )]
    Mismatch {
        /// The announced digest.
        expected: Digest,
        /// The announced size.
        size: u64,
        /// The digest of what came, as far as it was read.
        found: Digest,
        /// How much was read: at most one byte more than announced.
        found_size: u64,
    },
    /// Whoever supplied bytes to be kept failed to.
    #[error("the bytes to be kept could not be read")]
    Source(#[source] io::Error),
    /// The kind of a record is used as a name on disk, and this one is not fit for it.
    #[error("{0:?} cannot name a kind of record (a to z, 0 to 9 and hyphens, at most 32)")]
    BadKind(String),
    /// The content of a file of a tree could not be read.
    #[error("cannot read the content of {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// A directory holds a name or a depth that no tree can hold.
    #[error("cannot read the directory {}", directory.display())]
    Path {
        /// The directory that was read.
        directory: PathBuf,
        /// Which rule the path breaks.
        source: BadPath,
    },
    /// Another file system is mounted somewhere in a directory that was to be read.
    #[error("{} is a mount point: unmount it first", path.display())]
    MountPoint {
        /// Where.
        path: PathBuf,
    },
    /// A file changed between two looks at it.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The listing beside a directory is damaged.
    #[error("cannot understand {}", path.display())]
    Listing {
        /// The listing.
        path: PathBuf,
        /// What is wrong in it.
        source: ListingError,
    },
    /// The listing beside a directory is of another version, or something else.
    #[error("{} is not a listing of owners that this version knows", path.display())]
    ListingVersion {
        /// The listing.
        path: PathBuf,
    },
    /// An output would replace something that must not be replaced.
    #[error("will not replace {}: {reason}", path.display())]
    WillNotReplace {
        /// The output.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
}

impl Error {
    /// Makes an error of what the kernel answered to `action` on `path`.
    pub(super) fn disk<E: Into<io::Error>>(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Disk { action, path: path.as_ref().into(), source: source.into() }
    }

    /// What the kernel answered, if this came from the disk.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Disk { source, .. } | Self::Source(source) | Self::Content { source, .. } => {
                Some(source.kind())
            }
            _ => None,
        }
    }
}
