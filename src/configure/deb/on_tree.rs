//! Runs the scripts of Debian packages without running a program: by the shell and the handlers of
//! ours, over the tree in memory.
//!
//! In: the tree as `dpkg --unpack` leaves it; out: the tree with what scripts have done, and the list
//! of those that did not run. A script runs whole or not at all: where one comes to something that
//! is not understood, or fails, all that it did is undone, its package stays unpacked in dpkg's
//! database, so that dpkg itself knows what is left to be done, and the build goes on; or, where
//! every script must be understood, that is the end.

use std::collections::{BTreeMap, BTreeSet};

use super::script::{self, Setting};
use super::{Bench, Debs, Ground, Run, dpkg_version, late, passing, tools};
use crate::configure::Error;
use crate::configure::lines::Lines;
use crate::configure::not_run::{self, NotRun};
use crate::configure::shell::{self, Fault, Stop, World};
use crate::package::deb::scripts::ScriptKind;
use crate::tree::{Content, Inode, InodeId, Kind, Meta, Tree, TreePath, escape};
use crate::unpack::deb::Package;

/// The tree that scripts work on, and which of them did not run.
struct OnTree<'a> {
    world: World<'a>,
    not_run: Vec<NotRun>,
    /// Whether every script must be understood.
    whole: bool,
}

/// Runs every script; returns the tree that they leave.
pub(super) fn run_all(mut tree: Tree, debs: &Debs, bench: &Bench<'_>) -> Result<Tree, Error> {
    let Debs { packages, order } = debs;
    let Bench { store, whole, epoch, listener, .. } = *bench;
    passing::put_in(&mut tree, packages, epoch)?;
    let late = late::paths(&tree, packages, order)?;
    let mut early = tree.clone();
    for path in late.iter().rev() {
        early.remove(path);
    }
    let ground = OnTree { world: World::new(early, store, epoch), not_run: Vec::new(), whole };
    let setting = Setting { listener, epoch, dpkg_version: dpkg_version(packages) };
    let mut run = Run::new(ground, setting, packages, order);
    let (first, second) = order.sequence.split_at(order.first_phase);
    run.phase(first)?;
    lay_out(&tree, &late, &mut run.ground.world.tree)?;
    run.unpacked.extend(second);
    run.phase(second)?;
    run.triggers()?;
    run.write_status()?;
    let OnTree { world, not_run, .. } = run.ground;
    let mut tree = world.tree;
    passing::take_out(&mut tree, packages, epoch)?;
    not_run::write(&mut tree, &not_run, epoch.clamp(i64::MAX))?;
    Ok(tree)
}

/// Adds the paths that wait for the second phase. Whatever scripts put in the way of a file is
/// replaced, as dpkg does.
fn lay_out(from: &Tree, late: &BTreeSet<TreePath>, to: &mut Tree) -> Result<(), Error> {
    let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    for (path, id, inode) in from.walk().filter(|(path, ..)| late.contains(path)) {
        if matches!(inode.kind, Kind::Directory(_)) {
            if to.get(&path).is_none() {
                let kind = Kind::Directory(BTreeMap::new());
                to.insert(&path, Inode { meta: inode.meta.clone(), kind })?;
            }
        } else if let Some(first) = first_names.get(&id) {
            to.link(&path, first)?;
        } else {
            to.insert(&path, inode.clone())?;
            first_names.insert(id, path);
        }
    }
    Ok(())
}

impl OnTree<'_> {
    /// Whether the cache gave everything that was read.
    fn check(&mut self, what: impl FnOnce() -> String) -> Result<(), Error> {
        let failure = self.world.take_failure();
        failure.map_or(Ok(()), |source| Err(Error::Content { what: what(), source }))
    }
}

