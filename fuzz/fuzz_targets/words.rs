//! Any text as the words of packages: control files, indexes, relations, triggers, versions of all
//! families. An error or a value; versions keep an order.

#![no_main]

use osbuilder::package::{apk, deb, rpm};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    deb::stanza::Stanza::parse(bytes).ok();
    deb::index::Index::parse([bytes]).ok();
    deb::scripts::Triggers::parse(bytes).ok();
    deb::scripts::parse_conffiles(bytes).ok();
    apk::index::Index::parse(bytes).ok();
    apk::index::newest_build(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    deb::relation::parse(text).ok();
    deb::relation::parse_plain(text).ok();
    deb::relation::parse_provides(text).ok();
    apk::relation::parse(text).ok();
    rpm::relation::Relation::parse(text).ok();
    rpm::relation::Dependency::new(text, rpm::relation::Operator::default(), "").ok();
    osbuilder::package::path::check(text).ok();
    let Some((one, other)) = text.split_once('\n') else { return };
    if let (Ok(one), Ok(other)) =
        (deb::version::Version::parse(one), deb::version::Version::parse(other))
    {
        assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    }
    if let (Ok(one), Ok(other)) =
        (rpm::version::Version::parse(one), rpm::version::Version::parse(other))
    {
        assert_eq!(one.compare(&other), other.compare(&one).reverse());
    }
    if let (Ok(one), Ok(other)) =
        (apk::version::Version::parse(one), apk::version::Version::parse(other))
    {
        assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    }
});
