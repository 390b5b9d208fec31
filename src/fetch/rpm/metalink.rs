//! Metalinks: lists of mirrors, which name the digest of `repomd.xml` as well.
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

/// The places of a source: its own, and a few of those that its metalink names.
pub(super) fn with_mirrors(transport: &Transport, source: &Source) -> Vec<Url> {
    /// More are never asked.
    const ENOUGH: usize = 8;
    let mut places = source.places.clone();
    let more = bring(transport, source).map(|metalink| metalink.mirrors).unwrap_or_default();
    for mirror in more.into_iter().take(ENOUGH) {
        if !places.contains(&mirror) {
            places.push(mirror);
        }
    }
    places
}
