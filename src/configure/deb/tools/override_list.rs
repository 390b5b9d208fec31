//! `dpkg-statoverride`: owner and mode that an administrator gives a package's file; see its manual.

use super::path_order;
use crate::configure::shell::{Call, Flow, Shell};

const LIST: &str = "/var/lib/dpkg/statoverride";

pub(super) fn dpkg_statoverride(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- add|- remove|- list|- update|- quiet|- force")?;
    let text = shell.world.text(LIST).unwrap_or_default();
    let has = |line: &&str, path: &str| line.split(' ').nth(3) == Some(path);
    if options.has("list") {
        let path = options.operands.first().cloned().unwrap_or_default();
        let shown = |line: &&str| path.is_empty() || has(line, &path);
        let lines: Vec<&str> = text.lines().filter(shown).collect();
        lines.iter().for_each(|line| call.out.push_str(&format!("{line}\n")));
        return Ok(i32::from(lines.is_empty()));
    }
    if options.has("remove") {
        let path = options.operands.first().cloned().unwrap_or_default();
        let kept = text.lines().filter(|line| !has(line, &path)).map(|line| format!("{line}\n"));
        let kept: String = kept.collect();
        let status = i32::from(kept == text) * 2;
        return save(shell, call, &text, &kept).map(|()| status);
    }
    let [user, group, mode, path] = options.operands.as_slice() else {
        return Err(call.unknown(&call.arguments.join(" ")));
    };
    if text.lines().any(|line| has(&line, path)) {
        return Ok(1 + call.fail("an override already exists"));
    }
    let (uid, gid) = (shell.number_of("/etc/passwd", user), shell.number_of("/etc/group", group));
    let (Some(uid), Some(gid), Ok(bits)) = (uid, gid, u16::from_str_radix(mode, 8)) else {
        return Ok(1 + call.fail("there is no such user or group"));
    };
    if options.has("update")
        && let Ok(place) = shell.place(path, false)
        && let Some(inode) = shell.world.tree.get_mut(&place)
    {
        (inode.meta.uid, inode.meta.gid, inode.meta.mode) = (uid, gid, bits & 0o7777);
    }
    let mut lines: Vec<&str> = text.lines().collect();
    let new = format!("{user} {group} {bits:o} {path}");
    lines.push(&new);
    lines.sort_by_key(|line| path_order::bin(line.splitn(4, ' ').nth(3).unwrap_or_default()));
    let new: String = lines.iter().map(|line| format!("{line}\n")).collect();
    save(shell, call, &text, &new).map(|()| 0)
}

fn save(
    shell: &mut Shell<'_, '_>,
    call: &Call,
    old: &str,
    new: &str,
) -> Result<(), crate::configure::shell::Stop> {
    let kept = shell.world.put(&format!("{LIST}-old"), 0o644, old);
    let written = kept.and_then(|_| shell.world.put(LIST, 0o644, new));
    written.map(drop).map_err(|fault| call.unknown(fault.text()))
}
