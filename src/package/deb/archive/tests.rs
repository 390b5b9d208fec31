//! Packages made in memory, good ones and near misses.

use super::*;
use crate::package::compression::tests::compress;
use crate::package::tar::tests::{Builder, chain};
use crate::testing::Stuttering;

/// Makes `.deb` files for tests.
#[derive(Debug, Clone)]
pub(crate) struct Deb {
    pub(crate) control: Builder,
    pub(crate) data: Builder,
    pub(crate) compression: Compression,
}

impl Deb {
    /// A package with these fields; name, version and architecture come from its own arguments.
    pub(crate) fn new(name: &str, fields: &str) -> Self {
        let text = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b>\n{fields}\
             Description: a test\n"
        );
        let control = Builder::default().directory("./").file("./control", text.as_bytes());
        let data = Builder::default().directory("./");
        Self { control, data, compression: Compression::Xz }
    }

    pub(crate) fn member(self, name: &str, text: &str) -> Self {
        Self { control: self.control.file(&format!("./{name}"), text.as_bytes()), ..self }
    }

    pub(crate) fn data(self, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self { data: change(self.data), ..self }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let extension = extension(self.compression);
        ar(&[
            ("debian-binary", b"2.0\n"),
            (
                &format!("control.tar{extension}"),
                &compress(self.compression, &self.control.finish()),
            ),
            (&format!("data.tar{extension}"), &compress(self.compression, &self.data.finish())),
        ])
    }
}

fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Deflate => unreachable!("no file of a package is named so"),
        Compression::Xz => ".xz",
        Compression::Zstd => ".zst",
        Compression::Bzip2 => ".bz2",
    }
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        bytes.extend(header(name, &content.len().to_string()));
        bytes.extend(*content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn header(name: &str, size: &str) -> Vec<u8> {
    format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).into_bytes()
}

/// Reads a whole package: the paths of its files, and its control part.
fn read(bytes: &[u8]) -> Result<(Vec<String>, Control), Error> {
    read_from(bytes, bytes.len())
}

fn read_from(bytes: impl Read, length: usize) -> Result<(Vec<String>, Control), Error> {
    let mut archive = Archive::open(bytes, u64::try_from(length).unwrap())?;
    let mut paths = Vec::new();
    while let Some(entry) = archive.next_file()? {
        paths.push(entry.path.to_string());
        io::copy(&mut archive.content(), &mut io::sink()).map_err(Error::Read)?;
    }
    Ok((paths, archive.finish()?))
}

fn refusal(bytes: &[u8]) -> String {
    chain(&read(bytes).unwrap_err())
}

fn hello() -> Deb {
    Deb::new("hello", "Depends: libc6\n")
        .member("postinst", "#!/bin/sh\n")
        .member("conffiles", "/etc/hello\n")
        .member("triggers", "activate-noawait ldconfig\n")
        .data(|data| data.directory("./etc/").file("./etc/hello", b"hi"))
}

/// The three parts of a package, uncompressed.
fn parts() -> [Vec<u8>; 3] {
    let Deb { control, data, .. } = hello();
    [b"2.0\n".to_vec(), control.finish(), data.finish()]
}

#[test]
fn packages_of_every_compression_are_read() {
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ] {
        let (paths, control) = read(&Deb { compression, ..hello() }.bytes()).unwrap();
        assert_eq!(paths, ["/", "/etc", "/etc/hello"]);
        assert_eq!(control.stanza.get("Depends"), Some("libc6"));
        assert_eq!(control.conffiles.len(), 1);
        assert_eq!(control.triggers.activations.len(), 1);
        let scripts: Vec<_> = control.scripts().into_keys().collect();
        assert_eq!(scripts, [scripts::ScriptKind::Postinst]);
        assert_eq!(control.member("postinst"), Some(&b"#!/bin/sh\n"[..]));
    }
}

