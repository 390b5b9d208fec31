//! Guests for both inits, as image and as initrd, made from the host's Debian mirror and started:
//! the agent answers. Likewise such of Alpine, with Debian's kernel, and of AlmaLinux (`boot_alma.rs`).
//! For another processor too, if one is named: then packages' scripts run by an emulator, which takes
//! minutes.

use std::path::Path;
use std::process::Command;

use fs_err::os::unix::fs::FileExt as _;

use crate::peer::Mirrors;
use crate::{Outcome, boot_alma, medium, peer, say};

/// Form, init, further options of `osbuilder boot`. A measured image comes with the line that the
/// kernel checks it by.
const GUESTS: &[(&str, &str, &[&str])] = &[
    ("image", "systemd", &[]),
    ("image", "agent", &[]),
    ("image", "agent", &["--attach", "nvdimm"]),
    ("erofs", "systemd", &[]),
    ("erofs", "agent", &["--attach", "nvdimm"]),
    ("xfs", "agent", &[]),
    ("measured-ext4", "agent", &[]),
    ("measured-erofs", "agent", &[]),
    ("measured-erofs", "agent", &["--attach", "nvdimm"]),
    ("gpt-ext4", "agent", &[]),
    ("gpt-measured-erofs", "agent", &[]),
    ("initrd", "agent", &[]),
    ("initrd", "systemd", &[]),
];

/// Before the superblock, in the same block: no file system looks at it, dm-verity does. With a GPT
/// there is no header for persistent memory, whose 2 MiB come first otherwise.
fn flipped(form: &str) -> u64 {
    let start = if form.starts_with("gpt") { 1 << 20 } else { 3 << 20 };
    start + 7
}

/// Likewise, of another processor.
const FOREIGN_GUESTS: &[(&str, &str, &[&str])] =
    &[("initrd", "agent", &[]), ("image", "systemd", &[])];

/// Runs the task for this machine's processor, and for another one with AlmaLinux.
pub(crate) fn run() -> Outcome {
    in_folder(|work, mirrors| {
        boot_all(std::env::consts::ARCH, GUESTS, (work, mirrors))?;
        boot_alpine(work, mirrors)?;
        boot_alma::run(work, mirrors)
    })
}

/// Runs the part of AlmaLinux alone.
pub(crate) fn run_alma() -> Outcome {
    in_folder(boot_alma::run)
}

/// Runs the task for another processor.
pub(crate) fn run_foreign(architecture: &str) -> Outcome {
    peer::build_program(&[format!("ARCH={architecture}")])?;
    in_folder(|work, mirrors| boot_all(architecture, FOREIGN_GUESTS, (work, mirrors)))
}

/// Runs a part in a folder of its own, with the host's mirrors.
fn in_folder(part: impl FnOnce(&Path, &Mirrors) -> Outcome) -> Outcome {
    let work = std::env::temp_dir().join(format!("osbuilder-boot-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let outcome = part(&work, &peer::host_mirrors()?);
    fs_err::remove_dir_all(&work)?;
    outcome
}

fn boot_all(
    architecture: &str,
    guests: &[(&str, &str, &[&str])],
    (work, mirrors): (&Path, &Mirrors),
) -> Outcome {
    for (form, init, options) in guests {
        let guest = work.join(format!("{form}-{init}"));
        if !guest.exists() {
            let mut command = osbuilder(work);
            command.args(look(form));
            if form.contains("measured") {
                command.args(["--variant", &variant(form, init)]);
            }
            command.args(["debian", "--arch", architecture, "--init", init]);
            command.args(["--agent", "probe", "--mirror", &mirrors.archive]);
            command.arg("--lock").arg(work.join(format!("{init}.lock"))).arg("--output");
            peer::run(command.arg(&guest))?;
        }
        let mut command = starter(&guest, (architecture, options), (work, mirrors));
        let line = work.join(format!("root_hash_{}.txt", variant(form, init)));
        if line.exists() {
            command.arg("--params-file").arg(&line);
        }
        peer::run(&mut command)?;
        if line.exists() {
            refuse_flipped((&guest, flipped(form)), &mut command)?;
        }
        say(&format!("boot {form} {init} {options:?}: the agent answered"));
    }
    Ok(())
}

/// Alpine's guests, for both of its inits.
fn boot_alpine(work: &Path, mirrors: &Mirrors) -> Outcome {
    let architecture = "x86_64";
    let Some(data) = medium::alpine()?.filter(|_| std::env::consts::ARCH == architecture) else {
        return Ok(());
    };
    let recipe = work.join("alpine.toml");
    fs_err::write(&recipe, medium::recipe(&data))?;
    for (form, init) in [("initrd", "agent"), ("image", "agent"), ("initrd", "openrc")] {
        let guest = work.join(format!("{form}-alpine-{init}"));
        let mut command = osbuilder(work);
        command.args([form, "--agent", "probe", "--init", init, "--recipe"]).arg(&recipe);
        command.arg("--lock").arg(work.join("alpine.lock")).arg("--output");
        peer::run(command.arg(&guest))?;
        peer::run(&mut starter(&guest, (architecture, &[]), (work, mirrors)))?;
        say(&format!("boot {form} of Alpine, {init}: the agent answered"));
    }
    Ok(())
}

/// Our program with the task's own cache.
pub(crate) fn osbuilder(work: &Path) -> Command {
    let mut command = peer::start(peer::osbuilder());
    command.args(["--cache".as_ref(), work.join("cache").as_os_str()]);
    command
}

/// What starts a guest, with Debian's kernel.
pub(crate) fn starter(
    guest: &Path,
    (architecture, options): (&str, &[&str]),
    (work, mirrors): (&Path, &Mirrors),
) -> Command {
    let mut command = osbuilder(work);
    command.args(["boot", "--arch", architecture, "--timeout", "600"]).arg(guest);
    command.args(options).args(["--mirror", &mirrors.archive]);
    command
}

/// The table of UEFI, which has no place beside the header for persistent memory. Kata's parameters
/// fit it: the kernel counts partitions as in an MBR.
const GPT: &[&str] = &["--partition-table", "gpt"];

/// The verb and the options that make a form.
fn look(form: &str) -> Vec<&str> {
    match form {
        "erofs" => vec!["image", "--file-system", "erofs"],
        "xfs" => vec!["image", "--file-system", "xfs"],
        "measured-ext4" => vec!["image", "--measured"],
        "measured-erofs" => vec!["image", "--file-system", "erofs", "--measured"],
        "gpt-ext4" => [&["image"], GPT].concat(),
        "gpt-measured-erofs" => [&["image", "--file-system", "erofs", "--measured"], GPT].concat(),
        plain => vec![plain],
    }
}

fn variant(form: &str, init: &str) -> String {
    format!("{form}-{init}")
}

/// With one bit of the first block flipped, the same boot must fail, and for this reason: the kernel
/// does not mount what the root hash does not vouch for. The image is as before afterwards.
fn refuse_flipped((guest, place): (&Path, u64), boot: &mut Command) -> Outcome {
    let flip = || -> Outcome {
        let file = fs_err::OpenOptions::new().read(true).write(true).open(guest)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)?;
        byte[0] ^= 1;
        Ok(file.write_all_at(&byte, place)?)
    };
    flip()?;
    let outcome = boot.output()?;
    flip()?;
    let transcript = String::from_utf8_lossy(&outcome.stderr);
    if !outcome.status.success() && transcript.contains(": data block 0 is corrupted") {
        return Ok(());
    }
    let (guest, status) = (guest.display(), outcome.status);
    Err(format!("{guest} with a flipped bit: {status}\n{transcript}").into())
}
