//! The two calls of Kata's `grpc.Health` service, asked and answered.

use std::io::{self, Read, Write};

use crate::frame::{Frame, Kind};
use crate::message::{Broken, Fields, Writer};

const SERVICE: &[u8] = b"grpc.Health";
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// The code with which ttrpc answers calls of unknown services and methods.
const UNIMPLEMENTED: u64 = 12;
/// How long an agent may take for an answer, in nanoseconds: five seconds.
const TIMEOUT: u64 = 5_000_000_000;

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it says that it serves.
    pub is_serving: bool,
    /// Its version.
    pub agent_version: String,
    /// The version of its protocol.
    pub protocol_version: String,
}

/// Asks the agent at the other end of `stream` how it is and which version it has.
///
/// # Errors
/// [`Error`].
pub fn ask(stream: &mut (impl Read + Write)) -> Result<Health, Error> {
    let check = call(stream, 1, b"Check")?;
    let version = call(stream, 3, b"Version")?;
    let text = |field| -> Result<String, Error> {
        Ok(String::from_utf8_lossy(Fields::new(&version).last(field)?.bytes()).into_owned())
    };
    Ok(Health {
        is_serving: Fields::new(&check).last(1)?.number() == SERVING,
        protocol_version: text(1)?,
        agent_version: text(2)?,
    })
}

fn call(stream: &mut (impl Read + Write), id: u32, method: &[u8]) -> Result<Vec<u8>, Error> {
    let request = Writer::default().bytes(1, SERVICE).bytes(2, method).number(4, TIMEOUT);
    let failed = |source| Error::Stream { source };
    let frame = Frame { stream: id, kind: Kind::Request, message: request.finish() };
    frame.write(stream).map_err(failed)?;
    loop {
        let frame = Frame::read(stream).map_err(failed)?;
        let frame = frame.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
        if frame.kind == Kind::Response && frame.stream == id {
            return payload(&frame.message);
        }
    }
}

fn payload(response: &[u8]) -> Result<Vec<u8>, Error> {
    let status = Fields::new(response).last(1)?.bytes();
    let code = Fields::new(status).last(1)?.number();
    if code != 0 {
        let message = Fields::new(status).last(2)?.bytes();
        let message = String::from_utf8_lossy(message).into_owned();
        return Err(Error::Refused { code, message });
    }
    Ok(Fields::new(response).last(2)?.bytes().to_vec())
}

/// Answers calls on `stream` until the other side closes it.
///
/// # Errors
/// [`Error::Stream`], [`Error::Broken`].
pub fn serve(stream: &mut (impl Read + Write), own: &Health) -> Result<(), Error> {
    let failed = |source| Error::Stream { source };
    while let Some(frame) = Frame::read(stream).map_err(failed)? {
        if frame.kind == Kind::Request {
            let message = answer(&frame.message, own)?;
            Frame { stream: frame.stream, kind: Kind::Response, message }
                .write(stream)
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Answers one request.
///
/// # Errors
/// [`Error::Broken`].
pub fn answer(request: &[u8], own: &Health) -> Result<Vec<u8>, Error> {
    let service = Fields::new(request).last(1)?.bytes();
    let method = Fields::new(request).last(2)?.bytes();
    let payload = match (service, method) {
        (SERVICE, b"Check") => Writer::default().number(1, u64::from(own.is_serving)),
        (SERVICE, b"Version") => Writer::default()
            .bytes(1, own.protocol_version.as_bytes())
            .bytes(2, own.agent_version.as_bytes()),
        _ => {
            let message = b"this is guest-probe, a stand-in for tests: it runs no containers";
            let status = Writer::default().number(1, UNIMPLEMENTED).bytes(2, message).finish();
            return Ok(Writer::default().bytes(1, &status).finish());
        }
    };
    Ok(Writer::default().bytes(2, &payload.finish()).finish())
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed or ended.
    #[error("the connection to the agent failed")]
    Stream {
        /// Why.
        source: io::Error,
    },
    /// The other side does not speak protocol buffers.
    #[error("the agent's message is broken")]
    Broken(#[from] Broken),
    /// The agent answered with an error.
    #[error("the agent refused the call with code {code}: {message:?}")]
    Refused {
        /// A code of gRPC.
        code: u64,
        /// What it said.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    fn own() -> Health {
        let version = |text: &str| text.to_owned();
        Health {
            is_serving: true,
            agent_version: version("1.2.3-probe"),
            protocol_version: version("0.0.1"),
        }
    }

    #[test]
    fn who_asks_hears_what_was_answered() {
        let (mut asker, mut answerer) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || serve(&mut answerer, &own()));
        assert_eq!(ask(&mut asker).unwrap(), own());
        drop(asker);
        server.join().unwrap().unwrap();
    }

    #[test]
    fn other_calls_are_refused_with_a_reason() {
        let request = Writer::default().bytes(1, b"grpc.AgentService").bytes(2, b"CreateSandbox");
        let response = answer(&request.finish(), &own()).unwrap();
        let error = payload(&response).unwrap_err().to_string();
        assert!(error.contains("code 12") && error.contains("runs no containers"), "{error}");
    }

    #[test]
    fn the_bytes_of_a_check_are_pinned() {
        let mut sent = Vec::new();
        struct Half<'a>(&'a mut Vec<u8>);
        impl Read for Half<'_> {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
        }
        impl Write for Half<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(ask(&mut Half(&mut sent)), Err(Error::Stream { .. })));
        let expected =
            b"\0\0\0\x1a\0\0\0\x01\x01\0\x0a\x0bgrpc.Health\x12\x05Check\x20\x80\xe4\x97\xd0\x12";
        assert_eq!(sent, expected);
    }
}
