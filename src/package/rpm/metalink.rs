//! Metalinks: where a file can be had, and which digest it has.
//!
//! In: the text; out: the addresses and the SHA-256 of the first file. Specification: version 3.0 of
//! the format (metalinker.org).

use super::xml::{self, Element, Visitor};
use crate::digest::Digest;

/// What a metalink says of `repomd.xml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metalink {
    /// Its SHA-256.
    pub digest: Option<Digest>,
    /// Where it can be had, in the metalink's order.
    pub addresses: Vec<String>,
}

impl Metalink {
    /// Reads it.
    ///
    /// # Errors
    /// [`xml::Error`]
    pub fn parse(bytes: &[u8]) -> Result<Self, xml::Error> {
        let mut reader = Reader::default();
        xml::walk(bytes, &mut reader)?;
        Ok(reader.found)
    }
}

#[derive(Default)]
struct Reader {
    found: Metalink,
    is_strong: bool,
    /// Within what stands for older states.
    is_alternate: bool,
}

impl Visitor for Reader {
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), xml::Error> {
        match name {
            "alternate" => self.is_alternate = true,
            "hash" => self.is_strong = element.get("type")?.as_deref() == Some("sha256"),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str, text: &str) -> Result<(), xml::Error> {
        match name {
            "alternate" => self.is_alternate = false,
            "hash" if self.is_strong && !self.is_alternate => {
                let digest = text.parse().map_err(|_| xml::Error::value("a digest", text))?;
                self.found.digest.get_or_insert(digest);
            }
            "url" => self.found.addresses.push(text.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_the_digest_of_today_counts_and_that_of_an_older_state_does_not() {
        let (today, old) = (Digest::of(b"today"), Digest::of(b"old"));
        let text = format!(
            "<metalink xmlns:mm0='x'><files><file name='repomd.xml'><mm0:alternates>\
             <mm0:alternate><verification><hash type='sha256'>{old}</hash></verification>\
             </mm0:alternate></mm0:alternates><verification><hash type='sha1'>x</hash>\
             <hash type='sha256'>{today}</hash></verification><resources>\
             <url protocol='https'>https://m/r/repodata/repomd.xml</url></resources>\
             </file></files></metalink>"
        );
        let found = Metalink::parse(text.as_bytes()).unwrap();
        assert_eq!(found.digest, Some(today));
        assert_eq!(found.addresses, ["https://m/r/repodata/repomd.xml"]);
    }
}
