//! A small Debian's bill in both formats.

use super::*;
use crate::epoch::Epoch;
use crate::lock::{self, LockedPackage, LockedRepository};
use crate::testing::tree;
use crate::tree::NoContents;

const STATUS: &[u8] = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\n\
    Source: glibc\nVersion: 2.36-9+deb12u1\n\nPackage: base-files\nStatus: install ok installed\n\
    Architecture: amd64\nVersion: 12.4\n";

fn lock() -> Lock {
    let package = LockedPackage {
        name: "libc6".parse().unwrap(),
        version: "2.36-9+deb12u1".to_owned(),
        architecture: "amd64".to_owned(),
        repository: 0,
        path: "pool/g/libc6.deb".to_owned(),
        size: 42,
        digest: Digest::of(b"libc6"),
    };
    let epoch = Epoch::new(1_700_000_000).unwrap();
    let repository = LockedRepository {
        url: "http://debian.example/debian/".to_owned(),
        suite: "bookworm".to_owned(),
        components: vec!["main".to_owned()],
        digest: Digest::of(b"release"),
        date: epoch,
        signed_by: Vec::new(),
    };
    Lock {
        format: lock::FORMAT,
        distribution: "debian".to_owned(),
        release: "bookworm".to_owned(),
        architecture: "x86_64".to_owned(),
        request: Digest::of(b"request"),
        plain_chroot: false,
        scripts: lock::Runner::Either,
        epoch,
        repositories: vec![repository],
        packages: vec![package],
    }
}

fn bill() -> Bill {
    let tree = tree(&[
        ("var/lib/dpkg/status", STATUS),
        ("usr/lib/os-release", b"ID=debian\nVERSION_ID=\"12\"\n"),
        ("usr/bin/kata-agent", b"agent"),
    ]);
    let mut bill = Bill::of_packages(&tree, &NoContents, Some(&lock())).unwrap();
    bill.add_agent(&tree, AGENT);
    bill
}

const AGENT: Agent<'_> = Agent { name: "kata-agent", version: Some("3.9.0"), is_init: false };

fn text(format: Format) -> String {
    let epoch = Epoch::new(1_700_000_000).unwrap();
    let digest = Digest::of(b"image");
    bill().text(&Subject { name: "guest.img", digest, is_file: true, epoch }, format)
}

#[test]
fn a_bill_in_spdx_names_image_packages_and_agent() {
    insta::assert_snapshot!(text(Format::Spdx));
}

#[test]
fn a_bill_in_cyclonedx_names_image_packages_and_agent() {
    insta::assert_snapshot!(text(Format::CycloneDx));
}

#[test]
fn every_name_in_a_bill_is_there_once_however_strange_the_package() {
    let status: String = ["a+b", "a-b", "a_b"]
        .map(|name| format!("Package: {name}\nArchitecture: all\nVersion: 1\n\n"))
        .concat();
    let tree = tree(&[("var/lib/dpkg/status", status.as_bytes())]);
    let bill = Bill::of_packages(&tree, &NoContents, None).unwrap();
    let epoch = Epoch::default();
    let subject = Subject { name: "guest", digest: Digest::of(b"listing"), is_file: false, epoch };
    let document: Value = serde_json::from_str(&bill.text(&subject, Format::Spdx)).unwrap();
    let packages = document["packages"].as_array().unwrap();
    let mut ids: Vec<_> =
        packages.iter().map(|package| package["SPDXID"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert!(packages.iter().all(|package| package.get("checksums").is_none()));
    let related = document["relationships"].as_array().unwrap();
    let ends = related.iter().map(|related| related["relatedSpdxElement"].as_str().unwrap());
    assert!(ends.clone().all(|end| ids.contains(&end)) && ends.count() == 4);
}

#[test]
fn only_an_init_that_is_the_agent_is_taken_for_it() {
    let found = |files: &[(&str, &[u8])], is_init| {
        let tree = tree(files);
        let mut bill = Bill::of_packages(&tree, &NoContents, None).unwrap();
        bill.add_agent(&tree, Agent { is_init, ..AGENT });
        bill.parts.first().and_then(|part| part.digest)
    };
    let init: (&str, &[u8]) = ("sbin/init", b"first");
    let agent: (&str, &[u8]) = ("usr/bin/kata-agent", b"agent");
    assert_eq!(found(&[init], false), None);
    assert_eq!(found(&[init], true), Some(Digest::of(b"first")));
    assert_eq!(found(&[init, agent], false), Some(Digest::of(b"agent")));
    assert_eq!(found(&[init, agent], true), Some(Digest::of(b"agent")));
}

#[test]
fn no_database_is_no_bill_and_a_name_promises_a_format() {
    let empty = Bill::of_packages(&tree(&[]), &NoContents, None).unwrap();
    assert!(empty.is_empty());
    assert!(!bill().is_empty());
    assert_eq!(Format::of_name("a.spdx.json"), Some(Format::Spdx));
    assert_eq!(Format::of_name("a.cdx.json"), Some(Format::CycloneDx));
    assert_eq!(Format::of_name("a.json"), None);
}
