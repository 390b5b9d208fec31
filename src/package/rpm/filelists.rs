//! `filelists.xml`: all files of a repository's packages, of which few are ever asked for.
//!
//! In: a reader of the text, and the paths that somebody requires; out: which packages have them. It
//! streams: nothing is held but what was found. Specification: createrepo_c's own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::xml::{self, Element, Visitor};
use crate::digest::Digest;

/// Which of the `wanted` paths each package has, by the package's digest.
///
/// # Errors
/// [`xml::Error`]
pub fn read(
    input: impl BufRead,
    wanted: &BTreeSet<&str>,
) -> Result<BTreeMap<Digest, Vec<String>>, xml::Error> {
    let mut reader = Reader { wanted, package: None, found: BTreeMap::new() };
    xml::walk(input, &mut reader)?;
    Ok(reader.found)
}

struct Reader<'w> {
    wanted: &'w BTreeSet<&'w str>,
    /// The open package; none, if its digest is not a strong one.
    package: Option<Digest>,
    found: BTreeMap<Digest, Vec<String>>,
}

impl Visitor for Reader<'_> {
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), xml::Error> {
        if name == "package" {
            self.package = element.get("pkgid")?.and_then(|digest| digest.parse().ok());
        }
        Ok(())
    }

    fn end(&mut self, name: &str, text: &str) -> Result<(), xml::Error> {
        if let (true, Some(package)) = (name == "file" && self.wanted.contains(text), self.package)
        {
            self.found.entry(package).or_default().push(text.to_owned());
        }
        Ok(())
    }
}

/// Adds files to the records of packages (see `info.rs`).
pub fn add(records: &str, files: &BTreeMap<Digest, Vec<String>>) -> String {
    let mut text = String::with_capacity(records.len().saturating_add(4_096));
    for line in records.split_inclusive('\n') {
        text.push_str(line);
        let digest = line.strip_prefix("N\t").and_then(|rest| rest.split('\t').nth(6));
        let digest = digest.and_then(|digest| digest.parse::<Digest>().ok());
        for file in digest.and_then(|digest| files.get(&digest)).into_iter().flatten() {
            text.push_str("F\t");
            text.push_str(file);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::super::info::{self, Draft, Identity};
    use super::*;

    #[test]
    fn files_that_are_required_are_found_and_become_part_of_their_packages_records() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let text = format!(
            "<filelists><package pkgid='{one}' name='a' arch='x'><version ver='1'/>\
             <file>/usr/share/a</file><file type='dir'>/usr/share/b</file><file>/x</file></package>\
             <package pkgid='{other}' name='b' arch='x'><file>/usr/share/b</file></package>\
             <package pkgid='weak' name='c' arch='x'><file>/usr/share/b</file></package></filelists>"
        );
        let wanted = BTreeSet::from(["/usr/share/b", "/usr/share/none"]);
        let found = read(text.as_bytes(), &wanted).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[&one], ["/usr/share/b"]);
        let mut draft = Draft::default();
        for (name, digest) in [("a", one), ("b", Digest::of(b"3"))] {
            draft.begin(&Identity {
                name: name.into(),
                architecture: "noarch".into(),
                epoch: "0".into(),
                version: "1".into(),
                release: "1".into(),
                digest: Some(digest),
                place: "p".into(),
                ..Identity::default()
            });
            draft.file("/usr/bin/own");
        }
        let records = add(&draft.into_text(), &found);
        let infos = info::parse(&records).unwrap();
        let mut files = infos[0].files.clone();
        files.sort_unstable();
        assert_eq!(files, ["/usr/bin/own", "/usr/share/b"]);
        assert_eq!(infos[1].files, ["/usr/bin/own"]);
    }
}
