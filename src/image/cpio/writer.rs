//! Writes a tree as one `newc` archive: the same tree gives the same bytes.
//!
//! Entries stand in the order of the tree's walk, inodes are counted from one, times are clamped
//! to the epoch. Of several names of one file all but the last come without data, as GNU cpio
//! writes them; the kernel makes the links as it meets them, whichever name has the data. What the
//! format cannot hold is an error that names the file; extended attributes, which it has no
//! place for at all, are counted in the [`Summary`].

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::format::{
    HEADER_LENGTH, Header, Limit, MAJOR_LIMIT, MINOR_LIMIT, NAME_LIMIT, TRAILER, kind, padding,
};
use crate::epoch::Epoch;
use crate::image::Error;
use crate::tree::{Content, Contents, Device, Inode, InodeId, Kind, Tree, TreePath};

/// The archive's length is a multiple of this many bytes, as cpio's own are.
const RECORD: u64 = 512;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Entries, the root directory among them, the trailer not.
    pub entries: u64,
    /// The archive's length in bytes.
    pub size: u64,
    /// Files whose extended attributes stayed behind, because the format has no place for them.
    pub without_attributes: Vec<TreePath>,
}

/// Writes `tree` to `output`, times no later than `epoch`.
///
/// # Errors
/// [`Error::CannotHold`] for what the format has no room for, found before the first byte is
/// written; [`Error::Content`] and [`Error::Write`] for the two media.
pub fn write(
    tree: &Tree,
    contents: &dyn Contents,
    epoch: Epoch,
    output: &mut dyn Write,
) -> Result<Summary, Error> {
    let entries = plan(tree, epoch)?;
    let mut archive = Archive { output, position: 0 };
    for entry in &entries {
        archive.entry(entry, contents)?;
    }
    archive.trailer()?;
    let mut without_attributes = Vec::new();
    for (path, _, inode) in tree.walk() {
        if !inode.meta.xattrs.is_empty() {
            without_attributes.push(path);
        }
    }
    Ok(Summary { entries: entries.len() as u64, size: archive.position, without_attributes })
}

/// One entry, its header complete.
struct Entry<'a> {
    path: TreePath,
    header: Header,
    body: Body<'a>,
}

enum Body<'a> {
    None,
    Target(&'a [u8]),
    File(&'a Content),
}

/// Makes all headers, so that a limit is met before anything is written.
fn plan(tree: &Tree, epoch: Epoch) -> Result<Vec<Entry<'_>>, Error> {
    let links = tree.hard_links();
    let mut numbers: BTreeMap<InodeId, u32> = BTreeMap::new();
    let mut names_left = links.clone();
    let mut entries = Vec::new();
    for (path, id, inode) in tree.walk() {
        let refuse = |limit: Limit| Error::CannotHold {
            path: path.clone(),
            format: "an initrd",
            rule: limit.to_string(),
        };
        let count = numbers.len();
        let next = u32::try_from(count).ok().and_then(|count| count.checked_add(1));
        let next = next.ok_or_else(|| refuse(Limit::Inodes))?;
        let ino = *numbers.entry(id).or_insert(next);
        let nlink = match inode.kind {
            Kind::Directory(_) => 2,
            _ => links.get(&id).copied().unwrap_or(1),
        };
        let left = names_left.entry(id).and_modify(|left| *left = left.saturating_sub(1));
        let is_last_name = *left.or_insert(0) == 0;
        let (header, body) = describe(inode, epoch, is_last_name).map_err(refuse)?;
        let namesize = name_size(&path).map_err(refuse)?;
        entries.push(Entry { header: Header { ino, nlink, namesize, ..header }, body, path });
    }
    Ok(entries)
}

