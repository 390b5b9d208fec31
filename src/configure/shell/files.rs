//! Commands that make and remove files; see XCU and, for long options, GNU coreutils.

use super::{Call, Fault, Flow, Shell, text_of};
use crate::tree::{Inode, Kind, TreePath};

impl Shell<'_, '_> {
    /// Where a path leads, following a link at its end or not.
    pub(in crate::configure) fn place(&self, path: &str, follow: bool) -> Result<TreePath, Fault> {
        self.world.resolve(&self.state.directory, path, follow)
    }

    /// What is at a path.
    pub(in crate::configure) fn file(&self, path: &str, follow: bool) -> Option<&Inode> {
        self.place(path, follow).ok().and_then(|place| self.world.tree.get(&place))
    }

    /// A path from the root, of one that may start here.
    pub(super) fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{}/{path}", text_of(self.state.directory.as_bytes())),
        }
    }

    pub(in crate::configure) fn mask(&self) -> u16 {
        self.state.umask
    }
}

/// A mode in numbers or signs, applied to an old one; `umask` counts where signs name nobody.
pub(super) fn mode(text: &str, old: u16, directory: bool, umask: u16) -> Option<u16> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let mode = u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)?;
        // GNU keeps these bits of directories unless they are named.
        let kept = if directory && text.len() < 5 { old & 0o6000 } else { 0 };
        return Some(mode | kept);
    }
    let mut mode = old;
    for clause in text.split(',') {
        let end = clause.find(['+', '-', '='])?;
        let (who, rest) = clause.split_at(end);
        let sign = rest.chars().next()?;
        let mut bits = 0;
        for letter in rest.chars().skip(1) {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if directory || mode & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                _ => return None,
            };
        }
        let mut mask = if who.is_empty() { 0o7777 & !umask } else { 0 };
        for letter in who.chars() {
            mask |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o0007,
                'a' => 0o6777,
                _ => return None,
            };
        }
        mask |= 0o1000;
        match sign {
            '+' => mode |= bits & mask,
            '-' => mode &= !(bits & mask),
            _ => mode = mode & !(mask & 0o777) | bits & mask,
        }
    }
    Some(mode)
}

pub(super) fn mkdir(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("p parents|m: mode|v verbose|Z context")?;
    let default = 0o777 & !shell.mask();
    let given = match options.value("mode") {
        Some(text) => Some(mode(text, 0o777, true, 0).ok_or_else(|| call.unknown(text))?),
        None => None,
    };
    let mut status = 0;
    for path in &options.operands {
        let made = make(shell, path, options.has("parents"), default);
        match made {
            Ok(Some(place)) => {
                if let (Some(mode), Some(inode)) = (given, shell.world.tree.get_mut(&place)) {
                    inode.meta.mode = mode;
                }
            }
            Ok(None) => {}
            Err(fault) => {
                status = call.fail(&format!("cannot create directory '{path}': {}", fault.text()));
            }
        }
    }
    Ok(status)
}

/// Makes a directory; returns where, if it was not there.
fn make(
    shell: &mut Shell<'_, '_>,
    path: &str,
    parents: bool,
    mode: u16,
) -> Result<Option<TreePath>, Fault> {
    if parents && let Some((above, _)) = path.trim_end_matches('/').rsplit_once('/') {
        // Of a path like `/a` nothing lies above but the root.
        let full = if above.is_empty() { String::new() } else { shell.absolute(above) };
        shell.world.make_directories(&full, mode)?;
    }
    let place = shell.place(path.trim_end_matches('/'), true)?;
    match shell.world.tree.get(&place) {
        Some(Inode { kind: Kind::Directory(_), .. }) if parents => Ok(None),
        Some(_) => Err(Fault::Exists),
        None => shell.world.make_directory(&place, mode).map(|()| Some(place)),
    }
}

pub(super) fn rmdir(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("p parents|v verbose|- ignore-fail-on-non-empty")?;
    let mut status = 0;
    for path in &options.operands {
        let removed =
            shell.place(path.trim_end_matches('/'), false).and_then(|place| {
                match shell.world.tree.get(&place) {
                    Some(_) if !shell.world.is_directory(&place) => Err(Fault::NotADirectory),
                    _ => shell.world.remove(&place),
                }
            });
        match removed {
            Err(Fault::NotEmpty) if options.has("ignore-fail-on-non-empty") => {}
            Err(fault) => {
                status = call.fail(&format!("failed to remove '{path}': {}", fault.text()));
            }
            Ok(()) => {}
        }
    }
    Ok(status)
}

