//! Addresses of archives: `http`, `https` and `file` URLs, as far as downloading needs them.
//!
//! In: a text of a recipe, a configuration file or a `Location` header. Out: its parts, checked: no
//! blanks, control bytes or other characters that RFC 3986 forbids. Credentials are kept apart, so
//! that they are sent to their own host only and never shown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// A URL that can be fetched.
///
/// Cheap to clone, and small, because every error carries one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url(Arc<Parts>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Parts {
    scheme: Scheme,
    credentials: Option<String>,
    host: String,
    port: Option<u16>,
    /// With its leading slash, and a query if there is one; as written, without decoding.
    path: String,
}

/// How a URL is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP: what comes is checked by its signature or digest.
    Http,
    /// HTTP over TLS.
    Https,
    /// The local file system.
    File,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::File => "file",
        }
    }
}

/// Why a text is not a URL that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another scheme.
    #[error("{0:?} is not an http, https or file address")]
    Scheme(String),
    /// A byte that URLs do not hold.
    #[error("the address {0:?} holds a character that must be encoded")]
    Character(String),
    /// The host or port is malformed.
    #[error("the address {0:?} has no proper host")]
    Host(String),
}

impl Url {
    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// The host's name or address, without brackets; empty for files.
    pub fn host(&self) -> &str {
        self.0.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, given or usual.
    pub fn port(&self) -> u16 {
        self.0.port.unwrap_or(if self.0.scheme == Scheme::Https { 443 } else { 80 })
    }

    /// The path with its leading slash.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// `user:password`, percent-encoded as written.
    pub(super) fn credentials(&self) -> Option<&str> {
        self.0.credentials.as_deref()
    }

    /// Whether `other` is the same server, so that credentials may go there.
    pub(super) fn same_server(&self, other: &Self) -> bool {
        (self.0.scheme, self.host(), self.port()) == (other.0.scheme, other.host(), other.port())
    }

    /// This address with the credentials of `other`.
    pub(super) fn with_credentials_of(self, other: &Self) -> Self {
        Self(Arc::new(Parts { credentials: other.0.credentials.clone(), ..(*self.0).clone() }))
    }

    /// The address below this one; `below` is relative and checked by whoever calls.
    pub fn join(&self, below: &str) -> Self {
        let path = format!("{}/{}", self.0.path.trim_end_matches('/'), below);
        Self(Arc::new(Parts { path, ..(*self.0).clone() }))
    }

    /// What a `Location` header means as seen from here (RFC 3986, section 5; no `..` needed).
    ///
    /// # Errors
    /// The target is malformed or not of a scheme that can be fetched.
    pub(super) fn resolve(&self, location: &str) -> Result<Self, Error> {
        let here = |path| Self(Arc::new(Parts { path, credentials: None, ..(*self.0).clone() }));
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", self.0.scheme.name()).parse();
        }
        if location.starts_with('/') {
            check_characters(location)?;
            return Ok(here(location.to_owned()));
        }
        let before_path = location.split(['/', '?']).next().unwrap_or_default();
        if before_path.contains(':') {
            return location.parse();
        }
        check_characters(location)?;
        let folder = self.0.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(here(format!("{folder}/{location}")))
    }

    /// The file that a `file` URL names.
    pub(super) fn file_path(&self) -> Option<PathBuf> {
        if self.0.scheme != Scheme::File {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.0.path.len());
        let mut rest = self.0.path.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
                other => other,
            });
        }
        use std::os::unix::ffi::OsStringExt as _;
        let plain = !bytes.contains(&0);
        plain.then(|| PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    /// Whether the host is, by its name, this machine or its own link: not a place that the
    /// outside may send us to.
    pub(super) fn is_local(&self) -> bool {
        let host = self.host();
        let named = host == "localhost" || host.ends_with(".localhost") || host.is_empty();
        named || host.parse().is_ok_and(|address| is_local_address(&address))
    }
}

/// Whether an address is loopback, link-local or nowhere, in either notation.
pub(super) fn is_local_address(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || *v4 == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local_address(&IpAddr::V4(v4)),
            None => {
                v6.is_loopback()
                    || v6.segments()[0] & 0xffc0 == 0xfe80
                    || *v6 == Ipv6Addr::UNSPECIFIED
            }
        },
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn check_characters(text: &str) -> Result<(), Error> {
    let fine = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
    // An encoded control byte is refused as well: nothing in an archive is called so (C1).
    let encoded_control = text.as_bytes().windows(3).any(|window| match window {
        [b'%', high, low] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (high << 4 | low).is_ascii_control(),
            _ => true,
        },
        _ => false,
    });
    if text.bytes().all(fine) && !encoded_control && !cut_escape(text) {
        Ok(())
    } else {
        Err(Error::Character(text.chars().take(200).collect()))
    }
}

