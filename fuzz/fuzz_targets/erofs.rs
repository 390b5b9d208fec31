//! Any bytes as a disk image with an erofs: an error or a tree, nothing else.
//!
//! Seeds come from `osbuilder image` with `FS_TYPE=erofs` and `SKIP_DAX_HEADER=yes`. The checksum is
//! switched off, or no change would get beyond it.

#![no_main]

/// Behind the partition table of an image without DAX header: the features that old readers may
/// ignore, and among them the checksum.
const FEATURES: usize = (1 << 20) + 1024 + 8;
const CHECKSUM: u8 = 0x1;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(features) = bytes.get_mut(FEATURES) {
        *features &= !CHECKSUM;
    }
    if let Ok(disk) = osbuilder::image::read(&bytes, 1) {
        disk.file_system.dump().expect("what was read once can be read again");
        disk.file_system.stray_byte().expect("what was read once can be read again");
    }
});
