//! `pam-auth-update`: `/etc/pam.d/common-*` from the packages' profiles; see its manual page.
//!
//! Only for files that nobody has changed: they are written anew from what is enabled, which is what
//! was enabled before and what is on by default and new.

use std::collections::BTreeMap;

use super::debconf;
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

/// Its templates of debconf's questions, which it loads each time.
const QUESTIONS: &str = "/var/lib/dpkg/info/libpam-runtime.templates";

/// A profile: its fields by name.
type Profile = BTreeMap<String, String>;

pub(super) fn pam_auth_update(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("-: root|- package|- force|- remove")?;
    if options.has("remove") || options.values("root").iter().any(|root| root.len() > 1) {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    if shell.place(PROFILES, true).is_err() {
        return Ok(1);
    }
    let (force, asks) = (options.has("force"), !options.has("package"));
    debconf::under_frontend(shell, |shell| update(shell, call, force, asks))
}

/// Writes all files anew. `asks`: everything is to be asked, not only what is new.
fn update(shell: &mut Shell<'_, '_>, call: &Call, force: bool, asks: bool) -> Flow {
    let profiles = profiles(shell);
    let seen = shell.world.text(&format!("{STATE}/seen")).unwrap_or_default();
    let is_new = |name: &str| !seen.lines().any(|line| line == name);
    let before = before(shell, call, &profiles)?;
    if before.is_none() && !force {
        return Err(call.unknown("for files of an administrator"));
    }
    let before_names = before.clone().unwrap_or_default();
    let is_enabled = |name: &str, profile: &Profile| {
        before_names.iter().any(|enabled| enabled == name)
            || is_new(name) && profile.get("Default").is_some_and(|value| value == "yes")
    };
    let names: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
    let enabled: Vec<(String, Profile)> =
        profiles.iter().filter(|(name, profile)| is_enabled(name, profile)).cloned().collect();
    if enabled.is_empty() || enabled.iter().any(|(_, profile)| profile.contains_key("Conflicts")) {
        return Err(call.unknown("with nothing enabled, or with what excludes each other"));
    }
    let any_is_new = names.iter().any(|name| is_new(name));
    ask(shell, &profiles, &enabled, (before.is_none(), any_is_new || asks, !asks))?;
    let failed =
        |fault: Fault| -> Stop { Stop::unknown(format!("pam-auth-update: {}", fault.text())) };
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    shell.world.put(&format!("{STATE}/seen"), 0o644, &lines).map_err(failed)?;
    for (kind, title) in TYPES {
        let template = shell.world.text(&format!("{TEMPLATES}/common-{kind}"));
        let template = template.ok_or_else(|| call.unknown("without templates"))?;
        let text = common(&template, kind, title, &enabled);
        shell.world.put(&format!("/etc/pam.d/common-{kind}"), 0o644, &text).map_err(failed)?;
        let state = state(title, &enabled);
        shell.world.put(&format!("{STATE}/{kind}"), 0o644, &state).map_err(failed)?;
    }
    debconf::say(shell, "fset", "libpam-runtime/override seen false")?;
    debconf::say(shell, "set", "libpam-runtime/override false")?;
    Ok(0)
}

/// The profiles, the most important first.
fn profiles(shell: &mut Shell<'_, '_>) -> Vec<(String, Profile)> {
    let Ok(folder) = shell.place(PROFILES, true) else { return Vec::new() };
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
    profiles
}

/// Which profiles were enabled before, if the files are there and as they were written then.
fn before(
    shell: &mut Shell<'_, '_>,
    call: &Call,
    profiles: &[(String, Profile)],
) -> Result<Option<Vec<String>>, Stop> {
    let mut names = Vec::new();
    for (kind, _) in TYPES {
        let Some(text) = shell.world.text(&format!("{STATE}/{kind}")) else { return Ok(None) };
        names.extend(
            text.lines().filter_map(|line| line.strip_prefix("Module: ")).map(str::to_owned),
        );
    }
    let was = |(name, _): &&(String, Profile)| names.contains(name);
    let enabled: Vec<(String, Profile)> = profiles.iter().filter(was).cloned().collect();
    for (kind, title) in TYPES {
        let template = shell.world.text(&format!("{TEMPLATES}/common-{kind}")).unwrap_or_default();
        let written = shell.world.text(&format!("/etc/pam.d/common-{kind}"));
        if written != Some(common(&template, kind, title, &enabled)) {
            return Err(call.unknown("for files that somebody has changed"));
        }
    }
    Ok(Some(enabled.into_iter().map(|(name, _)| name).collect()))
}

/// What debconf is asked. `is_first`: for the first time; `anew`: although it was seen before;
/// `quietly`: as something that a package does.
fn ask(
    shell: &mut Shell<'_, '_>,
    profiles: &[(String, Profile)],
    enabled: &[(String, Profile)],
    (is_first, anew, quietly): (bool, bool, bool),
) -> Result<(), Stop> {
    const QUESTION: &str = "libpam-runtime/profiles";
    let list = |names: Vec<&str>| names.join(", ");
    let names = list(profiles.iter().map(|(name, _)| name.as_str()).collect());
    let title = |profile: &'_ Profile| profile.get("Name").cloned().unwrap_or_default();
    let titles: Vec<String> = profiles.iter().map(|(_, profile)| title(profile)).collect();
    let chosen = list(enabled.iter().map(|(name, _)| name.as_str()).collect());
    let mut lines = vec![
        ("version", "2.0".to_owned()),
        ("capb", "backup escape".to_owned()),
        ("x_loadtemplatefile", format!("{QUESTIONS} libpam-runtime")),
        ("subst", format!("{QUESTION} profile_names {names}")),
        ("subst", format!("{QUESTION} profiles {}", titles.join(", "))),
    ];
    if is_first {
        lines.push(("get", QUESTION.to_owned()));
    }
    lines.push(("settitle", "libpam-runtime/title".to_owned()));
    if anew {
        lines.push(("fset", format!("{QUESTION} seen false")));
    }
    lines.push(("set", format!("{QUESTION} {chosen}")));
    lines.push(("input", format!("{} {QUESTION}", if quietly { "medium" } else { "high" })));
    lines.push(("go", String::new()));
    lines.push(("set", format!("{QUESTION} {chosen}")));
    lines.iter().try_for_each(|(name, line)| debconf::say(shell, name, line).map(drop))
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
