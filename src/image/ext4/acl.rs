//! POSIX access control lists: their form in ext4 and their form in an attribute's value.
//!
//! The value (`linux/posix_acl_xattr.h`, version 2) gives each entry eight bytes: tag,
//! permissions, id. On disk (`fs/ext4/acl.h`, version 1) only named users and groups have an id.

use super::format::{le16, le32};

const VALUE_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;

/// Whether entries with this tag name a user or a group; `None` for a tag that is not known.
fn has_id(tag: u16) -> Option<bool> {
    match tag {
        0x02 | 0x08 => Some(true),
        0x01 | 0x04 | 0x10 | 0x20 => Some(false),
        _ => None,
    }
}

/// Turns an attribute's value into the form on disk; `None` when it is malformed.
pub(super) fn to_disk(value: &[u8]) -> Option<Vec<u8>> {
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    if le32(value, 0)? != VALUE_VERSION {
        return None;
    }
    let (entries, []) = value.get(4..)?.as_chunks::<8>() else { return None };
    for entry in entries {
        let (head, id) = entry.split_at(4);
        disk.extend_from_slice(head);
        if has_id(le16(head, 0)?)? {
            disk.extend_from_slice(id);
        }
    }
    Some(disk)
}

/// Turns the form on disk into an attribute's value; `None` when it is malformed.
pub(super) fn from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    let mut value = VALUE_VERSION.to_le_bytes().to_vec();
    if le32(disk, 0)? != DISK_VERSION {
        return None;
    }
    let mut rest = disk.get(4..)?;
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let mut id = NO_ID.to_le_bytes();
        rest = tail;
        if has_id(le16(head, 0)?)? {
            let (named, tail) = rest.split_first_chunk::<4>()?;
            (id, rest) = (*named, tail);
        }
        value.extend_from_slice(head);
        value.extend_from_slice(&id);
    }
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// user::rw-, user:7:r--, group::r--, mask::r--, other::---.
    fn value() -> Vec<u8> {
        let entries = [(1, 6, NO_ID), (2, 4, 7), (4, 4, NO_ID), (0x10, 4, NO_ID), (0x20, 0, NO_ID)];
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&[tag, 0, permissions, 0]);
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    #[test]
    fn a_list_comes_back_from_disk() {
        let disk = to_disk(&value()).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&disk).unwrap(), value());
    }

    #[test]
    fn malformed_lists_are_refused() {
        let good = value();
        let mut unknown = good.clone();
        unknown[4] = 3;
        for bad in [&good[..3], &good[..11], &[1, 0, 0, 0], &unknown] {
            assert_eq!(to_disk(bad), None);
        }
        let disk = to_disk(&good).unwrap();
        for bad in [&disk[..3], &disk[..9], &disk[..14], &good[..]] {
            assert_eq!(from_disk(bad), None);
        }
    }
}
