//! Boots: with a stand-in for QEMU that fails in all ways, and with QEMU itself where a kernel is
//! at hand.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::epoch::Epoch;
use crate::image::initrd;
use crate::recipe::{ImageOptions, Init, InitrdCompression};
use crate::testing;
use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

/// A folder with an initrd, a kernel and a program in place of QEMU.
struct Bench {
    folder: tempfile::TempDir,
    guest: PathBuf,
    qemu: PathBuf,
}

impl Bench {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let guest = folder.path().join("guest");
        let qemu = folder.path().join("qemu");
        fs_err::write(&guest, b"\x1f\x8b").unwrap();
        fs_err::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&qemu, PermissionsExt::from_mode(0o755)).unwrap();
        fs_err::create_dir(folder.path().join("work")).unwrap();
        Self { folder, guest, qemu }
    }

    fn boot(&self, accelerator: Option<Accelerator>) -> (Result<Outcome, Error>, Vec<String>) {
        let work = self.folder.path().join("work");
        let request = Request {
            guest: &self.guest,
            kernel: Kernel::File { vmlinuz: Path::new("/kernel"), modules: None },
            loader: None,
            architecture: Architecture::X86_64,
            attachment: Attachment::Block,
            verity: None,
            qemu: &self.qemu,
            accelerator,
            memory_mib: 256,
            time_limit: Duration::from_secs(4),
            work: &work,
        };
        let events = Mutex::new(Vec::new());
        let outcome = boot(&request, &|event| {
            if let Event::Warning { text } | Event::Note { text } = event {
                events.lock().unwrap().push(text);
            }
        });
        assert_eq!(fs_err::read_dir(work).unwrap().count(), 0, "nothing stays");
        (outcome, events.into_inner().unwrap())
    }
}

#[test]
fn a_machine_that_ends_or_hangs_is_an_outcome_with_its_transcript() {
    let cases = [
        ("printf 'a\\033[31mb\\r\\nno\\n'; echo bad >&2", "the machine ended before"),
        ("echo waiting; exec sleep 60", "the agent did not answer in time"),
        ("exit 1", "the machine did not start"),
    ];
    for (script, reason) in cases {
        let (outcome, _) = Bench::new(script).boot(Some(Accelerator::Emulation));
        let outcome = outcome.unwrap();
        assert!(!outcome.answered && outcome.agent_version.is_none());
        assert!(outcome.reason.unwrap().starts_with(reason), "{reason}");
        if reason.contains("ended") {
            assert_eq!(outcome.transcript, ["a\\x1b[31mb", "no", "bad"]);
        }
    }
}

#[test]
fn virtualization_that_does_not_work_is_said_and_replaced() {
    let script = "case \"$*\" in *'-accel kvm'*) echo broken >&2; exit 134;; *) echo up;; esac";
    let (outcome, events) = Bench::new(script).boot(None);
    assert_eq!(outcome.unwrap().accelerator, Accelerator::Emulation);
    let said = events.join("\n");
    assert!(said.contains("broken") || said.contains(KVM), "{said}");
}

#[test]
fn nothing_is_on_disk_while_the_guest_runs() {
    let bench =
        Bench::new("echo up; sleep 0.4; ls ../ | grep -q boot- && echo left; exec sleep 60");
    let (outcome, _) = bench.boot(Some(Accelerator::Emulation));
    assert_eq!(outcome.unwrap().transcript, ["up"]);
}

#[test]
fn what_has_no_machine_is_refused_before_anything_is_read() {
    let request = |architecture, attachment| Request {
        guest: Path::new("/nowhere"),
        kernel: Kernel::File { vmlinuz: Path::new("/kernel"), modules: None },
        loader: None,
        architecture,
        attachment,
        verity: None,
        qemu: Path::new("/nowhere"),
        accelerator: None,
        memory_mib: 256,
        time_limit: Duration::from_secs(4),
        work: Path::new("/tmp"),
    };
    let refused = |architecture, attachment| {
        boot(&request(architecture, attachment), &|_| {}).unwrap_err().to_string()
    };
    let mainframe = refused(Architecture::S390x, Attachment::Block);
    assert!(mainframe.starts_with("guests for s390x cannot be started"), "{mainframe}");
    let arm = refused(Architecture::Aarch64, Attachment::Nvdimm);
    assert!(arm.starts_with("machines for aarch64 take an image as a disk"), "{arm}");
}

