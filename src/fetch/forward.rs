//! Plain HTTP through a proxy, in the absolute form of RFC 9112, section 3.2.2.
//!
//! In: the proxy's address. Out: a client that connects to the proxy and names the whole target in
//! the first line. The HTTP library itself only asks proxies for tunnels, which many of them open
//! to port 443 alone. `https` targets do take a tunnel, and are not this file's business.

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Error};

use super::addresses::Addresses;

/// A client whose every request goes to `proxy` (an `http` address).
pub(super) fn agent(config: Config, proxy: Uri, addresses: Addresses) -> Agent {
    let connector = TcpConnector::default().chain(AbsoluteForm);
    Agent::with_parts(config, connector, AlwaysProxy { proxy, addresses })
}

/// Finds the proxy's addresses whatever the target is.
#[derive(Debug)]
struct AlwaysProxy {
    proxy: Uri,
    addresses: Addresses,
}

impl Resolver for AlwaysProxy {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.addresses.resolve(&self.proxy, config, timeout)
    }
}

/// Wraps connections so that first lines name the whole target.
#[derive(Debug)]
struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = Forwarding<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let authority = details.uri.authority().ok_or(Error::ConnectionFailed)?;
        let origin = format!("http://{authority}");
        Ok(chained.map(|inner| Forwarding { inner, origin }))
    }
}

#[derive(Debug)]
struct Forwarding<In> {
    inner: In,
    origin: String,
}

const METHOD: &[u8] = b"GET ";

impl<In: Transport> Transport for Forwarding<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    /// The head of a request is written at once: a `GET` without body that fits the buffer.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.inner.buffers().output();
        let head = output.get(..amount).unwrap_or_default();
        let Some(target) = head.strip_prefix(METHOD).filter(|rest| rest.starts_with(b"/")) else {
            return self.inner.transmit_output(amount, timeout);
        };
        let whole = [METHOD, self.origin.as_bytes(), target].concat();
        let place = output.get_mut(..whole.len()).ok_or(Error::ConnectionFailed)?;
        place.copy_from_slice(&whole);
        self.inner.transmit_output(whole.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
