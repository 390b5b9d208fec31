//! Reads `newc` archives, one after the other, as the kernel does.
//!
//! [`Entries`] goes through the headers and hands out data as a stream; [`read`] makes a tree of
//! them, keeping data wherever its caller wants. Names lead nowhere but into the tree: `..` is
//! refused, and links on the way are followed inside it. Where the kernel would skip an entry
//! without a word (missing directory, data on a device, a name that is too long), this is an error.
//! Archives that follow in another compression are left to the caller: see [`Entries::into_inner`].
//!
//! The rules are those of Linux, `init/initramfs.c`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use super::format::{ALIGNMENT, HEADER_LENGTH, Header, NAME_LIMIT, TRAILER, kind, padding};
use crate::digest::Digest;
use crate::image::Error;
use crate::tree::{self, Content, Device, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// More entries than this are an attack rather than an initrd.
const MAXIMUM_ENTRIES: u64 = 4 << 20;

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes.
    pub path: TreePath,
    /// Owner, mode and time. Attributes are always empty.
    pub meta: Meta,
    /// What it is. A regular file's content is empty here: its bytes come from [`Entries::data`].
    pub kind: Kind,
    /// How many bytes of data a regular file has in this entry.
    pub size: u64,
    /// What names of one file have in common; `None` for a file with one name.
    link: Option<LinkKey>,
}

/// What the kernel compares to find other names of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LinkKey {
    /// Inode numbers begin anew with each archive.
    archive: u64,
    device: (u32, u32),
    ino: u32,
    kind: u32,
}

/// The entries of one or several archives.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    /// Bytes taken from `input`.
    position: u64,
    /// Bytes of data, and of padding after it, that nobody has read yet.
    data_left: u64,
    padding_left: u64,
    count: u64,
    /// Archives that have ended.
    archives: u64,
    /// Whether an archive has begun and its trailer was not met.
    is_inside: bool,
}

/// What stood in an archive's place for the next header.
enum Next {
    Entry(Entry),
    Trailer,
}

