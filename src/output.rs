//! The last stage: a tree becomes a directory, an image or an initrd under its final name.
//!
//! Images and initrds are read back and compared with what was planned before they get their name.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

use crate::crew;
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::event::{Event, Stage};
use crate::image::verity::{self, Signer};
use crate::image::{self, initrd};
use crate::inspect;
use crate::recipe::{Agent, FileSystem, ImageOptions, Init, InitrdCompression, Recipe};
use crate::selinux;
use crate::store::{Output, OutputDirectory, directory};
use crate::tree::{Content, Contents, Kind, Tree};
use crate::workshop::{Error, Workshop};

/// Keys and certificates have a few kilobytes.
const MAX_PEM: u64 = 1 << 20;

/// What an output is made of.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Where its contents are.
    pub contents: &'a dyn Contents,
    /// No time in the output is later.
    pub epoch: Epoch,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// An output that is in place.
#[derive(Debug, Clone)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// Bytes of the file, or of all files in the directory.
    pub size: u64,
    /// SHA-256 of the file, or of the directory's listing.
    pub digest: Digest,
    /// Paths in the tree.
    pub files: usize,
    /// What a measured image is checked with.
    pub measurement: Option<Measurement>,
}

/// What a measured image is checked with.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Root hash, salt and sizes.
    pub parameters: verity::Parameters,
    /// The file beside the image in which they stand, as Kata's tools read them.
    pub path: PathBuf,
    /// The file beside it with the signature over the root hash, if it was to be signed.
    pub signature: Option<PathBuf>,
}

/// Reads the key and the certificate that shall sign the root hash, if one shall: before any work.
///
/// # Errors
/// [`Error::Input`], [`Error::Signer`].
pub fn signer(options: &ImageOptions) -> Result<Option<Signer>, Error> {
    let Some(files) = options.verity.as_ref().and_then(|verity| verity.signature.as_ref()) else {
        return Ok(None);
    };
    let read = |path: &Path| {
        let mut text = Vec::new();
        let file = File::open(path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut text));
        file.map_err(|source| Error::Input { source })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let signer = Signer::parse(&read(&files.key)?, &read(&files.certificate)?);
    let path = || files.key.clone();
    signer.map(Some).map_err(|source| Error::Signer { path: path(), source: Box::new(source) })
}

/// Writes a tree as a directory. Owners that the disk cannot hold are kept beside it. Under sudo it
/// is the caller's, as if the caller had built it.
///
/// # Errors
/// [`Error::Store`].
pub fn write_rootfs(
    source: Source<'_>,
    path: &Path,
    workshop: &Workshop<'_>,
) -> Result<Written, Error> {
    let tree = source.tree;
    workshop.stage(Stage::Image, || {
        let output = OutputDirectory::create(path).map_err(Error::Store)?;
        // What becomes somebody else's must not give root's rights to whoever runs it.
        let holding = match workshop.owner {
            Some(_) => directory::Holding::Tame,
            None => directory::Holding::for_this_user(),
        };
        let options = directory::Options { threads: workshop.threads, holding };
        directory::write(tree, source.contents, &output.path(), options).map_err(Error::Store)?;
        if let Some(owner) = workshop.owner {
            directory::give(tree, &output.path(), owner).map_err(Error::Store)?;
        }
        output.commit().map_err(Error::Store)
    })?;
    let digest = Digest::of(tree.to_listing().as_bytes());
    Ok(Written {
        path: path.to_owned(),
        size: content_size(tree),
        digest,
        files: tree.walk().count(),
        measurement: None,
    })
}

/// Says how much room an output takes if it was for want of room that it could not be written, or
/// which limit it met if there was one.
pub fn with_room(error: Error, source: Source<'_>, path: &Path) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded};
    let reason = match want_of_room(&error) {
        None => return error,
        Some(QuotaExceeded) => "the quota is used up",
        Some(FileTooLarge) => "files may not be larger there",
        Some(_) => return full(error, source, path),
    };
    Error::Limit { path: path.to_owned(), reason, source: Box::new(error) }
}

fn full(error: Error, source: Source<'_>, path: &Path) -> Error {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(disk) = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))) else { return error };
    Error::Full {
        path: path.to_owned(),
        needed: content_size(source.tree),
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        source: Box::new(error),
    }
}

