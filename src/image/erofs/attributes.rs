//! Extended attributes: those that several files share stand in a table, the rest behind the inode.
//!
//! ```text
//! inode │ filter 0, count of shared, zeros │ shared: where each stands │ own: length, prefix, …
//!                                                                        name and value, to 4 bytes
//! ```
//!
//! The well-known beginning of a name is a number. Access control lists are kept in the form in
//! which the kernel hands them out. Specification: Linux, `fs/erofs/erofs_fs.h`, `fs/erofs/xattr.c`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::format::{field, le16};

/// Beginnings of names and their numbers. The lists stand for whole names.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];
/// Bytes of the header before an inode's attributes.
const HEADER: usize = 12;
const ENTRY: usize = 4;
/// Attributes of one inode take at most this many times four bytes, and the header.
const COUNT_MAX: usize = 65_534;

/// Names and values.
pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// The attributes that more than one file has, as they will stand on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    pub(super) bytes: Vec<u8>,
    /// The place of each, in units of four bytes.
    places: BTreeMap<(Vec<u8>, Vec<u8>), u32>,
}

impl Shared {
    /// Collects what stands there twice or more.
    pub(super) fn collect<'a>(files: impl Iterator<Item = &'a Attributes>) -> Self {
        let mut counts: BTreeMap<(&Vec<u8>, &Vec<u8>), u32> = BTreeMap::new();
        for pair in files.flatten() {
            let count = counts.entry(pair).or_default();
            *count = count.saturating_add(1);
        }
        let mut shared = Self::default();
        for ((name, value), _) in counts.into_iter().filter(|(_, count)| *count > 1) {
            let Ok(entry) = entry(name, value) else { continue };
            if let Ok(place) = u32::try_from(shared.bytes.len() / 4) {
                shared.places.insert((name.clone(), value.clone()), place);
                shared.bytes.extend(entry);
            }
        }
        shared
    }

    /// What stands behind an inode with these attributes.
    ///
    /// # Errors
    /// The limit that they exceed.
    pub(super) fn body(&self, attributes: &Attributes) -> Result<Vec<u8>, String> {
        if attributes.is_empty() {
            return Ok(Vec::new());
        }
        let (mut places, mut own) = (Vec::new(), Vec::new());
        for (name, value) in attributes {
            let entry = entry(name, value)?;
            let place = self.places.get(&(name.clone(), value.clone()));
            match place.filter(|_| places.len() < usize::from(u8::MAX)) {
                Some(place) => places.push(*place),
                None => own.extend(entry),
            }
        }
        let mut bytes = vec![0; 4];
        bytes.push(u8::try_from(places.len()).unwrap_or(u8::MAX));
        bytes.resize(HEADER, 0);
        bytes.extend(places.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(own);
        if bytes.len() / 4 > COUNT_MAX {
            return Err("its extended attributes take more than 262 kB".to_owned());
        }
        Ok(bytes)
    }
}

/// The count that stands in an inode for a body of this length.
pub(super) fn count(length: usize) -> u16 {
    let beyond = length.saturating_sub(HEADER) / 4;
    if length == 0 { 0 } else { u16::try_from(beyond.saturating_add(1)).unwrap_or(u16::MAX) }
}

/// The length of a body by the count in its inode.
pub(super) fn length(count: u16) -> u64 {
    if count == 0 {
        0
    } else {
        u64::from(count).saturating_sub(1).saturating_mul(4).saturating_add(12)
    }
}

