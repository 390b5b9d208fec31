//! `journalctl --update-catalog`: explanations of messages, for `journalctl -x`; see journalctl(1).
//!
//! In: the files of `/usr/lib/systemd/catalog`; out: `/var/lib/systemd/catalog/database`, byte for
//! byte what systemd writes (`src/libsystemd/sd-journal/catalog.c`): a head, an item of 56 bytes for
//! each text in each language, sorted, and the texts, of which one that ends another is not kept
//! twice.

use std::collections::BTreeMap;

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};

const SOURCES: &str = "/usr/lib/systemd/catalog";
/// Where an administrator's files would be, which no package has.
const OTHERS: [&str; 3] =
    ["/etc/systemd/catalog", "/run/systemd/catalog", "/usr/local/lib/systemd/catalog"];
const DATABASE: &str = "/var/lib/systemd/catalog/database";
const SIGNATURE: &[u8; 8] = b"RHHHKSLP";
const HEAD: u64 = 40;
const ITEM: u64 = 56;
/// The longest name of a language, in bytes.
const LONGEST_LANGUAGE: usize = 31;

/// A message's number and a language, which may be empty.
type Key = ([u8; 16], String);

/// Texts in the order in which they were found first.
#[derive(Debug, Default)]
struct Catalog {
    keys: Vec<Key>,
    texts: BTreeMap<Key, String>,
}

pub(super) fn journalctl(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    if call.arguments != ["--update-catalog"] {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    let failed = |fault: Fault| Stop::unknown(format!("journalctl: {}", fault.text()));
    let files = |shell: &Shell<'_, '_>, folder: &str| -> Vec<String> {
        let names = shell.place(folder, true).map(|place| shell.world.names(&place));
        names.unwrap_or_default().into_iter().filter(|name| name.ends_with(".catalog")).collect()
    };
    if let Some(folder) = OTHERS.iter().find(|folder| !files(shell, folder).is_empty()) {
        return Err(call.unknown(&format!("with {folder}")));
    }
    let mut catalog = Catalog::default();
    for name in files(shell, SOURCES) {
        let text = shell.world.text(&format!("{SOURCES}/{name}")).unwrap_or_default();
        catalog.read(&name, &text).map_err(|why| call.unknown(&format!("{name}: {why}")))?;
    }
    if !catalog.keys.is_empty() {
        shell.world.replace(DATABASE, 0o644, catalog.database()).map_err(failed)?;
    }
    Ok(0)
}

impl Catalog {
    /// Reads a file; or says what is not understood.
    fn read(&mut self, name: &str, text: &str) -> Result<(), &'static str> {
        if text.contains(['\r', '\0']) {
            return Err("signs that end lines elsewhere");
        }
        let own = language_of(name);
        let mut current: Option<Key> = None;
        let (mut payload, mut after_empty) = (String::new(), true);
        for line in text.lines() {
            if line.is_empty() {
                after_empty = true;
                continue;
            }
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some((id, language)) = head(line).filter(|_| after_empty) {
                self.finish(current.take(), &mut payload)?;
                let language = match language {
                    Some(language) if !(2..=LONGEST_LANGUAGE).contains(&language.len()) => {
                        return Err("a language of a strange length");
                    }
                    Some(language) => language.to_owned(),
                    None => own.to_owned(),
                };
                current = Some((id, language));
                after_empty = false;
            } else {
                if current.is_none() {
                    return Err("a text without a number");
                }
                if after_empty {
                    payload.push('\n');
                }
                payload.push_str(line);
                payload.push('\n');
                after_empty = false;
            }
        }
        self.finish(current, &mut payload)
    }

    /// Notes a text. One that is there already gets what the later one says first.
    fn finish(&mut self, key: Option<Key>, payload: &mut String) -> Result<(), &'static str> {
        let Some(key) = key else { return Ok(()) };
        let text = std::mem::take(payload);
        if text.is_empty() {
            return Err("a number without a text");
        }
        match self.texts.get_mut(&key) {
            Some(before) => *before = combined(&text, before),
            None => {
                self.keys.push(key.clone());
                self.texts.insert(key, text);
            }
        }
        Ok(())
    }

    fn database(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let mut offsets: BTreeMap<&Key, u64> = BTreeMap::new();
        for key in &self.keys {
            let text = self.texts.get(key).map_or("", String::as_str);
            offsets.insert(key, strings.add(&crate::configure::shell::bytes_of(text)));
        }
        let mut bytes = SIGNATURE.to_vec();
        for number in [0, HEAD, offsets.len() as u64, ITEM] {
            bytes.extend(number.to_le_bytes());
        }
        for ((id, language), offset) in offsets {
            bytes.extend(id);
            let mut name = language.clone().into_bytes();
            name.resize(LONGEST_LANGUAGE + 1, 0);
            bytes.extend(name);
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend(strings.bytes);
        bytes
    }
}

