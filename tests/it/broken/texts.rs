//! What stands beside an image, or in it as text: signatures, lines of parameters, configurations,
//! the file contexts of a policy, the manifest of an extension.

use osbuilder::digest::Digest;
use osbuilder::image::verity::{Parameters, Signatory};
use osbuilder::inspect::{self, Runtime};
use osbuilder::selinux;
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use super::{Form, folder, set};

/// A tree with one file.
fn tree(path: &str, bytes: &[u8]) -> Tree {
    let mut tree = Tree::default();
    put(&mut tree, path, bytes);
    tree
}

fn put(tree: &mut Tree, path: &str, bytes: &[u8]) {
    let path = TreePath::parse(path).unwrap();
    tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
    let kind = Kind::Regular(Content::Inline(bytes.into()));
    tree.insert(&path, Inode { meta: Meta::root(0o755), kind }).unwrap();
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Replaces a text that stands there once.
fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{from}");
    *bytes = text.replacen(from, to, 1).into_bytes();
}

pub(super) const SIGNATURE: Form = Form {
    name: "signature",
    suffix: ".p7s",
    good: None,
    read: |bytes| {
        let certificate = fs_err::read_to_string(folder().join("signature/good.crt")).unwrap();
        let by = Signatory::parse(&certificate).unwrap();
        by.verify(bytes, &Digest::from_bytes([0; 32])).err().map(|error| chain(&error))
    },
    ask: &[],
    cases: &[
        ("empty", Vec::clear, "not PKCS#7 in DER"),
        ("cut-in-the-middle", |b| b.truncate(b.len() / 2), "not PKCS#7 in DER"),
        ("length-of-4-gib", |b| set(b, 0, &[0x30, 0x84, 255, 255, 255, 255]), "not PKCS#7 in DER"),
        ("something-behind-it", |b| b.push(0), "not PKCS#7 in DER"),
        // The last number of the object identifier 1.2.840.113549.1.7.2.
        (
            "enveloped-instead-of-signed",
            |b| {
                let at = oid(b);
                b[at + 8] = 3;
            },
            "not SignedData",
        ),
        (
            "k2-bit-flipped-in-the-number",
            |b| {
                let at = b.len() - 1;
                b[at] ^= 1;
            },
            "not over this",
        ),
        (
            "k2-by-another-serial-number",
            |b| {
                let at = serial(b);
                b[at] ^= 1;
            },
            "another certificate",
        ),
        ("k2-digest-is-sha-1", |b| sha1(b), "it is not RSA with SHA-256"),
    ],
};

/// The number of SignedData among the identifiers of PKCS#7.
fn oid(bytes: &[u8]) -> usize {
    let wanted = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2];
    bytes.windows(9).position(|window| window == wanted).unwrap()
}

/// The last byte of the serial number, before the second time that SHA-256 is named.
fn serial(bytes: &[u8]) -> usize {
    sha256(bytes) - 5
}

fn sha256(bytes: &[u8]) -> usize {
    let wanted = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    bytes.windows(9).rposition(|window| window == wanted).unwrap()
}

fn sha1(bytes: &mut [u8]) {
    let at = sha256(bytes) + 8;
    bytes[at] = 4;
}

const CONTEXTS_TEXT: &str = "\
/.*			u:r:default_t:s0
/usr/s?bin/[^/]*	--	u:r:bin_t:s0
/tmp/.*			<<none>>
";

pub(super) const CONTEXTS: Form = Form {
    name: "file-contexts",
    suffix: ".txt",
    good: Some(|| CONTEXTS_TEXT.into()),
    read: |bytes| {
        let mut tree = tree("etc/selinux/x/contexts/files/file_contexts", bytes);
        put(&mut tree, "etc/selinux/config", b"SELINUXTYPE=x\n");
        put(&mut tree, "usr/bin/tool", b"");
        selinux::label(tree, &NoContents).err().map(|error| chain(&error))
    },
    ask: &[],
    cases: &[
        ("one-word", |b| replace(b, "\t<<none>>", ""), "line 3: an entry has a pattern"),
        ("four-words", |b| replace(b, "u:r:bin_t:s0", "u:r:bin_t:s0 x"), "line 2: an entry has"),
        ("kind-nobody-knows", |b| replace(b, "--", "-x"), "line 2: \"-x\" is not one of"),
        ("bracket-without-an-end", |b| replace(b, "[^/]*", "[^/*"), "line 2: the pattern"),
        ("looks-behind", |b| replace(b, "[^/]*", "(?<=a)b"), "line 2: the pattern"),
        ("goes-back", |b| replace(b, "[^/]*", r"(a)\1"), "line 2: the pattern"),
        ("c24-billions-of-states", |b| replace(b, "[^/]*", "((a{999}){999}){999}"), "pattern"),
        (
            "c24-nested-a-thousand-deep",
            |b| replace(b, "[^/]*", &format!("{}{}", "(".repeat(1000), ")".repeat(1000))),
            "line 2: the pattern",
        ),
    ],
};

