//! Any bytes as the metadata of a repository of rpm packages: an error or records, nothing else.

#![no_main]

use osbuilder::package::rpm::metalink::Metalink;
use osbuilder::package::rpm::repomd::Repomd;
use osbuilder::package::rpm::{info, primary};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (_, _) = (Repomd::parse(bytes), Metalink::parse(bytes));
    if let Ok(records) = primary::read(bytes) {
        drop(info::parse(&records));
    }
});