#[test]
fn f5_packages_are_read_byte_by_byte_and_through_interruptions() {
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let bytes = Deb { compression, ..hello() }.bytes();
        let (paths, control) = read_from(Stuttering::new(&bytes[..]), bytes.len()).unwrap();
        assert_eq!((paths, control.stanza), read(&bytes).map(|(p, c)| (p, c.stanza)).unwrap());
        let cut = &bytes[..bytes.len() - 20];
        assert!(read_from(Stuttering::new(cut), bytes.len()).is_err(), "{compression}");
    }
}

#[test]
fn d7_extra_members_are_skipped_where_deb_5_allows_them() {
    let [version, control, data] = &parts();
    let between = ar(&[
        ("debian-binary", version),
        ("_early", b"x"),
        ("control.tar/", control),
        ("_late", b""),
        ("data.tar", data),
        ("_gpgorigin", b"signature"),
        ("anything", b""),
    ]);
    assert_eq!(read(&between).unwrap().0.len(), 3);
    let unknown =
        ar(&[("debian-binary", version), ("x", b""), ("control.tar", control), ("data.tar", data)]);
    let order = "the package is broken: its members are not in the order that deb(5) demands";
    assert_eq!(refusal(&unknown), order);
    let swapped = ar(&[("debian-binary", version), ("data.tar", data), ("control.tar", control)]);
    assert_eq!(refusal(&swapped), order);
}

#[test]
fn d7_members_that_stand_twice_are_refused() {
    let [version, control, data] = &parts();
    let start =
        [("debian-binary", &version[..]), ("control.tar", &control[..]), ("data.tar", &data[..])];
    assert!(read(&ar(&start)).is_ok());
    for (name, content) in [("data.tar.gz", &b""[..]), ("control.tar", control), ("data.tar", data)]
    {
        let twice = ar(&[&start[..], &[(name, content)]].concat());
        assert_eq!(refusal(&twice), "the package is broken: a member stands in it twice");
    }
}

#[test]
fn d7_malformed_headers_and_sizes_are_refused() {
    let [version, ..] = &parts();
    let start = ar(&[("debian-binary", version)]);
    let malformed = "the package is broken: a member's header is malformed";
    for (name, size, rule) in [
        ("control.tar", "9223372036", "the package is broken: a member is longer than the file"),
        ("control.tar", "-1", malformed),
        ("control.tar", "12x", malformed),
        ("control.tar", "", malformed),
        ("control\0tar", "0", malformed),
        ("#1/20", "0", malformed),
        ("/", "0", malformed),
        ("", "0", malformed),
    ] {
        assert_eq!(refusal(&[&start[..], &header(name, size)].concat()), rule);
    }
    let mut unmarked = header("control.tar", "0");
    unmarked[59] = b'x';
    assert_eq!(refusal(&[&start[..], &unmarked].concat()), malformed);
    let odd = [&start[..], &header("_odd", "1"), b"xx"].concat();
    let padding = "the package is broken: a member of odd length is not padded";
    assert_eq!(refusal(&odd), padding);
}

#[test]
fn c5_the_format_of_before_1995_and_other_versions_are_unsupported() {
    let old = b"0.939000\n1234\n".to_vec();
    assert_eq!(refusal(&old), "the package is not supported: the format of before 1995");
    let [_, control, data] = &parts();
    for (version, answer) in [
        (&b"3.0\n"[..], Some("the package is not supported: its format version is 3.0")),
        (b"2.0", Some("the package is broken: its member debian-binary holds no version")),
        (b"2.x\n", Some("the package is broken: its member debian-binary holds no version")),
        (b"2.7\nmore\n", None),
    ] {
        let deb = ar(&[("debian-binary", version), ("control.tar", control), ("data.tar", data)]);
        assert_eq!(read(&deb).err().map(|_| refusal(&deb)).as_deref(), answer);
    }
    let lzma = ar(&[("debian-binary", b"2.0\n"), ("control.tar.lzma", b"")]);
    let answer = "the package is not supported: a member compressed as \".lzma\"";
    assert_eq!(refusal(&lzma), answer);
}

