//! SELinux labels against `matchpathcon`, by Debian's own policy, and in every form of image.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use osbuilder::distro::Architecture;
use osbuilder::recipe;
use osbuilder::selinux;
use osbuilder::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::judge;
use crate::program::osbuilder_in;

const POLICY: &str = "/etc/selinux/default/contexts/files";
const FILES: [&str; 5] = ["", ".homedirs", ".local", ".subs", ".subs_dist"];

fn put(tree: &mut Tree, path: &str, kind: Kind) {
    let path = TreePath::parse(path.trim_start_matches('/')).unwrap();
    if tree.get(&path).is_none() {
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
    }
}

fn file(text: &[u8]) -> Kind {
    Kind::Regular(Content::Inline(text.into()))
}

/// Takes over names and kinds of what lies below a folder of this machine, up to some number.
fn walk(tree: &mut Tree, folder: &Path, left: &mut usize) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.map(Result::unwrap).collect();
    entries.sort_by_key(fs_err::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        let plain = path.as_os_str().as_bytes().iter().all(u8::is_ascii_graphic);
        let (Ok(found), Some(rest)) = (entry.file_type(), left.checked_sub(1)) else { return };
        if !plain {
            continue;
        }
        *left = rest;
        let kind = match () {
            () if found.is_dir() => Kind::Directory(BTreeMap::default()),
            () if found.is_symlink() => Kind::Symlink(b"x".as_slice().into()),
            () if found.is_socket() => Kind::Socket,
            () if found.is_fifo() => Kind::Fifo,
            () => file(b""),
        };
        put(tree, path.to_str().unwrap(), kind);
        if found.is_dir() {
            walk(tree, &path, left);
        }
    }
}

/// Names that guests have and build machines may lack.
const NAMES: [(&str, u8); 24] = [
    ("/usr/bin/kata-agent", b'-'),
    ("/usr/lib/systemd/systemd", b'-'),
    ("/usr/sbin/xtables-nft-multi", b'-'),
    ("/etc/resolv.conf", b'-'),
    ("/etc/kata-opa/default-policy.rego", b'-'),
    ("/root/.ssh/authorized_keys", b'-'),
    ("/root/.bashrc", b'-'),
    ("/home/somebody/.ssh/id_rsa", b'-'),
    ("/home/somebody/.config/x", b'-'),
    ("/dev/somewhere/zero", b'c'),
    ("/dev/zero", b'c'),
    ("/dev/null", b'c'),
    ("/dev/vda1", b'b'),
    ("/dev/initctl", b'p'),
    ("/run/a.pid", b'-'),
    ("/run/user/1000/x", b'd'),
    ("/tmp/x", b'-'),
    ("/tmp/y", b'd'),
    ("/var/log/messages", b'-'),
    ("/var/lib/private/systemd/timesync/clock", b'-'),
    ("/opt/x/bin/y", b'-'),
    ("/boot/vmlinuz-6.1", b'-'),
    ("/lost+found/x", b'-'),
    ("/unheard/of", b's'),
];

fn host_tree() -> Tree {
    let mut tree = Tree::default();
    for (name, kind) in NAMES {
        let zero = Device { major: 1, minor: 5 };
        put(
            &mut tree,
            name,
            match kind {
                b'c' => Kind::CharacterDevice(zero),
                b'b' => Kind::BlockDevice(zero),
                b'p' => Kind::Fifo,
                b's' => Kind::Socket,
                b'd' => Kind::Directory(BTreeMap::default()),
                _ => file(b""),
            },
        );
    }
    for folder in ["/etc", "/usr/bin", "/usr/sbin", "/usr/lib/systemd", "/usr/libexec", "/var"] {
        walk(&mut tree, Path::new(folder), &mut 2000);
    }
    let folder = POLICY.trim_start_matches('/');
    for suffix in FILES {
        let name = format!("{folder}/file_contexts{suffix}");
        let path = TreePath::parse(&name).unwrap();
        tree.remove(&path);
        if let Ok(text) = fs_err::read(format!("/{name}")) {
            put(&mut tree, &name, file(&text));
        }
    }
    tree.remove(&TreePath::parse("etc/selinux/config").unwrap());
    put(&mut tree, "etc/selinux/config", file(b"SELINUXTYPE=default\n"));
    tree
}

/// What `matchpathcon` calls a kind.
fn mode(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory(_) => "dir",
        Kind::Regular(_) => "file",
        Kind::Symlink(_) => "lnk_file",
        Kind::CharacterDevice(_) => "chr_file",
        Kind::BlockDevice(_) => "blk_file",
        Kind::Fifo => "pipe",
        Kind::Socket => "sock_file",
    }
}

