//! The little init that makes a distribution's kernel ready for a guest.
//!
//! Kata's kernels have their drivers built in. Where a driver is a module, `osbuilder boot` puts
//! the modules into `/boot-init` of an initrd, with a list of their names in the order in which
//! they must be loaded. This loads them, has the root checked where it is measured, mounts the root that the kernel's parameters name, as the
//! kernel itself would have, and becomes its init. Without such a parameter the initrd itself is
//! the guest, and its `/init` follows.

use std::error::Error;
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use rustix::process::{chdir, chroot};
use rustix::system::finit_module;

use crate::verity::Device;

const FOLDER: &str = "/boot-init";
/// Names of files in [`FOLDER`], one a line, in the order of loading.
const LIST: &str = "/boot-init/modules";
const NEW_ROOT: &str = "/boot-init/root";
/// How often, and how far apart, the root device is looked for.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// Whether this initrd was made for the loader.
pub(crate) fn is_wanted() -> bool {
    Path::new(FOLDER).is_dir()
}

/// Loads the modules and becomes the guest's init; returns only when that fails.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs_err::create_dir_all(place)?;
        crate::init::mount_one(kind, place, c"")
            .map_err(|error| format!("cannot mount {place}: {error}"))?;
    }
    for name in fs_err::read_to_string(LIST)?.lines() {
        match load(name) {
            Ok(()) => crate::say(&format!("loaded {name}")),
            Err(error) => crate::say(&format!("cannot load {name}: {error}")),
        }
    }
    let parameters = fs_err::read_to_string("/proc/cmdline")?;
    if let Some(device) = Device::parse(&parameters) {
        for part in device.parts() {
            wait_for(part)?;
        }
        device.create()?;
        crate::say("the root is checked by dm-verity");
    }
    let root = Root::parse(&parameters);
    if let Some(root) = &root {
        root.mount()?;
    }
    for place in ["/dev", "/sys", "/proc"] {
        unmount(place, UnmountFlags::DETACH)?;
    }
    match &root {
        Some(root) => {
            enter(NEW_ROOT)?;
            become_init(&root.init)
        }
        None => {
            // The guest's init may be this program too, and must not take itself for the loader.
            fs_err::remove_dir_all(FOLDER)?;
            become_init("/init")
        }
    }
}

/// Waits until a device is there.
fn wait_for(device: &str) -> Result<(), Box<dyn Error>> {
    let mut tries = 0;
    while !Path::new(device).exists() {
        if tries == TRIES {
            return Err(format!("the device {device} did not appear").into());
        }
        tries += 1;
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn load(name: &str) -> Result<(), Box<dyn Error>> {
    let file = fs_err::File::open(Path::new(FOLDER).join(name))?;
    match finit_module(&file, c"", 0) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// The root file system, as the kernel's parameters describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Root {
    device: String,
    file_system: String,
    options: String,
    init: String,
}

impl Root {
    /// Reads `root=`, `rootfstype=`, `rootflags=` and `init=`; `None` without a `root=`.
    fn parse(parameters: &str) -> Option<Self> {
        let last = |name: &str| {
            let mut words = parameters.split_ascii_whitespace().rev();
            words.find_map(|word| word.strip_prefix(name)).map(str::to_owned)
        };
        Some(Self {
            device: last("root=")?,
            file_system: last("rootfstype=").unwrap_or_else(|| "ext4".to_owned()),
            options: last("rootflags=").unwrap_or_default(),
            init: last("init=").unwrap_or_else(|| "/sbin/init".to_owned()),
        })
    }

    /// Mounts it read-only, once its device is there.
    fn mount(&self) -> Result<(), Box<dyn Error>> {
        wait_for(&self.device)?;
        fs_err::create_dir_all(NEW_ROOT)?;
        let options = CString::new(self.options.as_str())?;
        let kind = self.file_system.as_str();
        mount(self.device.as_str(), NEW_ROOT, kind, MountFlags::RDONLY, options.as_c_str())
            .map_err(|error| format!("cannot mount {self:?}: {error}"))?;
        Ok(())
    }
}

/// Makes the file system mounted at `place` the root of everything, as `switch_root` does.
fn enter(place: &str) -> rustix::io::Result<()> {
    chdir(place)?;
    mount_move(".", "/")?;
    chroot(".")?;
    chdir("/")
}

#[expect(clippy::disallowed_methods, reason = "this process becomes the guest's init")]
fn become_init(program: &str) -> Result<(), Box<dyn Error>> {
    let error = Command::new(program).exec();
    Err(format!("cannot start {program}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_what_the_parameters_say() {
        let line =
            "panic=1 root=/dev/vda1 rootfstype=ext4 rootflags=data=ordered,errors=remount-ro ro\n";
        let root = Root::parse(line).unwrap();
        assert_eq!(root.device, "/dev/vda1");
        assert_eq!(root.options, "data=ordered,errors=remount-ro");
        assert_eq!(root.init, "/sbin/init");
        assert_eq!(Root::parse(&format!("{line} init=/x")).unwrap().init, "/x");
        assert_eq!(Root::parse("panic=1 rdinit=/boot-init/init"), None);
    }
}
