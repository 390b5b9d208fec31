//! Real packages, good and tampered with, are read to their last byte or refused.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]

use std::path::Path;

use super::*;
use crate::package::rpm::files::Kind;

/// Reads a whole package: its name, and the number of bytes of each content.
fn read(path: &Path) -> Result<(String, u64), Error> {
    read_from(fs_err::File::open(path).unwrap())
}

fn read_from(medium: impl Read) -> Result<(String, u64), Error> {
    let mut reader = io::BufReader::new(medium);
    let head = Head::read(&mut reader)?;
    let files = head.files()?;
    let mut bytes = 0;
    head.contents(reader, &files, |number, content| {
        let read = io::copy(content, &mut io::sink()).map_err(Error::Read)?;
        if let Kind::Regular { size, .. } = &files[number].kind {
            assert_eq!(read, *size, "{}", files[number].path);
        }
        bytes += read;
        Ok::<_, Error>(())
    })?;
    Ok((head.header.word(tag::NAME).unwrap_or_default().to_owned(), bytes))
}

fn packages(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    found.sort();
    found
}

#[test]
fn every_package_of_two_distributions_is_read_to_its_end() {
    for (folder, count) in [("rpm/mariner2-x86_64", 129), ("rpm/el9-aarch64", 22)] {
        let Some(folder) = crate::testing::data(folder) else { return };
        let packages = packages(&folder);
        assert_eq!(packages.len(), count);
        for path in packages {
            let (name, _) = read(&path).unwrap_or_else(|error| panic!("{path:?}: {error:?}"));
            assert!(path.file_name().unwrap().to_str().unwrap().starts_with(&name));
        }
    }
}

#[test]
fn a_medium_that_is_interrupted_all_the_time_is_read_to_its_end() {
    let Some(folder) = crate::testing::data("rpm/el9-aarch64") else { return };
    let path = folder.join("libacl-2.3.1-3.el9.aarch64.rpm");
    let lazy = crate::testing::Stuttering::new(fs_err::File::open(&path).unwrap());
    assert_eq!(read_from(lazy).unwrap(), read(&path).unwrap());
}

#[test]
fn m6_packages_that_were_tampered_with_are_refused_and_their_model_is_not() {
    let (Some(bad), Some(good)) =
        (crate::testing::data("tampered"), crate::testing::data("rpm/el9-aarch64"))
    else {
        return;
    };
    assert!(read(&good.join("libacl-2.3.1-3.el9.aarch64.rpm")).is_ok());
    let tampered = |kind: &str| read(&bad.join(format!("libacl-2.3.1-3.el9.aarch64.{kind}.rpm")));
    for kind in ["flip-header", "flip-payload", "truncated"] {
        assert!(tampered(kind).is_err(), "{kind}");
    }
}

#[test]
fn packages_of_all_formats_that_rpm_tests_itself_with_are_read_or_refused() {
    let Some(folder) = crate::testing::data("conformance/rpm-tests") else { return };
    let mut outcomes = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rpm") => {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    let outcome = read(&path).map_or_else(|e| e.to_string(), |(name, _)| name);
                    outcomes.push(format!("{name}: {outcome}"));
                }
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    outcomes.sort();
    insta::assert_snapshot!(outcomes.join("\n"));
}
