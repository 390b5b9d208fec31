//! Finds the addresses of hosts, and which of them answer.
//!
//! In: the name of a host; out: its addresses, one that takes connections first. A network may
//! promise IPv6 and swallow every packet of it: so where a name has several addresses, each gets
//! one moment to take a connection before the next is tried, and what was found holds for all that
//! follows. A name is looked up once: it cannot mean another machine a moment later. No address is
//! preferred by its family, and none is written here. (RFC 8305 races them; one after the other is
//! simpler, and mirrors have two.)

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long one of several addresses may take to accept a connection before the next is tried.
const MOMENT: Duration = Duration::from_millis(1_500);
/// No more addresses of one name are looked at.
const MOST: usize = 16;

/// How names are looked up.
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What was found for a host and a port.
type Known = BTreeMap<(String, u16), Vec<SocketAddr>>;

/// The addresses that were found so far. Clones share them.
#[derive(Clone)]
pub(super) struct Addresses {
    lookup: Arc<Lookup>,
    known: Arc<Mutex<Known>>,
    /// How long looking up may take.
    patience: Duration,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Addresses {
    /// Addresses as the system knows them.
    pub(super) fn of_system(patience: Duration) -> Self {
        Self::looked_up_by(patience, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    pub(super) fn looked_up_by(
        patience: Duration,
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), known: Arc::default(), patience }
    }

    /// The addresses of a host, one that answers first.
    ///
    /// # Errors
    /// The name is unknown, or looking it up took too long (`TimedOut`).
    pub(super) fn of(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let key = (host.to_owned(), port);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known().get(&key) {
            return Ok(addresses.clone());
        }
        let mut addresses = self.look_up(host, port)?;
        addresses.truncate(MOST);
        put_answering_first(&mut addresses);
        // Another thread may have been faster; then its answer holds.
        Ok(known().entry(key).or_insert(addresses).clone())
    }

    /// Asks on a thread of its own, because the system's own patience is longer than ours; where
    /// there can be no such thread, with the system's patience.
    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (sender, receiver) = sync_channel(1);
        let (lookup, name) = (Arc::clone(&self.lookup), host.to_owned());
        let ask = move || {
            // Nobody listens any more when this took too long.
            drop(sender.send(lookup(&name, port)));
        };
        if thread::Builder::new().name("names".to_owned()).spawn(ask).is_err() {
            return (self.lookup)(host, port);
        }
        match receiver.recv_timeout(self.patience) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("looking up panicked")),
        }
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let found = self.of(host.trim_start_matches('[').trim_end_matches(']'), port);
        let found = found.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Error::Timeout(ureq::Timeout::Resolve),
            _ => Error::Io(error),
        })?;
        let mut addresses = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// Moves the first address that takes a connection to the front. When none does, nothing moves:
/// whoever connects has more patience.
fn put_answering_first(addresses: &mut [SocketAddr]) {
    if addresses.len() < 2 {
        return;
    }
    let answers = |address: &SocketAddr| TcpStream::connect_timeout(address, MOMENT).is_ok();
    if let Some(at) = addresses.iter().position(answers)
        && let Some(front) = addresses.get_mut(..=at)
    {
        front.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// An address that answers nothing: a listener whose queue is full drops what comes.
    struct BlackHole {
        address: SocketAddr,
        _listener: rustix::fd::OwnedFd,
        _waiting: Vec<rustix::fd::OwnedFd>,
    }

    impl BlackHole {
        fn new(ip: IpAddr) -> io::Result<Self> {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen};
            let family = if ip.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = || rustix::net::socket_with(family, SocketType::STREAM, flags, None);
            let listener = socket()?;
            bind(&listener, &SocketAddr::new(ip, 0))?;
            listen(&listener, 0)?;
            let address = rustix::net::getsockname(&listener)?;
            let address = SocketAddr::try_from(address).unwrap();
            let mut waiting = Vec::new();
            for _ in 0..4 {
                let client = socket()?;
                let _in_progress = connect(&client, &address);
                waiting.push(client);
            }
            Ok(Self { address, _listener: listener, _waiting: waiting })
        }
    }

    fn listener(ip: IpAddr) -> io::Result<TcpListener> {
        TcpListener::bind((ip, 0))
    }

    #[test]
    fn f15_an_address_that_swallows_packets_costs_a_moment_and_that_once() {
        // Some machines have no IPv6 at all: there IPv4 plays both parts.
        let hole = BlackHole::new(Ipv6Addr::LOCALHOST.into())
            .or_else(|_| BlackHole::new(Ipv4Addr::LOCALHOST.into()))
            .unwrap();
        let good = listener(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (first, second) = (hole.address, good.local_addr().unwrap());
        let addresses = Addresses::looked_up_by(PATIENCE, move |_, _| Ok(vec![first, second]));
        let began = Instant::now();
        assert_eq!(addresses.of("mirror.example", 80).unwrap(), [second, first]);
        let took = began.elapsed();
        assert!(took >= MOMENT && took < Duration::from_secs(5), "{took:?}");
        assert_eq!(addresses.of("mirror.example", 80).unwrap(), [second, first]);
        assert!(began.elapsed() < took + MOMENT);
    }

    #[test]
    fn f15_one_address_is_taken_as_it_is_and_a_refusing_one_comes_last() {
        let closed = {
            let gone = listener(Ipv4Addr::LOCALHOST.into()).unwrap();
            gone.local_addr().unwrap()
        };
        let good = listener(Ipv4Addr::LOCALHOST.into()).unwrap().local_addr().unwrap();
        let one = Addresses::looked_up_by(PATIENCE, move |_, _| Ok(vec![closed]));
        assert_eq!(one.of("a", 1).unwrap(), [closed]);
        let none = Addresses::looked_up_by(PATIENCE, move |_, _| Ok(vec![closed, closed]));
        assert_eq!(none.of("a", 1).unwrap(), [closed, closed]);
        let living = listener(Ipv4Addr::LOCALHOST.into()).unwrap();
        let living = living.local_addr().map(|address| (living, address)).unwrap();
        let two = Addresses::looked_up_by(PATIENCE, move |_, _| Ok(vec![closed, good, living.1]));
        assert_eq!(two.of("a", 1).unwrap()[0], living.1);
    }

    #[test]
    fn f14_a_name_means_the_same_machine_throughout() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let addresses = Addresses::looked_up_by(PATIENCE, move |_, port| {
            let last = u8::try_from(count.fetch_add(1, Ordering::Relaxed)).unwrap();
            Ok(vec![SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), port)])
        });
        let first = addresses.of("rebinding.example", 80).unwrap();
        assert_eq!(addresses.clone().of("rebinding.example", 80).unwrap(), first);
        assert_ne!(addresses.of("rebinding.example", 81).unwrap(), first);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_lookup_that_does_not_end_is_given_up() {
        let addresses = Addresses::looked_up_by(Duration::from_millis(50), |_, _| {
            thread::sleep(Duration::from_secs(2));
            Ok(Vec::new())
        });
        assert_eq!(addresses.of("a", 1).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
