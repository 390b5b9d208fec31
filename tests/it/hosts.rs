//! Hosts that are odd in one way or the other: the same bytes, or a refusal that names the reason.

use std::process::Command;

use osbuilder::digest::Digest;
use osbuilder::store::directory;
use osbuilder_testkit::repository::Repository;

use crate::judge;
use crate::tiny::{Tiny, repository};

const SCRIPT: &str = "umask; echo configured > /etc/tiny.state; \
                      /usr/bin/busybox chown 7:8 /etc/tiny.state";

/// `prefix` before the program: `prlimit --nofile=64 osbuilder image …`.
#[expect(clippy::disallowed_methods, reason = "oddities are made by other programs")]
fn under(prefix: &[&str], inner: &Command) -> Command {
    let Some((first, rest)) = prefix.split_first() else { panic!("a program comes first") };
    let mut command = Command::new(first);
    command.args(rest).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap());
    command
}

fn image(repository: &Repository, prefix: &[&str], variables: &[(&str, &str)]) -> Digest {
    let tiny = Tiny::of(repository);
    let mut command = under(prefix, &tiny.osbuilder("image"));
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{prefix:?} {variables:?}: {told}");
    Digest::of_reader(fs_err::File::open(tiny.path("out/guest")).unwrap()).unwrap().0
}

#[test]
fn f19_odd_hosts_make_the_same_bytes() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    if judge::is_missing(&["prlimit", "taskset"]) {
        return;
    }
    let plain = image(&repository, &["env"], &[]);
    let masked = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    /// What comes before the program, and variables.
    type Oddity<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let oddities: [Oddity<'_>; 6] = [
        (&masked, &[]),
        (&["prlimit", "--nofile=64:64"], &[]),
        (&["taskset", "--cpu-list", "0"], &[]),
        (&["env"], &[("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8"), ("TZ", "Asia/Kabul")]),
        (&["env"], &[("TMPDIR", "/nowhere")]),
        (&["sh", "-c", "ulimit -s 512; exec \"$@\"", "sh"], &[]),
    ];
    for (prefix, variables) in oddities {
        assert_eq!(image(&repository, prefix, variables), plain, "{prefix:?} {variables:?}");
    }
}

/// All that is mounted is read-only, but for the working directory and what kernels speak through.
const READ_ONLY: &str = r#"
here=$(pwd -P)
mount --bind "$here" "$here"
cut -d ' ' -f 5 /proc/self/mountinfo | while read -r point; do
  case "$point" in
    "$here" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/pts) ;;
    *) mount -o remount,bind,ro "$point" || exit 77 ;;
  esac
done
cd "$here"
if touch ../written 2>/dev/null; then exit 78; fi
exec "$@"
"#;

#[test]
fn nothing_is_written_but_into_the_folders_that_were_given() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let is_root = rustix::process::geteuid().is_root();
    let own: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let prefix = [&["unshare", "--mount"], own, &["sh", "-ec", READ_ONLY, "sh"]].concat();
    for verb in ["rootfs", "image", "initrd"] {
        let tiny = Tiny::of(&repository);
        let output = under(&prefix, &tiny.osbuilder(verb)).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || told.contains("unshare failed") {
            judge::skip(&told);
            return;
        }
        assert!(output.status.success(), "{verb}: {told}");
        let names = tiny.names("out");
        assert!(names.iter().any(|name| name == "guest"), "{verb}: {names:?}");
    }
}

#[test]
fn s18_a_host_that_forbids_user_namespaces_is_refused_and_the_setting_is_named() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let own_namespace = ["unshare", "--user", "--map-root-user", "sh", "-c"];
    let nested = |first: &str| {
        let tiny = Tiny::of(&repository);
        let script = format!("{first}exec \"$@\"");
        let prefix = [&own_namespace[..], &[&script, "sh"]].concat();
        let output = under(&prefix, &tiny.osbuilder("image")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told, tiny.names("out"))
    };
    let (status, told, out) = nested("");
    if told.contains("unshare failed") {
        judge::skip(&told);
        return;
    }
    assert_eq!((status, out.len()), (Some(0), 2), "{told}");
    let (status, told, out) = nested("echo 0 > /proc/sys/user/max_user_namespaces || exit 77; ");
    if status == Some(77) {
        judge::skip("/proc/sys cannot be written here");
        return;
    }
    assert_eq!((status, out), (Some(4), Vec::new()), "{told}");
    assert!(told.contains("sysctl user.max_user_namespaces=10000"), "{told}");
}

/// What Docker leaves to root in a container.
const CAPABILITIES_OF_A_CONTAINER: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,\
    +setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

