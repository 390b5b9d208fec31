//! `pam-auth-update`: `/etc/pam.d/common-*` from the packages' profiles; see its manual page.
//!
//! Only for files that nobody has changed: they are written anew from what is enabled, which is what
//! was enabled before and what is on by default and new.

use std::collections::BTreeMap;

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};

const PROFILES: &str = "/usr/share/pam-configs";
const TEMPLATES: &str = "/usr/share/pam";
const STATE: &str = "/var/lib/pam";
const TYPES: [(&str, &str); 5] = [
    ("auth", "Auth"),
    ("account", "Account"),
    ("password", "Password"),
    ("session", "Session"),
    ("session-noninteractive", "Session-noninteractive"),
];

/// A profile: its fields by name.
type Profile = BTreeMap<String, String>;

pub(super) fn pam_auth_update(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("-: root|- package|- force|- remove")?;
    if options.has("remove") || options.values("root").iter().any(|root| root.len() > 1) {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    let Ok(folder) = shell.place(PROFILES, true) else { return Ok(1) };
    let mut profiles = Vec::new();
    for name in shell.world.names(&folder) {
        let text = shell.world.text(&format!("{PROFILES}/{name}")).unwrap_or_default();
        profiles.push((name, parse(&text)));
    }
    let priority = |profile: &Profile| -> i64 {
        profile.get("Priority").and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    profiles
        .sort_by(|(name, one), (other, two)| (priority(two), other).cmp(&(priority(one), name)));
    let seen = shell.world.text(&format!("{STATE}/seen")).unwrap_or_default();
    let mut before = String::new();
    for (kind, _) in TYPES {
        before += &shell.world.text(&format!("{STATE}/{kind}")).unwrap_or_default();
    }
    let is_enabled = |name: &str, profile: &Profile| {
        let new = !seen.lines().any(|line| line == name);
        before.lines().any(|line| line == format!("Module: {name}"))
            || new && profile.get("Default").is_some_and(|value| value == "yes")
    };
    let names: String = profiles.iter().map(|(name, _)| format!("{name}\n")).collect();
    let enabled: Vec<_> =
        profiles.into_iter().filter(|(name, profile)| is_enabled(name, profile)).collect();
    let failed =
        |fault: Fault| -> Stop { Stop::unknown(format!("pam-auth-update: {}", fault.text())) };
    shell.world.put(&format!("{STATE}/seen"), 0o644, &names).map_err(failed)?;
    for (kind, title) in TYPES {
        let template = shell.world.text(&format!("{TEMPLATES}/common-{kind}"));
        let template = template.ok_or_else(|| call.unknown("without templates"))?;
        let text = common(&template, kind, title, &enabled);
        shell.world.put(&format!("/etc/pam.d/common-{kind}"), 0o644, &text).map_err(failed)?;
        let state = state(title, &enabled);
        shell.world.put(&format!("{STATE}/{kind}"), 0o644, &state).map_err(failed)?;
    }
    Ok(0)
}

fn parse(text: &str) -> Profile {
    let (mut profile, mut field) = (Profile::new(), String::new());
    for line in text.lines() {
        let head = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace));
        match head {
            Some((name, value)) => {
                name.strip_suffix("-Final").unwrap_or(name).clone_into(&mut field);
                profile.insert(field.clone(), value.trim().to_owned());
            }
            None if !line.trim().is_empty() => {
                let value = profile.entry(field.clone()).or_default();
                if !value.is_empty() {
                    value.push('\n');
                }
                value.push_str(line.trim());
            }
            None => {}
        }
    }
    if profile.get("Session-Interactive-Only").is_none_or(|value| value != "yes") {
        for part in ["-Type", "", "-Initial"] {
            if let Some(value) = profile.get(&format!("Session{part}")).cloned() {
                profile.insert(format!("Session-noninteractive{part}"), value);
            }
        }
    }
    profile
}

/// What the enabled profiles say for one type in one block, each with its name; the first of a block
/// may have lines of its own.
fn block<'p>(title: &str, kind: &str, enabled: &'p [(String, Profile)]) -> Vec<(&'p str, &'p str)> {
    let mut all = Vec::new();
    for (name, profile) in enabled {
        if profile.get(&format!("{title}-Type")).is_none_or(|other| other != kind) {
            continue;
        }
        let initial = profile.get(&format!("{title}-Initial")).filter(|_| all.is_empty());
        let lines = initial.or_else(|| profile.get(title)).map_or("", String::as_str);
        all.push((name.as_str(), lines));
    }
    all
}

fn common(template: &str, kind: &str, title: &str, enabled: &[(String, Profile)]) -> String {
    const SIGNS: [(&str, &str, &str); 2] = [
        (
            "# here are the per-package modules (the \"Primary\" block)",
            "# here's the fallback if no module succeeds",
            "Primary",
        ),
        (
            "# and here are more per-package modules (the \"Additional\" block)",
            "# end of pam-auth-update config",
            "Additional",
        ),
    ];
    let word = kind.strip_suffix("-noninteractive").unwrap_or(kind);
    let (mut text, mut end) = (String::new(), None);
    for line in template.lines() {
        if end.is_some_and(|end| !line.starts_with(end)) {
            continue;
        }
        end = None;
        text.push_str(&format!("{line}\n"));
        let Some((_, last, name)) = SIGNS.iter().find(|(first, ..)| line.starts_with(first)) else {
            continue;
        };
        end = Some(*last);
        let parts = block(title, name, enabled);
        let lines: Vec<&str> = parts.iter().flat_map(|(_, lines)| lines.split('\n')).collect();
        let mut count = lines.len();
        if *name == "Primary" && count == 0 {
            text.push_str(&format!("{word}\t[default=1]\t\t\tpam_permit.so\n"));
        } else if *name == "Additional" {
            count = count.saturating_sub(1);
        }
        for line in lines {
            text.push_str(&format!("{word}\t{}\n", merged(line, count)));
            count = count.saturating_sub(1);
        }
    }
    text
}

/// A line with `end` replaced by how many lines are left, and single blanks between options.
fn merged(line: &str, count: usize) -> String {
    let control = match line.split_once(']') {
        Some((control, _)) if line.starts_with('[') => control.len() + 1,
        _ => line.find(char::is_whitespace).unwrap_or(line.len()),
    };
    let rest = line.get(control..).unwrap_or_default();
    let start = rest.len() - rest.trim_start().len();
    let module = rest.get(start..).unwrap_or_default();
    let module = module.split_whitespace().next().unwrap_or_default();
    let head = line.get(..control + start + module.len()).unwrap_or(line);
    let options = line.get(head.len()..).unwrap_or_default().split_whitespace();
    let options: Vec<&str> = options.collect();
    format!("{} {}", head.replace("end", &count.to_string()), options.join(" "))
}

/// What was enabled, for the next time.
fn state(title: &str, enabled: &[(String, Profile)]) -> String {
    let mut text = String::new();
    let primary = block(title, "Primary", enabled);
    if primary.is_empty() {
        text.push_str("Module: null\n[default=1]\t\t\tpam_permit.so\n");
    }
    for (name, lines) in primary.iter().chain(&block(title, "Additional", enabled)) {
        if !lines.is_empty() {
            text.push_str(&format!("Module: {name}\n{lines}\n"));
        }
    }
    text
}