/// One attribute, filled up to four bytes.
fn entry(name: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    let shown = || crate::tree::escape(name);
    let known = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    let (prefix, number) =
        known.ok_or_else(|| format!("the attribute {} has no number", shown()))?;
    let rest = name.get(prefix.len()..).unwrap_or_default();
    let is_list = !prefix.ends_with(b".");
    let length = u8::try_from(rest.len()).ok().filter(|_| is_list == rest.is_empty());
    let length = length.ok_or_else(|| format!("the name {} is too long or short", shown()))?;
    let size = u16::try_from(value.len());
    let size = size.map_err(|_| format!("the attribute {} exceeds 65535 bytes", shown()))?;
    let mut bytes = vec![length, *number];
    bytes.extend(size.to_le_bytes());
    bytes.extend(rest);
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

/// What stands behind an inode: places of shared attributes, and its own.
pub(super) struct Body {
    pub(super) shared: Vec<u32>,
    pub(super) own: Attributes,
}

/// Reads what stands behind an inode.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn decode(bytes: &[u8]) -> Result<Body, &'static str> {
    let mut body = Body { shared: Vec::new(), own: BTreeMap::new() };
    if bytes.is_empty() {
        return Ok(body);
    }
    let cut = "its attributes are cut off";
    let [count] = field(bytes, 4).ok_or(cut)?;
    let mut rest = bytes.get(HEADER..).ok_or(cut)?;
    for _ in 0..count {
        let (place, behind) = rest.split_first_chunk::<4>().ok_or(cut)?;
        body.shared.push(u32::from_le_bytes(*place));
        rest = behind;
    }
    while !rest.is_empty() {
        let (name, value, behind) = decode_entry(rest)?;
        if body.own.insert(name, value).is_some() {
            return Err("an attribute stands there twice");
        }
        rest = behind;
    }
    Ok(body)
}

/// Name, value, and what is behind them.
type Decoded<'b> = (Vec<u8>, Vec<u8>, &'b [u8]);

/// Reads one attribute.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Decoded<'_>, &'static str> {
    let cut = "an attribute is cut off";
    let [length, number] = field(bytes, 0).ok_or(cut)?;
    let size = usize::from(le16(bytes, 2).ok_or(cut)?);
    let known = PREFIXES.iter().find(|(_, known)| *known == number);
    let (prefix, _) = known.ok_or("the beginning of an attribute's name is unknown")?;
    let end = ENTRY.saturating_add(length.into());
    let name = bytes.get(ENTRY..end).ok_or(cut)?;
    if name.is_empty() == prefix.ends_with(b".") || name.contains(&0) {
        return Err("an attribute's name is empty or impossible");
    }
    let behind = end.saturating_add(size);
    let value = bytes.get(end..behind).ok_or(cut)?;
    let rest = bytes.get(behind.next_multiple_of(4)..).unwrap_or_default();
    Ok(([prefix, name].concat(), value.to_vec(), rest))
}

/// The length of the attribute at the beginning of `bytes`, which are at least its head.
pub(super) fn entry_length(bytes: [u8; 4]) -> usize {
    let [length, _, low, high] = bytes;
    let size = usize::from(u16::from_le_bytes([low, high]));
    ENTRY.saturating_add(length.into()).saturating_add(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, usize)]) -> Attributes {
        pairs.iter().map(|(name, size)| (name.as_bytes().to_vec(), vec![7; *size])).collect()
    }

    #[test]
    fn attributes_come_back_shared_or_not() {
        let one = attributes(&[("security.capability", 20), ("user.a", 0), ("user.b", 3)]);
        let two = attributes(&[("security.capability", 20), ("system.posix_acl_access", 28)]);
        let shared = Shared::collect([&one, &two].into_iter());
        for wanted in [one, two, Attributes::new()] {
            let bytes = shared.body(&wanted).unwrap();
            assert_eq!(usize::try_from(length(count(bytes.len()))), Ok(bytes.len()));
            let Body { shared: places, mut own } = decode(&bytes).unwrap();
            for place in places {
                let at = usize::try_from(place).unwrap().saturating_mul(4);
                let (name, value, _) = decode_entry(shared.bytes.get(at..).unwrap()).unwrap();
                own.insert(name, value);
            }
            assert_eq!(own, wanted);
        }
    }

    #[test]
    fn f20_attributes_that_do_not_fit_are_refused_by_name() {
        let long = format!("user.{}", "n".repeat(256));
        let good = [("user.a", 65_535), (long.get(..260).unwrap(), 1)];
        Shared::default().body(&attributes(&good)).unwrap();
        let many: Vec<String> = (0..5).map(|number| format!("user.{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), 60_000)).collect();
        let bad = [
            (attributes(&[("user.a", 65_536)]), "the attribute user.a exceeds 65535 bytes"),
            (attributes(&[(&long, 1)]), "is too long"),
            (attributes(&[("user.", 1)]), "is too long or short"),
            (attributes(&[("system.other", 1)]), "the attribute system.other has no number"),
            (attributes(&many), "more than 262 kB"),
        ];
        for (attributes, rule) in bad {
            let error = Shared::default().body(&attributes).unwrap_err();
            assert!(error.contains(rule), "{error}");
        }
    }
}
