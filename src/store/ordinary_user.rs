//! For tests: being somebody who is not root, whoever runs them.

use std::path::Path;

/// Runs a test as somebody who is not root, in a folder of theirs. Credentials belong to
/// threads, so those of the other tests stay what they are.
pub(super) fn as_ordinary_user(test: impl FnOnce(&Path) + Send) {
    let top = tempfile::tempdir().unwrap();
    if !rustix::process::geteuid().is_root() {
        return test(top.path());
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(1234), rustix::fs::Gid::from_raw(1234));
    std::os::unix::fs::chown(top.path(), Some(1234), Some(1234)).unwrap();
    std::thread::scope(|scope| {
        let run = || {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            test(top.path());
        };
        scope.spawn(run).join().unwrap();
    });
}
