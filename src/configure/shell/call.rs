//! A call of a command: its arguments taken apart, what it prints.

use std::collections::BTreeMap;

use super::Stop;

/// One call.
#[derive(Debug)]
pub(in crate::configure) struct Call {
    /// The name that it was called by.
    pub(in crate::configure) name: String,
    pub(in crate::configure) arguments: Vec<String>,
    /// What goes to descriptor 1.
    pub(in crate::configure) out: String,
    /// What goes to descriptor 2.
    pub(in crate::configure) err: String,
}

/// Arguments, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::configure) struct Options {
    given: BTreeMap<&'static str, Vec<String>>,
    /// What is no option.
    pub(in crate::configure) operands: Vec<String>,
}

impl Options {
    /// Whether an option was given, by its long name.
    pub(in crate::configure) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The last value of an option.
    pub(in crate::configure) fn value(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.last().map(String::as_str)
    }

    /// All values of an option.
    pub(in crate::configure) fn values(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }
}

/// An option that a command understands.
#[derive(Clone, Copy)]
struct Known {
    short: Option<char>,
    name: &'static str,
    valued: bool,
}

/// Reads `f force`, `m: mode`, `- no-clobber`.
fn known(text: &'static str) -> Option<Known> {
    let (letter, name) = text.trim().split_once(' ')?;
    let (letter, valued) = match letter.strip_suffix(':') {
        Some(letter) => (letter, true),
        None => (letter, false),
    };
    Some(Known { short: letter.chars().next().filter(|c| *c != '-'), name, valued })
}

impl Call {
    pub(in crate::configure) fn new(name: &str, arguments: &[String]) -> Self {
        Self {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            arguments: arguments.to_vec(),
            out: String::new(),
            err: String::new(),
        }
    }

    /// Says what went wrong; the status of a command that failed.
    pub(in crate::configure) fn fail(&mut self, what: &str) -> i32 {
        self.err.push_str(&format!("{}: {what}\n", self.name));
        1
    }

    /// An argument that this command does not understand.
    pub(in crate::configure) fn unknown(&self, what: &str) -> Stop {
        Stop::unknown(format!("{} {what}", self.name))
    }

    /// Takes the arguments apart as `getopt_long` does. `spec` lists what is understood, separated
    /// by bars: a letter (or `-`) with a colon if it takes a value, and the long name.
    ///
    /// # Errors
    /// [`Stop::Unknown`] for an option that is not listed.
    pub(in crate::configure) fn options(&self, spec: &'static str) -> Result<Options, Stop> {
        let all: Vec<Known> = spec.split('|').filter_map(known).collect();
        let mut options = Options::default();
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            let unknown = || self.unknown(argument);
            if argument == "--" {
                options.operands.extend(arguments.cloned());
                break;
            } else if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let option = all.iter().find(|known| known.name == name).ok_or_else(unknown)?;
                let value = match (option.valued, value) {
                    (true, None) => arguments.next().cloned().ok_or_else(unknown)?,
                    (true, Some(value)) => value,
                    (false, None) => String::new(),
                    (false, Some(_)) => return Err(unknown()),
                };
                options.given.entry(option.name).or_default().push(value);
            } else if argument.len() > 1 && argument.starts_with('-') {
                let mut letters = argument.chars().skip(1);
                while let Some(letter) = letters.next() {
                    let option = all.iter().find(|known| known.short == Some(letter));
                    let option = option.ok_or_else(unknown)?;
                    let mut value = String::new();
                    if option.valued {
                        value = letters.by_ref().collect();
                        if value.is_empty() {
                            value = arguments.next().cloned().ok_or_else(unknown)?;
                        }
                    }
                    options.given.entry(option.name).or_default().push(value);
                }
            } else {
                options.operands.push(argument.clone());
            }
        }
        Ok(options)
    }
}
