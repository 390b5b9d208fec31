//! The queues of the device: packets out of the guest's buffers, and into them.
//!
//! The protocol with QEMU and the reading of queues are those of the rust-vmm crates, which check
//! every address that the guest names.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackendMut, VringEpollHandler, VringRwLock, VringT};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

use super::packet::{HOST_CID, Operation, Packet};
use super::{GUEST_CID, Link, Shared};

/// Buffers of the guest for packets to it; packets from it; buffers for events, of which this
/// device has none. In this order.
const QUEUES: usize = 3;
/// The event that the host has something to send. Numbers up to that of queues are taken.
const KICK: u16 = 4;
/// How many packets a queue holds at most.
const QUEUE_SIZE: usize = 256;
/// The longest packet of a guest, in bytes: what Linux sends, with room to spare.
const PACKET_LIMIT: u64 = 128 << 10;
/// The feature bit of the current virtio, `VIRTIO_F_VERSION_1`.
const VERSION_1: u64 = 1 << 32;

/// The device's side of the queues.
pub(super) struct Device {
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    shared: Arc<Shared>,
    kicked: EventConsumer,
    /// Ends the thread that serves the queues.
    exit: (EventConsumer, EventNotifier),
}

impl Device {
    pub(super) fn new() -> io::Result<(Self, Arc<Shared>)> {
        let (kicked, kick) = new_event_consumer_and_notifier(EventFlag::NONBLOCK)?;
        let exit = new_event_consumer_and_notifier(EventFlag::NONBLOCK)?;
        let (link, changed) = (Mutex::new(Link::default()), Condvar::new());
        let shared = Arc::new(Shared { link, changed, kick });
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        Ok((Self { memory, shared: Arc::clone(&shared), kicked, exit }, shared))
    }

    /// Takes all packets that the guest has sent.
    fn receive(&self, queue: &VringRwLock) -> io::Result<()> {
        let memory = self.memory.memory();
        let mut is_any = false;
        loop {
            let chain = queue.get_mut().get_queue_mut().pop_descriptor_chain(memory.clone());
            let Some(chain) = chain else { break };
            let head = chain.head_index();
            let mut bytes = Vec::new();
            let reader = chain.reader(&memory).map_err(broken)?;
            reader.take(PACKET_LIMIT).read_to_end(&mut bytes)?;
            if let Some(packet) = Packet::parse(&bytes) {
                self.handle(&packet);
            }
            queue.add_used(head, 0).map_err(broken)?;
            is_any = true;
        }
        if is_any {
            self.shared.changed.notify_all();
            queue.signal_used_queue()?;
        }
        Ok(())
    }

    fn handle(&self, packet: &Packet) {
        let mut link = self.shared.lock();
        let owner = link.connection.as_mut().filter(|connection| connection.owns(packet));
        let answer = match owner {
            Some(connection) => connection.receive(packet),
            None if packet.operation == Operation::Reset => None,
            None => Some(refuse(packet)),
        };
        link.outgoing.extend(answer);
    }

    /// Sends as many packets as the guest has buffers for.
    fn send(&self, queue: &VringRwLock) -> io::Result<()> {
        let memory = self.memory.memory();
        let mut is_any = false;
        let mut link = self.shared.lock();
        while let Some(packet) = link.outgoing.front() {
            let chain = queue.get_mut().get_queue_mut().pop_descriptor_chain(memory.clone());
            let Some(chain) = chain else { break };
            let head = chain.head_index();
            let mut writer = chain.writer(&memory).map_err(broken)?;
            let bytes = packet.to_bytes();
            let fits = writer.available_bytes() >= bytes.len();
            if fits {
                writer.write_all(&bytes)?;
                link.outgoing.pop_front();
            }
            let used = if fits { u32::try_from(bytes.len()).unwrap_or(u32::MAX) } else { 0 };
            queue.add_used(head, used).map_err(broken)?;
            is_any = true;
        }
        drop(link);
        if is_any { queue.signal_used_queue() } else { Ok(()) }
    }
}

/// The answer to a packet that belongs to no stream.
fn refuse(packet: &Packet) -> Packet {
    Packet {
        source: (HOST_CID, packet.destination.1),
        destination: (GUEST_CID, packet.source.1),
        operation: Operation::Reset,
        flags: 0,
        buffer: 0,
        taken: 0,
        data: Vec::new(),
    }
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Lets the thread that serves the queues also hear when the host has something to send.
pub(super) fn watch(
    device: &Mutex<Device>,
    handlers: &[Arc<VringEpollHandler<Arc<Mutex<Device>>>>],
) -> io::Result<()> {
    let event = device.lock().expect("no thread uses the device yet").kicked.as_raw_fd();
    for handler in handlers {
        handler.register_listener(event, EventSet::IN, KICK.into())?;
    }
    Ok(())
}

impl VhostUserBackendMut for Device {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        VERSION_1 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::REPLY_ACK
    }

    fn set_event_idx(&mut self, _enabled: bool) {}

    /// The configuration is the guest's address.
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let bytes = GUEST_CID.to_le_bytes();
        let wanted = bytes.iter().skip(offset as usize).take(size as usize);
        wanted.copied().collect()
    }

    fn update_memory(&mut self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        Some((self.exit.0.try_clone().ok()?, self.exit.1.try_clone().ok()?))
    }

    fn handle_event(
        &mut self,
        event: u16,
        _kind: EventSet,
        queues: &[VringRwLock],
        _thread: usize,
    ) -> io::Result<()> {
        if event == KICK {
            self.kicked.consume()?;
        }
        let [to_guest, from_guest, ..] = queues else { return Ok(()) };
        self.receive(from_guest)?;
        self.send(to_guest)
    }
}
