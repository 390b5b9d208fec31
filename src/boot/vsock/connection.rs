//! One stream between host and guest: a state, two windows, no input or output.
//!
//! Each side tells the other how many bytes it keeps for its reader and how many the reader has
//! taken, and sends no more than the other has room for (Virtio 1.2, section 5.10.6.3).

use std::collections::VecDeque;

use super::packet::{HOST_CID, Operation, Packet};

/// How many bytes the host keeps for its reader.
const BUFFER: u32 = 64 << 10;
/// How many bytes of data go into one packet, so that it fits into any buffer of a Linux guest.
const PACKET_DATA: usize = 1 << 10;

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Requested,
    Open,
    Closed,
}

/// A stream that the host opened.
#[derive(Debug)]
pub(super) struct Connection {
    host: (u64, u32),
    guest: (u64, u32),
    state: State,
    /// What the guest sent and the host has not read.
    incoming: VecDeque<u8>,
    /// Bytes that the host has read, modulo 2^32, and what the guest was told of it.
    taken: u32,
    told: u32,
    /// Bytes that the host has sent, modulo 2^32.
    sent: u32,
    /// What the guest said of its buffer.
    guest_buffer: u32,
    guest_taken: u32,
}

impl Connection {
    /// A stream from `host_port` to `guest_port`, for which nothing was sent yet.
    pub(super) fn new(guest_cid: u64, host_port: u32, guest_port: u32) -> Self {
        Self {
            host: (HOST_CID, host_port),
            guest: (guest_cid, guest_port),
            state: State::Requested,
            incoming: VecDeque::new(),
            taken: 0,
            told: 0,
            sent: 0,
            guest_buffer: 0,
            guest_taken: 0,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// The packet that asks the guest for the stream.
    pub(super) fn request(&self) -> Packet {
        self.packet(Operation::Request)
    }

    /// The packet that ends the stream at once.
    pub(super) fn reset(&self) -> Packet {
        self.packet(Operation::Reset)
    }

    /// Takes a packet of the guest for this stream and returns the answer, if it needs one.
    pub(super) fn receive(&mut self, packet: &Packet) -> Option<Packet> {
        (self.guest_buffer, self.guest_taken) = (packet.buffer, packet.taken);
        match (packet.operation, self.state) {
            (Operation::Response, State::Requested) => self.state = State::Open,
            (Operation::Data, State::Open) => {
                let room = (BUFFER as usize).saturating_sub(self.incoming.len());
                if packet.data.len() > room {
                    self.state = State::Closed;
                    return Some(self.reset());
                }
                self.incoming.extend(&packet.data);
            }
            (Operation::CreditUpdate, State::Open) => {}
            (Operation::CreditRequest, State::Open) => {
                self.told = self.taken;
                return Some(self.packet(Operation::CreditUpdate));
            }
            (Operation::Shutdown, State::Open) => {
                self.state = State::Closed;
                return Some(self.reset());
            }
            (Operation::Reset, _) => self.state = State::Closed,
            _ => {
                self.state = State::Closed;
                return Some(self.reset());
            }
        }
        None
    }

    /// Moves what has come to `buffer`; returns how much.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.incoming.len());
        for (place, byte) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *place = byte;
        }
        self.taken = self.taken.wrapping_add(u32::try_from(count).unwrap_or(BUFFER));
        count
    }

    /// The packet that tells the guest of the room, once that is worth a packet.
    pub(super) fn credit_update(&mut self) -> Option<Packet> {
        if self.state != State::Open || self.taken.wrapping_sub(self.told) < BUFFER / 2 {
            return None;
        }
        self.told = self.taken;
        Some(self.packet(Operation::CreditUpdate))
    }

