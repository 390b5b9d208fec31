//! Whether a guest is what it should be: readable in every part, fit for Kata, nothing of a host in
//! it, measured as somebody claims, and, if asked, as the runtime's configuration expects.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::misfits::misfits;
use super::{Form, Guest, Report, Runtime, Severity, is_extension, leaks, read_with};
use crate::digest::Digest;
use crate::image::verity::{self, Parameters, Signatory};
use crate::image::{self, Medium, Parts, nvdimm};
use crate::recipe::InitrdCompression;

/// What somebody claims of an image's measurement.
#[derive(Debug, Clone, Default)]
pub enum Claim {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything that a kernel would be told.
    Parameters(Parameters),
    /// The root hash, and the salt unless a superblock has it.
    RootHash(Digest, Option<Vec<u8>>),
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// [`Severity::Fatal`] when the guest must not be used as it is.
    pub severity: Severity,
    /// What, as a sentence without a full stop.
    pub what: String,
}

/// What is known of the hash tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "parameters", rename_all = "kebab-case")]
pub enum Measurement {
    /// There is none.
    None,
    /// There is one, and nobody said what it should lead to.
    Unchecked,
    /// It fits the data, and leads to this root hash; whether that is the right one nobody said.
    Consistent(Parameters),
    /// It fits the data and what was claimed.
    Verified(Parameters),
    /// It does not.
    Wrong,
}

/// What a guest is, and all that is wrong with it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What it is.
    #[serde(flatten)]
    pub report: Report,
    /// What is known of its hash tree.
    pub measurement: Measurement,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Checks a signature over the root hash that the hash tree was found to lead to; what is wrong
    /// with it becomes a finding. Returns whether it is good.
    pub fn check_signature(&mut self, signature: &[u8], by: &Signatory) -> bool {
        let wrong = match &self.measurement {
            Measurement::Verified(parameters) | Measurement::Consistent(parameters) => {
                by.verify(signature, &parameters.root_hash).err().map(|error| error.to_string())
            }
            _ => Some("there is no verified root hash that the signature could be over".to_owned()),
        };
        let is_good = wrong.is_none();
        let finding = wrong.map(|what| Finding { severity: Severity::Fatal, what });
        self.findings.splice(0..0, finding);
        is_good
    }

    /// Judges the configuration of a runtime that is to start the guest; where it does not fit becomes
    /// a finding.
    pub fn check_runtime(&mut self, runtime: &Runtime) {
        self.findings.extend(misfits(runtime, &self.report.form, &self.measurement));
        self.findings.sort_by_key(|finding| finding.severity);
    }

    /// Whether there is a hash tree, and if so, whether it leads to a root hash that somebody claimed.
    pub const fn is_measured_as_claimed(&self) -> Option<bool> {
        match self.measurement {
            Measurement::None => None,
            Measurement::Verified(_) => Some(true),
            Measurement::Unchecked | Measurement::Consistent(_) | Measurement::Wrong => Some(false),
        }
    }

    /// Whether it may be used.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Fatal)
    }
}

/// Reads all of a guest, on up to `threads` threads, and judges it. With `is_guest` it must also be
/// fit to start, unless it is an extension: then its manifest is judged.
///
/// # Errors
/// [`image::Error`]: the medium failed, the guest is broken, or of a kind that is not known.
pub fn verify(
    medium: &dyn Medium,
    claim: &Claim,
    (is_guest, threads): (bool, NonZeroUsize),
) -> Result<Verdict, image::Error> {
    let (guest, stray) = read_with(medium, threads, |system| system.stray_byte())?;
    let mut findings = of_tree(&guest, is_guest);
    let measurement = match (&guest.report.form, claim) {
        (Form::Initrd { compression }, claim) => {
            findings.extend(of_initrd(*compression));
            unmeasurable(claim, &mut findings)
        }
        (Form::Image { .. }, claim) => {
            let parts = image::parts(medium)?;
            findings.extend(of_image(&guest.report, &parts, medium)?);
            if let (Form::Image { file_system, .. }, Some(at)) =
                (&guest.report.form, stray.flatten())
            {
                let kind = file_system.kind;
                findings.push(later(format!(
                    "byte {at} of the {kind} belongs to nothing in it, and is not zero"
                )));
            }
            measured(measurement(&parts, claim, threads.get()), &mut findings)?
        }
    };
    findings.sort_by_key(|finding| finding.severity);
    Ok(Verdict { report: guest.report, measurement, findings })
}

fn fatal(what: impl Into<String>) -> Finding {
    Finding { severity: Severity::Fatal, what: what.into() }
}

fn later(what: impl Into<String>) -> Finding {
    Finding { severity: Severity::Later, what: what.into() }
}

