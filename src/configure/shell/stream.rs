//! Where the descriptors of a script lead.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Flow, Shell, Stop};
use crate::configure::shell::syntax::{Redirect, Target};
use crate::configure::shell::text_of;
use crate::tree::InodeId;

/// What a descriptor leads to.
#[derive(Debug, Clone)]
pub(super) enum Stream {
    /// `/dev/null`, or an end of input.
    Nothing,
    /// What people see.
    Log,
    /// Text to be read, from a place on.
    Input(Rc<RefCell<Input>>),
    /// Text that somebody collects.
    Output(Rc<RefCell<String>>),
    /// A file that is written, always at its end.
    File(InodeId),
}

/// Text that is being read.
#[derive(Debug)]
pub(super) struct Input {
    text: String,
    at: usize,
}

impl Stream {
    pub(super) fn input(text: String) -> Self {
        Self::Input(Rc::new(RefCell::new(Input { text, at: 0 })))
    }
}

impl Shell<'_, '_> {
    /// All that is left of the input.
    pub(in crate::configure) fn read_all(&mut self) -> String {
        match self.state.streams.get(&0) {
            Some(Stream::Input(input)) => {
                let mut input = input.borrow_mut();
                let rest = input.text.get(input.at..).unwrap_or_default().to_owned();
                input.at = input.text.len();
                rest
            }
            _ => String::new(),
        }
    }

    /// The next line of the input with its end, if it has one; nothing at the end.
    pub(super) fn read_line(&mut self) -> String {
        match self.state.streams.get(&0) {
            Some(Stream::Input(input)) => {
                let mut input = input.borrow_mut();
                let rest = input.text.get(input.at..).unwrap_or_default();
                let line = rest.split_inclusive('\n').next().unwrap_or_default().to_owned();
                input.at += line.len();
                line
            }
            _ => String::new(),
        }
    }

    /// Writes to a descriptor.
    pub(in crate::configure) fn write(&mut self, descriptor: u32, text: &str) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        self.world.spend(text.len() / 64)?;
        match self.state.streams.get(&descriptor) {
            Some(Stream::Log) => self.world.printed.push_str(text),
            Some(Stream::Output(output)) => output.borrow_mut().push_str(text),
            Some(Stream::File(id)) => {
                let id = *id;
                self.world.append(id, text).map_err(|_| Stop::unknown("a file grows too large"))?;
            }
            Some(Stream::Nothing | Stream::Input(_)) | None => {}
        }
        Ok(())
    }

    /// Runs something with descriptors led elsewhere, and leads them back. Where that fails, the
    /// status is 1 and nothing runs.
    pub(super) fn redirected(
        &mut self,
        redirects: &[Redirect],
        inner: impl FnOnce(&mut Self) -> Flow,
    ) -> Flow {
        let before = self.state.streams.clone();
        let result = match self.redirect(redirects) {
            Ok(true) => inner(self),
            Ok(false) => Ok(1),
            Err(stop) => Err(stop),
        };
        self.state.streams = before;
        result
    }

    /// Leads descriptors elsewhere for good; returns whether that was possible.
    pub(super) fn redirect(&mut self, redirects: &[Redirect]) -> Result<bool, Stop> {
        for Redirect { descriptor, target } in redirects {
            let stream = match target {
                Target::Here(text) => {
                    let text = text.get().cloned().unwrap_or_default();
                    Stream::input(self.expand_quoted(&text)?)
                }
                Target::Same(word) => match self.expand_one(word)?.as_str() {
                    "-" => Stream::Nothing,
                    number => {
                        let number = number.parse().unwrap_or(u32::MAX);
                        self.state.streams.get(&number).cloned().unwrap_or(Stream::Nothing)
                    }
                },
                Target::Read(word) | Target::Write(word) | Target::Append(word) => {
                    let path = self.expand_one(word)?;
                    match self.open_stream(target, &path) {
                        Some(stream) => stream,
                        None => {
                            self.write(2, &format!("sh: cannot open {path}\n"))?;
                            return Ok(false);
                        }
                    }
                }
            };
            self.state.streams.insert(*descriptor, stream);
        }
        Ok(true)
    }

    fn open_stream(&mut self, target: &Target, path: &str) -> Option<Stream> {
        match path {
            "/dev/null" => return Some(Stream::Nothing),
            "/dev/stderr" => return self.state.streams.get(&2).cloned(),
            "/dev/stdout" => return self.state.streams.get(&1).cloned(),
            _ => {}
        }
        let place = self.world.resolve(&self.state.directory, path, true).ok()?;
        if matches!(target, Target::Read(_)) {
            return self.world.read(&place).ok().map(|bytes| Stream::input(text_of(&bytes)));
        }
        let mode = 0o666 & !self.state.umask;
        let empty = matches!(target, Target::Write(_));
        self.world.open(&place, mode, empty).ok().map(Stream::File)
    }
}
