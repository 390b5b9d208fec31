//! Runs one command: sends it in, reads what it prints, waits for its end or makes an end of it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::init::failed;
use super::request::{self, Answer, Kind};
use super::step::Failure;
use super::{Error, Inside, Limits, Step, blame, refusal};
use crate::tree::escape;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command<'a> {
    /// The program's absolute path inside the tree, then its arguments.
    pub arguments: Vec<&'a [u8]>,
    /// The whole environment, as `NAME=value`: nothing else is passed on.
    pub environment: Vec<&'a [u8]>,
    /// The file inside the tree that it reads as its standard input; without one there is nothing.
    pub input: Option<&'a [u8]>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this status: 0 means success.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Status {
    /// Whether it ended well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// Reads what `wait(2)` reports.
    const fn from_raw(raw: i32) -> Self {
        match raw & 0x7F {
            0 => Self::Exited(raw >> 8 & 0xFF),
            signal => Self::Killed(signal),
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

pub(super) fn run(
    inside: &Inside,
    limits: &Limits,
    command: &Command<'_>,
    output: &mut dyn FnMut(&[u8]),
) -> Result<Status, Error> {
    let program = escape(command.arguments.first().copied().unwrap_or_default());
    let not_started =
        |errno: Errno| Error::NotStarted { program: program.clone(), source: errno.into() };
    let bytes = request::encode(command).map_err(not_started)?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    request::send(inside.control.as_fd(), &bytes, Some(write.as_fd()))?;
    drop(write);
    let watch = Watch { inside, limits, program: &program, read: Some(read) };
    let answer = watch.until_the_end(output).inspect_err(|_| inside.kill())?;
    match answer.kind {
        Kind::Ended => Ok(Status::from_raw(answer.value)),
        Kind::NotStarted => Err(match Errno::from_raw_os_error(answer.value) {
            errno if blame::is_the_host_s(errno) => {
                refusal(failed(Failure { step: Step::Program, errno }))
            }
            errno => not_started(errno),
        }),
        Kind::Failed => Err(refusal(answer)),
        _ => Err(Error::Gone),
    }
}

/// A running command.
struct Watch<'a> {
    inside: &'a Inside,
    limits: &'a Limits,
    program: &'a str,
    /// The end of the pipe that it prints to; none once that is closed.
    read: Option<OwnedFd>,
}

impl Watch<'_> {
    /// Reads until the pipe is closed and the first process has answered.
    fn until_the_end(mut self, output: &mut dyn FnMut(&[u8])) -> Result<Answer, Error> {
        let begin = Instant::now();
        let (mut printed, mut answer) = (0, None);
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let (None, Some(answer)) = (&self.read, answer) {
                return Ok(answer);
            }
            let [prints, answers] = self.wait(begin.elapsed())?;
            if prints {
                printed += self.take_output(&mut buffer, output)?;
                if printed > self.limits.output {
                    let (program, limit) = (self.program.to_owned(), self.limits.output);
                    return Err(Error::PrintedTooMuch { program, limit });
                }
            }
            if answers && answer.is_none() {
                let received = request::receive_answer(self.inside.control.as_fd())?;
                answer = Some(received.ok_or(Error::Gone)?.0);
            }
        }
    }

    /// Waits for output or an answer; says which has come.
    fn wait(&self, elapsed: Duration) -> Result<[bool; 2], Error> {
        let Some(left) = self.limits.wall.checked_sub(elapsed) else {
            let (program, limit) = (self.program.to_owned(), self.limits.wall);
            return Err(Error::TookTooLong { program, limit });
        };
        let control = PollFd::new(&self.inside.control, PollFlags::IN);
        let mut waits = vec![control];
        waits.extend(self.read.as_ref().map(|read| PollFd::new(read, PollFlags::IN)));
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        match poll(&mut waits, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| waits.get(at).is_some_and(|wait| !wait.revents().is_empty());
        Ok([ready(1), ready(0)])
    }

    fn take_output(
        &mut self,
        buffer: &mut [u8],
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, Error> {
        let Some(read) = &self.read else { return Ok(0) };
        match rustix::io::read(read, &mut *buffer) {
            Ok(0) => self.read = None,
            Ok(count) => {
                output(buffer.get(..count).unwrap_or_default());
                return Ok(count as u64);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(0)
    }
}
