//! The choice of Alpine packages: ours against the solver tests of apk-tools, versions 2 and 3.
//!
//! A test of theirs is a repository or more, a request, and what apk says. Ours chooses for an empty
//! system, so tests that change one are out of scope, each with its reason. The report of all of them
//! is kept in `snapshots/`.

use std::collections::BTreeSet;
use std::path::Path;

use osbuilder::package::apk::checksum::Checksum;
use osbuilder::package::apk::index::Index;
use osbuilder::package::apk::relation;
use osbuilder::resolve::apk::world::Offer;
use osbuilder::resolve::apk::{Failure, Request, choose};

use crate::judge;

/// A test of theirs.
#[derive(Debug, Default)]
struct Test {
    /// Tag and file.
    repositories: Vec<(Option<String>, String)>,
    is_installed: bool,
    world: Vec<String>,
    command: Vec<String>,
    options: Vec<String>,
    expected: Vec<String>,
}

impl Test {
    /// Reads both forms: that of version 2 names everything by options, that of 3 by sections.
    fn parse(text: &str) -> Self {
        let mut test = Self::default();
        let mut section = String::new();
        for line in text.lines() {
            let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
            if line.starts_with('@') && !line.starts_with("@ ") {
                section = head.to_owned();
                if !rest.is_empty() {
                    test.line(&section, rest);
                }
            } else {
                test.line(&section, line);
            }
        }
        test
    }

    fn line(&mut self, section: &str, line: &str) {
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        match section {
            "" => assert_eq!(line, ""),
            "@EXPECT" => self.expected.push(line.trim_end().to_owned()),
            "@REPO" => {
                let first = words.next().unwrap_or_default();
                match first.strip_prefix('@') {
                    Some(tag) => {
                        self.repositories.push((Some(tag.to_owned()), words.next().unwrap()));
                    }
                    None => self.repositories.push((None, first)),
                }
            }
            "@WORLD" => self.world.extend(words),
            "@INSTALLED" => self.is_installed = true,
            "@CACHE" => self.options.push("@CACHE".to_owned()),
            "@ARGS" => match line.split_once(' ') {
                Some(("--test-repo", file)) => match file.trim().split_once(':') {
                    Some((tag, file)) => {
                        self.repositories.push((Some(tag.to_owned()), file.to_owned()));
                    }
                    None => self.repositories.push((None, file.trim().to_owned())),
                },
                Some(("--test-instdb", _)) => self.is_installed = true,
                Some(("--test-world", world)) => {
                    self.world.extend(world.split_ascii_whitespace().map(str::to_owned));
                }
                _ => {
                    for word in words {
                        let list = if word.starts_with('-') {
                            &mut self.options
                        } else {
                            &mut self.command
                        };
                        list.push(word);
                    }
                }
            },
            other => panic!("{other}"),
        }
    }

