//! What to tell a person whose host forbids the sandbox: the setting that does it.

use rustix::io::Errno;

use super::step::Step;

/// The settings of a kernel that forbid user namespaces; none where the kernel lacks the setting.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    /// `kernel.unprivileged_userns_clone`, of Debian's kernels.
    unprivileged: Option<u64>,
    /// `user.max_user_namespaces`.
    most: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's kernels.
    apparmor: Option<u64>,
}

/// Returns what to do about a step that failed here, as the end of a sentence, or nothing.
pub(super) fn for_this_host(step: Step, errno: i32) -> String {
    let read = |path: &str| fs_err::read_to_string(path).ok()?.trim().parse().ok();
    let settings = Settings {
        unprivileged: read("/proc/sys/kernel/unprivileged_userns_clone"),
        most: read("/proc/sys/user/max_user_namespaces"),
        apparmor: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    };
    let advice = choose(step, Errno::from_raw_os_error(errno), settings);
    advice.map(|advice| format!(": {advice}")).unwrap_or_default()
}

fn choose(step: Step, errno: Errno, settings: Settings) -> Option<&'static str> {
    if matches!(errno, Errno::AGAIN | Errno::NOMEM) {
        return (errno == Errno::AGAIN).then_some(
            "no further process may be started (`ulimit -u`, or a limit of a container)",
        );
    }
    let about_namespaces = match step {
        Step::Namespaces | Step::Mapping | Step::Init => true,
        Step::Propagation | Step::Memory => errno == Errno::PERM || errno == Errno::ACCESS,
        _ => false,
    };
    if about_namespaces {
        return Some(match settings {
            Settings { unprivileged: Some(0), .. } => {
                "user namespaces are off for ordinary users; \
                 `sysctl kernel.unprivileged_userns_clone=1` allows them"
            }
            Settings { most: Some(0), .. } => {
                "user namespaces are off; `sysctl user.max_user_namespaces=10000` allows them"
            }
            Settings { apparmor: Some(1), .. } => {
                "AppArmor forbids user namespaces to ordinary programs; \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows them"
            }
            _ if errno == Errno::NOSPC || errno == Errno::USERS => {
                "too many user namespaces, or too deep; raise user.max_user_namespaces"
            }
            _ if errno == Errno::INVAL || errno == Errno::NOSYS => {
                "the kernel lacks a kind of namespace (CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS)"
            }
            _ => {
                "something forbids user namespaces here, most likely a container's filter of \
                 system calls; `--security-opt seccomp=unconfined` lifts that of Docker and Podman, \
                 and --plain-chroot does without, as root"
            }
        });
    }
    match (step, errno) {
        (Step::Proc, Errno::PERM) => Some(
            "parts of /proc are covered here, as containers do; \
             `--security-opt systempaths=unconfined` (Docker) or `--security-opt unmask=ALL` \
             (Podman) uncovers them",
        ),
        (Step::Name, Errno::PERM) => Some(
            "most likely a container's filter of system calls forbids it; \
             `--security-opt seccomp=unconfined` lifts that of Docker and Podman",
        ),
        (Step::Filter, Errno::BUSY) => {
            Some("another filter with a listener is in force; run outside of that sandbox")
        }
        (Step::Filter, _) => Some("the kernel needs CONFIG_SECCOMP_FILTER, and Linux 5.11"),
        (Step::Emulator, _) => Some("the kernel needs CONFIG_BINFMT_MISC, and Linux 6.7"),
        (Step::Root, Errno::PERM) => Some("a plain chroot needs the capability SYS_CHROOT"),
        (Step::Nodes, Errno::PERM) => Some(
            "a plain chroot needs the capability MKNOD; `--cap-add MKNOD` gives it to a container",
        ),
        (Step::Nodes, Errno::ACCESS) => {
            Some("the cache lies on a file system without devices; --cache names another place")
        }
        (Step::Children, _) => Some("the kernel needs CONFIG_PROC_CHILDREN, and /proc is mounted"),
        (Step::ProcPlace | Step::DevPlace, _) => {
            Some("it must be a directory of the tree itself and no link")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_the_setting_that_forbids_namespaces_is_named() {
        let none = Settings::default();
        let cases = [
            (Settings { unprivileged: Some(0), ..none }, "kernel.unprivileged_userns_clone=1"),
            (Settings { most: Some(0), ..none }, "user.max_user_namespaces=10000"),
            (Settings { apparmor: Some(1), ..none }, "apparmor_restrict_unprivileged_userns=0"),
            (Settings { most: Some(9), ..none }, "seccomp=unconfined"),
        ];
        for (settings, expected) in cases {
            let advice = choose(Step::Namespaces, Errno::PERM, settings).unwrap();
            assert!(advice.contains(expected), "{advice}");
        }
    }

    #[test]
    fn s18_other_refusals_are_not_blamed_on_namespaces() {
        let settings = Settings { most: Some(0), ..Settings::default() };
        assert!(choose(Step::Proc, Errno::PERM, settings).unwrap().contains("systempaths"));
        assert!(choose(Step::Name, Errno::PERM, settings).unwrap().contains("seccomp=unconfined"));
        assert_eq!(choose(Step::Pivot, Errno::PERM, settings), None);
        assert_eq!(choose(Step::Memory, Errno::NOMEM, settings), None);
        assert!(choose(Step::Init, Errno::AGAIN, settings).unwrap().contains("ulimit -u"));
    }
}
