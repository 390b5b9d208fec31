//! Probes that use up memory, time and space, or reach for control groups to get more.

use super::*;

/// Takes memory at once and in pieces until there is no more.
pub(super) fn hoard() {
    say(Vec::<u8>::new().try_reserve_exact(1 << 40).is_err());
    const PIECE: usize = 16 << 20;
    let mut kept = Vec::new();
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() {
            break;
        }
        piece.resize(PIECE, 1_u8);
        kept.push(piece);
    }
    say(kept.len() > 2 && kept.len() < 64);
}

/// Hears no signal that can be unheard.
pub(super) fn deaf() {
    for signal in 1..=64 {
        // SAFETY: ignoring runs no handler; signals that cannot be ignored fail without effect.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    std::thread::sleep(Duration::from_secs(1_000_000));
}

/// Makes a small file and one that is all hole.
pub(super) fn sparse() {
    let file = fs_err::File::create("/tmp/sparse").unwrap();
    say(file.set_len(1 << 20).is_ok());
    // What follows the signal of a file that is too large is not reached.
    say(file.set_len((1 << 63) - 1).is_ok());
}

/// Looks for control groups.
pub(super) fn groups() {
    let own = fs_err::read_to_string("/proc/self/cgroup").unwrap();
    say(own.lines().all(|line| line.ends_with(":/")));
    for kind in [c"cgroup", c"cgroup2"] {
        let (what, place) = (c"none".as_ptr(), c"/tmp".as_ptr());
        // SAFETY: texts that end in NUL, and no data.
        let mounted = unsafe { libc::mount(what, place, kind.as_ptr(), 0, std::ptr::null()) };
        say(outcome(mounted.into()));
    }
    for path in ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/release_agent", "/proc/self/cgroup"]
    {
        say(write_to(path));
    }
}

#[test]
fn s9_control_groups_are_neither_mounted_nor_to_be_had() {
    assert_eq!(probe("groups"), ["true", "EPERM", "EPERM", "ENOENT", "ENOENT", "EROFS"]);
}

#[test]
fn s13_a_program_that_hoards_memory_gets_no_more_than_its_share() {
    let limits = Limits { memory: 768 << 20, ..Limits::default() };
    let mut sandbox = prepared(limits).enter().unwrap();
    let (status, printed) = probe_in(&mut sandbox, "hoard").unwrap();
    assert!(status.is_success(), "{status}: {printed}");
    assert_eq!(answers(&printed), ["true", "true"]);
}

#[test]
fn s13_a_program_that_hears_no_signal_is_ended_all_the_same() {
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    let mut sandbox = prepared(limits).enter().unwrap();
    let begin = Instant::now();
    let error = probe_in(&mut sandbox, "deaf").unwrap_err();
    assert!(matches!(error, Error::TookTooLong { .. }), "{error}");
    drop(sandbox);
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn s14_a_file_that_is_all_hole_is_stopped_at_its_cap() {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    let (status, printed) = probe_in(&mut sandbox, "sparse").unwrap();
    assert_eq!(status, Status::Killed(libc::SIGXFSZ), "{printed}");
    assert_eq!(answers(&printed), ["true"]);
}
