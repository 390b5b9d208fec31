//! A bill as SPDX. Specification: SPDX 2.3, sections 6, 7 and 11, and its JSON schema.

use serde_json::{Value, json};

use super::{Bill, Part, Subject, TOOL, known};
use crate::digest::Digest;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const GUEST: &str = "SPDXRef-Guest";
/// What nobody has looked into.
const UNKNOWN: &str = "NOASSERTION";

pub(super) fn document(bill: &Bill, subject: &Subject<'_>) -> Value {
    let ids: Vec<String> =
        (1..).zip(&bill.parts).map(|(number, part)| id(number, &part.name)).collect();
    let parts: Vec<Value> =
        bill.parts.iter().zip(&ids).map(|(part, id)| package(part, id)).collect();
    let contains = ids.iter().map(|id| relationship(GUEST, "CONTAINS", id));
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": subject.name,
        "documentNamespace": namespace(subject, &parts),
        "creationInfo": {
            "created": subject.epoch.to_string(),
            "creators": [format!("Tool: {}-{}", TOOL.0, TOOL.1)],
        },
        "packages": std::iter::once(guest(bill, subject)).chain(parts).collect::<Vec<_>>(),
        "relationships": std::iter::once(relationship(DOCUMENT, "DESCRIBES", GUEST))
            .chain(contains)
            .collect::<Vec<_>>(),
    })
}

/// Another for each content: two guests never share one.
fn namespace(subject: &Subject<'_>, parts: &[Value]) -> String {
    let text = json!([subject.name, subject.digest, parts]).to_string();
    format!("https://spdx.org/spdxdocs/{}-{}", TOOL.0, Digest::of(text.as_bytes()))
}

/// An identifier: letters, digits, dots and hyphens.
fn id(number: usize, name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    format!("SPDXRef-Package-{number}-{name}")
}

fn guest(bill: &Bill, subject: &Subject<'_>) -> Value {
    known(json!({
        "SPDXID": GUEST,
        "name": subject.name,
        "summary": format!("guest of Kata Containers, made of {}", bill.system.full_name()),
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "checksums": subject.is_file.then(|| checksums(&subject.digest)),
    }))
}

fn package(part: &Part, id: &str) -> Value {
    let reference = |purl| {
        json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }])
    };
    known(json!({
        "SPDXID": id,
        "name": part.name,
        "downloadLocation": part.place.as_deref().unwrap_or(UNKNOWN),
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "versionInfo": part.version,
        "checksums": part.digest.as_ref().map(checksums),
        "sourceInfo": part.source.as_ref().map(|source| format!("built from {source}")),
        "externalRefs": part.purl.as_ref().map(reference),
    }))
}

fn checksums(digest: &Digest) -> Value {
    json!([{ "algorithm": "SHA256", "checksumValue": digest }])
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}
