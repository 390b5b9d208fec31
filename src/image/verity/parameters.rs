//! What a kernel must be told to check a partition, and the line in which Kata hands it on.
//!
//! ```text
//! root_hash=…,salt=…,data_blocks=64000,data_block_size=4096,hash_block_size=4096
//! ```
//!
//! The line stands in `root_hash_<variant>.txt`, in the runtime's `kernel_verity_params`, and in
//! `kata.extension.<name>.verity_params`. The runtime insists on all five keys and on block sizes
//! that are multiples of 512 (`ParseKernelVerityParams` in Kata's runtime).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::SALT_MAX;
use crate::digest::{Digest, parse_hex};

/// What a kernel must be told to check a partition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Parameters {
    /// The digest of the top of the tree.
    pub root_hash: Digest,
    /// What each block is hashed with.
    #[serde(serialize_with = "as_hex")]
    pub salt: Vec<u8>,
    /// How many blocks of data the tree covers.
    pub data_blocks: u64,
    /// Bytes of a block of data.
    pub data_block_size: u32,
    /// Bytes of a block of digests.
    pub hash_block_size: u32,
}

impl Parameters {
    /// The salt in hexadecimal digits.
    pub fn salt_text(&self) -> String {
        hex(&self.salt)
    }

    /// The kernel parameter by which Kata's runtime has the guest's kernel check its root: `data`
    /// and `hash` are block devices, such as `/dev/pmem0p1` and `/dev/pmem0p2`.
    pub fn kernel_parameter(&self, data: &str, hash: &str) -> String {
        let Self { root_hash, data_blocks, data_block_size, hash_block_size, .. } = self;
        let sectors = data_blocks.saturating_mul(u64::from(*data_block_size) / 512);
        let salt = if self.salt.is_empty() { "-".to_owned() } else { self.salt_text() };
        format!(
            "dm-mod.create=\"dm-verity,,,ro,0 {sectors} verity 1 {data} {hash} {data_block_size} \
             {hash_block_size} {data_blocks} 0 sha256 {root_hash} {salt}\""
        )
    }
}

/// Bytes as two digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "root_hash={},salt={},data_blocks={},data_block_size={},hash_block_size={}",
            self.root_hash,
            self.salt_text(),
            self.data_blocks,
            self.data_block_size,
            self.hash_block_size
        )
    }
}

/// Why a text is not such a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these are no dm-verity parameters: {rule}")]
pub struct BadParameters {
    rule: String,
}

impl FromStr for Parameters {
    type Err = BadParameters;

    fn from_str(text: &str) -> Result<Self, BadParameters> {
        let bad = |rule: String| BadParameters { rule };
        let mut values = [None; KEYS.len()];
        for pair in text.trim_end_matches('\n').split(',') {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| bad(format!("{pair:?} is not of the form key=value")))?;
            let slot = KEYS.iter().position(|known| *known == key);
            let slot = slot.and_then(|index| values.get_mut(index));
            let slot = slot.ok_or_else(|| bad(format!("the key {key:?} is unknown")))?;
            if slot.replace(value).is_some() {
                return Err(bad(format!("the key {key:?} stands there twice")));
            }
        }
        if let Some((key, _)) = KEYS.iter().zip(values).find(|(_, value)| value.is_none()) {
            return Err(bad(format!("the key {key:?} is missing")));
        }
        let [root_hash, salt, data_blocks, data_block_size, hash_block_size] =
            values.map(Option::unwrap_or_default);
        let parameters = Self {
            root_hash: root_hash.parse().map_err(|error| bad(format!("{error}")))?,
            salt: salt_of(salt).ok_or_else(|| bad(format!("{salt:?} is no salt")))?,
            data_blocks: number(data_blocks)?,
            data_block_size: number(data_block_size)?,
            hash_block_size: number(hash_block_size)?,
        };
        let sizes = [parameters.data_block_size, parameters.hash_block_size];
        if sizes.into_iter().any(|size| size == 0 || !size.is_multiple_of(512)) {
            return Err(bad("a block's size is not a multiple of 512".to_owned()));
        }
        Ok(parameters)
    }
}

const KEYS: [&str; 5] = ["root_hash", "salt", "data_blocks", "data_block_size", "hash_block_size"];

fn salt_of(text: &str) -> Option<Vec<u8>> {
    let mut salt = vec![0; (text.len() / 2).min(SALT_MAX)];
    parse_hex(text, &mut salt).map(|()| salt)
}

fn number<T: FromStr>(text: &str) -> Result<T, BadParameters> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| digits);
    value.ok_or_else(|| BadParameters { rule: format!("{text:?} is not a number that fits") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "root_hash=\
        0000000000000000000000000000000000000000000000000000000000000001,salt=ab01,\
        data_blocks=64000,data_block_size=4096,hash_block_size=4096";

    #[test]
    fn k2_the_line_comes_back_as_it_was_written() {
        let parameters: Parameters = LINE.parse().unwrap();
        assert_eq!(parameters.salt, [0xab, 1]);
        assert_eq!(parameters.to_string(), LINE);
        assert_eq!(format!("{LINE}\n").parse(), Ok(parameters));
    }

    #[test]
    fn k2_every_other_line_is_refused_with_its_mistake() {
        let cases = [
            (LINE.replace("salt=ab01,", ""), "the key \"salt\" is missing"),
            (LINE.replace("salt=ab01", "salt=abc"), "\"abc\" is no salt"),
            (LINE.replace("salt=ab01", &format!("salt={}", "00".repeat(257))), "is no salt"),
            (LINE.replace("64000", "-1"), "\"-1\" is not a number"),
            (LINE.replace("64000", "+1"), "\"+1\" is not a number"),
            (LINE.replace("64000", "99999999999999999999"), "is not a number that fits"),
            (LINE.replace("=4096", "=1000"), "not a multiple of 512"),
            (LINE.replace("=4096", "=0"), "not a multiple of 512"),
            (format!("{LINE},salt=00"), "the key \"salt\" stands there twice"),
            (format!("{LINE},x=y"), "the key \"x\" is unknown"),
            (format!("{LINE},"), "\"\" is not of the form key=value"),
            (LINE.replace("0001", "1"), "is not a SHA-256 digest"),
            (String::new(), "\"\" is not of the form"),
        ];
        for (line, rule) in cases {
            let error = line.parse::<Parameters>().unwrap_err().to_string();
            assert!(error.contains(rule), "{line}: {error}");
        }
    }

    #[test]
    fn k2_the_kernel_is_told_as_kata_s_runtime_tells_it() {
        let parameters: Parameters = LINE.parse().unwrap();
        let root = &LINE[10..74];
        let expected = format!(
            "dm-mod.create=\"dm-verity,,,ro,0 512000 verity 1 /dev/pmem0p1 /dev/pmem0p2 4096 4096 \
             64000 0 sha256 {root} ab01\""
        );
        assert_eq!(parameters.kernel_parameter("/dev/pmem0p1", "/dev/pmem0p2"), expected);
    }
}
