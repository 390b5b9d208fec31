//! Changes to the metadata of an xfs: an error or a tree, nothing else. Checksums are not asked for under
//! `cfg(fuzzing)`.

#![no_main]

use std::sync::LazyLock;

use osbuilder::recipe::FileSystem;
use osbuilder_fuzz::Template;

static IMAGE: LazyLock<Template> = LazyLock::new(|| Template::new(FileSystem::Xfs, 4096, |_| ()));

libfuzzer_sys::fuzz_target!(|changes: &[u8]| IMAGE.look(changes));