/// Everything of the header that the inode alone determines, and the data that this name carries.
fn describe(inode: &Inode, epoch: Epoch, is_last_name: bool) -> Result<(Header, Body<'_>), Limit> {
    let body = match &inode.kind {
        Kind::Regular(content) if is_last_name => Body::File(content),
        Kind::Symlink(target) => Body::Target(target),
        _ => Body::None,
    };
    let size = match &body {
        Body::None => 0,
        Body::File(content) => content.size(),
        Body::Target(target) if target.is_empty() || target.len() > NAME_LIMIT => {
            return Err(Limit::Name);
        }
        Body::Target(target) => target.len() as u64,
    };
    let (kind_bits, device) = kind_of(&inode.kind);
    if device.major > MAJOR_LIMIT || device.minor > MINOR_LIMIT {
        return Err(Limit::Device);
    }
    let header = Header {
        mode: kind_bits | u32::from(inode.meta.mode),
        uid: inode.meta.uid,
        gid: inode.meta.gid,
        mtime: u32::try_from(epoch.clamp(inode.meta.mtime)).map_err(|_| Limit::Time)?,
        filesize: u32::try_from(size).map_err(|_| Limit::Size)?,
        rdevmajor: device.major,
        rdevminor: device.minor,
        ..Header::default()
    };
    Ok((header, body))
}

const fn kind_of(of: &Kind) -> (u32, Device) {
    const NO_DEVICE: Device = Device { major: 0, minor: 0 };
    match of {
        Kind::Directory(_) => (kind::DIRECTORY, NO_DEVICE),
        Kind::Regular(_) => (kind::REGULAR, NO_DEVICE),
        Kind::Symlink(_) => (kind::SYMLINK, NO_DEVICE),
        Kind::CharacterDevice(device) => (kind::CHARACTER, *device),
        Kind::BlockDevice(device) => (kind::BLOCK, *device),
        Kind::Fifo => (kind::FIFO, NO_DEVICE),
        Kind::Socket => (kind::SOCKET, NO_DEVICE),
    }
}

/// The name as the archive holds it: no leading slash, `.` for the root.
fn archive_name(path: &TreePath) -> &[u8] {
    if path.is_root() { b"." } else { path.as_bytes() }
}

/// The length of a name with its NUL.
fn name_size(path: &TreePath) -> Result<u32, Limit> {
    let name = archive_name(path);
    match name.len() {
        _ if name == TRAILER => Err(Limit::Trailer),
        length @ 1..=NAME_LIMIT => Ok(u32::try_from(length).map_err(|_| Limit::Name)? + 1),
        _ => Err(Limit::Name),
    }
}

/// The archive so far.
struct Archive<'a> {
    output: &'a mut dyn Write,
    /// Bytes written.
    position: u64,
}

