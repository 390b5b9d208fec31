//! `repomd.xml`: which files make up a repository's metadata, by their digests.
//!
//! In: the text; out: its files. A digest weaker than SHA-256 is as good as none, and then the file
//! does not count. Specification: createrepo_c's own, which the tools of all distributions follow.

use super::xml::{self, Element, Visitor};
use crate::digest::Digest;
use crate::package::path;

/// The metadata of a repository at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repomd {
    /// What the repository calls this state: mostly a number of seconds.
    pub revision: String,
    /// The files.
    pub files: Vec<DataFile>,
}

/// One file of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataFile {
    /// What it is: `primary`, `filelists`.
    pub kind: String,
    /// Its place below the repository's root.
    pub path: String,
    /// Its SHA-256.
    pub digest: Option<Digest>,
    /// The SHA-256 of what it unpacks to.
    pub open_digest: Option<Digest>,
    /// Its bytes.
    pub size: Option<u64>,
    /// The bytes that it unpacks to.
    pub open_size: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
}

impl Repomd {
    /// Reads it.
    ///
    /// # Errors
    /// [`xml::Error`]
    pub fn parse(bytes: &[u8]) -> Result<Self, xml::Error> {
        let mut reader = Reader::default();
        xml::walk(bytes, &mut reader)?;
        Ok(reader.repomd)
    }

    /// The file of a kind.
    pub fn file(&self, kind: &str) -> Option<&DataFile> {
        self.files.iter().find(|file| file.kind == kind)
    }

    /// When it was made: its revision, if that is a moment, else the newest of its files.
    pub fn moment(&self) -> u64 {
        /// Smaller revisions are counters.
        const YEAR_2000: u64 = 946_684_800;
        let revision = self.revision.parse::<u64>().ok().filter(|moment| *moment > YEAR_2000);
        let newest = self.files.iter().map(|file| file.timestamp).max();
        revision.or(newest).unwrap_or(0)
    }
}

#[derive(Default)]
struct Reader {
    repomd: Repomd,
    open: Option<DataFile>,
    /// Whether the digest that is being read is a strong one.
    is_strong: bool,
}

impl Visitor for Reader {
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), xml::Error> {
        match name {
            "data" => {
                let kind = element.get("type")?.unwrap_or_default().into_owned();
                self.open = Some(DataFile { kind, ..DataFile::default() });
            }
            "checksum" | "open-checksum" => {
                self.is_strong = element.get("type")?.as_deref() == Some("sha256");
            }
            "location" => {
                if element.get("xml:base")?.is_some() {
                    return Err(xml::Error::value("a file's host", "xml:base"));
                }
                let href = element.get("href")?.unwrap_or_default();
                let clean = path::check(&href);
                let clean = clean.map_err(|_| xml::Error::value("the place of a file", &href))?;
                if let Some(open) = &mut self.open {
                    open.path = clean.to_owned();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str, text: &str) -> Result<(), xml::Error> {
        let number = |what| text.parse::<u64>().map_err(|_| xml::Error::value(what, text));
        let digest = |what| text.parse::<Digest>().map_err(|_| xml::Error::value(what, text));
        let Some(open) = &mut self.open else {
            if name == "revision" {
                self.repomd.revision = text.to_owned();
            }
            return Ok(());
        };
        match name {
            "checksum" if self.is_strong => open.digest = Some(digest("a digest")?),
            "open-checksum" if self.is_strong => open.open_digest = Some(digest("a digest")?),
            "size" => open.size = Some(number("a size")?),
            "open-size" => open.open_size = Some(number("a size")?),
            // Some write fractions of seconds.
            "timestamp" => {
                let seconds = text.split('.').next().unwrap_or_default();
                open.timestamp =
                    seconds.parse().map_err(|_| xml::Error::value("a moment", text))?;
            }
            "data" => {
                if open.path.is_empty() {
                    return Err(xml::Error::Missing("the place of a file"));
                }
                self.repomd.files.extend(self.open.take());
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<repomd><revision>1644263915</revision><data type='primary'>\
        <checksum type='sha256'>130494033cb9bffa40828ebc814d016920d9ce5d60041467af283ffcf38adef0\
        </checksum><location href='repodata/p.xml.gz'/><timestamp>1644263914.5</timestamp>\
        <size>10</size><open-size>20</open-size></data></repomd>";

    #[test]
    fn files_are_found_by_their_kind() {
        let repomd = Repomd::parse(TEXT.as_bytes()).unwrap();
        let primary = repomd.file("primary").unwrap();
        assert_eq!((primary.path.as_str(), primary.size), ("repodata/p.xml.gz", Some(10)));
        assert!(primary.digest.is_some() && primary.open_digest.is_none());
        assert_eq!(repomd.moment(), 1_644_263_915);
        assert_eq!(Repomd { revision: "5".into(), ..repomd }.moment(), 1_644_263_914);
    }

    #[test]
    fn m4_weak_digests_are_none_and_r11_places_stay_below_the_root() {
        let weak = Repomd::parse(TEXT.replace("'sha256'", "'sha'").as_bytes()).unwrap();
        assert_eq!(weak.file("primary").unwrap().digest, None);
        for bad in [
            TEXT.replace("repodata/p", "../p"),
            TEXT.replace("repodata/p", "http://e/p"),
            TEXT.replace("href=", "xml:base='http://e/' href="),
            TEXT.replace(">10<", ">-1<"),
            TEXT.replace("130494033", "13049403"),
        ] {
            assert!(Repomd::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
