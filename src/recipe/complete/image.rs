//! What an image or initrd shall be like: sizes, file system, table, measurement, compression.

use std::path::PathBuf;

use super::{Completer, nowhere};
use crate::digest::parse_hex;
use crate::distro::Architecture;
use crate::event::Event;
use crate::recipe::layer::{ImageLayer, Maybe};
use crate::recipe::mistake::{Given, Origin};
use crate::recipe::{
    Compression, FileSystem, ImageOptions, InitrdCompression, PartitionTable, RootHashKey, Verity,
};

/// A dm-verity superblock has room for no more bytes.
const LONGEST_SALT: usize = 256;

/// More MiB than this (one TiB) is a slip of the finger.
const MOST_MIB: u64 = 1 << 20;

impl Completer<'_> {
    pub(super) fn image(
        &mut self,
        layer: ImageLayer,
        architecture: Option<Architecture>,
    ) -> Option<ImageOptions> {
        let file_system = match layer.file_system {
            Some(given) => self.file_system(&given),
            None => Some(FileSystem::Ext4),
        };
        let block_size = layer.block_size.unwrap_or_else(|| nowhere(4096));
        let is_erofs = file_system == Some(FileSystem::Erofs);
        // The memory of a guest grows in steps of 128 MiB. Kata's builder never rounds erofs up; what
        // persistent memory needs, the image sees to.
        let usual = if is_erofs { 1 } else { 128 };
        let alignment = layer.alignment_mib.unwrap_or_else(|| nowhere(usual));
        let compression = self.compression(layer.compression, is_erofs);
        let free_space = layer.free_space_mib.unwrap_or_else(|| nowhere(0));
        match file_system {
            Some(FileSystem::Erofs) => {
                self.check_blocks("erofs", &block_size);
                self.check_erofs(&free_space, layer.journal.as_ref());
            }
            Some(FileSystem::Xfs) => self.check_blocks("xfs", &block_size),
            Some(FileSystem::Ext4) | None => {}
        }
        if !matches!(block_size.value, 1024 | 2048 | 4096) {
            let message =
                format!("a block of {} bytes is not 1024, 2048 or 4096", block_size.value);
            self.mistakes.add(&block_size.origin, message);
        }
        if !(1..=MOST_MIB).contains(&alignment.value) {
            let message = format!("{} MiB is not from 1 to {MOST_MIB} MiB", alignment.value);
            self.mistakes.add(&alignment.origin, message);
        }
        if free_space.value > MOST_MIB {
            let message = format!("{} MiB is more than {MOST_MIB} MiB", free_space.value);
            self.mistakes.add(&free_space.origin, message);
        }
        let table = self.table(layer.partition_table, architecture, layer.dax_header.as_ref());
        let usual = table.is_none_or(|table| table == PartitionTable::Mbr);
        let signature = self.root_hash_key(
            layer.measured.as_ref(),
            layer.root_hash_key,
            layer.root_hash_certificate,
        )?;
        let verity =
            self.verity(layer.measured, layer.variant, layer.salt, layer.verity_superblock);
        let verity = verity.map(|verity| verity.map(|verity| Verity { signature, ..verity }));
        Some(ImageOptions {
            file_system: file_system?,
            block_size: u32::try_from(block_size.value).ok()?,
            free_space_mib: free_space.value,
            alignment_mib: alignment.value,
            dax_header: layer.dax_header.map_or(usual, |given| given.value),
            journal: layer.journal.is_some_and(|given| given.value),
            compression: compression?,
            verity: verity?,
            table: table?,
            selinux: layer.selinux.is_some_and(|given| given.value),
        })
    }

    /// Only one of the two disks that the NVDIMM header makes of an image could have its GPT's second
    /// copy in the last sector.
    fn table(
        &mut self,
        given: Maybe<String>,
        architecture: Option<Architecture>,
        dax_header: Option<&Given<bool>>,
    ) -> Option<PartitionTable> {
        let Some(given) = given else { return Some(PartitionTable::Mbr) };
        if !self.one_of(&given, &[("mbr", false), ("gpt", true)])? {
            return Some(PartitionTable::Mbr);
        }
        if let Some(header) = dax_header.filter(|header| header.value) {
            let message = "the NVDIMM header cannot stand with a GPT: two disks would each need the \
                           last sector for their table's second copy";
            self.mistakes.add(&header.origin, message);
        }
        let text = format!(
            "{}Kata's images have an MBR, and no NVDIMM header stands with a GPT: the runtime must \
             attach this one as a block device, to a kernel with CONFIG_EFI_PARTITION",
            given.origin
        );
        self.remarks.push(Event::warning(text));
        architecture.map(PartitionTable::Gpt)
    }

    /// How the image is measured, if it is. Kata's variable gives a label to every image, and asks for
    /// nothing by it.
    fn verity(
        &mut self,
        measured: Maybe<bool>,
        variant: Maybe<String>,
        salt: Maybe<String>,
        superblock: Maybe<bool>,
    ) -> Option<Option<Verity>> {
        let is_measured = measured.is_some_and(|given| given.value);
        let superblock = superblock.filter(|given| given.value);
        let texts = [&variant, &salt].into_iter().flatten().map(|given| &given.origin);
        for origin in texts.chain(superblock.iter().map(|given| &given.origin)) {
            if !is_measured && !matches!(origin, Origin::Variable(_)) {
                self.mistakes.add(origin, "only a measured image has a hash tree that this is for");
            }
        }
        if let Some(given) = superblock.as_ref().filter(|_| is_measured) {
            let text = format!(
                "{}Kata's runtime expects no superblock before the hash tree, and cannot have this one \
                 checked",
                given.origin
            );
            self.remarks.push(Event::warning(text));
        }
        let variant = variant.unwrap_or_else(|| nowhere(String::new()));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !variant.value.bytes().all(is_plain) {
            let message =
                format!("{:?} is not made of letters, digits, `.`, `_`, `-`", variant.value);
            self.mistakes.add(&variant.origin, message);
        }
        let salt = match salt {
            Some(given) => Some(self.mistakes.check(&given.origin, parse_salt(&given.value))?),
            None => None,
        };
        let superblock = superblock.is_some();
        let verity = Verity { salt, superblock, variant: variant.value, signature: None };
        Some(is_measured.then_some(verity))
    }

    /// Key and certificate come together, and there must be a root hash to sign.
    fn root_hash_key(
        &mut self,
        measured: Option<&Given<bool>>,
        key: Maybe<PathBuf>,
        certificate: Maybe<PathBuf>,
    ) -> Option<Option<RootHashKey>> {
        let (key, certificate) = match (key, certificate) {
            (None, None) => return Some(None),
            (Some(key), Some(certificate)) => (key, certificate),
            (Some(one), None) | (None, Some(one)) => {
                let message = "a root hash is signed with a key and its certificate: give both";
                self.mistakes.add(&one.origin, message);
                return None;
            }
        };
        if !measured.is_some_and(|given| given.value) {
            let message = "only a measured image has a root hash to sign";
            self.mistakes.add(&key.origin, message);
            return None;
        }
        Some(Some(RootHashKey { key: key.value, certificate: certificate.value }))
    }

    fn file_system(&mut self, given: &Given<String>) -> Option<FileSystem> {
        let choices =
            [("ext4", FileSystem::Ext4), ("erofs", FileSystem::Erofs), ("xfs", FileSystem::Xfs)];
        self.one_of(given, &choices)
    }

    fn compression(&mut self, given: Maybe<String>, is_erofs: bool) -> Option<Compression> {
        let choices =
            [("lz4", Compression::Lz4), ("lz4hc", Compression::Lz4hc), ("none", Compression::None)];
        let Some(given) = given else { return Some(Compression::Lz4) };
        if !is_erofs {
            self.mistakes.add(&given.origin, "only an erofs is compressed");
        }
        self.one_of(&given, &choices)
    }

    /// Whatever is not Kata's own choice is taken with a word: its kernels are built for nothing else.
    pub(super) fn initrd_compression(&mut self, given: Maybe<String>) -> Option<InitrdCompression> {
        let Some(given) = given else { return Some(InitrdCompression::Gzip) };
        let choices = [
            ("gzip", InitrdCompression::Gzip),
            ("zstd", InitrdCompression::Zstd),
            ("lz4", InitrdCompression::Lz4),
            ("xz", InitrdCompression::Xz),
            ("none", InitrdCompression::None),
        ];
        let compression = self.one_of(&given, &choices)?;
        if !matches!(compression, InitrdCompression::Gzip | InitrdCompression::None) {
            let text = format!(
                "{}Kata's kernels read initrds packed with gzip only, and not {}",
                given.origin, given.value
            );
            self.remarks.push(Event::warning(text));
        }
        Some(compression)
    }

    /// erofs and xfs are made with one size of blocks.
    fn check_blocks(&mut self, file_system: &str, block_size: &Given<u64>) {
        if block_size.value != 4096 {
            let message = format!("a block of {} bytes: {file_system} has 4096", block_size.value);
            self.mistakes.add(&block_size.origin, message);
        }
    }

    /// What an erofs cannot have: a journal. Free space is passed over, as Kata's builder does, but
    /// not without a word.
    fn check_erofs(&mut self, free_space: &Given<u64>, journal: Option<&Given<bool>>) {
        if let Some(given) = journal.filter(|given| given.value) {
            self.mistakes.add(&given.origin, "an erofs has no journal: it is never written");
        }
        if free_space.value > 0 {
            let text =
                format!("{}an erofs has no free space: it is never written", free_space.origin);
            self.remarks.push(Event::warning(text));
        }
    }
}

fn parse_salt(text: &str) -> Result<Vec<u8>, String> {
    let mut salt = vec![0; text.len() / 2];
    let parsed = parse_hex(text, &mut salt).filter(|()| salt.len() <= LONGEST_SALT);
    let rule = "is not at most 256 bytes as hexadecimal digits";
    parsed.map(|()| salt).ok_or_else(|| format!("{text:?} {rule}"))
}
