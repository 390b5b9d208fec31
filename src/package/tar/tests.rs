//! Archives made in memory, good ones and near misses.

use super::*;
use crate::testing::Stuttering;

/// Makes archives for tests: each call adds an entry, fields can be spoilt before.
#[derive(Debug, Default, Clone)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

/// A header to be written, with what most entries have filled in.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) type_flag: u8,
    pub(crate) mode: u64,
    pub(crate) target: &'a [u8],
    pub(crate) content: &'a [u8],
    /// Written in place of the length of the content.
    pub(crate) size: Option<[u8; 12]>,
    pub(crate) device: (u64, u64),
    pub(crate) ids: (u64, u64),
    pub(crate) owner: &'a str,
}

impl<'a> Member<'a> {
    pub(crate) fn new(name: &'a str, type_flag: u8) -> Self {
        let mode = if type_flag == b'5' { 0o755 } else { 0o644 };
        let (target, content) = (&b""[..], &b""[..]);
        let (size, device, ids, owner) = (None, (0, 0), (0, 0), "");
        Self { name: name.as_bytes(), type_flag, mode, target, content, size, device, ids, owner }
    }
}

impl Builder {
    pub(crate) fn add(mut self, member: &Member<'_>) -> Self {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &member.name[..member.name.len().min(100)]);
        put(100, format!("{:07o}\0", member.mode).as_bytes());
        put(108, format!("{:07o}\0", member.ids.0).as_bytes());
        put(116, format!("{:07o}\0", member.ids.1).as_bytes());
        let size = format!("{:011o}\0", member.content.len());
        put(124, member.size.as_ref().map_or(size.as_bytes(), |size| size));
        put(136, format!("{:011o}\0", 1_700_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[member.type_flag]);
        put(157, &member.target[..member.target.len().min(100)]);
        put(257, b"ustar\x0000");
        put(265, member.owner.as_bytes());
        put(297, member.owner.as_bytes());
        put(329, format!("{:07o}\0", member.device.0).as_bytes());
        put(337, format!("{:07o}\0", member.device.1).as_bytes());
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(block);
        self.bytes.extend(member.content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.add(&Member::new(name, b'5'))
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.add(&Member { content, ..Member::new(name, b'0') })
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.add(&Member { target: target.as_bytes(), mode: 0o777, ..Member::new(name, b'2') })
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(&Member { target: target.as_bytes(), ..Member::new(name, b'1') })
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let tail = [b" ", key.as_bytes(), b"=", *value, b"\n"].concat();
            let length = (0..).find(|n: &usize| n.to_string().len() + tail.len() == *n).unwrap();
            content.extend([length.to_string().as_bytes(), &tail].concat());
        }
        self.add(&Member { content: &content, ..Member::new("PaxHeaders/x", b'x') })
    }

    /// The archive without an end, as the first parts of apk's packages are.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive with its two final blocks of zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

/// Reads a whole archive: entries, and the contents of regular files.
fn read(bytes: impl Read) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        let read = reader.content().read_to_end(&mut content);
        read.map_err(|source| Error::Read { entry: 0, source })?;
        entries.push((entry, content));
    }
    Ok(entries)
}

/// An error with its causes, as a person reads it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

fn refusal(archive: Builder) -> String {
    chain(&read(&archive.finish()[..]).unwrap_err())
}

fn names(archive: Builder) -> Vec<String> {
    let entries = read(&archive.finish()[..]).unwrap();
    entries.iter().map(|(entry, _)| entry.path.to_string()).collect()
}

