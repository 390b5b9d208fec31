//! The kernel to boot, and the little initrd that loads its modules.
//!
//! Kata's kernels have their drivers built in and need nothing. A distribution's kernel, as its
//! package holds it, needs modules before it sees a disk or a vsock device: they are picked here,
//! with what they depend on, and put into an initrd with the loader of `guest-probe`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::module::{canonical, dependencies};
use crate::epoch::Epoch;
use crate::image::cpio;
use crate::store;
use crate::tree::{Content, Contents, Inode, Kind, Meta, NoContents, Tree, TreePath};

/// What a guest needs of its kernel here: the bus, the disk, the line to the agent, and the
/// memory that Kata's runtime uses as a disk. Those that a kernel does not have as modules are
/// built in, or missing: then the guest says so on its console.
const WANTED: [&str; 5] =
    ["virtio_pci", "virtio_blk", "vmw_vsock_virtio_transport", "nfit", "nd_pmem"];
/// The largest module that is read, in bytes after decompression.
const MAXIMUM_MODULE: u64 = 256 << 20;
/// Where the loader looks; see `guest-probe`.
const FOLDER: &str = "boot-init";

/// The kernel parameter that makes the loader the first process.
pub(super) const LOADER_PARAMETER: &str = "rdinit=/boot-init/init";

/// Which kernel a guest is booted with.
#[derive(Clone, Copy)]
pub enum Kernel<'a> {
    /// A kernel with everything built in, as Kata's are, or with a folder of its modules
    /// (`/lib/modules/VERSION`).
    File {
        /// The kernel: `vmlinuz`, `bzImage`.
        vmlinuz: &'a Path,
        /// Its modules.
        modules: Option<&'a Path>,
    },
    /// A distribution's kernel package, unpacked: `/boot/vmlinuz-…` (or `vmlinux-…`) and
    /// `/lib/modules/…`.
    Package {
        /// Its files.
        tree: &'a Tree,
        /// Their contents.
        contents: &'a dyn Contents,
    },
}

impl std::fmt::Debug for Kernel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { vmlinuz, modules } => {
                f.debug_struct("File").field("vmlinuz", vmlinuz).field("modules", modules).finish()
            }
            Self::Package { .. } => f.write_str("Package"),
        }
    }
}

impl Kernel<'_> {
    /// Returns the kernel as a file, which is written to `folder` if it is in a package.
    pub(super) fn file(&self, folder: &Path) -> Result<PathBuf, Error> {
        let (tree, contents) = match self {
            Self::File { vmlinuz, .. } => return Ok(vmlinuz.to_path_buf()),
            Self::Package { tree, contents } => (tree, contents),
        };
        let is_kernel = |path: &TreePath| {
            let boot = TreePath::parse("boot").expect("the path is clean");
            let name = path.name().unwrap_or_default();
            // POWER's kernels are not packed.
            let is_named = name.starts_with(b"vmlinuz-") || name.starts_with(b"vmlinux-");
            path.parent() == Some(boot) && is_named
        };
        let found = tree.walk().filter(|(path, ..)| is_kernel(path)).last();
        let Some((path, _, Inode { kind: Kind::Regular(content), .. })) = found else {
            return Err(Error::NoKernel);
        };
        let target = folder.join("vmlinuz");
        let failed = |source| Error::Kernel { path: path.to_string(), source };
        let mut file = fs_err::File::create(&target).map_err(failed)?;
        let mut reader = content.open(*contents).map_err(failed)?;
        io::copy(&mut reader, &mut file).map_err(failed)?;
        Ok(target)
    }

    /// Returns the modules that every boot needs, and further ones, in the order of loading; none for a kernel that
    /// comes without.
    pub(super) fn modules(&self, further: &[&str]) -> Result<Vec<Module>, Error> {
        let places = match self {
            Self::File { modules: None, .. } => return Ok(Vec::new()),
            Self::File { modules: Some(folder), .. } => in_folder(folder)?,
            Self::Package { tree, .. } => in_tree(tree),
        };
        let contents: &dyn Contents = match self {
            Self::Package { contents, .. } => *contents,
            Self::File { .. } => &NoContents,
        };
        let mut picked = Picked { places: &places, contents, met: BTreeSet::new(), order: vec![] };
        for name in WANTED.iter().chain(further) {
            picked.add(name)?;
        }
        Ok(picked.order)
    }
}

/// A module, decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Where the bytes of a module are.
enum Place<'a> {
    Disk(PathBuf),
    Tree(&'a Content),
}

type Places<'a> = BTreeMap<String, (String, Place<'a>)>;

/// The name of the module in a file of this name, and the ending that says how it is compressed.
fn module_name(file: &str) -> Option<(String, String)> {
    let (name, ending) = file.rsplit_once(".ko")?;
    matches!(ending, "" | ".xz" | ".zst" | ".gz").then(|| (canonical(name), ending.to_owned()))
}

fn in_tree(tree: &Tree) -> Places<'_> {
    let mut places = BTreeMap::new();
    for (path, _, inode) in tree.walk() {
        let file = String::from_utf8_lossy(path.name().unwrap_or_default()).into_owned();
        if let (Some((name, ending)), Kind::Regular(content)) = (module_name(&file), &inode.kind) {
            places.insert(name, (ending, Place::Tree(content)));
        }
    }
    places
}

