//! `dpkg-query`: what dpkg's database says; see dpkg-query(1).

use crate::configure::shell::{Call, Flow, Shell};
use crate::package::deb::stanza::Stanza;

/// The stanza of a package, as text.
fn stanza(shell: &mut Shell<'_, '_>, name: &str) -> Option<String> {
    let (name, architecture) = match name.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (name, None),
    };
    let text = shell.world.text("/var/lib/dpkg/status")?;
    let found = text.split("\n\n").find(|stanza| {
        let field = |start: &str| stanza.lines().find_map(|line| line.strip_prefix(start));
        field("Package: ") == Some(name)
            && architecture.is_none_or(|wanted| field("Architecture: ") == Some(wanted))
    });
    found.map(|stanza| stanza.trim_start_matches('\n').to_owned())
}

/// `-s`
pub(super) fn status(shell: &mut Shell<'_, '_>, call: &mut Call, name: &str) -> Flow {
    match stanza(shell, name) {
        Some(text) => {
            call.out = text + "\n";
            Ok(0)
        }
        None => Ok(call.fail(&format!("package '{name}' is not installed"))),
    }
}

pub(super) fn dpkg_query(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "W show|f: showformat|S search|L listfiles|l list|s status|- control-path";
    let options = call.options(spec)?;
    let names = &options.operands;
    let mut status = 0;
    for name in names {
        status |= if options.has("show") {
            let format = options.value("showformat").unwrap_or("${binary:Package}\\t${Version}\\n");
            // dpkg takes a sign of equality after the letter for a separator.
            let format = format.strip_prefix('=').unwrap_or(format);
            let text = stanza(shell, name);
            match text {
                Some(text) => {
                    let shown = formatted(&text, format).ok_or_else(|| call.unknown(format))?;
                    call.out.push_str(&shown);
                    0
                }
                None => call.fail(&format!("no packages found matching {name}")),
            }
        } else if options.has("search") {
            search(shell, call, name)
        } else if options.has("listfiles") {
            match list(shell, name) {
                Some(text) => {
                    call.out.push_str(&text);
                    0
                }
                None => call.fail(&format!("package '{name}' is not installed")),
            }
        } else if options.has("list") && stanza(shell, name).is_none() {
            call.fail(&format!("no packages found matching {name}"))
        } else {
            return Err(call.unknown(&call.arguments.join(" ")));
        };
    }
    Ok(status)
}

/// The list of a package's files.
fn list(shell: &mut Shell<'_, '_>, name: &str) -> Option<String> {
    let architecture = shell.world.text("/var/lib/dpkg/arch").unwrap_or_default();
    let own = format!("/var/lib/dpkg/info/{name}.list");
    let text = shell.world.text(&own);
    text.or_else(|| {
        let path = format!("/var/lib/dpkg/info/{name}:{}.list", architecture.trim());
        shell.world.text(&path)
    })
}

/// Which packages have a path, as dpkg has it written.
fn search(shell: &mut Shell<'_, '_>, call: &mut Call, path: &str) -> i32 {
    let Ok(info) = shell.place("/var/lib/dpkg/info", true) else { return 1 };
    let mut owners = Vec::new();
    for file in shell.world.names(&info) {
        let Some(name) = file.strip_suffix(".list") else { continue };
        let text = shell.world.text(&format!("/var/lib/dpkg/info/{file}")).unwrap_or_default();
        if text.lines().any(|line| line == path) {
            owners.push(name.to_owned());
        }
    }
    if owners.is_empty() {
        return call.fail(&format!("no path found matching pattern {path}"));
    }
    call.out.push_str(&format!("{}: {path}\n", owners.join(", ")));
    0
}

/// `${Field}` and backslash escapes.
fn formatted(text: &str, format: &str) -> Option<String> {
    let stanza = Stanza::parse(text.trim_end().as_bytes()).ok()?;
    let mut out = String::new();
    let mut rest = format;
    while let Some((head, tail)) = rest.split_once("${") {
        out.push_str(head);
        let (name, tail) = tail.split_once('}')?;
        rest = tail;
        match name {
            "binary:Package" | "Package" => out.push_str(stanza.get("Package")?),
            "db:Status-Status" => {
                out.push_str(stanza.get("Status")?.split_whitespace().last()?);
            }
            name if name.contains([':', ';']) => return None,
            name => out.push_str(stanza.get(name).unwrap_or_default()),
        }
    }
    out.push_str(rest);
    Some(out.replace("\\n", "\n").replace("\\t", "\t"))
}
