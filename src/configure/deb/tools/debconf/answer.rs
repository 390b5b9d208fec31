//! What debconf's frontend answers to the commands of scripts when nobody is asked: see
//! debconf-devel(7) for the commands and their numbers.
//!
//! In: a command's words; out: its number and its text, and changed databases. Every question is
//! passed over: what it is asked for is its default, or what a script gave.

use super::not_understood;
use super::session::{Session, Waiting};
use super::template::is_blank;
use crate::configure::shell::Stop;

/// The number of an answer and its text, if it has one.
type Answer = (i32, Option<String>);

const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];
/// Types of questions that are passed over without a word.
const TYPES: [&str; 7] = ["boolean", "multiselect", "note", "password", "select", "string", "text"];

impl Session {
    /// The status of a command, and what a script finds in `RET`.
    pub(super) fn answer(&mut self, name: &str, words: &[&str]) -> Result<(i32, String), Stop> {
        if self.is_stopped {
            return Err(not_understood("after its end"));
        }
        let (status, text) = self.obey(name, words)?;
        if status == 1 {
            // Taken apart again by whoever asked; lines' ends at the end are lost on the way.
            let text = text.unwrap_or_default();
            return Ok((0, text.trim_end_matches('\n').to_owned()));
        }
        let line = text.map_or_else(|| status.to_string(), |text| format!("{status} {text}"));
        let line = line.split('\n').next().unwrap_or_default();
        // Scripts take off one digit and a blank.
        let is_short = line.get(1..2).is_some_and(|sign| sign.starts_with([' ', '\t']));
        let rest = if is_short { line.get(2..) } else { None };
        Ok((status, rest.unwrap_or(line).to_owned()))
    }

    fn obey(&mut self, name: &str, words: &[&str]) -> Result<Answer, Stop> {
        let known = |question: &str| self.of(question).is_some();
        let missing = |text: String| Ok((10, Some(text)));
        Ok(match (name, words) {
            ("version", [] | ["2.0"]) => (0, Some("2.0".to_owned())),
            ("capb", all) => {
                self.escapes = all.contains(&"escape");
                (0, Some("multiselect escape ".to_owned()))
            }
            ("beginblock" | "endblock" | "title" | "info", []) | ("title", _) => (0, None),
            ("clear", []) => {
                self.waiting.clear();
                (0, None)
            }
            ("stop", []) => {
                self.finish();
                self.is_stopped = true;
                (0, None)
            }
            ("input" | "settitle" | "info", [.., question]) if !known(question) => {
                return missing(format!("\"{question}\" doesn't exist"));
            }
            (
                "get" | "set" | "reset" | "subst" | "fget" | "fset" | "metaget" | "unregister",
                [question, ..],
            ) if !known(question) => return missing(format!("{question} doesn't exist")),
            ("settitle" | "info", [_]) => (0, None),
            ("input", [priority, question]) => self.input(priority, question)?,
            ("go", []) => self.go()?,
            ("get", [question]) => {
                let value = self.value(question);
                (i32::from(self.escapes), Some(value))
            }
            ("set", [question, value @ ..]) => {
                self.set(question, value.join(" "));
                (0, Some("value set".to_owned()))
            }
            ("exist", [question]) => (0, Some(known(question).to_string())),
            _ => return self.obey_further(name, words),
        })
    }

    fn obey_further(&mut self, name: &str, words: &[&str]) -> Result<Answer, Stop> {
        Ok(match (name, words) {
            ("reset", [question]) => {
                let value = self.template_value(question, "default", true);
                self.set(question, value);
                self.flag(question, "seen", false);
                (0, None)
            }
            ("subst", [question, variable, value @ ..]) => {
                let (variable, value) = ((*variable).to_owned(), value.join(" "));
                self.change(question, |item| drop(item.variables.insert(variable, value)));
                (0, None)
            }
            ("fget", [question, flag]) => (0, Some(self.has_flag(question, flag).to_string())),
            ("fset", [question, flag, value @ ("true" | "false")]) => {
                if *flag == "seen" {
                    self.seen.retain(|seen| seen != question);
                }
                self.flag(question, flag, *value == "true");
                (0, Some((*value).to_owned()))
            }
            ("metaget", [question, field]) => {
                let value = self.field(question, &field.to_ascii_lowercase())?;
                (i32::from(self.escapes), Some(value))
            }
            ("register", [template, question]) => {
                if self.of(template).is_none() {
                    return Ok((10, Some(format!("No such template, \"{template}\""))));
                }
                let kind = self.template_value(template, "type", true);
                let owner = self.owner.clone();
                self.add_owner(question, &owner, &kind);
                self.bind(question, template);
                (0, None)
            }
            ("unregister", [question]) => {
                if self.waiting.iter().any(|waiting| waiting.question == *question) {
                    return Err(not_understood("unregister of a question that waits"));
                }
                self.disown(question);
                (0, None)
            }
            ("purge", []) => {
                let all = self.config.items.keys().chain(self.passwords.items.keys());
                let all: Vec<String> = all.cloned().collect();
                all.iter().for_each(|question| self.disown(question));
                (0, None)
            }
            _ => return Err(not_understood(&format!("{name} {}", words.join(" ")))),
        })
    }

