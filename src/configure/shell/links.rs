//! Commands about links and paths: `ln`, `readlink`, `realpath`, `basename`, `dirname`.

use super::{Call, Fault, Flow, Shell, bytes_of, text_of};
use crate::tree::{Inode, Kind, TreePath};

pub(super) fn ln(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "s symbolic|f force|n no-dereference|v verbose|T no-target-directory|r relative";
    let options = call.options(spec)?;
    if options.has("relative") {
        return Err(call.unknown("-r"));
    }
    let [target, at] = options.operands.as_slice() else {
        return Err(call.unknown("without exactly two paths"));
    };
    let alone = options.has("no-dereference") || options.has("no-target-directory");
    let mut at = at.clone();
    let leads_to_directory = |shell: &Shell<'_, '_>| {
        shell.place(&at, !alone).is_ok_and(|place| shell.world.is_directory(&place))
    };
    if leads_to_directory(shell) {
        at = format!("{at}/{}", target.rsplit('/').next().unwrap_or_default());
    }
    let made = make(shell, target, &at, options.has("symbolic"), options.has("force"));
    Ok(match made {
        Ok(()) => 0,
        Err(fault) => call.fail(&format!("failed to create link '{at}': {}", fault.text())),
    })
}

fn make(
    shell: &mut Shell<'_, '_>,
    target: &str,
    at: &str,
    symbolic: bool,
    force: bool,
) -> Result<(), Fault> {
    let place = shell.place(at, false)?;
    if force && shell.world.tree.get(&place).is_some() && !shell.world.is_directory(&place) {
        shell.world.remove(&place)?;
    }
    if symbolic {
        return shell.world.insert(&place, 0o777, Kind::Symlink(bytes_of(target).into()));
    }
    if shell.world.tree.get(&place).is_some() {
        return Err(Fault::Exists);
    }
    let target = shell.place(target, false)?;
    shell.world.tree.link(&place, &target)?;
    shell.world.touch_above(&place);
    Ok(())
}

pub(super) fn readlink(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("f canonicalize|e canonicalize-existing|m canonicalize-missing|n no-newline|q quiet|s silent|v verbose")?;
    let [path] = options.operands.as_slice() else {
        return if options.operands.is_empty() {
            Ok(1)
        } else {
            Err(call.unknown("of several paths"))
        };
    };
    let existing = options.has("canonicalize-existing");
    let missing = options.has("canonicalize-missing");
    let text = if existing || missing || options.has("canonicalize") {
        canonical(shell, path, existing, missing)
    } else {
        match shell.file(path, false) {
            Some(Inode { kind: Kind::Symlink(target), .. }) => Some(text_of(target)),
            _ => None,
        }
    };
    let Some(text) = text else { return Ok(1) };
    call.out = if options.has("no-newline") { text } else { format!("{text}\n") };
    Ok(0)
}

/// A path without links; all of it but the last name must be there, or even that, or nothing.
fn canonical(shell: &Shell<'_, '_>, path: &str, existing: bool, missing: bool) -> Option<String> {
    let place = match shell.place(path, true) {
        Ok(place) => place,
        Err(_) if missing => {
            return Some(lexical(&shell.state.directory, path));
        }
        Err(_) => return None,
    };
    let there = shell.world.tree.get(&place).is_some();
    let above = place.parent().is_none_or(|above| shell.world.is_directory(&above));
    (missing || there || !existing && above).then(|| format!("/{}", text_of(place.as_bytes())))
}

/// A path with `.` and `..` worked off by their letters alone.
fn lexical(from: &TreePath, path: &str) -> String {
    let start = if path.starts_with('/') { String::new() } else { text_of(from.as_bytes()) };
    let mut names = Vec::new();
    for name in start.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

pub(super) fn realpath(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options =
        call.options("m canonicalize-missing|e canonicalize-existing|s no-symlinks|q quiet")?;
    let mut status = 0;
    for path in &options.operands {
        let (existing, missing) =
            (options.has("canonicalize-existing"), options.has("canonicalize-missing"));
        let found = match options.has("no-symlinks") {
            true => Some(lexical(&shell.state.directory, path)),
            false => canonical(shell, path, existing, missing),
        };
        match found {
            Some(text) => call.out.push_str(&format!("{text}\n")),
            None => status = call.fail(&format!("{path}: No such file or directory")),
        }
    }
    Ok(status)
}

pub(super) fn basename(_: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("a multiple")?;
    let [path, suffix @ ..] = options.operands.as_slice() else { return Ok(1) };
    let trimmed = path.trim_end_matches('/');
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    let name = match suffix.first() {
        Some(suffix) if name != suffix => name.strip_suffix(suffix.as_str()).unwrap_or(name),
        _ => name,
    };
    let name = if trimmed.is_empty() && !path.is_empty() { "/" } else { name };
    call.out = format!("{name}\n");
    Ok(0)
}

pub(super) fn dirname(_: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    for path in call.options("z zero")?.operands {
        let folder = match path.trim_end_matches('/').rsplit_once('/') {
            Some((folder, _)) => folder.trim_end_matches('/'),
            None if path.starts_with('/') => "",
            None => ".",
        };
        let folder = if folder.is_empty() { "/" } else { folder };
        call.out.push_str(&format!("{folder}\n"));
    }
    Ok(0)
}