impl<R: BufRead> Entries<R> {
    /// Reads archives from `input`, whose first byte is the first of a header or a NUL.
    pub fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            data_left: 0,
            padding_left: 0,
            count: 0,
            archives: 0,
            is_inside: false,
        }
    }

    /// Returns the next entry; `None` at the end, or before something that is neither a NUL nor
    /// the beginning of an archive, once an archive has ended.
    ///
    /// # Errors
    /// [`Error`]; after one, the entries end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_data()?;
        loop {
            if !self.is_inside && !self.find_archive()? {
                return Ok(None);
            }
            self.is_inside = true;
            match self.read_next()? {
                Next::Entry(entry) => return Ok(Some(entry)),
                Next::Trailer => {
                    self.is_inside = false;
                    self.archives = self.archives.saturating_add(1);
                }
            }
        }
    }

    /// The data of the entry that was returned last, as far as it was not read.
    pub fn data(&mut self) -> impl Read + '_ {
        Data { entries: self }
    }

    /// Gives back the input, at the place where the archives ended.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Skips NULs between archives. Returns whether another archive begins here.
    fn find_archive(&mut self) -> Result<bool, Error> {
        loop {
            let buffer = self.input.fill_buf().map_err(|source| Error::Read { source })?;
            let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
            let next = buffer.get(zeros).copied();
            let is_end = buffer.is_empty();
            self.input.consume(zeros);
            self.position = self.position.saturating_add(zeros as u64);
            match next {
                Some(b'0') if self.position.is_multiple_of(ALIGNMENT) => return Ok(true),
                Some(b'0') => return Err(self.broken("does not begin at a multiple of four bytes")),
                Some(_) if self.count == 0 && self.position == 0 => {
                    return Err(self.broken("does not begin with the magic 070701"));
                }
                Some(_) => return Ok(false),
                None if is_end => return Ok(false),
                None => {}
            }
        }
    }

    fn read_next(&mut self) -> Result<Next, Error> {
        self.count = self.count.saturating_add(1);
        if self.count > MAXIMUM_ENTRIES {
            return Err(self.broken("is one too many: no initrd has more than 4194304"));
        }
        let mut bytes = [0; HEADER_LENGTH];
        self.fill(&mut bytes)?;
        if bytes.starts_with(b"070707") || bytes.starts_with(&[0xc7, 0x71]) {
            return Err(Error::unsupported(self.place(), "a cpio archive older than newc"));
        }
        let header = Header::parse(&bytes).map_err(|rule| self.broken(rule))?;
        let name = self.read_name(header.namesize)?;
        if name == TRAILER {
            self.data_left = header.filesize.into();
            self.padding_left = padding(header.filesize.into());
            self.skip_data()?;
            return Ok(Next::Trailer);
        }
        let path = self.path(&name)?;
        Ok(Next::Entry(self.entry(path, header)?))
    }

    fn read_name(&mut self, namesize: u32) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(namesize).unwrap_or(usize::MAX);
        if !(2..=NAME_LIMIT + 1).contains(&length) {
            return Err(self.broken("has a name of no byte or of more than 4095"));
        }
        let with_padding = padding((HEADER_LENGTH as u64).saturating_add(namesize.into()));
        let fill = usize::try_from(with_padding).expect("padding is below four");
        let mut name = vec![0; length.saturating_add(fill)];
        self.fill(&mut name)?;
        name.truncate(length);
        if name.pop() != Some(0) {
            return Err(self.broken("has a name without a final NUL"));
        }
        // Some writers move the data to a block's beginning with further NULs after the name.
        let used =
            name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
        name.truncate(used);
        Ok(name)
    }

    fn path(&self, name: &[u8]) -> Result<TreePath, Error> {
        if name.is_empty() {
            return Err(self.broken("has an empty name"));
        }
        TreePath::parse(name).map_err(|source| misfit(self.count, &source))
    }

    /// Makes an entry of a header. Link targets are read here, other data is left.
    fn entry(&mut self, path: TreePath, header: Header) -> Result<Entry, Error> {
        let kind_bits = header.mode & kind::MASK;
        let device = Device { major: header.rdevmajor, minor: header.rdevminor };
        self.data_left = header.filesize.into();
        self.padding_left = padding(header.filesize.into());
        let kind = match kind_bits {
            kind::REGULAR => Kind::Regular(Content::empty()),
            kind::SYMLINK => Kind::Symlink(self.link_target(header.filesize)?),
            _ if header.filesize != 0 => {
                return Err(self.broken("has data but is neither a file nor a symbolic link"));
            }
            kind::DIRECTORY => Kind::Directory(BTreeMap::new()),
            kind::CHARACTER => Kind::CharacterDevice(device),
            kind::BLOCK => Kind::BlockDevice(device),
            kind::FIFO => Kind::Fifo,
            kind::SOCKET => Kind::Socket,
            _ => return Err(self.broken("is of no kind of file that Linux knows")),
        };
        let mut meta = Meta::root(0);
        meta.mode = u16::try_from(header.mode & 0o7777).expect("twelve bits fit");
        meta.uid = header.uid;
        meta.gid = header.gid;
        meta.mtime = header.mtime.into();
        let has_links = header.nlink >= 2 && kind_bits != kind::DIRECTORY;
        let device = (header.devmajor, header.devminor);
        let key = LinkKey { archive: self.archives, device, ino: header.ino, kind: kind_bits };
        let size = if kind_bits == kind::REGULAR { header.filesize.into() } else { 0 };
        Ok(Entry { path, meta, kind, size, link: has_links.then_some(key) })
    }

    fn link_target(&mut self, length: u32) -> Result<Box<[u8]>, Error> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > NAME_LIMIT {
            return Err(self.broken("has a link target of no byte or of more than 4095"));
        }
        let mut target = vec![0; length];
        self.fill(&mut target)?;
        self.data_left = 0;
        if target.contains(&0) {
            return Err(self.broken("has a NUL in its link target"));
        }
        Ok(target.into())
    }

    /// Passes what is left of the last entry's data, and the padding after it.
    fn skip_data(&mut self) -> Result<(), Error> {
        let mut left = self.data_left.saturating_add(self.padding_left);
        (self.data_left, self.padding_left) = (0, 0);
        while left > 0 {
            let buffer = self.input.fill_buf().map_err(|source| Error::Read { source })?;
            let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(self.broken("is cut short"));
            }
            self.input.consume(count);
            self.position = self.position.saturating_add(count as u64);
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.broken("is cut short"),
            _ => Error::Read { source },
        })?;
        self.position = self.position.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn place(&self) -> String {
        format!("cpio entry {} before byte {}", self.count, self.position)
    }

    fn broken(&self, rule: &'static str) -> Error {
        Error::broken(self.place(), rule)
    }
}