/// The full disk, the quota that is used up or the limit of files' sizes among an error's causes.
fn want_of_room(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let kind = kind.filter(|kind| matches!(kind, StorageFull | QuotaExceeded | FileTooLarge));
    kind.or_else(|| error.source().and_then(want_of_room))
}

fn content_size(tree: &Tree) -> u64 {
    let sizes = tree.walk().map(|(_, _, inode)| match &inode.kind {
        Kind::Regular(content) => content.size(),
        _ => 0,
    });
    sizes.sum()
}

/// Refuses a tree that cannot start as a guest, and warns of what its containers will miss; unless
/// the recipe says that it is no guest (`SKIP_ROOTFS_CHECK=yes`), or it is an extension, which is
/// told. Refuses a manifest that the agent would not take, whatever the recipe says.
///
/// # Errors
/// [`Error::NoGuest`], [`Error::NoExtension`].
pub fn check_guest(
    source: Source<'_>,
    recipe: &Recipe,
    workshop: &Workshop<'_>,
) -> Result<(), Error> {
    let tree = source.tree;
    let lacks = inspect::extension(tree, source.contents).map_err(|source| Error::NoExtension {
        lacks: vec![format!("its manifest cannot be read: {source}")],
    })?;
    if !lacks.is_empty() {
        return Err(Error::NoExtension {
            lacks: lacks.into_iter().map(|lack| lack.what).collect(),
        });
    }
    if is_extension(tree, recipe) {
        let text = "the tree has a manifest of components: it is taken for an extension of guests, \
                    and not checked as a guest";
        (workshop.listener)(Event::note(text));
        return Ok(());
    }
    if !recipe.guest.check_init {
        return Ok(());
    }
    let expected = inspect::Contract {
        init: recipe.init,
        agent_name: Some(&recipe.guest.agent_name),
        has_policy: recipe.guest.policy.is_some(),
    };
    let lacks = inspect::contract(tree, expected);
    let (fatal, later): (Vec<_>, Vec<_>) =
        lacks.into_iter().partition(|lack| lack.severity == inspect::Severity::Fatal);
    for lack in later {
        (workshop.listener)(Event::warning(format!("as a Kata guest: {}", lack.what)));
    }
    if fatal.is_empty() {
        return Ok(());
    }
    Err(Error::NoGuest { lacks: fatal.into_iter().map(|lack| lack.what).collect() })
}

/// Whether a tree is no guest, but an extension of guests. One for which an agent was asked is a
/// guest, whatever its packages brought.
fn is_extension(tree: &Tree, recipe: &Recipe) -> bool {
    inspect::is_extension(tree) && recipe.agent == Agent::None
}

/// How the image of a tree is laid out: as the recipe says. An extension of guests is attached as a
/// block device: it gets an NVDIMM header only if the recipe asks for one in so many words.
pub fn image_options<'a>(tree: &Tree, recipe: &'a Recipe) -> Cow<'a, ImageOptions> {
    match is_extension(tree, recipe) && recipe.image.dax_header && !recipe.dax_header_asked {
        true => Cow::Owned(ImageOptions { dax_header: false, ..recipe.image.clone() }),
        false => Cow::Borrowed(&recipe.image),
    }
}

/// Writes a tree as a disk image, and signs its root hash if it is measured and there is a signer.
///
/// # Errors
/// [`Error::Labels`], [`Error::Image`], [`Error::Check`], [`Error::Store`].
pub fn write_image(
    source: Source<'_>,
    (options, signer): (&ImageOptions, Option<&Signer>),
    path: &Path,
    workshop: &Workshop<'_>,
) -> Result<Written, Error> {
    let failed = |source| Error::Image { path: path.to_owned(), source };
    let threads = workshop.threads.get();
    let labelled = options.selinux.then(|| label(&source, options, workshop)).transpose()?;
    let source = Source { tree: labelled.as_ref().unwrap_or(source.tree), ..source };
    let output = Output::create(path).map_err(Error::Store)?;
    let (plan, written) = workshop.stage(Stage::Image, || {
        let plan = image::plan(source.tree, options, source.epoch).map_err(failed)?;
        let written = image::write(&plan, source.contents, output.file(), threads);
        Ok((plan, written.map_err(failed)?))
    })?;
    let check = || image::check(&plan, &written, source.contents, output.file(), threads);
    let examined = examine(&output, check, &source, path, workshop)?;
    let measurement = (options.verity.as_ref().zip(written.verity))
        .map(|(verity, parameters)| {
            begin_measurement((parameters, signer), &verity.variant, path, workshop)
        })
        .transpose()?;
    let written = finish(output, examined, &source, path, workshop)?;
    let commit = |(measurement, outputs): (Measurement, Vec<Output>)| {
        if measurement.signature.is_none() {
            remove_signature(&measurement.path.with_extension("p7s"), workshop)?;
        }
        let committed = outputs.into_iter().try_for_each(Output::commit);
        committed.map(|()| measurement).map_err(Error::Store)
    };
    Ok(Written { measurement: measurement.map(commit).transpose()?, ..written })
}

