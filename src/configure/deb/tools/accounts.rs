//! The lists of users and groups: `getent`, `pwconv`, `grpconv`, and what others need of them.
//!
//! Formats: passwd(5), group(5), shadow(5), gshadow(5). As shadow's tools do, a list is copied to a
//! name with a `-` before it changes, and a lock file stays.

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};

pub(super) const PASSWD: &str = "/etc/passwd";
pub(super) const GROUP: &str = "/etc/group";
pub(super) const SHADOW: &str = "/etc/shadow";
pub(super) const GSHADOW: &str = "/etc/gshadow";

pub(super) fn getent(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let list = match call.arguments.first().map(String::as_str) {
        Some("passwd") => PASSWD,
        Some("group") => GROUP,
        _ => return Err(call.unknown(&call.arguments.join(" "))),
    };
    let text = shell.world.text(list).unwrap_or_default();
    let Some(name) = call.arguments.get(1) else {
        call.out = text;
        return Ok(0);
    };
    let is =
        |line: &&str| line.split(':').next() == Some(name) || line.split(':').nth(2) == Some(name);
    match text.lines().find(is) {
        Some(line) => {
            call.out = format!("{line}\n");
            Ok(0)
        }
        None => Ok(2),
    }
}

/// The day of the build: days since 1970.
pub(super) fn today(shell: &Shell<'_, '_>) -> u64 {
    shell.world.epoch.seconds() / 86_400
}

/// Whether a list has a name.
pub(super) fn has(shell: &mut Shell<'_, '_>, list: &str, name: &str) -> bool {
    let text = shell.world.text(list).unwrap_or_default();
    text.lines().any(|line| line.split(':').next() == Some(name))
}

/// The numbers that a list has.
pub(super) fn numbers(shell: &mut Shell<'_, '_>, list: &str) -> Vec<u32> {
    let text = shell.world.text(list).unwrap_or_default();
    text.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

/// Keeps a copy of a list, and puts another text in its place.
pub(super) fn replace(shell: &mut Shell<'_, '_>, list: &str, text: &str) -> Result<(), Fault> {
    let lock = shell.place("/etc/.pwd.lock", false)?;
    shell.world.open(&lock, 0o600, false)?;
    let backup = format!("{list}-");
    match shell.world.text(list) {
        Some(old) => {
            let meta = shell.file(list, true).map(|inode| inode.meta.clone());
            let place = shell.world.put(&backup, 0o600, &old)?;
            if let (Some(meta), Some(inode)) = (meta, shell.world.tree.get_mut(&place)) {
                inode.meta = meta;
            }
            shell.world.put(list, 0o644, text).map(drop)
        }
        None => {
            let mode = if list == SHADOW || list == GSHADOW { 0 } else { 0o644 };
            shell.world.put(list, mode, text).map(drop)
        }
    }
}

/// Adds a line to a list.
pub(super) fn add(shell: &mut Shell<'_, '_>, list: &str, line: &str) -> Result<(), Fault> {
    let text = shell.world.text(list).unwrap_or_default();
    replace(shell, list, &format!("{text}{line}\n"))
}

/// Moves passwords into the list that only root reads.
pub(super) fn pwconv(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let today = today(shell);
    convert(shell, call, PASSWD, SHADOW, &|name, password| {
        format!("{name}:{password}:{today}:0:99999:7:::")
    })
}

/// The same for groups.
pub(super) fn grpconv(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    convert(shell, call, GROUP, GSHADOW, &|name, password| format!("{name}:{password}::"))
}

fn convert(
    shell: &mut Shell<'_, '_>,
    call: &mut Call,
    open: &str,
    secret: &str,
    line: &dyn Fn(&str, &str) -> String,
) -> Flow {
    let failed = |fault: Fault| -> Stop { call.unknown(fault.text()) };
    let text = shell.world.text(open).unwrap_or_default();
    let old = shell.world.text(secret).unwrap_or_default();
    let (mut new, mut shadow) = (String::new(), old.clone());
    for entry in text.lines() {
        let mut fields: Vec<&str> = entry.split(':').collect();
        let (Some(&name), Some(&password)) = (fields.first(), fields.get(1)) else { continue };
        if !old.lines().any(|line| line.split(':').next() == Some(name)) {
            shadow.push_str(&format!("{}\n", line(name, password)));
        }
        if let Some(field) = fields.get_mut(1) {
            *field = "x";
        }
        new.push_str(&format!("{}\n", fields.join(":")));
    }
    replace(shell, secret, &shadow).map_err(failed)?;
    replace(shell, open, &new).map_err(failed)?;
    Ok(0)
}
