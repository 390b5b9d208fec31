//! A vsock device in user space, so that no host needs `/dev/vhost-vsock` or a privilege for it.
//!
//! QEMU gives the device's queues to whoever listens on a Unix socket (the vhost-user protocol);
//! here that is a thread of this process. `packet` is what goes through the queues, `connection`
//! the one stream that is ever open, `device` the queues themselves. Only the host opens streams,
//! one at a time, and the guest may open none.
//!
//! Specifications: Virtio 1.2, section 5.10 (socket device); QEMU, "Vhost-user Protocol".

mod connection;
mod device;
mod packet;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::Shutdown;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::event::EventNotifier;

use connection::{Connection, State};
use device::Device;
use packet::Packet;

/// The guest's address. There is one guest to a device, so any number from three on will do.
const GUEST_CID: u64 = 3;
/// The host's ports are counted from here, a new one for each stream.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// The device, as the host sees it. Dropping it ends its threads.
#[derive(Debug)]
pub(super) struct Vsock {
    shared: Arc<Shared>,
    /// Where QEMU is waited for.
    listener: UnixListener,
    thread: Option<JoinHandle<()>>,
    next_port: u32,
}

/// What the device's threads and the host's stream have in common.
struct Shared {
    link: Mutex<Link>,
    changed: Condvar,
    /// Wakes the device, when the host has something to send.
    kick: EventNotifier,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// The state of the line between host and guest.
#[derive(Debug, Default)]
struct Link {
    connection: Option<Connection>,
    /// Packets that wait for a buffer of the guest.
    outgoing: VecDeque<Packet>,
    /// Why the device does not work any more.
    failure: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().expect("no thread panics while it holds the link")
    }

    fn kick(&self) {
        // An event counter takes a notice unless it overflows, and then a notice waits already.
        drop(self.kick.notify());
    }
}

impl Vsock {
    /// Makes a device to which QEMU can connect at `socket`.
    ///
    /// # Errors
    /// What the operating system reports.
    pub(super) fn listen(socket: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let waiting = listener.try_clone()?;
        let (device, shared) = Device::new()?;
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let backend = Arc::new(Mutex::new(device));
        let mut daemon = VhostUserDaemon::new("vsock".to_owned(), Arc::clone(&backend), memory)
            .map_err(|error| io::Error::other(error.to_string()))?;
        device::watch(&backend, &daemon.get_epoll_handlers())?;
        let state = Arc::clone(&shared);
        let run = move || {
            let mut listener = waiting.into();
            let ended = daemon.start(&mut listener).and_then(|()| daemon.wait());
            let failure = ended.map_or_else(|error| error.to_string(), |()| "QEMU ended".into());
            state.lock().failure = Some(failure);
            state.changed.notify_all();
        };
        let thread = Some(thread::Builder::new().name("vsock".to_owned()).spawn(run)?);
        Ok(Self { shared, listener, thread, next_port: FIRST_HOST_PORT })
    }

    /// Opens a stream to `port` of the guest, on which reads and writes end at `deadline`.
    ///
    /// # Errors
    /// `TimedOut` when the guest says nothing, `ConnectionRefused` when nobody listens there, and
    /// `BrokenPipe` when QEMU has ended.
    pub(super) fn connect(&mut self, port: u32, deadline: Instant) -> io::Result<Stream> {
        self.next_port = self.next_port.wrapping_add(1);
        let connection = Connection::new(GUEST_CID, self.next_port, port);
        let mut link = self.shared.lock();
        link.outgoing.clear();
        link.outgoing.push_back(connection.request());
        link.connection = Some(connection);
        drop(link);
        let stream = Stream { shared: Arc::clone(&self.shared), deadline };
        self.shared.kick();
        stream.wait_until(|connection| match connection.state() {
            State::Requested => None,
            State::Open => Some(Ok(())),
            State::Closed => Some(Err(io::ErrorKind::ConnectionRefused.into())),
        })?;
        Ok(stream)
    }
}

impl Drop for Vsock {
    fn drop(&mut self) {
        // The thread may still wait for a QEMU that never came. Linux ends that wait with an error;
        // a socket that nobody waits at does not care.
        let _not_waiting = rustix::net::shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A stream to the guest. Reads and writes block until the deadline it was opened with.
#[derive(Debug)]
pub(super) struct Stream {
    shared: Arc<Shared>,
    deadline: Instant,
}

impl Stream {
    /// Waits until `ready` has an answer.
    fn wait_until<T>(
        &self,
        mut ready: impl FnMut(&mut Connection) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let mut link = self.shared.lock();
        loop {
            let connection = link.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            if let Some(result) = ready(connection) {
                return result;
            }
            if let Some(failure) = &link.failure {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, failure.clone()));
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let waited = self.shared.changed.wait_timeout(link, left);
            link = waited.expect("no thread panics while it holds the link").0;
        }
    }

    fn send(&self, packets: impl IntoIterator<Item = Packet>) {
        self.shared.lock().outgoing.extend(packets);
        self.shared.kick();
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, update) = self.wait_until(|connection| {
            let count = connection.take(buffer);
            let is_over = connection.state() == State::Closed || buffer.is_empty();
            (count > 0 || is_over).then(|| Ok((count, connection.credit_update())))
        })?;
        self.send(update);
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let packet = self.wait_until(|connection| match connection.state() {
            State::Closed => Some(Err(io::ErrorKind::BrokenPipe.into())),
            _ => connection.data(bytes).map(Ok),
        })?;
        let count = packet.data.len();
        self.send([packet]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut link = self.shared.lock();
        let reset = link.connection.take().filter(|it| it.state() != State::Closed);
        link.outgoing.extend(reset.map(|connection| connection.reset()));
        drop(link);
        self.shared.kick();
    }
}
