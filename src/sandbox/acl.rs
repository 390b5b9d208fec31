//! POSIX access control lists as the kernel passes them in `system.posix_acl_*` attributes.
//!
//! Only what the sandbox must know: whether a list names users or groups other than root, which a
//! namespace of one user cannot store, and what it does to the file's mode. Layout:
//! `linux/posix_acl_xattr.h`: a version of four bytes, then entries of tag, permissions (two bytes
//! each) and id (four), all little-endian.

const VERSION: u32 = 2;
const USER: u16 = 0x02;
const GROUP_OBJECT: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

/// One entry of a list.
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

fn entries(value: &[u8]) -> Option<Vec<Entry>> {
    let (version, rest) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
        return None;
    }
    let read = |chunk: &[u8]| {
        let &[a, b, c, d, e, f, g, h] = chunk else { return None };
        let id = u32::from_le_bytes([e, f, g, h]);
        let [tag, permissions] = [[a, b], [c, d]].map(u16::from_le_bytes);
        Some(Entry { tag, permissions, id })
    };
    rest.chunks_exact(8).map(read).collect()
}

/// Whether a list names a user or group other than root.
pub(super) fn names_others(value: &[u8]) -> bool {
    let named = |entry: &Entry| matches!(entry.tag, USER | GROUP) && entry.id != 0;
    entries(value).is_some_and(|entries| entries.iter().any(named))
}

/// The group bits that a file's mode shows under this access list: its mask, if it has one.
pub(super) fn group_bits(value: &[u8]) -> Option<u16> {
    let entries = entries(value)?;
    let of = |tag| entries.iter().find(|entry| entry.tag == tag);
    of(MASK).or_else(|| of(GROUP_OBJECT)).map(|entry| entry.permissions & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn lists_that_name_others_are_told_from_those_that_do_not() {
        let plain = list(&[(1, 7, u32::MAX), (4, 5, u32::MAX), (0x20, 5, u32::MAX)]);
        let adm = list(&[(1, 7, u32::MAX), (4, 5, u32::MAX), (8, 5, 4), (0x10, 1, u32::MAX)]);
        assert!(!names_others(&plain));
        assert!(names_others(&adm));
        assert!(!names_others(&adm[..9]));
        assert_eq!([group_bits(&plain), group_bits(&adm)], [Some(5), Some(1)]);
        assert_eq!(group_bits(b""), None);
    }
}
