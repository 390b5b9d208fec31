//! `osbuilder verify`: whether an image or initrd is what it should be.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use osbuilder::digest::{Digest, parse_hex};
use osbuilder::event::Event;
use osbuilder::image::verity::{Parameters, Signatory};
use osbuilder::inspect::{self, Claim, DropIn, Measurement, Runtime, Severity, Verdict};
use osbuilder::store::Output;
use rustix::fs::{Gid, Mode, Uid};

use super::arguments::VerifyArguments;
use super::failure::printable;
use super::{Failure, Kind, Session, failed, no_guest};

/// Judges the file, says what is wrong with it, and rewrites the runtime's configuration if asked.
pub(super) fn run(arguments: &VerifyArguments, session: &Session) -> Result<ExitCode, Failure> {
    let claim = claim(arguments)?;
    if arguments.rewrite && matches!(claim, Claim::Nothing) {
        let text =
            "only parameters that were verified are written: give --params-file or --root-hash";
        return Err(request(text));
    }
    let signed = signature(arguments)?;
    let mut configuration =
        arguments.runtime_config.as_deref().map(Configuration::read).transpose()?;
    let file = super::open(&arguments.file)?;
    let manner = (!arguments.any_tree, session.threads());
    let mut verdict = inspect::verify(&file, &claim, manner).map_err(no_guest(&arguments.file))?;
    let by = signed
        .and_then(|(signature, by)| verdict.check_signature(&signature, &by).then(|| by.name()));
    if let Some(configuration) = &mut configuration {
        if let (true, Measurement::Verified(parameters)) = (arguments.rewrite, &verdict.measurement)
        {
            configuration.put(parameters)?;
        }
        verdict.check_runtime(&configuration.runtime);
    }
    let written = configuration.filter(|_| arguments.rewrite && verdict.is_good());
    written.as_ref().map(Configuration::write).transpose()?;
    let told = Told { verdict: &verdict, signed_by: by.as_deref(), written: written.as_ref() };
    told.tell(session);
    if arguments.rewrite && written.is_none() {
        session.hear(&Event::warning("the configuration was left as it was"));
    }
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn request(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Request, error)
}

/// The files of `config.d` beside a configuration, all of which its runtime reads.
fn drop_ins(configuration: &Path) -> Result<Vec<DropIn>, Failure> {
    let folder = configuration.with_file_name("config.d");
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(request(error)),
    };
    let paths: io::Result<BTreeSet<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let read = |path: &PathBuf| {
        let named = |error| {
            let failure = request(error);
            failure.hint(format!("it is in {}", printable(&path.display().to_string())))
        };
        DropIn::parse(&read_text(path)?).map_err(named)
    };
    paths.map_err(request)?.iter().map(read).collect()
}

fn read_text(path: &Path) -> Result<String, Failure> {
    fs_err::read_to_string(path).map_err(request)
}

/// Reads the first line of a file such as `root_hash_base.txt`.
pub(super) fn read_parameters(path: &Path) -> Result<Parameters, Failure> {
    let text = read_text(path)?;
    text.lines().next().unwrap_or_default().parse().map_err(request)
}

fn claim(arguments: &VerifyArguments) -> Result<Claim, Failure> {
    if let Some(path) = &arguments.params_file {
        return Ok(Claim::Parameters(read_parameters(path)?));
    }
    let Some(root_hash) = &arguments.root_hash else { return Ok(Claim::Nothing) };
    let root_hash: Digest = root_hash.parse().map_err(request)?;
    let salt = |text: &String| {
        let mut salt = vec![0; text.len() / 2];
        parse_hex(text, &mut salt).map(|()| salt)
    };
    match &arguments.salt {
        None => Ok(Claim::RootHash(root_hash, None)),
        Some(text) => match salt(text) {
            Some(salt) => Ok(Claim::RootHash(root_hash, Some(salt))),
            None => Err(request(format!("{text:?} is not made of pairs of hexadecimal digits"))),
        },
    }
}

/// Reads the signature that is to be checked, and the certificate that it must be by.
fn signature(arguments: &VerifyArguments) -> Result<Option<(Vec<u8>, Signatory)>, Failure> {
    let Some(path) = &arguments.root_hash_certificate else { return Ok(None) };
    let by = Signatory::parse(&read_text(path)?).map_err(request)?;
    let beside = || arguments.params_file.as_ref().map(|path| path.with_extension("p7s"));
    let path = arguments.root_hash_signature.clone().or_else(beside);
    let path = path.ok_or_else(|| request("where the signature is says --root-hash-signature"))?;
    Ok(Some((fs_err::read(path).map_err(request)?, by)))
}

/// What is told of a file.
struct Told<'a> {
    verdict: &'a Verdict,
    signed_by: Option<&'a str>,
    written: Option<&'a Configuration>,
}

