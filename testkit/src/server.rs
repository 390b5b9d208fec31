//! An HTTP server on the loopback interface that does exactly what a test tells it, however wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::repository::Files;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method and target as in the first line: `GET /x`.
    pub line: String,
    /// Headers by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// How often the same first line came before.
    pub repeat: usize,
}

impl Request {
    /// The target without its leading slash.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/')
    }
}

/// What the server does on one connection, before it closes it.
#[derive(Debug, Clone, Default)]
pub struct Reply(Vec<Act>);

#[derive(Debug, Clone)]
enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Until the client goes away, at most so many bytes.
    Flood(u8, u64),
}

impl Reply {
    /// A proper answer with this body.
    pub fn ok(body: &[u8]) -> Self {
        Self::head(200, &[("Content-Length", &body.len().to_string())]).send(body)
    }

    /// A proper answer without a body.
    pub fn status(status: u16) -> Self {
        Self::head(status, &[("Content-Length", "0")])
    }

    /// A redirect.
    pub fn redirect(location: &str) -> Self {
        Self::head(302, &[("Location", location), ("Content-Length", "0")])
    }

    /// The first line and headers only.
    pub fn head(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut text = format!("HTTP/1.1 {status} Test\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        text.push_str("\r\n");
        Self(vec![Act::Send(text.into_bytes())])
    }

    /// Then these bytes.
    pub fn send(mut self, bytes: &[u8]) -> Self {
        self.0.push(Act::Send(bytes.to_vec()));
        self
    }

    /// Then nothing for a while.
    pub fn wait(mut self, time: Duration) -> Self {
        self.0.push(Act::Wait(time));
        self
    }

    /// Then the same byte again and again, at most `limit` times.
    pub fn flood(mut self, byte: u8, limit: u64) -> Self {
        self.0.push(Act::Flood(byte, limit));
        self
    }
}

impl Server {
    /// Starts a server that answers each request as `handler` says.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    /// Starts one that listens here.
    pub fn at(
        listener: TcpListener,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(handler);
        let server =
            Self { address, requests: Arc::clone(&requests), stopped: Arc::clone(&stopped) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                std::thread::spawn(move || serve(stream.unwrap(), &requests, &*handler));
            }
        });
        server
    }

    /// Starts a server that serves `files` properly.
    pub fn with_files(files: Files) -> Self {
        Self::start(move |request| answer(&files, request))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// The proper answer to a request for one of `files`.
pub fn answer(files: &Files, request: &Request) -> Reply {
    files.get(request.path()).map_or_else(|| Reply::status(404), |body| Reply::ok(body))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    handler: &(dyn Fn(&Request) -> Reply + Send + Sync),
) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let Some(mut request) = read(&stream) else { return };
    {
        let mut requests = requests.lock().unwrap();
        request.repeat = requests.iter().filter(|known| known.line == request.line).count();
        requests.push(request.clone());
    }
    for act in handler(&request).0 {
        let done = match act {
            Act::Send(bytes) => stream.write_all(&bytes),
            Act::Flood(byte, limit) => flood(&mut stream, byte, limit),
            Act::Wait(time) => {
                std::thread::sleep(time);
                Ok(())
            }
        };
        if done.is_err() {
            break;
        }
    }
}

fn flood(stream: &mut TcpStream, byte: u8, limit: u64) -> std::io::Result<()> {
    let piece = [byte; 1 << 16];
    for _ in 0..limit.div_ceil(1 << 16) {
        stream.write_all(&piece)?;
    }
    Ok(())
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream.take(1 << 16)).lines();
    let first = lines.next()?.ok()?;
    let line = first.trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = BTreeMap::new();
    for header in lines {
        let header = header.ok()?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { line, headers, repeat: 0 })
}
