//! Any bytes as the header of an rpm package: an error or values, each of which can be asked for.

#![no_main]

use osbuilder::package::rpm::header::Header;
use osbuilder::package::rpm::scripts::{self, Watched};
use osbuilder::package::rpm::{files, info, tag};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let Ok(header) = Header::read(&mut rest, tag::HEADER_IMMUTABLE) else { return };
    let whole = Header::parse(header.as_bytes().to_vec(), tag::HEADER_IMMUTABLE);
    assert_eq!(whole.ok().as_ref(), Some(&header), "what was read is a header by itself");
    for tag in 0..6_000 {
        let Some((_, count)) = header.kind(tag) else { continue };
        assert!(header.texts(tag).count().max(header.numbers(tag).count()) <= count);
        assert!(header.raw(tag).is_some() && header.binary(tag).len() <= header.data().len());
    }
    if let Ok(record) = info::of_header(&header) {
        drop(info::parse(&record));
    }
    drop(files::files(&header));
    drop(scripts::scripts(&header));
    for watched in [Watched::Packages, Watched::Files, Watched::AllFiles] {
        drop(scripts::triggers(&header, watched));
    }
});
