//! `deb-systemd-helper` and `systemctl enable`, `preset`: links that make units start.
//!
//! The helper's notes below `/var/lib/systemd` are those of init-system-helpers; the links are what
//! systemd.unit(5) says of `[Install]`, and which units a distribution starts is in
//! systemd.preset(5).

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of};
use crate::tree::{Inode, Kind};

const OWN: &str = "/etc/systemd/system";
const NOTES: &str = "/var/lib/systemd/deb-systemd-helper-enabled";

/// A link that enabling a unit makes: where, and to which unit.
type Link = (String, String);

pub(super) fn deb_systemd_helper(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- quiet|- system|- user")?;
    if options.has("user") {
        return Err(call.unknown("--user"));
    }
    let Some((action, units)) = options.operands.split_first() else { return Ok(0) };
    let asks = ["is-enabled", "was-enabled", "debian-installed"].contains(&action.as_str());
    let mut status = i32::from(asks);
    for unit in units {
        let notes = format!("{NOTES}/{unit}.dsh-also");
        let path = find(shell, unit, &["/etc", "/lib", "/usr/lib"]);
        let links = closure(shell, unit, &path, &mut vec![unit.clone()]);
        match action.as_str() {
            "unmask" => {}
            "was-enabled" => {
                let text = shell.world.text(&notes).unwrap_or_default();
                if text.lines().all(|link| is_link(shell, link)) {
                    status = 0;
                }
            }
            "is-enabled" if links.iter().all(|(at, _)| is_link(shell, at)) => status = 0,
            "is-enabled" => {}
            "debian-installed" if shell.file(&notes, true).is_some() => status = 0,
            "debian-installed" => {}
            "update-state" => {
                let text: String = links.iter().map(|(at, _)| format!("{at}\n")).collect();
                put(shell, &notes, &text)?;
            }
            "enable" => enable(shell, unit, &links, &notes)?,
            _ => return Err(call.unknown(action)),
        }
    }
    Ok(status)
}

fn enable(shell: &mut Shell<'_, '_>, unit: &str, links: &[Link], notes: &str) -> Result<(), Stop> {
    let systemctl = shell.file("/usr/bin/systemctl", true).is_some();
    let installed = shell.file(notes, true).is_some();
    let make = !systemctl || installed && links.iter().any(|(at, _)| is_link(shell, at));
    if systemctl && !installed && starts(shell, unit)? {
        link_unit(shell, unit)?;
    }
    for (at, target) in links {
        let text = shell.world.text(notes).unwrap_or_default();
        if !text.lines().any(|line| line == at) {
            put(shell, notes, &format!("{text}{at}\n"))?;
        }
        let note = at.replacen(OWN, NOTES, 1);
        if shell.file(&note, true).is_some() {
            continue;
        }
        if make && !is_link(shell, at) {
            make_link(shell, at, target)?;
        }
        put(shell, &note, "")?;
    }
    Ok(())
}

pub(super) fn systemctl(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let spec = "-: root|- system|- global|-: preset-mode|q quiet|- no-reload";
    let options = call.options(spec)?;
    match options.operands.split_first() {
        Some((action, units)) if action == "enable" => {
            let mut status = 0;
            for unit in units {
                if !link_unit(shell, unit)? {
                    status = call.fail(&format!("Unit {unit} does not exist"));
                }
            }
            Ok(status)
        }
        Some((action, units)) if action == "preset" => {
            for unit in units {
                if starts(shell, unit)? {
                    link_unit(shell, unit)?;
                }
            }
            Ok(0)
        }
        _ => Err(call.unknown(&call.arguments.join(" "))),
    }
}

/// Makes the links of a unit as systemd itself does, which names units where it was built to look;
/// returns whether there is such a unit.
fn link_unit(shell: &mut Shell<'_, '_>, unit: &str) -> Result<bool, Stop> {
    let list = shell.world.text("/var/lib/dpkg/info/systemd.list").unwrap_or_default();
    let merged = list.lines().any(|line| line == "/usr/lib/systemd/system");
    let folders = if merged { ["/etc", "/usr/lib"] } else { ["/etc", "/lib"] };
    let path = find(shell, unit, &folders);
    if shell.file(&path, true).is_none() || !path.starts_with('/') {
        return Ok(false);
    }
    for (at, target) in closure(shell, unit, &path, &mut vec![unit.to_owned()]) {
        if !is_link(shell, &at) {
            make_link(shell, &at, &target)?;
        }
    }
    Ok(true)
}

