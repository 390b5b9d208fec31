//! Changes to the metadata of an ext4: an error or a tree, nothing else.

#![no_main]

use std::sync::LazyLock;

use osbuilder::recipe::FileSystem;
use osbuilder_fuzz::Template;

/// The second byte of the features that writers must know, and in it the one that promises checksums.
const FEATURES: usize = 1024 + 0x65;
const METADATA_CSUM: u8 = 0x4;

static IMAGE: LazyLock<Template> = LazyLock::new(|| {
    Template::new(FileSystem::Ext4, 1024, |bytes| bytes[FEATURES] &= !METADATA_CSUM)
});

libfuzzer_sys::fuzz_target!(|changes: &[u8]| IMAGE.look(changes));
