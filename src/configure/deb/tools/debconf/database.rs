//! debconf's databases: stanzas of questions or templates, as its `Format::822` reads and writes
//! them; see debconf.conf(5).
//!
//! In: the text of a file, one `char` for each byte; out: items by name, and the text again. Nothing
//! in a file is an error: what is no field is none.

use std::collections::{BTreeMap, BTreeSet};

use super::template::is_blank;

/// A question or a template.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) owners: BTreeSet<String>,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) variables: BTreeMap<String, String>,
    /// Those that are set.
    pub(super) flags: BTreeSet<String>,
}

/// A file of them.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) items: BTreeMap<String, Item>,
    /// Whether it must be written.
    pub(super) is_changed: bool,
}

impl Database {
    pub(super) fn parse(text: &str) -> Self {
        let items = text.split("\n\n").filter_map(item).collect();
        Self { items, is_changed: false }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, item) in &self.items {
            text.push_str(&format!("Name: {name}\n"));
            for (field, value) in &item.fields {
                let (first, rest) = field.split_at(field.len().min(1));
                let (first, value) = (first.to_ascii_uppercase(), value.replace('\n', "\\n"));
                text.push_str(&format!("{first}{rest}: {value}\n"));
            }
            for (head, names) in [("Owners", &item.owners), ("Flags", &item.flags)] {
                if !names.is_empty() {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    text.push_str(&format!("{head}: {}\n", names.join(", ")));
                }
            }
            if !item.variables.is_empty() {
                text.push_str("Variables:\n");
            }
            for (variable, value) in &item.variables {
                text.push_str(&format!(" {variable} = {}\n", value.replace('\n', "\\n")));
            }
            text.push('\n');
        }
        text
    }

    /// Changes an item that is there.
    pub(super) fn change(&mut self, name: &str, work: impl FnOnce(&mut Item)) {
        if let Some(item) = self.items.get_mut(name) {
            work(item);
            self.is_changed = true;
        }
    }

    /// Adds an owner; makes the item if need be.
    pub(super) fn add_owner(&mut self, name: &str, owner: &str) {
        let item = self.items.entry(name.to_owned()).or_default();
        self.is_changed |= item.owners.insert(owner.to_owned());
    }

    /// Takes an owner away; an item that has none goes.
    pub(super) fn remove_owner(&mut self, name: &str, owner: &str) {
        let Some(item) = self.items.get_mut(name) else { return };
        self.is_changed |= item.owners.remove(owner);
        if item.owners.is_empty() {
            self.items.remove(name);
            self.is_changed = true;
        }
    }

    pub(super) fn field(&self, name: &str, field: &str) -> Option<&str> {
        self.items.get(name)?.fields.get(field).map(String::as_str)
    }
}

fn item(stanza: &str) -> Option<(String, Item)> {
    let (mut name, mut item, mut in_variables) = (None, Item::default(), false);
    for line in stanza.split('\n').filter(|line| !line.is_empty()) {
        if in_variables && line.starts_with(is_blank) {
            let (variable, value) = line.trim_start_matches(is_blank).split_once('=')?;
            let value = value.strip_prefix(is_blank).unwrap_or(value).replace("\\n", "\n");
            item.variables.insert(variable.trim_end_matches(is_blank).to_owned(), value);
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(is_blank).unwrap_or(value);
        let list = || value.split(',').map(|one| one.trim_start_matches(is_blank).to_owned());
        let field = field.to_ascii_lowercase();
        in_variables = field == "variables";
        match field.as_str() {
            "owners" => item.owners = list().collect(),
            "flags" => item.flags = list().collect(),
            "name" => name = Some(value.to_owned()),
            "" | "variables" => {}
            _ => drop(item.fields.insert(field, value.replace("\\n", "\n"))),
        }
    }
    Some((name?, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name: a/b\nExtended_description: one\\n\\ntwo\nTemplate: a/b\nValue: \n\
        Owners: libc6, libc6:amd64\nFlags: seen\nVariables:\n names = x, y\n\nName: c\nOwners: d\n\n";

    #[test]
    fn what_is_read_is_written_again_byte_for_byte() {
        let mut database = Database::parse(TEXT);
        assert_eq!(database.text(), TEXT);
        assert_eq!(database.field("a/b", "extended_description"), Some("one\n\ntwo"));
        assert!(!database.is_changed);
        database.add_owner("c", "d");
        assert!(!database.is_changed);
        database.remove_owner("c", "d");
        assert!(database.is_changed && !database.items.contains_key("c"));
    }
}
