//! What Kata's `rootfs.sh` guarantees of a guest: each test is named after one guarantee, and goes
//! over init × seccomp × policy × confidential where that matters.

use std::collections::BTreeMap;

use super::*;
use crate::tree::{Device, Kind, Meta, NoContents};

const EPOCH: u64 = 1_700_000_000;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// Makes a tree: `/` at the end is a directory, `-> x` a link, everything else a file.
fn tree(entries: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (name, what) in entries {
        let meta = Meta { mtime: 1_600_000_000, ..Meta::root(0o755) };
        let parent = path(name).parent().unwrap();
        tree.make_directories(&parent, &meta).unwrap();
        let place = tree.resolve_parent(&path(name)).unwrap();
        let kind = match what.strip_prefix("-> ") {
            Some(target) => Kind::Symlink(target.as_bytes().into()),
            None if *what == "/" => Kind::Directory(BTreeMap::new()),
            None => Kind::Regular(Content::Inline(what.as_bytes().into())),
        };
        tree.insert(&place, Inode { meta, kind }).unwrap();
    }
    tree
}

/// A Debian system in a nutshell: merged /usr, systemd, chrony, D-Bus, a package database.
fn debian() -> Tree {
    tree(&[
        ("usr/bin/sh", "sh"),
        ("usr/sbin/chronyd", "elf"),
        ("usr/lib/systemd/systemd", "elf"),
        ("bin", "-> usr/bin"),
        ("sbin", "-> usr/sbin"),
        ("lib", "-> usr/lib"),
        ("usr/sbin/init", "-> ../lib/systemd/systemd"),
        ("usr/lib/systemd/system/dbus.socket", "[Unit]"),
        (
            "usr/lib/systemd/system/chrony.service",
            "[Unit]\n[Service]\nExecStart=/usr/sbin/chronyd -u x\n",
        ),
        ("usr/lib/systemd/system/systemd-udevd.service", "[Unit]"),
        ("usr/lib/systemd/system/sockets.target.wants/systemd-udevd-control.socket", "-> ../x"),
        ("usr/lib/systemd/system/systemd-udevd.service.d/x.conf", "kept"),
        ("usr/lib/systemd/system-generators/systemd-fstab-generator", "elf"),
        ("usr/lib/systemd/system-generators/systemd-getty-generator", "elf"),
        ("usr/share/systemd/tmp.mount", "[Mount]\nWhat=debian"),
        ("usr/share/doc/sh/copyright", "text"),
        ("usr/share/man/man1/sh.1", "text"),
        ("usr/share/zoneinfo/UTC", "utc"),
        ("etc/chrony/chrony.conf", "pool x iburst\n"),
        ("etc/fstab", "# static\ntmpfs /run tmpfs size=10% 0 0\n/dev/x / ext4 ro 0 0\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
        ("var/lib/dpkg/status", "Package: sh"),
        ("var/cache/x", "x"),
        ("var/log/dpkg.log", "log"),
        ("var/tmp/x", "x"),
        ("var/run", "/"),
    ])
}

fn summary() -> Summary {
    Summary {
        osbuilder_version: None,
        architecture: "x86_64".to_owned(),
        distro: "debian".to_owned(),
        release: "trixie".to_owned(),
        packages: Vec::new(),
        extra_packages: Vec::new(),
        agent_repository: "github.com/kata-containers/kata-containers".to_owned(),
        agent_version: None,
        plain_chroot: false,
    }
}

fn with_inputs<T>(init: Init, use_them: impl FnOnce(Inputs<'_>) -> T) -> T {
    let agent = Agent::Binary(Content::Inline(b"elf"[..].into()));
    use_them(Inputs {
        agent: Some(&agent),
        agent_name: "kata-agent",
        init,
        policy: None,
        confidential: false,
        prune: false,
        keep_database: false,
        check_init: true,
        without_packages: false,
        modules: None,
        hooks: None,
        pause: None,
        confidential_components: None,
        extra_files: &[],
        summary: &summary(),
        by_handlers: false,
        epoch: Epoch::new(EPOCH).unwrap(),
        contents: &NoContents,
    })
}

/// Provisions the Debian tree after `change` had its way with the inputs.
fn guest(init: Init, change: impl FnOnce(&mut Inputs<'_>)) -> Tree {
    with_inputs(init, |mut inputs| {
        change(&mut inputs);
        provision(debian(), &inputs).unwrap()
    })
}

/// What is at a path, links on the way followed: `file:text`, `link:target`, `directory`, `nothing`.
fn at(tree: &Tree, name: &str) -> String {
    let place = tree.resolve_parent(&path(name)).unwrap();
    match tree.get(&place).map(|inode| &inode.kind) {
        None => "nothing".to_owned(),
        Some(Kind::Directory(_)) => "directory".to_owned(),
        Some(Kind::Symlink(target)) => format!("link:{}", String::from_utf8_lossy(target)),
        Some(Kind::Regular(Content::Inline(bytes))) => {
            format!("file:{}", String::from_utf8_lossy(bytes))
        }
        Some(Kind::CharacterDevice(Device { major, minor })) => format!("device:{major}:{minor}"),
        Some(other) => format!("{other:?}"),
    }
}

fn mode(tree: &Tree, name: &str) -> u16 {
    tree.get(&tree.resolve_parent(&path(name)).unwrap()).unwrap().meta.mode
}

#[test]
fn documentation_goes_and_time_zones_stay() {
    let guest = guest(Init::Systemd, |_| {});
    assert_eq!(at(&guest, "usr/share/doc"), "nothing");
    assert_eq!(at(&guest, "usr/share/man"), "nothing");
    assert_eq!(at(&guest, "usr/share/zoneinfo/UTC"), "file:utc");
    assert_eq!(at(&guest, "var/run"), "link:/run");
    for (node, numbers) in [("console", "5:1"), ("null", "1:3"), ("zero", "1:5"), ("tty", "5:0")] {
        assert_eq!(at(&guest, &format!("dev/{node}")), format!("device:{numbers}"));
    }
    assert_eq!(at(&guest, "dev/ttyS3"), "device:4:67");
    assert_eq!(at(&guest, "dev/fd"), "link:/proc/self/fd");
}

#[test]
fn the_certificate_link_needs_certificates_from_a_package() {
    assert_eq!(at(&guest(Init::Agent, |_| {}), "usr/lib/ssl/cert.pem"), "nothing");
    let mut tree = debian();
    let bundle = tree_with("etc/ssl/certs/ca-certificates.crt", "pem");
    tree.overlay(&TreePath::ROOT, &bundle).unwrap();
    tree.overlay(&TreePath::ROOT, &tree_with("usr/lib/ssl/openssl.cnf", "x")).unwrap();
    let tree = with_inputs(Init::Agent, |inputs| provision(tree, &inputs).unwrap());
    let target = "link:../../../etc/ssl/certs/ca-certificates.crt";
    assert_eq!(at(&tree, "usr/lib/ssl/cert.pem"), target);
}

fn tree_with(name: &str, text: &str) -> Tree {
    tree(&[(name, text)])
}

#[test]
fn var_is_emptied_unless_the_database_is_kept() {
    let bare = guest(Init::Systemd, |_| {});
    assert_eq!(at(&bare, "var/lib/dpkg"), "nothing");
    assert_eq!(at(&bare, "var/cache"), "nothing");
    assert_eq!(at(&bare, "var/log"), "nothing");
    assert_eq!(at(&bare, "var/tmp"), "link:../tmp");
    let kept = guest(Init::Systemd, |inputs| inputs.keep_database = true);
    assert_eq!(at(&kept, "var/lib/dpkg/status"), "file:Package: sh");
    assert_eq!(at(&kept, "var/cache/x"), "file:x");
    assert_eq!(at(&kept, "var/log"), "directory");
    assert_eq!(at(&kept, "var/log/dpkg.log"), "nothing");
    assert_eq!(at(&kept, "var/tmp"), "link:../tmp");
}

#[test]
fn the_tmp_mount_is_the_distribution_s_or_ours_and_only_for_systemd() {
    let unit = "etc/systemd/system/tmp.mount";
    assert_eq!(at(&guest(Init::Systemd, |_| {}), unit), "file:[Mount]\nWhat=debian");
    assert_eq!(at(&guest(Init::Agent, |_| {}), unit), "nothing");
    let provisioned = |tree| with_inputs(Init::Systemd, |inputs| provision(tree, &inputs).unwrap());
    let mut without = debian();
    without.remove(&path("usr/share/systemd"));
    let ours = at(&provisioned(without), unit);
    for line in [
        "ConditionPathIsSymbolicLink=!/tmp",
        "DefaultDependencies=no",
        "Conflicts=umount.target",
        "Before=local-fs.target umount.target",
        "After=swap.target",
        "What=tmpfs",
        "Where=/tmp",
        "Options=mode=1777,strictatime,nosuid,nodev",
    ] {
        assert!(ours.contains(&format!("\n{line}\n")), "{line} in {ours}");
    }
    for (shipped, expected) in [("usr/lib/systemd/system/tmp.mount", "nothing"), (unit, "file:own")]
    {
        let mut tree = debian();
        tree.overlay(&TreePath::ROOT, &tree_with(shipped, "own")).unwrap();
        assert_eq!(at(&provisioned(tree), unit), expected, "{shipped}");
    }
}

#[test]
fn modules_go_below_lib_modules_as_root_s() {
    let mut modules = tree(&[("kernel/fs/ext4.ko", "ko")]);
    modules.get_mut(&path("kernel/fs/ext4.ko")).unwrap().meta.uid = 1000;
    let guest = guest_with_modules(&modules);
    assert_eq!(at(&guest, "lib/modules/6.12/kernel/fs/ext4.ko"), "file:ko");
    let inode = guest.get(&path("usr/lib/modules/6.12/kernel/fs/ext4.ko")).unwrap();
    assert_eq!((inode.meta.uid, inode.meta.mtime), (0, EPOCH.cast_signed()));
}

fn guest_with_modules(modules: &Tree) -> Tree {
    with_inputs(Init::Agent, |inputs| {
        provision(debian(), &Inputs { modules: Some(("6.12", modules)), ..inputs }).unwrap()
    })
}

#[test]
fn chrony_follows_the_host_and_is_not_touched_when_absent() {
    let guest = guest(Init::Systemd, |_| {});
    let configuration = at(&guest, "etc/chrony/chrony.conf");
    assert!(configuration.starts_with("file:#pool x iburst\nrefclock PHC /dev/ptp0"));
    let unit = at(&guest, "lib/systemd/system/chrony.service");
    assert!(unit.contains("ConditionPathExists=/dev/ptp0"), "{unit}");
    assert!(unit.contains("ExecStart=/usr/sbin/chronyd\n"), "{unit}");
    let mut without = debian();
    without.remove(&path("usr/sbin/chronyd"));
    without.remove(&path("etc/chrony"));
    let without = with_inputs(Init::Systemd, |inputs| provision(without, &inputs).unwrap());
    assert_eq!(at(&without, "etc/chrony.conf"), "nothing");
    assert_eq!(at(&without, "etc/chrony"), "nothing");
}

#[test]
fn chrony_of_other_distributions_is_prepared_where_they_keep_it() {
    let unit = "usr/lib/systemd/system/chronyd.service";
    let provisioned = |configuration: Option<&str>| {
        let mut tree = debian();
        tree.remove(&path("etc/chrony"));
        tree.remove(&path("usr/lib/systemd/system/chrony.service"));
        let text = "[Unit]\n[Service]\nExecStart=/usr/sbin/chronyd -u chrony -F 2\n";
        tree.overlay(&TreePath::ROOT, &tree_with(unit, text)).unwrap();
        if let Some(text) = configuration {
            tree.overlay(&TreePath::ROOT, &tree_with("etc/chrony.conf", text)).unwrap();
        }
        with_inputs(Init::Systemd, |inputs| provision(tree, &inputs).unwrap())
    };
    let settings = "refclock PHC /dev/ptp0 poll 3 dpoll -2 offset 0\nmakestep 1 -1\n";
    for (given, kept) in [(Some("server x\nrtcsync\n"), "#server x\nrtcsync\n"), (None, "")] {
        let guest = provisioned(given);
        assert_eq!(at(&guest, "etc/chrony.conf"), format!("file:{kept}{settings}"));
        assert_eq!(at(&guest, "etc/chrony"), "nothing");
        let unit = at(&guest, unit);
        assert!(unit.contains("[Unit]\nConditionPathExists=/dev/ptp0\n"), "{unit}");
        assert!(unit.contains("ExecStart=/usr/sbin/chronyd -F 2\n"), "{unit}");
    }
}

#[test]
fn an_agent_must_be_executable_at_its_place_however_it_came() {
    let layer = |name, mode| {
        let mut layer = tree(&[(name, "elf")]);
        layer.get_mut(&path(name)).unwrap().meta.mode = mode;
        Agent::Layer(layer)
    };
    let provisioned = |agent: &Agent| {
        with_inputs(Init::Systemd, |inputs| {
            provision(debian(), &Inputs { agent: Some(agent), ..inputs })
        })
    };
    let good = provisioned(&layer("usr/bin/kata-agent", 0o755)).unwrap();
    assert_eq!(at(&good, "usr/bin/kata-agent"), "file:elf");
    let empty = Agent::Binary(Content::empty());
    for bad in [layer("usr/bin/kata-agent", 0o644), layer("usr/bin/agent", 0o755), empty] {
        let error = provisioned(&bad).unwrap_err().to_string();
        assert!(error.starts_with("the agent is not an executable file at /usr/bin/kata-agent"));
    }
}

#[test]
fn the_agent_s_bytes_are_those_that_were_given() {
    let content = Content::Stored { digest: crate::digest::Digest::of(b"agent"), size: 5 };
    let agent = Agent::Binary(content.clone());
    let guest = with_inputs(Init::Systemd, |inputs| {
        provision(debian(), &Inputs { agent: Some(&agent), agent_name: "other", ..inputs }).unwrap()
    });
    assert_eq!(guest.get(&path("usr/bin/other")).unwrap().kind, Kind::Regular(content));
    assert_eq!(mode(&guest, "usr/bin/other"), 0o755);
    let service = at(&guest, "usr/lib/systemd/system/kata-agent.service");
    assert!(service.contains("\nExecStart=/usr/bin/other\n"), "{service}");
}

#[test]
fn an_agent_that_is_the_init_is_moved_and_nothing_of_systemd_s_is_made() {
    let guest = guest(Init::Agent, |inputs| inputs.confidential = true);
    assert_eq!(at(&guest, "sbin/init"), "file:elf");
    assert_eq!(mode(&guest, "sbin/init"), 0o755);
    assert_eq!(at(&guest, "usr/bin/kata-agent"), "nothing");
    assert_eq!(at(&guest, "etc/systemd/system"), "nothing");
    assert_eq!(at(&guest, "usr/lib/systemd/system/kata-containers.target"), "nothing");
    assert!(at(&guest, "etc/fstab").contains("size=10%"));
    assert_eq!(at(&guest, "usr/lib/systemd/systemd"), "file:elf");
}

#[test]
fn systemd_starts_the_agent_and_dbus_and_the_root_is_readable() {
    let mut tree = debian();
    let root = tree.root();
    tree.inode_mut(root).meta.mode = 0o700;
    let guest = with_inputs(Init::Systemd, |inputs| provision(tree, &inputs).unwrap());
    let system = "/usr/lib/systemd/system";
    assert_eq!(
        at(&guest, "etc/systemd/system/basic.target.wants/kata-containers.target"),
        format!("link:{system}/kata-containers.target")
    );
    assert_eq!(
        at(&guest, "etc/systemd/system/kata-containers.target.wants/dbus.socket"),
        format!("link:{system}/dbus.socket")
    );
    assert_eq!(guest.inode(guest.root()).meta.mode, 0o751);
    assert_eq!(at(&guest, "sbin/init"), "link:../lib/systemd/systemd");
}

#[test]
fn a_tree_without_dbus_gets_no_link_to_it() {
    let mut tree = debian();
    tree.remove(&path("usr/lib/systemd/system/dbus.socket"));
    let guest = with_inputs(Init::Systemd, |inputs| provision(tree, &inputs).unwrap());
    assert_eq!(at(&guest, "etc/systemd/system/kata-containers.target.wants"), "nothing");
    let wanted = at(&guest, "etc/systemd/system/basic.target.wants/kata-containers.target");
    assert!(wanted.starts_with("link:"), "{wanted}");
}

#[test]
fn a_confidential_guest_sizes_run_and_an_ordinary_one_does_not() {
    let unit = "usr/lib/systemd/system/kata-containers.target";
    let confidential = guest(Init::Systemd, |inputs| inputs.confidential = true);
    let fstab = "file:# static\n/dev/x / ext4 ro 0 0\ntmpfs /run tmpfs nodev,nosuid,size=50% 0 0\n";
    assert_eq!(at(&confidential, "etc/fstab"), fstab);
    let mut without = debian();
    without.remove(&path("etc/fstab"));
    let without = with_inputs(Init::Systemd, |inputs| {
        provision(without, &Inputs { confidential: true, ..inputs }).unwrap()
    });
    let line = "file:tmpfs /run tmpfs nodev,nosuid,size=50% 0 0\n";
    assert_eq!((at(&without, "etc/fstab").as_str(), mode(&without, "etc/fstab")), (line, 0o644));
    let target = at(&confidential, unit);
    assert_eq!(target.matches("Requires=systemd-remount-fs.service\n").count(), 1);
    let ordinary = guest(Init::Systemd, |_| {});
    assert!(at(&ordinary, "etc/fstab").contains("size=10%"));
    assert!(!at(&ordinary, unit).contains("systemd-remount-fs"));
}

#[test]
fn a_target_that_requires_the_remount_already_stays_as_it_is() {
    let target = "[Unit]\nRequires=basic.target systemd-remount-fs.service\n";
    let mut layer = tree(&[("usr/bin/kata-agent", "elf")]);
    let own = tree_with("usr/lib/systemd/system/kata-containers.target", target);
    layer.overlay(&TreePath::ROOT, &own).unwrap();
    let agent = Agent::Layer(layer);
    let guest = with_inputs(Init::Systemd, |inputs| {
        let inputs = Inputs { agent: Some(&agent), confidential: true, ..inputs };
        provision(debian(), &inputs).unwrap()
    });
    let unit = at(&guest, "usr/lib/systemd/system/kata-containers.target");
    assert_eq!(unit, format!("file:{target}"));
}

#[test]
fn a_policy_is_installed_under_its_name_and_as_the_default() {
    let default = "etc/kata-opa/default-policy.rego";
    assert_eq!(at(&guest(Init::Systemd, |_| {}), "etc/kata-opa"), "nothing");
    let with = |init, policy: &Policy| {
        with_inputs(init, |inputs| {
            provision(debian(), &Inputs { policy: Some(policy), ..inputs }).unwrap()
        })
    };
    for init in [Init::Systemd, Init::Agent] {
        let guest = with(init, &Policy::AllowAll);
        assert_eq!(at(&guest, default), "link:allow-all.rego");
        assert_eq!(mode(&guest, "etc/kata-opa/allow-all.rego"), 0o644);
        let rego = at(&guest, "etc/kata-opa/allow-all.rego");
        assert!(rego.contains("package agent_policy\n"), "{rego}");
        assert!(rego.contains("\ndefault CreateContainerRequest := true\n"), "{rego}");
    }
    let content = Content::Inline(b"package x"[..].into());
    let own = |name: &str| Policy::File { name: name.to_owned(), content: content.clone() };
    assert_eq!(at(&with(Init::Agent, &own("strict.rego")), default), "link:strict.rego");
    let same = with(Init::Agent, &own("default-policy.rego"));
    assert_eq!(at(&same, default), "file:package x");
}

#[test]
fn layers_come_over_the_tree_in_kata_s_order() {
    let hooks = tree(&[("usr/share/oci/hooks/prestart/x", "hook"), ("order", "hooks")]);
    let pause = tree(&[("pause_bundle/config.json", "{}"), ("order", "pause")]);
    let coco = tree(&[("usr/local/bin/attestation-agent", "aa"), ("order", "coco")]);
    let guest = with_inputs(Init::Systemd, |inputs| {
        let inputs = Inputs {
            hooks: Some(&hooks),
            pause: Some(&pause),
            confidential_components: Some(&coco),
            ..inputs
        };
        provision(debian(), &inputs).unwrap()
    });
    assert_eq!(at(&guest, "usr/share/oci/hooks/prestart/x"), "file:hook");
    assert_eq!(at(&guest, "pause_bundle/config.json"), "file:{}");
    assert_eq!(at(&guest, "usr/local/bin/attestation-agent"), "file:aa");
    assert_eq!(at(&guest, "order"), "file:coco");
}

#[test]
fn a_tree_without_an_init_is_refused_unless_the_check_is_off() {
    let mut tree = debian();
    tree.remove(&path("usr/sbin/init"));
    let error = with_inputs(Init::Systemd, |inputs| provision(tree.clone(), &inputs).unwrap_err());
    assert!(error.to_string().starts_with("/sbin/init is neither a program nor a link"));
    with_inputs(Init::Systemd, |inputs| {
        provision(tree.clone(), &Inputs { check_init: false, ..inputs }).unwrap();
    });
    with_inputs(Init::Agent, |inputs| provision(tree, &inputs).unwrap());
}

#[test]
fn the_resolver_is_an_empty_regular_file_and_never_a_link() {
    for init in [Init::Systemd, Init::Agent] {
        assert_eq!(at(&guest(init, |_| {}), "etc/resolv.conf"), "file:");
    }
}

#[test]
fn pruning_is_asked_for_and_spares_what_a_confidential_guest_needs() {
    let udev = "usr/lib/systemd/system/systemd-udevd.service";
    let control = "usr/lib/systemd/system/sockets.target.wants/systemd-udevd-control.socket";
    let fstab = "usr/lib/systemd/system-generators/systemd-fstab-generator";
    let getty = "usr/lib/systemd/system-generators/systemd-getty-generator";
    for unit in "coredump@ journal-flush journald journald-dev-log random-seed timesyncd \
                 tmpfiles-setup udev-trigger udevd udevd-control udevd-kernel update-utmp"
        .split(' ')
    {
        for kind in ["service", "socket"] {
            assert!(prune::is_pruned(format!("systemd-{unit}.{kind}").as_bytes()), "{unit}.{kind}");
        }
    }
    for file in "bless-boot-generator fstab-generator getty-generator gpt-auto-generator \
                 tmpfiles-cleanup.timer"
        .split(' ')
    {
        assert!(prune::is_pruned(format!("systemd-{file}").as_bytes()), "{file}");
    }
    let whole = guest(Init::Systemd, |_| {});
    for file in [udev, control, fstab, getty] {
        assert_ne!(at(&whole, file), "nothing", "{file}");
    }
    let pruned = guest(Init::Systemd, |inputs| inputs.prune = true);
    for file in [udev, control, fstab, getty] {
        assert_eq!(at(&pruned, file), "nothing", "{file}");
    }
    assert_eq!(at(&pruned, "usr/lib/systemd/system/systemd-udevd.service.d/x.conf"), "file:kept");
    let confidential = guest(Init::Systemd, |inputs| {
        (inputs.prune, inputs.confidential) = (true, true);
    });
    assert_eq!(at(&confidential, fstab), "file:elf");
    assert_eq!(at(&confidential, getty), "nothing");
}

#[test]
fn the_summary_is_written_for_both_inits() {
    for (init, word) in [(Init::Systemd, "no"), (Init::Agent, "yes")] {
        let text = at(&guest(init, |_| {}), "var/lib/osbuilder/osbuilder.yaml");
        assert!(text.starts_with("file:---\nosbuilder:\n"), "{text}");
        assert!(text.contains(&format!("  agent-is-init-daemon: \"{word}\"\n")), "{text}");
    }
}

#[test]
fn the_summary_says_where_handlers_ran_scripts_and_which_did_not_run() {
    let summary = "var/lib/osbuilder/osbuilder.yaml";
    let usual = at(&guest(Init::Agent, |_| {}), summary);
    let by_handlers = at(&guest(Init::Agent, |inputs| inputs.by_handlers = true), summary);
    assert_eq!(by_handlers, format!("{usual}scripts-ran-by: \"built-in handlers\"\n"));
    let mut tree = debian();
    let list = tree_with("var/lib/osbuilder/scripts-not-run", "dbus postinst: awk\n");
    tree.overlay(&TreePath::ROOT, &list).unwrap();
    let guest = with_inputs(Init::Agent, |inputs| {
        provision(tree, &Inputs { by_handlers: true, ..inputs }).unwrap()
    });
    let not_run = "scripts-not-run:\n  - \"dbus postinst: awk\"\n";
    assert_eq!(at(&guest, summary), format!("{by_handlers}{not_run}"));
    assert_eq!(at(&guest, "var/lib/osbuilder/scripts-not-run"), "nothing");
}

#[test]
fn a_ready_binary_brings_its_units_and_a_tarball_s_own_units_win() {
    let target = "usr/lib/systemd/system/kata-containers.target";
    let guest_of_binary = guest(Init::Systemd, |_| {});
    for unit in [
        target,
        "usr/lib/systemd/system/kata-agent.service",
        "usr/lib/systemd/system/kata-extension-mount@.service",
        "usr/lib/systemd/system-generators/kata-extension-mount-generator",
        "usr/libexec/kata-extension-mount.sh",
        "usr/libexec/kata-extension-umount.sh",
    ] {
        assert!(at(&guest_of_binary, unit).starts_with("file:"), "{unit}");
    }
    let generator = "usr/lib/systemd/system-generators/kata-extension-mount-generator";
    assert_eq!(mode(&guest_of_binary, generator), 0o755);
    let unit = at(&guest_of_binary, target);
    assert!(unit.contains("Requires=basic.target tmp.mount kata-agent.service"), "{unit}");
    assert!(unit.contains("Wants=chronyd.service"), "{unit}");
    let agent = Agent::Layer(tree(&[("usr/bin/kata-agent", "elf"), (target, "own")]));
    let guest_of_tarball = with_inputs(Init::Systemd, |inputs| {
        provision(debian(), &Inputs { agent: Some(&agent), ..inputs }).unwrap()
    });
    assert_eq!(at(&guest_of_tarball, target), "file:own");
}

#[test]
fn what_init_and_agent_mount_on_exists_with_the_usual_modes() {
    for init in [Init::Systemd, Init::Agent] {
        let guest = guest(init, |_| {});
        let modes = ["dev", "proc", "run", "sys", "tmp"].map(|name| mode(&guest, name));
        assert_eq!(modes, [0o755, 0o555, 0o755, 0o555, 0o1777]);
    }
}

#[test]
fn packages_alone_get_nothing_of_kata_s_and_keep_their_database() {
    let guest = guest(Init::Systemd, |inputs| inputs.agent = None);
    assert_eq!(at(&guest, "var/lib/dpkg/status"), "file:Package: sh");
    assert_eq!(at(&guest, "usr/bin/kata-agent"), "nothing");
    assert_eq!(at(&guest, "var/lib/osbuilder"), "nothing");
    assert_eq!(at(&guest, "usr/share/doc"), "nothing");
}

#[test]
fn a_tree_made_by_hand_gets_its_directories_and_links_to_systemd() {
    let bare = with_inputs(Init::Systemd, |inputs| {
        let inputs = Inputs { without_packages: true, ..inputs };
        provision(Tree::default(), &inputs).unwrap()
    });
    assert_eq!(at(&bare, "init"), "link:./usr/lib/systemd/systemd");
    assert_eq!(at(&bare, "sbin/init"), "link:/init");
    assert_eq!(at(&bare, "lib/systemd"), "directory");
    let tree = with_inputs(Init::Systemd, |inputs| {
        let inputs = Inputs { without_packages: true, ..inputs };
        provision(debian(), &inputs).unwrap()
    });
    assert_eq!(at(&tree, "init"), "nothing");
    assert_eq!(at(&tree, "usr/share/doc/sh/copyright"), "file:text");
}

#[test]
fn a_user_s_files_win_and_bring_no_owner_time_or_label_along() {
    let mut meta = Meta { uid: 1000, gid: 1000, mtime: 1_750_000_000, ..Meta::root(0o640) };
    meta.xattrs.insert(b"security.selinux".to_vec(), b"user_home_t".to_vec());
    let kind = Kind::Regular(Content::Inline(b"mine"[..].into()));
    let file = Inode { meta: meta.clone(), kind };
    let mut directory = tree(&[("deep/file", "below")]);
    directory.get_mut(&path("deep/file")).unwrap().meta = meta;
    let extra_files = [
        ExtraFile { destination: path("etc/resolv.conf"), what: Extra::File(file) },
        ExtraFile { destination: path("lib/mine"), what: Extra::Directory(directory) },
    ];
    let guest = with_inputs(Init::Systemd, |inputs| {
        provision(debian(), &Inputs { extra_files: &extra_files, ..inputs }).unwrap()
    });
    assert_eq!(at(&guest, "etc/resolv.conf"), "file:mine");
    assert_eq!(at(&guest, "usr/lib/mine/deep/file"), "file:below");
    for name in ["etc/resolv.conf", "usr/lib/mine/deep/file"] {
        let meta = &guest.get(&path(name)).unwrap().meta;
        let expected = Meta { mtime: EPOCH.cast_signed(), ..Meta::root(0o640) };
        assert_eq!(meta, &expected, "{name}");
    }
}

#[test]
fn no_time_stamp_is_later_than_the_epoch_and_older_ones_stay() {
    let mut tree = debian();
    tree.get_mut(&path("usr/bin/sh")).unwrap().meta.mtime = 1_800_000_000;
    let guest = with_inputs(Init::Systemd, |inputs| provision(tree, &inputs).unwrap());
    let latest = guest.walk().map(|(_, _, inode)| inode.meta.mtime).max().unwrap();
    assert_eq!(latest, EPOCH.cast_signed());
    assert_eq!(guest.get(&path("usr/share/zoneinfo/UTC")).unwrap().meta.mtime, 1_600_000_000);
}

#[test]
fn every_combination_of_switches_gives_a_guest_and_the_same_one_twice() {
    let policy = Policy::AllowAll;
    for bits in 0..32_u8 {
        let bit = |n: u8| bits & 1 << n != 0;
        let init = if bit(0) { Init::Agent } else { Init::Systemd };
        let make = || guest_with(init, bit(1).then_some(&policy), [bit(2), bit(3), bit(4)]);
        let guest = make();
        assert_eq!(guest, make());
        assert_ne!(at(&guest, "sbin/init"), "nothing");
        assert_eq!(at(&guest, "etc/kata-opa/default-policy.rego") != "nothing", bit(1));
    }
}

fn guest_with(init: Init, policy: Option<&Policy>, switches: [bool; 3]) -> Tree {
    with_inputs(init, |inputs| {
        let [confidential, prune, keep_database] = switches;
        provision(debian(), &Inputs { policy, confidential, prune, keep_database, ..inputs })
            .unwrap()
    })
}

#[test]
fn k5_nothing_of_the_building_machine_is_in_a_guest() {
    let canary = "canary-of-the-build-host";
    let mut tree = debian();
    let leaks = self::tree(&[
        ("etc/hostname", canary),
        ("etc/machine-id", canary),
        ("etc/ssh/ssh_host_ed25519_key", canary),
        ("etc/ssh/sshd_config", "kept"),
        ("var/lib/dbus/machine-id", canary),
        ("var/lib/systemd/random-seed", canary),
        ("var/log/build.log", canary),
        ("run/x", "kept"),
    ]);
    tree.overlay(&TreePath::ROOT, &leaks).unwrap();
    for keep_database in [false, true] {
        let guest = with_inputs(Init::Systemd, |inputs| {
            provision(tree.clone(), &Inputs { keep_database, ..inputs }).unwrap()
        });
        let found: Vec<_> = (guest.walk())
            .filter(|(path, ..)| at(&guest, &path.to_string()).contains(canary))
            .map(|(path, ..)| path.to_string())
            .collect();
        assert_eq!(found, [""; 0]);
        assert_eq!(at(&guest, "etc/machine-id"), "file:");
        assert_eq!(at(&guest, "etc/hostname"), "nothing");
        assert_eq!(at(&guest, "etc/ssh/sshd_config"), "file:kept");
    }
}
