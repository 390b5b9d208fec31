//! Changes to what stands around a file system (both kinds of partition tables, the block for
//! persistent memory, the superblock of a hash tree), and any bytes in their place: an error or the
//! parts of a disk, nothing else.

#![no_main]

use std::io;
use std::sync::LazyLock;

use osbuilder::image::{self, Medium};
use osbuilder_fuzz::Tables;

static MBR: LazyLock<Tables> = LazyLock::new(Tables::mbr);
static GPT: LazyLock<Tables> = LazyLock::new(Tables::gpt);

/// A disk that begins with some bytes, behind which all are zero.
struct Begin<'a>(&'a [u8]);

impl Medium for Begin<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(4 << 20)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = self.0.get(start..).unwrap_or_default();
        let known = rest.len().min(bytes.len());
        bytes[..known].copy_from_slice(&rest[..known]);
        bytes[known..].fill(0);
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, changes)) = bytes.split_first() else { return };
    match which % 3 {
        0 => MBR.look(changes),
        1 => GPT.look(changes),
        _ => drop(image::parts(&Begin(changes))),
    }
});
