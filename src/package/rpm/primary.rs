//! `primary.xml`: the packages of a repository.
//!
//! In: a reader of the text; out: records (see `info.rs`). It streams: nothing is held but one package
//! and the records. What is not an rpm package is passed over. Specification: createrepo_c's own.

use std::borrow::Cow;
use std::io::BufRead;

use super::info::{Draft, Identity, Sort};
use super::xml::{self, Element, Visitor};
use crate::package::path;

/// Reads all packages.
///
/// # Errors
/// [`xml::Error`]
pub fn read(input: impl BufRead) -> Result<String, xml::Error> {
    let mut reader = Reader::default();
    xml::walk(input, &mut reader)?;
    Ok(reader.draft.into_text())
}

#[derive(Default)]
struct Reader {
    draft: Draft,
    identity: Identity,
    /// The relations and files of the open package.
    open: Draft,
    /// The version of a relation, put together.
    version: String,
    /// Which relations are being read.
    sort: Option<Sort>,
    is_rpm: bool,
    is_strong: bool,
}

impl Reader {
    fn entry(&mut self, element: &Element<'_>) -> Result<(), xml::Error> {
        let Some(sort) = self.sort else { return Ok(()) };
        let [mut name, mut operator, mut epoch, mut version, mut release] =
            [const { Cow::Borrowed("") }; 5];
        element.each(&mut |key, value| match key {
            "name" => name = value,
            "flags" => operator = value,
            "epoch" => epoch = value,
            "ver" => version = value,
            "rel" => release = value,
            _ => {}
        })?;
        let whole = &mut self.version;
        whole.clear();
        if !epoch.is_empty() && !version.is_empty() {
            whole.push_str(&epoch);
            whole.push(':');
        }
        whole.push_str(&version);
        if !release.is_empty() {
            whole.push('-');
            whole.push_str(&release);
        }
        self.open.relation(sort, &name, &operator, whole);
        Ok(())
    }

    fn location(&mut self, element: &Element<'_>) -> Result<(), xml::Error> {
        if element.get("xml:base")?.is_some_and(|base| !base.is_empty()) {
            return Err(xml::Error::value("a package's host", "xml:base"));
        }
        let href = element.get("href")?.unwrap_or_default();
        let clean = path::check(&href);
        let clean = clean.map_err(|_| xml::Error::value("the place of a package", &href))?;
        self.identity.place = clean.to_owned();
        Ok(())
    }

    /// The package is complete.
    fn finish(&mut self) -> Result<(), xml::Error> {
        let identity = std::mem::take(&mut self.identity);
        if !self.is_rpm || identity.architecture == "src" || identity.architecture == "nosrc" {
            self.open.clear();
            return Ok(());
        }
        if identity.place.is_empty() {
            return Err(xml::Error::Missing("the place of a package"));
        }
        self.draft.begin(&identity);
        self.draft.append(&mut self.open);
        Ok(())
    }
}

impl Visitor for Reader {
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), xml::Error> {
        let number = |value: Option<Cow<'_, str>>, what| match value {
            None => Ok(0),
            Some(text) => text.parse::<u64>().map_err(|_| xml::Error::value(what, &text)),
        };
        let word = |name| Ok(element.get(name)?.unwrap_or_default().into_owned());
        match name {
            "package" => self.is_rpm = element.get("type")?.as_deref() == Some("rpm"),
            "version" => {
                self.identity.epoch = word("epoch")?;
                self.identity.version = word("ver")?;
                self.identity.release = word("rel")?;
            }
            "checksum" => self.is_strong = element.get("type")?.as_deref() == Some("sha256"),
            "size" => self.identity.size = number(element.get("package")?, "a size")?,
            "time" => self.identity.built = number(element.get("build")?, "a moment")?,
            "location" => self.location(element)?,
            "provides" => self.sort = Some(Sort::Provides),
            "requires" => self.sort = Some(Sort::Requires),
            "conflicts" => self.sort = Some(Sort::Conflicts),
            "obsoletes" => self.sort = Some(Sort::Obsoletes),
            "recommends" => self.sort = Some(Sort::Recommends),
            "supplements" => self.sort = Some(Sort::Supplements),
            "suggests" => self.sort = Some(Sort::Suggests),
            "enhances" => self.sort = None,
            "entry" => self.entry(element)?,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str, text: &str) -> Result<(), xml::Error> {
        match name {
            "name" => self.identity.name = text.to_owned(),
            "arch" => self.identity.architecture = text.to_owned(),
            "checksum" if self.is_strong => {
                let digest = text.parse().map_err(|_| xml::Error::value("a digest", text))?;
                self.identity.digest = Some(digest);
            }
            "file" => self.open.file(text),
            "package" => self.finish()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::compression::{Compression, Decompressor, Limits};
    use crate::package::rpm::info;

    #[test]
    fn the_packages_of_a_distribution_are_read() {
        let Some(folder) = crate::testing::data("rpm/cs9-baseos-metadata/repodata") else { return };
        let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let primary =
            names.into_iter().find(|path| path.to_str().unwrap().ends_with("primary.xml.gz"));
        let bytes = fs_err::read(primary.unwrap()).unwrap();
        let plain = Decompressor::new(&bytes[..], Compression::Gzip, Limits::up_to(1 << 30));
        let text = read(std::io::BufReader::new(plain.unwrap())).unwrap();
        let infos = info::parse(&text).unwrap();
        assert_eq!(infos.len(), 1125);
        let bash = infos.iter().find(|info| info.name == "bash").unwrap();
        assert!(bash.digest.is_some() && bash.files.contains(&"/usr/bin/bash"));
        assert!(infos.iter().all(|info| !info.unsupported));
    }

    #[test]
    fn r11_packages_elsewhere_are_refused() {
        let package = |location: &str| {
            let text = format!(
                "<metadata><package type='rpm'><name>a</name><arch>noarch</arch>\
                 <version epoch='0' ver='1' rel='1'/>{location}</package></metadata>"
            );
            read(text.as_bytes())
        };
        assert!(
            package("<location href='Packages/a.rpm'/>").unwrap().starts_with("N\ta\tnoarch\t0")
        );
        for bad in [
            "",
            "<location href='../a.rpm'/>",
            "<location href='http://e/a.rpm'/>",
            "<location xml:base='http://e/' href='a.rpm'/>",
            "<location href='a.rpm'/><size package='-1'/>",
        ] {
            assert!(package(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn c15_a_digest_of_another_length_is_refused() {
        let package = |digest: &str| {
            let text = format!(
                "<metadata><package type='rpm'><name>a</name><arch>noarch</arch>\
                 <version epoch='0' ver='1' rel='1'/><checksum type='sha256'>{digest}</checksum>\
                 <location href='a.rpm'/></package></metadata>"
            );
            read(text.as_bytes())
        };
        assert!(package(&"a".repeat(64)).is_ok());
        for bad in ["a".repeat(63), "a".repeat(65), "a".repeat(129), "g".repeat(64), String::new()]
        {
            assert!(package(&bad).is_err(), "{bad}");
        }
    }
}
