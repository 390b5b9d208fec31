//! A run of debconf's frontend: its databases in memory, and what scripts have put on its list.
//!
//! In: the files under `/var/cache/debconf`; out: the files again, each with its last state beside
//! it, where something has changed. Which files there are is said by `/etc/debconf.conf`; only what
//! Debian's own one says is understood.

use super::database::Database;
use super::not_understood;
use super::template::{self, is_blank};
use crate::configure::shell::{Fault, Stop, World, bytes_of};
use crate::tree::TreePath;

const CONFIGURATION: &str = "/etc/debconf.conf";
/// What Debian's own one says, without remarks.
const USUAL: &str = "Config: configdb Templates: templatedb \
    Name: config Driver: File Mode: 644 Reject-Type: password Filename: /var/cache/debconf/config.dat \
    Name: passwords Driver: File Mode: 600 Backup: false Required: false Accept-Type: password \
    Filename: /var/cache/debconf/passwords.dat \
    Name: configdb Driver: Stack Stack: config, passwords \
    Name: templatedb Driver: File Mode: 644 Filename: /var/cache/debconf/templates.dat";

const CONFIG: &str = "/var/cache/debconf/config.dat";
const PASSWORDS: &str = "/var/cache/debconf/passwords.dat";
const TEMPLATES: &str = "/var/cache/debconf/templates.dat";

/// A question that waits to be asked.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) question: String,
    pub(super) counts_as_seen: bool,
}

/// A run of the frontend.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: String,
    pub(super) config: Database,
    pub(super) passwords: Database,
    pub(super) templates: Database,
    /// Those files that were there, and so get a second one with their last state.
    old: Vec<&'static str>,
    /// Whether scripts want signs of their own for a line's end.
    pub(super) escapes: bool,
    pub(super) waiting: Vec<Waiting>,
    pub(super) seen: Vec<String>,
    pub(super) is_stopped: bool,
}

