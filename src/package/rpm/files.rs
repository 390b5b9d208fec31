//! The files of a package, as its header lists them: everything about them but their contents.
//!
//! In: a header; out: files in the header's order, whose paths are clean. A signature covers the
//! header, and so all of this; of the payload only the contents count. Lists of a header that are
//! shorter than the list of names are refused. Specification: rpm's documentation of tags.

use super::header::Header;
use super::tag;
use crate::tree::{BadPath, Device, TreePath};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it goes.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u16,
    /// Last modification, in seconds since 1970.
    pub mtime: i64,
    /// The owner's name.
    pub user: Box<[u8]>,
    /// The group's name.
    pub group: Box<[u8]>,
    /// What it is for: rpm's bits.
    pub flags: u32,
    /// 1 for programs of 32 bits, 2 for those of 64, 0 for anything else.
    pub color: u32,
    /// Capabilities, as text; mostly empty.
    pub capabilities: Box<[u8]>,
    /// Files with the same number here are one file with several names, if they are regular.
    pub link: (u64, u64),
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file, with its size in bytes and the digest that its package names.
    Regular {
        /// Bytes.
        size: u64,
        /// The digest in hexadecimal; empty, if there is none.
        digest: Box<[u8]>,
    },
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

impl File {
    const CONFIG: u32 = 1;
    const GHOST: u32 = 1 << 6;

    /// Whether it is configuration, which people change.
    pub const fn is_configuration(&self) -> bool {
        self.flags & Self::CONFIG != 0
    }

    /// Whether the package owns it without bringing it.
    pub const fn is_ghost(&self) -> bool {
        self.flags & Self::GHOST != 0
    }
}

/// Whether the digests of files are SHA-256; older packages have MD5.
pub fn has_sha256(header: &Header) -> bool {
    header.number(tag::FILE_DIGEST_ALGORITHM) == Some(8)
}

/// Reads the list of files.
///
/// # Errors
/// [`Error`]
pub fn files(header: &Header) -> Result<Vec<File>, Error> {
    if header.has(tag::OLD_FILE_NAMES) {
        return Err(Error::Old);
    }
    let names: Vec<&[u8]> = header.texts(tag::BASE_NAMES).collect();
    let lists = Lists::read(header, names.len())?;
    names.iter().enumerate().map(|(number, name)| lists.file(number, name)).collect()
}

/// The lists of a header, each as long as the list of names.
struct Lists<'a> {
    folders: Vec<&'a [u8]>,
    folder: Vec<u64>,
    sizes: Vec<u64>,
    modes: Vec<u64>,
    rdevs: Vec<u64>,
    mtimes: Vec<u64>,
    digests: Vec<&'a [u8]>,
    targets: Vec<&'a [u8]>,
    flags: Vec<u64>,
    users: Vec<&'a [u8]>,
    groups: Vec<&'a [u8]>,
    colors: Vec<u64>,
    capabilities: Vec<&'a [u8]>,
    devices: Vec<u64>,
    inodes: Vec<u64>,
}

