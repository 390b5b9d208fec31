//! Scripts, what they print, how they end, and the files that they leave.

use super::{Stop, World, find_command, run, text_of};
use crate::epoch::Epoch;
use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// A tree in which every command that tests use is a program.
fn world() -> World<'static> {
    let mut tree = Tree::default();
    for directory in ["usr/bin", "etc", "tmp", "srv"] {
        tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
    }
    let link = Kind::Symlink((*b"usr/bin").into());
    tree.insert(&path("bin"), Inode { meta: Meta::root(0o777), kind: link }).unwrap();
    let programs = "mkdir rmdir rm ln cp mv install chmod chown touch cat cut tr head tail sort uniq \
        wc seq cmp md5sum grep sed readlink realpath basename dirname mktemp stat perl env";
    let file = |mode, text: &str| Inode {
        meta: Meta::root(mode),
        kind: Kind::Regular(Content::Inline(text.as_bytes().into())),
    };
    for program in programs.split_whitespace() {
        let place = path("usr/bin").join(program).unwrap();
        tree.insert(&place, file(0o755, "\x7fELF")).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nman:x:6:12::/:/bin/sh\n";
    tree.insert(&path("etc/passwd"), file(0o644, passwd)).unwrap();
    tree.insert(&path("etc/group"), file(0o644, "root:x:0:\nman:x:12:\n")).unwrap();
    World::new(tree, &NoContents, Epoch::default())
}

/// Runs a script; returns how it ended and what it printed.
fn outcome(script: &str) -> (Result<i32, Stop>, String, World<'static>) {
    let mut world = world();
    let environment = ["PATH=/usr/bin:/bin".to_owned(), "HOME=/root".to_owned()];
    let arguments = ["script", "one", "two words"];
    let status = run(&mut world, find_command, script.as_bytes(), &arguments, &environment);
    let printed = world.printed.clone();
    (status, printed, world)
}

#[test]
fn the_language_is_posix_s() {
    let cases = [
        ("echo a b; echo 'c  d'", "a b\nc  d\n"),
        ("x='1  2'; echo $x; echo \"$x\"", "1 2\n1  2\n"),
        ("for i in a 'b c' \"$@\"; do echo \"[$i]\"; done", "[a]\n[b c]\n[one]\n[two words]\n"),
        ("for i; do printf '%s|' \"$i\"; done", "one|two words|"),
        ("set -- ; for i in \"$@\"; do echo never; done; echo $#", "0\n"),
        ("case x.c in *.h) echo h;; (*.c|y) echo c;; esac", "c\n"),
        ("if false; then echo a; elif true; then echo b; else echo c; fi", "b\n"),
        (
            "i=0; while [ $i -lt 3 ]; do i=$(($i + 1)); [ $i = 2 ] && continue; echo $i; done",
            "1\n3\n",
        ),
        ("until true; do echo x; done; echo $?", "0\n"),
        ("f() { local x=2; echo \"$1 $x\"; return 3; }; x=1; f a; echo $? $x", "a 2\n3 1\n"),
        (
            "x=/a/b.tar.gz; echo ${x#*/} ${x##*/} ${x%.*} ${x%%.*} ${#x}",
            "a/b.tar.gz b.tar.gz /a/b.tar /a/b 11\n",
        ),
        (
            "echo ${u:-d} ${u-e} ${u:+f} ${u:=g} $u; v=; echo [${v:-w}] [${v-w}]",
            "d e g g\n[w] []\n",
        ),
        ("cat <<EOF\n$1 `echo b` \\$x\nEOF\necho end", "one b $x\nend\n"),
        ("cat <<-'EOF'\n\ta $x\n\tEOF", "a $x\n"),
        ("echo a | tr a-z A-Z | sed s/A/b/", "b\n"),
        ("printf 'a b\\nc\\n' | while read -r x y; do echo \"$y:$x\"; done", "b:a\n:c\n"),
        ("IFS=:; set -- $(echo a:b::c); echo $#", "4\n"),
        ("(x=1; exit 4); echo $? [$x]", "4 []\n"),
        ("echo $((2 + 3 * (4 - 1) % 5)) $((1 << 4 | 3)) $((7 / 2)) $((3 > 2 && 0))", "6 19 3 0\n"),
        ("trap 'echo bye' EXIT; echo hi; exit 0", "hi\nbye\n"),
        ("eval 'x=1;' echo '$x'", "1\n"),
        ("{ echo a; echo b >&2; } 2>/dev/null", "a\n"),
        ("x=$(cd /etc && echo *); echo $x", "group passwd\n"),
        ("[ -f /etc/passwd -a ! -e /etc/x ] && test -d /bin -o 1 = 2 && echo yes", "yes\n"),
        ("[ -n \"\" ] || [ -z \"\" ] && [ \"$1\" != two ] && echo ok", "ok\n"),
        ("echo 'a\\nb'; printf '%03d %-3s|%s\\n' 7 x y", "a\nb\n007 x  |y\n"),
        ("command -v sed; command -v nothing || echo $?", "/usr/bin/sed\n127\n"),
    ];
    for (script, expected) in cases {
        let (status, printed, _) = outcome(script);
        assert_eq!((status.is_ok(), printed.as_str()), (true, expected), "{script}");
    }
}

