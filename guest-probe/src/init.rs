//! What the first process of a guest has to do: mount what programs expect, and wait for orphans.

use std::convert::Infallible;
use std::error::Error;
use std::ffi::CStr;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, wait};
use rustix::system::{RebootCommand, reboot};

/// Type, place and options of what is mounted, in this order.
const MOUNTS: [(&str, &str, &CStr); 6] = [
    ("proc", "/proc", c""),
    ("sysfs", "/sys", c""),
    ("devtmpfs", "/dev", c"mode=0755"),
    ("tmpfs", "/tmp", c"mode=1777"),
    ("tmpfs", "/run", c"mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", c""),
];
/// How long to wait before looking for orphans again, when there are none.
const PAUSE: Duration = Duration::from_secs(1);

/// Mounts, starts `service` beside, and reaps orphans until the service fails.
pub(crate) fn run(service: fn() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    for (kind, place, options) in MOUNTS {
        if let Err(error) = mount_one(kind, place, options) {
            crate::say(&format!("cannot mount {place}: {error}"));
        }
    }
    thread::Builder::new().spawn(|| -> Infallible { reap() })?;
    service()
}

/// Mounts one pseudo file system; that it is mounted already is as good.
pub(crate) fn mount_one(kind: &str, place: &str, options: &CStr) -> rustix::io::Result<()> {
    let flags = MountFlags::NOSUID
        | if kind == "devtmpfs" { MountFlags::empty() } else { MountFlags::NODEV };
    match mount(kind, place, kind, flags, options) {
        Err(Errno::BUSY) => Ok(()),
        result => result,
    }
}

/// Waits for every process whose parent is gone, so that none stays as a zombie.
fn reap() -> Infallible {
    loop {
        if wait(WaitOptions::empty()).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// Ends the virtual machine. A first process that returned would make the kernel panic.
pub(crate) fn power_off() {
    rustix::fs::sync();
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        crate::say(&format!("cannot power off: {error}"));
    }
}