impl Ground for OnTree<'_> {
    fn rename(&mut self, from: &TreePath, to: &TreePath) -> Result<(), Error> {
        let moved = self.world.rename(from, to);
        moved.map_err(|fault| failed("rename", from, fault))
    }

    fn read_file(&mut self, path: &TreePath) -> Result<Vec<u8>, Error> {
        let place = self.world.tree.resolve(path)?;
        match self.world.read(&place) {
            Err(Fault::Missing) => Ok(Vec::new()),
            read => {
                self.check(|| path.to_string())?;
                read.map_err(|fault| failed("read", path, fault))
            }
        }
    }

    fn replace_file(&mut self, path: &TreePath, bytes: &[u8]) -> Result<(), Error> {
        let place = self.world.tree.resolve_parent(path)?;
        let meta = Meta { mtime: self.world.now(), ..Meta::root(0o644) };
        let kind = Kind::Regular(Content::Inline(bytes.into()));
        self.world.tree.insert(&place, Inode { meta, kind })?;
        Ok(())
    }

    fn run(
        &mut self,
        setting: &Setting<'_>,
        package: &Package,
        kind: ScriptKind,
        arguments: &[&str],
    ) -> Result<bool, Error> {
        let Some(script) = package.scripts.get(&kind) else { return Ok(true) };
        let before = if self.whole { None } else { Some(self.world.tree.clone()) };
        self.world.begin();
        let path = script::path(package, kind);
        let mut all = vec![path.as_str()];
        all.extend(arguments);
        let environment = setting.environment(package, kind);
        let ended = shell::run_file(&mut self.world, tools::find, script, &all, &environment);
        let mut lines = Lines::new(setting.listener, package.name.as_str(), kind.name());
        lines.take(&shell::bytes_of(&self.world.printed));
        lines.end();
        self.check(|| format!("what the {} script of {} reads", kind.name(), package.name))?;
        let reason = match ended {
            Ok(0) => None,
            Ok(status) => Some(format!("did not run: by built-in handlers it fails with {status}")),
            Err(Stop::Unknown(what)) => Some(format!("did not run: cannot handle {what:.200}")),
            Err(_) => Some("did not run: it ends in the middle".to_owned()),
        };
        let ran = reason.is_none();
        if !ran && let Some(before) = before {
            self.world.tree = before;
        }
        if let Some(reason) = reason {
            let reason = escape(&shell::bytes_of(&reason));
            if self.whole {
                let (package, script) = (package.name.clone(), kind.name());
                return Err(Error::NotUnderstood { package, script, reason });
            }
            let entry = NotRun {
                package: package.name.to_string(),
                script: kind.name().to_owned(),
                reason,
            };
            if !self.not_run.contains(&entry) {
                (setting.listener)(entry.event());
                self.not_run.push(entry);
            }
        }
        Ok(ran)
    }
}

