//! Any bytes as the lists of a repository of rpm packages: packages, their files, and modules. An error
//! or records, which can be read again.

#![no_main]

use std::collections::BTreeSet;

use osbuilder::package::rpm::{filelists, info, modules, primary};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = primary::read(bytes) {
        drop(info::parse(&records));
    }
    let wanted = BTreeSet::from(["/usr/bin/b", "/usr/share/c"]);
    if let Ok(found) = filelists::read(bytes, &wanted) {
        assert!(found.values().flatten().all(|path| wanted.contains(path.as_str())));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(records) = modules::read(text) {
        modules::parse(&records);
    }
    drop(info::parse(text));
});
