//! Packages made for tests.

use std::collections::BTreeMap;

use crate::package::deb::scripts::Triggers;
use crate::package::deb::stanza::Stanza;
use crate::unpack::Package;

/// A package without files or scripts; `fields` are lines of its control file.
pub(super) fn package(name: &str, fields: &str) -> Package {
    let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{fields}\n");
    Package {
        name: name.parse().unwrap(),
        version: "1".into(),
        architecture: "all".into(),
        database_name: name.into(),
        control: Stanza::parse(text.trim_end().as_bytes()).unwrap(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        conffile_digests: Vec::new(),
        triggers: Triggers::default(),
        paths: Vec::new(),
    }
}
