//! Runs scripts and triggers of rpm packages, one after the other.
//!
//! In: which one, with its arguments and what it reads; out: nothing, or the error that ends the build.
//! What rpm runs itself, in its own Lua, this program runs when it is started again inside the sandbox
//! (`crate::lua`), confined like any other script.

use super::triggers::Firing;
use super::{SCRIPTS, script_file, trigger_file};
use crate::configure::names::Names;
use crate::configure::{Bench, Error, lines};
use crate::event::{Event, Stage, Unit};
use crate::lua;
use crate::package::rpm::scripts::{Body, Moment, Script, Watched};
use crate::package::rpm::users::Declarations;
use crate::sandbox::Error::NotStarted;
use crate::sandbox::{Command, Left, Sandbox, ThisProgram};
use crate::sysusers;
use crate::tree::TreePath;
use crate::unpack::rpm::Package;

/// Where rpm's scripts look for programs.
const PATH: &str = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/X11R6/bin";
/// What a file trigger reads, beside the scripts.
const INPUT: &str = "input";
const SECONDS_OF_A_DAY: u64 = 86_400;

/// A run of all scripts.
pub(super) struct Run<'a> {
    sandbox: Sandbox,
    bench: &'a Bench<'a>,
    packages: &'a [Package],
    /// What starts this program inside, once it was brought there.
    program: Option<ThisProgram>,
    scripts: u64,
}

/// One thing to run.
struct Task<'a> {
    package: &'a Package,
    /// As people know it.
    name: &'static str,
    /// The name of its file.
    file: String,
    body: &'a Body,
    arguments: &'a [usize],
    input: &'a [u8],
    /// Whether rpm stops when it fails.
    is_critical: bool,
}

impl<'a> Run<'a> {
    pub(super) const fn new(
        sandbox: Sandbox,
        bench: &'a Bench<'a>,
        packages: &'a [Package],
    ) -> Self {
        Self { sandbox, bench, packages, program: None, scripts: 0 }
    }

    pub(super) const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Runs the scripts of packages for one moment, in their order.
    pub(super) fn scripts(
        &mut self,
        packages: std::ops::Range<usize>,
        moment: Moment,
    ) -> Result<(), Error> {
        for package in self.packages.get(packages).unwrap_or_default() {
            for Script { body, .. } in package.scripts.iter().filter(|s| s.moment == moment) {
                self.run(&Task {
                    package,
                    name: moment.name(),
                    file: script_file(package, moment),
                    body,
                    arguments: &[1], // how many instances of the package there are then
                    input: &[],
                    is_critical: moment.is_critical(),
                })?;
            }
        }
        Ok(())
    }

    /// Makes the users and groups that a package declares, those of each of its files at once.
    pub(super) fn users(&mut self, package: &Package) -> Result<(), Error> {
        for Declarations { file, lines } in &package.users {
            let mut arguments = self.program()?;
            let day = self.bench.epoch.seconds() / SECONDS_OF_A_DAY;
            arguments.extend([sysusers::WORD.as_bytes().to_vec(), day.to_string().into_bytes()]);
            arguments.extend(file.clone());
            let input = self.put_input(lines.join("\n").as_bytes())?;
            let command = Command {
                arguments: arguments.iter().map(Vec::as_slice).collect(),
                environment: vec![PATH.as_bytes()],
                input: input.as_ref().map(String::as_bytes),
            };
            let line = lines::Script { package: &package.name, name: "%sysusers" };
            line.run(&mut self.sandbox, &command, self.bench.listener)?;
        }
        Ok(())
    }

    /// Runs triggers in their order.
    pub(super) fn triggers(&mut self, firings: &[Firing]) -> Result<(), Error> {
        for firing in firings {
            let Some(package) = self.packages.get(firing.owner) else { continue };
            let script = package.triggers(firing.watched).scripts.get(firing.script);
            let Some(Some(script)) = script else { continue };
            self.run(&Task {
                package,
                name: name(firing),
                file: trigger_file(package, firing.watched, firing.script),
                body: &script.body,
                arguments: &firing.arguments,
                input: &firing.input,
                is_critical: false,
            })?;
        }
        Ok(())
    }

    fn run(&mut self, task: &Task<'_>) -> Result<(), Error> {
        let listener = self.bench.listener;
        let Task { package, name, body, .. } = task;
        if body.is_template {
            return Err(Error::Template { package: package.name.clone(), script: name });
        }
        let arguments = self.arguments(task)?;
        let input = self.put_input(task.input)?;
        let epoch = format!("SOURCE_DATE_EPOCH={}", self.bench.epoch.seconds());
        let command = Command {
            arguments: arguments.iter().map(Vec::as_slice).collect(),
            environment: vec![PATH.as_bytes(), epoch.as_bytes()],
            input: input.as_ref().map(String::as_bytes),
        };
        let line = lines::Script { package: &package.name, name };
        match line.run(&mut self.sandbox, &command, listener) {
            Err(error) if !task.is_critical && is_the_script_s(&error) => {
                let said = gone_on(&error);
                self.bench.went_on.note(&error, said.clone());
                listener(Event::warning(said));
            }
            outcome => outcome?,
        }
        self.scripts = self.scripts.saturating_add(1);
        let (stage, unit, done) = (Stage::Configure, Unit::Scripts, self.scripts);
        listener(Event::Progress { stage, done, total: None, unit });
        Ok(())
    }

