//! Events for a person or a program: bars on a terminal, plain lines elsewhere, JSON when asked.
//!
//! Everything here goes to standard error; standard output is for data. Nothing that came out of a
//! package reaches the terminal unescaped: events escape it already, and this file escapes texts
//! of errors once more before they are shown.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use osbuilder::event::{Cost, Event, Stage, Unit};

use super::size;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Moving bars.
    Bars,
    /// A line for each thing of importance.
    Lines,
    /// One JSON object a line.
    Json,
}

impl Manner {
    /// Bars on a terminal, lines elsewhere, JSON when asked.
    pub(super) fn choose(json: bool) -> Self {
        match json {
            true => Self::Json,
            false if io::stderr().is_terminal() => Self::Bars,
            false => Self::Lines,
        }
    }
}

/// Shows events, and remembers how long each stage took.
#[derive(Debug)]
pub(super) struct Show {
    manner: Manner,
    verbose: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    /// The last plain progress line, so that a slow stage says something every few seconds.
    spoke: Option<Instant>,
    took: BTreeMap<Stage, Cost>,
}

/// In plain lines, progress is told at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often the clock of a bar is shown anew.
const TICK: Duration = Duration::from_millis(200);

impl Show {
    /// Shows in this manner; script output only when `verbose`.
    pub(super) fn new(manner: Manner, verbose: bool) -> Self {
        let state = Arc::default();
        if manner == Manner::Bars {
            keep_moving(&state);
        }
        Self { manner, verbose, state }
    }

    /// How events are shown.
    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    /// What each finished stage took, in order of the pipeline.
    pub(super) fn stages(&self) -> Vec<(Stage, Cost)> {
        self.state().took.iter().map(|(&stage, &took)| (stage, took)).collect()
    }

    /// Hears one event.
    pub(super) fn hear(&self, event: &Event) {
        let mut state = self.state();
        if let Event::StageFinished { stage, took } = event {
            *state.took.entry(*stage).or_default() += *took;
        }
        match self.manner {
            Manner::Json => {
                say(&serde_json::to_string(event).expect("events have string keys"));
            }
            Manner::Bars => self.move_bar(&mut state, event),
            Manner::Lines => self.plain_line(&mut state, event),
        }
    }

    /// Takes the bar away, before a table or an error is printed.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_bar(&self, state: &mut State, event: &Event) {
        match event {
            Event::StageStarted { stage } => state.bar = Some(new_bar(*stage)),
            Event::StageFinished { .. } => {
                if let Some(bar) = state.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Progress { done, total, unit, .. } => {
                if let Some(bar) = &state.bar {
                    bar.set_length(total.unwrap_or(0));
                    bar.set_position(*done);
                    bar.set_message(amount(*done, *total, *unit));
                }
            }
            _ => {
                if let Some(line) = self.sentence(event) {
                    match &state.bar {
                        Some(bar) => bar.println(line),
                        None => say(&line),
                    }
                }
            }
        }
    }

    fn plain_line(&self, state: &mut State, event: &Event) {
        match event {
            Event::StageStarted { .. } => state.spoke = Some(Instant::now()),
            Event::StageFinished { stage, took } => {
                say(&format!("{}: {:.1} s", stage.name(), took.wall.as_secs_f64()));
            }
            Event::Progress { stage, done, total, unit } => {
                if state.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_INTERVAL) {
                    state.spoke = Some(Instant::now());
                    say(&format!("{}: {}", stage.name(), amount(*done, *total, *unit)));
                }
            }
            _ => {
                if let Some(line) = self.sentence(event) {
                    say(&line);
                }
            }
        }
    }

    fn sentence(&self, event: &Event) -> Option<String> {
        match event {
            Event::Note { text } => Some(format!("note: {text}")),
            Event::Warning { text } => Some(format!("warning: {text}")),
            Event::ScriptNotRun { package, script, reason } => {
                Some(format!("warning: {package} {script}: {reason}"))
            }
            Event::ScriptOutput { package, script, line } if self.verbose => {
                Some(format!("{package} {script}: {line}"))
            }
            _ => None,
        }
    }
}

/// Lets the clock of the bar go on while nothing is heard, from a thread that ends with `state`.
fn keep_moving(state: &Arc<Mutex<State>>) {
    let state = Arc::downgrade(state);
    let tick = move || {
        while let Some(state) = state.upgrade() {
            if let Some(bar) = &state.lock().unwrap_or_else(PoisonError::into_inner).bar {
                bar.tick();
            }
            drop(state);
            thread::sleep(TICK);
        }
    };
    // Where no thread can be started, the clock moves when something is heard.
    drop(thread::Builder::new().spawn(tick));
}

fn new_bar(stage: Stage) -> ProgressBar {
    let bar = ProgressBar::no_length().with_prefix(stage.name());
    let style = ProgressStyle::with_template("{prefix:>10} {bar:30} {msg} {elapsed}");
    bar.set_style(style.expect("the template is well formed"));
    bar
}

fn amount(done: u64, total: Option<u64>, unit: Unit) -> String {
    let (count, noun): (fn(u64) -> String, _) = match unit {
        Unit::Bytes => (size::in_words, ""),
        Unit::Packages => (|n| n.to_string(), " packages"),
        Unit::Scripts => (|n| n.to_string(), " scripts"),
        Unit::Files => (|n| n.to_string(), " files"),
    };
    match total {
        Some(total) => format!("{} of {}{noun}", count(done), count(total)),
        None => format!("{}{noun}", count(done)),
    }
}

/// Writes a line to standard error. A reader that has gone away does not fail a build.
pub(super) fn say(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_name_what_they_count() {
        assert_eq!(amount(3, Some(143), Unit::Packages), "3 of 143 packages");
        assert_eq!(amount(1_500_000, None, Unit::Bytes), "1.5 MB");
    }

    #[test]
    fn the_time_of_a_stage_that_runs_twice_is_added_up() {
        let show = Show::new(Manner::Lines, false);
        let seconds = Duration::from_secs;
        let took = Cost { wall: seconds(2), processor: seconds(3) };
        for _ in 0..2 {
            show.hear(&Event::StageFinished { stage: Stage::Check, took });
        }
        let both = Cost { wall: seconds(4), processor: seconds(6) };
        assert_eq!(show.stages(), [(Stage::Check, both)]);
    }

    #[test]
    fn script_output_is_shown_only_when_asked_for() {
        let event = Event::ScriptOutput {
            package: "bash".to_owned(),
            script: "postinst".to_owned(),
            line: "hello".to_owned(),
        };
        assert_eq!(Show::new(Manner::Lines, false).sentence(&event), None);
        let shown = Show::new(Manner::Lines, true).sentence(&event);
        assert_eq!(shown.as_deref(), Some("bash postinst: hello"));
    }
}
