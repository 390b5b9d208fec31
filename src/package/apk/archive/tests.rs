//! Packages made in memory, good ones and near misses; and real ones, tampered with.

use super::*;
use crate::package::compression::tests::compress;
use crate::package::tar::tests::{Builder as Tar, Member, chain};
use crate::testing;

/// A package to be made.
#[derive(Debug, Clone)]
pub(crate) struct Apk {
    pub(crate) signatures: Option<Tar>,
    pub(crate) info: String,
    pub(crate) control: Tar,
    pub(crate) data: Tar,
    /// Written in place of the true one.
    pub(crate) data_digest: Option<String>,
}

impl Apk {
    pub(crate) fn new(name: &str, fields: &str) -> Self {
        let info = format!("pkgname = {name}\npkgver = 1.0-r0\narch = x86_64\nsize = 1\n{fields}");
        Self {
            signatures: Some(Tar::default().file(".SIGN.RSA256.test.rsa.pub", b"sig")),
            info,
            control: Tar::default(),
            data: Tar::default(),
            data_digest: None,
        }
    }

    pub(crate) fn data(mut self, make: impl FnOnce(Tar) -> Tar) -> Self {
        self.data = make(self.data);
        self
    }

    pub(crate) fn script(mut self, name: &str, text: &str) -> Self {
        self.control = self.control.file(name, text.as_bytes());
        self
    }