    /// Puts a question on the list; it is never shown.
    fn input(&mut self, priority: &str, question: &str) -> Result<Answer, Stop> {
        let rank = |name: &str| PRIORITIES.iter().position(|known| *known == name);
        let Some(asked) = rank(priority) else {
            return Ok((20, Some(format!("\"{priority}\" is not a valid priority"))));
        };
        let kind = self.template_value(question, "type", true);
        if !TYPES.contains(&kind.as_str()) {
            return Err(not_understood(&format!("input of {question}, a {kind}")));
        }
        let least = match self.of("debconf/priority").is_some() {
            true => self.value("debconf/priority"),
            false => "high".to_owned(),
        };
        let counts_as_seen =
            rank(&least).is_none_or(|least| asked >= least) && !self.has_flag(question, "seen");
        if !self.waiting.iter().any(|waiting| waiting.question == question) {
            self.waiting.push(Waiting { question: question.to_owned(), counts_as_seen });
        }
        Ok((30, Some("question skipped".to_owned())))
    }

    /// Takes every question on the list for answered.
    fn go(&mut self) -> Result<Answer, Stop> {
        // Each is looked at before any is answered.
        let waiting = std::mem::take(&mut self.waiting);
        let values: Vec<String> =
            waiting.iter().map(|waiting| self.shown(&waiting.question)).collect();
        for (Waiting { question, counts_as_seen }, value) in waiting.into_iter().zip(values) {
            self.set(&question, value);
            if counts_as_seen {
                self.seen.push(question);
            }
        }
        Ok((0, Some("ok".to_owned())))
    }

    /// What a question has for an answer when it is passed over.
    fn shown(&self, question: &str) -> String {
        let value = self.value(question);
        match self.template_value(question, "type", true).as_str() {
            "text" => String::new(),
            "select" => {
                let choices = self.template_value(question, "choices", false);
                let choices = split(&self.with_variables(question, &choices));
                if choices.contains(&value) {
                    value
                } else {
                    choices.into_iter().next().unwrap_or_default()
                }
            }
            _ => value,
        }
    }

    fn value(&self, question: &str) -> String {
        let own = self.of(question).and_then(|all| all.field(question, "value"));
        own.map_or_else(|| self.template_value(question, "default", true), str::to_owned)
    }

    fn set(&mut self, question: &str, value: String) {
        self.change(question, |item| drop(item.fields.insert("value".to_owned(), value)));
    }

    fn has_flag(&self, question: &str, flag: &str) -> bool {
        let item = self.of(question).and_then(|all| all.items.get(question));
        item.is_some_and(|item| item.flags.contains(flag))
    }

    fn flag(&mut self, question: &str, flag: &str, is_set: bool) {
        self.change(question, |item| match is_set {
            true => item.flags.extend([flag.to_owned()]),
            false => item.flags.retain(|known| known != flag),
        });
    }

    fn disown(&mut self, question: &str) {
        let Some(all) = self.of(question) else { return };
        let template = all.field(question, "template").map(str::to_owned);
        let owner = self.owner.clone();
        self.config.remove_owner(question, &owner);
        self.passwords.remove_owner(question, &owner);
        if let Some(template) = template.filter(|name| !name.is_empty())
            && self.of(question).is_none()
        {
            self.templates.remove_owner(&template, question);
        }
    }

