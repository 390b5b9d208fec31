//! `update-rc.d`: links by which System V's init starts and stops services; see its manual page.
//!
//! As without `insserv`: every link has the number 01, and the runlevels are those that the script
//! itself names in its head.

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};
use crate::tree::Kind;

pub(super) fn update_rc_d(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let arguments = call.arguments.clone();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = match words.as_slice() {
        [name, "defaults"] => *name,
        [_, "remove"] => return Ok(0),
        _ => return Err(call.unknown(&words.join(" "))),
    };
    let Some(text) = shell.world.text(&format!("/etc/init.d/{name}")) else { return Ok(0) };
    let levels = |field: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| {
            let line = line.strip_prefix('#')?.trim_start();
            line.get(..field.len())?.eq_ignore_ascii_case(field).then(|| line.get(field.len()..))?
        });
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    for (letter, levels) in [('S', levels("Default-Start:")), ('K', levels("Default-Stop:"))] {
        for level in levels {
            let at = format!("/etc/rc{level}.d/{letter}01{name}");
            let made = link(shell, &at, name);
            made.map_err(|fault| Stop::unknown(format!("update-rc.d: {}", fault.text())))?;
        }
    }
    Ok(0)
}

fn link(shell: &mut Shell<'_, '_>, at: &str, name: &str) -> Result<(), Fault> {
    if let Some((above, _)) = at.rsplit_once('/') {
        shell.world.make_directories(above, 0o755)?;
    }
    let place = shell.place(at, false)?;
    if shell.world.tree.get(&place).is_some() {
        return Ok(());
    }
    let target = format!("../init.d/{name}").into_bytes();
    shell.world.insert(&place, 0o777, Kind::Symlink(target.into()))
}
