//! Ctrl-C, SIGTERM and SIGHUP at each stage: the status says so, and nothing is left behind.
//!
//! What is left of processes is known because the test process adopts them; it needs to be alone
//! for that, so each suite runs in a process of its own.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use osbuilder_testkit::key::Key;
use osbuilder_testkit::server::{Reply, answer};
use rustix::process::{Pid, Signal, WaitOptions, kill_process};

use crate::tiny::{Tiny, repository};

const QUICK: &str = "echo done";
const SLOW: &str = "echo asleep; /usr/bin/busybox sleep 1000 & /usr/bin/busybox sleep 1000";
const ALL: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];
/// How long whatever the program started may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `suite`, an ignored test of this file, in a process of its own.
#[expect(clippy::disallowed_methods, reason = "adopting processes is for one test alone")]
fn alone(suite: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("alone"), "").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("signals::{suite}")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (text, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}{told}");
}

/// Whether this process was started by [`alone`]. If so, it adopts orphans from now on.
fn is_alone() -> bool {
    let alone = Path::new("alone").exists();
    if alone {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    }
    alone
}

/// Sends a signal once the program has said `until` on its standard error; returns its status.
fn interrupt(mut command: Command, until: &str, signal: Signal) -> Option<i32> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = Vec::new();
    let found = lines.by_ref().map_while(Result::ok).any(|line| {
        told.push(line);
        told.last().is_some_and(|line| line.contains(until))
    });
    assert!(found, "it never said {until}: {}", told.join("\n"));
    end(&mut child, signal)
}

fn end(child: &mut Child, signal: Signal) -> Option<i32> {
    kill_process(Pid::from_child(child), signal).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), None, "it decides itself how it ends");
    status.code()
}

/// Waits until no process is left that the program started.
fn nobody_is_left() {
    let began = Instant::now();
    loop {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let left = children();
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose parent we are, with their names, from proc_pid_stat(5).
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = entries.filter_map(|entry| fs_err::read_to_string(entry.path().join("stat")).ok());
    let ours = stats.filter(|stat| {
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after_name.split(' ').nth(1) == Some(own.as_str())
    });
    ours.collect()
}

/// What is mounted in the test's folder, which holds all that the program may write. Others of the
/// host's mounts come and go with other tests.
fn mounts(tiny: &Tiny) -> Vec<String> {
    let folder = tiny.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(folder)).map(str::to_owned).collect()
}

/// Interrupts a build and looks at what it leaves.
fn check(tiny: &Tiny, (verb, until): (&str, &str), signal: Signal) {
    let status = interrupt(tiny.osbuilder(verb), until, signal);
    assert_eq!(status, Some(128 + signal.as_raw()), "{verb}, {until}, {signal:?}");
    nobody_is_left();
    assert_eq!(mounts(tiny), [""; 0], "{verb}, {until}");
    for folder in ["out", "tmp", "cache/temporary"] {
        assert!(tiny.names(folder).is_empty(), "{verb}, {until}: {:?}", tiny.names(folder));
    }
}

fn stage(name: &str) -> String {
    format!("\"stage-started\",\"stage\":\"{name}\"")
}

#[test]
#[ignore = "a part of f18_a_build_that_is_interrupted_leaves_nothing"]
fn builds() {
    if !is_alone() {
        return;
    }
    let Some(quick) = repository("1", QUICK) else { return };
    let key = Key::default();
    for (slow, name) in [("InRelease", "indexes"), ("tiny-service", "fetch")] {
        let tiny = Tiny::new((&quick, &key), move |request, files| {
            let answer = answer(files, request);
            if request.path().contains(slow) {
                return Reply::head(200, &[("Content-Length", "9999")]).wait(PATIENCE * 2);
            }
            answer
        });
        for signal in ALL {
            check(&tiny, ("image", &stage(name)), signal);
        }
    }
    let asleep = Tiny::of(&repository("1", SLOW).unwrap());
    for signal in ALL {
        check(&asleep, ("image", "asleep"), signal);
    }
    let tiny = Tiny::of(&quick);
    check(&tiny, ("image", &stage("unpack")), Signal::TERM);
    check(&tiny, ("image", &stage("configure")), Signal::INT);
    for verb in ["image", "initrd", "rootfs"] {
        check(&tiny, (verb, &stage("image")), Signal::INT);
        check(&tiny, (verb, &stage("provision")), Signal::TERM);
    }
    check(&tiny, ("image", &stage("check")), Signal::TERM);
    tiny.build("image");
    assert_eq!(tiny.names("out"), ["guest", "osbuilder.lock"]);
}

#[test]
fn f18_a_build_that_is_interrupted_leaves_nothing() {
    alone("builds");
}

/// `osbuilder boot` with a stand-in for QEMU.
fn boot(tiny: &Tiny, qemu: &str) -> Command {
    let folder = tiny.path("bin");
    fs_err::create_dir_all(&folder).unwrap();
    let program = folder.join(format!("qemu-system-{}", std::env::consts::ARCH));
    fs_err::write(&program, format!("#!/bin/sh\n{qemu}\n")).unwrap();
    fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::write(tiny.path("guest"), b"\x1f\x8b").unwrap();
    fs_err::write(tiny.path("kernel"), b"").unwrap();
    let mut command = tiny.bare();
    command.arg("boot").arg(tiny.path("guest")).arg("--kernel").arg(tiny.path("kernel"));
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    command.env("STARTED", tiny.path("started"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
#[ignore = "a part of f18_a_boot_that_is_interrupted_leaves_nothing"]
fn boots() {
    if !is_alone() {
        return;
    }
    let Some(repository) = repository("1", QUICK) else { return };
    let tiny = Tiny::of(&repository);
    // One has not said anything yet, so its folder is still there; the other runs.
    for qemu in [": > $STARTED; exec sleep 1000", "echo up; : > $STARTED; exec sleep 1000"] {
        for signal in ALL {
            let mut child = boot(&tiny, qemu).spawn().unwrap();
            let began = Instant::now();
            while !tiny.path("started").exists() {
                assert!(began.elapsed() < PATIENCE, "the machine was not started");
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(end(&mut child, signal), Some(128 + signal.as_raw()), "{qemu}");
            nobody_is_left();
            assert!(tiny.names("tmp").is_empty(), "{qemu}: {:?}", tiny.names("tmp"));
            fs_err::remove_file(tiny.path("started")).unwrap();
        }
    }
}

#[test]
fn f18_a_boot_that_is_interrupted_leaves_nothing() {
    alone("boots");
}

#[test]
fn f18_a_reader_that_goes_away_fails_no_build() {
    let Some(repository) = repository("1", QUICK) else { return };
    let tiny = Tiny::of(&repository);
    let mut command = tiny.osbuilder("image");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert_eq!(tiny.names("out"), ["guest", "osbuilder.lock"]);
}

#[test]
fn f18_a_reader_that_reads_nothing_does_not_hold_an_interrupted_build() {
    let Some(repository) = repository("1", "while :; do echo 0123456789abcdef; done") else {
        return;
    };
    let tiny = Tiny::of(&repository);
    let mut command = tiny.osbuilder("image");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pipe = child.stderr.take().unwrap();
    let began = Instant::now();
    // The pipe is full when the script has begun to print.
    let is_full = || rustix::io::ioctl_fionread(&pipe).unwrap() >= 60_000;
    while !is_full() {
        assert!(began.elapsed() < Duration::from_secs(60), "the pipe does not fill");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(end(&mut child, Signal::TERM), Some(143));
    assert!(tiny.names("out").is_empty());
}
