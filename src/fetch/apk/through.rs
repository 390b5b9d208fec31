//! A package of version 3 on its way into the cache, checked as it passes.
//!
//! In comes a reader of the file; out goes a reader of the same bytes. Each content is decompressed and
//! held against the digest that the package names, a piece at a time, and the bytes that this took are
//! handed on. So what fails the check fails before its end, and is not kept.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use crate::package::apk::archive3::{Files, Head};

/// Plain bytes that are checked at a time.
const STEP: u64 = 1 << 16;

/// The bytes of a package that is checked.
pub(super) struct Through<R: BufRead> {
    /// None, once all of it was checked.
    files: Option<Files<Noting<R>>>,
    /// Bytes that were checked and not yet handed on.
    passed: Rc<RefCell<Vec<u8>>>,
}

impl<R: BufRead> Through<R> {
    /// Reads a package of `size` bytes up to its files, if `check` finds nothing wrong with what it says
    /// of itself.
    pub(super) fn begin(
        inner: R,
        size: u64,
        check: impl FnOnce(&Head) -> io::Result<()>,
    ) -> io::Result<Self> {
        let passed = Rc::default();
        let noting = Noting { inner, passed: Rc::clone(&passed) };
        let (head, files) = Files::open(noting, size).map_err(io::Error::other)?;
        check(&head)?;
        Ok(Self { files: Some(files), passed })
    }

    /// Checks a piece more.
    fn step(&mut self) -> io::Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        if io::copy(&mut files.content().take(STEP), &mut io::sink())? > 0 {
            return Ok(());
        }
        if files.next_file().map_err(io::Error::other)?.is_none()
            && let Some(files) = self.files.take()
        {
            files.finish().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Through<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        while self.files.is_some() && self.passed.borrow().is_empty() {
            self.step()?;
        }
        let mut passed = self.passed.borrow_mut();
        let count = (&passed[..]).read(output)?;
        passed.drain(..count);
        Ok(count)
    }
}

/// Keeps a copy of every byte that is taken.
struct Noting<R> {
    inner: R,
    passed: Rc<RefCell<Vec<u8>>>,
}

impl<R: BufRead> Read for Noting<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(output)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Noting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was filled before, so that this reads nothing.
        if let Ok(buffer) = self.inner.fill_buf() {
            let taken = buffer.get(..amount).unwrap_or_default();
            self.passed.borrow_mut().extend_from_slice(taken);
        }
        self.inner.consume(amount);
    }
}
