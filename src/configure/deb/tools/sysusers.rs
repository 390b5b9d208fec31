//! `systemd-sysusers`: users and groups from declarations; see sysusers.d(5).

use super::accounts::{self, GROUP, GSHADOW, PASSWD, SHADOW};
use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};

/// Where declarations lie, the most important first.
pub(super) const FOLDERS: [&str; 3] = ["/etc", "/usr/local/lib", "/usr/lib"];

/// Lines that are to be added to each list.
#[derive(Default)]
struct New {
    passwd: Vec<String>,
    shadow: Vec<String>,
    group: Vec<String>,
    gshadow: Vec<String>,
    /// Numbers that are taken by now.
    numbers: Vec<u32>,
}

pub(super) fn systemd_sysusers(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("-: root|- dry-run")?;
    if options.operands.is_empty() || !options.values("root").iter().all(|root| root == "/") {
        return Err(call.unknown("for all declarations"));
    }
    let mut new = New::default();
    new.numbers.extend(accounts::numbers(shell, PASSWD));
    new.numbers.extend(accounts::numbers(shell, GROUP));
    for name in &options.operands {
        let text = declarations(shell, "sysusers.d", name);
        for line in text.unwrap_or_default().lines() {
            let words = words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            declare(shell, call, &words, &mut new)?;
        }
    }
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("sysusers: {}", fault.text())) };
    let lists =
        [(GROUP, new.group), (GSHADOW, new.gshadow), (PASSWD, new.passwd), (SHADOW, new.shadow)];
    for (list, lines) in lists {
        if !lines.is_empty() {
            let text = shell.world.text(list).unwrap_or_default();
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            accounts::replace(shell, list, &(text + &lines)).map_err(failed)?;
        }
    }
    Ok(0)
}

/// The text of a file with declarations.
pub(super) fn declarations(shell: &mut Shell<'_, '_>, kind: &str, name: &str) -> Option<String> {
    FOLDERS.iter().find_map(|folder| shell.world.text(&format!("{folder}/{kind}/{name}")))
}

/// The words of a line; quotes hold one together.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    if line.trim_start().starts_with('#') {
        return words;
    }
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn declare(
    shell: &mut Shell<'_, '_>,
    call: &Call,
    words: &[&str],
    new: &mut New,
) -> Result<(), Stop> {
    let field = |at: usize| words.get(at).copied().filter(|word| *word != "-");
    let (Some(kind), Some(name)) = (field(0), field(1)) else { return Ok(()) };
    let today = accounts::today(shell);
    let known = |shell: &mut Shell<'_, '_>, list, lines: &[String]| {
        let start = format!("{name}:");
        accounts::has(shell, list, name) || lines.iter().any(|line| line.starts_with(&start))
    };
    let has_group = known(shell, GROUP, &new.group);
    match kind {
        "u" | "u!" => {
            if known(shell, PASSWD, &new.passwd) {
                return Ok(());
            }
            let (uid, gid) = numbers(shell, field(2), name, has_group, new)
                .ok_or_else(|| call.unknown(&words.join(" ")))?;
            if !has_group && !field(2).is_some_and(|id| id.contains(':')) {
                new.group.push(format!("{name}:x:{gid}:"));
                new.gshadow.push(format!("{name}:!*::"));
            }
            let comment = field(3).unwrap_or_default();
            let home = field(4).unwrap_or("/");
            let login = field(5).unwrap_or("/usr/sbin/nologin");
            new.passwd.push(format!("{name}:x:{uid}:{gid}:{comment}:{home}:{login}"));
            let expires = if kind == "u!" { "1" } else { "" };
            new.shadow.push(format!("{name}:!*:{today}:::::{expires}:"));
        }
        "g" if has_group => {}
        "g" => {
            let gid = match field(2) {
                Some(id) => id.parse().map_err(|_| call.unknown(&words.join(" ")))?,
                None => free(new).ok_or_else(|| call.unknown("has no number left"))?,
            };
            new.numbers.push(gid);
            new.group.push(format!("{name}:x:{gid}:"));
            new.gshadow.push(format!("{name}:!*::"));
        }
        _ => return Err(call.unknown(&words.join(" "))),
    }
    Ok(())
}

/// The numbers of a new user and its group.
fn numbers(
    shell: &mut Shell<'_, '_>,
    id: Option<&str>,
    name: &str,
    has_group: bool,
    new: &mut New,
) -> Option<(u32, u32)> {
    let (uid, gid) = match id {
        Some(id) => match id.split_once(':') {
            Some((uid, group)) => (uid.parse().ok()?, shell.number_of(GROUP, group)?),
            None => (id.parse().ok()?, id.parse().ok()?),
        },
        None => {
            let number = free(new)?;
            (number, number)
        }
    };
    let own = if has_group { shell.number_of(GROUP, name) } else { None };
    new.numbers.push(uid);
    Some((uid, own.unwrap_or(gid)))
}

/// The highest number of the system's that nobody has.
fn free(new: &New) -> Option<u32> {
    (100..=999).rev().find(|number| !new.numbers.contains(number))
}
