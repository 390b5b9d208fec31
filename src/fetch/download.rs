//! One running transfer: counts, paces, resumes.
//!
//! In: the answer to a request. Out: its bytes, as a reader whose errors carry a
//! [`transport::Error`](super::transport::Error). A broken connection is taken up where it broke,
//! if the server named a strong validator; the digest of the whole is checked elsewhere in any
//! case.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::transport::{Answer, Error, Request, Resume, Transport};

/// A transfer, read from its start to its end.
pub(super) struct Download<'a> {
    transport: &'a Transport,
    request: Request,
    body: Box<dyn Read + Send>,
    /// Bytes that came so far.
    position: u64,
    /// Bytes in all, as far as anybody said.
    total: Option<u64>,
    etag: Option<String>,
    resumes_left: u32,
    pace: Pace,
}

impl<'a> Download<'a> {
    pub(super) fn new(transport: &'a Transport, request: Request, answer: Answer) -> Self {
        Self {
            body: answer.body,
            position: 0,
            total: request.size.or(answer.length),
            etag: answer.etag,
            resumes_left: transport.patience().attempts,
            pace: Pace::default(),
            transport,
            request,
        }
    }

    /// Reads everything into memory; the request's cap bounds it.
    pub(super) fn into_bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            match self.read_some(&mut piece)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let started = Instant::now();
            let result = self.body.read(buffer);
            self.pace.add(started.elapsed(), *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) if self.total.is_none_or(|total| self.position >= total) => return Ok(0),
                Ok(0) => self.resume(self.truncated())?,
                Ok(count) => {
                    self.check(&buffer[..count])?;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let after = self.position;
                    self.resume(Error::Broken { url: self.request.url.clone(), after, source })?;
                }
            }
        }
    }

    /// Accounts for bytes that came.
    fn check(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let url = || self.request.url.clone();
        if self.position == 0 && looks_like_a_web_page(bytes) {
            return Err(Error::WebPage { url: url() });
        }
        let count = u64::try_from(bytes.len()).expect("a length fits in 64 bits");
        self.position = self.position.saturating_add(count);
        let cap = self.request.size.unwrap_or(self.request.cap).min(self.request.cap);
        if self.position > cap {
            return Err(Error::TooLong { url: url(), cap });
        }
        let patience = self.transport.patience();
        if self.pace.is_too_slow(patience.window, patience.minimum_rate) {
            return Err(Error::Slow { url: url(), rate: patience.minimum_rate });
        }
        Ok(())
    }

    fn truncated(&self) -> Error {
        Error::Truncated {
            url: self.request.url.clone(),
            expected: self.total.unwrap_or(self.position),
            found: self.position,
        }
    }

    /// Connects again and goes on where the transfer broke; otherwise `failure` stands.
    fn resume(&mut self, failure: Error) -> Result<(), Error> {
        let Some(etag) = self.etag.clone().filter(|_| self.resumes_left > 0) else {
            return Err(failure);
        };
        self.resumes_left = self.resumes_left.saturating_sub(1);
        std::thread::sleep(self.transport.patience().pause);
        let resume = Resume { from: self.position, etag };
        let answer = self.transport.ask(&self.request, Some(&resume))?;
        self.body = answer.body;
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

/// Measures how fast bytes come, counting only the time spent waiting for them.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn add(&mut self, waited: Duration, bytes: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Judges one window of time, and starts the next.
    fn is_too_slow(&mut self, window: Duration, rate: u64) -> bool {
        if self.waited < window {
            return false;
        }
        let needed = window.as_secs_f64() * rate as f64;
        let slow = (self.bytes as f64) < needed;
        *self = Self::default();
        slow
    }
}

/// No file of an archive begins like this; some are XML, but not of this kind.
fn looks_like_a_web_page(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let text = match text.strip_prefix(b"<?xml") {
        None => text,
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b'>');
            let behind = end.and_then(|end| rest.get(end.saturating_add(1)..));
            behind.unwrap_or_default().trim_ascii_start()
        }
    };
    let starts = |tag: &[u8]| text.get(..tag.len()).is_some_and(|t| t.eq_ignore_ascii_case(tag));
    starts(b"<!doctype") || starts(b"<html") || starts(b"<head")
}
