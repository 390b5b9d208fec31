//! Runs one program of a package and tells what it prints, line by line.
//!
//! In: the command, whose it is; out: nothing, or the error that a person can act on: package,
//! script, how it ended, its last lines. Every line goes to the listener as it comes.

use super::Error;
use crate::event::{Event, Listener};
use crate::package::PackageName;
use crate::sandbox::{Command, Sandbox};
use crate::tree::escape;

/// How many lines of a failed script an error quotes.
const QUOTED: usize = 20;
/// A line longer than this is shown in pieces.
const LONGEST_LINE: usize = 4096;

/// A script, by the names that people know it by.
pub(super) struct Script<'a> {
    /// Whose it is.
    pub(super) package: &'a PackageName,
    /// Which one: `postinst`, `.post-install`.
    pub(super) name: &'static str,
}

impl Script<'_> {
    /// Runs it to its end.
    pub(super) fn run(
        &self,
        sandbox: &mut Sandbox,
        command: &Command<'_>,
        listener: Listener<'_>,
    ) -> Result<(), Error> {
        let mut lines = Lines::new(listener, self.package.as_str(), self.name);
        let result = sandbox.run(command, &mut |bytes| lines.take(bytes));
        lines.end();
        let (package, script) = (self.package.clone(), self.name);
        let output = lines.last.join("\n  ");
        match result {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(Error::ScriptFailed { package, script, status, output }),
            Err(source) => Err(Error::ScriptNotRun { package, script, output, source }),
        }
    }
}

/// Cuts what a script prints into lines.
pub(super) struct Lines<'a> {
    listener: Listener<'a>,
    package: &'a str,
    script: &'static str,
    /// The line that has not ended yet.
    open: Vec<u8>,
    /// The last lines, escaped.
    last: Vec<String>,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(
        listener: Listener<'a>,
        package: &'a str,
        script: &'static str,
    ) -> Self {
        Self { listener, package, script, open: Vec::new(), last: Vec::new() }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || self.open.len() >= LONGEST_LINE {
                self.end();
            }
            if byte != b'\n' {
                self.open.push(byte);
            }
        }
    }

    /// Ends a line, if one is open.
    pub(super) fn end(&mut self) {
        let line = escape(&std::mem::take(&mut self.open));
        if line.is_empty() {
            return;
        }
        let (package, script) = (self.package.to_owned(), self.script.to_owned());
        (self.listener)(Event::ScriptOutput { package, script, line: line.clone() });
        if self.last.len() == QUOTED {
            self.last.remove(0);
        }
        self.last.push(line);
    }
}