#[test]
fn every_kind_of_entry_is_read() {
    let device = |flag| Member { device: (4, 64), mode: 0o660, ..Member::new("dev/x", flag) };
    let archive = Builder::default()
        .directory("./")
        .file("./a", b"content")
        .hard_link("./b", "./a")
        .symlink("./c", "../outside")
        .add(&device(b'3'))
        .add(&device(b'4'))
        .add(&Member { ids: (0, 42), ..Member::new("fifo", b'6') });
    let read = read(&archive.finish()[..]).unwrap();
    let kinds: Vec<_> = read.iter().map(|(entry, _)| entry.kind.clone()).collect();
    let expected = [
        EntryKind::Directory,
        EntryKind::Regular { size: 7 },
        EntryKind::HardLink(TreePath::parse("a").unwrap()),
        EntryKind::Symlink(b"../outside"[..].into()),
        EntryKind::CharacterDevice(Device { major: 4, minor: 64 }),
        EntryKind::BlockDevice(Device { major: 4, minor: 64 }),
        EntryKind::Fifo,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(read[1].1, b"content");
    assert_eq!(read[1].0.meta, Meta { mtime: 1_700_000_000, ..Meta::root(0o644) });
    assert_eq!(read[6].0.meta.gid, 42);
}

#[test]
fn contents_may_be_skipped_and_readers_may_be_slow() {
    let bytes = Builder::default().file("a", &[1; 700]).file("b", b"2").finish();
    let mut reader = Reader::new(Stuttering::new(&bytes[..]));
    assert_eq!(reader.next_entry().unwrap().unwrap().path.to_string(), "/a");
    assert_eq!(reader.next_entry().unwrap().unwrap().path.to_string(), "/b");
    assert!(reader.next_entry().unwrap().is_none());
    assert_eq!(read(Stuttering::new(&bytes[..])).unwrap(), read(&bytes[..]).unwrap());
}

#[test]
fn long_names_come_from_gnu_or_pax_headers_but_not_both() {
    let long = ["d/"; 100].concat() + "x";
    let terminated = [long.as_bytes(), b"\0"].concat();
    let gnu = |flag| Member { content: &terminated, ..Member::new("././@LongLink", flag) };
    let path = format!("/{long}");
    assert_eq!(names(Builder::default().add(&gnu(b'L')).file("cut", b""))[..], [&*path]);
    let pax = [("path", long.as_bytes())];
    assert_eq!(names(Builder::default().pax(&pax).file("cut", b"")), [path]);
    let both = Builder::default().add(&gnu(b'L')).pax(&pax).file("cut", b"");
    assert_eq!(refusal(both), "entry 1 of the tar archive (cut) has two long names");
    let twice = Builder::default().add(&gnu(b'L')).add(&gnu(b'L')).file("cut", b"");
    assert_eq!(refusal(twice), "entry 1 of the tar archive has the same extended header twice");
    let alone = Builder::default().file("a", b"").add(&gnu(b'L'));
    assert_eq!(refusal(alone), "entry 2 of the tar archive is missing after its extended header");
}

#[test]
fn c18_the_size_of_a_pax_header_always_wins() {
    let inner = Builder::default().file("smuggled", b"evil").finish();
    for size in [*b"00000000000\0", *b"00000001000\0"] {
        let records = [("size", inner.len().to_string())];
        let records = records.each_ref().map(|(key, value)| (*key, value.as_bytes()));
        let outer = Member { content: &inner, size: Some(size), ..Member::new("outer", b'0') };
        let archive = Builder::default().pax(&records).add(&outer).file("next", b"");
        let read = read(&archive.finish()[..]).unwrap();
        let names: Vec<_> = read.iter().map(|(entry, _)| entry.path.to_string()).collect();
        assert_eq!(names, ["/outer", "/next"]);
        assert_eq!(read[0].1, inner);
    }
}

#[test]
fn c18_repeated_pax_headers_or_keys_and_content_of_links_are_refused() {
    let twice = Builder::default().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b"");
    assert_eq!(refusal(twice), "entry 1 of the tar archive has the same extended header twice");
    let keys = Builder::default().pax(&[("size", b"0"), ("size", b"1")]).file("x", b"");
    assert_eq!(refusal(keys), "entry 1 of the tar archive has a PAX header with a repeated key");
    let link = Builder::default().file("a", b"").pax(&[("size", b"512")]).hard_link("b", "a");
    assert_eq!(refusal(link), "entry 2 of the tar archive (b) is a hard link with content");
    let directory = Member { content: b"x", ..Member::new("d", b'5') };
    let directory = Builder::default().add(&directory);
    let rule = "entry 1 of the tar archive (d) has content but is no regular file";
    assert_eq!(refusal(directory), rule);
    let good = Builder::default().pax(&[("path", b"b")]).file("x", b"");
    assert_eq!(names(good), ["/b"]);
}

#[test]
fn c4_sizes_near_the_end_of_the_number_range_are_refused() {
    let with = |size: &[u8; 12]| {
        let member = Member { size: Some(*size), ..Member::new("x", b'0') };
        refusal(Builder::default().add(&member))
    };
    let malformed = "entry 1 of the tar archive (x) has a malformed size";
    let huge = b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    let two_to_62 = b"\x80\0\0\0\x40\0\0\0\0\0\0\0";
    let negative = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0";
    for size in [huge, two_to_62, negative, b"-0000000001\0", b"0000000008\0\0", &[0; 12]] {
        assert_eq!(with(size), malformed);
    }
    let cut =
        "cannot read entry 1 of the tar archive: the tar archive ends in the middle of a file";
    let largest = b"\x80\0\0\0\x3f\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(with(largest).replace("entry 0", "entry 1"), cut);
    let good = Member { size: Some(*b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), ..Member::new("x", b'0') };
    assert_eq!(names(Builder::default().add(&Member { content: b"1", ..good })), ["/x"]);
}

