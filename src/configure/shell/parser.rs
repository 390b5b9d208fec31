//! Reads a shell script into its syntax tree.
//!
//! In: text, one `char` per byte; out: a [`List`], or where and why it cannot be read. Never panics,
//! whatever the text: fuzzed. The grammar is that of POSIX.1-2017, XCU 2.10, without `&`'s meaning;
//! what only other shells know is an error, or a command that nobody knows.

use std::rc::Rc;

use super::here::Pending;
use super::syntax::{AndOr, Command, List, Part, Pipeline, Redirect, Target, Word};

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct SyntaxError {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// Compound commands and substitutions may lie in each other no deeper.
const DEEPEST: usize = 60;

/// A script that is being read.
pub(super) struct Parser<'a> {
    pub(super) text: &'a [char],
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) pending: Vec<Pending>,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Reads a whole script.
pub(super) fn parse(text: &str) -> Parsed<List> {
    parse_nested(text, 0)
}

/// Reads a script that lies `depth` deep in another one.
pub(super) fn parse_nested(text: &str, depth: usize) -> Parsed<List> {
    let text: Vec<char> = text.chars().collect();
    let mut parser = Parser { text: &text, at: 0, depth, pending: Vec::new() };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(_) => Err(parser.error("a word or sign that nothing opens")),
    }
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn starts(&self, sign: &str) -> bool {
        sign.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    /// Steps over a sign if it comes next.
    pub(super) fn take(&mut self, sign: &str) -> bool {
        let found = self.starts(sign);
        if found {
            self.at += sign.chars().count();
        }
        found
    }

    pub(super) fn error(&self, what: &'static str) -> SyntaxError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        SyntaxError { line: 1 + before.iter().filter(|&&c| c == '\n').count(), what }
    }

    /// Goes one level deeper while `inner` reads.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            return Err(self.error("commands lie too deep in each other"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Steps over blanks, joined lines and comments.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.starts("\\\n") => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Steps over one end of line, and over the here-documents that follow it.
    fn newline(&mut self) -> Parsed<bool> {
        if !self.take("\n") {
            return Ok(false);
        }
        for pending in std::mem::take(&mut self.pending) {
            self.here_document(&pending)?;
        }
        Ok(true)
    }

    fn newlines(&mut self) -> Parsed<()> {
        self.blanks();
        while self.newline()? {
            self.blanks();
        }
        Ok(())
    }

    /// Commands, up to one of the reserved words or signs in `ends`, or the end of the text.
    pub(super) fn list(&mut self, ends: &[&str]) -> Parsed<List> {
        self.nested(|parser| {
            let mut items = Vec::new();
            loop {
                parser.newlines()?;
                if parser.peek().is_none() || parser.is_end(ends) {
                    return Ok(List(items));
                }
                let mut item = parser.and_or()?;
                parser.blanks();
                if parser.starts("&") && !parser.starts("&&") {
                    parser.at += 1;
                    item.background = true;
                } else if parser.starts(";") && !parser.starts(";;") {
                    parser.at += 1;
                } else if parser.peek().is_some_and(|c| c != '\n') && !parser.is_end(ends) {
                    return Err(parser.error("a command goes on where it should end"));
                }
                items.push(item);
            }
        })
    }

    fn is_end(&self, ends: &[&str]) -> bool {
        ends.iter().any(|end| match *end {
            ")" | ";;" => self.starts(end),
            word => self.is_reserved(word),
        })
    }

    /// Whether a reserved word comes next, and ends there.
    fn is_reserved(&self, word: &str) -> bool {
        let after = self.text.get(self.at + word.len());
        self.starts(word) && after.is_none_or(|c| " \t\n;&|<>()".contains(*c))
    }

    fn reserved(&mut self, word: &'static str, what: &'static str) -> Parsed<()> {
        self.newlines()?;
        match self.is_reserved(word) {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => Err(self.error(what)),
        }
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let and = self.take("&&");
            if !and && !self.take("||") {
                return Ok(AndOr { first, rest, background: false });
            }
            self.newlines()?;
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.blanks();
        let mut negated = false;
        while self.is_reserved("!") {
            self.at += 1;
            negated = !negated;
            self.blanks();
        }
        let mut commands = vec![self.command()?];
        self.blanks();
        while self.starts("|") && !self.starts("||") {
            self.at += 1;
            self.newlines()?;
            commands.push(self.command()?);
            self.blanks();
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Parsed<Command> {
        self.blanks();
        let Some(command) = self.nested(Self::compound)? else {
            return self.simple();
        };
        let mut redirects = Vec::new();
        self.blanks();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
            self.blanks();
        }
        Ok(match redirects.is_empty() {
            true => command,
            false => Command::Redirected { command: Box::new(command), redirects },
        })
    }

    fn compound(&mut self) -> Parsed<Option<Command>> {
        const OPENING: [&str; 6] = ["{", "if", "for", "while", "until", "case"];
        if self.take("(") {
            let list = self.list(&[")"])?;
            return self.close(")").map(|()| Some(Command::Subshell(list)));
        }
        let Some(word) = OPENING.into_iter().find(|word| self.is_reserved(word)) else {
            return Ok(None);
        };
        self.at += word.len();
        match word {
            "{" => {
                let list = self.list(&["}"])?;
                self.reserved("}", "a group does not end")?;
                Ok(Some(Command::Group(list)))
            }
            "if" => self.if_command().map(Some),
            "for" => self.for_command().map(Some),
            "case" => self.case_command().map(Some),
            _ => {
                let condition = self.list(&["do"])?;
                let body = self.body()?;
                Ok(Some(Command::While { condition, body, until: word == "until" }))
            }
        }
    }

    pub(super) fn close(&mut self, sign: &str) -> Parsed<()> {
        if self.take(sign) { Ok(()) } else { Err(self.error("a parenthesis does not close")) }
    }

    fn body(&mut self) -> Parsed<List> {
        self.reserved("do", "a loop has no `do`")?;
        let body = self.list(&["done"])?;
        self.reserved("done", "a loop has no `done`")?;
        Ok(body)
    }

    fn if_command(&mut self) -> Parsed<Command> {
        let mut branches = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.reserved("then", "an `if` has no `then`")?;
            branches.push((condition, self.list(&["elif", "else", "fi"])?));
            if self.is_reserved("elif") {
                self.at += 4;
                continue;
            }
            let mut otherwise = None;
            if self.is_reserved("else") {
                self.at += 4;
                otherwise = Some(self.list(&["fi"])?);
            }
            self.reserved("fi", "an `if` has no `fi`")?;
            return Ok(Command::If { branches, otherwise });
        }
    }

    fn for_command(&mut self) -> Parsed<Command> {
        self.blanks();
        let name = self.name().ok_or_else(|| self.error("a `for` has no variable"))?;
        self.newlines()?;
        let mut words = None;
        if self.is_reserved("in") {
            self.at += 2;
            let mut all = Vec::new();
            self.blanks();
            while let Some(word) = self.word()? {
                all.push(word);
                self.blanks();
            }
            words = Some(all);
        }
        self.blanks();
        self.take(";");
        let body = self.body()?;
        Ok(Command::For { name, words, body })
    }

    fn case_command(&mut self) -> Parsed<Command> {
        self.blanks();
        let word = self.word()?.ok_or_else(|| self.error("a `case` has no word"))?;
        self.reserved("in", "a `case` has no `in`")?;
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.is_reserved("esac") {
                self.at += 4;
                return Ok(Command::Case { word, arms });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                let no_pattern = self.error("an arm of a `case` has no pattern");
                patterns.push(self.word()?.ok_or(no_pattern)?);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            self.close(")")?;
            let body = self.list(&[";;", "esac"])?;
            self.take(";;");
            arms.push((patterns, body));
        }
    }

    /// A name of a variable or function, if one comes next.
    pub(super) fn name(&mut self) -> Option<String> {
        let first = self.peek().filter(|c| c.is_ascii_alphabetic() || *c == '_')?;
        let mut name = String::from(first);
        self.at += 1;
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.at += 1;
        }
        Some(name)
    }

    fn simple(&mut self) -> Parsed<Command> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                assignments.push(assignment);
                continue;
            }
            let Some(word) = self.word()? else { break };
            words.push(word);
            if words.len() == 1 && assignments.is_empty() && redirects.is_empty() {
                self.blanks();
                if let Some(name) = function_name(&words).filter(|_| self.starts("(")) {
                    return self.function(name);
                }
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.error("a command is missing"));
        }
        Ok(Command::Simple { assignments, words, redirects })
    }

    fn function(&mut self, name: String) -> Parsed<Command> {
        self.at += 1;
        self.blanks();
        self.close(")")?;
        self.newlines()?;
        let body = Rc::new(self.nested(Self::command)?);
        Ok(Command::Function { name, body })
    }

    fn assignment(&mut self) -> Parsed<Option<(String, Word)>> {
        let start = self.at;
        if let Some(name) = self.name()
            && self.take("=")
        {
            return Ok(Some((name, self.word()?.unwrap_or_default())));
        }
        self.at = start;
        Ok(None)
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        let given = digits.parse().ok();
        let Some(sign) = ["<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"]
            .into_iter()
            .find(|s| self.take(s))
        else {
            self.at = start;
            return Ok(None);
        };
        let descriptor = given.unwrap_or(if sign.starts_with('<') { 0 } else { 1 });
        self.blanks();
        if sign.starts_with("<<") {
            let text = self.here_mark(sign == "<<-")?;
            return Ok(Some(Redirect { descriptor, target: Target::Here(text) }));
        }
        let word = self.word()?.ok_or_else(|| self.error("a redirection leads nowhere"))?;
        let target = match sign {
            "<" => Target::Read(word),
            ">>" => Target::Append(word),
            "<&" | ">&" => Target::Same(word),
            ">" | ">|" => Target::Write(word),
            _ => return Err(self.error("`<>` is not understood")),
        };
        Ok(Some(Redirect { descriptor, target }))
    }
}

/// The name that a first word would give a function.
fn function_name(words: &[Word]) -> Option<String> {
    match words {
        [word] => match word.as_slice() {
            [Part::Plain(name)] => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
