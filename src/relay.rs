//! Bytes that one thread brings, by unpacking or hashing them, while another makes something of them.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

/// How many bytes are brought at once.
const PIECE: u64 = 1 << 18;
/// How many pieces may wait.
const WAITING: usize = 3;

/// Reads `input` on a thread of its own, while `work` reads what has come. It need not read all. Where the
/// kernel refuses a thread, one does both.
pub(crate) fn read_beside<T>(
    input: &mut (impl Read + Send),
    work: impl FnOnce(&mut dyn BufRead) -> T,
) -> T {
    read_beside_by(Builder::new(), input, work)
}

fn read_beside_by<T>(
    builder: Builder,
    input: &mut (impl Read + Send),
    work: impl FnOnce(&mut dyn BufRead) -> T,
) -> T {
    let input = &Mutex::new(input);
    let (sender, receiver) = sync_channel(WAITING);
    let bring = move || send(*input.lock().unwrap_or_else(PoisonError::into_inner), &sender);
    thread::scope(|scope| match builder.spawn_scoped(scope, bring) {
        Ok(_) => work(&mut Relay { receiver, piece: Vec::new(), at: 0 }),
        Err(_) => {
            let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut BufReader::new(&mut **input))
        }
    })
}

/// Sends all bytes, until nobody wants them any more.
fn send(input: &mut impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = Vec::new();
        let outcome = input.by_ref().take(PIECE).read_to_end(&mut piece);
        let is_last = !matches!(outcome, Ok(count) if count > 0);
        if to.send(outcome.map(|_| piece)).is_err() || is_last {
            return;
        }
    }
}

/// The other end.
struct Relay {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    /// How much of the piece was read.
    at: usize,
}

impl BufRead for Relay {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.piece.len() {
            // Who sends has nothing more to send after an empty piece, or after an error.
            self.piece = self.receiver.recv().unwrap_or(Ok(Vec::new()))?;
            self.at = 0;
        }
        Ok(self.piece.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }
}

impl Read for Relay {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(output)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails behind so many bytes.
    struct Failing(u64);

    impl Read for Failing {
        fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
            let count = io::repeat(7).take(self.0).read(output)?;
            self.0 -= count as u64;
            if count == 0 { Err(io::Error::other("the medium failed")) } else { Ok(count) }
        }
    }

    fn builders() -> [Builder; 2] {
        // No address space holds such a stack, so the kernel refuses the second.
        [Builder::new(), Builder::new().stack_size(1 << 60)]
    }

    #[test]
    fn all_bytes_arrive_in_their_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
        for builder in builders() {
            let mut found = Vec::new();
            let mut input = &bytes[..];
            read_beside_by(builder, &mut input, |all| all.read_to_end(&mut found)).unwrap();
            assert!(found == bytes && input.is_empty());
        }
    }

    #[test]
    fn whoever_reads_need_not_read_all() {
        for builder in builders() {
            let mut first = [0; 10];
            let mut endless = io::repeat(3);
            read_beside_by(builder, &mut endless, |all| all.read_exact(&mut first)).unwrap();
            assert_eq!(first, [3; 10]);
        }
    }

    #[test]
    fn an_error_arrives_where_it_belongs() {
        for builder in builders() {
            let mut found = Vec::new();
            let outcome = read_beside_by(builder, &mut Failing(PIECE), |all| {
                all.take(PIECE).read_to_end(&mut found)?;
                all.read(&mut [0])
            });
            assert_eq!(outcome.unwrap_err().to_string(), "the medium failed");
            assert_eq!(found.len() as u64, PIECE);
        }
    }
}
