//! Any bytes as what a repository serves before anybody has vouched for them.
//!
//! For whoever tries readers with random bytes: those of this room are private, since nothing outside
//! may see what was not verified. Nothing comes out of here but whether somebody vouches for the bytes.

use super::openpgp::{self, Framing, Keyring};
use super::{apk, clearsign, deb};
use crate::epoch::Epoch;

/// Reads bytes as a clear-signed release file, as detached signatures, as keys, and as an index of
/// Alpine's. Returns whether they count as signed where no key is trusted, which can never be.
pub fn is_vouched_for(bytes: &[u8]) -> bool {
    let signatures = match clearsign::message(bytes) {
        Ok(message) => {
            deb::is_release(&message.text);
            Some(message.signatures)
        }
        Err(_) => clearsign::detached(bytes).ok(),
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        deb::is_release(text);
    }
    Keyring::default().add(bytes).ok();
    let nobody = (&Keyring::default(), Epoch::default());
    let verified = |framing| {
        let packets = openpgp::read_signatures(signatures.as_deref().unwrap_or(bytes)).ok()?;
        openpgp::verify(bytes, &packets, framing, nobody).ok()
    };
    let signed = [Framing::Cleartext, Framing::Detached].map(|framing| verified(framing).is_some());
    signed.contains(&true) || apk::is_vouched_for(bytes)
}

#[cfg(test)]
mod tests {
    use osbuilder_testkit::key::{Key, Signing};

    use super::*;

    #[test]
    fn nobody_vouches_for_anything_where_no_key_is_trusted() {
        let key = Key::default();
        let signed = key.clearsign("Suite: test\n", Signing::text(1_700_000_000));
        let certificate = key.certificate();
        for bytes in [signed.as_bytes(), &certificate, b"", b"\x1f\x8b", b"ADB.pckg"] {
            assert!(!is_vouched_for(bytes));
        }
    }
}
