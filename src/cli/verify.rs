//! `osbuilder verify`: whether an image or initrd is what it should be.

use std::path::Path;
use std::process::ExitCode;

use osbuilder::digest::{Digest, parse_hex};
use osbuilder::image::verity::{Parameters, Signatory};
use osbuilder::inspect::{self, Claim, Measurement, Runtime, Severity, Verdict};
use osbuilder::store::Output;

use super::arguments::VerifyArguments;
use super::{Failure, Kind, Session, failed};

/// Judges the file, says what is wrong with it, and rewrites the runtime's configuration if asked.
pub(super) fn run(arguments: &VerifyArguments, session: &Session) -> Result<ExitCode, Failure> {
    let claim = claim(arguments)?;
    let text = arguments.runtime_config.as_deref().map(read_text).transpose()?;
    let runtime = text.as_deref().map(Runtime::parse).transpose().map_err(request)?;
    let file = inspect::open(&arguments.file).map_err(failed)?;
    let expected = runtime.as_ref().filter(|_| !arguments.rewrite);
    let manner = (!arguments.any_tree, session.threads());
    let signed = signature(arguments)?;
    let mut verdict = inspect::verify(&file, &claim, expected, manner).map_err(failed)?;
    let by = signed
        .and_then(|(signature, by)| verdict.check_signature(&signature, &by).then(|| by.name()));
    tell(&verdict, by.as_deref(), session);
    if let (true, Some(path), Some(text)) = (arguments.rewrite, &arguments.runtime_config, text) {
        rewrite(path, &text, &verdict)?;
    }
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn request(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Request, error)
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

fn tell(verdict: &Verdict, signed_by: Option<&str>, session: &Session) {
    if session.json {
        let mut value = serde_json::to_value(verdict).expect("a verdict has string keys");
        value["signed_by"] = signed_by.into();
        session.print(&value.to_string());
        return;
    }
    let measurement = match &verdict.measurement {
        Measurement::None => "none".to_owned(),
        Measurement::Unchecked => "there, not checked".to_owned(),
        Measurement::Consistent(parameters) => format!("fits the data: {parameters}"),
        Measurement::Verified(parameters) => format!("verified: {parameters}"),
        Measurement::Wrong => "WRONG".to_owned(),
    };
    session.print(&format!("measurement: {measurement}"));
    if let Some(name) = signed_by {
        session.print(&format!("root hash signed by: {name}"));
    }
    for finding in &verdict.findings {
        let word = match finding.severity {
            Severity::Fatal => "bad",
            Severity::Later => "warning",
        };
        session.print(&format!("{word}: {}", finding.what));
    }
    session.print(if verdict.is_good() { "good" } else { "not good" });
}

/// Puts parameters that were verified into the runtime's configuration; its file is replaced in one
/// step.
fn rewrite(path: &Path, text: &str, verdict: &Verdict) -> Result<(), Failure> {
    let (Measurement::Verified(parameters) | Measurement::Consistent(parameters)) =
        &verdict.measurement
    else {
        return Err(request("only parameters that were verified are written"));
    };
    let text = Runtime::rewrite(text, parameters).map_err(request)?;
    let host = |error| Failure::new(Kind::Host, error);
    let output = Output::create(path).map_err(host)?;
    std::io::Write::write_all(&mut output.file(), text.as_bytes()).map_err(failed)?;
    output.commit().map_err(host)
}
