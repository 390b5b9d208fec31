//! Scripts after whose failure rpm goes on: what is said of them, and whether a later build may take
//! over the tree that they leave.
//!
//! A script may have failed for want of something on this machine (memory, processes), and its
//! status does not tell. So such a tree counts for later builds once two builds have made the same
//! one and the same has failed in both, whatever it printed, as that may hold a time or the number
//! of a process; and never if a signal ended something, as no script asks for that. With the tree
//! lies what was said, and whoever takes the tree over says it again.

use std::cell::{Cell, RefCell};

use super::Error;
use crate::digest::Digest;
use crate::event::{Event, Listener};
use crate::sandbox::Status;
use crate::store::{self, Store};

/// The kind of record that holds the digest of what a build made and of what failed in it.
const RECORD: &str = "went-on";
/// What a warning's first line begins with where it lies before a listing; and each further line.
const FIRST: char = '!';
const FURTHER: char = '|';
/// A shell reports a command that a signal ended by 128 and the signal's number, at most 64.
const BY_SIGNAL: std::ops::RangeInclusive<i32> = 129..=192;

/// The failures of one build after which it went on.
#[derive(Debug, Default)]
pub(super) struct WentOn {
    said: RefCell<Vec<String>>,
    by_signal: Cell<bool>,
}

impl WentOn {
    /// Notes a failure, and what is said of it: in the first line what failed and how, then what it
    /// printed.
    pub(super) fn note(&self, error: &Error, said: String) {
        if let Error::ScriptFailed { status, .. } = error {
            let by_signal = match *status {
                Status::Exited(status) => BY_SIGNAL.contains(&status),
                Status::Killed(_) => true,
            };
            self.by_signal.set(self.by_signal.get() || by_signal);
        }
        self.said.borrow_mut().push(said);
    }

    /// What was said, as lines to put before a listing.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for said in &*self.said.borrow() {
            for (number, line) in said.lines().enumerate() {
                lines.push(if number == 0 { FIRST } else { FURTHER });
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }

    /// What failed, as lines.
    fn failures(&self) -> String {
        let said = self.said.borrow();
        let failures = said.iter().filter_map(|said| said.lines().next());
        failures.map(|failure| format!("{FIRST}{failure}\n")).collect()
    }

    /// Whether later builds may take over what this one has made: the tree with this listing. If it
    /// is not known yet that this comes of these failures, it is remembered.
    pub(super) fn lasts(&self, store: &Store, key: &Digest, listing: &str) -> Result<bool, Error> {
        if self.said.borrow().is_empty() {
            return Ok(true);
        }
        if self.by_signal.get() {
            return Ok(false);
        }
        let digest = Digest::of((self.failures() + listing).as_bytes()).to_string();
        if store.record(RECORD, key)?.is_some_and(|before| before == digest.as_bytes()) {
            return Ok(true);
        }
        remember(store, key, &digest)?;
        Ok(false)
    }
}

fn remember(store: &Store, key: &Digest, digest: &str) -> Result<(), store::Error> {
    store.put_record(RECORD, key, digest.as_bytes())
}

/// Divides what is kept into warnings and the listing.
pub(super) fn split(text: &str) -> (Vec<String>, &str) {
    let mut said: Vec<String> = Vec::new();
    let mut rest = text;
    while rest.starts_with([FIRST, FURTHER]) {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        match (line.strip_prefix(FURTHER), said.last_mut()) {
            (Some(line), Some(last)) => {
                last.push('\n');
                last.push_str(line);
            }
            _ => said.push(line.get(1..).unwrap_or_default().to_owned()),
        }
        rest = after;
    }
    (said, rest)
}

/// Says again what was said when the tree was made.
pub(super) fn tell(said: Vec<String>, listener: Listener<'_>) {
    said.into_iter().for_each(|said| listener(Event::warning(said)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: Status) -> Error {
        let (package, output) = ("a".parse().unwrap(), String::new());
        Error::ScriptFailed { package, script: "%post", status, output }
    }

    #[test]
    fn what_was_said_comes_back_as_it_was() {
        let said = ["one\n  |its output\n  !more", "two"];
        let went_on = WentOn::default();
        for said in said {
            went_on.note(&failed(Status::Exited(1)), said.to_owned());
        }
        let listing = "/\td\t0755\t0\t0\t0\t\n";
        let text = format!("{}{listing}", went_on.lines());
        assert_eq!(split(&text), (said.map(str::to_owned).to_vec(), listing));
        assert_eq!(split(listing), (vec![], listing));
        assert_eq!(split(""), (vec![], ""));
    }

    #[test]
    fn what_two_builds_have_made_lasts_unless_a_signal_ended_something() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lasts = |key: &str, status, said: &str, tree| {
            let went_on = WentOn::default();
            went_on.note(&failed(status), said.to_owned());
            went_on.lasts(&store, &Digest::of(key.as_bytes()), tree).unwrap()
        };
        let own = Status::Exited(127);
        let rounds = ["one", "other", "one", "one"].map(|tree| lasts("a", own, "said", tree));
        assert_eq!(rounds, [false, false, false, true]);
        let rounds = ["a failed\nas 17", "b failed\nas 17", "a failed\nas 17", "a failed\nas 39"];
        let rounds = rounds.map(|said| lasts("b", own, said, "one"));
        assert_eq!(rounds, [false, false, false, true]);
        for status in [Status::Exited(128), Status::Exited(193), Status::Exited(255)] {
            let rounds = [0; 2].map(|_| lasts(&status.to_string(), status, "said", "one"));
            assert_eq!(rounds, [false, true], "{status}");
        }
        let signals = [129, 137, 192].map(Status::Exited).into_iter().chain([Status::Killed(9)]);
        for status in signals {
            let rounds = [0; 3].map(|_| lasts(&status.to_string(), status, "said", "one"));
            assert_eq!(rounds, [false; 3], "{status}");
        }
        assert!(WentOn::default().lasts(&store, &Digest::of(b"d"), "one").unwrap());
    }
}
