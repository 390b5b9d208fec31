//! Every form that we write, and for each what makes a measurement worth something (K1 to K5, K7) and
//! that nothing is ever cut to fit (F20). One table: a form that is not in it does not compile.

use std::num::NonZeroUsize;

use osbuilder::distro::Architecture;
use osbuilder::epoch::Epoch;
use osbuilder::image::verity::{self, Parameters};
use osbuilder::image::{self, Error, Medium as _, initrd};
use osbuilder::inspect::{self, Claim};
use osbuilder::recipe::{
    Compression, FileSystem, ImageOptions, InitrdCompression, PartitionTable, Verity,
};
use osbuilder::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};

/// What an output is, and whether its tree is an extension's.
#[derive(Debug, Clone)]
enum Form {
    Image(Box<ImageOptions>),
    Extension(Box<ImageOptions>),
    Initrd(InitrdCompression),
}

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// All forms. The matches have no `_`: who adds a file system, a table or a compression is led here.
fn forms() -> Vec<Form> {
    let file_systems = match FileSystem::Ext4 {
        FileSystem::Ext4 | FileSystem::Erofs | FileSystem::Xfs => {
            [FileSystem::Ext4, FileSystem::Erofs, FileSystem::Xfs]
        }
    };
    let tables = match PartitionTable::Mbr {
        PartitionTable::Mbr | PartitionTable::Gpt(_) => {
            [PartitionTable::Mbr, PartitionTable::Gpt(Architecture::X86_64)]
        }
    };
    let compressions = match InitrdCompression::Gzip {
        InitrdCompression::Gzip
        | InitrdCompression::Zstd
        | InitrdCompression::Lz4
        | InitrdCompression::Xz
        | InitrdCompression::None => [
            InitrdCompression::Gzip,
            InitrdCompression::Zstd,
            InitrdCompression::Lz4,
            InitrdCompression::Xz,
            InitrdCompression::None,
        ],
    };
    let mut forms: Vec<Form> = compressions.into_iter().map(Form::Initrd).collect();
    for file_system in file_systems {
        for table in tables {
            for (dax_header, verity) in [(false, None), (false, Some(true)), (true, Some(false))] {
                let verity = verity.map(|superblock| Verity { superblock, ..Verity::default() });
                let dax_header = dax_header && table == PartitionTable::Mbr;
                let options = options(file_system, verity);
                forms.push(Form::Image(Box::new(ImageOptions { table, dax_header, ..options })));
            }
        }
        forms.push(Form::Image(Box::new(ImageOptions {
            dax_header: true,
            ..options(file_system, None)
        })));
    }
    forms.push(Form::Extension(Box::new(options(FileSystem::Erofs, Some(Verity::default())))));
    forms
}

fn options(file_system: FileSystem, verity: Option<Verity>) -> ImageOptions {
    ImageOptions { file_system, verity, alignment_mib: 2, dax_header: false, ..ImageOptions::KATA }
}

impl Form {
    fn options(&self) -> Option<&ImageOptions> {
        match self {
            Self::Image(options) | Self::Extension(options) => Some(options),
            Self::Initrd(_) => None,
        }
    }

    fn is_measured(&self) -> bool {
        self.options().is_some_and(|options| options.verity.is_some())
    }

