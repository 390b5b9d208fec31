//! The syntax tree of a shell script.
//!
//! Made by `parser`, walked by `evaluate` and `expand`; the words are those of POSIX.1-2017, XCU
//! chapter 2. Text is one `char` per byte of the script, so that any bytes survive.

use std::cell::OnceCell;
use std::rc::Rc;

/// Commands, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::configure) struct List(pub(super) Vec<AndOr>);

/// Pipelines joined by `&&` and `||`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AndOr {
    pub(super) first: Pipeline,
    /// Whether each further one runs on success (`&&`) or on failure (`||`).
    pub(super) rest: Vec<(bool, Pipeline)>,
    /// Ended by `&`.
    pub(super) background: bool,
}

/// Commands joined by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) commands: Vec<Command>,
}

/// One command of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::configure) enum Command {
    /// Assignments, a name and its arguments.
    Simple { assignments: Vec<(String, Word)>, words: Vec<Word>, redirects: Vec<Redirect> },
    /// `{ …; }`
    Group(List),
    /// `( … )`
    Subshell(List),
    /// `if`, each condition with what it guards.
    If { branches: Vec<(List, List)>, otherwise: Option<List> },
    /// `for`; without words, over the parameters.
    For { name: String, words: Option<Vec<Word>>, body: List },
    /// `while`, or `until`.
    While { condition: List, body: List, until: bool },
    /// `case`
    Case { word: Word, arms: Vec<(Vec<Word>, List)> },
    /// The definition of a function.
    Function { name: String, body: Rc<Self> },
    /// A compound command with redirections of its own.
    Redirected { command: Box<Self>, redirects: Vec<Redirect> },
}

/// A word: pieces that are expanded and joined.
pub(super) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it is written, in which patterns count.
    Plain(String),
    /// Text in which nothing counts.
    Literal(String),
    /// What stands in double quotes.
    Quoted(Word),
    /// `$name`, `${name}` and what can be done to it.
    Parameter { name: String, change: Change },
    /// `$( … )`
    Output(List),
    /// `$(( … ))`
    Arithmetic(Word),
}

/// What is done to the value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Plain,
    /// `${#name}`
    Length,
    /// `-`, `=`, `?`, `+`: what an unset one gives; with a colon, an empty one too.
    Unset { kind: char, or_empty: bool, word: Word },
    /// `#`, `##`, `%`, `%%`: a pattern is cut off the start or the end.
    Cut { at_end: bool, longest: bool, pattern: Word },
}

/// A redirection of one descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) descriptor: u32,
    pub(super) target: Target,
}

/// Where a descriptor leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `<`
    Read(Word),
    /// `>` and `>|`
    Write(Word),
    /// `>>`
    Append(Word),
    /// `<&` and `>&`: another descriptor, or `-`.
    Same(Word),
    /// `<<`; the text follows on later lines.
    Here(Rc<OnceCell<Word>>),
}