#[test]
fn a_qemu_that_is_not_there_is_an_error_that_names_it() {
    let mut bench = Bench::new("");
    bench.qemu = PathBuf::from("/nowhere/qemu");
    let (outcome, _) = bench.boot(Some(Accelerator::Emulation));
    assert_eq!(outcome.unwrap_err().to_string(), "cannot run /nowhere/qemu");
    bench.guest = PathBuf::from("/nowhere/guest");
    let (outcome, _) = bench.boot(None);
    assert_eq!(outcome.unwrap_err().to_string(), "cannot read the guest /nowhere/guest");
}

/// The probe as the first process, and nothing else but mount points.
fn probe_tree(probe: &Path) -> Tree {
    let mut tree = Tree::default();
    for name in ["dev", "proc", "sys", "run", "tmp", "sbin"] {
        tree.make_directories(&TreePath::parse(name).unwrap(), &Meta::root(0o755)).unwrap();
    }
    let program = Content::Inline(fs_err::read(probe).unwrap().into());
    let inode = Inode { meta: Meta::root(0o755), kind: Kind::Regular(program) };
    tree.insert(&TreePath::parse("sbin/init").unwrap(), inode).unwrap();
    tree
}

fn probe_initrd(tree: Tree, path: &Path) {
    let tree = initrd::with_init(tree, Init::Agent);
    let mut file = fs_err::File::create(path).unwrap();
    let threads = std::num::NonZeroUsize::MIN;
    initrd::write(
        &tree,
        &NoContents,
        Epoch::default(),
        (InitrdCompression::Gzip, threads),
        &mut file,
    )
    .unwrap();
}

fn probe_image(tree: &Tree, path: &Path) {
    let options = ImageOptions { alignment_mib: 128, ..ImageOptions::KATA };
    let plan = crate::image::plan(tree, &options, Epoch::default()).unwrap();
    let file = fs_err::OpenOptions::new().write(true).create(true).open(path).unwrap();
    crate::image::write(&plan, &NoContents, &file, 1).unwrap();
}

/// The kernel's package, unpacked, and the probe, where the tests are given both.
fn at_hand() -> Option<(PathBuf, PathBuf)> {
    let given = ["OSBUILDER_TEST_KERNEL", "OSBUILDER_TEST_PROBE"].map(testing::given);
    if let [Some(package), Some(probe)] = given { Some((package, probe)) } else { None }
}

/// Boots what `write` made of the probe, with Debian's kernel.
fn the_probe_answers(attachment: Attachment, write: impl Fn(Tree, &Path)) {
    let Some((package, probe)) = at_hand() else { return };
    let folder = tempfile::tempdir().unwrap();
    let guest = folder.path().join("guest");
    write(probe_tree(&probe), &guest);
    let boot_folder = fs_err::read_dir(package.join("boot")).unwrap();
    let is_kernel = |path: &PathBuf| path.to_string_lossy().contains("/vmlinuz-");
    let vmlinuz = boot_folder.map(|entry| entry.unwrap().path()).find(is_kernel).unwrap();
    let request = Request {
        guest: &guest,
        kernel: Kernel::File { vmlinuz: &vmlinuz, modules: Some(&package.join("lib/modules")) },
        loader: Some(&probe),
        architecture: Architecture::X86_64,
        attachment,
        verity: None,
        qemu: Path::new("qemu-system-x86_64"),
        accelerator: None,
        memory_mib: 512,
        time_limit: Duration::from_secs(180),
        work: folder.path(),
    };
    let outcome = boot(&request, &|_| {}).unwrap();
    assert!(outcome.answered, "{:?}\n{}", outcome.reason, outcome.transcript.join("\n"));
    assert_eq!(outcome.agent_version.unwrap(), "0.1.0-probe");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing stays");
}

#[test]
fn the_probe_answers_from_an_initrd() {
    the_probe_answers(Attachment::Block, probe_initrd);
}

#[test]
fn the_probe_answers_from_an_image_as_a_disk() {
    the_probe_answers(Attachment::Block, |tree, path| probe_image(&tree, path));
}

#[test]
fn the_probe_answers_from_an_image_as_memory() {
    the_probe_answers(Attachment::Nvdimm, |tree, path| probe_image(&tree, path));
}
