//! `dpkg-divert`: a package's file goes by another name; see dpkg-divert(1).

use super::path_order;
use crate::configure::shell::{Call, Flow, Shell};

const LIST: &str = "/var/lib/dpkg/diversions";

/// A diversion.
struct Diversion {
    path: String,
    to: String,
    /// The package that diverts; `:` for the administrator.
    package: String,
}

fn read(shell: &mut Shell<'_, '_>) -> Vec<Diversion> {
    let text = shell.world.text(LIST).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let diversion = |lines: &[&str]| match lines {
        [path, to, package] => Some(Diversion {
            path: (*path).to_owned(),
            to: (*to).to_owned(),
            package: (*package).to_owned(),
        }),
        _ => None,
    };
    lines.chunks(3).filter_map(diversion).collect()
}

fn write(shell: &mut Shell<'_, '_>, call: &Call, all: &[Diversion]) -> Flow {
    let old = shell.world.text(LIST).unwrap_or_default();
    let line = |one: &Diversion| format!("{}\n{}\n{}\n", one.path, one.to, one.package);
    let text: String = all.iter().map(line).collect();
    let kept = shell.world.put(&format!("{LIST}-old"), 0o644, &old);
    let written = kept.and_then(|_| shell.world.put(LIST, 0o644, &text));
    written.map_err(|fault| call.unknown(fault.text()))?;
    Ok(0)
}

pub(super) fn dpkg_divert(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options(
        "- add|- remove|- list|- listpackage|- truename|- quiet|- no-rename|- rename|- local|-: package|-: divert",
    )?;
    let path = options.operands.last().cloned().unwrap_or_default();
    let mut all = read(shell);
    let found = all.iter().position(|one| one.path == path);
    let known = found.and_then(|at| all.get(at));
    if options.has("truename") {
        call.out = format!("{}\n", known.map_or(path.as_str(), |one| &one.to));
        return Ok(0);
    }
    if options.has("listpackage") {
        let package = known.map(|one| if one.package == ":" { "LOCAL" } else { &one.package });
        call.out = package.map(|package| format!("{package}\n")).unwrap_or_default();
        return Ok(0);
    }
    if options.has("list") {
        for one in all.iter().filter(|one| path.is_empty() || one.path == path) {
            let by = &one.package;
            call.out.push_str(&format!("diversion of {} to {} by {by}\n", one.path, one.to));
        }
        return Ok(0);
    }
    let own = shell.parameter("DPKG_MAINTSCRIPT_PACKAGE").unwrap_or_default();
    let package = match (options.has("local"), options.value("package")) {
        (true, _) => ":".to_owned(),
        (false, Some(package)) => package.to_owned(),
        (false, None) => own,
    };
    if options.has("remove") {
        let Some(at) = found else { return Ok(0) };
        if known.is_some_and(|one| one.package != package) {
            return Ok(1 + call.fail("mismatch on package"));
        }
        if options.has("rename") {
            return Err(call.unknown("--rename"));
        }
        all.remove(at);
        return write(shell, call, &all);
    }
    let to = options.value("divert").map_or(format!("{path}.distrib"), str::to_owned);
    match known {
        Some(one) if one.to == to && one.package == package => Ok(0),
        Some(_) => Ok(1 + call.fail("it clashes with another diversion")),
        None if options.has("rename") && shell.file(&path, false).is_some() => {
            Err(call.unknown("--rename"))
        }
        None => {
            all.push(Diversion { path, to, package });
            all.sort_by_key(|one| path_order::bin(&one.path));
            write(shell, call, &all)
        }
    }
}