const LINE: &str = "root_hash=\
    0000000000000000000000000000000000000000000000000000000000000001,salt=ab01,\
    data_blocks=64000,data_block_size=4096,hash_block_size=4096\n";

pub(super) const PARAMETERS: Form = Form {
    name: "verity-parameters",
    suffix: ".txt",
    good: Some(|| LINE.into()),
    read: |bytes| {
        let line = String::from_utf8_lossy(bytes);
        line.parse::<Parameters>().err().map(|error| error.to_string())
    },
    ask: &[],
    cases: &[
        ("k4-empty", Vec::clear, "is not of the form key=value"),
        ("k4-salt-is-missing", |b| replace(b, "salt=ab01,", ""), "the key \"salt\" is missing"),
        ("salt-of-three-digits", |b| replace(b, "ab01", "ab0"), "is no salt"),
        ("root-hash-of-63-digits", |b| replace(b, "0001", "001"), "is not a SHA-256 digest"),
        ("blocks-beyond-64-bits", |b| replace(b, "64000", "99999999999999999999"), "that fits"),
        ("blocks-below-nothing", |b| replace(b, "64000", "-1"), "is not a number"),
        ("block-of-no-byte", |b| replace(b, "=4096", "=0"), "not a multiple of 512"),
        ("key-stands-twice", |b| replace(b, "salt=", "salt=00,salt="), "stands there twice"),
        ("key-nobody-knows", |b| replace(b, "salt=", "pepper=1,salt="), "\"pepper\" is unknown"),
    ],
};

const CONFIGURATION: &str =
    "[hypervisor.qemu]\nrootfs_type = \"erofs\"\nkernel_verity_params = \"\"\n";

pub(super) const RUNTIME: Form = Form {
    name: "runtime-configuration",
    suffix: ".toml",
    good: Some(|| CONFIGURATION.into()),
    read: |bytes| {
        let line = LINE.parse().unwrap();
        Runtime::rewrite(&String::from_utf8_lossy(bytes), &line).err().map(|error| chain(&error))
    },
    ask: &[],
    cases: &[
        ("no-toml", |b| replace(b, "]", ""), "is not TOML"),
        ("no-hypervisor", |b| replace(b, "hypervisor", "runtime"), "has no table `hypervisor`"),
        ("no-line-to-rewrite", |b| replace(b, "kernel", "# kernel"), "has no line"),
        (
            "value-of-several-lines",
            |b| replace(b, "params = \"\"", "params = \"\"\"\nroot_hash=00\"\"\""),
            "cannot be rewritten by itself",
        ),
        (
            "c24-nested-too-deep",
            |b| b.extend(format!("x = {}", "[".repeat(10_000)).bytes()),
            "TOML",
        ),
    ],
};

const MANIFEST_TEXT: &str = "schema_version = 1\n[[process]]\nid = \"a\"\npath = \"usr/bin/a\"\n";

pub(super) const MANIFEST: Form = Form {
    name: "extension-manifest",
    suffix: ".toml",
    good: Some(|| MANIFEST_TEXT.into()),
    read: |bytes| {
        let mut tree = tree("etc/kata-extensions/components.toml", bytes);
        put(&mut tree, "usr/bin/a", b"");
        let lacks = inspect::extension(&tree, &NoContents).unwrap();
        lacks.first().map(|lack| lack.what.clone())
    },
    ask: &[],
    cases: &[
        ("empty", Vec::clear, "is no manifest of components"),
        ("no-text", |b| b.insert(0, 0xFF), "is no manifest of components"),
        ("version-2", |b| replace(b, "= 1", "= 2"), "has the version 2"),
        ("c14-path-leads-up", |b| replace(b, "usr/bin/a", "../../bin/a"), "no path below the root"),
        ("path-of-nothing", |b| replace(b, "usr/bin/a", "usr/bin/b"), "where nothing is"),
        ("process-without-a-name", |b| replace(b, "\"a\"", "\"\""), "has no name of its own"),
        ("variable-without-an-end", |b| replace(b, "\"usr", "\"${x"), "variable without an end"),
    ],
};