#[test]
fn c7_packages_cut_anywhere_are_refused() {
    for compression in [Compression::Zstd, Compression::Xz, Compression::None] {
        let bytes = Deb { compression, ..hello() }.bytes();
        for end in (0..bytes.len()).filter(|end| bytes.len() < 2000 || end % 61 == 0) {
            assert!(read(&bytes[..end]).is_err(), "{compression} cut at {end}");
            let promised = Archive::open(&bytes[..end], u64::try_from(bytes.len()).unwrap());
            let whole = promised.and_then(|mut archive| {
                while archive.next_file()?.is_some() {}
                archive.finish()
            });
            assert!(whole.is_err(), "{compression} cut at {end}");
        }
    }
}

#[test]
fn c24_bytes_after_the_end_of_a_member_are_refused() {
    let [version, control, data] = &parts();
    let data = [compress(Compression::Xz, data), b"tail".to_vec()].concat();
    let deb = ar(&[("debian-binary", version), ("control.tar", control), ("data.tar.xz", &data)]);
    assert!(refusal(&deb).ends_with(": bytes follow the end of the xz data"));
    let control = [&control[..], &[0; 512], b"tail"].concat();
    let deb = ar(&[("debian-binary", version), ("control.tar", &control)]);
    assert!(refusal(&deb).starts_with("cannot read the control part of the package"));
}

#[test]
fn c21_paths_that_stand_twice_are_refused_and_directories_may() {
    let twice = |change: fn(Builder) -> Builder| read(&hello().data(change).bytes());
    assert!(twice(|data| data.directory("etc")).is_ok());
    let changes: [fn(Builder) -> Builder; 3] = [
        |data| data.file("/etc/hello", b""),
        |data| data.symlink("etc", "/tmp"),
        |data| data.directory("etc/hello"),
    ];
    for change in changes {
        assert!(matches!(twice(change), Err(Error::Duplicate { .. })));
    }
    let newline = hello().data(|data| data.file("a\nb", b"")).bytes();
    assert_eq!(
        refusal(&newline),
        "/a\\x0ab has a line break in its name, which dpkg cannot record"
    );
}

#[test]
fn control_parts_that_the_database_cannot_hold_are_refused() {
    let with = |change: fn(Builder) -> Builder| {
        let deb = hello();
        refusal(&Deb { control: change(deb.control), ..deb }.bytes())
    };
    let start = "the control part of the package holds ";
    type Change = fn(Builder) -> Builder;
    let cases: [(Change, &str); 5] = [
        (|control| control.directory("sub"), "sub, which is no regular file"),
        (|control| control.symlink("prerm", "/etc/shadow"), "prerm, which is no regular file"),
        (
            |control| control.file("a/b", b""),
            "a/b, which has a name that dpkg's database cannot hold",
        ),
        (
            |control| control.file("list", b""),
            "list, which has the name of another file of dpkg's database",
        ),
        (
            |control| control.file("postinst", b""),
            "postinst, which has the name of another file of dpkg's database",
        ),
    ];
    for (change, rest) in cases {
        assert_eq!(with(change), format!("{start}{rest}"));
    }
    let deb = Deb { control: Builder::default().directory("./"), ..hello() };
    assert_eq!(
        refusal(&deb.bytes()),
        format!("{start}no file named control, which every package has")
    );
}

#[test]
fn c4_ten_thousand_bad_packages_leave_no_descriptor_open() {
    let bad = [&ar(&[("debian-binary", b"2.0\n")])[..], &header("control.tar", "-1")].concat();
    let open = || fs_err::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..10_000 {
        assert!(read(&bad).is_err());
    }
    assert!(open() <= before + 16, "other tests may hold a few");
}
