//! Scripts and the trees that they leave by handlers.

use super::find;
use super::linker::library::tests::library;
use crate::configure::shell::{Stop, World, bytes_of, run, text_of};
use crate::epoch::Epoch;
use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

const PROGRAMS: &str = "cat journalctl ldconfig ln mkdir chmod rm update-alternatives dpkg dpkg-divert dpkg-query \
    dpkg-statoverride dpkg-trigger deb-systemd-helper systemctl systemd-sysusers systemd-tmpfiles \
    adduser groupadd getent pwconv grpconv ucf ucfr update-rc.d pam-auth-update";

const DEBCONF: &str = "# Debian's own\nConfig: configdb\nTemplates: templatedb\n\n\
    Name: config\nDriver: File\nMode: 644\nReject-Type: password\n\
    Filename: /var/cache/debconf/config.dat\n\n\
    Name: passwords\nDriver: File\nMode: 600\nBackup: false\nRequired: false\n\
    Accept-Type: password\nFilename: /var/cache/debconf/passwords.dat\n\n\
    Name: configdb\nDriver: Stack\nStack: config, passwords\n\n\
    Name: templatedb\nDriver: File\nMode: 644\nFilename: /var/cache/debconf/templates.dat\n";

const FILES: [(&str, &str); 16] = [
    ("etc/passwd", "root:*:0:0:root:/root:/bin/bash\n"),
    ("etc/group", "root:*:0:\nadm:*:4:\nusers:*:100:\n"),
    ("var/lib/dpkg/arch", "arm64\n"),
    ("var/lib/dpkg/status", "Package: app\nStatus: install ok installed\nVersion: 2.0-1\n\n"),
    ("var/lib/dpkg/info/app.list", "/.\n/usr/bin/app\n"),
    ("var/lib/dpkg/info/app.templates", "Template: app/answer\nType: string\nDefault: forty two\n"),
    ("usr/share/debconf/confmodule", "# debconf's own\n"),
    ("usr/share/debconf/frontend", "#!/usr/bin/perl\n"),
    ("etc/debconf.conf", DEBCONF),
    (
        "usr/lib/systemd/system/a.service",
        "[Install]\nWantedBy=multi-user.target\nAlias=b.service\n",
    ),
    ("usr/lib/sysusers.d/a.conf", "g seven - -\nu eight - \"The Eight\" /eight\n"),
    (
        "usr/lib/tmpfiles.d/a.conf",
        "d /var/a 2750 root adm -\nd /var/a 0700\nL /var/l - - - - ../a\nf! /no\n",
    ),
    ("etc/init.d/a", "#!/bin/sh\n# Default-Start: 2 S\n# Default-Stop:  6\n"),
    ("usr/share/a.conf", "a = 1\n"),
    ("var/lib/dpkg/info/ucf.templates", "Template: ucf/title\nType: title\nDescription: T\n"),
    ("usr/sbin/ldconfig", "\x7fELF\0ldconfig (X) stable release version 2.36\0"),
];

fn world() -> World<'static> {
    let mut tree = Tree::default();
    let mut put = |place: &str, mode, text: &str| {
        let place = path(place);
        tree.make_directories(&place.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(Content::Inline(bytes_of(text).into()));
        tree.insert(&place, Inode { meta: Meta::root(mode), kind }).unwrap();
    };
    PROGRAMS.split_whitespace().for_each(|name| put(&format!("usr/bin/{name}"), 0o755, "\x7fELF"));
    FILES.iter().for_each(|(place, text)| put(place, 0o644, text));
    let library = text_of(&library("libz.so.1"));
    put("usr/lib/libz.so.1.2", 0o644, &library);
    let lib = Kind::Symlink((*b"usr/lib").into());
    tree.insert(&path("lib"), Inode { meta: Meta::root(0o777), kind: lib }).unwrap();
    World::new(tree, &NoContents, Epoch::new(1_700_000_000).unwrap())
}