/// Where a unit lies; of `name@instance.service` the template `name@.service`.
fn find(shell: &Shell<'_, '_>, unit: &str, folders: &[&str]) -> String {
    let template = unit.split_once('@').and_then(|(name, rest)| {
        let (_, kind) = rest.rsplit_once('.')?;
        Some(format!("{name}@.{kind}"))
    });
    for name in std::iter::once(unit).chain(template.as_deref()) {
        for folder in folders {
            let path = format!("{folder}/systemd/system/{name}");
            if matches!(shell.file(&path, true), Some(Inode { kind: Kind::Regular(_), .. })) {
                return path;
            }
        }
    }
    unit.to_owned()
}

/// The links that a unit's `[Install]` asks for, with those of the units that go along.
fn closure(shell: &mut Shell<'_, '_>, unit: &str, path: &str, seen: &mut Vec<String>) -> Vec<Link> {
    let (mut links, mut wants, mut wanted) = (Vec::new(), Vec::new(), unit.to_owned());
    for line in shell.world.text(path).unwrap_or_default().lines() {
        let Some((key, values)) = line.trim_start().split_once('=') else { continue };
        for value in values.split_whitespace().map(|value| value.trim_matches(['"', '\''])) {
            match key {
                "WantedBy" => wants.push(format!("{OWN}/{value}.wants")),
                "RequiredBy" => wants.push(format!("{OWN}/{value}.requires")),
                "Alias" if value != unit => {
                    links.push((format!("{OWN}/{value}"), path.to_owned()));
                }
                "Also" if seen.len() < 50 && !seen.iter().any(|other| other == value) => {
                    seen.push(value.to_owned());
                    let folders = ["/etc", "/lib", "/usr/lib"];
                    let other = find(shell, value, &folders);
                    links.extend(closure(shell, value, &other, seen));
                }
                "DefaultInstance" => {
                    if let Some((name, kind)) = unit.split_once("@.") {
                        wanted = format!("{name}@{value}.{kind}");
                    }
                }
                _ => {}
            }
        }
    }
    links.extend(wants.into_iter().map(|folder| (format!("{folder}/{wanted}"), path.to_owned())));
    links
}

/// Whether the distribution's presets start a unit; what none of them names is started.
fn starts(shell: &mut Shell<'_, '_>, unit: &str) -> Result<bool, Stop> {
    let mut files: Vec<(String, String)> = Vec::new();
    for folder in ["/etc/systemd/system-preset", "/usr/lib/systemd/system-preset"] {
        let Ok(place) = shell.place(folder, true) else { continue };
        for name in shell.world.names(&place) {
            if !files.iter().any(|(other, _)| *other == name) {
                files.push((name.clone(), format!("{folder}/{name}")));
            }
        }
    }
    files.sort();
    for (_, path) in files {
        for line in shell.world.text(&path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [action @ ("enable" | "disable"), pattern, ..] = words.as_slice() else { continue };
            if crate::configure::shell::is_match(pattern, unit) {
                return Ok(*action == "enable");
            }
        }
    }
    Ok(true)
}

fn is_link(shell: &Shell<'_, '_>, path: &str) -> bool {
    matches!(shell.file(path, false), Some(Inode { kind: Kind::Symlink(_), .. }))
}

fn put(shell: &mut Shell<'_, '_>, path: &str, text: &str) -> Result<(), Stop> {
    let written = shell.world.put(path, 0o644, text);
    written.map(drop).map_err(|fault: Fault| Stop::unknown(format!("{path}: {}", fault.text())))
}

fn make_link(shell: &mut Shell<'_, '_>, at: &str, target: &str) -> Result<(), Stop> {
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("{at}: {}", fault.text())) };
    if let Some((above, _)) = at.rsplit_once('/') {
        shell.world.make_directories(above, 0o755).map_err(failed)?;
    }
    let place = shell.place(at, false).map_err(failed)?;
    shell.world.insert(&place, 0o777, Kind::Symlink(bytes_of(target).into())).map_err(failed)
}