    /// Why a guest never gets there.
    fn out_of_scope(&self) -> Option<&'static str> {
        let verb = self.command.first().map(String::as_str).unwrap_or_default();
        let has = |option: &str| self.options.iter().any(|known| known.starts_with(option));
        match verb {
            _ if self.is_installed => Some("changes a system that is there"),
            "del" | "fix" => Some("changes a system that is there"),
            _ if has("--no-network") || has("@CACHE") => Some("is about apk's cache of packages"),
            _ if has("--force") => Some("installs what cannot work"),
            _ if has("-t") || has("--virtual") => Some("makes a virtual package"),
            "add" | "upgrade" => None,
            _ => Some("asks for no packages"),
        }
    }

    /// What apk installs, in its order; none where it fails.
    fn installs(&self) -> Option<Vec<String>> {
        if self.expected.iter().any(|line| line.starts_with("ERROR")) {
            return None;
        }
        let install = |line: &String| {
            let (_, rest) = line.strip_prefix('(')?.split_once(") Installing ")?;
            let (name, version) = rest.split_once(" (")?;
            let name = name.split('@').next()?;
            Some(format!("{name} {}", version.trim_end_matches(')')))
        };
        Some(self.expected.iter().filter_map(install).collect())
    }

    /// What we install.
    fn ours(&self, folder: &Path) -> Result<Vec<String>, String> {
        let read = |(_, file): &(_, String)| {
            canonical(&fs_err::read_to_string(folder.join(file)).unwrap())
        };
        let texts: Vec<_> = self.repositories.iter().map(read).collect();
        let parse = |text| Index::parse(text).map_err(|error| format!("the index: {error}"));
        let indexes: Vec<_> =
            texts.iter().map(|text| parse(text.as_bytes())).collect::<Result<_, _>>()?;
        let offers: Vec<_> = self
            .repositories
            .iter()
            .zip(&indexes)
            .map(|((tag, name), index)| Offer { name, tag: tag.as_deref(), index })
            .collect();
        let words = self.world.iter().chain(self.command.iter().skip(1)).map(String::as_str);
        let parse = |word| relation::parse_tagged(word).map_err(|error| format!("{word}: {error}"));
        let asked: Vec<_> = words.map(parse).collect::<Result<_, _>>()?;
        let request = Request { architecture: "x86_64", asked: &asked };
        match choose(&request, &offers) {
            Ok(chosen) => {
                let name = |c: &osbuilder::resolve::apk::world::Candidate<'_>| {
                    format!("{} {}", c.info.name, c.info.version)
                };
                Ok(chosen.iter().map(name).collect())
            }
            Err(Failure::Conflict(conflict)) => Err(conflict.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// What apk takes from an index that was written by hand: identities end in bits that no digest leaves
/// over or are missing, two packages have one identity and are the same to apk, a list stands in two
/// lines. No tool writes such indexes, and here they are refused.
fn canonical(index: &str) -> String {
    let mut identities = BTreeSet::new();
    let mut text = String::new();
    for stanza in index.split("\n\n") {
        let mut fields: Vec<(char, String)> = Vec::new();
        for line in stanza.lines() {
            let (letter, value) = (line.chars().next().unwrap_or_default(), line.get(2..));
            let value = value.unwrap_or_default();
            match fields.iter_mut().find(|(known, _)| *known == letter) {
                Some((_, list)) => list.extend([" ", value]),
                None if letter == 'C' => fields.push((letter, identity(value))),
                None => fields.push((letter, value.to_owned())),
            }
        }
        let own = fields.iter().find(|(letter, _)| *letter == 'C').map(|(_, value)| value.clone());
        let own = own.unwrap_or_else(|| {
            let invented = Checksum::sha1(stanza.as_bytes()).unwrap().to_string();
            fields.push(('C', invented.clone()));
            invented
        });
        if fields.len() > 1 && identities.insert(own) {
            fields.iter().for_each(|(letter, value)| text.push_str(&format!("{letter}:{value}\n")));
            text.push('\n');
        }
    }
    text
}

/// The last letter of twenty bytes in base64 stands for four bits and two zeros.
fn identity(text: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (begin, last) = text.trim_end_matches('=').split_at(28);
    let number = LETTERS.find(last).unwrap() & !3;
    format!("{begin}{}=", &LETTERS[number..=number])
}

/// One line of the report.
fn judged(name: &str, folder: &Path) -> String {
    let test = Test::parse(&fs_err::read_to_string(folder.join(name)).unwrap());
    if let Some(reason) = test.out_of_scope() {
        return format!("out of scope: it {reason}");
    }
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    match (test.installs(), test.ours(folder)) {
        (Some(theirs), Ok(ours)) if theirs == ours => "the same, in the same order".to_owned(),
        (Some(theirs), Ok(ours)) if sorted(&theirs) == sorted(&ours) => {
            format!("OTHER ORDER: apk {theirs:?}, here {ours:?}")
        }
        (None, Err(_)) => "refused by both".to_owned(),
        (theirs, ours) => format!("DIFFERS: apk {theirs:?}, here {ours:?}"),
    }
}

#[test]
fn packages_are_chosen_as_apk_s_own_tests_say() {
    let Some(folder) = judge::data("conformance/apk-tools") else { return };
    let mut report = String::new();
    let (mut count, mut other) = (0, Vec::new());
    for suite in ["test", "v3/test/solver"] {
        let folder = folder.join(suite);
        let names = fs_err::read_dir(&folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".test"));
        names.sort();
        for name in names {
            let line = judged(&name, &folder);
            if line.chars().next().is_some_and(char::is_uppercase) {
                other.push(format!("{suite}/{name}: {line}"));
            }
            report.push_str(&format!("{suite}/{name}: {line}\n"));
            count += 1;
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert_eq!(count, 201);
    insta::assert_snapshot!(report);
}
