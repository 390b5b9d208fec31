//! Power cuts: what is on the disk before a name is given, and caches of which writes were lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::digest::Digest;

use crate::judge;
use crate::tiny::{Tiny, repository};

const SCRIPT: &str = "echo configured > /etc/tiny.state";

/// The calls of a build that concern `out/`, in order: strace's lines, with paths of descriptors.
#[expect(clippy::disallowed_methods, reason = "another program sees the system calls")]
fn calls(tiny: &Tiny, verb: &str) -> Vec<String> {
    let trace = tiny.path("trace");
    let build = tiny.osbuilder(verb);
    let kinds = "trace=write,pwrite64,ftruncate,fchown,fsync,syncfs,linkat,renameat,renameat2";
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-s", "0", "--seccomp-bpf", "-e", kinds, "-o"]).arg(&trace);
    command.arg(build.get_program()).args(build.get_args()).current_dir(tiny.path("out"));
    command.env_clear().env("HOME", tiny.path("home"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = tiny.path("out").display().to_string();
    let text = fs_err::read_to_string(trace).unwrap();
    let mine = text.lines().filter(|line| line.contains(&folder) && !line.contains("resumed>"));
    mine.map(|line| line.replace(&folder, "OUT")).collect()
}

/// The place of the only call that gives a name.
fn naming(calls: &[String], name: &str) -> usize {
    let named = format!("\"{name}\"");
    let gives = |call: &String| call.contains("linkat(") || call.contains("rename");
    let found: Vec<_> =
        (0..calls.len()).filter(|&at| gives(&calls[at]) && calls[at].contains(&named)).collect();
    assert_eq!(found.len(), 1, "{name}: {calls:#?}");
    found[0]
}

/// The last call of a kind that concerns the folder itself, or a file in it.
fn last(calls: &[String], kinds: &[&str], is_folder: bool) -> Option<usize> {
    calls.iter().rposition(|call| {
        kinds.iter().any(|kind| call.contains(&format!(" {kind}(")))
            && call.contains("<OUT>") == is_folder
    })
}

#[test]
fn f1_an_output_is_on_the_disk_before_it_has_its_name() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    if judge::is_missing(&["strace"]) {
        return;
    }
    let tiny = Tiny::of(&repository);
    tiny.build("image");
    for verb in ["image", "initrd"] {
        fs_err::remove_dir_all(tiny.path("out")).unwrap();
        fs_err::create_dir(tiny.path("out")).unwrap();
        let calls = calls(&tiny, verb);
        for name in ["guest", "osbuilder.lock"] {
            let named = naming(&calls, name);
            let before = &calls[..named];
            let written = last(before, &["write", "pwrite64", "ftruncate", "fchown"], false);
            let synced = last(before, &["fsync"], false);
            assert!(synced > written && written.is_some(), "{verb}, {name}: {calls:#?}");
            let folder_synced = last(&calls[named..], &["fsync"], true);
            assert!(folder_synced.is_some(), "{verb}, {name}: {calls:#?}");
        }
    }
    fs_err::remove_dir_all(tiny.path("out")).unwrap();
    fs_err::create_dir(tiny.path("out")).unwrap();
    let calls = calls(&tiny, "rootfs");
    let named = naming(&calls, "guest");
    let synced = last(&calls[..named], &["syncfs"], false);
    let written = last(&calls[..named], &["write", "pwrite64"], false);
    assert!(synced > written && written.is_some(), "{calls:#?}");
    assert!(last(&calls[named..], &["fsync"], true).is_some(), "{calls:#?}");
}

/// Every file of a cache but its lock.
fn files(tiny: &Tiny) -> Vec<PathBuf> {
    let mut pending = vec![tiny.path("cache")];
    let mut files = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false if path.ends_with("lock") || path.ends_with("layout") => {}
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn f1_a_cache_that_lost_writes_gives_the_same_bytes() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let tiny = Tiny::of(&repository);
    let build = |what: &str| {
        drop(fs_err::remove_file(tiny.path("out/guest")));
        drop(fs_err::remove_file(tiny.path("out/osbuilder.lock")));
        let output = tiny.osbuilder("image").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {told}");
        // What was lost and not yet replaced is put aside, never used.
        Digest::of_reader(fs_err::File::open(tiny.path("out/guest")).unwrap()).unwrap().0
    };
    let expected = build("undisturbed");
    /// What is left of a file's bytes.
    type Loss = fn(&[u8]) -> Vec<u8>;
    let losses: [(&str, Loss); 4] = [
        ("nothing is left", |_| Vec::new()),
        ("the second half is gone", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("the size is right and nothing else", |bytes| vec![0; bytes.len()]),
        ("the last page is torn", |bytes| {
            let kept = bytes.len().saturating_sub(1) / 4096 * 4096;
            [&bytes[..kept], &vec![0; bytes.len() - kept]].concat()
        }),
    ];
    for (what, loss) in losses {
        for path in files(&tiny) {
            let bytes = fs_err::read(&path).unwrap();
            fs_err::write(&path, loss(&bytes)).unwrap();
        }
        assert_eq!(build(what), expected, "{what}, in all files");
    }
    let (_, half) = losses[1];
    for path in files(&tiny) {
        let name = path.display().to_string();
        let Ok(bytes) = fs_err::read(&path) else { continue };
        fs_err::write(&path, half(&bytes)).unwrap();
        assert_eq!(build(&name), expected, "{name} lost its second half");
    }
}

#[test]
fn f6_a_content_that_changed_in_the_cache_becomes_no_output_and_comes_again_with_the_next_build() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let tiny = Tiny::of(&repository);
    for verb in ["image", "initrd"] {
        drop(fs_err::remove_file(tiny.path("out/guest")));
        tiny.build(verb);
        let expected = fs_err::read(tiny.path("out/guest")).unwrap();
        let packs = files(&tiny)
            .into_iter()
            .filter(|path| path.parent() == Some(&tiny.path("cache/packs")));
        let changed = packs.filter(|pack| change(pack, b"BusyBox v", b"BusyBox w")).count();
        assert!(changed > 0, "{:?}", files(&tiny));
        fs_err::remove_file(tiny.path("out/guest")).unwrap();
        let failed = tiny.osbuilder(verb).output().unwrap();
        let told = String::from_utf8_lossy(&failed.stderr);
        assert!(!failed.status.success() && told.contains("cannot read the content of"), "{told}");
        assert!(!tiny.path("out/guest").exists());
        tiny.build(verb);
        assert!(fs_err::read(tiny.path("out/guest")).unwrap() == expected, "{verb}");
    }
}

/// Replaces bytes of a file by others of the same number, wherever they stand.
fn change(path: &Path, from: &[u8], to: &[u8]) -> bool {
    let mut bytes = fs_err::read(path).unwrap();
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    places.iter().for_each(|at| bytes[*at..at + to.len()].copy_from_slice(to));
    fs_err::write(path, bytes).unwrap();
    !places.is_empty()
}
