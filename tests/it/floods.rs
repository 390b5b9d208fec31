//! Servers that never stop: what the program takes of the machine while it refuses them.

use std::process::Command;

use osbuilder_testkit::key::Key;
use osbuilder_testkit::server::{Reply, answer};

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
#[expect(clippy::disallowed_methods, reason = "memory is measured, and limited, by other programs")]
fn refused(tiny: &Tiny, prefix: &[&str]) -> (String, u64) {
    let report = tiny.path("report");
    let build = tiny.osbuilder("image");
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%M", "--output"]).arg(&report).args(prefix);
    command.arg(build.get_program()).args(build.get_args()).env_clear();
    command.current_dir(tiny.path("out")).env("HOME", tiny.path("home"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(tiny.names("out").is_empty());
    let report = fs_err::read_to_string(report).unwrap();
    let kibibytes: u64 = report.lines().last().unwrap().trim().parse().unwrap();
    (told, kibibytes << 10)
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
        assert!(tiny.names("out").is_empty() && tiny.names("cache/objects").is_empty(), "{cut}");
    }
}
