//! `systemd-tmpfiles --create`: files and directories from declarations; see tmpfiles.d(5).

use std::collections::BTreeSet;

use super::acl;
use super::sysusers::declarations;
use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of};
use crate::sysusers::words;
use crate::tree::{Inode, Kind, TreePath};

/// A line, taken apart.
struct Line<'a> {
    kind: char,
    force: bool,
    path: &'a str,
    mode: Option<&'a str>,
    user: Option<&'a str>,
    group: Option<&'a str>,
    argument: Option<&'a str>,
}

pub(super) fn systemd_tmpfiles(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- create|-: root|- graceful")?;
    if !options.has("create") || options.operands.is_empty() {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    let mut declared = BTreeSet::new();
    for name in &options.operands {
        let text = declarations(shell, "tmpfiles.d", name).unwrap_or_default();
        for line in text.lines() {
            let words = words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let field = |at: usize| words.get(at).copied().filter(|word| *word != "-");
            let (Some(kind), Some(path)) = (field(0), field(1)) else { continue };
            // What is only for a starting system, or comes from its credentials, is not for a tree.
            if kind.contains(['!', '^']) {
                continue;
            }
            let line = Line {
                kind: kind.chars().next().unwrap_or_default(),
                force: kind.contains('+'),
                path,
                mode: field(2),
                user: field(3),
                group: field(4),
                argument: field(6),
            };
            // Of several declarations of one path the first counts.
            let makes = "dDvqQfFLC".contains(line.kind);
            if makes && !declared.insert(path.to_owned()) {
                continue;
            }
            apply(shell, call, &line)?;
        }
    }
    Ok(0)
}

fn apply(shell: &mut Shell<'_, '_>, call: &Call, line: &Line<'_>) -> Result<(), Stop> {
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("tmpfiles: {}", fault.text())) };
    // The machine has no identity yet, so nothing is named after it.
    if line.path.contains('%') {
        let harmless = line.path.contains("%m") || line.path.contains("%b");
        return if harmless { Ok(()) } else { Err(call.unknown(line.path)) };
    }
    let there = shell.file(line.path, false).is_some();
    match line.kind {
        'd' | 'D' | 'v' | 'q' | 'Q' => {
            if !there {
                shell.world.make_directories(line.path, 0o755).map_err(failed)?;
            }
            own(shell, call, line, !there)
        }
        'f' | 'F' => {
            if there && !line.force && line.kind == 'f' {
                return own(shell, call, line, false);
            }
            let text = line.argument.map(|text| text.to_owned()).unwrap_or_default();
            shell.world.put(line.path, 0o644, &text).map_err(failed)?;
            own(shell, call, line, !there)
        }
        'L' => {
            let target = match line.argument {
                Some(target) => target.to_owned(),
                None => format!("/usr/share/factory{}", line.path),
            };
            if !there || line.force {
                link(shell, line.path, &target).map_err(failed)?;
            }
            Ok(())
        }
        'C' => {
            let source = line.argument.unwrap_or_default();
            match there || shell.file(source, true).is_none() {
                true => Ok(()),
                false => Err(call.unknown(&format!("C {}", line.path))),
            }
        }
        'z' if there => own(shell, call, line, false),
        'a' if there => attach(shell, call, line),
        // Attributes of file systems that no tree has, and what is only removed.
        'z' | 'a' | 'A' | 'Z' | 'h' | 'H' | 't' | 'T' | 'r' | 'R' | 'x' | 'X' | 'e' if !there => {
            Ok(())
        }
        'h' | 'H' | 'r' | 'R' | 'x' | 'X' | 'e' => Ok(()),
        _ => Err(call.unknown(&format!("{} {}", line.kind, line.path))),
    }
}

fn link(shell: &mut Shell<'_, '_>, at: &str, target: &str) -> Result<(), Fault> {
    if let Some((above, _)) = at.rsplit_once('/') {
        shell.world.make_directories(above, 0o755)?;
    }
    let place = shell.place(at, false)?;
    if let Some(Inode { kind: Kind::Symlink(old), .. }) = shell.world.tree.get(&place)
        && **old == *bytes_of(target)
    {
        return Ok(());
    }
    if shell.world.tree.get(&place).is_some() {
        shell.world.remove(&place)?;
    }
    shell.world.insert(&place, 0o777, Kind::Symlink(bytes_of(target).into()))
}

/// Sets owner and mode; those with a colon count for what is new only.
fn own(shell: &mut Shell<'_, '_>, call: &Call, line: &Line<'_>, new: bool) -> Result<(), Stop> {
    let Ok(place) = shell.place(line.path, true) else { return Ok(()) };
    let wanted = |field: Option<&str>| -> Option<String> {
        let field = field?;
        match field.strip_prefix(':') {
            Some(_) if !new => None,
            rest => Some(rest.unwrap_or(field).to_owned()),
        }
    };
    let (user, group) = (wanted(line.user), wanted(line.group));
    let mut ids = [None, None];
    let lists = ["/etc/passwd", "/etc/group"];
    for ((id, name), list) in ids.iter_mut().zip([user, group]).zip(lists) {
        if let Some(name) = name {
            // systemd leaves a line out whose user is not there.
            let Some(number) = shell.number_of(list, &name) else { return Ok(()) };
            *id = Some(number);
        }
    }
    let mode = match wanted(line.mode) {
        Some(text) => {
            let bits = u16::from_str_radix(text.trim_start_matches('~'), 8);
            Some(bits.map_err(|_| call.unknown(&text))?)
        }
        None => None,
    };
    if let Some(inode) = shell.world.tree.get_mut(&place) {
        let [uid, gid] = ids;
        inode.meta.uid = uid.unwrap_or(inode.meta.uid);
        inode.meta.gid = gid.unwrap_or(inode.meta.gid);
        inode.meta.mode = mode.unwrap_or(inode.meta.mode);
    }
    Ok(())
}

/// Adds access control lists.
fn attach(shell: &mut Shell<'_, '_>, call: &Call, line: &Line<'_>) -> Result<(), Stop> {
    let place: Option<TreePath> = shell.place(line.path, true).ok();
    let inode = place.as_ref().and_then(|place| shell.world.tree.get(place));
    let (Some(place), Some(mode)) = (place.clone(), inode.map(|inode| inode.meta.mode)) else {
        return Ok(());
    };
    let text = line.argument.unwrap_or_default();
    let mut lists = acl::lists(shell, text, mode).ok_or_else(|| call.unknown(text))?;
    if let Some(inode) = shell.world.tree.get_mut(&place) {
        let xattrs = &mut inode.meta.xattrs;
        let mut set = |name: &[u8], list: Option<Vec<u8>>| {
            if let Some(list) = list {
                xattrs.insert(name.to_vec(), list);
            }
        };
        set(b"system.posix_acl_access", lists.access.take());
        set(b"system.posix_acl_default", lists.default.take());
    }
    Ok(())
}
