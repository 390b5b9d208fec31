//! Any bytes as the first file of a repository of rpm packages, or as a metalink: an error or values.

#![no_main]

use osbuilder::package::rpm::metalink::Metalink;
use osbuilder::package::rpm::repomd::Repomd;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(Metalink::parse(bytes));
    let Ok(repomd) = Repomd::parse(bytes) else { return };
    repomd.moment();
    assert!(repomd.files.iter().all(|file| !file.path.starts_with('/')), "places stay below the root");
});
