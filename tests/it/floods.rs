//! Servers that never stop: what the program takes of the machine while it refuses them.

use std::path::PathBuf;
use std::process::Command;

use osbuilder_testkit::alpine::{self, Algorithm, gzip};
use osbuilder_testkit::alpine3;
use osbuilder_testkit::key::Key;
use osbuilder_testkit::repository::sha256;
use osbuilder_testkit::server::{Reply, Server, answer};

use crate::judge;
use crate::tiny::{Tiny, repository};

const MIB: u64 = 1 << 20;

/// A mirror whose `InRelease` is this.
fn mirror(reply: Reply) -> Option<Tiny> {
    let repository = repository("1", "echo never")?;
    Some(Tiny::new((&repository, &Key::default()), move |request, files| {
        if request.path().ends_with("InRelease") { reply.clone() } else { answer(files, request) }
    }))
}

/// How a refused build ended, what it told, and the most memory that it held, in bytes.
fn refused(tiny: &Tiny, prefix: &[&str]) -> (String, u64) {
    let places = [tiny.path("report"), tiny.path("out"), tiny.path("home")];
    let outcome = refused_in(places.each_ref(), prefix, &tiny.osbuilder("image"));
    assert!(tiny.names("out").is_empty());
    outcome
}

/// The same of any build; the places are those of a report, of the build, and of its user.
#[expect(clippy::disallowed_methods, reason = "memory is measured, and limited, by other programs")]
fn refused_in(
    [report, folder, home]: [&PathBuf; 3],
    prefix: &[&str],
    build: &Command,
) -> (String, u64) {
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%M", "--output"]).arg(report).args(prefix);
    command.arg(build.get_program()).args(build.get_args()).env_clear();
    command.current_dir(folder).env("HOME", home);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    let report = fs_err::read_to_string(report).unwrap();
    let kibibytes: u64 = report.lines().last().unwrap().trim().parse().unwrap();
    (told, kibibytes << 10)
}

/// The same of a build of Alpine from a mirror with these indexes of version 2 and 3.
#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn refused_alpine(second: Option<Reply>, third: Option<Reply>) -> (String, u64) {
    let folder = tempfile::tempdir().unwrap();
    let key = alpine::Key::trusted();
    fs_err::write(folder.path().join(&key.name), key.public()).unwrap();
    let server = Server::start(move |request| {
        let reply = match request.path() {
            path if path.ends_with("APKINDEX.tar.gz") => second.clone(),
            path if path.ends_with("Packages.adb") => third.clone(),
            _ => None,
        };
        reply.unwrap_or_else(|| Reply::status(404))
    });
    let mut build = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
    build.args(["rootfs", "alpine", "--arch", "x86_64", "--rootfs-only", "--output", "guest"]);
    build.args(["--key", &key.name, "--mirror", &server.url()]);
    let home = folder.path().to_owned();
    let outcome = refused_in([&home.join("report"), &home, &home], &[], &build);
    assert!(!home.join("guest").exists() && !home.join("osbuilder.lock").exists());
    outcome
}

#[test]
fn r4_an_endless_release_file_costs_little_memory() {
    if judge::is_missing(&["/usr/bin/time"]) {
        return;
    }
    let absent = mirror(Reply::ok(b"neither signed nor long"));
    let endless = mirror(Reply::head(200, &[]).flood(0, 1 << 40));
    let (Some(absent), Some(endless)) = (absent, endless) else { return };
    let (_, baseline) = refused(&absent, &[]);
    let (told, memory) = refused(&endless, &[]);
    assert!(told.contains("sends more than"), "{told}");
    assert!(memory < baseline + 64 * MIB, "{memory} bytes, and {baseline} without the flood");
}

#[test]
fn r4_endless_indexes_of_alpine_cost_little_memory() {
    if judge::is_missing(&["/usr/bin/time"]) {
        return;
    }
    let reply = |bytes: &[u8]| Some(Reply::ok(bytes));
    let (_, baseline) = refused_alpine(reply(b"neither signed nor long"), None);
    // What expands a thousandfold: alone, behind a stranger's signature, and in version 3.
    let (stranger, bomb) = (alpine::Key::stranger(), gzip(&vec![0; 300 << 20]));
    let signed = [stranger.signature(Algorithm::Sha1, &bomb), bomb.clone()].concat();
    let third = |mebibytes: usize| {
        let size = u32::try_from(mebibytes << 20).unwrap();
        let values = vec![0; (mebibytes << 20) - 4];
        let plain = [&b"ADB.indx"[..], &size.to_le_bytes(), &values].concat();
        alpine3::deflated(&plain)
    };
    for (second, third, reason) in [
        (Some(Reply::head(200, &[]).flood(0, 1 << 40)), None, "sends more than 10000000 bytes"),
        (reply(&bomb), None, "it is not signed"),
        (reply(&signed), None, "but stranger-1.rsa.pub"),
        (None, Some(Reply::head(200, &[]).flood(0, 1 << 40)), "sends more than 10000000 bytes"),
        (None, reply(&third(300)), "broken"),
        (None, reply(&third(15)), "it is not signed"),
    ] {
        let (told, memory) = refused_alpine(second, third);
        assert!(told.contains(reason), "{reason}: {told}");
        assert!(memory < baseline + 64 * MIB, "{reason}: {memory} bytes, and {baseline} without");
    }
}

#[test]
fn c2_a_line_of_a_gigabyte_is_refused_in_little_memory() {
    if judge::is_missing(&["/usr/bin/time", "prlimit"]) {
        return;
    }
    let begin = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: ";
    let Some(tiny) = mirror(Reply::head(200, &[]).send(begin).flood(b'x', 1 << 30)) else { return };
    let (told, _) = refused(&tiny, &["prlimit", &format!("--data={}", 64 * MIB)]);
    assert!(told.contains("sends more than"), "{told}");
}

#[test]
fn c2_a_release_file_that_breaks_off_anywhere_is_refused() {
    let key = Key::default();
    let Some(repository) = repository("1", "echo never") else { return };
    let whole = repository.files(&key)["dists/bookworm/InRelease"].clone();
    let cuts = (0..whole.len()).step_by(whole.len() / 9);
    for cut in cuts {
        let part = whole[..cut].to_vec();
        let tiny = Tiny::new((&repository, &key), move |request, files| {
            // Without a length, an end and an error of the connection look much the same.
            if request.path().ends_with("InRelease") {
                return Reply::head(200, &[]).send(&part);
            }
            if request.path().contains("Release") {
                return Reply::status(404);
            }
            answer(files, request)
        });
        let output = tiny.osbuilder("image").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "cut at {cut}: {told}");
        // Of all that came, nothing is kept: there is the agent, which is read before.
        let agent = sha256(&fs_err::read(tiny.path("agent")).unwrap());
        assert!(tiny.names("out").is_empty(), "{cut}");
        assert_eq!(tiny.names("cache/objects"), [agent], "{cut}");
    }
}
