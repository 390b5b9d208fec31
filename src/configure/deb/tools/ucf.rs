//! `ucf` and `ucfr`: configuration files that packages make themselves; see their manual pages.
//! Only for files that are not there yet: nobody has changed anything.

use md5::{Digest as _, Md5};

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of};

const STATE: &str = "/var/lib/ucf";

pub(super) fn ucf(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- three-way|- debconf-ok|- sum-file|d debug|v verbose")?;
    let [new, to] = options.operands.as_slice() else {
        return Err(call.unknown(&call.arguments.join(" ")));
    };
    if shell.file(to, true).is_some() {
        return Err(call.unknown("for a file that is there"));
    }
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("ucf: {}", fault.text())) };
    let Some(text) = shell.world.text(new) else {
        return Ok(call.fail(&format!("{new} does not exist")));
    };
    let mode = shell.file(new, true).map_or(0o644, |inode| inode.meta.mode);
    shell.world.put(to, mode, &text).map_err(failed)?;
    let digest: String =
        Md5::digest(bytes_of(&text)).iter().map(|byte| format!("{byte:02x}")).collect();
    note(shell, "hashfile", &format!("{digest}  {to}\n")).map_err(failed)?;
    let cached = format!("{STATE}/cache/{}", to.replace('/', ":"));
    shell.world.put(&cached, mode, &text).map_err(failed)?;
    Ok(0)
}

pub(super) fn ucfr(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("f force|v verbose|d debug")?;
    let [package, path] = options.operands.as_slice() else {
        return Err(call.unknown(&call.arguments.join(" ")));
    };
    let line = format!("{package} \t {path}\n");
    note(shell, "registry", &line).map_err(|fault| call.unknown(fault.text()))?;
    Ok(0)
}

/// Adds a line to one of the lists, of which the last seven states are kept.
fn note(shell: &mut Shell<'_, '_>, list: &str, line: &str) -> Result<(), Fault> {
    let path = format!("{STATE}/{list}");
    let mut kept = vec![shell.world.text(&path).unwrap_or_default()];
    for number in 0..7 {
        match shell.world.text(&format!("{path}.{number}")) {
            Some(text) => kept.push(text),
            None => break,
        }
    }
    for (number, text) in kept.iter().enumerate().take(8) {
        shell.world.put(&format!("{path}.{number}"), 0o644, text)?;
    }
    let text = kept.first().map_or("", String::as_str);
    shell.world.put(&path, 0o644, &format!("{text}{line}")).map(drop)
}
