//! debconf without questions: what `confmodule` and its `db_…` commands answer to a script when
//! nobody is asked, so that every answer is a default or was given by a script; see
//! debconf-devel(7).
//!
//! Answers that scripts give are kept in the tree, in the form of debconf's `config.dat`. What
//! templates say is read where dpkg has them.

use std::collections::BTreeMap;

use crate::configure::shell::{Call, Flow, Shell, text_of};

const ANSWERS: &str = "/var/cache/debconf/config.dat";

/// A script has asked for debconf: the package's `config` script runs first, as debconf does it.
pub(super) fn confmodule(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let own = shell.parameter("0").unwrap_or_default();
    let Some(base) = own.strip_suffix(".postinst") else { return Ok(0) };
    if call.arguments.first().map(String::as_str) != Some("configure") {
        return Ok(0);
    }
    let path = format!("{base}.config");
    let Some(script) = shell.world.text(&path) else { return Ok(0) };
    let version = call.arguments.get(1).cloned().unwrap_or_default();
    match shell.run_script(&path, &script, &["configure".to_owned(), version])? {
        0 => Ok(0),
        status => Err(crate::configure::shell::Stop::Exit(status)),
    }
}

/// One of debconf's commands; what it prints becomes `RET`.
pub(super) fn command(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let arguments = call.arguments.clone();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = call.name.strip_prefix("db_").unwrap_or_default().to_owned();
    match (name.as_str(), words.as_slice()) {
        ("version", _) => call.out = "2.0".to_owned(),
        ("capb", _) => call.out = "multiselect escape".to_owned(),
        ("input", [_, _]) => {
            call.out = "question skipped".to_owned();
            return Ok(30);
        }
        ("get", [question]) => match value(shell, question) {
            Some(value) => call.out = value,
            None => {
                call.out = format!("{question} doesn't exist");
                return Ok(10);
            }
        },
        ("set", [question, value @ ..]) => set(shell, call, question, Some(&value.join(" ")))?,
        ("reset", [question]) => set(shell, call, question, None)?,
        ("fget", [_, _]) => call.out = "false".to_owned(),
        ("metaget", [question, field]) => {
            let template = template(shell, question).unwrap_or_default();
            call.out = template.get(*field).cloned().unwrap_or_default();
        }
        (
            "go" | "stop" | "title" | "settitle" | "info" | "fset" | "subst" | "register"
            | "unregister" | "purge" | "beginblock" | "endblock" | "progress" | "clear"
            | "x_loadtemplatefile",
            _,
        ) => {}
        _ => return Err(call.unknown(&words.join(" "))),
    }
    Ok(0)
}

/// The answers that scripts have given.
fn answers(shell: &mut Shell<'_, '_>) -> BTreeMap<String, String> {
    let text = shell.world.text(ANSWERS).unwrap_or_default();
    let field = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let answer = |stanza: &str| Some((field(stanza, "Name:")?, field(stanza, "Value:")?));
    text.split("\n\n").filter_map(answer).collect()
}

fn value(shell: &mut Shell<'_, '_>, question: &str) -> Option<String> {
    if let Some(value) = answers(shell).remove(question) {
        return Some(value);
    }
    let template = template(shell, question)?;
    Some(template.get("Default").cloned().unwrap_or_default())
}

fn set(
    shell: &mut Shell<'_, '_>,
    call: &Call,
    question: &str,
    value: Option<&str>,
) -> Result<(), crate::configure::shell::Stop> {
    let mut all = answers(shell);
    match value {
        Some(value) => all.insert(question.to_owned(), value.replace('\n', " ")),
        None => all.remove(question),
    };
    let stanza = |(name, value): (&String, &String)| {
        format!("Name: {name}\nTemplate: {name}\nValue: {value}\n\n")
    };
    let text: String = all.iter().map(stanza).collect();
    let written = shell.world.put(ANSWERS, 0o644, &text);
    written.map(drop).map_err(|fault| call.unknown(fault.text()))
}

/// The fields of a template: first lines only, which is all that anybody asks for.
fn template(shell: &mut Shell<'_, '_>, question: &str) -> Option<BTreeMap<String, String>> {
    let mut paths = vec!["/var/lib/dpkg/tmp.ci/templates".to_owned()];
    if let Ok(info) = shell.place("/var/lib/dpkg/info", true) {
        let names = shell.world.names(&info);
        let templates = names.iter().filter(|name| name.ends_with(".templates"));
        paths.extend(templates.map(|name| format!("/var/lib/dpkg/info/{name}")));
    }
    let head = format!("Template: {question}");
    for path in paths {
        let Ok(place) = shell.place(&path, true) else { continue };
        let Ok(bytes) = shell.world.read(&place) else { continue };
        let text = text_of(&bytes);
        let found = text.split("\n\n").find(|stanza| stanza.lines().any(|line| line == head));
        if let Some(stanza) = found {
            let fields = stanza.lines().filter(|line| !line.starts_with(' '));
            let fields = fields.filter_map(|line| line.split_once(':'));
            return Some(fields.map(|(name, v)| (name.to_owned(), v.trim().to_owned())).collect());
        }
    }
    None
}
