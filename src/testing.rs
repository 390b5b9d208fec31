//! What tests of several rooms share: real data, trees, and how to say that a test could not run.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};

/// A tree of these files, each with its content, and the directories above them.
pub(crate) fn tree(files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::default();
    for (path, bytes) in files {
        let path = TreePath::parse(path).unwrap();
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(Content::Inline((*bytes).into()));
        tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
    }
    tree
}

/// Says that a test did not run, and why. Where CI promises the tool, that is a failure.
///
/// # Panics
/// When the environment has `CI`.
#[expect(clippy::disallowed_methods, reason = "CI is known by its environment")]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI must be able to run this test: {why}");
    say(&format!("skipped: {why}"));
}

/// Speaks to who runs tests. What `eprintln` says, the test harness keeps to itself unless the test
/// fails.
fn say(text: &str) {
    let _gone = writeln!(io::stderr(), "{text}");
}

/// Says what a test did not try because this machine lacks it, which is no fault, not even in CI.
pub(crate) fn do_without(why: &str) {
    say(&format!("not tried: {why}"));
}

/// Returns a folder of the collected test data, or says that it is absent.
///
/// # Panics
/// As [`skip`].
#[expect(clippy::disallowed_methods, reason = "the place of test data comes from the environment")]
pub(crate) fn data(folder: &str) -> Option<PathBuf> {
    let given = std::env::var_os("OSBUILDER_TEST_DATA").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = given.unwrap_or(beside).join(folder);
    if !path.is_dir() {
        skip(&format!("no test data at {}", path.display()));
        return None;
    }
    Some(path)
}

/// Returns the path that an environment variable names. Nobody promises that it is set, not even
/// CI, which boots whole guests with `cargo xtask boot` instead.
#[expect(clippy::disallowed_methods, reason = "what is at hand comes from the environment")]
pub(crate) fn given(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        say(&format!("skipped: {variable} is not set"));
    }
    path
}

/// A medium at its laziest: each call moves one byte, and is interrupted before it does.
#[derive(Debug)]
pub(crate) struct Stuttering<T> {
    inner: T,
    was_interrupted: bool,
}

impl<T> Stuttering<T> {
    pub(crate) const fn new(inner: T) -> Self {
        Self { inner, was_interrupted: false }
    }

    pub(crate) fn into_inner(self) -> T {
        self.inner
    }

    fn interrupt(&mut self) -> io::Result<()> {
        self.was_interrupted = !self.was_interrupted;
        if self.was_interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl<T: Read> Read for Stuttering<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt()?;
        let length = buffer.len().min(1);
        self.inner.read(&mut buffer[..length])
    }
}

impl<T: Write> Write for Stuttering<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupt()?;
        self.inner.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