/// Where the script is that runs.
const SCRIPT: &str = "/var/lib/dpkg/info/app.postinst";

fn outcome(script: &str) -> (Result<i32, Stop>, World<'static>) {
    let mut world = world();
    let file = format!("#!/bin/sh\n{script}\n");
    world.put(SCRIPT, 0o755, &file).unwrap();
    let environment = ["PATH=/usr/bin", "DPKG_MAINTSCRIPT_PACKAGE=app"].map(str::to_owned);
    let result = run(&mut world, find, script.as_bytes(), &[SCRIPT, "configure", ""], &environment);
    (result, world)
}

/// What is at a path, in one line.
fn shown(world: &mut World<'_>, place: &str) -> String {
    let Some(Inode { meta, kind }) = world.tree.get(&path(place)).cloned() else {
        return "absent".to_owned();
    };
    let head = format!("{:o} {}:{}", meta.mode, meta.uid, meta.gid);
    match kind {
        Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(&target)),
        Kind::Directory(_) => format!("{head} directory"),
        _ => format!("{head} {}", world.text(&format!("/{place}")).unwrap()),
    }
}

const AWK: &str = "update-alternatives --install /usr/bin/awk awk /usr/bin/cat 5; \
        update-alternatives --install /usr/bin/awk awk /usr/bin/ln 10 --slave /usr/bin/nawk nawk /usr/bin/rm";

/// A script, a path, and what is there afterwards.
const CASES: &[(&str, &str, &str)] = &[
    (AWK, "usr/bin/awk", "-> /etc/alternatives/awk"),
    (AWK, "etc/alternatives/awk", "-> /usr/bin/ln"),
    (AWK, "etc/alternatives/nawk", "-> /usr/bin/rm"),
    (
        "dpkg-divert --no-rename --divert /a.x --add /a",
        "var/lib/dpkg/diversions",
        "644 0:0 /a\n/a.x\napp\n",
    ),
    (
        "dpkg-statoverride --update --add root adm 2755 /usr/bin/cat",
        "usr/bin/cat",
        "2755 0:4 \u{7f}ELF",
    ),
    ("dpkg-trigger --no-await ldconfig", "var/lib/dpkg/triggers/Unincorp", "644 0:0 ldconfig -\n"),
    (
        "deb-systemd-helper enable a.service",
        "etc/systemd/system/b.service",
        "-> /lib/systemd/system/a.service",
    ),
    (
        "systemctl enable a.service",
        "etc/systemd/system/multi-user.target.wants/a.service",
        "-> /lib/systemd/system/a.service",
    ),
    (
        "deb-systemd-helper update-state a.service",
        "var/lib/systemd/deb-systemd-helper-enabled/a.service.dsh-also",
        "644 0:0 /etc/systemd/system/b.service\n/etc/systemd/system/multi-user.target.wants/a.service\n",
    ),
    (
        "systemd-sysusers a.conf",
        "etc/group",
        "644 0:0 root:*:0:\nadm:*:4:\nusers:*:100:\nseven:x:999:\neight:x:998:\n",
    ),
    (
        "systemd-sysusers a.conf",
        "etc/passwd",
        "644 0:0 root:*:0:0:root:/root:/bin/bash\neight:x:998:998:The Eight:/eight:/usr/sbin/nologin\n",
    ),
    ("systemd-tmpfiles --create a.conf", "var/a", "2750 0:4 directory"),
    ("systemd-tmpfiles --create a.conf", "var/l", "-> ../a"),
    ("systemd-tmpfiles --create a.conf", "no", "absent"),
    (
        "adduser --system --group --no-create-home --home /h --comment C u",
        "etc/passwd",
        "644 0:0 root:*:0:0:root:/root:/bin/bash\nu:x:100:101:C:/h:/usr/sbin/nologin\n",
    ),
    ("pwconv", "etc/shadow", "0 0:0 root:*:19675:0:99999:7:::\n"),
    (
        "grpconv; groupadd -g 42 shadow",
        "etc/gshadow",
        "0 0:0 root:*::\nadm:*::\nusers:*::\nshadow:!::\n",
    ),
    ("update-rc.d a defaults", "etc/rcS.d/S01a", "-> ../init.d/a"),
    ("update-rc.d a defaults", "etc/rc6.d/K01a", "-> ../init.d/a"),
    ("ucf --three-way /usr/share/a.conf /etc/a.conf", "etc/a.conf", "644 0:0 a = 1\n"),
    (
        ". /usr/share/debconf/confmodule; db_version 2.0; db_input high app/answer || true; db_go; \
            db_get app/answer; echo \"$RET\" > /etc/answer",
        "etc/answer",
        "644 0:0 forty two\n",
    ),
    (
        ". /usr/share/debconf/confmodule; db_set app/answer a b; db_get app/answer; echo \"$RET\" > /etc/answer",
        "etc/answer",
        "644 0:0 a b\n",
    ),
    (
        "echo x >> /count; . /usr/share/debconf/confmodule; db_set app/answer a; cat /count > /n; exit 0",
        "n",
        "644 0:0 x\nx\n",
    ),
    (
        ". /usr/share/debconf/confmodule; db_set app/answer a",
        "var/cache/debconf/config.dat",
        "644 0:0 Name: app/answer\nTemplate: app/answer\nValue: a\nOwners: app\n\n",
    ),
    (
        "ucf --three-way /usr/share/a.conf /etc/a.conf; ucf --three-way /usr/share/a.conf /etc/b.conf",
        "var/cache/debconf/templates.dat-old",
        "644 0:0 Name: ucf/title\nDescription: T\nType: title\nOwners: ucf/title\n\n",
    ),
    ("ldconfig", "usr/lib/libz.so.1", "-> libz.so.1.2"),
    ("ldconfig", "var/cache/ldconfig", "700 0:0 directory"),
    (
        "dpkg-query -W -f='${Version}' app > /v; getent group adm >> /v",
        "v",
        "644 0:0 2.0-1adm:*:4:\n",
    ),
    (
        "dpkg-query -S /usr/bin/app > /v || true; dpkg-query -S /none 2>/dev/null || echo no >> /v",
        "v",
        "644 0:0 app: /usr/bin/app\nno\n",
    ),
];