    /// A packet with as many of `bytes` as the guest has room for; `None` if that is not one.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Option<Packet> {
        let in_flight = self.sent.wrapping_sub(self.guest_taken);
        let room = usize::try_from(self.guest_buffer.saturating_sub(in_flight)).ok()?;
        let count = bytes.len().min(room).min(PACKET_DATA);
        if count == 0 && !bytes.is_empty() {
            return None;
        }
        let mut packet = self.packet(Operation::Data);
        packet.data = bytes.get(..count)?.to_vec();
        self.sent = self.sent.wrapping_add(u32::try_from(count).ok()?);
        self.told = self.taken;
        Some(packet)
    }

    /// Whether `packet` is one of this stream.
    pub(super) fn owns(&self, packet: &Packet) -> bool {
        packet.source == self.guest && packet.destination == self.host
    }

    fn packet(&self, operation: Operation) -> Packet {
        Packet {
            source: self.host,
            destination: self.guest,
            operation,
            flags: 0,
            buffer: BUFFER,
            taken: self.taken,
            data: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_guest(operation: Operation, data: &[u8]) -> Packet {
        let data = data.to_vec();
        let (source, destination) = ((3, 1024), (HOST_CID, 99));
        Packet { source, destination, operation, flags: 0, buffer: 10, taken: 0, data }
    }

    fn open() -> Connection {
        let mut connection = Connection::new(3, 99, 1024);
        assert_eq!(connection.receive(&from_guest(Operation::Response, b"")), None);
        assert_eq!(connection.state(), State::Open);
        connection
    }

    #[test]
    fn a_stream_opens_with_the_guests_answer_and_closes_with_its_refusal() {
        open();
        let mut refused = Connection::new(3, 99, 1024);
        assert_eq!(refused.receive(&from_guest(Operation::Reset, b"")), None);
        assert_eq!(refused.state(), State::Closed);
    }

    #[test]
    fn no_more_is_sent_than_the_guest_has_room_for() {
        let mut connection = open();
        assert_eq!(connection.data(b"twelve bytes").unwrap().data, b"twelve byt");
        assert_eq!(connection.data(b"es"), None);
        let mut update = from_guest(Operation::CreditUpdate, b"");
        update.taken = 1;
        connection.receive(&update);
        assert_eq!(connection.data(b"es").unwrap().data, b"e");
    }

    #[test]
    fn a_guest_that_sends_more_than_it_may_is_cut_off() {
        let mut connection = open();
        let full = from_guest(Operation::Data, &vec![7; BUFFER as usize]);
        assert_eq!(connection.receive(&full), None);
        let answer = connection.receive(&from_guest(Operation::Data, b"x")).unwrap();
        assert_eq!((answer.operation, connection.state()), (Operation::Reset, State::Closed));
    }

    #[test]
    fn the_guest_hears_of_room_once_half_is_read() {
        let mut connection = open();
        connection.receive(&from_guest(Operation::Data, &vec![7; BUFFER as usize]));
        let mut buffer = vec![0; (BUFFER / 2) as usize - 1];
        assert_eq!(connection.take(&mut buffer), buffer.len());
        assert_eq!(connection.credit_update(), None);
        assert_eq!(connection.take(&mut [0]), 1);
        assert_eq!(connection.credit_update().unwrap().taken, BUFFER / 2);
    }

    #[test]
    fn packets_that_make_no_sense_end_the_stream() {
        for operation in [Operation::Request, Operation::Response, Operation::Shutdown] {
            let mut connection = open();
            let answer = connection.receive(&from_guest(operation, b"")).unwrap();
            assert_eq!((answer.operation, connection.state()), (Operation::Reset, State::Closed));
        }
    }

    #[test]
    fn only_packets_between_the_two_ends_belong_to_the_stream() {
        let packet = from_guest(Operation::Data, b"");
        assert!(open().owns(&packet));
        assert!(!open().owns(&Packet { source: (4, 1024), ..packet.clone() }));
        assert!(!open().owns(&Packet { destination: (HOST_CID, 98), ..packet }));
    }
}
