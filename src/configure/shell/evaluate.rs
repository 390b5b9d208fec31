//! Walks the syntax tree: lists, pipelines, compound commands, functions; see XCU 2.9.
//!
//! One process does everything, one thing after the other: a pipeline's commands run in turn, each
//! reading what the one before has written.

use std::rc::Rc;

use super::parser::parse;
use super::pattern;
use super::stream::Stream;
use super::syntax::{AndOr, Command, List, Pipeline, Redirect, Word};
use super::{DEEPEST, Flow, Shell, Stop, Variable};

/// What the shell itself knows, besides `special`: signs of other shells, which no program is.
const FOREIGN_WORDS: [&str; 4] = ["[[", "((", "declare", "select"];

impl Shell<'_, '_> {
    /// Runs a whole script, with what it has to do at its end.
    pub(super) fn script(&mut self, text: &str) -> Flow {
        let result = self.text(text);
        let status = match result {
            Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => status,
            Err(Stop::Break(_) | Stop::Continue(_)) => self.state.status,
            Err(stop @ Stop::Unknown(_)) => return Err(stop),
        };
        let Some(command) = self.state.at_exit.take() else { return Ok(status) };
        match self.text(&command) {
            Err(Stop::Exit(status)) => Ok(status),
            Err(stop @ Stop::Unknown(_)) => Err(stop),
            _ => Ok(status),
        }
    }

    /// Runs commands given as text.
    pub(super) fn text(&mut self, text: &str) -> Flow {
        self.world.spend(text.len() / 16)?;
        let list = parse(text).map_err(|error| Stop::unknown(error.to_string()))?;
        self.deeper(|shell| shell.list(&list))
    }