fn cut_escape(text: &str) -> bool {
    text.bytes().rev().take(2).any(|byte| byte == b'%')
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let shown = || text.chars().take(200).collect::<String>();
        let (scheme, rest) = text.split_once(':').ok_or_else(|| Error::Scheme(shown()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "file" => Scheme::File,
            _ => return Err(Error::Scheme(shown())),
        };
        if scheme == Scheme::File {
            return file_url(rest).ok_or_else(|| Error::Host(shown()));
        }
        check_characters(text)?;
        let rest = rest.strip_prefix("//").ok_or_else(|| Error::Host(shown()))?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials.to_owned()), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port).ok_or_else(|| Error::Host(shown()))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self(Arc::new(Parts { scheme, credentials, host, port, path })))
    }
}

/// `file:///path`, `file:/path`; blanks and other characters of real paths may stay unencoded.
fn file_url(rest: &str) -> Option<Url> {
    let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
    let proper = path.starts_with('/') && !path.bytes().any(|byte| byte.is_ascii_control());
    let path = path.to_owned();
    let (scheme, host) = (Scheme::File, String::new());
    let url = Url(Arc::new(Parts { scheme, credentials: None, host, port: None, path }));
    (proper && url.file_path().is_some()).then_some(url)
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let after_bracket = text.rfind(']').unwrap_or(0);
    let (host, port) = match text.get(after_bracket..)?.find(':') {
        Some(at) => {
            let (host, port) = text.split_at(after_bracket.checked_add(at)?);
            (host, port.get(1..)?)
        }
        None => (text, ""),
    };
    let port = match port {
        "" if !text.ends_with(':') => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let proper = match literal {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    proper.then(|| (host.to_ascii_lowercase(), port))
}

impl fmt::Display for Url {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme.name(), self.0.host)?;
        if let Some(port) = self.0.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.0.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Whether `path` stays below the folder it is relative to, and can be part of a URL as it is.
pub(super) fn stays_below(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"%?#\\\"<>".contains(&byte);
    !path.is_empty()
        && path.bytes().all(plain)
        && !path.contains("://")
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_shown_without_credentials() {
        let url: Url = "http://user:p%40ss@Mirror.example:8080/debian/".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.path()), ("mirror.example", 8080, "/debian/"));
        assert_eq!(url.credentials(), Some("user:p%40ss"));
        assert_eq!(url.join("dists/x").to_string(), "http://mirror.example:8080/debian/dists/x");
        let v6: Url = "https://[2001:db8::1]/x".parse().unwrap();
        assert_eq!((v6.host(), v6.port()), ("2001:db8::1", 443));
        assert_eq!(v6.to_string(), "https://[2001:db8::1]/x");
        let file: Url = "file:///srv/a%20b".parse().unwrap();
        assert_eq!(file.file_path(), Some(PathBuf::from("/srv/a b")));
    }

    #[test]
    fn what_cannot_be_fetched_is_refused() {
        for text in [
            "ftp://x/y",
            "x",
            "http:/x",
            "http://",
            "http://a b/",
            "http://x/\n",
            "http://x:/",
            "http://x:99999/",
            "http://[::1",
            "data:,x",
            "file:relative",
            "file:///a%00b",
            "http://x/%0a",
            "http://x/%zz",
            "http://x/%2",
            "unix:/x",
            "mirror+http://x/",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn locations_are_resolved_from_where_they_came() {
        let from: Url = "http://u:p@a/x/y".parse().unwrap();
        for (location, expected) in [
            ("/z", "http://a/z"),
            ("z", "http://a/x/z"),
            ("//b/z", "http://b/z"),
            ("https://c/z?q", "https://c/z?q"),
        ] {
            let url = from.resolve(location).unwrap();
            assert_eq!((url.to_string().as_str(), url.credentials()), (expected, None));
        }
        for location in ["file:///etc/passwd", "ftp://b/", "data:,x", "/a b"] {
            assert!(from.resolve(location).map(|u| u.scheme() == Scheme::File).unwrap_or(true));
        }
    }

    #[test]
    fn c1_a_location_with_encoded_control_bytes_is_refused() {
        let from: Url = "http://a/x".parse().unwrap();
        assert!(from.resolve("/x%0a%0a201%20URI%20Done%0aSHA256-Hash:x").is_err());
        assert!(from.resolve("/x%20y").is_ok());
    }

    #[test]
    fn f14_local_addresses_are_known_in_every_notation() {
        let local = |text: &str| format!("http://{text}/").parse::<Url>().unwrap().is_local();
        for text in ["127.0.0.1", "127.9.9.9", "169.254.169.254", "[::1]", "[fe80::1]", "0.0.0.0"] {
            assert!(local(text), "{text}");
        }
        assert!(local("[::ffff:127.0.0.1]") && local("localhost") && local("a.localhost"));
        assert!(!local("192.0.2.1") && !local("mirror.example") && !local("[2001:db8::1]"));
    }
}
