//! Lists of mirrors: metalinks, which name the digest of `repomd.xml` as well, and plain ones.
//!
//! In: an address; out: mirrors and digests. One that did not come by TLS proves nothing and does not
//! count. Of older states that it names as alternatives none is accepted. Specification: version 3.0 of
//! the format (metalinker.org), as MirrorManager writes it.

use super::source::Source;
use crate::digest::Digest;
use crate::fetch::object;
use crate::fetch::transport::Transport;
use crate::fetch::url::{Scheme, Url};
use crate::package::rpm::metalink;

/// Real ones have some fifty thousand bytes.
const MAX_METALINK: u64 = 4 << 20;

/// What a metalink says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metalink {
    /// The digest that `repomd.xml` must have.
    pub digest: Digest,
    /// The folders of mirrors, those with TLS first.
    pub mirrors: Vec<Url>,
}

/// Brings the metalink of a source, if it has one that can be believed.
pub(super) fn bring(transport: &Transport, source: &Source) -> Option<Metalink> {
    let url = source.metalink.as_ref().filter(|url| url.scheme() == Scheme::Https)?;
    let bytes = object::text(transport, (url, true), MAX_METALINK).ok()?;
    let found = metalink::Metalink::parse(&bytes).ok()?;
    let parsed = found.addresses.iter().filter_map(|address| {
        let root = address.strip_suffix("/repodata/repomd.xml")?;
        root.parse::<Url>().ok()
    });
    let mut mirrors: Vec<Url> =
        parsed.filter(|url| matches!(url.scheme(), Scheme::Http | Scheme::Https)).collect();
    mirrors.sort_by_key(|url| url.scheme() != Scheme::Https);
    Some(Metalink { digest: found.digest?, mirrors })
}

/// The places of a source, in the order of asking: its own, and a few of those that its metalink and its
/// list of mirrors name. Only the first may vouch for anything; from the others come files of known
/// digest, and metadata that is signed or linked.
pub(super) fn places(
    transport: &Transport,
    source: &Source,
    linked: Option<&Metalink>,
) -> Vec<Url> {
    /// More are never asked.
    const ENOUGH: usize = 8;
    let mut places = source.places.clone();
    let linked = linked.iter().flat_map(|linked| linked.mirrors.clone());
    for mirror in linked.chain(list(transport, source)).take(ENOUGH) {
        if !places.contains(&mirror) {
            places.push(mirror);
        }
    }
    places
}

/// As [`places`], with the metalink as it is now.
pub(super) fn with_mirrors(transport: &Transport, source: &Source) -> Vec<Url> {
    places(transport, source, bring(transport, source).as_ref())
}

/// The folders that a plain list of mirrors names: an address a line, with `#` before remarks. Some leave
/// variables to who reads it.
fn list(transport: &Transport, source: &Source) -> Vec<Url> {
    let Some((url, variables)) = &source.mirrorlist else { return Vec::new() };
    let bytes = object::text(transport, (url, true), MAX_METALINK).unwrap_or_default();
    read_list(&variables.fill(&String::from_utf8_lossy(&bytes)))
}

fn read_list(text: &str) -> Vec<Url> {
    let lines = text.lines().map(|line| line.trim().trim_end_matches('/'));
    let named = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut mirrors: Vec<Url> = named
        .filter_map(|line| line.parse().ok())
        .filter(|url: &Url| matches!(url.scheme(), Scheme::Http | Scheme::Https))
        .collect();
    mirrors.sort_by_key(|url| url.scheme() != Scheme::Https);
    mirrors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::rpm::source::Variables;

    #[test]
    fn a_list_of_mirrors_is_addresses_and_remarks_and_no_local_files() {
        let text = "# repo = BaseOS\nhttp://a/os/\nhttps://b/os\r\n\nfile:///etc\n<html>\n";
        let found: Vec<String> = read_list(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["https://b/os", "http://a/os"]);
    }

    #[test]
    fn variables_in_a_list_of_mirrors_are_filled_in() {
        let variables = Variables { architecture: "aarch64", release: "9".to_owned() };
        let list = variables.fill("https://a/$releasever/BaseOS/$basearch/os/\n");
        assert_eq!(read_list(&list)[0].to_string(), "https://a/9/BaseOS/aarch64/os");
    }
}
