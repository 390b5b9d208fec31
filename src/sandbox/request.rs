//! The few messages between us and the first process of a sandbox.
//!
//! One packet each, over a pair of sockets of type `SEQPACKET`. Requests are three counts and texts
//! that end in NUL; answers are eight bytes, some with a descriptor. The reading side of requests
//! and the writing side of answers run in a forked child and do not allocate.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::Command;

/// The longest request: arguments and environment of one program.
pub(super) const LONGEST: usize = 96 * 1024;
/// The most arguments, and the most variables.
const MOST_TEXTS: usize = 256;

/// What the first process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The number of the first process, as its parent sees it.
    Process,
    /// The empty file system is there; comes with a descriptor of it.
    Ready,
    /// The tree is the root; comes with the listener for system calls.
    Entered,
    /// A program has ended and no process is left; the value is its wait status.
    Ended,
    /// A program could not be started; the value is the error.
    NotStarted,
    /// A step failed; the value is the error.
    Failed,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Process, Self::Ready, Self::Entered, Self::Ended, Self::NotStarted, Self::Failed];
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// The number of a [`super::step::Step`], for [`Kind::Failed`].
    pub(super) step: u8,
    pub(super) value: i32,
}

impl Answer {
    pub(super) const fn new(kind: Kind, value: i32) -> Self {
        Self { kind, step: 0, value }
    }

    fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.value.to_ne_bytes();
        [self.kind as u8, self.step, 0, 0, a, b, c, d]
    }

    fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [kind, step, 0, 0, a, b, c, d] = bytes else { return None };
        let kind = Kind::ALL.into_iter().find(|&known| known as u8 == kind)?;
        Some(Self { kind, step, value: i32::from_ne_bytes([a, b, c, d]) })
    }
}

/// Sends bytes and perhaps a descriptor, as one packet.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let list = descriptor.map(|descriptor| [descriptor]);
    if let Some(list) = &list
        && !control.push(SendAncillaryMessage::ScmRights(list))
    {
        return Err(Errno::NOBUFS);
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives a packet; no bytes mean that the other side is gone.
pub(super) fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let packet = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last().or(descriptor);
        }
    }
    Ok((packet.bytes, descriptor))
}

/// Sends an answer.
pub(super) fn send_answer(
    socket: BorrowedFd<'_>,
    answer: Answer,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<()> {
    send(socket, &answer.to_bytes(), descriptor)
}

/// Receives an answer; `None` when the other side is gone.
pub(super) fn receive_answer(socket: BorrowedFd<'_>) -> Result<Option<(Answer, Option<OwnedFd>)>> {
    let mut bytes = [0; 8];
    let (count, descriptor) = receive(socket.as_fd(), &mut bytes)?;
    match (count, Answer::from_bytes(bytes)) {
        (0, _) => Ok(None),
        (8, Some(answer)) => Ok(Some((answer, descriptor))),
        _ => Err(Errno::PROTO),
    }
}

/// Writes a request: the arguments, the environment, and perhaps what the program reads.
///
/// # Errors
/// `E2BIG` when it is too long, `EINVAL` for a NUL byte in a text.
pub(super) fn encode(command: &Command<'_>) -> Result<Vec<u8>> {
    let Command { arguments, environment, input } = command;
    let input = input.as_ref().map(std::slice::from_ref).unwrap_or_default();
    let mut bytes = Vec::new();
    for texts in [arguments, environment, input] {
        let count = u32::try_from(texts.len()).map_err(|_| Errno::TOOBIG)?;
        bytes.extend(count.to_ne_bytes());
    }
    for text in arguments.iter().chain(environment).chain(input) {
        if text.contains(&0) {
            return Err(Errno::INVAL);
        }
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    let most = arguments.len().max(environment.len());
    if bytes.len() > LONGEST || most >= MOST_TEXTS { Err(Errno::TOOBIG) } else { Ok(bytes) }
}

/// A request as `execve` takes it: arrays of pointers that end in a null pointer.
pub(super) struct Parsed {
    pub(super) arguments: [*const libc::c_char; MOST_TEXTS],
    pub(super) environment: [*const libc::c_char; MOST_TEXTS],
}

/// The program of a request, and what it reads.
pub(super) struct Files<'a> {
    pub(super) program: &'a CStr,
    pub(super) input: Option<&'a CStr>,
}

impl Parsed {
    /// Finds the texts in a request. The pointers lead into `request`.
    pub(super) fn new(request: &[u8]) -> Option<(Self, Files<'_>)> {
        let (counts, mut rest) = request.split_first_chunk::<12>()?;
        let [a, b, c, d, e, f, g, h, inputs @ ..] = *counts;
        let counts = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
        let null = std::ptr::null();
        let mut parsed = Self { arguments: [null; MOST_TEXTS], environment: [null; MOST_TEXTS] };
        let program = CStr::from_bytes_until_nul(rest).ok()?;
        for (count, texts) in counts.iter().zip([&mut parsed.arguments, &mut parsed.environment]) {
            let count = usize::try_from(*count).ok().filter(|&count| count < MOST_TEXTS)?;
            for place in texts.iter_mut().take(count) {
                let text = CStr::from_bytes_until_nul(rest).ok()?;
                *place = text.as_ptr();
                rest = rest.get(text.count_bytes().checked_add(1)?..)?;
            }
        }
        let mut input = None;
        if u32::from_ne_bytes(inputs) == 1 {
            let text = CStr::from_bytes_until_nul(rest).ok()?;
            rest = rest.get(text.count_bytes().checked_add(1)?..)?;
            input = Some(text);
        }
        rest.is_empty().then_some((parsed, Files { program, input }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_being_sent_and_nonsense_does_not() {
        let command = Command {
            arguments: vec![b"/bin/sh", b"-c", b""],
            environment: vec![b"A=1"],
            input: Some(b"/paths"),
        };
        let bytes = encode(&command).unwrap();
        let (parsed, files) = Parsed::new(&bytes).unwrap();
        assert_eq!((files.program, files.input), (c"/bin/sh", Some(c"/paths")));
        let without = encode(&Command { input: None, ..command.clone() }).unwrap();
        assert_eq!(Parsed::new(&without).unwrap().1.input, None);
        assert_eq!(parsed.arguments.iter().filter(|text| !text.is_null()).count(), 3);
        assert_eq!(parsed.environment.iter().filter(|text| !text.is_null()).count(), 1);
        for end in 0..bytes.len() {
            assert!(Parsed::new(&bytes[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn requests_that_do_not_fit_are_refused() {
        let long = vec![b'a'; LONGEST];
        let request = |arguments| encode(&Command { arguments, ..Command::default() });
        assert_eq!(request(vec![&long]), Err(Errno::TOOBIG));
        assert_eq!(request(vec![b"x"; MOST_TEXTS]), Err(Errno::TOOBIG));
        assert_eq!(request(vec![b"a\0b"]), Err(Errno::INVAL));
    }

    #[test]
    fn answers_survive_being_sent() {
        for kind in Kind::ALL {
            let answer = Answer { kind, step: 7, value: -5 };
            assert_eq!(Answer::from_bytes(answer.to_bytes()), Some(answer));
        }
        assert_eq!(Answer::from_bytes([99, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