/// The unread data of one entry.
struct Data<'a, R> {
    entries: &'a mut Entries<R>,
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.entries.data_left).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        let count = self.entries.input.read(part)?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut short"));
        }
        self.entries.data_left = self.entries.data_left.saturating_sub(count as u64);
        self.entries.position = self.entries.position.saturating_add(count as u64);
        Ok(count)
    }
}

/// Takes the data of one file and says by which digest it can be had again, and how long it was.
pub type Keep<'a> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<(Digest, u64)>;

/// Puts the entries of all archives that `entries` holds into `tree`, as the kernel would.
///
/// # Errors
/// [`Error`], with the number of the entry.
pub fn read<R: BufRead>(
    entries: &mut Entries<R>,
    tree: &mut Tree,
    keep: Keep<'_>,
) -> Result<(), Error> {
    let mut links: BTreeMap<LinkKey, InodeId> = BTreeMap::new();
    loop {
        let Some(entry) = entries.next_entry()? else { return Ok(()) };
        let number = entries.count;
        let failed = |source: tree::Error| misfit(number, &source);
        let path = tree.resolve_parent(&entry.path).map_err(failed)?;
        let known = entry.link.and_then(|key| links.get(&key).copied());
        let id = match known {
            Some(first) => {
                tree.link_inode(&path, first).map_err(failed)?;
                first
            }
            None => {
                let inode = Inode { meta: entry.meta, kind: entry.kind };
                tree.insert(&path, inode).map_err(failed)?
            }
        };
        if let Some(key) = entry.link {
            links.insert(key, id);
        }
        if entry.size > 0 {
            let kept = keep(&mut entries.data());
            let (digest, size) = kept.map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => entries.broken("is cut short"),
                _ => Error::Read { source },
            })?;
            tree.inode_mut(id).kind = Kind::Regular(Content::Stored { digest, size });
        }
    }
}

