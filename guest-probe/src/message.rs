//! The few protocol-buffer messages of a health check, written by hand.
//!
//! ```text
//! ttrpc:  Request  { service = 1: string, method = 2: string, payload = 3: bytes,
//!                    timeout_nano = 4: int64 }
//!         Response { status = 1: Status, payload = 2: bytes }
//!         Status   { code = 1: int32, message = 2: string }
//! Kata:   HealthCheckResponse  { status = 1: int32 }      1 is "serving"
//!         VersionCheckResponse { grpc_version = 1: string, agent_version = 2: string }
//! ```
//!
//! Specifications: protocol buffers, "Encoding"; ttrpc's `request.proto`; Kata's
//! `src/libs/protocols/protos/health.proto`.

/// A value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: a number.
    Number(u64),
    /// Wire type 2: text, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes; none for a number.
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => b"",
        }
    }

    /// The number; zero for bytes.
    pub const fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }
}

/// A message that is being written. Fields with the value that absence means are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Adds text, bytes or a message.
    #[must_use]
    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        if !bytes.is_empty() {
            self.varint(field << 3 | 2);
            self.varint(bytes.len() as u64);
            self.0.extend(bytes);
        }
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, field: u64, number: u64) -> Self {
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
        self
    }

    /// Returns the message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(low_seven(number) | 0x80);
            number >>= 7;
        }
        self.0.push(low_seven(number));
    }
}

fn low_seven(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit")
}

/// The fields of a message, in the order in which they stand.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Returns the last value of `field`, the number zero if it is absent.
    ///
    /// # Errors
    /// [`Broken`] when the message is.
    pub fn last(self, field: u64) -> Result<Value<'a>, Broken> {
        let mut found = Value::Number(0);
        for entry in self {
            let (number, value) = entry?;
            if number == field {
                found = value;
            }
        }
        Ok(found)
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Broken)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Broken> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return Err(Broken),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = b"";
        }
        Some(field)
    }
}

/// Bytes are no protocol-buffer message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is not encoded as protocol buffers are")]
pub struct Broken;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_the_specification_shows() {
        let bytes = Writer::default().number(1, 150).bytes(2, b"testing").number(3, 0).finish();
        assert_eq!(bytes, b"\x08\x96\x01\x12\x07testing");
        assert_eq!(Fields::new(&bytes).last(1), Ok(Value::Number(150)));
        assert_eq!(Fields::new(&bytes).last(2), Ok(Value::Bytes(b"testing")));
        assert_eq!(Fields::new(&bytes).last(9), Ok(Value::Number(0)));
    }

    #[test]
    fn unknown_fields_are_passed_and_broken_messages_refused() {
        let fixed = b"\x09\0\0\0\0\0\0\0\0\x15\0\0\0\0\x18\x01";
        assert_eq!(Fields::new(fixed).last(3), Ok(Value::Number(1)));
        let broken: [&[u8]; 5] = [b"\x08", b"\x12\x05abc", b"\x0b", b"\x15\0", &[0xff; 11]];
        for bytes in broken {
            assert_eq!(Fields::new(bytes).last(1), Err(Broken), "{bytes:?}");
        }
    }
}
