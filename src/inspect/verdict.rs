//! Whether a guest is what it should be: readable in every part, fit for Kata, nothing of a host in
//! it, measured as somebody claims, and, if asked, as the runtime's configuration expects.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::misfits::misfits;
use super::{Form, Report, Runtime, Severity, is_extension, leaks, read};
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
    let guest = read(medium, threads)?;
    let mut findings = Vec::new();
    let mut add = |severity, what: String| findings.push(Finding { severity, what });
    if is_guest || is_extension(&guest.tree) {
        for lack in &guest.report.lacks {
            add(lack.severity, lack.what.clone());
        }
    }
    for leak in leaks(&guest.tree) {
        add(Severity::Fatal, leak);
    }
    let measurement = match &guest.report.form {
        Form::Initrd { .. } => match claim {
            Claim::Nothing => Measurement::None,
            _ => {
                add(Severity::Fatal, "an initrd has no hash tree".to_owned());
                Measurement::Wrong
            }
        },
        Form::Image { .. } => match measurement(&image::parts(medium)?, claim, threads.get()) {
            Ok(measurement) => measurement,
            Err(error @ image::Error::Read { .. }) => return Err(error),
            Err(error) => {
                add(Severity::Fatal, error.to_string());
                Measurement::Wrong
            }
        },
    };
    if let Form::Initrd { compression } = guest.report.form
        && !matches!(compression, InitrdCompression::Gzip | InitrdCompression::None)
    {
        let name = compression.name();
        add(Severity::Later, format!("Kata's kernels do not read an initrd packed with {name}"));
    }
    if let Form::Image { nvdimm_block: Some(_), .. } = guest.report.form
        && !guest.report.size.is_multiple_of(nvdimm::ALIGNMENT)
    {
        let text = "as persistent memory a kernel refuses it: its size is no multiple of 2 MiB";
        add(Severity::Later, text.to_owned());
    }
    if let Form::Image { partition_table: "gpt", .. } = guest.report.form {
        let text = "Kata's images have an MBR: this one needs a kernel with CONFIG_EFI_PARTITION";
        add(Severity::Later, text.to_owned());
    }
    if let Form::Image { .. } = guest.report.form {
        let parts = image::parts(medium)?;
        let inner = nvdimm::HEADER;
        if parts.has_lost_header(medium) {
            let text =
                format!("the NVDIMM header is lost: a disk begins at byte {inner} without it");
            add(Severity::Fatal, text);
        } else if let Some(at) = parts.stray_byte(medium)? {
            let text = format!("byte {at} is of no table, header or partition, and is not zero");
            add(Severity::Later, text);
        }
    }
    if let Form::Image { file_system, .. } = &guest.report.form
        && let Some(at) = file_system.stray_byte
    {
        let kind = file_system.kind;
        let text = format!("byte {at} of the {kind} belongs to nothing in it, and is not zero");
        add(Severity::Later, text);
    }
    if measurement == Measurement::Unchecked {
        let text = "there is a hash tree, and nothing to check it with: give the root hash";
        add(Severity::Later, text.to_owned());
    }
    if let Form::Image { hash_tree: Some(tree), .. } = &guest.report.form
        && tree.superblock
    {
        let text =
            "Kata's runtime cannot have this hash tree checked: it expects no superblock before it";
        add(Severity::Later, text.to_owned());
    }
    findings.sort_by_key(|finding| finding.severity);
    Ok(Verdict { report: guest.report, measurement, findings })
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