/// What is wrong with the files.
fn of_tree(guest: &Guest<'_>, is_guest: bool) -> Vec<Finding> {
    let is_judged = is_guest || is_extension(&guest.tree);
    let lacks = guest.report.lacks.iter().filter(|_| is_judged);
    let lacks = lacks.map(|lack| Finding { severity: lack.severity, what: lack.what.clone() });
    lacks.chain(leaks(&guest.tree).into_iter().map(fatal)).collect()
}

/// What Kata's kernels do not read.
fn of_initrd(compression: InitrdCompression) -> Option<Finding> {
    let is_read = matches!(compression, InitrdCompression::Gzip | InitrdCompression::None);
    let name = compression.name();
    (!is_read).then(|| later(format!("Kata's kernels do not read an initrd packed with {name}")))
}

fn unmeasurable(claim: &Claim, findings: &mut Vec<Finding>) -> Measurement {
    match claim {
        Claim::Nothing => Measurement::None,
        _ => {
            findings.push(fatal("an initrd has no hash tree"));
            Measurement::Wrong
        }
    }
}

/// What is wrong with an image around its file system.
fn of_image(
    report: &Report,
    parts: &Parts<'_>,
    medium: &dyn Medium,
) -> Result<Vec<Finding>, image::Error> {
    let mut findings = Vec::new();
    let Form::Image { nvdimm_block, partition_table, hash_tree, .. } = &report.form else {
        return Ok(findings);
    };
    if nvdimm_block.is_some() && !report.size.is_multiple_of(nvdimm::ALIGNMENT) {
        let text = "as persistent memory a kernel refuses it: its size is no multiple of 2 MiB";
        findings.push(later(text));
    }
    if *partition_table == "gpt" {
        let text = "Kata's images have an MBR: this one needs a kernel with CONFIG_EFI_PARTITION";
        findings.push(later(text));
    }
    if hash_tree.as_ref().is_some_and(|tree| tree.superblock) {
        let text =
            "Kata's runtime cannot have this hash tree checked: it expects no superblock before it";
        findings.push(later(text));
    }
    findings.extend(strangers(parts, medium)?);
    Ok(findings)
}

/// What stands in an image that is of no part of it.
fn strangers(parts: &Parts<'_>, medium: &dyn Medium) -> Result<Vec<Finding>, image::Error> {
    let mut findings = Vec::new();
    if parts.has_boot_code(medium)? {
        findings.push(later("there is boot code before the partition table, which nobody runs"));
    }
    if parts.has_lost_header(medium) {
        let inner = nvdimm::HEADER;
        let text = format!("the NVDIMM header is lost: a disk begins at byte {inner} without it");
        findings.push(fatal(text));
    } else if let Some(at) = parts.stray_byte(medium)? {
        let text = format!("byte {at} is of no table, header or partition, and is not zero");
        findings.push(later(text));
    }
    Ok(findings)
}

/// A measurement that failed is a finding, but for a medium that cannot be read.
fn measured(
    measurement: Result<Measurement, image::Error>,
    findings: &mut Vec<Finding>,
) -> Result<Measurement, image::Error> {
    match measurement {
        Ok(Measurement::Unchecked) => {
            let text = "there is a hash tree, and nothing to check it with: give the root hash";
            findings.push(later(text));
            Ok(Measurement::Unchecked)
        }
        Err(error) if !matches!(error, image::Error::Read { .. }) => {
            findings.push(fatal(error.to_string()));
            Ok(Measurement::Wrong)
        }
        other => other,
    }
}

fn measurement(
    parts: &Parts<'_>,
    claim: &Claim,
    threads: usize,
) -> Result<Measurement, image::Error> {
    let superblock = parts.verity_superblock()?;
    let parameters = match (claim, superblock) {
        (Claim::Parameters(parameters), _) => parameters.clone(),
        (Claim::RootHash(root_hash, salt), superblock) => {
            let blocks = parts.data.size().map_err(|source| image::Error::Read { source })?;
            let salt = salt.clone().or(superblock.map(|superblock| superblock.salt));
            let missing = || image::Error::broken("dm-verity", "no salt is given or written");
            Parameters {
                root_hash: *root_hash,
                salt: salt.ok_or_else(missing)?,
                data_blocks: blocks / verity::BLOCK,
                data_block_size: 4096,
                hash_block_size: 4096,
            }
        }
        (Claim::Nothing, Some(superblock)) => {
            let (parameters, _) = verity::measure(&parts.data, &superblock.salt, threads)?;
            parts.verify(&parameters, threads)?;
            return Ok(Measurement::Consistent(parameters));
        }
        (Claim::Nothing, None) if parts.hashes.is_some() => return Ok(Measurement::Unchecked),
        (Claim::Nothing, None) => return Ok(Measurement::None),
    };
    parts.verify(&parameters, threads)?;
    Ok(Measurement::Verified(parameters))
}