pub(super) fn rm(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("f force|r recursive|R recursive|v verbose|d dir")?;
    let (all, force) = (options.has("recursive"), options.has("force"));
    let mut status = 0;
    for path in &options.operands {
        let removed = shell.place(path.trim_end_matches('/'), false).and_then(|place| {
            let is_directory = shell.world.is_directory(&place);
            match shell.world.tree.get(&place) {
                None => Err(Fault::Missing),
                Some(_) if place.is_root() => Err(Fault::Invalid),
                Some(_) if is_directory && !all => Err(Fault::IsADirectory),
                Some(_) => {
                    shell.world.tree.remove(&place);
                    shell.world.touch_above(&place);
                    Ok(())
                }
            }
        });
        match removed {
            Err(Fault::Missing | Fault::NotADirectory) if force => {}
            Err(fault) => status = call.fail(&format!("cannot remove '{path}': {}", fault.text())),
            Ok(()) => {}
        }
    }
    Ok(status)
}

pub(super) fn mktemp(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("d directory|t t|p: tmpdir|q quiet|u dry-run")?;
    let template = options.operands.first().map_or("tmp.XXXXXXXXXX", String::as_str);
    let folder = match options.value("tmpdir") {
        Some(folder) => Some(folder),
        None if options.operands.is_empty() || options.has("t") => Some("/tmp"),
        None => None,
    };
    let start = template.trim_end_matches('X');
    let path = folder.map_or_else(|| start.to_owned(), |folder| format!("{folder}/{start}"));
    // The same names in every build; they are gone before it ends.
    for number in 0..10_000 {
        let path = format!("{path}{number:010}");
        let Ok(place) = shell.place(&path, false) else { break };
        let made = match options.has("directory") {
            true => shell.world.make_directory(&place, 0o700),
            false => {
                shell.world.insert(&place, 0o600, Kind::Regular(crate::tree::Content::empty()))
            }
        };
        match made {
            Err(Fault::Exists) => continue,
            Err(_) => break,
            Ok(()) => {}
        }
        call.out = format!("{path}\n");
        return Ok(0);
    }
    Ok(call.fail(&format!("failed to create file via template '{template}'")))
}

pub(super) fn stat(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("c: format|L dereference")?;
    let format = options.value("format").ok_or_else(|| call.unknown("without -c"))?;
    let mut status = 0;
    for path in &options.operands {
        let follow = options.has("dereference");
        let Some(inode) = shell.file(path, follow).cloned() else {
            status = call.fail(&format!("cannot statx '{path}': No such file or directory"));
            continue;
        };
        let text = match format {
            "%a" => format!("{:o}", inode.meta.mode),
            "%u" => inode.meta.uid.to_string(),
            "%g" => inode.meta.gid.to_string(),
            "%U" => shell.name_of("/etc/passwd", inode.meta.uid),
            "%G" => shell.name_of("/etc/group", inode.meta.gid),
            "%s" => match &inode.kind {
                Kind::Regular(content) => content.size().to_string(),
                _ => return Err(call.unknown(format)),
            },
            _ => return Err(call.unknown(format)),
        };
        call.out.push_str(&format!("{text}\n"));
    }
    Ok(status)
}

/// Names only, and whether they are there.
pub(super) fn ls(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("d directory|1 one|A almost-all")?;
    let mut status = 0;
    for path in &options.operands {
        match shell.place(path, false) {
            Ok(place) if shell.world.tree.get(&place).is_some() => {
                match shell.world.is_directory(&place) && !options.has("directory") {
                    true => {
                        let names = shell.world.names(&place);
                        let shown =
                            |name: &&String| options.has("almost-all") || !name.starts_with('.');
                        for name in names.iter().filter(shown) {
                            call.out.push_str(&format!("{name}\n"));
                        }
                    }
                    false => call.out.push_str(&format!("{path}\n")),
                }
            }
            _ => {
                status =
                    1 + call.fail(&format!("cannot access '{path}': No such file or directory"));
            }
        }
    }
    Ok(status)
}

/// What means nothing for a tree in memory.
pub(super) fn nothing(_: &mut Shell<'_, '_>, _: &mut Call) -> Flow {
    Ok(0)
}