impl Told<'_> {
    fn tell(&self, session: &Session) {
        match session.json {
            true => session.print(&self.as_data().to_string()),
            false => self.lines().iter().for_each(|line| session.print(line)),
        }
    }

    /// A signature vouches for the root hash that the tree leads to, as a claim does.
    fn is_vouched_for(&self) -> Option<bool> {
        let claimed = self.verdict.is_measured_as_claimed();
        claimed.map(|claimed| claimed || self.signed_by.is_some())
    }

    fn as_data(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self.verdict).expect("a verdict has string keys");
        value["good"] = self.verdict.is_good().into();
        value["measured_against_root_hash"] = self.is_vouched_for().into();
        value["signed_by"] = self.signed_by.into();
        value["written"] = self.written.map(Configuration::as_data).into();
        value
    }

    fn lines(&self) -> Vec<String> {
        let Self { verdict, signed_by, written } = self;
        let measurement = match &verdict.measurement {
            Measurement::None => "none".to_owned(),
            Measurement::Unchecked => "there, not checked".to_owned(),
            Measurement::Consistent(parameters) => format!("fits the data: {parameters}"),
            Measurement::Verified(parameters) => format!("verified: {parameters}"),
            Measurement::Wrong => "WRONG".to_owned(),
        };
        let mut lines = vec![format!("measurement: {measurement}")];
        lines.extend(signed_by.map(|name| format!("root hash signed by: {name}")));
        for finding in &verdict.findings {
            let word = match finding.severity {
                Severity::Fatal => "bad",
                Severity::Later => "warning",
            };
            lines.push(format!("{word}: {}", finding.what));
        }
        lines.extend(written.map(Configuration::as_line));
        let end = match (verdict.is_good(), self.is_vouched_for()) {
            (false, _) => "not good",
            (true, Some(false)) => "good, but not measured against a root hash",
            (true, _) => "good",
        };
        lines.push(end.to_owned());
        lines
    }
}

/// A new file could not be made what the old one was.
#[derive(Debug, thiserror::Error)]
#[error("cannot give {} the {what} of the file that it replaces", path.display())]
struct NotGiven {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// Gives a file the owner and the mode of another; on failure says which of them.
fn give_owner_and_mode(
    file: &fs_err::File,
    before: &Metadata,
) -> Result<(), (&'static str, io::Error)> {
    let now = file.metadata().map_err(|error| ("owner", error))?;
    // Some file systems refuse even to change nothing.
    if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
        let (uid, gid) = (Uid::from_raw(before.uid()), Gid::from_raw(before.gid()));
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| ("owner", error.into()))?;
    }
    let mode = Mode::from_raw_mode(before.mode());
    rustix::fs::fchmod(file, mode).map_err(|error| ("mode", error.into()))
}

/// The configuration of a runtime, on the disk and as it will be there.
struct Configuration {
    /// Where it is; no symbolic link.
    path: PathBuf,
    text: String,
    drop_ins: Vec<DropIn>,
    /// What both say together.
    runtime: Runtime,
    /// What was put into it.
    parameters: Option<Parameters>,
}

impl Configuration {
    fn read(path: &Path) -> Result<Self, Failure> {
        let path = fs_err::canonicalize(path).map_err(request)?;
        let text = read_text(&path)?;
        let drop_ins = drop_ins(&path)?;
        let runtime = Runtime::with_drop_ins(&text, &drop_ins).map_err(request)?;
        Ok(Self { path, text, drop_ins, runtime, parameters: None })
    }

    /// Puts parameters into every line that has some; the disk stays as it is.
    fn put(&mut self, parameters: &Parameters) -> Result<(), Failure> {
        self.text = Runtime::rewrite(&self.text, parameters).map_err(request)?;
        self.runtime = Runtime::with_drop_ins(&self.text, &self.drop_ins).map_err(request)?;
        self.parameters = Some(parameters.clone());
        Ok(())
    }

    /// Replaces the file in one step. Its mode and its owner stay.
    fn write(&self) -> Result<(), Failure> {
        let host = |error| Failure::new(Kind::Host, error);
        let before = fs_err::metadata(&self.path).map_err(request)?;
        let output = Output::create(&self.path).map_err(host)?;
        give_owner_and_mode(output.file(), &before).map_err(|(what, source)| {
            Failure::new(Kind::Host, NotGiven { path: self.path.clone(), what, source })
        })?;
        std::io::Write::write_all(&mut output.file(), self.text.as_bytes()).map_err(failed)?;
        output.commit().map_err(host)
    }

    fn as_line(&self) -> String {
        let parameters = self.parameters.as_ref().map(Parameters::to_string).unwrap_or_default();
        format!("written: {}: {parameters}", printable(&self.path.display().to_string()))
    }

    fn as_data(&self) -> serde_json::Value {
        let parameters = self.parameters.as_ref().map(Parameters::to_string);
        serde_json::json!({ "path": self.path.to_string_lossy(), "parameters": parameters })
    }
}
