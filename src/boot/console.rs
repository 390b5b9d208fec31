//! What a guest writes to its console, kept for whoever wants to know why it did not boot.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::tree::escape;

/// How much of the end of the console is kept, in bytes.
const KEPT: usize = 256 << 10;

/// What has come so far, while more may come.
#[derive(Debug)]
pub(super) struct Console {
    kept: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Console {
    /// Reads `source` to its end, on a thread of its own.
    pub(super) fn read(source: impl Read + Send + 'static) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&kept);
        let run = move || collect(source, &keep);
        let thread = Some(thread::Builder::new().name("console".to_owned()).spawn(run)?);
        Ok(Self { kept, thread })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.kept.lock().expect("the console's thread does not panic")
    }

    /// Whether nothing has come yet.
    pub(super) fn is_silent(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether nothing has come, asked after the machine has ended: what it wrote last may still be
    /// on its way, so the end of the source is waited for, but not for ever.
    pub(super) fn stayed_silent(&self) -> bool {
        let has_ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let mut waits = 100;
        while self.is_silent() && !has_ended() && waits > 0 {
            thread::sleep(Duration::from_millis(10));
            waits -= 1;
        }
        self.is_silent()
    }

    /// Whether `text` stands in what is kept.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.lock().windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Waits for the end of the source and returns the lines, with everything escaped that could
    /// steer a terminal.
    pub(super) fn finish(mut self) -> Vec<String> {
        if let Some(thread) = self.thread.take() {
            // What came before a failing read is all that there is to show.
            drop(thread.join());
        }
        lines(&self.lock())
    }
}

fn collect(mut source: impl Read, kept: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut kept = kept.lock().expect("readers of the console do not panic");
        kept.extend(buffer.iter().take(count));
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}

/// Cuts into lines; carriage returns at their ends are the console's, not the guest's.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let clean = |line: &[u8]| escape(&without_carriage_returns(line)).replace("\\x09", "    ");
    lines.filter(|line| !line.is_empty()).map(clean).collect()
}

fn without_carriage_returns(line: &[u8]) -> Vec<u8> {
    line.iter().copied().filter(|&byte| byte != b'\r').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_a_guest_cannot_steer_the_terminal() {
        let console = Console::read(&b"\x1b]0;x\x07 a\rb\r\n\n\tc\xff\xc2\x9b\n"[..]).unwrap();
        assert_eq!(console.finish(), ["\\x1b]0;x\\x07 ab", "    c\\xff\\xc2\\x9b"]);
    }

    #[test]
    fn only_the_end_of_a_long_console_is_kept() {
        let text = [vec![b'a'; KEPT], b"the end".to_vec()].concat();
        let mut console = Console::read(io::Cursor::new(text)).unwrap();
        drop(console.thread.take().unwrap().join());
        assert!(console.contains("the end") && !console.is_silent());
        assert_eq!(console.lock().len(), KEPT);
    }
}