impl Archive<'_> {
    fn entry(&mut self, entry: &Entry<'_>, contents: &dyn Contents) -> Result<(), Error> {
        self.head(entry.header, archive_name(&entry.path))?;
        match entry.body {
            Body::None => {}
            Body::Target(target) => self.put(target)?,
            Body::File(content) => self.file(&entry.path, content, contents)?,
        }
        self.pad_to(super::format::ALIGNMENT)
    }

    /// Writes header and name with their padding.
    fn head(&mut self, header: Header, name: &[u8]) -> Result<(), Error> {
        let mut bytes = header.to_bytes();
        debug_assert_eq!(bytes.len(), HEADER_LENGTH, "a header has one length");
        bytes.extend_from_slice(name);
        bytes.push(0);
        let fill = usize::try_from(padding(bytes.len() as u64)).expect("padding is below four");
        bytes.resize(bytes.len().saturating_add(fill), 0);
        self.put(&bytes)
    }

    /// Copies a file's bytes, which must be as many as the tree says.
    fn file(
        &mut self,
        path: &TreePath,
        content: &Content,
        contents: &dyn Contents,
    ) -> Result<(), Error> {
        let failed = |source| Error::Content { path: path.clone(), source };
        let wrong_size = || failed(io::Error::other("it has another size than the tree says"));
        let mut reader = content.open_unhashed(contents).map_err(failed)?;
        let mut buffer = vec![0; 128 << 10];
        let mut left = content.size();
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            if count == 0 && left == 0 {
                return Ok(());
            }
            let fits = count > 0 && count as u64 <= left;
            let bytes = buffer.get(..count).filter(|_| fits);
            self.put(bytes.ok_or_else(wrong_size)?)?;
            left = left.saturating_sub(count as u64);
        }
    }

    fn trailer(&mut self) -> Result<(), Error> {
        let namesize = u32::try_from(TRAILER.len()).expect("the trailer's name is short") + 1;
        self.head(Header { nlink: 1, namesize, ..Header::default() }, TRAILER)?;
        self.pad_to(RECORD)
    }

    fn pad_to(&mut self, multiple: u64) -> Result<(), Error> {
        let fill = self.position.wrapping_neg() % multiple;
        let zeros = [0; RECORD as usize];
        let fill = usize::try_from(fill).expect("padding is below a record");
        self.put(zeros.get(..fill).expect("padding is below a record"))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write_all(bytes).map_err(|source| Error::Write { source })?;
        self.position = self.position.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::digest::Digest;
    use crate::image::cpio::{Entries, read};
    use crate::tree::{Meta, NoContents, escape};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn put(tree: &mut Tree, name: &str, kind: Kind) {
        let mut meta = Meta::root(0o4751);
        (meta.uid, meta.gid, meta.mtime) = (u32::MAX, 42, 1_000);
        tree.insert(&path(name), Inode { meta, kind }).unwrap();
    }

    fn file(text: &str) -> Kind {
        Kind::Regular(Content::Inline(text.as_bytes().into()))
    }

    fn sample() -> Tree {
        let mut tree = Tree::new(Meta::root(0o711));
        put(&mut tree, "dev", Kind::Directory(BTreeMap::new()));
        put(&mut tree, "dev/null", Kind::CharacterDevice(Device { major: 1, minor: 3 }));
        let largest = Device { major: MAJOR_LIMIT, minor: MINOR_LIMIT };
        put(&mut tree, "dev/sda", Kind::BlockDevice(largest));
        put(&mut tree, "pipe", Kind::Fifo);
        put(&mut tree, "socket", Kind::Socket);
        put(&mut tree, "sh", Kind::Symlink(b"\xff nowhere".as_slice().into()));
        put(&mut tree, "z", file("some text"));
        put(&mut tree, "dev/TRAILER!!!", file(""));
        tree.link(&path("a"), &path("z")).unwrap();
        tree.link(&path("dev/m"), &path("z")).unwrap();
        tree.link(&path("dev/zero"), &path("dev/null")).unwrap();
        tree
    }

    fn archive(tree: &Tree) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let epoch = Epoch::new(u64::from(u32::MAX) + 1).unwrap();
        let summary = write(tree, &NoContents, epoch, &mut bytes)?;
        assert_eq!(summary.size, bytes.len() as u64);
        Ok(bytes)
    }

    #[test]
    fn a_tree_read_back_is_the_same() {
        let tree = sample();
        let mut back = Tree::default();
        let bytes = archive(&tree).unwrap();
        read(&mut Entries::new(&bytes[..]), &mut back, &mut |data| Digest::of_reader(data))
            .unwrap();
        assert_eq!(back.to_listing(), tree.to_listing());
    }

    #[test]
    fn k1_the_bytes_are_pinned() {
        let bytes = archive(&sample()).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let expected = "71b8c1abd163bfeba7821dd1a41696ca1035f8f20eae5d61747dfc430ccdb57e";
        assert_eq!(Digest::of(&bytes).to_string(), expected);
    }

    #[test]
    fn only_the_last_name_of_a_file_has_its_data() {
        let bytes = archive(&sample()).unwrap();
        let mut entries = Entries::new(&bytes[..]);
        let mut sizes = Vec::new();
        while let Some(entry) = entries.next_entry().unwrap() {
            if matches!(entry.kind, Kind::Regular(_)) {
                sizes.push((entry.path.to_string(), entry.size));
            }
        }
        let expected = [("/a", 0), ("/dev/TRAILER!!!", 0), ("/dev/m", 0), ("/z", 9)];
        assert_eq!(sizes, expected.map(|(name, size)| (name.to_owned(), size)));
    }

    #[test]
    fn times_after_the_epoch_become_the_epoch() {
        let mut tree = Tree::default();
        tree.inode_mut(tree.root()).meta.mtime = i64::MAX;
        let mut bytes = Vec::new();
        write(&tree, &NoContents, Epoch::new(77).unwrap(), &mut bytes).unwrap();
        let root = Entries::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!(root.meta.mtime, 77);
    }

    #[test]
    fn f20_what_the_format_cannot_hold_is_refused_by_name() {
        let stored = |size| Kind::Regular(Content::Stored { digest: Digest::of(b""), size });
        let device = |major, minor| Kind::BlockDevice(Device { major, minor });
        let target = |length| Kind::Symlink(vec![b'a'; length].into());
        let cases = [
            ("big", stored(1 << 32), 0, "4 GiB"),
            ("old", file(""), -1, "between 1970 and February 2106"),
            ("late", file(""), 1 << 32, "between 1970 and February 2106"),
            ("disk", device(1 << 12, 0), 0, "below 4096"),
            ("disk", device(0, 1 << 20), 0, "below 1048576"),
            ("link", target(4096), 0, "4095 bytes"),
            ("link", target(0), 0, "4095 bytes"),
            ("TRAILER!!!", file(""), 0, "ends an archive"),
        ];
        for (name, kind, mtime, rule) in cases {
            let mut tree = Tree::default();
            let meta = Meta { mtime, ..Meta::root(0o644) };
            tree.insert(&path(name), Inode { meta, kind }).unwrap();
            let message = archive(&tree).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("/{name} ")) && message.contains(rule),
                "{message}"
            );
        }
        let mut tree = Tree::default();
        let neighbours = [("link", target(4095)), ("disk", device(4095, (1 << 20) - 1))];
        for (name, kind) in neighbours {
            let meta = Meta { mtime: u32::MAX.into(), ..Meta::root(0o644) };
            tree.insert(&path(name), Inode { meta, kind }).unwrap();
        }
        assert!(archive(&tree).is_ok());
        let mut entry = Tree::default();
        entry
            .insert(&path("x"), Inode { meta: Meta::root(0), kind: stored((1 << 32) - 1) })
            .unwrap();
        assert!(plan(&entry, Epoch::default()).is_ok());
    }

    #[test]
    fn contents_of_another_size_are_refused() {
        struct Liar;
        impl Contents for Liar {
            fn open(&self, _: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
                Ok(Box::new(&b"four"[..]))
            }
        }
        for (size, is_right) in [(3, false), (4, true), (5, false)] {
            let mut tree = Tree::default();
            let kind = Kind::Regular(Content::Stored { digest: Digest::of(b""), size });
            tree.insert(&path("x"), Inode { meta: Meta::root(0), kind }).unwrap();
            let result = write(&tree, &Liar, Epoch::default(), &mut Vec::new());
            assert_eq!(result.is_ok(), is_right, "{size}");
        }
    }

    #[test]
    fn attributes_left_behind_are_reported() {
        let mut tree = sample();
        let z = tree.get_mut(&path("z")).unwrap();
        z.meta.xattrs.insert(b"security.capability".to_vec(), vec![1]);
        let summary = write(&tree, &NoContents, Epoch::default(), &mut Vec::new()).unwrap();
        assert_eq!(summary.without_attributes, [path("a"), path("dev/m"), path("z")]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the judge is another program")]
    fn cpio_lists_what_was_written() {
        let program =
            Command::new("cpio").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = program else { return crate::testing::skip("cpio is not installed") };
        child.stdin.take().unwrap().write_all(&archive(&sample()).unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        let expected =
            ".\na\ndev\ndev/TRAILER!!!\ndev/m\ndev/null\ndev/sda\ndev/zero\npipe\nsh\nsocket\nz\n";
        assert_eq!(escape(&output.stdout), escape(expected.as_bytes()));
    }
}
