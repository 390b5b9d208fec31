//! Brings bytes from `http`, `https` and `file` addresses, and expects the worst of them.
//!
//! In: an address, how many bytes may come, how many must. Out: a reader. It connects to every
//! address of a host in turn, follows redirects by our own rules, resumes broken transfers where
//! the server can prove that nothing changed, and gives up on silence, trickles and floods. What
//! the bytes are worth is decided elsewhere, by signature or digest. RFC 9110, 9112.

use std::io::{self, Read};
use std::time::Duration;

use fs_err::File;
use ureq::http::{HeaderMap, Response, header};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};

use super::addresses::Addresses;
use super::download::Download;
use super::forward;
use super::proxy::Proxies;
use super::url::{self, Scheme, Url};

/// How long and how often something may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To connect, over all addresses of a host.
    pub connect: Duration,
    /// Without a single byte.
    pub idle: Duration,
    /// The stretch over which [`Patience::minimum_rate`] is measured.
    pub window: Duration,
    /// Bytes a second below which a transfer is given up.
    pub minimum_rate: u64,
    /// How often one address is tried.
    pub attempts: u32,
    /// Pause before the second try; doubled for each further one.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            window: Duration::from_secs(20),
            minimum_rate: 1_000,
            attempts: 3,
            pause: Duration::from_millis(500),
        }
    }
}

/// The network as the command line describes it.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Proxies; the environment's, usually.
    pub proxies: Proxies,
    /// Time limits.
    pub patience: Patience,
}

/// What went wrong with one transfer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exchange failed below HTTP, or the answer is not HTTP.
    #[error("cannot fetch {url}{}", by(proxy.as_deref()))]
    Exchange {
        /// Where from.
        url: Url,
        /// The proxy that was to fetch it, without credentials.
        proxy: Option<String>,
        /// What the client says.
        source: Box<ureq::Error>,
    },
    /// The connection broke in the middle.
    #[error("{url} broke off after {after} bytes")]
    Broken {
        /// Where from.
        url: Url,
        /// Bytes that had arrived.
        after: u64,
        /// The cause.
        source: io::Error,
    },
    /// The answer is not the file.
    #[error("{url} answered with status {status}")]
    Status {
        /// Where from.
        url: Url,
        /// The status code of HTTP.
        status: u16,
    },
    /// Fewer bytes than must come.
    #[error("{url} ended after {found} bytes of {expected}")]
    Truncated {
        /// Where from.
        url: Url,
        /// Bytes that must come.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// Another length is announced than must come.
    #[error("{url} announces {found} bytes, and {expected} must come")]
    Length {
        /// Where from.
        url: Url,
        /// Bytes that must come.
        expected: u64,
        /// Bytes that are announced.
        found: u64,
    },
    /// More bytes than may come.
    #[error("{url} sends more than {cap} bytes")]
    TooLong {
        /// Where from.
        url: Url,
        /// The most that may come.
        cap: u64,
    },
    /// Too slow to wait for.
    #[error("{url} sends fewer than {rate} bytes a second")]
    Slow {
        /// Where from.
        url: Url,
        /// The least that is accepted.
        rate: u64,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects to {target:?}, {rule}")]
    Redirect {
        /// Where from.
        url: Url,
        /// The `Location`, cut to a sensible length.
        target: String,
        /// Why not.
        rule: &'static str,
    },
    /// Somebody in between shows a page instead of the file.
    #[error("{url} looks like a web page: a login page of the network, perhaps")]
    WebPage {
        /// Where from.
        url: Url,
    },
    /// The bytes were re-encoded on the way.
    #[error("{url} came encoded as {coding:?}, which nobody asked for")]
    Encoded {
        /// Where from.
        url: Url,
        /// The `Content-Encoding`.
        coding: String,
    },
    /// The content changed while it was being fetched in pieces.
    #[error("{url} changed while it was being fetched")]
    Changed {
        /// Where from.
        url: Url,
    },
    /// A local file cannot be read.
    #[error("cannot read {url}")]
    File {
        /// Which.
        url: Url,
        /// The cause.
        source: io::Error,
    },
    /// A proxy address is malformed.
    #[error("the proxy address {0:?} cannot be used")]
    Proxy(String),
}

/// Who was to fetch it, if anybody in between.
fn by(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" by the proxy {proxy}")).unwrap_or_default()
}

