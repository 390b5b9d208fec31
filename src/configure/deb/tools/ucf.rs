//! `ucf` and `ucfr`: configuration files that packages make themselves; see their manual pages.
//! Only for files that are not there yet: nobody has changed anything.

use md5::{Digest as _, Md5};

use super::debconf;
use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of};

const STATE: &str = "/var/lib/ucf";

/// debconf's templates of ucf, which it loads before it does anything.
const TEMPLATES: &str = "/var/lib/dpkg/info/ucf.templates";
const CONFMODULE: &str = "/usr/share/debconf/confmodule";

pub(super) fn ucf(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- three-way|- debconf-ok|- sum-file|d debug|v verbose")?;
    let [new, to] = options.operands.as_slice() else {
        return Err(call.unknown(&call.arguments.join(" ")));
    };
    if shell.file(to, true).is_some() {
        return Err(call.unknown("for a file that is there"));
    }
    if shell.file(CONFMODULE, true).is_none() {
        return place(shell, call, new, to);
    }
    let asks = options.has("debconf-ok") || !debconf::is_running(shell);
    debconf::under_frontend(shell, |shell| {
        if asks {
            debconf::say(shell, "x_loadtemplatefile", &format!("{TEMPLATES} ucf"))?;
        }
        place(shell, call, new, to)
    })
}

/// Puts the file where it belongs, and notes it.
fn place(shell: &mut Shell<'_, '_>, call: &mut Call, new: &str, to: &str) -> Flow {
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("ucf: {}", fault.text())) };
    let Some(text) = shell.world.text(new) else {
        return Ok(call.fail(&format!("{new} does not exist")));
    };
    let mode = shell.file(new, true).map_or(0o644, |inode| inode.meta.mode);
    shell.world.put(to, mode, &text).map_err(failed)?;
    let digest: String =
        Md5::digest(bytes_of(&text)).iter().map(|byte| format!("{byte:02x}")).collect();
    let rotates = !forgets_older_states(shell);
    note(shell, ("hashfile", rotates), &format!("{digest}  {to}\n")).map_err(failed)?;
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
    if shell.file(&format!("{STATE}/registry"), true).is_none() {
        let made = shell.world.put(&format!("{STATE}/registry"), 0o644, "");
        made.map_err(|fault| call.unknown(fault.text()))?;
    }
    note(shell, ("registry", true), &line).map_err(|fault| call.unknown(fault.text()))?;
    Ok(0)
}

/// Whether this release of ucf keeps only the last state of its list of digests: trixie's
/// unsets `IFS`, which debconf's commands then leave empty, so that a loop over numbers has one
/// turn.
fn forgets_older_states(shell: &mut Shell<'_, '_>) -> bool {
    let text = shell.world.text("/usr/bin/ucf").unwrap_or_default();
    shell.file(CONFMODULE, true).is_some() && text.lines().any(|line| line == "unset IFS")
}

/// Adds a line to one of the lists, of which the last eight states are kept, or the last alone.
fn note(shell: &mut Shell<'_, '_>, (list, rotates): (&str, bool), line: &str) -> Result<(), Fault> {
    let path = format!("{STATE}/{list}");
    for number in (0..7).rev().filter(|_| rotates) {
        if let Some(text) = shell.world.text(&format!("{path}.{number}")) {
            shell.world.put(&format!("{path}.{}", number + 1), 0o644, &text)?;
        }
    }
    let before = shell.world.text(&path);
    if let Some(text) = &before {
        shell.world.put(&format!("{path}.0"), 0o644, text)?;
    }
    shell.world.put(&path, 0o644, &(before.unwrap_or_default() + line)).map(drop)
}
