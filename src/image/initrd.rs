//! The initrd: a `newc` archive, packed, and the link `/init` that the kernel runs.
//!
//! Comes in: a tree; goes out: the bytes of `kata-containers-initrd.img`. Reading takes what kernels
//! take: archives one after the other, plain or each packed.
//!
//! Specification: Linux, `init/initramfs.c` (`unpack_to_rootfs`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;

use super::{Error, cpio, packing};
use crate::epoch::Epoch;
use crate::recipe::{Init, InitrdCompression};
use crate::tree::{Contents, Inode, Kind, Meta, Tree, TreePath};

/// A decompressed initrd larger than this, in bytes, is an attack: no guest has that much memory
/// to spare.
const MAXIMUM_SIZE: u64 = 16 << 30;

/// Returns `tree` with the link `/init` that the kernel starts, unless the tree has an `/init`.
///
/// With the agent or something unknown as init it leads to `/sbin/init`, else straight to the program: Kata found kernels
/// that failed on two links in a row.
pub fn with_init(mut tree: Tree, init: Init) -> Tree {
    let path = TreePath::parse("init").expect("the path is clean");
    if tree.get(&path).is_none() {
        let target: &[u8] = match init {
            Init::Agent | Init::None => b"/sbin/init",
            // Kata's variable says only that it is not the agent.
            Init::Systemd if has_openrc(&tree) => BUSYBOX,
            Init::Systemd => b"/lib/systemd/systemd",
            Init::OpenRc => BUSYBOX,
        };
        let link = Inode { meta: Meta::root(0o777), kind: Kind::Symlink(target.into()) };
        tree.insert(&path, link).expect("the root is a directory and the name is free");
    }
    tree
}

/// Busybox's init, which is told from its other programs by the name of the link.
const BUSYBOX: &[u8] = b"/bin/busybox";

fn has_openrc(tree: &Tree) -> bool {
    ["bin/busybox", "sbin/openrc"].into_iter().all(|path| {
        let path = TreePath::parse(path).expect("the path is clean");
        tree.resolve(&path).is_ok_and(|place| tree.get(&place).is_some())
    })
}

/// Writes `tree` to `output` as an initrd, times no later than `epoch`, with up to `threads` threads.
/// The bytes do not depend on their number.
///
/// # Errors
/// As [`cpio::write`].
pub fn write(
    tree: &Tree,
    contents: &dyn Contents,
    epoch: Epoch,
    (compression, threads): (InitrdCompression, NonZeroUsize),
    output: &mut dyn Write,
) -> Result<cpio::Summary, Error> {
    let failed = |source| Error::Write { source };
    let mut encoder = packing::Encoder::new(output, compression, threads).map_err(failed)?;
    let summary = cpio::write(tree, contents, epoch, &mut encoder)?;
    encoder.finish().map_err(failed)?;
    Ok(summary)
}

/// Reads an initrd to a tree, handing each file's data to `keep`.
///
/// # Errors
/// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`] for other compressions.
pub fn read(input: impl Read, keep: cpio::Keep<'_>) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    let mut rest = BufReader::with_capacity(128 << 10, Persistent(input));
    let mut offset = 0_u64;
    loop {
        let failed = |source| Error::Read { source };
        let begin = rest.fill_buf().map_err(failed)?;
        let zeros = begin.iter().take_while(|&&byte| byte == 0).count();
        match begin.get(zeros..).unwrap_or_default() {
            _ if begin.is_empty() && offset == 0 => {
                return Err(Error::broken("the initrd", "is empty"));
            }
            _ if begin.is_empty() => return Ok(tree),
            [] => {}
            [b'0', ..] => {
                let mut entries = cpio::Entries::new(rest);
                cpio::read(&mut entries, &mut tree, keep)?;
                rest = entries.into_inner();
                offset = 1;
                continue;
            }
            packed => {
                let what = "a compression that is none of gzip, zstd, lz4 and xz";
                let compression = packing::of(packed);
                let compression =
                    compression.ok_or_else(|| Error::unsupported("the initrd", what))?;
                rest.consume(zeros);
                read_packed(&mut rest, compression, &mut tree, keep)?;
                offset = 1;
                continue;
            }
        }
        rest.consume(zeros);
        offset = 1;
    }
}

