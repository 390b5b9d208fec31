//! A bill as CycloneDX. Specification: ECMA-424 (CycloneDX 1.6), its JSON schema.

use serde_json::{Value, json};

use super::{Bill, Part, Subject, TOOL, known};
use crate::digest::Digest;

pub(super) fn document(bill: &Bill, subject: &Subject<'_>) -> Value {
    let parts = (1_usize..).zip(&bill.parts).map(|(number, part)| component(number, part));
    let guest = known(json!({
        "type": "operating-system",
        "bom-ref": "guest",
        "name": subject.name,
        "description": format!("guest of Kata Containers, made of {}", bill.system.full_name()),
        "hashes": subject.is_file.then(|| hashes(&subject.digest)),
    }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": subject.epoch.to_string(),
            "tools": { "components": [{ "type": "application", "name": TOOL.0, "version": TOOL.1 }] },
            "component": guest,
        },
        "components": parts.collect::<Vec<_>>(),
    })
}

fn component(number: usize, part: &Part) -> Value {
    let reference = part.purl.clone().unwrap_or_else(|| format!("{number}-{}", part.name));
    let kind = if part.purl.is_some() { "library" } else { "application" };
    let place = |place| json!([{ "type": "distribution", "url": place }]);
    known(json!({
        "type": kind,
        "bom-ref": reference,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        "hashes": part.digest.as_ref().map(hashes),
        "externalReferences": part.place.as_ref().map(place),
    }))
}

fn hashes(digest: &Digest) -> Value {
    json!([{ "alg": "SHA-256", "content": digest }])
}
