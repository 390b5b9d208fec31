//! The order in which dpkg writes lists of paths: that of its hash table of files
//! (`lib/dpkg/fsys-hash.c`), in bins by FNV-1a of 32 bits over the path without its first slash.

use crate::configure::shell::bytes_of;

/// How many bins dpkg's table has, since 1.17.
const BINS: u32 = 262_139;

/// A path's bin. Of paths that share one, dpkg writes those first that it heard of first.
pub(super) fn bin(path: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in bytes_of(path.trim_start_matches('/')) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash % BINS
}

#[cfg(test)]
mod tests {
    use super::bin;

    #[test]
    fn paths_come_as_dpkg_writes_them() {
        for paths in [
            ["/etc/chrony/chrony.keys", "/var/lib/chrony", "/var/log/chrony"],
            ["/usr/share/man/man1/sh.1.gz", "/bin/sh", "/bin/sh"],
            ["/lib64/ld-linux-x86-64.so.2", "/libx32", "/lib32"],
        ] {
            assert!(paths.is_sorted_by_key(|path| bin(path)), "{paths:?}");
        }
    }
}
