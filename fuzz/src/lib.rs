//! A small disk image of each file system, to which fuzz targets make changes.
//!
//! An image is too large for a fuzzer: most of it is contents and zeros, which no reader minds. So a
//! fuzzer's bytes are changes here: each ten of them put eight bytes at a place that the first two
//! name, in the first mebibyte of the file system, where its metadata are. Whoever looks at the
//! changed image must end in an error or in a tree. [`Tables`] does the same for what stands around.

mod tables;

use std::sync::Mutex;

pub use tables::Tables;

use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::{FileSystem, ImageOptions};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

/// Where the file system begins in an image without DAX header.
const START: usize = 1 << 20;
/// Between two places: two bytes name the first mebibyte.
const STEP: usize = 16;

/// An image that is as it was made, but while somebody looks at it.
pub struct Template {
    bytes: Mutex<Vec<u8>>,
}

impl Template {
    /// An image of a tree with large and small directories, links, attributes and a file that can be
    /// compressed. `calm` may change the bytes of the file system once and for all: checksums have to
    /// be switched off, or no change would get beyond them.
    pub fn new(file_system: FileSystem, block_size: u32, calm: impl FnOnce(&mut [u8])) -> Self {
        let options = ImageOptions {
            file_system,
            block_size,
            alignment_mib: 1,
            dax_header: false,
            ..ImageOptions::KATA
        };
        let mut bytes = image_of(&options);
        calm(&mut bytes[START..]);
        image::read(&bytes, 1).expect("what was made can be read");
        Self { bytes: Mutex::new(bytes) }
    }

    /// Reads the image with changes.
    pub fn look(&self, changes: &[u8]) {
        let mut bytes = self.bytes.lock().expect("a panic ends the process");
        let mut before = Vec::new();
        for change in changes.as_chunks::<10>().0 {
            let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
            let at = START + place * STEP + usize::from(change[2] & 8);
            let Some(field) = bytes.get_mut(at..at + 8) else { continue };
            before.push((at, <[u8; 8]>::try_from(&*field).expect("eight bytes")));
            field.copy_from_slice(&change[2..]);
        }
        if let Ok(disk) = image::read(&*bytes, 1) {
            // Text takes longer than reading, and looking at every byte takes longest.
            match changes.len() % 64 {
                8 | 40 => drop(disk.file_system.dump()),
                32 => drop(disk.file_system.stray_byte()),
                _ => {}
            }
        }
        for (at, field) in before.into_iter().rev() {
            bytes[at..at + 8].copy_from_slice(&field);
        }
    }
}

/// The bytes of an image of [`tree`].
fn image_of(options: &ImageOptions) -> Vec<u8> {
    let plan = image::plan(&tree(), options, Epoch::default()).expect("a plan");
    let path = std::env::temp_dir().join(format!("osbuilder-fuzz-{}", std::process::id()));
    let mut open = fs_err::File::options();
    let file = open.create(true).truncate(true).read(true).write(true).open(&path).expect("a file");
    image::write(&plan, &NoContents, &file, 1).expect("an image");
    let bytes = fs_err::read(&path).expect("its bytes");
    fs_err::remove_file(&path).expect("it is ours");
    bytes
}

/// Small: each reading of it is a run of a fuzzer. Its directory is just too large for one block.
fn tree() -> Tree {
    let mut tree = Tree::default();
    let mut put = |path: String, kind| {
        let path = TreePath::parse(path).expect("a clean path");
        let mut meta = Meta::root(0o755);
        let length = path.as_bytes().len();
        if length < 4 || length > 5 {
            meta.xattrs.insert(b"user.large".to_vec(), vec![7; length * 50]);
        }
        tree.insert(&path, Inode { meta, kind }).expect("the directory exists");
    };
    let content = |bytes: &[u8]| Kind::Regular(Content::Inline(bytes.into()));
    let pattern: Vec<u8> = (0..5_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    put("file".into(), content(&[7; 3000]));
    put("pattern".into(), content(&pattern));
    put("link".into(), Kind::Symlink([b'l'; 500].as_slice().into()));
    put("short".into(), Kind::Symlink(b"file".as_slice().into()));
    put("d".into(), Kind::Directory(Default::default()));
    (0..100).for_each(|index| put(format!("d/{index}"), Kind::Fifo));
    tree
}