/// The tree with SELinux labels, also on what an image has and the tree may lack.
fn label(
    source: &Source<'_>,
    options: &ImageOptions,
    workshop: &Workshop<'_>,
) -> Result<Tree, Error> {
    let mut tree = source.tree.clone();
    image::add_machine_id(&mut tree);
    if options.file_system == FileSystem::Ext4 {
        image::add_lost_and_found(&mut tree);
    }
    let labelled = selinux::label(tree, source.contents).map_err(Error::Labels)?;
    for path in &labelled.contradictions {
        let text = format!("{path} is labelled by another of its names");
        (workshop.listener)(Event::warning(text));
    }
    for path in &labelled.by_version {
        let text = format!("libselinux from 3.9 on would label {path} by another entry");
        (workshop.listener)(Event::warning(text));
    }
    Ok(labelled.tree)
}

/// Writes the line that Kata's tools read, `root_hash_<variant>.txt` in the image's folder, and the
/// signature over the root hash, `root_hash_<variant>.p7s`. They get their names after the image has
/// its own: a line without its image would be taken for another's.
fn begin_measurement(
    (parameters, signer): (verity::Parameters, Option<&Signer>),
    variant: &str,
    image: &Path,
    workshop: &Workshop<'_>,
) -> Result<(Measurement, Vec<Output>), Error> {
    let beside = |extension| image.with_file_name(format!("root_hash_{variant}.{extension}"));
    let begin = |path: &Path, bytes: &[u8]| {
        let output = Output::create(path).map_err(Error::Store)?;
        let failed =
            |source| Error::Image { path: path.to_owned(), source: image::Error::Write { source } };
        output.file().write_all_at(bytes, 0).map_err(failed)?;
        give_to_owner(&output, workshop).map_err(failed)?;
        Ok(output)
    };
    let (path, signature) = (beside("txt"), signer.map(|_| beside("p7s")));
    let mut outputs = vec![begin(&path, format!("{parameters}\n").as_bytes())?];
    if let (Some(signer), Some(path)) = (signer, &signature) {
        outputs.push(begin(path, &signer.sign(&parameters.root_hash))?);
    }
    Ok((Measurement { parameters, path, signature }, outputs))
}

/// Removes the signature that an earlier build left for the same variant: it is over another root
/// hash than the line that will stand beside it.
fn remove_signature(path: &Path, workshop: &Workshop<'_>) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Ok(()) => {
            let text = format!("removed {}: nothing was signed this time", path.display());
            (workshop.listener)(Event::note(text));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            let source = image::Error::Write { source };
            Err(Error::Image { path: path.to_owned(), source })
        }
    }
}

/// Writes a tree as an initrd.
///
/// # Errors
/// [`Error::Image`], [`Error::Check`], [`Error::Store`].
pub fn write_initrd(
    source: Source<'_>,
    (init, compression): (Init, InitrdCompression),
    path: &Path,
    workshop: &Workshop<'_>,
) -> Result<Written, Error> {
    let failed = |source| Error::Image { path: path.to_owned(), source };
    let output = Output::create(path).map_err(Error::Store)?;
    let tree = initrd::with_init(source.tree.clone(), init);
    let summary = workshop.stage(Stage::Image, || {
        let mut file = output.file();
        let how = (compression, workshop.threads);
        initrd::write(&tree, source.contents, source.epoch, how, &mut file).map_err(failed)
    })?;
    for path in &summary.without_attributes {
        let text = format!("an initrd cannot hold the extended attributes of {path}");
        (workshop.listener)(Event::warning(text));
    }
    let expected = clamped(tree, source.epoch);
    let check = || {
        let found = initrd::read(output.read(), &mut initrd::digest_only)?;
        match found.first_difference(&expected) {
            None => Ok(()),
            Some(difference) => Err(image::Error::Differs { difference }),
        }
    };
    let examined = examine(&output, check, &source, path, workshop)?;
    finish(output, examined, &source, path, workshop)
}