impl Session {
    /// Reads the databases; those that are missing are made.
    pub(super) fn open(world: &mut World<'_>, owner: &str) -> Result<Self, Stop> {
        let text = world.text(CONFIGURATION).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        if words != USUAL.split_whitespace().collect::<Vec<_>>() {
            return Err(not_understood("with databases of its own"));
        }
        let mut old = Vec::new();
        let mut read = |path: &'static str, mode| -> Result<Database, Stop> {
            match world.text(path) {
                Some(text) => {
                    old.push(path);
                    Ok(Database::parse(&text))
                }
                None => {
                    world.replace(path, mode, Vec::new()).map_err(failed)?;
                    Ok(Database::default())
                }
            }
        };
        let (config, passwords) = (read(CONFIG, 0o644)?, read(PASSWORDS, 0o600)?);
        let templates = read(TEMPLATES, 0o644)?;
        Ok(Self { config, passwords, templates, old, ..Self::empty(owner) })
    }

    /// A run that has no databases yet.
    pub(super) fn empty(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            config: Database::default(),
            passwords: Database::default(),
            templates: Database::default(),
            old: Vec::new(),
            escapes: false,
            waiting: Vec::new(),
            seen: Vec::new(),
            is_stopped: false,
        }
    }

    /// Writes what has changed.
    pub(super) fn save(&self, world: &mut World<'_>) -> Result<(), Stop> {
        for (path, mode, database) in [
            (CONFIG, 0o644, &self.config),
            (PASSWORDS, 0o600, &self.passwords),
            (TEMPLATES, 0o644, &self.templates),
        ] {
            if !database.is_changed {
                continue;
            }
            if path != PASSWORDS && self.old.contains(&path) {
                let place =
                    |path: &str| world.resolve(&TreePath::ROOT, path, false).map_err(failed);
                let (from, to) = (place(path)?, place(&format!("{path}-old"))?);
                world.rename(&from, &to).map_err(failed)?;
            }
            world.replace(path, mode, bytes_of(&database.text())).map_err(failed)?;
        }
        Ok(())
    }

    /// A script begins.
    pub(super) fn start(&mut self) {
        self.waiting.clear();
        self.seen.clear();
        self.escapes = false;
        self.is_stopped = false;
    }

    /// A script has ended, or will ask no more.
    pub(super) fn finish(&mut self) {
        for question in std::mem::take(&mut self.seen) {
            self.change(&question, |item| item.flags.extend(["seen".to_owned()]));
        }
    }

    /// The database that has a question.
    pub(super) fn of(&self, question: &str) -> Option<&Database> {
        [&self.config, &self.passwords].into_iter().find(|all| all.items.contains_key(question))
    }

    /// Changes a question that is there.
    pub(super) fn change(&mut self, question: &str, work: impl FnOnce(&mut super::database::Item)) {
        let all = [&mut self.config, &mut self.passwords];
        if let Some(all) = all.into_iter().find(|all| all.items.contains_key(question)) {
            all.change(question, work);
        }
    }

    /// Makes an owner one of a question's; makes the question if need be.
    pub(super) fn add_owner(&mut self, question: &str, owner: &str, kind: &str) {
        let is_password = kind.to_ascii_lowercase().contains("password");
        let in_passwords = match self.of(question).is_some() {
            true => self.passwords.items.contains_key(question),
            false => is_password,
        };
        let all = if in_passwords { &mut self.passwords } else { &mut self.config };
        let is_new = !all.items.contains_key(question);
        all.add_owner(question, owner);
        all.is_changed |= is_new;
    }

    /// Binds a question to a template.
    pub(super) fn bind(&mut self, question: &str, template: &str) {
        let old = self.of(question).and_then(|all| all.field(question, "template"));
        let old = old.map(str::to_owned);
        if old.as_deref() == Some(template) {
            return;
        }
        if let Some(old) = old.filter(|old| !old.is_empty()) {
            self.templates.remove_owner(&old, question);
        }
        let value = template.to_owned();
        self.change(question, |item| drop(item.fields.insert("template".to_owned(), value)));
        self.templates.add_owner(template, question);
    }

    /// Takes in a file of templates, and makes a question for each.
    pub(super) fn load(&mut self, text: &str, owner: &str) -> Result<(), Stop> {
        let owner = if owner.is_empty() { "unknown" } else { owner };
        let all = template::parse(text).ok_or_else(|| not_understood("with broken templates"))?;
        for mut fields in all {
            let (Some(name), Some(kind)) = (fields.remove("template"), fields.get("type").cloned())
            else {
                continue;
            };
            let is_known =
                self.templates.items.get(&name).is_some_and(|item| !item.owners.is_empty());
            let is_new = self.of(&name).is_none();
            self.add_owner(&name, owner, &kind);
            if is_new {
                self.bind(&name, &name);
            }
            if is_known {
                let questions = self.templates.items.get(&name).map(|item| item.owners.clone());
                if questions.iter().flatten().any(|question| self.of(question).is_none()) {
                    return Err(not_understood("with a database that lacks questions"));
                }
            } else {
                self.templates.add_owner(&name, &name);
            }
            self.templates.change(&name, |item| item.fields = fields);
        }
        Ok(())
    }

    /// The words of a command.
    pub(super) fn words(&self, line: &str) -> Vec<String> {
        if !self.escapes {
            return line
                .split(is_blank)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect();
        }
        let (mut words, mut word) = (Vec::new(), String::new());
        let mut signs = line.chars().peekable();
        while let Some(sign) = signs.next() {
            match sign {
                '\\' => match signs.next() {
                    Some('n') => word.push('\n'),
                    Some(other) => word.push(other),
                    None => word.push('\\'),
                },
                blank if is_blank(blank) => {
                    while signs.next_if(|sign| is_blank(*sign)).is_some() {}
                    words.push(std::mem::take(&mut word));
                }
                other => word.push(other),
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }
}

fn failed(fault: Fault) -> Stop {
    not_understood(fault.text())
}