fn in_folder(folder: &Path) -> Result<Places<'static>, Error> {
    let failed = |source| Error::Kernel { path: folder.display().to_string(), source };
    let mut places = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for path in store::paths_in(&folder).map_err(|error| failed(io::Error::other(error)))? {
            let kind = fs_err::symlink_metadata(&path).map_err(failed)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match module_name(&file) {
                _ if kind.is_dir() => pending.push(path),
                Some((name, ending)) if kind.is_file() => {
                    places.insert(name, (ending, Place::Disk(path)));
                }
                _ => {}
            }
        }
    }
    Ok(places)
}

/// The modules picked so far.
struct Picked<'a> {
    places: &'a Places<'a>,
    contents: &'a dyn Contents,
    met: BTreeSet<String>,
    order: Vec<Module>,
}

impl Picked<'_> {
    /// Adds a module after everything it depends on. One that is not there is built in, or the
    /// kernel cannot do what it is for.
    fn add(&mut self, name: &str) -> Result<(), Error> {
        let Some((ending, place)) = self.places.get(name) else { return Ok(()) };
        if !self.met.insert(name.to_owned()) {
            return Ok(());
        }
        let bytes = self
            .read(ending, place)
            .map_err(|source| Error::Kernel { path: format!("module {name}"), source })?;
        let needed = dependencies(&bytes);
        let needed = needed.map_err(|rule| Error::Module { name: name.to_owned(), rule })?;
        for dependency in needed {
            self.add(&dependency)?;
        }
        self.order.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }

    fn read(&self, ending: &str, place: &Place<'_>) -> io::Result<Vec<u8>> {
        let packed: Box<dyn Read> = match place {
            Place::Disk(path) => Box::new(fs_err::File::open(path)?),
            Place::Tree(content) => content.open(self.contents)?,
        };
        let plain: Box<dyn Read> = match ending {
            ".xz" => Box::new(liblzma::read::XzDecoder::new(packed)),
            ".zst" => Box::new(zstd::Decoder::new(packed)?),
            ".gz" => Box::new(flate2::read::GzDecoder::new(packed)),
            _ => packed,
        };
        let mut bytes = Vec::new();
        plain.take(MAXIMUM_MODULE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Writes the initrd with the loader and the modules: it may stand alone, or after another.
pub(super) fn loader_initrd(loader: &[u8], modules: &[Module]) -> Result<Vec<u8>, Error> {
    let mut tree = Tree::default();
    let mut put = |path: &str, mode, kind| {
        let path = TreePath::parse(path).map_err(crate::tree::Error::from);
        path.and_then(|path| tree.insert(&path, Inode { meta: Meta::root(mode), kind })).map(drop)
    };
    let file = |bytes: &[u8]| Kind::Regular(Content::Inline(Arc::from(bytes)));
    let list: String = modules.iter().map(|module| format!("{}.ko\n", module.name)).collect();
    let mut fill = || {
        put(FOLDER, 0o755, Kind::Directory(BTreeMap::new()))?;
        put(&format!("{FOLDER}/init"), 0o755, file(loader))?;
        put(&format!("{FOLDER}/modules"), 0o644, file(list.as_bytes()))?;
        modules.iter().try_for_each(|module| {
            put(&format!("{FOLDER}/{}.ko", module.name), 0o644, file(&module.bytes))
        })
    };
    fill().map_err(|source: crate::tree::Error| Error::Loader { source: source.into() })?;
    let mut bytes = Vec::new();
    cpio::write(&tree, &NoContents, Epoch::default(), &mut bytes)
        .map_err(|source| Error::Loader { source: source.into() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::module::tests::module;
    use crate::testing::tree;

    #[test]
    fn modules_come_after_what_they_need_whatever_they_are_compressed_with() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let tree = tree(&[
            ("boot/vmlinux-6.1", b"kernel"),
            ("boot/System.map-6.1", b""),
            ("lib/modules/6.1/a/virtio_pci.ko", &module(b"depends=virtio,virtio-ring\0")),
            ("lib/modules/6.1/virtio.ko.zst", &zstd(&module(b"depends=virtio_ring\0"))),
            ("lib/modules/6.1/virtio_ring.ko", &module(b"depends=built_in\0")),
            ("lib/modules/6.1/useless.ko", b"not even read"),
        ]);
        let kernel = Kernel::Package { tree: &tree, contents: &NoContents };
        let names: Vec<_> = kernel.modules(&[]).unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["virtio_ring", "virtio", "virtio_pci"]);
        let folder = tempfile::tempdir().unwrap();
        let file = kernel.file(folder.path()).unwrap();
        assert_eq!(fs_err::read(file).unwrap(), b"kernel");
    }

    #[test]
    fn circles_end_and_broken_modules_are_named() {
        let circle = module(b"depends=virtio_pci\0");
        let tree = tree(&[("virtio_pci.ko", &circle), ("nfit.ko", b"broken")]);
        let kernel = Kernel::Package { tree: &tree, contents: &NoContents };
        let message = kernel.modules(&[]).unwrap_err().to_string();
        assert!(message.starts_with("the kernel module nfit "), "{message}");
        assert!(matches!(kernel.file(Path::new("/")), Err(Error::NoKernel)));
    }
}
