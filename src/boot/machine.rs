//! QEMU: which arguments make the machine, and the process that runs it.
//!
//! The arguments are a value, made of what the guest is and how it is attached. The parameters of
//! the kernel are those of Kata's runtime (`src/runtime/virtcontainers/hypervisor.go`), so that a
//! guest that boots here meets what it will meet there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::{Accelerator, Attachment};
use crate::distro::Architecture;
use crate::image::verity::Parameters;

/// What differs between processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Board {
    /// QEMU's name of the machine.
    name: &'static str,
    /// QEMU's name of a processor that it emulates.
    emulated: &'static str,
    /// Kata's parameters for the kernel, and where its console is.
    parameters: &'static str,
    /// Whether the kernel finds memory that is a disk without a firmware telling it.
    has_nvdimm: bool,
}

impl Board {
    /// The machine for a processor. `None`: QEMU has none with a vsock device that needs no
    /// privilege.
    pub(super) const fn of(architecture: Architecture) -> Option<Self> {
        Some(match architecture {
            Architecture::X86_64 => Self {
                name: "q35",
                emulated: "max",
                parameters: "console=ttyS0 panic=1 reboot=k no_timer_check tsc=reliable",
                has_nvdimm: true,
            },
            // Signing pointers as the architecture does it takes most of the time of emulation.
            Architecture::Aarch64 => Self {
                name: "virt,gic-version=max",
                emulated: "max,pauth-impdef=on",
                parameters: "console=ttyAMA0 panic=1",
                has_nvdimm: false,
            },
            Architecture::Ppc64le => Self {
                name: "pseries",
                emulated: "power9",
                parameters: "console=hvc0 panic=1 reboot=k",
                has_nvdimm: false,
            },
            Architecture::S390x => return None,
        })
    }

    /// Whether an image can be attached so.
    pub(super) const fn takes(&self, attachment: Attachment) -> bool {
        matches!(attachment, Attachment::Block) || self.has_nvdimm
    }
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) board: Board,
    pub(super) accelerator: Accelerator,
    pub(super) memory_mib: u32,
    pub(super) kernel: PathBuf,
    /// What the kernel unpacks: the guest itself, or what loads its modules, or both.
    pub(super) initrd: Option<PathBuf>,
    /// The image; none when the initrd is the guest.
    pub(super) image: Option<Image>,
    pub(super) attachment: Attachment,
    /// Further parameters of the kernel.
    pub(super) parameters: Vec<String>,
    /// The socket of the vsock device, in the folder that QEMU runs in.
    pub(super) socket: OsString,
}

/// An image, as far as the machine and its kernel must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    /// Bytes of the file.
    pub(super) size: u64,
    /// The file system in its first partition.
    pub(super) root_type: &'static str,
    /// What the kernel shall check that with, if it shall.
    pub(super) verity: Option<Parameters>,
}

impl Image {
    /// Where the root is and how it is mounted, as Kata's runtime tells the kernel. What a hash tree
    /// checks cannot be mapped past it, so there is no `dax` then.
    fn root(&self, attachment: Attachment) -> String {
        let (data, hashes) = match attachment {
            Attachment::Block => ("/dev/vda1", "/dev/vda2"),
            Attachment::Nvdimm => ("/dev/pmem0p1", "/dev/pmem0p2"),
        };
        let dax = attachment == Attachment::Nvdimm && self.verity.is_none();
        let usual = (self.root_type == "ext4").then_some("data=ordered,errors=remount-ro");
        let flags: Vec<&str> = dax.then_some("dax").into_iter().chain(usual).collect();
        let flags = match flags.as_slice() {
            [] => String::new(),
            flags => format!(" rootflags={}", flags.join(",")),
        };
        let root_type = self.root_type;
        match &self.verity {
            None => format!(" root={data}{flags} ro rootfstype={root_type}"),
            Some(parameters) => {
                let device = parameters.kernel_parameter(data, hashes);
                format!(" {device} root=/dev/dm-0{flags} ro rootfstype={root_type}")
            }
        }
    }
}