/// The entry's name cannot be what it says, by itself or after the entries before it.
fn misfit(number: u64, why: &dyn std::error::Error) -> Error {
    Error::broken(format!("cpio entry {number} ({why})"), "has a place where nothing can be")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::image::cpio::write;
    use crate::image::initrd::digest_only;
    use crate::tree::NoContents;

    /// One entry as a hostile or sloppy writer would make it.
    fn entry(name: &[u8], mode: u32, data: &[u8]) -> Vec<u8> {
        linked(name, mode, data, (1, 1))
    }

    fn linked(name: &[u8], mode: u32, data: &[u8], (ino, nlink): (u32, u32)) -> Vec<u8> {
        let namesize = u32::try_from(name.len()).unwrap() + 1;
        let filesize = u32::try_from(data.len()).unwrap();
        let header = Header { ino, nlink, mode, namesize, filesize, ..Header::default() };
        let mut bytes = [&header.to_bytes(), name, &[0]].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        [entries.concat(), entry(TRAILER, 0, b"")].concat()
    }

    fn parse(bytes: impl BufRead) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        read(&mut Entries::new(bytes), &mut tree, &mut digest_only).map(|()| tree)
    }

    /// `path type detail` of everything but the root.
    fn lines(bytes: &[u8]) -> Vec<String> {
        let listing = parse(bytes).unwrap().to_listing();
        let fields = listing.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
        fields.map(|field| format!("{} {} {}", field[0], field[1], field[6])).collect()
    }

    fn refusal(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    const FILE: u32 = kind::REGULAR | 0o644;
    const DIRECTORY: u32 = kind::DIRECTORY | 0o755;
    const LINK: u32 = kind::SYMLINK | 0o777;

    #[test]
    fn c16_names_never_lead_out_of_the_tree() {
        let good = archive(&[entry(b"/etc", DIRECTORY, b""), entry(b"./etc/x", FILE, b"x")]);
        assert_eq!(lines(&good)[0], "/etc d -");
        assert!(lines(&good)[1].starts_with("/etc/x f 1 "));
        for bad in ["..", "a/../../b", "../x", "/../x"] {
            let message = refusal(&archive(&[entry(bad.as_bytes(), FILE, b"x")]));
            assert!(message.contains("contains `..`"), "{message}");
        }
    }

    #[test]
    fn c16_a_file_through_a_link_stays_inside() {
        let out = [entry(b"out", LINK, b"/tmp"), entry(b"tmp", DIRECTORY, b"")];
        let good = archive(&[&out[..], &[entry(b"out/x", FILE, b"")]].concat());
        assert!(lines(&good)[2].starts_with("/tmp/x f 0 "));
        let up = archive(&[entry(b"up", LINK, b"../../.."), entry(b"up/x", FILE, b"")]);
        assert!(lines(&up)[1].starts_with("/x f 0 "), "above the root is the root");
        let nowhere = archive(&[entry(b"out", LINK, b"/etc"), entry(b"out/passwd", FILE, b"")]);
        assert!(refusal(&nowhere).contains("/etc does not exist"), "{}", refusal(&nowhere));
    }

    #[test]
    fn c16_lengths_that_cannot_be_are_refused() {
        let good = entry(b"x", FILE, b"");
        assert!(parse(&archive(std::slice::from_ref(&good))[..]).is_ok());
        for size in ["00000000", "00000001", "00001001", "FFFFFFFF", "-0000001"] {
            let mut bad = good.clone();
            bad[94..102].copy_from_slice(size.as_bytes());
            assert!(refusal(&bad).starts_with("the image is broken: cpio entry 1"), "{size}");
        }
        let mut endless = good;
        endless[54..62].copy_from_slice(b"FFFFFFFF");
        assert!(refusal(&endless).contains("cut short"));
    }

    #[test]
    fn c16_hard_links_are_only_between_files_of_one_archive() {
        let names = [
            linked(b"a", FILE, b"", (7, 2)),
            linked(b"b", FILE, b"data", (7, 2)),
            linked(b"c", FILE, b"", (7, 1)),
        ];
        let twice = [archive(&names), archive(&[linked(b"d", FILE, b"", (7, 2))])].concat();
        let found = lines(&twice);
        assert!(found[0].starts_with("/a f 4 ") && found[1] == "/b h /a", "{found:?}");
        assert!(found[2].starts_with("/c f 0 ") && found[3].starts_with("/d f 0 "), "{found:?}");
    }

    #[test]
    fn links_with_the_data_in_any_place_are_the_same_file() {
        let names = |data: [&[u8]; 3]| {
            let all = [(b"a", data[0]), (b"b", data[1]), (b"c", data[2])];
            parse(&archive(&all.map(|(name, data)| linked(name, FILE, data, (9, 3))))[..]).unwrap()
        };
        let first = names([b"data", b"", b""]);
        assert_eq!(first.hard_links().len(), 1);
        assert_eq!(first, names([b"", b"data", b""]));
        assert_eq!(first, names([b"", b"", b"data"]));
    }

    #[test]
    fn archives_follow_each_other_as_the_kernel_reads_them() {
        let first = archive(&[entry(b"x", FILE, b"old"), entry(b"y", FILE, b"")]);
        let second = archive(&[entry(b"x", FILE, b"newer")]);
        let padded = [&first[..], &[0; 512], &second, &[0; 3]].concat();
        assert!(lines(&padded)[0].starts_with("/x f 5 "));
        let odd = [&first[..], &[0; 510], &second].concat();
        assert!(refusal(&odd).contains("does not begin at a multiple of four"));
        let mut rest = Entries::new([&first[..], b"\x1f\x8b"].concat().leak() as &[u8]);
        while rest.next_entry().unwrap().is_some() {}
        assert_eq!(rest.into_inner(), b"\x1f\x8b");
    }

    #[test]
    fn names_may_be_followed_by_further_nuls() {
        assert!(lines(&archive(&[entry(b"x\0\0\0\0", FILE, b"")]))[0].starts_with("/x f "));
        assert!(refusal(&archive(&[entry(b"x\0y", FILE, b"")])).contains("NUL"));
    }

    #[test]
    fn what_the_kernel_would_skip_in_silence_is_refused() {
        let cases: [(&[u8], u32, &[u8], &str); 6] = [
            (b"no/where", FILE, b"", "/no does not exist"),
            (b"null", kind::CHARACTER, b"data", "neither a file nor a symbolic link"),
            (b"x", 0o150_000, b"", "no kind of file"),
            (b"link", LINK, b"", "link target of no byte"),
            (b"link", LINK, b"a\0b", "NUL in its link target"),
            (b"link", LINK, &[b'a'; 4096], "more than 4095"),
        ];
        for (name, mode, data, rule) in cases {
            let message = refusal(&archive(&[entry(name, mode, data)]));
            assert!(message.contains(rule), "{message}");
        }
        let replaced = archive(&[entry(b"d", DIRECTORY, b""), entry(b"d", FILE, b"")]);
        assert!(refusal(&replaced).contains("/d is a directory"));
    }

    #[test]
    fn other_formats_are_told_apart_from_broken_ones() {
        let old = [&b"070707"[..], &[b'0'; 200]].concat();
        assert!(matches!(parse(&old[..]), Err(Error::Unsupported { .. })));
        assert!(matches!(parse(&b"PK\x03\x04"[..]), Err(Error::Broken { .. })));
        let unfinished = entry(b"x", FILE, b"");
        assert!(refusal(&unfinished).contains("cut short"), "there is no trailer");
    }

    #[test]
    fn short_reads_make_no_difference() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = buffer.len().min(3);
                self.0.read(&mut buffer[..count])
            }
        }
        let bytes = archive(&[entry(b"x", FILE, b"some data"), entry(b"l", LINK, b"x")]);
        let trickled = parse(io::BufReader::with_capacity(5, Trickle(&bytes))).unwrap();
        assert_eq!(trickled, parse(&bytes[..]).unwrap());
    }

    #[test]
    fn mutated_archives_never_panic_and_never_hold_more_than_was_there() {
        let mut tree = Tree::default();
        for name in ["a", "b", "c"] {
            let kind = Kind::Regular(Content::Inline(name.repeat(9).into_bytes().into()));
            let inode = Inode { meta: Meta::root(0o644), kind };
            tree.insert(&TreePath::parse(name).unwrap(), inode).unwrap();
        }
        let mut good = Vec::new();
        write(&tree, &NoContents, Epoch::default(), &mut good).unwrap();
        assert_eq!(parse(&good[..]).unwrap(), tree);
        for place in 0..good.len() {
            for value in [0, b'0', b'7', b'F', 0xff, good[place] ^ 1] {
                let mut bad = good.clone();
                bad[place] = value;
                if let Ok(tree) = parse(&bad[..]) {
                    assert!(tree.walk().count() <= 5);
                }
            }
        }
    }

    #[test]
    fn collected_attacks_are_refused_or_stay_inside() {
        let Some(folder) = crate::testing::data("malicious") else { return };
        let read_file = |name: &str| fs_err::read(folder.join(name)).unwrap();
        assert!(refusal(&read_file("dotdot.cpio")).contains("cpio"));
        if let Ok(tree) = parse(&read_file("test_compat_cpio_1.cpio")[..]) {
            assert!(tree.walk().count() > 1);
        }
        // Its first entry is the trailer, dressed up as a long link: GNU cpio, too, finds nothing.
        let tree = parse(&read_file("test_read_format_cpio_symlink_trailer.cpio")[..]).unwrap();
        assert_eq!(tree.walk().count(), 1);
    }
}