#[test]
fn s18_a_plain_chroot_is_used_when_root_asks_for_it_and_is_recorded() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let tiny = Tiny::of(&repository);
    let run = |prefix: &[&str], more: &[&str]| {
        let mut command = tiny.osbuilder("rootfs");
        command.args(more);
        let output = under(prefix, &command).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if !rustix::process::geteuid().is_root() {
        let (status, told) = run(&["env"], &["--plain-chroot"]);
        assert_eq!(status, Some(4), "{told}");
        assert!(told.contains("a plain chroot needs root"), "{told}");
        return;
    }
    let (status, told) = run(&["env"], &[]);
    assert_eq!(status, Some(0), "{told}");
    let sandboxed = listing(&tiny.path("out/guest"));
    let (status, told) = run(&["env"], &["--plain-chroot", "--locked"]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("the lock is for another recipe: its place of scripts"), "{told}");

    if judge::is_missing(&["setpriv"]) {
        return;
    }
    let in_container = ["setpriv", "--bounding-set", CAPABILITIES_OF_A_CONTAINER];
    let (status, told) = run(&in_container, &["--plain-chroot"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("scripts run in a plain chroot, as was asked"), "{told}");
    let lock = fs_err::read_to_string(tiny.path("out/osbuilder.lock")).unwrap();
    assert!(lock.contains("plain_chroot = true\n"), "{lock}");
    let summary = tiny.path("out/guest/var/lib/osbuilder/osbuilder.yaml");
    let summary = fs_err::read_to_string(summary).unwrap();
    assert!(summary.ends_with("scripts-ran-in: \"plain chroot\"\n"), "{summary}");
    let unlike = |line: &&String| !line.contains("osbuilder.yaml");
    let plain = listing(&tiny.path("out/guest"));
    assert!(plain.iter().filter(unlike).eq(sandboxed.iter().filter(unlike)));
    assert!(plain.iter().any(|line| line.contains("etc/tiny.state") && line.contains("\t7\t8\t")));
    assert_eq!(tiny.names("cache/temporary"), Vec::<String>::new());
}

/// The lines that describe a directory.
fn listing(path: &std::path::Path) -> Vec<String> {
    let (tree, _) = directory::read(path, std::num::NonZeroUsize::MIN).unwrap();
    tree.to_listing().lines().map(str::to_owned).collect()
}

/// NFS and FUSE take a server or a device that a test cannot count on: what they do differently is
/// that descriptors go stale (`cargo xtask faults` lets calls fail with `ESTALE`) and that files
/// without a name are unknown to them, as to older overlays.
#[test]
fn f9_a_cache_on_an_overlay_gives_the_same_bytes_cold_and_warm() {
    let Some(repository) = repository("1", SCRIPT) else { return };
    let plain = image(&repository, &["env"], &[]);
    let tiny = Tiny::of(&repository);
    for name in ["cache", "lower", "upper", "work"] {
        fs_err::create_dir(tiny.path(name)).unwrap();
    }
    let mount = "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none cache \
                 || exit 77; exec \"$@\"";
    let prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"];
    for state in ["cold", "warm"] {
        let output = under(&prefix, &tiny.osbuilder("image")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || told.contains("unshare failed") {
            judge::skip(&format!("an overlay cannot be mounted: {told}"));
            return;
        }
        assert!(output.status.success(), "{state}: {told}");
        let file = fs_err::File::open(tiny.path("out/guest")).unwrap();
        assert_eq!(Digest::of_reader(file).unwrap().0, plain, "{state}");
    }
    assert!(!tiny.names("upper").is_empty());
}

/// What is written before the disk is full: for each form, the sizes of a small disk in steps of a
/// mebibyte up to the first on which the build succeeds.
#[test]
fn f3_on_a_full_disk_no_form_gets_its_name_and_the_old_output_stays() {
    let Some(repository) = repository("1", "echo never") else { return };
    let tiny = Tiny::of(&repository);
    tiny.build("image");
    let forms: [(&str, &[&str]); 4] = [
        ("rootfs", &[]),
        ("image", &[]),
        ("image", &["--measured", "--file-system", "erofs"]),
        ("initrd", &[]),
    ];
    for (verb, options) in forms {
        let left = if verb == "rootfs" { "left: guest=\n" } else { "left: guest=old\n" };
        let mut refused = 0;
        loop {
            let (status, told) = on_a_disk_of(refused + 1, &tiny, (verb, options));
            if status == Some(77) || told.contains("unshare failed") {
                judge::skip(&told);
                return;
            }
            if status == Some(0) {
                break;
            }
            refused += 1;
            assert_eq!(status, Some(4), "{verb} {refused} MiB: {told}");
            assert!(told.contains("bytes of room"), "{verb} {refused} MiB: {told}");
            assert!(told.ends_with(left), "{verb} {refused} MiB: {told}");
            assert!(refused < 64, "{verb}: {told}");
        }
        assert!(refused > 1, "{verb} {options:?}: no disk was too small");
    }
}

/// Builds into a folder on a disk of its own; says what is left there: names and what they hold.
fn on_a_disk_of(
    mebibytes: u32,
    tiny: &Tiny,
    (verb, options): (&str, &[&str]),
) -> (Option<i32>, String) {
    let old = if verb == "rootfs" { "mkdir" } else { "printf old >" };
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m small out || exit 77; {old} out/guest; \"$@\"; status=$?; \
         cd out; printf 'left:' >&2; for name in $(ls -A); do \
         printf ' %s=%s' \"$name\" \"$(test -d $name && ls -A $name | head -c 99 || head -c 99 $name)\" >&2; \
         done; echo >&2; exit $status"
    );
    let prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    let mut command = tiny.osbuilder(verb);
    command.args(options);
    let output = under(&prefix, &command).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).replace('\0', "");
    (output.status.code(), told)
}