/// `-- NUMBER LANGUAGE`
fn head(line: &str) -> Option<([u8; 16], Option<&str>)> {
    let rest = line.strip_prefix("-- ")?;
    let (digits, rest) = (rest.get(..32)?, rest.get(32..)?);
    let mut id = [0; 16];
    for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
        let digits =
            digits.get(at..at + 2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    match rest.strip_prefix(' ') {
        Some(language) => Some((id, Some(language.trim()))),
        None => rest.is_empty().then_some((id, None)),
    }
}

/// `systemd.pt_BR.catalog` is in `pt_BR`.
fn language_of(name: &str) -> &str {
    let name = name.strip_suffix(".catalog").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((_, language)) if (1..=LONGEST_LANGUAGE).contains(&language.len()) => language,
        _ => "",
    }
}

/// The heads of both and the body of the first that has one.
fn combined(one: &str, other: &str) -> String {
    let split = |text: &str| -> usize {
        let mut at = 0;
        while let Some(end) = text.get(at..).and_then(|rest| rest.find('\n')).filter(|&end| end > 0)
        {
            at += end + 1;
        }
        at
    };
    let (first, first_body) = one.split_at(split(one));
    let (second, second_body) = other.split_at(split(other));
    let body = if first_body.is_empty() { second_body } else { first_body };
    format!("{first}{second}{body}")
}

/// Texts one behind the other, each ended by a zero. A tree by their last bytes finds those that end
/// an earlier one, as systemd's `src/basic/strbuf.c` does: not all, but always the same.
#[derive(Debug)]
struct Strings {
    bytes: Vec<u8>,
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    start: usize,
    length: usize,
    children: BTreeMap<u8, usize>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { bytes: vec![0], nodes: vec![Node::default()] }
    }
}

impl Strings {
    /// Where a text is, which is added unless it is there.
    fn add(&mut self, text: &[u8]) -> u64 {
        let mut at = 0;
        for sign in text.iter().rev().map(Some).chain([None]) {
            let Some(node) = self.nodes.get(at) else { break };
            let end = node.start + node.length;
            let own = self.bytes.get(end.saturating_sub(node.length)..end).unwrap_or_default();
            if sign.is_none() || node.length >= text.len() && own.ends_with(text) {
                return end.saturating_sub(text.len()) as u64;
            }
            match sign.and_then(|sign| node.children.get(sign)) {
                Some(child) => at = *child,
                None => {
                    let new = Node {
                        start: self.bytes.len(),
                        length: text.len(),
                        children: BTreeMap::new(),
                    };
                    self.bytes.extend(text);
                    self.bytes.push(0);
                    let (start, index) = (new.start, self.nodes.len());
                    self.nodes.push(new);
                    if let (Some(node), Some(sign)) = (self.nodes.get_mut(at), sign) {
                        node.children.insert(*sign, index);
                    }
                    return start as u64;
                }
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000000000000000000000000001";

    #[test]
    fn a_later_text_adds_its_head_and_keeps_the_body_of_the_first_only_if_it_has_none() {
        let mut catalog = Catalog::default();
        catalog.read("a.catalog", &format!("# remark\n-- {ID}\nSubject: a\n\nBody.\n")).unwrap();
        catalog.read("b.catalog", &format!("-- {ID}\nDefined-By: b\n")).unwrap();
        catalog.read("b.de.catalog", &format!("-- {ID}\nSubject: c\n")).unwrap();
        let texts: Vec<&str> = catalog.keys.iter().map(|key| catalog.texts[key].as_str()).collect();
        assert_eq!(texts, ["Defined-By: b\nSubject: a\n\nBody.\n", "Subject: c\n"]);
        assert_eq!(catalog.keys[1].1, "de");
        for (text, why) in [
            ("text\n", "a text without a number"),
            (&format!("-- {ID}\n"), "a number without a text"),
            (&format!("-- {ID} x\n"), "a language of a strange length"),
        ] {
            assert_eq!(Catalog::default().read("a.catalog", text), Err(why));
        }
    }

    #[test]
    fn a_text_that_ends_another_is_not_kept_again() {
        let mut strings = Strings::default();
        let places: Vec<u64> = ["abc", "xbc", "bc", "abc", "c", ""]
            .iter()
            .map(|text| strings.add(text.as_bytes()))
            .collect();
        assert_eq!(places, [1, 5, 2, 1, 3, 0]);
        assert_eq!(strings.bytes, b"\0abc\0xbc\0");
    }
}