impl Machine {
    /// The arguments of QEMU.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let memory = self.memory_mib;
        let mut arguments = Arguments::default();
        let nvdimm = self.image.is_some() && self.attachment == Attachment::Nvdimm;
        let (accelerator, processor) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Emulation => ("tcg", self.board.emulated),
        };
        let slots =
            if nvdimm { format!("{memory}M,slots=1,maxmem=64G") } else { format!("{memory}M") };
        let nvdimm_option = if nvdimm { ",nvdimm=on" } else { "" };
        arguments.add("-nodefaults -no-user-config -no-reboot -display none -serial stdio");
        let name = self.board.name;
        arguments.pair("-machine", format!("{name},memory-backend=memory{nvdimm_option}"));
        arguments.pair("-accel", accelerator);
        arguments.pair("-cpu", processor);
        arguments.pair("-m", slots);
        let backend = format!("memory-backend-memfd,id=memory,size={memory}M,share=on");
        arguments.pair("-object", backend);
        let socket = keyed("socket,id=vsock,path=", Path::new(&self.socket));
        arguments.pair("-chardev", socket);
        arguments.add("-device vhost-user-vsock-pci,chardev=vsock");
        arguments.pair("-kernel", &self.kernel);
        if let Some(initrd) = &self.initrd {
            arguments.pair("-initrd", initrd);
        }
        if let Some(Image { path, size, .. }) = &self.image {
            arguments.disk(path, *size, self.attachment);
        }
        arguments.pair("-append", self.kernel_line());
        arguments.0
    }

    /// The parameters of the kernel.
    fn kernel_line(&self) -> String {
        let mut line = self.board.parameters.to_owned();
        if let Some(image) = &self.image {
            line.push_str(&image.root(self.attachment));
        }
        line.push_str(
            " systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service \
             systemd.mask=systemd-networkd.socket cgroup_no_v1=all \
             systemd.unified_cgroup_hierarchy=1",
        );
        for parameter in &self.parameters {
            line.push(' ');
            line.push_str(parameter);
        }
        line
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }

    /// Attaches the image, for reading only, as Kata does.
    fn disk(&mut self, image: &Path, size: u64, attachment: Attachment) {
        match attachment {
            Attachment::Block => {
                let drive = keyed(
                    "driver=raw,node-name=root,read-only=on,file.driver=file,file.filename=",
                    image,
                );
                self.pair("-blockdev", drive);
                self.add("-device virtio-blk-pci,drive=root");
            }
            Attachment::Nvdimm => {
                let start = format!(
                    "memory-backend-file,id=root,size={size},share=off,readonly=on,mem-path="
                );
                self.pair("-object", keyed(&start, image));
                self.add("-device nvdimm,memdev=root,unarmed=on");
            }
        }
    }
}