#[test]
fn set_e_ends_a_script_where_nobody_looks_at_a_failure() {
    for (script, status, printed) in [
        ("set -e; false; echo a", 1, ""),
        ("set -e; if false; then :; fi; false || echo a; ! true; echo b", 0, "a\nb\n"),
        ("set -e; false && true; echo a", 0, "a\n"),
        ("set -e; f() { false; echo a; }; f || echo b", 0, "a\n"),
        ("set -e; f() { false; echo a; }; f", 1, ""),
        ("set -e; x=$(false); echo a", 1, ""),
        ("set -e; (exit 3); echo a", 3, ""),
        ("set -u; echo $nothing", 2, "nothing: parameter not set\n"),
        ("nothing; echo $?", 0, "script: nothing: not found\n127\n"),
    ] {
        let (ended, text, _) = outcome(script);
        assert_eq!((ended, text.as_str()), (Ok(status), printed), "{script}");
    }
}

#[test]
fn texts_are_cut_sorted_searched_and_edited() {
    for (command, expected) in [
        ("grep -c '^a'", "2\n"),
        ("grep -E '^(a|b)[0-9]+$'", "a1\nb22\n"),
        ("grep -Fx a1", "a1\n"),
        ("grep -v a", "b22\n"),
        ("sed -n 's/^\\(.\\)\\([0-9]*\\)$/\\2\\1/p'", "1a\n22b\na\n"),
        ("sed -e '/^a/d;s/2/x/g'", "bxx\n"),
        ("sed -n '2{p;q}'", "b22\n"),
        ("sed -n '/^a1/,/^b/p'", "a1\nb22\n"),
        ("sort -r | head -n 1", "b22\n"),
        ("cut -c 1 | sort -u | wc -l", "2\n"),
        ("tail -1", "a\n"),
        ("md5sum | cut -d ' ' -f 1", "06a6ceeba40a0b1a7bb4e34ec9dea1e6\n"),
    ] {
        let (status, printed, _) = outcome(&format!("printf 'a1\\nb22\\na\\n' | {command}"));
        if command.starts_with("md5sum") {
            assert_eq!(printed.len(), 33, "{command}");
            continue;
        }
        assert_eq!((status, printed.as_str()), (Ok(0), expected), "{command}");
    }
}