#[test]
fn c13_text_fields_without_nul_and_bad_numbers_never_read_beyond_their_field() {
    let full = "n".repeat(100);
    let member = Member { target: &[b't'; 100], ..Member::new(&full, b'2') };
    let mut bytes = Builder::default().add(&member).finish();
    bytes[265..329].fill(b'u'); // owner and group names, no NUL
    let sum: u64 = (0..512).filter(|i| !(148..156).contains(i)).map(|i| u64::from(bytes[i])).sum();
    bytes[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
    let entry = &read(&bytes[..]).unwrap()[0].0;
    assert_eq!(entry.path.to_string(), format!("/{full}"));
    assert_eq!(entry.kind, EntryKind::Symlink([b't'; 100].into()));
    bytes[265] = 0;
    let wrong = read(&bytes[..]).unwrap_err().to_string();
    assert_eq!(wrong, format!("entry 1 of the tar archive ({full}) has a wrong header checksum"));
    let owner = Member { ids: (u64::from(u32::MAX) + 1, 0), ..Member::new("x", b'0') };
    let owner = Member { ids: (0o7_777_777, 0), ..owner };
    assert_eq!(names(Builder::default().add(&owner)), ["/x"]);
}

#[test]
fn c22_names_that_a_shell_would_run_are_just_names() {
    let hostile = ["$(touch x)", "-rf", "a\nb", "`id`"];
    let archive = hostile.iter().fold(Builder::default(), |archive, name| archive.file(name, b""));
    assert_eq!(names(archive), ["/$(touch x)", "/-rf", "/a\\x0ab", "/`id`"]);
}

#[test]
fn paths_that_lead_out_are_refused_and_absolute_ones_stay_inside() {
    assert_eq!(names(Builder::default().file("/etc/passwd", b"")), ["/etc/passwd"]);
    let out = "entry 1 of the tar archive has a bad path: the path \"a/../../b\" contains `..`";
    assert_eq!(refusal(Builder::default().file("a/../../b", b"")), out);
    let link = refusal(Builder::default().hard_link("a", "../../etc/passwd"));
    assert!(link.contains("contains `..`"), "{link}");
    let root = refusal(Builder::default().symlink(".", "/tmp"));
    assert_eq!(root, "entry 1 of the tar archive (.) is the root but no directory");
}

#[test]
fn after_the_end_only_zeros_may_follow() {
    let mut bytes = Builder::default().file("a", b"").finish();
    bytes.extend([0; 8192]);
    assert_eq!(read(&bytes[..]).unwrap().len(), 1);
    let more = [bytes.clone(), Builder::default().file("b", b"").finish()].concat();
    let error = read(&more[..]).unwrap_err().to_string();
    assert_eq!(error, "entry 2 of the tar archive stands after the end of the archive");
    let cut = read(&bytes[..700]).unwrap_err().to_string();
    assert_eq!(cut, "entry 2 of the tar archive ends in the middle of a block");
}

#[test]
fn sparse_files_and_unknown_types_are_unsupported() {
    for (flag, feature) in
        [(b'S', "a sparse file"), (b'M', "GNU dump records"), (b'Z', "an unknown type of entry")]
    {
        let text = refusal(Builder::default().add(&Member::new("x", flag)));
        let expected =
            format!("entry 1 of the tar archive (x) uses {feature}, which is not supported");
        assert_eq!(text, expected);
    }
}

#[test]
fn archives_cut_or_flipped_anywhere_never_panic() {
    let archive = Builder::default()
        .directory("d/")
        .pax(&[("path", b"d/long"), ("mtime", b"1.5")])
        .file("x", b"content")
        .symlink("l", "d");
    let bytes = archive.finish();
    for at in (0..bytes.len()).filter(|at| at % 512 == 0 || at % 7 == 0) {
        let end_is_marked = at == bytes.len() - 512;
        assert_eq!(read(&bytes[..at]).is_ok(), end_is_marked, "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x11;
        drop(read(&flipped[..]));
    }
}