fn failed(doing: &'static str, path: &TreePath, fault: Fault) -> Error {
    Error::Disk { doing, path: path.clone(), source: std::io::Error::other(fault.text()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::tests::package;
    use super::*;
    use crate::configure::attempt::by_handlers;
    use crate::configure::{Place, configure_in};
    use crate::distro::Architecture;
    use crate::epoch::Epoch;
    use crate::event::Event;
    use crate::recipe::Scripts;
    use crate::store::Store;
    use crate::unpack::{Installed, Unpacked};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn shell(name: &str, text: &str) -> Package {
        let mut package = package(name, "");
        let script = format!("#!/bin/sh\nset -e\n{text}\n");
        package.scripts.insert(ScriptKind::Postinst, script.into_bytes().into());
        package
    }

    /// A processor that this is not, whose programs nobody runs.
    fn foreign(scripts: Scripts) -> Place {
        let arm = Architecture::host() == Some(Architecture::Aarch64);
        let architecture = if arm { Architecture::X86_64 } else { Architecture::Aarch64 };
        Place { architecture, scripts, plain_chroot: false }
    }

    #[test]
    fn a_script_runs_whole_or_is_undone_listed_and_left_to_dpkg() {
        let mut tree = Tree::default();
        for directory in ["etc", "tmp", "run", "usr/bin", "usr/sbin", "var/lib/dpkg/triggers"] {
            tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
        }
        let program = Inode { meta: Meta::root(0o755), kind: Kind::Regular(Content::empty()) };
        tree.insert(&path("usr/bin/frobnicate"), program).unwrap();
        let packages = vec![
            shell("good", "echo fine > /etc/good"),
            shell("strange", "echo half > /etc/strange; frobnicate --all"),
            shell("failing", "echo half > /etc/failing; exit 3"),
        ];
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let expected = [
            "failing postinst: did not run: by built-in handlers it fails with 3",
            "strange postinst: did not run: cannot handle frobnicate --all",
        ];
        // Twice: the second time from the cache, which has not forgotten.
        for _ in 0..2 {
            let unpacked =
                Unpacked { tree: tree.clone(), packages: Installed::Deb(packages.clone()) };
            let told = Mutex::new(Vec::new());
            let listener = |event| {
                if let Event::ScriptNotRun { package, script, reason } = event {
                    told.lock().unwrap().push(format!("{package} {script}: {reason}"));
                }
            };
            let place = foreign(Scripts::BuiltIn);
            let configured =
                configure_in(place, unpacked, Epoch::default(), &store, &listener).unwrap();
            let mut told = told.into_inner().unwrap();
            told.sort();
            assert_eq!(told, expected);
            let mut world = World::new(configured.tree, &store, Epoch::default());
            assert_eq!(world.text("/etc/good").as_deref(), Some("fine\n"));
            assert_eq!((world.text("/etc/strange"), world.text("/etc/failing")), (None, None));
            let status = world.text("/var/lib/dpkg/status").unwrap();
            assert_eq!(status.matches("install ok unpacked").count(), 2, "{status}");
        }
    }

    #[test]
    fn handlers_make_the_whole_tree_once_or_say_what_they_do_not_understand() {
        let mut tree = Tree::default();
        for directory in ["etc", "tmp", "run", "usr/bin", "usr/sbin", "var/lib/dpkg/triggers"] {
            tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
        }
        let program = Inode { meta: Meta::root(0o755), kind: Kind::Regular(Content::empty()) };
        tree.insert(&path("usr/bin/frobnicate"), program).unwrap();
        let good = shell("good", "echo fine > /etc/good");
        let strange = shell("strange", "echo half > /etc/strange; frobnicate --all");
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let done = "osbuilder's own handlers have run all scripts";
        let again = "the scripts of these packages ran before; their result is used";
        let not = "osbuilder's own handlers cannot run the postinst script of strange: did not run: \
            cannot handle frobnicate --all; so the guest's own programs run all scripts";
        let cases = [(vec![good.clone()], [done, again]), (vec![good, strange], [not, not])];
        for (packages, expected) in cases {
            let mut told = Vec::new();
            for _ in 0..2 {
                let debs = Debs::new(packages.clone()).unwrap();
                let events = Mutex::new(Vec::new());
                let listener = |event| {
                    if let Event::Note { text } = event {
                        events.lock().unwrap().push(text);
                    }
                };
                let epoch = Epoch::default();
                let made = by_handlers(&tree, &debs, epoch, &store, &listener).unwrap();
                assert_eq!(made.is_some(), packages.len() == 1);
                if let Some(configured) = made {
                    let mut world = World::new(configured.tree, &store, epoch);
                    assert_eq!(world.text("/etc/good").as_deref(), Some("fine\n"));
                    let status = world.text("/var/lib/dpkg/status").unwrap();
                    assert!(status.contains("install ok installed"), "{status}");
                }
                told.extend(events.into_inner().unwrap());
            }
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_tree_with_scripts_left_out_is_no_result_where_all_must_run() {
        let mut tree = Tree::default();
        for directory in ["etc", "tmp", "run", "usr/sbin", "var/lib/dpkg/triggers"] {
            tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
        }
        let packages = vec![shell("failing", "echo half > /etc/failing; exit 3")];
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let unpacked = Unpacked { tree: tree.clone(), packages: Installed::Deb(packages.clone()) };
        let (epoch, nobody) = (Epoch::default(), &crate::event::nobody);
        let left_out = configure_in(foreign(Scripts::BuiltIn), unpacked, epoch, &store, nobody);
        assert!(left_out.unwrap().tree.get(&path("var/lib/osbuilder/scripts-not-run")).is_some());
        let debs = Debs::new(packages).unwrap();
        assert!(by_handlers(&tree, &debs, epoch, &store, nobody).unwrap().is_none());
    }

    #[test]
    fn f4_a_file_that_the_cache_does_not_give_ends_the_build_and_is_not_remembered() {
        let mut tree = Tree::default();
        for directory in ["etc", "tmp", "run", "usr/bin", "usr/sbin", "var/lib/dpkg/triggers"] {
            tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
        }
        let file = |content| Inode { meta: Meta::root(0o755), kind: Kind::Regular(content) };
        tree.insert(&path("usr/bin/grep"), file(Content::empty())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let packages =
            vec![shell("asking", "if grep -q 42 /etc/data; then echo yes > /etc/yes; fi")];
        let debs = Debs::new(packages).unwrap();
        let (epoch, nobody) = (Epoch::default(), &crate::event::nobody);
        let lost = Content::Stored { digest: crate::digest::Digest::of(b"42"), size: 2 };
        tree.insert(&path("etc/data"), file(lost)).unwrap();
        for _ in 0..2 {
            let error = by_handlers(&tree, &debs, epoch, &store, nobody).unwrap_err();
            let words = "cannot read what the postinst script of asking reads from the cache";
            assert_eq!(error.to_string(), words);
        }
        tree.insert(&path("etc/data"), file(Content::Inline(b"42".as_slice().into()))).unwrap();
        let made = by_handlers(&tree, &debs, epoch, &store, nobody).unwrap();
        assert!(made.unwrap().tree.get(&path("etc/yes")).is_some());
    }

    #[test]
    fn files_of_the_second_phase_replace_what_scripts_of_the_first_put_in_their_way() {
        let mut from = Tree::default();
        from.make_directories(&path("usr/late"), &Meta::root(0o750)).unwrap();
        let file = |text: &str| Inode {
            meta: Meta::root(0o644),
            kind: Kind::Regular(Content::Inline(text.as_bytes().into())),
        };
        from.insert(&path("usr/late/a"), file("package's")).unwrap();
        from.link(&path("usr/late/b"), &path("usr/late/a")).unwrap();
        let mut to = Tree::default();
        to.make_directories(&path("usr/late"), &Meta::root(0o700)).unwrap();
        to.insert(&path("usr/late/a"), file("script's")).unwrap();
        let late = ["usr/late", "usr/late/a", "usr/late/b"].map(path).into();
        lay_out(&from, &late, &mut to).unwrap();
        assert_eq!(to.get(&path("usr/late/a")), from.get(&path("usr/late/a")));
        assert_eq!(to.lookup(&path("usr/late/a")), to.lookup(&path("usr/late/b")));
        assert_eq!(to.get(&path("usr/late")).unwrap().meta.mode, 0o700);
    }
}
