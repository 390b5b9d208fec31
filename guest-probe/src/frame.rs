//! The frame of ttrpc: ten bytes of header, then a message.
//!
//! Length of the message (4 bytes) and number of the stream (4 bytes), both big-endian, then one
//! byte for the type and one for flags. Clients number their streams with odd numbers.
//!
//! Specification: containerd's ttrpc, `PROTOCOL.md`.

use std::io::{self, Read, Write};

/// Messages longer than this, in bytes, are refused on both sides.
pub const MESSAGE_LIMIT: u32 = 4 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Request,
    /// The answer to a call.
    Response,
}

/// One message with its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which call, or answer to a call, this belongs to.
    pub stream: u32,
    /// Call or answer.
    pub kind: Kind,
    /// The message.
    pub message: Vec<u8>,
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// Whatever `output` reports; `InvalidInput` for a message beyond [`MESSAGE_LIMIT`].
    pub fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let length = u32::try_from(self.message.len()).ok().filter(|&it| it <= MESSAGE_LIMIT);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let kind = match self.kind {
            Kind::Request => 1,
            Kind::Response => 2,
        };
        let mut bytes = Vec::with_capacity(self.message.len().saturating_add(10));
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend([kind, 0]);
        bytes.extend(&self.message);
        output.write_all(&bytes)?;
        output.flush()
    }

    /// Reads the next frame; `None` when the other side closed before one began.
    ///
    /// # Errors
    /// Whatever `input` reports; `InvalidData` for a type that is neither call nor answer, and for
    /// a message beyond [`MESSAGE_LIMIT`].
    pub fn read(input: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut first = [0];
        loop {
            match input.read(&mut first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut rest = [0; 9];
        input.read_exact(&mut rest)?;
        let [a, b, c, s, t, u, v, kind, _flags] = rest;
        let length = u32::from_be_bytes([first[0], a, b, c]);
        let kind = match kind {
            1 => Kind::Request,
            2 => Kind::Response,
            _ => return Err(invalid("the frame is neither a request nor a response")),
        };
        if length > MESSAGE_LIMIT {
            return Err(invalid("the message is longer than four MiB"));
        }
        let mut message = Vec::new();
        input.take(length.into()).read_to_end(&mut message)?;
        if message.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Self { stream: u32::from_be_bytes([s, t, u, v]), kind, message }))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_the_specification_shows() {
        let frame = Frame { stream: 1, kind: Kind::Request, message: b"abc".to_vec() };
        let mut bytes = Vec::new();
        frame.write(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x03\0\0\0\x01\x01\0abc");
        let mut input = &bytes[..];
        assert_eq!(Frame::read(&mut input).unwrap(), Some(frame));
        assert_eq!(Frame::read(&mut input).unwrap(), None);
    }

    #[test]
    fn f5_a_frame_arrives_byte_by_byte_and_through_interruptions() {
        struct Stuttering<'a>(&'a [u8], bool);
        impl Read for Stuttering<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let length = buffer.len().min(1);
                self.0.read(&mut buffer[..length])
            }
        }
        let frame = Frame { stream: 1, kind: Kind::Request, message: b"abc".to_vec() };
        let mut bytes = Vec::new();
        frame.write(&mut bytes).unwrap();
        assert_eq!(Frame::read(&mut Stuttering(&bytes, false)).unwrap(), Some(frame));
        let cut = Frame::read(&mut Stuttering(&bytes[..5], false)).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn frames_that_are_broken_or_endless_are_refused() {
        let cases: [(&[u8], io::ErrorKind); 4] = [
            (b"\0\0\0\x03\0\0\0\x01\x01\0ab", io::ErrorKind::UnexpectedEof),
            (b"\0\0\0", io::ErrorKind::UnexpectedEof),
            (b"\0\x40\0\x01\0\0\0\x01\x01\0", io::ErrorKind::InvalidData),
            (b"\0\0\0\0\0\0\0\x01\x03\0", io::ErrorKind::InvalidData),
        ];
        for (mut bytes, kind) in cases {
            assert_eq!(Frame::read(&mut bytes).unwrap_err().kind(), kind, "{bytes:?}");
        }
        let long = vec![0; MESSAGE_LIMIT as usize + 1];
        let frame = Frame { stream: 1, kind: Kind::Response, message: long };
        assert!(frame.write(&mut Vec::new()).is_err());
    }
}