/// The tree as an initrd can hold it: no time later than the epoch, no extended attributes.
fn clamped(mut tree: Tree, epoch: Epoch) -> Tree {
    let ids: Vec<_> = tree.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        let meta = &mut tree.inode_mut(id).meta;
        meta.mtime = epoch.clamp(meta.mtime);
        meta.xattrs.clear();
    }
    tree
}

/// The digest and the size in bytes of a file that was written well.
type Examined = (Digest, u64);

/// Reads an output back, hashes it and brings it to the disk, all at the same time: one waits for
/// the processor, another for the disk.
fn examine(
    output: &Output,
    check: impl Fn() -> Result<(), image::Error> + Sync,
    source: &Source<'_>,
    path: &Path,
    workshop: &Workshop<'_>,
) -> Result<Examined, Error> {
    let path = || path.to_owned();
    let check = || match check() {
        Ok(()) => Ok(None),
        Err(error) => Err(match damage(&error, source) {
            Some(source) => Error::Image { path: path(), source },
            None => Error::Check { path: path(), source: error },
        }),
    };
    let hash = || {
        let unread = |source| Error::Image { path: path(), source: image::Error::Read { source } };
        Digest::of_reader(output.read()).map_err(unread).map(Some)
    };
    let sync = || output.sync().map_err(Error::Store).map(|()| None);
    let tasks: [&(dyn Fn() -> Result<Option<Examined>, Error> + Sync); 3] = [&check, &hash, &sync];
    workshop.stage(Stage::Check, || {
        let results = crew::try_map(tasks.len(), &tasks, |task| task())?;
        Ok(results.into_iter().flatten().next().expect("one of the tasks hashes"))
    })
}

/// The first content that is not what its digest says, where an output differs from the plan: then
/// that is why. All are read, since the cache puts aside what is found damaged.
fn damage(error: &image::Error, source: &Source<'_>) -> Option<image::Error> {
    let image::Error::Differs { .. } = error else { return None };
    let drain = |content: &Content| {
        let mut reader = content.open(source.contents)?;
        io::copy(&mut reader, &mut io::sink())
    };
    let damaged = source.tree.walk().filter_map(|(path, _, inode)| match &inode.kind {
        Kind::Regular(content) => {
            drain(content).err().map(|source| image::Error::Content { path, source })
        }
        _ => None,
    });
    damaged.reduce(|first, _| first)
}

fn finish(
    output: Output,
    (digest, size): Examined,
    source: &Source<'_>,
    path: &Path,
    workshop: &Workshop<'_>,
) -> Result<Written, Error> {
    give_to_owner(&output, workshop).map_err(|error| Error::Image {
        path: path.to_owned(),
        source: image::Error::Write { source: error },
    })?;
    output.commit().map_err(Error::Store)?;
    let files = source.tree.walk().count();
    Ok(Written { path: path.to_owned(), size, digest, files, measurement: None })
}

fn give_to_owner(output: &Output, workshop: &Workshop<'_>) -> io::Result<()> {
    let Some((uid, gid)) = workshop.owner else { return Ok(()) };
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    Ok(rustix::fs::fchown(output.file().as_fd(), Some(uid), Some(gid))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use crate::tree::NoContents;

    #[test]
    fn a_limit_is_told_as_such_and_room_only_where_the_disk_is_full() {
        use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, StorageFull};
        let tree = tree(&[("file", b"text")]);
        let source = Source { tree: &tree, contents: &NoContents, epoch: Epoch::default() };
        let path = Path::new("image");
        for (kind, words) in [
            (StorageFull, "image needs up to 4 bytes of room, and "),
            (QuotaExceeded, "cannot write image: the quota is used up"),
            (FileTooLarge, "cannot write image: files may not be larger there"),
        ] {
            let written = image::Error::Write { source: kind.into() };
            let error = Error::Image { path: path.to_owned(), source: written };
            let told = with_room(error, source, path).to_string();
            assert!(told.starts_with(words), "{told}");
        }
        let refused = image::Error::Write { source: PermissionDenied.into() };
        let error = Error::Image { path: path.to_owned(), source: refused };
        assert!(matches!(with_room(error, source, path), Error::Image { .. }));
    }
}