#[test]
fn tools_do_to_the_tree_what_debian_s_do() {
    for (script, place, expected) in CASES {
        let (status, mut world) = outcome(script);
        assert_eq!(
            (status, shown(&mut world, place).as_str()),
            (Ok(0), *expected),
            "{script}: {place}"
        );
    }
}

#[test]
fn forms_that_no_handler_knows_are_named() {
    for (script, what) in [
        ("dpkg-divert --rename --add /usr/bin/cat", "dpkg-divert --rename"),
        ("systemctl start a.service", "systemctl start"),
        ("adduser person", "adduser person"),
        ("dpkg -i x.deb", "dpkg -i"),
        ("ldconfig -v", "ldconfig -v"),
        ("ln -s nowhere /usr/lib/libx.so.1; ldconfig", "libx.so.1, which leads nowhere"),
        ("mkdir /usr/lib/glibc-hwcaps; ldconfig", "ldconfig with /lib/glibc-hwcaps"),
        ("echo foreign > /var/lib/dpkg/arch; ldconfig", "ldconfig for foreign"),
        ("journalctl --rotate", "journalctl --rotate"),
        (". /usr/share/debconf/confmodule; db_data a type b", "debconf data"),
        ("echo x >> /etc/debconf.conf; . /usr/share/debconf/confmodule", "databases of its own"),
        ("systemd-tmpfiles --clean", "systemd-tmpfiles --clean"),
    ] {
        let (status, _) = outcome(script);
        let Err(Stop::Unknown(text)) = status else { panic!("{script}: {status:?}") };
        assert!(text.contains(what), "{script}: {text}");
    }
}
