//! One packet of the socket device: 44 bytes of header, little-endian, then data.
//!
//! Specification: Virtio 1.2, section 5.10.6 (`struct virtio_vsock_hdr`).

/// The length of a header in bytes.
pub(super) const HEADER_LENGTH: usize = 44;
/// The host's address.
pub(super) const HOST_CID: u64 = 2;
/// A stream of bytes; the other type, sequences of packets, is not offered.
const STREAM: u16 = 1;

/// What a packet is for (`VIRTIO_VSOCK_OP_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Request,
    Response,
    Reset,
    Shutdown,
    Data,
    CreditUpdate,
    CreditRequest,
}

const OPERATIONS: [(u16, Operation); 7] = [
    (1, Operation::Request),
    (2, Operation::Response),
    (3, Operation::Reset),
    (4, Operation::Shutdown),
    (5, Operation::Data),
    (6, Operation::CreditUpdate),
    (7, Operation::CreditRequest),
];

/// A packet, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: (u64, u32),
    pub(super) destination: (u64, u32),
    pub(super) operation: Operation,
    pub(super) flags: u32,
    /// How many bytes the sender can keep for its reader.
    pub(super) buffer: u32,
    /// How many bytes the sender's reader has taken so far, modulo 2^32.
    pub(super) taken: u32,
    pub(super) data: Vec<u8>,
}

impl Packet {
    /// Writes header and data.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let number = OPERATIONS.iter().find(|(_, it)| *it == self.operation);
        let (number, _) = number.expect("the table has every operation");
        let length = u32::try_from(self.data.len()).expect("packets are made small");
        let mut bytes = Vec::with_capacity(HEADER_LENGTH.saturating_add(self.data.len()));
        bytes.extend(self.source.0.to_le_bytes());
        bytes.extend(self.destination.0.to_le_bytes());
        bytes.extend(self.source.1.to_le_bytes());
        bytes.extend(self.destination.1.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(STREAM.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.buffer.to_le_bytes());
        bytes.extend(self.taken.to_le_bytes());
        bytes.extend(&self.data);
        bytes
    }

    /// Reads header and data; `None` for anything that is no packet of a stream. Bytes beyond the
    /// length that the header names are not looked at.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_LENGTH)?;
        let mut header = header;
        let source_cid = u64::from_le_bytes(take(&mut header)?);
        let destination_cid = u64::from_le_bytes(take(&mut header)?);
        let source_port = u32::from_le_bytes(take(&mut header)?);
        let destination_port = u32::from_le_bytes(take(&mut header)?);
        let length = u32::from_le_bytes(take(&mut header)?);
        let kind = u16::from_le_bytes(take(&mut header)?);
        let number = u16::from_le_bytes(take(&mut header)?);
        let (_, operation) = OPERATIONS.iter().find(|(it, _)| *it == number && kind == STREAM)?;
        Some(Self {
            source: (source_cid, source_port),
            destination: (destination_cid, destination_port),
            operation: *operation,
            flags: u32::from_le_bytes(take(&mut header)?),
            buffer: u32::from_le_bytes(take(&mut header)?),
            taken: u32::from_le_bytes(take(&mut header)?),
            data: rest.get(..usize::try_from(length).ok()?)?.to_vec(),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_read_back_is_the_same() {
        let packet = Packet {
            source: (HOST_CID, 1 << 30),
            destination: (3, 1024),
            operation: Operation::Data,
            flags: 0,
            buffer: 65_536,
            taken: 7,
            data: b"abc".to_vec(),
        };
        let bytes = packet.to_bytes();
        assert_eq!(bytes.len(), HEADER_LENGTH + 3);
        assert_eq!(bytes[28..32], [1, 0, 5, 0], "type and operation");
        assert_eq!(Packet::parse(&bytes), Some(packet));
    }

    #[test]
    fn what_is_no_packet_is_passed_over() {
        let good = [&[0; 28][..], &[1, 0, 3, 0], &[0; 12]].concat();
        assert!(Packet::parse(&good).is_some());
        let (mut kind, mut operation, mut length) = (good.clone(), good.clone(), good.clone());
        (kind[28], operation[30], length[24]) = (2, 8, 1);
        for bad in [&kind[..], &operation, &length, &good[..43], b""] {
            assert_eq!(Packet::parse(bad), None);
        }
    }
}
