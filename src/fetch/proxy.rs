//! Which proxy a request takes, by the customary variables' values.
//!
//! In: the values of `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, which the command
//! line hands over; this room reads no environment. Out: the proxy for one address, or none.
//! The customs are those of curl(1): the scheme's own variable wins over `all_proxy`, and
//! `no_proxy` is a list of hosts, domains and `*`.

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use super::transport::Error;
use super::url::{Scheme, Url};

/// Values of the customary variables; empty ones count as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `http_proxy`: for `http` addresses.
    pub http: Option<String>,
    /// `https_proxy`: for `https` addresses.
    pub https: Option<String>,
    /// `all_proxy`: where the scheme has none of its own.
    pub all: Option<String>,
    /// `no_proxy`: hosts that are reached directly, with commas or blanks between.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// The proxy for `url`, if it takes one.
    pub(super) fn for_url(&self, url: &Url) -> Result<Option<Proxy>, Error> {
        match self.address_for(url) {
            None => Ok(None),
            // A kind of proxy that is not understood must not mean going past it.
            Some(address) => match Proxy::new(address) {
                Ok(proxy) if is_http(&proxy) => Ok(Some(proxy)),
                _ => Err(Error::Proxy(without_credentials(address))),
            },
        }
    }

    /// The proxy for `url`, as it may be shown: without credentials.
    pub(super) fn shown_for(&self, url: &Url) -> Option<String> {
        self.address_for(url).map(without_credentials)
    }

    /// The proxy that forwards plain HTTP, unless it only makes tunnels (SOCKS, or over TLS).
    pub(super) fn forwarder(&self) -> Option<Uri> {
        let given = |value: &&String| !value.trim().is_empty();
        let address = self.http.as_ref().filter(given).or(self.all.as_ref().filter(given))?;
        let proxy = Proxy::new(address.trim()).ok()?;
        let plain = proxy.protocol() == ProxyProtocol::Http;
        let text = format!("http://{}:{}/", proxy.host(), proxy.port());
        plain.then(|| text.parse().ok()).flatten()
    }

    fn address_for(&self, url: &Url) -> Option<&str> {
        let own = match url.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
            Scheme::File => return None,
        };
        let given = |value: &&String| !value.trim().is_empty();
        let address = own.as_ref().filter(given).or(self.all.as_ref().filter(given))?;
        if self.is_excepted(url) { None } else { Some(address.trim()) }
    }

    fn is_excepted(&self, url: &Url) -> bool {
        let list = self.no_proxy.as_deref().unwrap_or_default();
        list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let (entry, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => (host, Some(port)),
                _ => (entry, None),
            };
            let name = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
            let host = url.host();
            let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
            let port_fits = port.is_none_or(|port| port == url.port().to_string());
            (name == "*" || host == name || below) && port_fits
        })
    }
}

fn is_http(proxy: &Proxy) -> bool {
    matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
}

/// What a proxy wants in `Proxy-Authorization`, if its address names a user.
pub(super) fn credentials(proxy: &Proxy) -> Option<String> {
    let user = proxy.username()?;
    let plain = format!("{user}:{}", proxy.password().unwrap_or_default());
    Some(format!("Basic {}", base64(plain.as_bytes())))
}

fn without_credentials(address: &str) -> String {
    let after = address.rsplit_once('@').map_or(address, |(_, host)| host);
    after.chars().take(200).collect()
}

/// The value of an `Authorization` header for `user:password` in percent-encoding (RFC 7617).
pub(super) fn basic(credentials: &str) -> String {
    let mut plain = Vec::new();
    let mut rest = credentials.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).and_then(|(h, l)| u8::try_from(h << 4 | l).ok())
            }
            _ => None,
        };
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[3..] } else { tail };
    }
    format!("Basic {}", base64(&plain))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let index = usize::try_from(word >> shift & 63).expect("six bits");
            text.push(if place <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_and_exceptions_win() {
        let proxies = Proxies {
            http: Some("http://p:1".into()),
            https: None,
            all: Some("http://q:2".into()),
            no_proxy: Some("localhost, .corp.example,10.0.0.1:8080".into()),
        };
        let cases = [
            ("http://a/", Some("http://p:1")),
            ("https://a/", Some("http://q:2")),
            ("file:///a", None),
            ("http://localhost/", None),
            ("http://x.corp.example/", None),
            ("http://corp.example/", None),
            ("http://xcorp.example/", Some("http://p:1")),
            ("http://10.0.0.1:8080/", None),
            ("http://10.0.0.1/", Some("http://p:1")),
        ];
        for (url, expected) in cases {
            assert_eq!(proxies.address_for(&url.parse().unwrap()), expected, "{url}");
        }
        let socks = Proxies { all: Some("socks5://u:secret@s:1".into()), ..Proxies::default() };
        let error = socks.for_url(&"http://a/".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "the proxy address \"s:1\" cannot be used");
        assert!(
            Proxies { http: Some(" ".into()), ..Proxies::default() }
                .for_url(&"http://a/".parse().unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn credentials_are_encoded_as_rfc_7617_shows() {
        assert_eq!(basic("Aladdin:open%20sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("a:b"), "Basic YTpi");
        assert_eq!(basic("a:%"), "Basic YTol");
    }
}
