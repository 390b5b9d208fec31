//! Commands that change owners, modes and times; users and groups are those of the tree.

use super::files::mode;
use super::{Call, Flow, Options, Shell, Stop};
use crate::tree::{Kind, TreePath};

impl Shell<'_, '_> {
    /// The number of a user or group, by its name in the tree's list or as a number.
    pub(in crate::configure) fn number_of(&mut self, list: &str, name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let text = self.world.text(list).unwrap_or_default();
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }

    /// The name of a user or group, or its number.
    pub(super) fn name_of(&mut self, list: &str, number: u32) -> String {
        let text = self.world.text(list).unwrap_or_default();
        let number = number.to_string();
        let line = text.lines().find(|line| line.split(':').nth(2) == Some(&number));
        let name = line.and_then(|line| line.split(':').next());
        name.map_or(number.clone(), str::to_owned)
    }
}

/// Numbers of `user:group`; the group may be missing, and then counts as root's.
pub(super) fn owner(shell: &mut Shell<'_, '_>, names: &str) -> Option<(u32, u32)> {
    let (user, group) = names.split_once([':', '.']).unwrap_or((names, "0"));
    let uid = shell.number_of("/etc/passwd", user)?;
    Some((uid, shell.number_of("/etc/group", group)?))
}

/// The paths that a command changes: its operands, and with `-R` all below them.
fn chosen(
    shell: &mut Shell<'_, '_>,
    call: &mut Call,
    paths: &[String],
    options: &Options,
) -> Vec<TreePath> {
    let follow = !options.has("no-dereference");
    let mut places = Vec::new();
    for path in paths {
        match shell.place(path, follow) {
            Ok(place) if shell.world.tree.get(&place).is_some() => match options.has("recursive") {
                true => {
                    let below = shell.world.below(&place);
                    let all =
                        below.iter().filter_map(|(tail, ..)| place.join(tail.as_bytes()).ok());
                    places.extend(all);
                }
                false => places.push(place),
            },
            _ if options.has("force") || options.has("silent") => {}
            _ => drop(call.fail(&format!("cannot access '{path}': No such file or directory"))),
        }
    }
    places
}

const SPEC: &str = "R recursive|h no-dereference|f silent|v verbose|c changes|- reference|- quiet";

/// The operands after the one that says what is wanted, and that one; `--reference` stands for it.
fn wanted(call: &mut Call) -> Result<(Option<String>, String, Options), Stop> {
    let reference = call.arguments.iter().position(|text| text.starts_with("--reference="));
    let path = reference.map(|at| call.arguments.remove(at));
    // `chmod -x FILE` looks like an option.
    let signs = call.arguments.iter().position(|text| {
        call.name == "chmod"
            && text.len() > 1
            && text.starts_with("-")
            && text.chars().skip(1).all(|c| "rwxXst".contains(c))
    });
    let mut first = signs.map(|at| call.arguments.remove(at));
    let mut options = call.options(SPEC)?;
    if first.is_none() && path.is_none() && !options.operands.is_empty() {
        first = Some(options.operands.remove(0));
    }
    let path = path.map(|text| text["--reference=".len()..].to_owned());
    Ok((path, first.unwrap_or_default(), options))
}

pub(super) fn chmod(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let (reference, text, options) = wanted(call)?;
    let like = match reference {
        None => None,
        Some(path) => match shell.file(&path, true) {
            Some(inode) => Some(inode.meta.mode),
            None => return Ok(call.fail(&format!("failed to get attributes of '{path}'"))),
        },
    };
    let mask = shell.mask();
    for place in chosen(shell, call, &options.operands.clone(), &options) {
        let Some(inode) = shell.world.tree.get_mut(&place) else { continue };
        if matches!(inode.kind, Kind::Symlink(_)) {
            continue;
        }
        let is_directory = matches!(inode.kind, Kind::Directory(_));
        let new = like.or_else(|| mode(&text, inode.meta.mode, is_directory, mask));
        inode.meta.mode = new.ok_or_else(|| call.unknown(&text))?;
    }
    Ok(i32::from(!call.err.is_empty()))
}

pub(super) fn chown(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let (reference, text, options) = wanted(call)?;
    let (user, group) = text.split_once([':', '.']).unwrap_or((&text, ""));
    let number = |shell: &mut Shell<'_, '_>, list: &str, name: &str| match name {
        "" => Ok(None),
        name => shell.number_of(list, name).map(Some).ok_or(()),
    };
    let mut uid = number(shell, "/etc/passwd", user);
    let mut gid = number(shell, "/etc/group", group);
    if let Some(path) = reference {
        let meta = shell.file(&path, true).map(|inode| inode.meta.clone());
        uid = meta.as_ref().map(|meta| Some(meta.uid)).ok_or(());
        gid = meta.map(|meta| Some(meta.gid)).ok_or(());
    }
    let (Ok(uid), Ok(gid)) = (uid, gid) else {
        return Ok(call.fail(&format!("invalid user or group: '{text}'")));
    };
    give(shell, call, &options, uid, gid)
}

pub(super) fn chgrp(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let (_, text, options) = wanted(call)?;
    match shell.number_of("/etc/group", &text) {
        Some(gid) => give(shell, call, &options, None, Some(gid)),
        None => Ok(call.fail(&format!("invalid group: '{text}'"))),
    }
}

fn give(
    shell: &mut Shell<'_, '_>,
    call: &mut Call,
    options: &Options,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Flow {
    for place in chosen(shell, call, &options.operands.clone(), options) {
        let Some(inode) = shell.world.tree.get_mut(&place) else { continue };
        let meta = &mut inode.meta;
        let changed =
            uid.is_some_and(|uid| uid != meta.uid) || gid.is_some_and(|gid| gid != meta.gid);
        // As the kernel: with the owner go the bits that lend it, and file capabilities.
        if changed && matches!(inode.kind, Kind::Regular(_)) {
            let lends_group = if meta.mode & 0o10 == 0 { 0 } else { 0o2000 };
            meta.mode &= !(0o4000 | lends_group);
            meta.xattrs.remove(b"security.capability".as_slice());
        }
        meta.uid = uid.unwrap_or(meta.uid);
        meta.gid = gid.unwrap_or(meta.gid);
    }
    Ok(i32::from(!call.err.is_empty()))
}

pub(super) fn touch(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("c no-create|h no-dereference|r: reference|a atime|m mtime")?;
    let mut time = shell.world.now();
    if let Some(path) = options.value("reference") {
        match shell.file(path, !options.has("no-dereference")) {
            Some(inode) => time = inode.meta.mtime,
            None => return Ok(call.fail(&format!("failed to get attributes of '{path}'"))),
        }
    }
    let mut status = 0;
    for path in &options.operands {
        let place = shell.place(path, !options.has("no-dereference"));
        let made = place.and_then(|place| {
            if shell.world.tree.get(&place).is_none() && !options.has("no-create") {
                shell.world.open(&place, 0o666 & !shell.mask(), false)?;
            }
            if let Some(inode) = shell.world.tree.get_mut(&place) {
                inode.meta.mtime = time;
            }
            Ok(())
        });
        if let Err(fault) = made {
            status = call.fail(&format!("cannot touch '{path}': {}", fault.text()));
        }
    }
    Ok(status)
}
