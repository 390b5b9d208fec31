//! Changes to the metadata of an erofs: an error or a tree, nothing else.

#![no_main]

use std::sync::LazyLock;

use osbuilder::recipe::FileSystem;
use osbuilder_fuzz::Template;

/// The features that old readers may ignore, and among them the checksum.
const FEATURES: usize = 1024 + 8;
const CHECKSUM: u8 = 0x1;

static IMAGE: LazyLock<Template> =
    LazyLock::new(|| Template::new(FileSystem::Erofs, 4096, |bytes| bytes[FEATURES] &= !CHECKSUM));

libfuzzer_sys::fuzz_target!(|changes: &[u8]| IMAGE.look(changes));
