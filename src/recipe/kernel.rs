//! What a kernel's configuration says of the forms that it reads.
//!
//! Comes in: the text of a `.config`. Goes out: why a kernel with it could not use an image or an
//! initrd. Modules do not count: Kata's kernels load none before the root is mounted.

use std::collections::BTreeSet;

use super::{Compression, FileSystem, ImageOptions, InitrdCompression, PartitionTable};

/// The options that are built in.
#[derive(Debug, Clone, Default)]
pub struct KernelConfiguration(BTreeSet<String>);

impl KernelConfiguration {
    /// Reads a configuration; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let options = text.lines().filter_map(|line| line.trim().strip_prefix("CONFIG_"));
        let set = options.clone().filter_map(|option| option.strip_suffix("=y"));
        let set: BTreeSet<String> = set.map(str::to_owned).collect();
        options.count().ne(&0).then_some(Self(set))
    }

    fn lacks(&self, option: &str, what: &str) -> Option<String> {
        let is_set = self.0.contains(option);
        (!is_set).then(|| format!("the kernel cannot read {what}: CONFIG_{option} is not set"))
    }

    /// Why a kernel so configured could not use an initrd.
    pub fn refuses_initrd(&self, compression: InitrdCompression) -> Vec<String> {
        let packed = match compression {
            InitrdCompression::Gzip => Some(("RD_GZIP", "an initrd packed with gzip")),
            InitrdCompression::Zstd => Some(("RD_ZSTD", "an initrd packed with zstd")),
            InitrdCompression::Lz4 => Some(("RD_LZ4", "an initrd packed with lz4")),
            InitrdCompression::Xz => Some(("RD_XZ", "an initrd packed with xz")),
            InitrdCompression::None => None,
        };
        let needed = [Some(("BLK_DEV_INITRD", "an initrd")), packed];
        needed.into_iter().flatten().filter_map(|(option, what)| self.lacks(option, what)).collect()
    }

    /// Why a kernel so configured could not use an image.
    pub fn refuses_image(&self, options: &ImageOptions) -> Vec<String> {
        let mut needed = vec![match options.file_system {
            FileSystem::Ext4 => ("EXT4_FS", "an ext4"),
            FileSystem::Erofs => ("EROFS_FS", "an erofs"),
            FileSystem::Xfs => ("XFS_FS", "an xfs"),
        }];
        let is_erofs = options.file_system == FileSystem::Erofs;
        if is_erofs && options.compression != Compression::None {
            needed.push(("EROFS_FS_ZIP", "an erofs that is compressed"));
        }
        if options.table != PartitionTable::Mbr {
            needed.push(("EFI_PARTITION", "an image with a GPT"));
        }
        if options.verity.is_some() {
            needed.push(("DM_VERITY", "a measured image"));
        }
        needed.into_iter().filter_map(|(option, what)| self.lacks(option, what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::Architecture;
    use crate::recipe::Verity;

    /// As in Kata's fragments: gzip only, erofs with LZ4, XFS as a module here.
    const KATA: &str = "# Linux\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n\
        # CONFIG_RD_ZSTD is not set\nCONFIG_EXT4_FS=y\nCONFIG_EROFS_FS=y\nCONFIG_XFS_FS=m\n";

    #[test]
    fn what_the_kernel_cannot_read_is_refused_by_its_option() {
        let kernel = KernelConfiguration::parse(KATA).unwrap();
        assert!(kernel.refuses_initrd(InitrdCompression::Gzip).is_empty());
        assert!(kernel.refuses_initrd(InitrdCompression::None).is_empty());
        let refused = kernel.refuses_initrd(InitrdCompression::Zstd);
        assert_eq!(
            refused,
            ["the kernel cannot read an initrd packed with zstd: CONFIG_RD_ZSTD is not set"]
        );
        let with = |file_system, compression| {
            let options = ImageOptions { file_system, compression, ..ImageOptions::KATA };
            kernel.refuses_image(&options).len()
        };
        assert_eq!(with(FileSystem::Ext4, Compression::Lz4), 0);
        assert_eq!(with(FileSystem::Erofs, Compression::None), 0);
        assert_eq!(with(FileSystem::Erofs, Compression::Lz4), 1);
        assert_eq!(with(FileSystem::Xfs, Compression::Lz4), 1);
        let measured = ImageOptions { verity: Some(Verity::default()), ..ImageOptions::KATA };
        assert!(kernel.refuses_image(&measured)[0].contains("CONFIG_DM_VERITY"));
        let table = PartitionTable::Gpt(Architecture::X86_64);
        let gpt = ImageOptions { table, ..ImageOptions::KATA };
        assert!(kernel.refuses_image(&gpt)[0].contains("CONFIG_EFI_PARTITION"));
    }

    #[test]
    fn a_text_that_is_no_configuration_is_none() {
        assert!(KernelConfiguration::parse("kernel = \"/boot/vmlinuz\"\n").is_none());
        assert!(KernelConfiguration::parse("").is_none());
    }
}