/// Goes on where reading was interrupted, which not every layer above does.
struct Persistent<R>(R);

impl<R: Read> Read for Persistent<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }
}

/// Reads the archives that are packed together.
fn read_packed(
    input: &mut dyn BufRead,
    compression: InitrdCompression,
    tree: &mut Tree,
    keep: cpio::Keep<'_>,
) -> Result<(), Error> {
    let unread = |source| damaged(Error::Read { source });
    let member = packing::decoder(input, compression).map_err(unread)?.take(MAXIMUM_SIZE);
    let mut entries = cpio::Entries::new(BufReader::with_capacity(128 << 10, member));
    cpio::read(&mut entries, tree, keep).map_err(damaged)?;
    let mut after = entries.into_inner();
    let rest = after.fill_buf().map_err(unread)?;
    let is_end = rest.is_empty();
    if is_end {
        Ok(())
    } else {
        Err(Error::broken("the packed initrd", "holds more than archives"))
    }
}

/// Tells damage that the decompressor met from a medium that failed.
fn damaged(error: Error) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    let is_damage = |source: &io::Error| match source.kind() {
        InvalidData | InvalidInput | UnexpectedEof => true,
        // What libraries say that have no kinds of their own.
        Other => source.raw_os_error().is_none(),
        _ => false,
    };
    match &error {
        Error::Read { source } if is_damage(source) => {
            Error::broken("the packed initrd", "is damaged or cut short")
        }
        _ => error,
    }
}

/// A [`cpio::Keep`] that only takes the digest.
///
/// # Errors
/// Whatever the reader reports.
pub fn digest_only(data: &mut dyn Read) -> io::Result<(crate::digest::Digest, u64)> {
    crate::digest::Digest::of_reader(data)
}

/// How the initrd that begins with `begin` is compressed; `None` when it is no initrd. Six bytes tell.
pub fn compression(begin: &[u8]) -> Option<InitrdCompression> {
    packing::surely(begin)
        .or_else(|| begin.starts_with(b"07070").then_some(InitrdCompression::None))
}