impl<'a> Lists<'a> {
    fn read(header: &'a Header, count: usize) -> Result<Self, Error> {
        let numbers = |tag: u32| match header.numbers(tag).collect::<Vec<_>>() {
            list if list.len() == count => Ok(list),
            _ => Err(Error::List { tag }),
        };
        let texts = |tag: u32| match header.texts(tag).collect::<Vec<_>>() {
            list if list.len() == count => Ok(list),
            _ => Err(Error::List { tag }),
        };
        let perhaps = |tag: u32| if header.has(tag) { numbers(tag) } else { Ok(Vec::new()) };
        let long = header.has(tag::LONG_FILE_SIZES);
        Ok(Self {
            folders: header.texts(tag::DIRECTORY_NAMES).collect(),
            folder: numbers(tag::DIRECTORY_INDEXES)?,
            sizes: numbers(if long { tag::LONG_FILE_SIZES } else { tag::FILE_SIZES })?,
            modes: numbers(tag::FILE_MODES)?,
            rdevs: perhaps(tag::FILE_RDEVS)?,
            mtimes: numbers(tag::FILE_MTIMES)?,
            digests: texts(tag::FILE_DIGESTS)?,
            targets: texts(tag::FILE_LINKS)?,
            flags: numbers(tag::FILE_FLAGS)?,
            users: texts(tag::FILE_USERS)?,
            groups: texts(tag::FILE_GROUPS)?,
            colors: perhaps(tag::FILE_COLORS)?,
            capabilities: match header.has(tag::FILE_CAPABILITIES) {
                true => texts(tag::FILE_CAPABILITIES)?,
                false => Vec::new(),
            },
            devices: perhaps(tag::FILE_DEVICES)?,
            inodes: perhaps(tag::FILE_INODES)?,
        })
    }

    fn file(&self, number: usize, name: &[u8]) -> Result<File, Error> {
        let folder = self.folder.get(number).and_then(|at| usize::try_from(*at).ok());
        let folder = folder.and_then(|at| self.folders.get(at)).ok_or(Error::Folder)?;
        if !folder.starts_with(b"/") || name.contains(&b'/') {
            return Err(Error::Folder);
        }
        let path = TreePath::parse([folder, name].concat())?;
        let mode = at(&self.modes, number);
        let word = |list: &[&[u8]]| Box::from(list.get(number).copied().unwrap_or_default());
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(File {
            kind: self.kind(number, mode).ok_or_else(|| Error::Kind { path: path.clone() })?,
            path,
            mode: u16::try_from(mode & 0o7777).unwrap_or(0),
            mtime: i64::try_from(at(&self.mtimes, number)).unwrap_or(i64::MAX),
            user: word(&self.users),
            group: word(&self.groups),
            flags: narrow(at(&self.flags, number)),
            color: narrow(at(&self.colors, number)),
            capabilities: word(&self.capabilities),
            link: (at(&self.devices, number), at(&self.inodes, number)),
        })
    }

    /// As in stat(2); the numbers of devices as the kernel's old encoding has them.
    fn kind(&self, number: usize, mode: u64) -> Option<Kind> {
        let word = |list: &[&[u8]]| Box::from(list.get(number).copied().unwrap_or_default());
        let device = || {
            let packed = at(&self.rdevs, number);
            let part = |value: u64| u32::try_from(value).unwrap_or(0);
            Device {
                major: part(packed >> 8 & 0xfff),
                minor: part(packed & 0xff | packed >> 12 & 0xfff00),
            }
        };
        Some(match mode & 0o170_000 {
            0o040_000 => Kind::Directory,
            0o100_000 => {
                Kind::Regular { size: at(&self.sizes, number), digest: word(&self.digests) }
            }
            0o120_000 => Kind::Symlink(word(&self.targets)),
            0o020_000 => Kind::CharacterDevice(device()),
            0o060_000 => Kind::BlockDevice(device()),
            0o010_000 => Kind::Fifo,
            _ => return None,
        })
    }
}

fn at(list: &[u64], number: usize) -> u64 {
    list.get(number).copied().unwrap_or(0)
}

/// Why a list of files cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its paths are written as before 1999.
    #[error("its files are listed in a form that was given up in 1999, which is not supported")]
    Old,
    /// A list is not as long as that of names.
    #[error("its list {tag} of files does not fit that of their names")]
    List {
        /// The list's tag.
        tag: u32,
    },
    /// A file is in no directory.
    #[error("one of its files is in a directory that cannot be")]
    Folder,
    /// A path leads elsewhere.
    #[error("the path of one of its files cannot be")]
    Path(#[from] BadPath),
    /// A file is of a kind that packages cannot bring.
    #[error("{path} is of a kind that no package can bring")]
    Kind {
        /// Which.
        path: TreePath,
    },
}