impl Error {
    /// Whether trying once more may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => !matches!(**source, ureq::Error::BadUri(_)),
            Self::Broken { .. } | Self::Truncated { .. } | Self::Length { .. } => true,
            Self::Changed { .. } | Self::Encoded { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 416 | 429),
            _ => false,
        }
    }

    /// Whether the server says that there is no such file.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 410),
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// One thing to bring.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub url: Url,
    /// Exactly this many bytes, if that is known.
    pub size: Option<u64>,
    /// Never more than this.
    pub cap: u64,
    /// Caches on the way must ask the origin.
    pub fresh: bool,
}

/// A place in a transfer from which to go on.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    pub from: u64,
    /// A strong validator (RFC 9110, section 8.8.1).
    pub etag: String,
}

/// An answer whose headers are in order, before its body.
pub(super) struct Answer {
    pub body: Box<dyn Read + Send>,
    /// Length of this body.
    pub length: Option<u64>,
    /// A strong validator, if the server has one and serves ranges.
    pub etag: Option<String>,
}

/// A client with its pool of connections.
#[derive(Debug)]
pub(super) struct Transport {
    agent: Agent,
    /// For plain HTTP through a proxy.
    forwarding: Option<Agent>,
    addresses: Addresses,
    network: Network,
}

/// As in apk and curl's advice; mirrors need one or two.
const MAX_REDIRECTS: usize = 5;

impl Transport {
    pub(super) fn new(network: &Network) -> Self {
        Self::with(network, Addresses::of_system(network.patience.connect))
    }

    /// A client that finds hosts by `addresses`.
    pub(super) fn with(network: &Network, addresses: Addresses) -> Self {
        let patience = network.patience;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .accept_encoding("identity")
            .user_agent(concat!("osbuilder/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.idle))
            .timeout_recv_response(Some(patience.idle))
            .timeout_per_read(Some(patience.idle))
            .tls_config(
                ureq::tls::TlsConfig::builder()
                    .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                    .build(),
            )
            .build();
        let forwarder = network.proxies.forwarder();
        let forwarding =
            forwarder.map(|proxy| forward::agent(config.clone(), proxy, addresses.clone()));
        let agent = Agent::with_parts(config, DefaultConnector::default(), addresses.clone());
        Self { agent, forwarding, addresses, network: network.clone() }
    }

    pub(super) const fn patience(&self) -> &Patience {
        &self.network.patience
    }

    /// Starts a transfer.
    ///
    /// # Errors
    /// Nothing that could be the file is offered.
    pub(super) fn open(&self, request: Request) -> Result<Download<'_>, Error> {
        let answer = self.ask(&request, None)?;
        Ok(Download::new(self, request, answer))
    }

    /// Sends a request, follows redirects, and checks the headers of the answer.
    pub(super) fn ask(&self, request: &Request, resume: Option<&Resume>) -> Result<Answer, Error> {
        let mut url = request.url.clone();
        if url.scheme() == Scheme::File {
            return open_file(request);
        }
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&url, request.fresh, resume)?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    url = self.next_hop(&request.url, &url, &response)?;
                }
                200 if resume.is_none() => return answer(&url, response, request.size),
                // The server answers with the whole of something else (RFC 9110, section 13.1.5).
                200 => return Err(Error::Changed { url }),
                206 => match resume {
                    Some(resume) => return partial(&url, response, resume, request.size),
                    None => return Err(Error::Status { url, status: 206 }),
                },
                511 => return Err(Error::WebPage { url }),
                status => return Err(Error::Status { url, status }),
            }
        }
        let target = url.to_string();
        Err(Error::Redirect { url: request.url.clone(), target, rule: "after too many redirects" })
    }

    fn exchange(
        &self,
        url: &Url,
        fresh: bool,
        resume: Option<&Resume>,
    ) -> Result<Response<Body>, Error> {
        let proxy = self.network.proxies.for_url(url)?;
        let forwarded = proxy.as_ref().filter(|_| url.scheme() == Scheme::Http);
        let mut call = match forwarded.zip(self.forwarding.as_ref()) {
            Some((proxy, agent)) => {
                let call = agent.get(url.to_string());
                match super::proxy::credentials(proxy) {
                    Some(credentials) => call.header(header::PROXY_AUTHORIZATION, credentials),
                    None => call,
                }
            }
            None => self.agent.get(url.to_string()).config().proxy(proxy).build(),
        };
        if fresh {
            call = call.header(header::CACHE_CONTROL, "no-cache");
        }
        if let Some(credentials) = url.credentials() {
            call = call.header(header::AUTHORIZATION, super::proxy::basic(credentials));
        }
        if let Some(resume) = resume {
            call = call.header(header::RANGE, format!("bytes={}-", resume.from));
            call = call.header(header::IF_RANGE, &resume.etag);
        }
        call.call().map_err(|error| Error::Exchange {
            url: url.clone(),
            proxy: self.network.proxies.shown_for(url),
            source: Box::new(error),
        })
    }

    /// Where a redirect leads, if it may be followed.
    pub(super) fn next_hop(
        &self,
        origin: &Url,
        from: &Url,
        response: &Response<Body>,
    ) -> Result<Url, Error> {
        let location = response.headers().get(header::LOCATION);
        let target =
            location.map_or_else(String::new, |l| String::from_utf8_lossy(l.as_bytes()).into());
        let refuse = |rule| Error::Redirect {
            url: from.clone(),
            target: target.chars().take(200).collect(),
            rule,
        };
        let mut next =
            from.resolve(&target).map_err(|_| refuse("which is no address to follow"))?;
        if target.is_empty() {
            return Err(refuse("which is no address to follow"));
        }
        if next.scheme() == Scheme::File {
            return Err(refuse("which is not an address of the network"));
        }
        if from.scheme() == Scheme::Https && next.scheme() == Scheme::Http {
            return Err(refuse("which would give up encryption"));
        }
        if !self.is_local(origin) && self.is_local(&next) {
            return Err(refuse("which is this machine or its own link"));
        }
        if next.same_server(origin) {
            next = next.with_credentials_of(origin);
        }
        Ok(next)
    }

    /// Whether an address leads to this machine or its own link, by name or by what it resolves to.
    fn is_local(&self, url: &Url) -> bool {
        if url.is_local() {
            return true;
        }
        let direct = matches!(self.network.proxies.for_url(url), Ok(None));
        let resolved = || self.addresses.of(url.host(), url.port()).ok();
        direct && resolved().is_some_and(|all| all.iter().any(|a| url::is_local_address(&a.ip())))
    }
}

