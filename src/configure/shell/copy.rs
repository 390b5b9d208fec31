//! Commands that copy and move: `cp`, `mv`, `install`.

use std::collections::BTreeMap;

use super::attributes::owner;
use super::files::mode;
use super::{Call, Fault, Flow, Shell};
use crate::tree::{Inode, Kind, Meta, TreePath};

/// What of a file's attributes is kept.
#[derive(Clone, Copy)]
struct Keep {
    /// Owner, mode and time.
    attributes: bool,
    /// Links are copied as links.
    links: bool,
    /// Directories with all in them.
    all: bool,
}

pub(super) fn cp(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "a archive|d no-dereference|p preserve-all|f force|r recursive|R recursive|P links|L dereference|n no-clobber|u update|T no-target-directory|v verbose|Z context";
    let options = call.options(spec)?;
    if options.has("update") {
        return Err(call.unknown("-u"));
    }
    let archive = options.has("archive");
    let keep = Keep {
        attributes: archive || options.has("preserve-all"),
        links: archive || options.has("no-dereference") || options.has("links"),
        all: archive || options.has("recursive"),
    };
    let Some((to, from)) = options.operands.split_last() else { return Ok(1) };
    let mut status = 0;
    for path in from {
        let target = inside(shell, path, to, options.has("no-target-directory"));
        if options.has("no-clobber") && shell.file(&target, false).is_some() {
            continue;
        }
        if let Err(fault) = copy(shell, path, &target, keep) {
            status = call.fail(&format!("cannot copy '{path}' to '{target}': {}", fault.text()));
        }
    }
    Ok(status)
}

/// Where a file goes: into a directory under its own name, else under the new one.
fn inside(shell: &Shell<'_, '_>, path: &str, to: &str, never: bool) -> String {
    let into = !never && shell.place(to, true).is_ok_and(|place| shell.world.is_directory(&place));
    match into {
        true => format!("{to}/{}", path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)),
        false => to.to_owned(),
    }
}

fn copy(shell: &mut Shell<'_, '_>, from: &str, to: &str, keep: Keep) -> Result<(), Fault> {
    if from == "/dev/null" {
        let place = shell.place(to, true)?;
        return shell.world.open(&place, 0o666 & !shell.mask(), true).map(drop);
    }
    let from = shell.place(from, !keep.links)?;
    let inode = shell.world.tree.get(&from).ok_or(Fault::Missing)?.clone();
    match inode.kind {
        Kind::Directory(_) if !keep.all => Err(Fault::IsADirectory),
        Kind::Directory(_) => {
            let top = shell.place(to, true)?;
            for (tail, _, inode) in shell.world.below(&from) {
                let place = top.join(tail.as_bytes())?;
                copy_one(shell, &inode, &place, keep)?;
            }
            Ok(())
        }
        Kind::Regular(_) => {
            let place = shell.place(to, true)?;
            if place == from {
                return Err(Fault::Invalid);
            }
            copy_one(shell, &inode, &place, keep)
        }
        _ => {
            let place = shell.place(to, false)?;
            copy_one(shell, &inode, &place, keep)
        }
    }
}

/// Puts a copy of one file at a clean path.
fn copy_one(
    shell: &mut Shell<'_, '_>,
    inode: &Inode,
    place: &TreePath,
    keep: Keep,
) -> Result<(), Fault> {
    let now = shell.world.now();
    let there = shell.world.tree.get(place).map(|there| (there.meta.clone(), there.kind.clone()));
    let is_directory = matches!(inode.kind, Kind::Directory(_));
    match (&there, is_directory) {
        (Some((_, Kind::Directory(_))), false) => return Err(Fault::IsADirectory),
        (Some((_, Kind::Directory(_))), true) if !keep.attributes => return Ok(()),
        _ => {}
    }
    let meta = match (&there, keep.attributes) {
        (_, true) => Meta { xattrs: BTreeMap::new(), ..inode.meta.clone() },
        (Some((meta, _)), false) => Meta { mtime: now, ..meta.clone() },
        (None, false) => {
            let mode = inode.meta.mode & 0o777 & !shell.mask();
            Meta { mtime: now, ..Meta::root(mode) }
        }
    };
    let kind = match is_directory {
        true => Kind::Directory(BTreeMap::new()),
        false => inode.kind.clone(),
    };
    match (shell.world.tree.lookup(place), &kind) {
        // A file that is there is written into, so that its other names see that too.
        (Some(id), Kind::Regular(_)) => *shell.world.tree.inode_mut(id) = Inode { meta, kind },
        _ => {
            shell.world.tree.insert(place, Inode { meta, kind })?;
            shell.world.touch_above(place);
        }
    }
    Ok(())
}

pub(super) fn mv(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "f force|n no-clobber|T no-target-directory|v verbose|Z context";
    let options = call.options(spec)?;
    let Some((to, from)) = options.operands.split_last() else { return Ok(1) };
    let mut status = 0;
    for path in from {
        let target = inside(shell, path, to, options.has("no-target-directory"));
        if options.has("no-clobber") && shell.file(&target, false).is_some() {
            continue;
        }
        let moved = shell.place(path.trim_end_matches('/'), false).and_then(|from| {
            let to = shell.place(target.trim_end_matches('/'), false)?;
            match shell.world.tree.get(&from) {
                Some(_) => shell.world.rename(&from, &to),
                None => Err(Fault::Missing),
            }
        });
        if let Err(fault) = moved {
            status = call.fail(&format!("cannot move '{path}' to '{target}': {}", fault.text()));
        }
    }
    Ok(status)
}

pub(super) fn install(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "d directory|m: mode|o: owner|g: group|D parents|p preserve-timestamps|T no-target-directory|v verbose|c c";
    let options = call.options(spec)?;
    let text = options.value("mode").unwrap_or("755");
    let mode = mode(text, 0, false, 0).ok_or_else(|| call.unknown(text))?;
    let names = format!(
        "{}:{}",
        options.value("owner").unwrap_or("0"),
        options.value("group").unwrap_or("0")
    );
    let Some((uid, gid)) = owner(shell, &names) else {
        return Ok(call.fail(&format!("invalid user or group '{names}'")));
    };
    let mut made = Vec::new();
    if options.has("directory") {
        for path in &options.operands {
            let full = shell.absolute(path);
            made.push(shell.world.make_directories(&full, 0o755));
        }
    } else {
        let Some((to, from)) = options.operands.split_last() else { return Ok(1) };
        for path in from {
            let target = inside(shell, path, to, options.has("no-target-directory"));
            if options.has("parents")
                && let Some((above, _)) = target.rsplit_once('/')
            {
                let full = shell.absolute(above);
                made.push(shell.world.make_directories(&full, 0o755).map(|_| TreePath::ROOT));
            }
            let keep = Keep { attributes: false, links: false, all: false };
            if let Ok(place) = shell.place(&target, false)
                && shell.world.tree.get(&place).is_some()
            {
                made.push(shell.world.remove(&place).map(|()| TreePath::ROOT));
            }
            let copied = copy(shell, path, &target, keep);
            made.push(copied.and_then(|()| shell.place(&target, true)));
        }
    }
    for place in made {
        match place {
            Ok(place) if place.is_root() => {}
            Ok(place) => {
                if let Some(inode) = shell.world.tree.get_mut(&place) {
                    (inode.meta.mode, inode.meta.uid, inode.meta.gid) = (mode, uid, gid);
                }
            }
            Err(fault) => return Ok(call.fail(fault.text())),
        }
    }
    Ok(0)
}
