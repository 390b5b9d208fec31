//! Any bytes as the answer of an agent, and as a request to the probe: an error or an answer.

#![no_main]

use std::io::{self, Read, Write};

struct Guest<'a>(&'a [u8]);

impl Read for Guest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Guest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let own = guest_probe::health::ask(&mut Guest(bytes));
    if let Ok(own) = own {
        guest_probe::health::serve(&mut Guest(bytes), &own).ok();
    }
});
