//! A shell for maintainer scripts that runs no program: over a tree in memory, with commands of its
//! own, for packages whose programs this host cannot run.
//!
//! In: a script, its arguments and environment, a [`World`]; out: how it ended, the changed tree.
//! The language is POSIX's (XCU chapter 2) with `local`; commands are those that scripts use, in the
//! forms in which they use them. What is not understood (a program, an option, a sign) stops the
//! script with [`Stop::Unknown`], and the caller then undoes all that it did: a script runs whole or
//! not at all. Scripts may be hostile: steps, bytes and depth are bounded, paths lead inside the
//! tree only, and nothing panics. Which commands exist beyond the shell's own is the caller's
//! business ([`Finder`]).
//!
//! Text is kept as one `char` for each byte, so that any bytes survive and lengths are as in C.

mod arithmetic;
mod attributes;
mod call;
mod commands;
mod condition;
mod copy;
mod evaluate;
mod expand;
mod files;
mod grep;
mod here;
mod links;
mod parser;
mod pattern;
mod print;
mod program;
mod regex;
mod sed;
mod special;
mod stream;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
mod word;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) use call::{Call, Options};
pub(super) use commands::find as find_command;
pub(super) use world::{Fault, World};

use crate::tree::TreePath;
use stream::Stream;
use syntax::Command;

/// A command's code: it reads its arguments, changes the world, prints, and returns its status.
pub(super) type Handler = fn(&mut Shell<'_, '_>, &mut Call) -> Flow;
/// Finds a command by the name of its program.
pub(super) type Finder = fn(&str) -> Option<Handler>;
/// The status of a command, or why the script goes on elsewhere.
pub(super) type Flow = Result<i32, Stop>;

/// Scripts may call scripts and functions no deeper.
const DEEPEST: usize = 100;

/// Why a command does not simply end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// `exit`
    Exit(i32),
    /// `return`
    Return(i32),
    /// `break`, out of so many loops.
    Break(usize),
    /// `continue`
    Continue(usize),
    /// Something that is not understood: what, for people.
    Unknown(String),
}

impl Stop {
    pub(super) fn unknown(what: impl Into<String>) -> Self {
        Self::Unknown(what.into())
    }
}

/// A variable.
#[derive(Debug, Clone, Default)]
struct Variable {
    /// `None`: known as exported or local, but not set.
    value: Option<String>,
    exported: bool,
}

/// What a subshell has a copy of.
#[derive(Debug, Clone, Default)]
struct State {
    variables: BTreeMap<String, Variable>,
    functions: BTreeMap<String, Rc<Command>>,
    parameters: Vec<String>,
    /// `$0`
    name: String,
    directory: TreePath,
    umask: u16,
    status: i32,
    streams: BTreeMap<u32, Stream>,
    errexit: bool,
    nounset: bool,
    noglob: bool,
    /// What `trap … EXIT` will run.
    at_exit: Option<String>,
    /// Commands whose failure is looked at, so that `set -e` does not count.
    watched: usize,
    /// Variables that functions hide, the innermost last.
    hidden: Vec<BTreeMap<String, Option<Variable>>>,
    /// Whether the commands of debconf are known: a script has read them in.
    with_questions: bool,
}

/// A shell at work on a world.
pub(super) struct Shell<'s, 'w> {
    pub(super) world: &'s mut World<'w>,
    find: Finder,
    state: State,
    depth: usize,
}

/// Runs a file that ought to be a script of the shell, as the kernel would start it.
pub(super) fn run_file(
    world: &mut World<'_>,
    find: Finder,
    file: &[u8],
    arguments: &[&str],
    environment: &[String],
) -> Flow {
    match program::is_shell(file) {
        Some(false) => run(world, find, file, arguments, environment),
        Some(true) => run(world, find, &[b"set -e;", file].concat(), arguments, environment),
        None => {
            let line = file.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let line = line.get(..line.len().min(60)).unwrap_or_default();
            Err(Stop::unknown(format!("a program that begins with {:?}", text_of(line))))
        }
    }
}

/// Whether a pattern of the shell matches a whole text.
pub(super) fn is_match(pattern: &str, text: &str) -> bool {
    let signs: Vec<_> = pattern.chars().map(|c| (c, false)).collect();
    pattern::matches(&signs, &text.chars().collect::<Vec<_>>())
}

/// Runs a script with `arguments[0]` as its name.
pub(super) fn run(
    world: &mut World<'_>,
    find: Finder,
    script: &[u8],
    arguments: &[&str],
    environment: &[String],
) -> Flow {
    let variables = environment.iter().filter_map(|line| line.split_once('='));
    let variable = |value: &str| Variable { value: Some(value.to_owned()), exported: true };
    let variables = variables.map(|(name, value)| (name.to_owned(), variable(value))).collect();
    let (name, parameters) = match arguments.split_first() {
        Some((name, rest)) => (*name, rest.iter().map(|&text| text.to_owned()).collect()),
        None => ("sh", Vec::new()),
    };
    let state = State {
        variables,
        parameters,
        name: name.to_owned(),
        umask: 0o022,
        streams: BTreeMap::from([(0, Stream::Nothing), (1, Stream::Log), (2, Stream::Log)]),
        ..State::default()
    };
    let mut shell = Shell { world, find, state, depth: 0 };
    shell.script(&text_of(script))
}

/// Whether text can be read as a script.
pub(super) fn can_be_read(text: &[u8]) -> bool {
    parser::parse(&text_of(text)).is_ok()
}

/// Bytes as text: one `char` each.
pub(super) fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Text as bytes; what is no byte becomes a question mark.
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}