    /// The output of a tree, and how it is measured.
    fn made(
        &self,
        tree: &Tree,
        epoch: u64,
        threads: usize,
    ) -> Result<(Vec<u8>, Option<Parameters>), Error> {
        let epoch = Epoch::new(epoch).unwrap();
        let options = match self {
            Self::Image(options) | Self::Extension(options) => options,
            Self::Initrd(compression) => {
                let mut bytes = Vec::new();
                let how = (*compression, NonZeroUsize::new(threads).unwrap());
                initrd::write(tree, &NoContents, epoch, how, &mut bytes)?;
                return Ok((bytes, None));
            }
        };
        let plan = image::plan(tree, options, epoch)?;
        let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
        let image = image::write(&plan, &NoContents, &file, threads)?;
        image::check(&plan, &image, &NoContents, &file, threads)?;
        let mut bytes = vec![0; usize::try_from(image.size).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        Ok((bytes, image.verity))
    }

    /// A tree for it.
    fn tree(&self, is_reversed: bool) -> Tree {
        let text = |text: &str| Kind::Regular(Content::Inline(text.as_bytes().into()));
        let pattern: Vec<u8> = (0..9000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let manifest = "schema_version = 1\n[paths]\na = \"usr/file\"\n";
        let mut files = vec![
            ("usr/file", Kind::Regular(Content::Inline(pattern.into()))),
            ("usr/link", Kind::Symlink(b"file".as_slice().into())),
            ("usr/pipe", Kind::Fifo),
            ("etc/machine-id", text("")),
            ("etc/short", text("short")),
        ];
        if matches!(self, Self::Extension(_)) {
            files.push(("etc/kata-extensions/components.toml", text(manifest)));
        }
        if is_reversed {
            files.reverse();
        }
        let mut tree = Tree::default();
        for (path, kind) in files {
            let path = TreePath::parse(path).unwrap();
            tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
            tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
        }
        tree
    }

    fn good(&self) -> (Vec<u8>, Option<Parameters>) {
        self.made(&self.tree(false), EPOCH, 2).unwrap()
    }
}

const EPOCH: u64 = 1_700_000_000;

/// What is wrong with an output, by a claim.
fn wrong(bytes: &[u8], claim: &Claim) -> Option<String> {
    match inspect::verify(&bytes.to_vec(), claim, (false, ONE)) {
        Ok(verdict) if verdict.is_good() => None,
        Ok(verdict) => Some(verdict.findings[0].what.clone()),
        Err(error) => Some(error.to_string()),
    }
}

/// The places of both partitions of a measured image: begin, boundary, end of the tree that is used.
fn places(bytes: &[u8], parameters: &Parameters) -> [usize; 3] {
    let bytes = bytes.to_vec();
    let parts = image::parts(&bytes).unwrap();
    let start = usize::try_from(parts.file_system_at).unwrap();
    let boundary = start + usize::try_from(parameters.data_blocks * 4096).unwrap();
    let superblock = usize::from(parts.verity_superblock().unwrap().is_some());
    let mut level = parameters.data_blocks;
    let mut blocks = superblock;
    while level > 1 {
        level = level.div_ceil(128);
        blocks += usize::try_from(level).unwrap();
    }
    [start, boundary, boundary + blocks * 4096]
}

#[test]
fn k1_every_form_has_the_same_bytes_on_any_number_of_threads_and_in_any_order() {
    for form in forms() {
        let good = form.good();
        for threads in [1, 5] {
            let again = form.made(&form.tree(true), EPOCH, threads).unwrap();
            assert!(again == good, "{form:?} on {threads} threads");
        }
        let mut other = form.tree(false);
        other.remove(&TreePath::parse("etc/short").unwrap());
        let (other, parameters) = form.made(&other, EPOCH, 2).unwrap();
        assert!(other != good.0, "{form:?}");
        if let (Some(parameters), Some(good)) = (parameters, good.1) {
            assert_ne!(parameters.root_hash, good.root_hash, "{form:?}");
            assert_ne!(parameters.salt, good.salt, "{form:?}");
        }
    }
}

#[test]
fn k2_every_measured_form_is_bound_to_its_line_and_no_other_form_to_any() {
    let measured = forms().into_iter().find(Form::is_measured).unwrap();
    let another = measured.good().1.unwrap();
    for form in forms() {
        let (good, parameters) = form.good();
        assert_eq!(wrong(&good, &Claim::Nothing), None, "{form:?}");
        let Some(parameters) = parameters else {
            let refused = wrong(&good, &Claim::Parameters(another.clone()));
            assert!(refused.is_some(), "{form:?} passes for a measured one");
            continue;
        };
        let line: Parameters = format!("{parameters}\n").parse().unwrap();
        assert_eq!(wrong(&good, &Claim::Parameters(line.clone())), None, "{form:?}");
        let [start, boundary, end] = places(&good, &parameters);
        let step = ((end - start) / 4096 / 9).max(1) * 4096;
        let some = (start..end).step_by(step).chain([boundary - 1, boundary, end - 4096]);
        for at in some {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            let parts = image::parts(&bad);
            let said = parts.and_then(|parts| parts.verify(&line, 2));
            assert!(said.is_err(), "{form:?}: a bit at {at} of {start}..{boundary}..{end}");
        }
    }
}

#[test]
fn k3_every_measured_form_covers_its_whole_partition_by_the_tree_of_cryptsetup_s_form() {
    for form in forms().into_iter().filter(Form::is_measured) {
        let (bytes, parameters) = form.good();
        let parameters = parameters.unwrap();
        let [start, boundary, end] = places(&bytes, &parameters);
        let data = bytes[start..boundary].to_vec();
        let (again, tree) = verity::measure(&data, &parameters.salt, 3).unwrap();
        assert_eq!(again, parameters, "{form:?}");
        assert!(bytes[..end].ends_with(&tree), "{form:?}");
        let partition = image::parts(&bytes).unwrap().table.partitions()[0].1;
        assert_eq!(partition.count * 512, parameters.data_blocks * 4096, "{form:?}");
    }
}

#[test]
fn k4_every_form_that_was_to_be_measured_is_or_is_refused() {
    for form in forms() {
        let (_, parameters) = form.good();
        assert_eq!(parameters.is_some(), form.is_measured(), "{form:?}");
        let (Some(parameters), Some(options)) = (parameters, form.options()) else { continue };
        assert!(parameters.data_blocks > 0 && parameters.salt.len() == 32, "{form:?}");
        let verity = Some(Verity { salt: Some(vec![1; 257]), ..Verity::default() });
        let form = Form::Image(Box::new(ImageOptions { verity, ..options.clone() }));
        let error = form.made(&form.tree(false), EPOCH, 1).unwrap_err();
        assert!(matches!(error, Error::BadOption { .. }), "{form:?}: {error}");
    }
}

/// Contents are not compressed here, or nobody could search them.
#[test]
fn k5_no_form_holds_anything_of_the_host() {
    let host = rustix::system::uname();
    let folder = std::env::temp_dir().display().to_string();
    let home = env!("CARGO_MANIFEST_DIR").to_owned();
    let release = host.release().to_string_lossy().into_owned();
    let name = host.nodename().to_string_lossy().into_owned();
    let canaries = [folder, home, release, name].into_iter().filter(|text| text.len() > 3);
    let canaries: Vec<String> = canaries.collect();
    for form in forms() {
        let form = match form {
            Form::Initrd(_) => Form::Initrd(InitrdCompression::None),
            Form::Image(options) => {
                Form::Image(Box::new(ImageOptions { compression: Compression::None, ..*options }))
            }
            Form::Extension(options) => Form::Extension(Box::new(ImageOptions {
                compression: Compression::None,
                ..*options
            })),
        };
        let (bytes, _) = form.good();
        for canary in &canaries {
            let found = regex::bytes::Regex::new(&regex::escape(canary)).unwrap().is_match(&bytes);
            assert!(!found, "{form:?} holds {canary:?}");
        }
    }
}

#[test]
fn k7_in_every_form_all_that_nothing_leads_to_is_zero() {
    let zeros = vec![0; 1 << 20];
    let is_zero = |bytes: &[u8]| bytes.chunks(zeros.len()).all(|part| *part == zeros[..part.len()]);
    for form in forms() {
        let (bytes, parameters) = form.good();
        let Some(options) = form.options() else {
            // What the archive's reader passes over could only be what a writer would put there.
            let guest = inspect::read(&bytes, ONE).unwrap();
            let Form::Initrd(compression) = form else { unreachable!("it has no options") };
            let epoch = Epoch::new(EPOCH).unwrap();
            let mut again = Vec::new();
            let how = (compression, ONE);
            initrd::write(&guest.tree, &guest.contents, epoch, how, &mut again).unwrap();
            assert!(again == bytes, "{compression:?}");
            continue;
        };
        let disk = image::read(&bytes, 1).unwrap();
        assert_eq!(disk.file_system.stray_byte().unwrap(), None, "{form:?}");
        let (table, backup) = match options.table {
            PartitionTable::Mbr => (512, 0),
            PartitionTable::Gpt(_) => (34 * 512, 33 * 512),
        };
        let start = usize::try_from(disk.parts.file_system_at).unwrap();
        if options.dax_header {
            assert!(is_zero(&bytes[512..4096]) && is_zero(&bytes[8192..2 << 20]), "{form:?}");
            assert!(is_zero(&bytes[(2 << 20) + 512..start]), "{form:?}");
        } else {
            assert!(is_zero(&bytes[table..start]), "{form:?}");
        }
        let end = bytes.len() - backup;
        let last = disk.parts.table.partitions().last().unwrap().1.end() * 512;
        assert!(is_zero(&bytes[usize::try_from(last).unwrap()..end]), "{form:?}");
        if let Some(parameters) = parameters {
            assert!(is_zero(&bytes[places(&bytes, &parameters)[2]..end]), "{form:?}");
        }
    }
}

#[test]
fn f20_what_a_form_cannot_hold_it_refuses_by_the_file_s_name() {
    let cases = [
        Kind::Symlink([b'a'; 5000].as_slice().into()),
        Kind::Symlink(Box::default()),
        Kind::BlockDevice(Device { major: 4096, minor: 0 }),
        Kind::CharacterDevice(Device { major: 1, minor: 1 << 20 }),
    ];
    for form in forms() {
        for kind in &cases {
            let mut tree = form.tree(false);
            let path = TreePath::parse("usr/odd").unwrap();
            tree.insert(&path, Inode { meta: Meta::root(0o644), kind: kind.clone() }).unwrap();
            let Err(error) = form.made(&tree, EPOCH, 1) else {
                panic!("{form:?} takes {kind:?}");
            };
            let named =
                matches!(&error, Error::CannotHold { path, .. } if path.to_string() == "/usr/odd");
            assert!(named, "{form:?}: {error}");
        }
    }
}
