//! Any bytes as the payload of an rpm package: an error or contents, nothing else.
//!
//! What a header would list is made of the names that the payload itself has, so that changes get beyond
//! the first name.

#![no_main]

use std::io::Read;

use osbuilder::package::rpm::files::{File, Kind};
use osbuilder::package::rpm::payload::Payload;
use osbuilder::tree::TreePath;

/// Contents are read this far: what is beyond passes through the same code.
const ENOUGH: u64 = 1 << 20;
/// More files are never listed.
const MOST: usize = 64;
/// Bytes before a name.
const FIXED: usize = 110;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let files = listed(bytes);
    let mut payload = Payload::new(bytes, &files);
    while let Ok(Some(number)) = payload.next_file() {
        assert!(number < files.len(), "only what is listed comes");
        std::io::copy(&mut payload.content().take(ENOUGH), &mut std::io::sink()).ok();
    }
    drop(payload.finish());
});

fn listed(bytes: &[u8]) -> Vec<File> {
    let entries = bytes.windows(FIXED).enumerate().filter(|(_, entry)| entry.starts_with(b"07070"));
    let named = entries.filter_map(|(at, entry)| {
        let field = |number: usize| {
            let text = std::str::from_utf8(&entry[6 + number * 8..14 + number * 8]).ok()?;
            usize::from_str_radix(text, 16).ok()
        };
        let (size, length) = (field(6)?, field(11)?);
        let name = bytes.get(at + FIXED..(at + FIXED).checked_add(length)?)?;
        let path = TreePath::parse(name.strip_suffix(b"\0")?).ok()?;
        Some((path, size as u64, (entry[5] % 2) as u64))
    });
    let file = |(path, size, link)| File {
        path,
        kind: Kind::Regular { size, digest: Box::default() },
        mode: 0o644,
        mtime: 0,
        user: Box::default(),
        group: Box::default(),
        flags: 0,
        color: 0,
        capabilities: Box::default(),
        link: (link, link),
    };
    named.take(MOST).map(file).collect()
}