#[test]
fn every_label_is_the_one_of_libselinux() {
    if !Path::new("/usr/sbin/matchpathcon").exists() || !Path::new(POLICY).exists() {
        judge::skip("selinux-utils or selinux-policy-default is not installed");
        return;
    }
    let labelled = selinux::label(host_tree(), &NoContents).unwrap().tree;
    let mut by_mode: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for (path, _, inode) in labelled.walk() {
        let value = inode.meta.xattrs.get(&b"security.selinux"[..]);
        let label = value.map(|value| value.strip_suffix(b"\0").unwrap().to_vec());
        let label = label.map_or("<<none>>".to_owned(), |label| String::from_utf8(label).unwrap());
        // The judge follows this machine's links, so that names behind one are for somebody else.
        let host = Path::new("/").join(path.to_string().trim_start_matches('/'));
        let parent = host.parent().unwrap_or(&host);
        let real = fs_err::canonicalize(parent).map_or(true, |real| real == parent);
        let is_link = fs_err::read_link(&host).is_ok();
        if real && is_link == matches!(inode.kind, Kind::Symlink(_)) {
            by_mode.entry(mode(&inode.kind)).or_default().push((path.to_string(), label));
        }
    }
    let contexts = format!("{POLICY}/file_contexts");
    let (mut compared, mut wrong) = (0, Vec::new());
    for (mode, all) in by_mode {
        for some in all.chunks(500) {
            let names = some.iter().map(|(path, _)| path.as_str());
            let always = ["-f", &contexts, "-m", mode];
            let asked: Vec<&str> = always.into_iter().chain(names).collect();
            let told = String::from_utf8(judge::run("/usr/sbin/matchpathcon", &asked)).unwrap();
            assert_eq!(told.lines().count(), some.len());
            for ((path, ours), line) in some.iter().zip(told.lines()) {
                let expected = format!("{path}\t{ours}");
                compared += 1;
                if line != expected {
                    wrong.push(format!("{line} | {ours}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 1000, "{compared}");
}

/// Kata's builder wrote another list of repositories for SELinux, over the one with the keys.
#[test]
fn k6_labels_change_nothing_of_where_packages_come_from_and_who_must_have_signed() {
    let environment = |selinux: &str| BTreeMap::from([("SELINUX".to_owned(), selinux.to_owned())]);
    let surroundings = recipe::Surroundings {
        host: Some(Architecture::X86_64),
        without_agent: true,
        ..recipe::Surroundings::default()
    };
    for distro in ["debian", "fedora", "centos", "azurelinux", "opensuse", "alpine"] {
        let options = recipe::Options { distro: Some(distro.to_owned()), ..Default::default() };
        let read = |selinux: &str| {
            let environment = environment(selinux);
            let (options, surroundings) = (&options, &surroundings);
            let asked =
                recipe::Request { file: None, environment: &environment, options, surroundings };
            recipe::read(asked).unwrap().recipe
        };
        let (with, without) = (read("yes"), read("no"));
        assert!(with.image.selinux && !without.image.selinux);
        // The policy is one more package of the same repositories.
        let (image, packages) = (without.image.clone(), without.packages.clone());
        let added = with.packages.base.iter().filter(|asked| !packages.base.contains(asked));
        let added: Vec<_> = added.map(ToString::to_string).collect();
        let expected = ["fedora", "centos"].contains(&distro).then_some("container-selinux");
        assert_eq!(added, Vec::from_iter(expected), "{distro}");
        let plain = recipe::Recipe { image, packages, ..with };
        assert_eq!(format!("{plain:?}"), format!("{without:?}"), "{distro}");
    }
}

#[test]
fn every_form_of_image_holds_the_labels_and_a_missing_policy_is_said_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    fs_err::create_dir_all(root.join("usr/bin")).unwrap();
    fs_err::write(root.join("usr/bin/tool"), "a tool").unwrap();
    fs_err::create_dir_all(root.join("etc")).unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = osbuilder_in(folder.path(), arguments, variables);
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let image = ["image", "--rootfs", "rootfs", "--any-tree", "--epoch", "1", "-o", "out"];
    let (status, told) = run(&image, &[("SELINUX", "yes")]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no /etc/selinux/config in the tree"), "{told}");
    assert!(!folder.path().join("out").exists());
    let policy = root.join("etc/selinux/tiny/contexts/files");
    fs_err::create_dir_all(&policy).unwrap();
    fs_err::write(root.join("etc/selinux/config"), "SELINUXTYPE=tiny\n").unwrap();
    let contexts = "/.* u:r:default_t:s0\n/usr/bin/.* -- u:r:bin_t:s0\n\
                    /lost\\+found -d u:r:lost_t:s0\n";
    fs_err::write(policy.join("file_contexts"), contexts).unwrap();
    for form in ["ext4", "erofs", "xfs"] {
        let asked = [&image[..], &["--selinux", "--measured", "--file-system", form]].concat();
        let (status, told) = run(&asked, &[]);
        assert_eq!(status, Some(0), "{told}");
        let (_, told) = run(&["inspect", "out", "--ls"], &[]);
        assert!(told.contains(" u:r:bin_t:s0 /usr/bin/tool"), "{told}");
        assert!(told.contains(" u:r:default_t:s0 /etc/machine-id"), "{told}");
        assert!(told.lines().all(|line| line.contains(" u:r:")), "{told}");
        let expected = usize::from(form == "ext4");
        assert_eq!(told.matches(" u:r:lost_t:s0 /lost+found").count(), expected, "{told}");
        let (_, told) = run(&["inspect", "out", "usr/bin/tool", "--cat"], &[]);
        assert_eq!(told, "a tool");
        let (status, told) = run(&["diff", "rootfs", "out"], &[]);
        assert_eq!(status, Some(1));
        assert!(told.contains("attributes: /usr/bin/tool:"), "{told}");
    }
    let initrd = ["initrd", "--rootfs", "rootfs", "--any-tree", "-o", "initrd"];
    let (status, told) = run(&initrd, &[("SELINUX", "yes")]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("an initrd cannot hold SELinux labels"), "{told}");
}
