//! Signed root hashes against openssl, which checks as the kernel does.

use std::path::Path;

use crate::judge;
use crate::program::osbuilder_in;

/// A folder with a directory that is measured, and two keys with their certificates.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    fs_err::create_dir_all(root.join("etc")).unwrap();
    fs_err::write(root.join("etc/motd"), "measured").unwrap();
    for name in ["own", "other"] {
        let path = |extension: &str| {
            folder.path().join(name).with_extension(extension).to_str().unwrap().to_owned()
        };
        let subject = format!("/CN={name}");
        let asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"];
        let files = ["-subj", &subject, "-keyout", &path("key"), "-out", &path("crt")];
        judge::run("openssl", &[&asked[..], &files].concat());
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = osbuilder_in(folder, arguments, &[]);
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

const IMAGE: [&str; 9] =
    ["image", "--rootfs", "rootfs", "--any-tree", "--epoch", "1", "-o", "out", "--measured"];

fn signed(folder: &Path, key: &str, certificate: &str) -> (Option<i32>, String) {
    let files = ["--root-hash-key", key, "--root-hash-certificate", certificate];
    run(folder, &[&IMAGE[..], &files, &["--variant", "x"]].concat())
}

/// Whether `judge` is here: it answers `version`, and not `--version`.
fn is_openssl_missing() -> bool {
    let folders = ["/usr/bin/openssl", "/usr/local/bin/openssl", "/bin/openssl"];
    !folders.iter().any(|path| Path::new(path).exists()) && judge::skip("openssl is not installed")
}

#[test]
fn k2_a_signature_is_the_one_of_openssl_and_whoever_did_not_sign_is_refused() {
    if is_openssl_missing() {
        return;
    }
    let folder = prepared();
    let (status, told) = signed(folder.path(), "own.key", "own.crt");
    assert_eq!(status, Some(0), "{told}");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let line = fs_err::read_to_string(path("root_hash_x.txt")).unwrap();
    let hash = &line["root_hash=".len()..][..64];
    fs_err::write(path("hash"), hash).unwrap();
    let check = ["cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any"];
    let files = [
        "-in",
        &path("root_hash_x.p7s"),
        "-content",
        &path("hash"),
        "-certfile",
        &path("own.crt"),
        "-CAfile",
        &path("own.crt"),
        "-out",
        &path("checked"),
    ];
    judge::run("openssl", &[&check[..], &files].concat());
    assert_eq!(fs_err::read_to_string(path("checked")).unwrap(), hash);
    let sign = ["smime", "-sign", "-nocerts", "-noattr", "-binary", "-outform", "der"];
    let with = |name: &str| (path(&format!("{name}.key")), path(&format!("{name}.crt")));
    let (key, certificate) = with("own");
    let files = ["-in", &path("hash"), "-inkey", &key, "-signer", &certificate];
    let theirs = judge::run("openssl", &[&sign[..], &files].concat());
    assert!(fs_err::read(path("root_hash_x.p7s")).unwrap() == theirs);

    let verify = |more: &[&str]| {
        let always = ["verify", "out", "--any-tree", "--params-file", "root_hash_x.txt"];
        run(folder.path(), &[&always[..], &["--root-hash-certificate"], more].concat())
    };
    let (status, told) = verify(&["own.crt"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("root hash signed by: CN=own, serial number"), "{told}");
    let (status, told) = verify(&["other.crt"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("bad: the signature is by another certificate"), "{told}");
    let text = "[hypervisor.qemu]\nkernel_verity_params = \"\"\n";
    fs_err::write(path("c.toml"), text).unwrap();
    let rewritten = |certificate: &str| {
        let status = verify(&[certificate, "--runtime-config", "c.toml", "--rewrite"]).0;
        (status, fs_err::read_to_string(path("c.toml")).unwrap() != text)
    };
    assert_eq!(rewritten("other.crt"), (Some(1), false));
    assert_eq!(rewritten("own.crt"), (Some(0), true));
    let mut bad = theirs.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs_err::write(path("bad"), &bad).unwrap();
    let (status, told) = verify(&["own.crt", "--root-hash-signature", "bad"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("not over this root hash"), "{told}");
    fs_err::write(path("bad"), &theirs[..100]).unwrap();
    let (status, told) = verify(&["own.crt", "--root-hash-signature", "bad"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("not PKCS#7 in DER"), "{told}");
    let nothing = run(folder.path(), &["verify", "out", "--root-hash-certificate", "own.crt"]);
    assert_eq!(nothing.0, Some(2), "{}", nothing.1);
}

/// A line beside a signature over another root hash would be taken for signed.
#[test]
fn k2_a_signature_of_an_earlier_build_does_not_stay_beside_an_unsigned_line() {
    if is_openssl_missing() {
        return;
    }
    let folder = prepared();
    let there = |variant: &str| folder.path().join(format!("root_hash_{variant}.p7s")).exists();
    assert_eq!(signed(folder.path(), "own.key", "own.crt").0, Some(0));
    let unsigned = |variant| run(folder.path(), &[&IMAGE[..], &["--variant", variant]].concat());
    let (status, told) = unsigned("other");
    assert_eq!((status, there("x")), (Some(0), true), "another variant's: {told}");
    let (status, told) = unsigned("x");
    assert_eq!((status, there("x")), (Some(0), false), "{told}");
    assert!(told.contains("root_hash_x.p7s: nothing was signed this time"), "{told}");
}

#[test]
fn k1_a_signature_made_again_has_the_same_bytes() {
    if is_openssl_missing() {
        return;
    }
    let folder = prepared();
    let bytes = || {
        assert_eq!(signed(folder.path(), "own.key", "own.crt").0, Some(0));
        fs_err::read(folder.path().join("root_hash_x.p7s")).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

/// The good neighbours are keys in both of their forms.
#[test]
fn k4_what_cannot_sign_is_said_before_any_work_and_nothing_is_written() {
    if is_openssl_missing() {
        return;
    }
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let convert = |more: &[&str]| {
        let always = ["rsa", "-in", &path("own.key")];
        judge::run("openssl", &[&always[..], more].concat());
    };
    convert(&["-traditional", "-out", &path("old.key")]);
    let pass = ["-aes128", "-passout", "pass:secret", "-out"];
    convert(&[&pass[..], &[&path("encrypted.key")]].concat());
    convert(&[&["-traditional"], &pass[..], &[&path("old-encrypted.key")]].concat());
    let curve = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    judge::run("openssl", &[&curve[..], &[&path("curve.key")]].concat());
    let cases = [
        ("encrypted.key", "own.crt", "the key is encrypted"),
        ("old-encrypted.key", "own.crt", "the key is encrypted"),
        ("other.key", "own.crt", "the key is not the one of the certificate"),
        ("own.crt", "own.crt", "the key is no private key in PEM"),
        ("own.key", "own.key", "the certificate is none in PEM"),
        ("curve.key", "own.crt", "the key is no RSA key"),
        ("absent.key", "own.crt", "absent.key"),
    ];
    for (key, certificate, expected) in cases {
        let (status, told) = signed(folder.path(), key, certificate);
        assert_eq!(status, Some(2), "{key}: {told}");
        assert!(told.contains(expected), "{told}");
        for name in ["out", "root_hash_x.txt", "root_hash_x.p7s"] {
            assert!(!folder.path().join(name).exists(), "{key}: {name}");
        }
    }
    let one = run(folder.path(), &[&IMAGE[..], &["--root-hash-key", "own.key"]].concat());
    assert_eq!(one.0, Some(2), "{}", one.1);
    for key in ["own.key", "old.key"] {
        let (status, told) = signed(folder.path(), key, "own.crt");
        assert_eq!(status, Some(0), "{told}");
    }
}

#[test]
fn all_that_lies_beside_an_image_belongs_to_the_caller_under_sudo() {
    use std::os::unix::fs::MetadataExt as _;
    if is_openssl_missing() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        judge::skip("only root can give files away");
        return;
    }
    let folder = prepared();
    let files = ["--root-hash-key", "own.key", "--root-hash-certificate", "own.crt"];
    let asked = [&IMAGE[..], &files, &["--variant", "x", "--keep-database"]].concat();
    let sudo = [("SUDO_UID", "4321"), ("SUDO_GID", "8765")];
    let output = osbuilder_in(folder.path(), &asked, &sudo);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["out", "root_hash_x.txt", "root_hash_x.p7s"] {
        let status = fs_err::symlink_metadata(folder.path().join(name)).unwrap();
        assert_eq!((status.uid(), status.gid()), (4321, 8765), "{name}");
    }
}