    /// The program and its arguments.
    fn arguments(&mut self, task: &Task<'_>) -> Result<Vec<Vec<u8>>, Error> {
        let file = format!("/{SCRIPTS}/{}", task.file).into_bytes();
        let numbers = task.arguments.iter().map(|number| number.to_string().into_bytes());
        let Body { program, text, .. } = task.body;
        let mut arguments = match task.body.is_lua() {
            true => self.program()?,
            false => program.clone(),
        };
        if task.body.is_lua() {
            let has_input =
                if task.input.is_empty() { lua::WITHOUT_PATHS } else { lua::WITH_PATHS };
            arguments.extend([lua::WORD, has_input].map(|word| word.as_bytes().to_vec()));
            arguments.push(file);
            arguments.extend(program.iter().skip(1).cloned());
            arguments.extend(numbers);
        } else if text.is_some() {
            arguments.push(file);
            arguments.extend(numbers);
        }
        Ok(arguments)
    }

    /// What starts this program inside the sandbox.
    fn program(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        if self.program.is_none() {
            let folder = TreePath::parse(SCRIPTS)?;
            self.program = Some(self.sandbox.bring_this_program(&folder)?);
        }
        Ok(self.program.as_ref().map(|program| program.words.clone()).unwrap_or_default())
    }

    /// Puts what a script reads where it can be opened.
    fn put_input(&self, input: &[u8]) -> Result<Option<String>, Error> {
        if input.is_empty() {
            return Ok(None);
        }
        let path = TreePath::parse(SCRIPTS)?.join(INPUT)?;
        self.sandbox.replace_file(&path, input)?;
        Ok(Some(format!("/{SCRIPTS}/{INPUT}")))
    }

    /// Who has which number now.
    pub(super) fn names(&self) -> Result<Names, Error> {
        let read = |name: &str| -> Result<Vec<u8>, Error> {
            Ok(self.sandbox.read_file(&TreePath::parse(name)?)?)
        };
        Ok(Names::read(&read("etc/passwd")?, &read("etc/group")?))
    }

    /// Ends the sandbox.
    pub(super) fn finish(self) -> Result<Left, Error> {
        for file in self.program.iter().flat_map(|program| &program.files) {
            self.sandbox.remove_file(file)?;
        }
        Ok(self.sandbox.finish()?)
    }
}

/// The name that rpm gives to a trigger.
const fn name(firing: &Firing) -> &'static str {
    match firing.watched {
        Watched::Packages if firing.is_before => "%triggerprein",
        Watched::Packages => "%triggerin",
        Watched::Files => "%filetriggerin",
        Watched::AllFiles => "%transfiletriggerin",
    }
}

/// Whether a failure is the script's own: it ended badly, or its program is not there.
const fn is_the_script_s(error: &Error) -> bool {
    let not_started = matches!(error, Error::ScriptNotRun { source: NotStarted { .. }, .. });
    not_started || matches!(error, Error::ScriptFailed { .. })
}

/// What is said of a script after whose failure rpm goes on: in one line what failed and how, then
/// what it printed last.
fn gone_on(error: &Error) -> String {
    let source = std::error::Error::source(error);
    let source = source.into_iter().flat_map(|first| {
        std::iter::successors(Some(first), |cause| cause.source()).map(|cause| format!(": {cause}"))
    });
    let text = error.to_string();
    let (first, output) = text.split_once('\n').unwrap_or((&text, ""));
    let first = format!("{first}{}; rpm goes on after this, too", source.collect::<String>());
    if output.is_empty() { first } else { format!("{first}\n{output}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Status;

    #[test]
    fn a_script_after_which_rpm_goes_on_is_told_of_in_one_sentence() {
        let (package, output) = (|| "a".parse().unwrap(), |text: &str| text.to_owned());
        let source = || NotStarted {
            program: "/usr/bin/perl".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let script = "%post";
        let not_run = |text| {
            let (package, output, source) = (package(), output(text), source());
            gone_on(&Error::ScriptNotRun { package, script, output, source })
        };
        let failed = |text| {
            let (package, output, status) = (package(), output(text), Status::Exited(3));
            gone_on(&Error::ScriptFailed { package, script, output, status })
        };
        for (told, expected) in [
            (
                not_run(""),
                "cannot run the %post script of a: cannot execute /usr/bin/perl: \
                 entity not found; rpm goes on after this, too",
            ),
            (
                failed(""),
                "the %post script of a failed with exit status 3; rpm goes on after this, too",
            ),
            (
                failed("one\n  two"),
                "the %post script of a failed with exit status 3; rpm goes on after this, too\n  \
                 one\n  two",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }
}