fn answer(url: &Url, response: Response<Body>, size: Option<u64>) -> Result<Answer, Error> {
    let headers = response.headers();
    refuse_encoded(url, headers)?;
    let length = content_length(url, headers)?;
    if let (Some(expected), Some(found)) = (size, length)
        && expected != found
    {
        return Err(Error::Length { url: url.clone(), expected, found });
    }
    let etag = strong_etag(headers);
    let body = Box::new(response.into_body().into_reader());
    Ok(Answer { body, length, etag })
}

fn partial(
    url: &Url,
    response: Response<Body>,
    resume: &Resume,
    size: Option<u64>,
) -> Result<Answer, Error> {
    let headers = response.headers();
    refuse_encoded(url, headers)?;
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let (first, last, total) = range
        .and_then(content_range)
        .filter(|(first, last, total)| first <= last && total.is_none_or(|total| *last < total))
        .ok_or_else(|| Error::Changed { url: url.clone() })?;
    let fits = first == resume.from
        && (total.is_none() || size.is_none() || total == size)
        && strong_etag(headers).is_none_or(|etag| etag == resume.etag);
    if !fits {
        return Err(Error::Changed { url: url.clone() });
    }
    let length = last.checked_sub(first).and_then(|most| most.checked_add(1));
    let body = Box::new(response.into_body().into_reader());
    Ok(Answer { body, length, etag: Some(resume.etag.clone()) })
}

/// `bytes 5-9/10` or `bytes 5-9/*`.
fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(digits(total)?) };
    Some((digits(first)?, digits(last)?, total))
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn content_length(url: &Url, headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let malformed = || Error::Broken {
        url: url.clone(),
        after: 0,
        source: io::Error::new(io::ErrorKind::InvalidData, "its Content-Length is malformed"),
    };
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let found = value.to_str().ok().and_then(digits).ok_or_else(malformed)?;
        if length.is_some_and(|length| length != found) {
            return Err(malformed());
        }
        length = Some(found);
    }
    Ok(length)
}

fn refuse_encoded(url: &Url, headers: &HeaderMap) -> Result<(), Error> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity" | b"") => Ok(()),
        Some(coding) => Err(Error::Encoded {
            url: url.clone(),
            coding: String::from_utf8_lossy(coding).chars().take(40).collect(),
        }),
    }
}

fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    (etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2).then(|| etag.to_owned())
}

fn open_file(request: &Request) -> Result<Answer, Error> {
    let url = &request.url;
    let failed = |source| Error::File { url: url.clone(), source };
    let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    let path = url.file_path().ok_or_else(|| failed(not_a_file()))?;
    if !fs_err::metadata(&path).map_err(failed)?.is_file() {
        return Err(failed(not_a_file()));
    }
    let file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    match request.size {
        Some(expected) if expected != length => {
            Err(Error::Length { url: url.clone(), expected, found: length })
        }
        _ => Ok(Answer { body: Box::new(file), length: Some(length), etag: None }),
    }
}
