//! `repomd.xml` as it came, with what vouches for it, so that it can be judged again from the cache.

use super::index::Refusal;
use crate::epoch::Epoch;
use crate::fetch::clearsign;
use crate::fetch::openpgp::{self, Framing, Keyring, Signers};

/// What vouches for metadata besides signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouched {
    /// Nothing.
    Not,
    /// A metalink that came by TLS and names its digest.
    Link,
    /// The place that it came from, of a distribution that signs packages only.
    Transport,
}

impl Vouched {
    /// By their numbers in records.
    const ALL: [Self; 3] = [Self::Not, Self::Link, Self::Transport];
}

/// `repomd.xml` as it came.
pub(super) struct Frame {
    pub(super) repomd: Vec<u8>,
    /// Its detached signature.
    pub(super) signature: Option<Vec<u8>>,
    /// What else vouches for it.
    pub(super) vouched: Vouched,
}

impl Frame {
    /// Who signed, before anything that was signed is looked at.
    pub(super) fn verify(&self, keyring: &Keyring, now: Epoch) -> Result<Signers, Refusal> {
        match &self.signature {
            None if self.vouched != Vouched::Not => Ok(Signers::default()),
            None => Err(Refusal::Unsigned),
            Some(_) if keyring.is_empty() => Err(Refusal::NoKey),
            Some(signature) => {
                let packets = clearsign::detached(signature).map_err(Refusal::Frame)?;
                let signatures = openpgp::read_signatures(&packets)?;
                let trusted = (keyring, now);
                Ok(openpgp::verify(&self.repomd, &signatures, Framing::Detached, trusted)?)
            }
        }
    }

    /// As a record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let signature = self.signature.as_deref().unwrap_or_default();
        let number = Vouched::ALL.iter().position(|known| *known == self.vouched);
        let head = format!("{} {}\n", number.unwrap_or_default(), self.repomd.len());
        [head.as_bytes(), &self.repomd, signature].concat()
    }

    /// Reads a record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, rest) = (bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?);
        let (number, length) = std::str::from_utf8(head).ok()?.split_once(' ')?;
        let vouched = *Vouched::ALL.get(number.parse::<usize>().ok()?)?;
        let (repomd, signature) = rest.split_at_checked(length.parse().ok()?)?;
        let signature = Some(signature.to_vec()).filter(|signature| !signature.is_empty());
        Some(Self { repomd: repomd.to_vec(), signature, vouched })
    }
}