/// Whether `begin` may be the beginning of an initrd.
pub fn is_initrd(begin: &[u8]) -> bool {
    compression(begin).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Stuttering;
    use crate::tree::{Content, NoContents};

    const GZIP: (InitrdCompression, NonZeroUsize) = (InitrdCompression::Gzip, NonZeroUsize::MIN);

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (name, text) in [("a", "x".repeat(5_000)), ("b", String::new())] {
            let kind = Kind::Regular(Content::Inline(text.into_bytes().into()));
            let inode = Inode { meta: Meta::root(0o644), kind };
            tree.insert(&TreePath::parse(name).unwrap(), inode).unwrap();
        }
        tree
    }

    fn bytes(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tree, &NoContents, Epoch::default(), GZIP, &mut bytes).unwrap();
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Tree, Error> {
        read(bytes, &mut digest_only)
    }

    #[test]
    fn an_initrd_read_back_is_the_same_tree() {
        assert_eq!(parse(&bytes(&tree())).unwrap(), tree());
    }

    #[test]
    fn f5_an_initrd_is_written_and_read_byte_by_byte_and_through_interruptions() {
        let mut slow = Stuttering::new(Vec::new());
        write(&tree(), &NoContents, Epoch::default(), GZIP, &mut slow).unwrap();
        let packed = slow.into_inner();
        assert_eq!(packed, bytes(&tree()));
        assert_eq!(read(Stuttering::new(&packed[..]), &mut digest_only).unwrap(), tree());
        let cut = Stuttering::new(&packed[..packed.len() - 1]);
        assert!(matches!(read(cut, &mut digest_only), Err(Error::Broken { .. })));
        let mut plain = Stuttering::new(Vec::new());
        cpio::write(&tree(), &NoContents, Epoch::default(), &mut plain).unwrap();
        let plain = plain.into_inner();
        assert_eq!(read(Stuttering::new(&plain[..]), &mut digest_only).unwrap(), tree());
    }

    #[test]
    fn every_compression_comes_back_and_its_damage_is_told() {
        for compression in [
            InitrdCompression::Gzip,
            InitrdCompression::Zstd,
            InitrdCompression::Lz4,
            InitrdCompression::Xz,
            InitrdCompression::None,
        ] {
            let mut packed = Vec::new();
            let how = (compression, NonZeroUsize::MIN);
            write(&tree(), &NoContents, Epoch::default(), how, &mut packed).unwrap();
            assert_eq!(super::compression(&packed), Some(compression));
            assert_eq!(parse(&packed).unwrap(), tree(), "{compression:?}");
            assert_eq!(read(Stuttering::new(&packed[..]), &mut digest_only).unwrap(), tree());
            let cut = parse(&packed[..packed.len() / 2]);
            assert!(matches!(cut, Err(Error::Broken { .. })), "{compression:?} {cut:?}");
        }
    }

    #[test]
    fn archives_may_follow_each_other_packed_or_not() {
        let mut plain = Vec::new();
        let second = with_init(Tree::default(), Init::Agent);
        cpio::write(&second, &NoContents, Epoch::default(), &mut plain).unwrap();
        let expected = with_init(tree(), Init::Agent);
        let first = bytes(&tree());
        for padding in [0, 4, 512] {
            let zeros = vec![0; padding];
            let packed_first = [&first[..], &zeros, &plain].concat();
            assert_eq!(parse(&packed_first).unwrap(), expected, "{padding}");
            let packed_last = [&plain[..], &zeros, &first].concat();
            assert_eq!(parse(&packed_last).unwrap(), expected, "{padding}");
        }
    }

    #[test]
    fn the_link_to_init_is_made_only_where_there_is_none() {
        let path = TreePath::parse("init").unwrap();
        let cases: [(Init, &[u8]); 3] = [
            (Init::Agent, b"/sbin/init"),
            (Init::Systemd, b"/lib/systemd/systemd"),
            (Init::OpenRc, b"/bin/busybox"),
        ];
        for (init, target) in cases {
            let made = with_init(Tree::default(), init);
            assert_eq!(made.get(&path).unwrap().kind, Kind::Symlink(target.into()));
        }
        let own = with_init(Tree::default(), Init::Agent);
        assert_eq!(with_init(own.clone(), Init::Systemd), own);
        let mut alpine = Tree::default();
        for name in ["bin", "sbin"] {
            let directory = TreePath::parse(name).unwrap();
            alpine.make_directories(&directory, &Meta::root(0o755)).unwrap();
            let program = Inode { meta: Meta::root(0o755), kind: Kind::Fifo };
            let name = if name == "bin" { "busybox" } else { "openrc" };
            alpine.insert(&directory.join(name).unwrap(), program).unwrap();
        }
        let openrc = with_init(alpine.clone(), Init::OpenRc);
        assert_eq!(with_init(alpine, Init::Systemd), openrc);
    }

    #[test]
    fn damage_is_told_apart_from_other_compressions_and_from_the_medium() {
        let good = bytes(&tree());
        let mut flipped = good.clone();
        let middle = good.len() / 2;
        flipped[middle] ^= 0xff;
        for bad in [&flipped[..], &good[..good.len() - 4], &good[..middle], b"\x1f", b""] {
            assert!(matches!(parse(bad), Err(Error::Broken { .. })), "{:?}", parse(bad));
        }
        assert!(matches!(parse(b"BZh91AY"), Err(Error::Unsupported { .. })));
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        assert!(matches!(read(Failing, &mut digest_only), Err(Error::Read { .. })));
    }

    #[test]
    fn every_flipped_byte_is_noticed_or_harmless() {
        let good = bytes(&tree());
        for place in 10..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            assert!(parse(&bad).map_or(true, |read| read == tree()), "{place}");
        }
    }
}