/// Appends a path to an option; QEMU wants commas in it doubled.
fn keyed(start: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = start.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Running {
    /// Starts `program` in `folder`; its complaints go to `errors`. Also returns the machine's
    /// console.
    #[expect(clippy::disallowed_methods, reason = "this room starts virtual machines")]
    pub(super) fn start(
        program: &Path,
        machine: &Machine,
        folder: &Path,
        errors: &fs_err::File,
    ) -> io::Result<(Self, ChildStdout)> {
        let mut command = Command::new(program);
        command.args(machine.arguments()).current_dir(folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(errors.try_clone()?.into_file());
        crate::sandbox::die_with_us(&mut command);
        let mut child = command.spawn()?;
        let console = child.stdout.take().expect("the output is a pipe");
        Ok((Self(child), console))
    }

    /// Returns how QEMU ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when QEMU has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(attachment: Attachment) -> Machine {
        Machine {
            board: Board::of(Architecture::X86_64).unwrap(),
            accelerator: Accelerator::Emulation,
            memory_mib: 512,
            kernel: "/k".into(),
            initrd: None,
            image: Some(image()),
            attachment,
            parameters: vec!["quiet".to_owned()],
            socket: "vsock".into(),
        }
    }

    fn image() -> Image {
        Image { path: "/a,b.img".into(), size: 7, root_type: "ext4", verity: None }
    }

    #[test]
    fn k2_a_measured_root_is_checked_as_kata_s_runtime_would_have_it() {
        let zeros = "0".repeat(64);
        let parameters = format!(
            "root_hash={zeros},salt=ab,data_blocks=8,data_block_size=4096,hash_block_size=4096"
        );
        let verity = Some(parameters.parse().unwrap());
        let measured = Image { root_type: "erofs", verity, ..image() };
        let expected = format!(
            " dm-mod.create=\"dm-verity,,,ro,0 64 verity 1 /dev/pmem0p1 /dev/pmem0p2 4096 4096 8 0 \
             sha256 {zeros} ab\" root=/dev/dm-0 ro rootfstype=erofs"
        );
        assert_eq!(measured.root(Attachment::Nvdimm), expected);
        let on_disk = expected.replace("/dev/pmem0p", "/dev/vda");
        assert_eq!(measured.root(Attachment::Block), on_disk);
        for root_type in ["erofs", "xfs"] {
            let plain = Image { root_type, verity: None, ..measured.clone() };
            let block = format!(" root=/dev/vda1 ro rootfstype={root_type}");
            assert_eq!(plain.root(Attachment::Block), block);
            let dax = format!(" root=/dev/pmem0p1 rootflags=dax ro rootfstype={root_type}");
            assert_eq!(plain.root(Attachment::Nvdimm), dax);
        }
    }

    fn line(machine: &Machine) -> String {
        let words = machine.arguments();
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_disk_is_attached_for_reading_and_named_as_kata_names_it() {
        let line = line(&machine(Attachment::Block));
        let kata = "systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service \
                    systemd.mask=systemd-networkd.socket cgroup_no_v1=all";
        for part in
            ["read-only=on", "filename=/a,,b.img", "root=/dev/vda1 ", "-cpu max", "quiet", kata]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn memory_is_attached_for_reading_and_with_dax() {
        let line = line(&machine(Attachment::Nvdimm));
        let parts = [
            "nvdimm=on",
            "size=7,share=off,readonly=on,mem-path=/a,,b.img",
            "unarmed=on",
            "root=/dev/pmem0p1 rootflags=dax,data=ordered,errors=remount-ro ro rootfstype=ext4",
        ];
        for part in parts {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn each_processor_has_its_machine_and_its_console() {
        let machine = |architecture| {
            let board = Board::of(architecture).unwrap();
            line(&Machine { board, ..machine(Attachment::Block) })
        };
        let arm = machine(Architecture::Aarch64);
        assert!(arm.contains("-machine virt,gic-version=max,memory-backend=memory "), "{arm}");
        assert!(arm.contains("-append console=ttyAMA0 panic=1 root=/dev/vda1"), "{arm}");
        let power = machine(Architecture::Ppc64le);
        assert!(power.contains("-machine pseries,") && power.contains("console=hvc0"), "{power}");
        assert_eq!(Board::of(Architecture::S390x), None);
        let takes = |a, attachment| Board::of(a).unwrap().takes(attachment);
        assert!(takes(Architecture::X86_64, Attachment::Nvdimm));
        assert!(!takes(Architecture::Aarch64, Attachment::Nvdimm));
        assert!(takes(Architecture::Aarch64, Attachment::Block));
    }

    #[test]
    fn an_initrd_has_no_root() {
        let machine = Machine { image: None, ..machine(Attachment::Block) };
        assert!(!line(&machine).contains("root=/dev"));
    }
}