    /// Goes one level deeper while `inner` runs.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Flow) -> Flow {
        if self.depth >= DEEPEST {
            return Err(Stop::unknown("scripts and functions call each other too deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    pub(super) fn list(&mut self, list: &List) -> Flow {
        let mut status = 0;
        for item in &list.0 {
            status = self.and_or(item)?;
        }
        Ok(status)
    }

    fn and_or(&mut self, item: &AndOr) -> Flow {
        if item.background {
            return Err(Stop::unknown("a command in the background"));
        }
        let last = item.rest.len();
        let mut status = self.pipeline(&item.first, last > 0)?;
        for (index, (and, pipeline)) in item.rest.iter().enumerate() {
            if *and == (status == 0) {
                status = self.pipeline(pipeline, index + 1 < last)?;
            }
        }
        Ok(status)
    }

    /// Runs a pipeline. `watched`: somebody looks at its status.
    fn pipeline(&mut self, pipeline: &Pipeline, watched: bool) -> Flow {
        let watched = watched || pipeline.negated;
        self.state.watched += usize::from(watched);
        let result = match pipeline.commands.as_slice() {
            [command] => self.command(command),
            commands => self.piped(commands),
        };
        self.state.watched -= usize::from(watched);
        let mut status = result?;
        if pipeline.negated {
            status = i32::from(status == 0);
        }
        self.state.status = status;
        let compound = !matches!(pipeline.commands.as_slice(), [Command::Simple { .. }]);
        let ends = status != 0 && self.state.errexit && self.state.watched == 0 && !watched;
        match ends && !(compound && pipeline.commands.len() == 1 && !is_subshell(pipeline)) {
            true => Err(Stop::Exit(status)),
            false => Ok(status),
        }
    }

    fn piped(&mut self, commands: &[Command]) -> Flow {
        let mut status = 0;
        let mut input = None;
        for (index, command) in commands.iter().enumerate() {
            let output = Rc::default();
            let before = self.state.clone();
            if let Some(text) = input.take() {
                self.state.streams.insert(0, Stream::input(text));
            }
            if index + 1 < commands.len() {
                self.state.streams.insert(1, Stream::Output(Rc::clone(&output)));
            }
            let result = self.command(command);
            self.state = before;
            status = ended(result)?;
            input = Some(output.take());
        }
        Ok(status)
    }

    /// Runs something in a copy of this shell.
    fn subshell(&mut self, inner: impl FnOnce(&mut Self) -> Flow) -> Flow {
        let before = self.state.clone();
        self.state.at_exit = None;
        let mut status = ended(self.deeper(inner));
        if let (Ok(code), Some(command)) = (&status, self.state.at_exit.take()) {
            let code = *code;
            status = ended(self.text(&command)).map(|_| code);
        }
        self.state = before;
        status
    }

    /// What commands print, without the ends of lines at its end.
    pub(super) fn output_of(&mut self, list: &List) -> Result<String, Stop> {
        let output = Rc::default();
        let status = self.subshell(|shell| {
            shell.state.streams.insert(1, Stream::Output(Rc::clone(&output)));
            shell.list(list)
        })?;
        self.state.status = status;
        let text = output.take();
        Ok(text.trim_end_matches('\n').to_owned())
    }

    fn command(&mut self, command: &Command) -> Flow {
        self.world.spend(1)?;
        match command {
            Command::Simple { assignments, words, redirects } => {
                self.simple(assignments, words, redirects)
            }
            Command::Group(list) => self.list(list),
            Command::Subshell(list) => self.subshell(|shell| shell.list(list)),
            Command::If { branches, otherwise } => self.if_command(branches, otherwise.as_ref()),
            Command::For { name, words, body } => self.for_command(name, words.as_ref(), body),
            Command::While { condition, body, until } => {
                self.while_command(condition, body, *until)
            }
            Command::Case { word, arms } => self.case_command(word, arms),
            Command::Function { name, body } => {
                self.state.functions.insert(name.clone(), Rc::clone(body));
                Ok(0)
            }
            Command::Redirected { command, redirects } => {
                self.redirected(redirects, |shell| shell.command(command))
            }
        }
    }

    /// Runs a condition: its failure ends nothing.
    fn condition(&mut self, list: &List) -> Flow {
        self.state.watched += 1;
        let result = self.list(list);
        self.state.watched -= 1;
        result
    }

    fn if_command(&mut self, branches: &[(List, List)], otherwise: Option<&List>) -> Flow {
        for (condition, body) in branches {
            if self.condition(condition)? == 0 {
                return self.list(body);
            }
        }
        otherwise.map_or(Ok(0), |body| self.list(body))
    }

    fn for_command(&mut self, name: &str, words: Option<&Vec<Word>>, body: &List) -> Flow {
        let values = match words {
            Some(words) => self.expand_all(words)?,
            None => self.state.parameters.clone(),
        };
        let mut status = 0;
        for value in values {
            self.set(name, value);
            match self.round(body)? {
                Some(ended) => status = ended,
                None => break,
            }
        }
        Ok(status)
    }

    fn while_command(&mut self, condition: &List, body: &List, until: bool) -> Flow {
        let mut status = 0;
        while (self.condition(condition)? == 0) != until {
            self.world.spend(1)?;
            match self.round(body)? {
                Some(ended) => status = ended,
                None => break,
            }
        }
        Ok(status)
    }

    /// One round of a loop; nothing when the loop ends with it.
    fn round(&mut self, body: &List) -> Result<Option<i32>, Stop> {
        match self.list(body) {
            Ok(status) => Ok(Some(status)),
            Err(Stop::Break(levels)) if levels > 1 => Err(Stop::Break(levels - 1)),
            Err(Stop::Break(_)) => Ok(None),
            Err(Stop::Continue(levels)) if levels > 1 => Err(Stop::Continue(levels - 1)),
            Err(Stop::Continue(_)) => Ok(Some(0)),
            Err(stop) => Err(stop),
        }
    }

    fn case_command(&mut self, word: &Word, arms: &[(Vec<Word>, List)]) -> Flow {
        let text: Vec<char> = self.expand_one(word)?.chars().collect();
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.expand_pattern(pattern)?;
                self.world.spend(text.len().saturating_mul(pattern.len()) / 16)?;
                if pattern::matches(&pattern, &text) {
                    return self.list(body);
                }
            }
        }
        Ok(0)
    }