    /// A field as `metaget` gives it.
    fn field(&self, question: &str, field: &str) -> Result<String, Stop> {
        if matches!(field, "owners" | "flag" | "variable" | "name" | "priority") {
            return Err(not_understood(&format!("metaget {field}")));
        }
        if field == "value" {
            return Ok(self.value(question));
        }
        let own = self.of(question).and_then(|all| all.field(question, field));
        let value = own.map_or_else(|| self.template_value(question, field, true), str::to_owned);
        let texts = ["description", "extended_description", "choices"];
        let is_text = texts.iter().any(|text| {
            field.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        Ok(if is_text { self.with_variables(question, &value) } else { value })
    }

    /// A field of a question's template, in the language of programs; `translated`: as people are
    /// shown it.
    fn template_value(&self, question: &str, field: &str, translated: bool) -> String {
        let template = self.of(question).and_then(|all| all.field(question, "template"));
        let template = template.unwrap_or_default();
        let plain = field.split('-').next().unwrap_or_default();
        let endings: &[&str] = if translated { &["-c.utf-8", "-en", ""] } else { &["-c", ""] };
        let names = endings.iter().map(|ending| format!("{field}{ending}"));
        let mut names = names.chain([plain.to_owned()]);
        let value = names.find_map(|name| self.templates.field(template, &name));
        value.unwrap_or_default().to_owned()
    }

    /// Puts a question's variables into a text.
    fn with_variables(&self, question: &str, text: &str) -> String {
        let item = self.of(question).and_then(|all| all.items.get(question));
        let (mut result, mut rest) = (String::new(), text);
        while let Some((before, tail)) = rest.split_once("${") {
            let Some((name, after)) = tail.split_once('}').filter(|(name, _)| !name.contains('{'))
            else {
                result.push_str(before);
                result.push_str("${");
                rest = tail;
                continue;
            };
            match before.strip_suffix('\\') {
                Some(before) => result.push_str(&format!("{before}${{{name}}}")),
                None => {
                    result.push_str(before);
                    let value = item.and_then(|item| item.variables.get(name));
                    result.push_str(value.map_or("", String::as_str));
                }
            }
            rest = after;
        }
        result + rest
    }
}

/// Takes a list apart at its commas.
fn split(text: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match (sign, signs.peek().copied()) {
            ('\\', Some(next @ (',' | ' '))) => {
                item.push(next);
                signs.next();
            }
            (',', Some(next)) if is_blank(next) => {
                while signs.next_if(|sign| is_blank(*sign)).is_some() {}
                items.push(std::mem::take(&mut item));
            }
            _ => item.push(sign),
        }
    }
    if !item.is_empty() {
        items.push(item);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::deb::tools::debconf::database::Database;

    const TEMPLATES: &str = "Template: a/area\nType: select\nChoices-C: Etc, Eu\\, rope\nChoices: Und, Europa\n\
        Default: Etc\nDescription: In ${where}?\n\nTemplate: a/secret\nType: password\n";

    fn session() -> Session {
        let mut session = Session::empty("app");
        session.load(TEMPLATES, "app").unwrap();
        session
    }

    fn asked(session: &mut Session, line: &str) -> (i32, String) {
        let words = session.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (name, words) = words.split_first().unwrap();
        session.answer(name, words).unwrap()
    }

    #[test]
    fn questions_are_passed_over_and_have_their_defaults_for_answers() {
        let mut session = session();
        for (line, status, text) in [
            ("get a/area", 0, "Etc"),
            ("input high a/area", 30, "30 question skipped"),
            ("input high a/none", 10, "10 \"a/none\" doesn't exist"),
            ("go", 0, "ok"),
            ("fget a/area seen", 0, "false"),
            ("set a/area  Eu,   rope", 0, "value set"),
            ("get a/area", 0, "Eu, rope"),
            ("subst a/area where the world", 0, "0"),
            ("metaget a/area description", 0, "In the world?"),
            ("metaget a/area choices-c", 0, "Etc, Eu\\, rope"),
            ("register a/area b/area", 0, "0"),
            ("get b/area", 0, "Etc"),
            ("unregister b/area", 0, "0"),
            ("exist b/area", 0, "false"),
            ("capb escape", 0, "multiselect escape "),
            ("set a/area a\\ b", 0, "value set"),
            ("get a/area", 0, "a b"),
        ] {
            assert_eq!(asked(&mut session, line), (status, text.to_owned()), "{line}");
        }
        session.finish();
        assert_eq!(asked(&mut session, "fget a/area seen"), (0, "true".to_owned()));
        assert!(session.answer("data", &["a"]).is_err());
    }

    #[test]
    fn a_choice_that_is_none_becomes_the_first_and_passwords_lie_apart() {
        let mut session = session();
        asked(&mut session, "set a/area nowhere");
        asked(&mut session, "input low a/area");
        asked(&mut session, "go");
        assert_eq!(asked(&mut session, "get a/area").1, "Etc");
        let expected = "Name: a/secret\nTemplate: a/secret\nOwners: app\n\n";
        assert_eq!(session.passwords.text(), expected);
        assert_eq!(Database::parse(&session.config.text()).items.len(), 1);
        asked(&mut session, "purge");
        assert_eq!(session.config.text() + &session.templates.text(), "");
    }
}