    /// The bytes of the three parts.
    pub(crate) fn parts(&self) -> [Vec<u8>; 3] {
        let data = compress(Compression::Gzip, &self.data.clone().finish());
        let digest = self.data_digest.clone().unwrap_or_else(|| Digest::of(&data).to_string());
        let info = format!("{}datahash = {digest}\n", self.info);
        let control = Tar::default().file(".PKGINFO", info.as_bytes()).cut();
        let control = [control, self.control.clone().cut()].concat();
        let signatures = self.signatures.clone().map(Tar::cut);
        let gzip = |plain: Vec<u8>| compress(Compression::Gzip, &plain);
        [signatures.map_or_else(Vec::new, gzip), gzip(control), data]
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

fn read(bytes: &[u8]) -> Result<(Control, Vec<String>), Error> {
    let (control, mut files) = Files::open(bytes, u64::try_from(bytes.len()).unwrap())?;
    let mut paths = Vec::new();
    while let Some(entry) = files.next_file()? {
        paths.push(entry.path.to_string());
    }
    files.finish()?;
    Ok((control, paths))
}

fn refusal(bytes: &[u8]) -> String {
    chain(&read(bytes).unwrap_err())
}

fn sample() -> Apk {
    Apk::new("one", "depend = two\n")
        .script(".post-install", "#!/bin/sh\n")
        .data(|data| data.directory("usr").directory("usr/bin").file("usr/bin/one", b"1"))
}

#[test]
fn the_parts_of_a_package_are_read() {
    let bytes = sample().bytes();
    let (control, paths) = read(&bytes).unwrap();
    assert_eq!(paths, ["/usr", "/usr/bin", "/usr/bin/one"]);
    assert!(control.info.stanza.contains("P:one\nV:1.0-r0\nA:x86_64\n"));
    assert_eq!(control.scripts, [(ScriptKind::PostInstall, (*b"#!/bin/sh\n").into())]);
    let [_, part, _] = sample().parts();
    assert_eq!(control.identity, Checksum::sha1(&part).unwrap());
    let mut rest = &bytes[..];
    let head = Head::read(&mut rest, u64::try_from(bytes.len()).unwrap()).unwrap();
    assert_eq!((head.signed.clone(), head.signatures.len()), (part, 1));
    assert_eq!((head.control.clone(), [&head.raw(), rest].concat()), (control, bytes.clone()));
    assert_eq!(head.data_digest, Digest::of(rest));
    let unsigned = Apk { signatures: None, ..sample() }.bytes();
    assert!(Head::read(&mut &unsigned[..], 1).unwrap().signatures.is_empty());
}

#[test]
fn what_apk_does_not_install_is_skipped() {
    let apk = Apk::new("one", "").data(|data| {
        data.file(".dummy", b"").directory("usr").file("usr/.keep_x", b"").file("usr/.x", b"")
    });
    assert_eq!(read(&apk.bytes()).unwrap().1, ["/usr", "/usr/.x"]);
    assert_eq!(read(&Apk::new("one", "").bytes()).unwrap().1, [""; 0]);
}

#[test]
fn a2_the_files_must_be_those_that_the_control_part_names() {
    let [signatures, control, _] = sample().parts();
    let [_, _, data] = sample().data(|data| data.file("usr/more", b"")).parts();
    let swapped = [signatures, control, data].concat();
    assert!(refusal(&swapped).starts_with("the files of the package are not its own"));
    for wrong in ["", "00"] {
        let apk = Apk { data_digest: Some(wrong.to_owned()), ..sample() };
        assert_eq!(refusal(&apk.bytes()), "the package does not name the digest of its files");
    }
}

#[test]
fn a4_no_byte_is_without_a_digest() {
    let appended = compress(Compression::Gzip, &Tar::default().file("etc/passwd", b"").finish());
    let bytes = [sample().bytes(), appended].concat();
    assert!(read(&bytes).is_err());
    let empty = compress(Compression::Gzip, b"");
    assert_eq!(
        refusal(&[empty, sample().bytes()].concat()),
        "the package is broken: a part of the file is empty"
    );
    let [signatures, control, data] = sample().parts();
    let doubled = [signatures.clone(), signatures.clone(), control.clone(), data].concat();
    assert!(refusal(&doubled).contains("is a signature in the wrong place"));

    // The files in two members: their digest is that of both.
    let plain = sample().data.finish();
    let (one, two) = plain.split_at(700);
    let halves = [one, two].map(|half| compress(Compression::Gzip, half)).concat();
    let apk = Apk { data_digest: Some(Digest::of(&halves).to_string()), ..sample() };
    let [signatures, control, _] = apk.parts();
    let read = read(&[signatures, control, halves].concat()).unwrap();
    assert_eq!(read.1, ["/usr", "/usr/bin", "/usr/bin/one"]);

    // What stands after the end of the archive is not unpacked.
    let mut after = sample().data.finish();
    after.extend(Tar::default().file("etc/passwd", b"").finish());
    let data = compress(Compression::Gzip, &after);
    let apk = Apk { data_digest: Some(Digest::of(&data).to_string()), ..sample() };
    let [signatures, control, _] = apk.parts();
    assert!(refusal(&[signatures, control, data].concat()).contains("after the end"));
}

#[test]
fn a5_control_characters_and_stray_files_are_refused() {
    let file = |name: &str| refusal(&Apk::new("a", "").data(|data| data.file(name, b"")).bytes());
    assert!(file("a\nF:etc\nR:shadow").ends_with("has a control character in its name"));
    assert!(file("a\x7f").ends_with("has a control character in its name"));
    assert!(file("/etc/x").ends_with("is named from the root of the file system"));
    assert!(file("usr/x").ends_with("lies in a directory that the package does not bring"));
    assert!(file("x/../../etc/y").contains("`..`"));
    let link = Apk::new("a", "").data(|data| data.symlink("l", "a\nb"));
    assert!(refusal(&link.bytes()).ends_with("has a control character in its target"));
    let name = |length: usize| {
        let path = "n".repeat(length);
        let data = |data: Tar| data.pax(&[("path", path.as_bytes())]).file("x", b"");
        read(&Apk::new("a", "").data(data).bytes()).map_err(|error| chain(&error))
    };
    assert!(name(256).unwrap_err().contains("a name of more than 255 bytes"));
    assert_eq!(name(255).unwrap().1[0].len(), 256);
    let target = |length: usize| {
        let target = "t".repeat(length);
        let data = |data: Tar| data.pax(&[("linkpath", target.as_bytes())]).symlink("l", "x");
        read(&Apk::new("a", "").data(data).bytes()).map_err(|error| chain(&error))
    };
    assert!(target(4096).is_err());
    assert_eq!(target(4095).unwrap().1, ["/l"]);
    let twice = Apk::new("a", "").data(|data| data.file("x", b"").file("x", b""));
    assert_eq!(refusal(&twice.bytes()), "/x in the package is there twice");
    let both = Apk::new("a", "").data(|data| data.file("x", b"").directory("x"));
    assert_eq!(refusal(&both.bytes()), "/x in the package is there twice");
    let good = Apk::new("a", "").data(|data| data.directory("é").directory("é").file("é/ ü", b""));
    assert_eq!(read(&good.bytes()).unwrap().1.len(), 2);
}

#[test]
fn control_parts_hold_one_pkginfo_and_scripts() {
    let stray = Apk { control: Tar::default().file("etc", b""), ..sample() };
    assert!(refusal(&stray.bytes()).contains("does not belong there"));
    let twice = sample().script(".post-install", "");
    assert!(refusal(&twice.bytes()).ends_with(".post-install, which is there twice"));
    let info = Apk { control: Tar::default().file(".PKGINFO", b""), ..sample() };
    assert!(refusal(&info.bytes()).ends_with(".PKGINFO, which is there twice"));
    let [signatures, ..] = sample().parts();
    let none = compress(Compression::Gzip, &Tar::default().file(".x", b"").cut());
    let bytes = [signatures, none].concat();
    assert_eq!(refusal(&bytes), "the control part of the package has no .PKGINFO");
}

#[test]
fn c13_numbers_out_of_bounds_are_refused_and_long_owners_are_not() {
    let size = Member { size: Some(*b"777777777777"), ..Member::new("x", b'0') };
    let apk = Apk::new("a", "").data(|data| data.add(&size));
    assert!(read(&apk.bytes()).is_err());
    let owner = "u".repeat(32);
    let long = Member { owner: &owner, ..Member::new("x", b'0') };
    let apk = Apk::new("a", "").data(|data| data.add(&long)).bytes();
    let (_, mut files) = Files::open(&apk[..], 1).unwrap();
    let entry = files.next_file().unwrap().unwrap();
    assert_eq!((&*entry.words.user, &*entry.words.group), (owner.as_bytes(), owner.as_bytes()));
}

#[test]
fn a_package_cut_anywhere_is_refused() {
    let bytes = sample().bytes();
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a2_tampered_packages_are_refused_unless_only_their_signature_is_wrong() {
    let Some(folder) = testing::data("tampered") else { return };
    let read = |name: &str| {
        let bytes = fs_err::read(folder.join(name)).unwrap();
        read(&bytes).map_err(|error| chain(&error))
    };
    let corrupt = "cannot read a part of the file: the gzip data is corrupt";
    for (name, reason) in [
        ("zlib-1.3.1-r0.flip-stream0.apk", corrupt),
        ("zlib-1.3.1-r0.flip-stream1.apk", corrupt),
        ("zlib-1.3.1-r0.flip-stream2.apk", "the gzip data is corrupt"),
        ("zlib-1.3.1-r0.truncated.apk", "the gzip data ends early"),
        ("zlib-1.3.1-r0.evil-data.apk", "the files of the package are not its own"),
        ("evil-absolute-1-r0.apk", "is named from the root of the file system"),
        ("evil-traversal-1-r0.apk", "contains `..`"),
    ] {
        let error = read(name).unwrap_err();
        assert!(error.contains(reason), "{name}: {error}");
    }
    // These are whole: that nobody trustworthy signed them is seen elsewhere.
    for name in ["nosig", "wrong-key", "evil-control"] {
        let name = format!("zlib-1.3.1-r0.{name}.apk");
        assert_eq!(read(&name).unwrap().1.len(), 3, "{name}");
    }
    // A device is an entry of the tree, and nothing on this machine.
    assert_eq!(read("evil-device-1-r0.apk").unwrap().1, ["/dev0"]);
}

#[test]
fn real_packages_are_read_whole() {
    for folder in ["alpine/genuine-3.19.1/x86_64", "alpine/rebuilt-3.20.3/ppc64le"] {
        let Some(folder) = testing::data(folder) else { return };
        let mut count = 0;
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "apk") {
                let bytes = fs_err::read(&path).unwrap();
                let outcome = read(&bytes).map_err(|error| chain(&error));
                assert!(outcome.is_ok(), "{}: {}", path.display(), outcome.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }
}
