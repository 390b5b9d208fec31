//! Any bytes as a disk image with an xfs: an error or a tree, nothing else.
//!
//! Seeds come from `osbuilder image` with `FS_TYPE=xfs` and `SKIP_DAX_HEADER=yes`. An xfs is too large
//! for a fuzzer, so the bytes are changes: each ten of them put eight bytes at a place that the first
//! two name, among the metadata at its beginning. Checksums are not asked for under `cfg(fuzzing)`.

#![no_main]

use std::sync::LazyLock;

use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::{FileSystem, ImageOptions};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

/// Where the file system begins.
const START: usize = 1 << 20;

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut tree = Tree::default();
    let mut put = |path: String, kind| {
        let path = TreePath::parse(path).expect("a clean path");
        let mut meta = Meta::root(0o755);
        meta.xattrs.insert(b"user.large".to_vec(), vec![7; path.as_bytes().len() * 50]);
        tree.insert(&path, Inode { meta, kind }).expect("the directory exists");
    };
    put("file".into(), Kind::Regular(Content::Inline([7_u8; 9000].as_slice().into())));
    put("link".into(), Kind::Symlink([b'l'; 500].as_slice().into()));
    put("d".into(), Kind::Directory(Default::default()));
    (0..600).for_each(|index| put(format!("d/{index}"), Kind::Fifo));
    let options = ImageOptions {
        file_system: FileSystem::Xfs,
        alignment_mib: 2,
        dax_header: false,
        ..ImageOptions::KATA
    };
    let plan = image::plan(&tree, &options, Epoch::default()).expect("a plan");
    let path = std::env::temp_dir().join(format!("osbuilder-fuzz-{}", std::process::id()));
    let file = fs_err::File::create(&path).expect("a file");
    image::write(&plan, &NoContents, &file, 1).expect("an image");
    let bytes = fs_err::read(&path).expect("its bytes");
    fs_err::remove_file(&path).expect("it is ours");
    bytes
});

libfuzzer_sys::fuzz_target!(|changes: &[u8]| {
    let mut bytes = IMAGE.clone();
    for change in changes.as_chunks::<10>().0 {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        // Sixteen bytes apart, so that two bytes name the first mebibyte.
        let at = START + place * 16 + usize::from(change[2] & 8);
        bytes[at..at + 8].copy_from_slice(&change[2..]);
    }
    if let Ok(disk) = image::read(&bytes, 1) {
        disk.file_system.dump().expect("what was read once can be read again");
        disk.file_system.stray_byte().expect("what was read once can be read again");
    }
});
