//! Whether a guest is what it should be: readable in every part, fit for Kata, nothing of a host in
//! it, measured as somebody claims, and as the runtime's configuration expects.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::{Form, Report, Runtime, Severity, extension, is_extension, leaks, read};
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
    runtime: Option<&Runtime>,
    (is_guest, threads): (bool, NonZeroUsize),
) -> Result<Verdict, image::Error> {
    let guest = read(medium, threads)?;
    let mut findings = Vec::new();
    let mut add = |severity, what: String| findings.push(Finding { severity, what });
    let lacks = extension(&guest.tree, &guest.contents);
    for lack in lacks.map_err(|source| image::Error::Read { source })? {
        add(lack.severity, lack.what);
    }
    if is_guest && !is_extension(&guest.tree) {
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
    if measurement == Measurement::Unchecked {
        let text = "there is a hash tree, and nothing to check it with: give the root hash";
        add(Severity::Later, text.to_owned());
    }
    for what in runtime
        .map(|runtime| misfits(runtime, &guest.report.form, &measurement))
        .into_iter()
        .flatten()
    {
        add(Severity::Fatal, what);
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

/// Where a runtime's configuration does not fit the image.
fn misfits(runtime: &Runtime, form: &Form, measurement: &Measurement) -> Vec<String> {
    let Form::Image { file_system, hash_tree, .. } = form else { return Vec::new() };
    let mut found = Vec::new();
    for hypervisor in &runtime.hypervisors {
        let name = &hypervisor.name;
        let (expected, kind) = (&hypervisor.root_type, file_system.kind);
        if expected != kind {
            found.push(format!("the runtime ({name}) expects {expected}, and this is {kind}"));
        }
        match (&hypervisor.parameters, hash_tree) {
            (None, None) => {}
            (None, Some(_)) => {
                found.push(format!("the runtime ({name}) would not check this measured image"));
            }
            (Some(_), None) => {
                found.push(format!(
                    "the runtime ({name}) would check a hash tree that is not there"
                ));
            }
            (Some(line), Some(_)) => match (line.parse::<Parameters>(), measurement) {
                (Err(error), _) => found.push(format!("the runtime ({name}): {error}")),
                (Ok(parameters), Measurement::Verified(right) | Measurement::Consistent(right))
                    if parameters == *right => {}
                (Ok(_), Measurement::Unchecked) => {}
                (Ok(_), _) => {
                    found.push(format!("the runtime's parameters ({name}) are not this image's"));
                }
            },
        }
    }
    found
}