#[test]
fn files_are_made_as_by_the_programs() {
    let script = "cd /srv; umask 022; mkdir -p a/b; mkdir -m 1777 t; : > a/x; echo hi >> a/x
        ln -s ../a a/l; ln -sfn b a/l; cp -p a/x a/y; mv a/y a/z; chmod 640 a/z; chown man:man a/z
        chmod u+s,g-r a/z; install -m 600 /dev/null a/n; install -d -m 750 -o man d
        touch a/t; rm a/t; rm -f a/gone; rmdir a/b; ln a/x a/h; cp -a a c";
    let (status, printed, world) = outcome(script);
    assert_eq!((status, printed.as_str()), (Ok(0), ""));
    let tree = &world.tree;
    let meta = |name: &str| {
        let meta = &tree.get(&path(name)).unwrap_or_else(|| panic!("{name}")).meta;
        (meta.mode, meta.uid, meta.gid)
    };
    assert_eq!(meta("srv/a"), (0o755, 0, 0));
    assert_eq!(meta("srv/t"), (0o1777, 0, 0));
    assert_eq!(meta("srv/a/x"), (0o644, 0, 0));
    assert_eq!(meta("srv/a/z"), (0o4600, 6, 12));
    assert_eq!(meta("srv/c/z"), (0o4600, 6, 12));
    assert_eq!(meta("srv/a/n"), (0o600, 0, 0));
    assert_eq!(meta("srv/d"), (0o750, 6, 0));
    assert_eq!(tree.get(&path("srv/a/l")).unwrap().kind, Kind::Symlink((*b"b").into()));
    assert_eq!(tree.lookup(&path("srv/a/h")), tree.lookup(&path("srv/a/x")));
    for gone in ["srv/a/t", "srv/a/b", "srv/a/y"] {
        assert!(tree.get(&path(gone)).is_none(), "{gone}");
    }
}

#[test]
fn what_is_not_understood_stops_a_script_and_is_named() {
    for (script, what) in [
        ("perl -e 1", "perl -e"),
        ("mkdir --frobnicate x", "mkdir --frobnicate"),
        ("sleep 1 &", "background"),
        ("if true; then echo a", "line 1"),
        ("echo 'a", "line 1: a quote does not end"),
        ("[[ a = b ]]", "[["),
        ("sed y/a/b/", "sed"),
    ] {
        let (status, ..) = outcome(script);
        let Err(Stop::Unknown(text)) = status else { panic!("{script}: {status:?}") };
        assert!(text.contains(what), "{script}: {text}");
    }
    // What is never reached need not be understood.
    assert_eq!(outcome("if false; then perl -e 1; fi").0, Ok(0));
}

#[test]
fn s16_scripts_cannot_run_for_ever_nor_grow_nor_leave_the_tree() {
    let deep = format!("{}echo{}", "(".repeat(5000), ")".repeat(5000));
    let nested = "$(".repeat(5000);
    for script in [
        "while :; do :; done",
        "f() { f; }; f",
        "x=aaaaaaaa; while :; do x=$x$x; done",
        "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa >> /srv/x; done",
        "a() { echo x | a; }; a",
        "echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab | grep -E '(a*)*(a*)*(a*)*c'",
        deep.as_str(),
        nested.as_str(),
    ] {
        let (status, ..) = outcome(script);
        assert!(matches!(status, Err(Stop::Unknown(_))), "{script:.60}: {status:?}");
    }
    let (status, printed, world) = outcome("cd ../../..; echo x > ../../etc/shadow; pwd");
    assert_eq!((status, printed.as_str()), (Ok(0), "/\n"));
    assert!(world.tree.get(&path("etc/shadow")).is_some());
}

#[test]
fn a_script_that_a_script_calls_runs_in_a_shell_of_its_own() {
    let script =
        "cat > /usr/bin/tool <<'EOF'\n#!/bin/sh -e\necho \"$0 $1 [$hidden] $shown\"\nexit 5\nEOF
        chmod 755 /usr/bin/tool; hidden=1; export shown=2; tool x; echo $?";
    let (status, printed, _) = outcome(script);
    assert_eq!((status, printed.as_str()), (Ok(0), "/usr/bin/tool x [] 2\n5\n"));
}

#[test]
fn bytes_of_any_kind_survive() {
    let mut world = world();
    let script = b"x='\xff\xc3'; echo $x > /srv/x; cat /srv/x";
    let environment = ["PATH=/usr/bin".to_owned()];
    assert_eq!(run(&mut world, find_command, script, &["s"], &environment), Ok(0));
    assert_eq!(world.read(&path("srv/x")).unwrap(), b"\xff\xc3\n");
    assert_eq!(text_of(b"\xff\xc3\n"), world.printed);
}