    fn simple(&mut self, assigned: &[(String, Word)], words: &[Word], to: &[Redirect]) -> Flow {
        let words = match self.declaration(words)? {
            Some(words) => words,
            None => self.expand_all(words)?,
        };
        let Some((name, arguments)) = words.split_first() else {
            self.state.status = 0;
            for (name, word) in assigned {
                let value = self.expand_one(word)?;
                self.set(name, value);
            }
            let status = self.state.status;
            return self.redirected(to, |_| Ok(status));
        };
        if name == "exec" && arguments.is_empty() {
            return self.redirect(to).map(|done| i32::from(!done));
        }
        let mut before = Vec::new();
        for (name, word) in assigned {
            let value = self.expand_one(word)?;
            before.push((name.clone(), self.state.variables.get(name).cloned()));
            let variable = Variable { value: Some(value), exported: true };
            self.state.variables.insert(name.clone(), variable);
        }
        let result = self.redirected(to, |shell| shell.call(name, arguments));
        for (name, variable) in before.into_iter().rev() {
            match variable {
                Some(variable) => self.state.variables.insert(name, variable),
                None => self.state.variables.remove(&name),
            };
        }
        result
    }

    /// `export`, `local` and `readonly` expand `name=value` as an assignment, without splitting.
    fn declaration(&mut self, words: &[Word]) -> Result<Option<Vec<String>>, Stop> {
        use super::syntax::Part;
        let Some([Part::Plain(name)]) = words.first().map(Vec::as_slice) else { return Ok(None) };
        if !matches!(name.as_str(), "export" | "local" | "readonly") {
            return Ok(None);
        }
        let mut all = vec![name.clone()];
        for word in words.iter().skip(1) {
            match word.first() {
                Some(Part::Plain(start)) if start.contains('=') => all.push(self.expand_one(word)?),
                _ => all.extend(self.expand_all(std::slice::from_ref(word))?),
            }
        }
        Ok(Some(all))
    }

    /// Runs a command by its name: a function, one of the shell's own, a program.
    pub(in crate::configure) fn call(&mut self, name: &str, arguments: &[String]) -> Flow {
        if let Some(body) = self.state.functions.get(name).cloned() {
            return self.function(&body, arguments);
        }
        if let Some(result) = self.special(name, arguments) {
            return result;
        }
        if FOREIGN_WORDS.contains(&name) {
            return Err(Stop::unknown(name));
        }
        self.deeper(|shell| shell.program(name, arguments))
    }

    fn function(&mut self, body: &Command, arguments: &[String]) -> Flow {
        let before = std::mem::replace(&mut self.state.parameters, arguments.to_vec());
        self.state.hidden.push(std::collections::BTreeMap::new());
        let result = self.deeper(|shell| shell.command(body));
        for (name, variable) in self.state.hidden.pop().unwrap_or_default() {
            match variable {
                Some(variable) => self.state.variables.insert(name, variable),
                None => self.state.variables.remove(&name),
            };
        }
        self.state.parameters = before;
        match result {
            Err(Stop::Return(status)) => Ok(status),
            result => result,
        }
    }

    /// Runs another script in a shell of its own.
    pub(in crate::configure) fn run_script(
        &mut self,
        name: &str,
        script: &str,
        arguments: &[String],
    ) -> Flow {
        let before = self.state.clone();
        self.state.variables.retain(|_, variable| variable.exported);
        self.state.functions.clear();
        self.state.hidden.clear();
        (self.state.errexit, self.state.nounset, self.state.noglob) = (false, false, false);
        (self.state.watched, self.state.with_questions) = (0, false);
        self.state.at_exit = None;
        self.state.name = name.to_owned();
        self.state.parameters = arguments.to_vec();
        let result = self.deeper(|shell| shell.script(script));
        self.state = before;
        result
    }
}

fn is_subshell(pipeline: &Pipeline) -> bool {
    matches!(pipeline.commands.as_slice(), [Command::Subshell(_)])
}

/// How a shell within the shell has ended.
fn ended(result: Flow) -> Flow {
    match result {
        Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => Ok(status),
        Err(Stop::Break(_) | Stop::Continue(_)) => Ok(0),
        Err(stop @ Stop::Unknown(_)) => Err(stop),
    }
}
