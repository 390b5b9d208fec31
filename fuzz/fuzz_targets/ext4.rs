//! Any bytes as a disk image with an ext4 file system: an error or a tree, nothing else.
//!
//! Seeds come from `osbuilder image` with `BLOCK_SIZE=1024` and the alignment of 1 MiB. Checksums
//! are switched off, or no change would get beyond them.

#![no_main]

/// Behind the partition table of an image without DAX header: the second byte of the features that
/// writers must know, and in it the one that promises checksums.
const FEATURES: usize = (1 << 20) + 1024 + 0x65;
const METADATA_CSUM: u8 = 0x4;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(features) = bytes.get_mut(FEATURES) {
        *features &= !METADATA_CSUM;
    }
    if let Ok(disk) = osbuilder::image::read(&bytes, 1) {
        disk.file_system.dump().expect("what was read once can be read again");
        disk.file_system.stray_byte().expect("what was read once can be read again");
    }
});
