//! Extended attributes: in the inode, or in a block of their own with large values behind it.
//!
//! A name's prefix is a flag on disk. Access control lists have a form of their own there and names
//! that no one else may use.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_da_format.h` (`xfs_attr_sf_hdr`, `xfs_attr_leafblock`),
//! `xfs_attr_remote.h`, `xfs_format.h` (`struct xfs_acl`).

use std::collections::BTreeMap;

use super::format::{BLOCK, PAYLOAD, field, hash, magic, narrow, put, wide};

/// Attributes of an inode take at most this much there: the rest is for the data.
const LOCAL_MAX: usize = 208;
/// Where the entries of a leaf begin.
pub(super) const ENTRIES_AT: usize = 80;
/// The value stands beside the name.
pub(super) const IN_LEAF: u8 = 1;
pub(super) const TRUSTED: u8 = 2;
const SECURITY: u8 = 4;
/// Longer values do not stand beside their name.
const VALUE_IN_LEAF_MAX: usize = 3000;
pub(super) const VALUE_MAX: usize = 65_536;
/// What the log would be asked about a value that never went through it.
const NO_SEQUENCE: [u8; 8] = [0xFF; 8];

pub(super) const LISTS: [(&[u8], &[u8]); 2] = [
    (b"system.posix_acl_access", b"SGI_ACL_FILE"),
    (b"system.posix_acl_default", b"SGI_ACL_DEFAULT"),
];
pub(super) const PREFIXES: [(&[u8], u8); 3] =
    [(b"user.", 0), (b"trusted.", TRUSTED), (b"security.", SECURITY)];

/// All attributes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Form {
    #[default]
    None,
    /// What stands in the inode.
    Local(Vec<u8>),
    /// The leaf and the values behind it, one block after the other.
    Blocks(Vec<Vec<u8>>),
}

/// An attribute as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    name: Vec<u8>,
    flags: u8,
    value: Vec<u8>,
}

/// Gives the attributes of a file their form; or the rule that they exceed.
pub(super) fn build(attributes: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Form, String> {
    let all: Vec<Attribute> =
        attributes.iter().map(|(name, value)| to_disk(name, value)).collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Ok(Form::None);
    }
    let size: usize = all.iter().map(|it| 3 + it.name.len() + it.value.len()).sum();
    let is_short = all.iter().all(|it| it.value.len() < 256) && all.len() < 256;
    if is_short && 4 + size <= LOCAL_MAX {
        return Ok(Form::Local(in_inode(&all, 4 + size)));
    }
    in_blocks(all).map(Form::Blocks)
}

fn to_disk(name: &[u8], value: &[u8]) -> Result<Attribute, String> {
    let shown = crate::tree::escape(name);
    let attribute = if let Some((_, own)) = LISTS.iter().find(|(full, _)| *full == name) {
        let list = list_to_disk(value).ok_or_else(|| format!("{shown} is malformed"))?;
        Attribute { name: own.to_vec(), flags: TRUSTED, value: list }
    } else {
        let prefix = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
        let (prefix, flags) =
            prefix.ok_or_else(|| format!("the attribute {shown} is of no kind"))?;
        let name = name[prefix.len()..].to_vec();
        Attribute { name, flags: *flags, value: value.to_vec() }
    };
    let is_taken = LISTS.iter().any(|(full, own)| attribute.name == *own && name != *full);
    if is_taken && attribute.flags == TRUSTED {
        return Err(format!("the attribute {shown} has the name of an access control list"));
    }
    if attribute.name.is_empty() || attribute.name.len() > 255 {
        return Err(format!("the attribute {shown} has a name of 0 or more than 255 bytes"));
    }
    if attribute.value.len() > VALUE_MAX {
        return Err(format!("the attribute {shown} has more than {VALUE_MAX} bytes"));
    }
    Ok(attribute)
}

fn in_inode(all: &[Attribute], size: usize) -> Vec<u8> {
    let mut bytes = narrow::<u16>(wide(size)).to_be_bytes().to_vec();
    bytes.extend([narrow(wide(all.len())), 0]);
    for Attribute { name, flags, value } in all {
        bytes.extend([narrow(wide(name.len())), narrow(wide(value.len())), *flags]);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Bytes of a name in a leaf, with its value or with the place of that; then two are left unused.
fn name_size(attribute: &Attribute, is_in_leaf: bool) -> usize {
    let rest = if is_in_leaf { 3 + attribute.value.len() } else { 11 };
    (attribute.name.len() + rest).next_multiple_of(4)
}

fn in_blocks(mut all: Vec<Attribute>) -> Result<Vec<Vec<u8>>, String> {
    all.sort_by_key(|attribute| hash(&attribute.name));
    let mut is_in_leaf: Vec<bool> =
        all.iter().map(|attribute| attribute.value.len() <= VALUE_IN_LEAF_MAX).collect();
    let size = |is_in_leaf: &[bool]| -> usize {
        let names = all.iter().zip(is_in_leaf).map(|(it, inside)| 8 + name_size(it, *inside));
        ENTRIES_AT + names.sum::<usize>()
    };
    while size(&is_in_leaf) > BLOCK {
        let candidates = (0..all.len()).filter(|&index| is_in_leaf[index]);
        let largest = candidates.max_by_key(|&index| all[index].value.len());
        match largest.filter(|&index| all[index].value.len() > 8) {
            Some(index) => is_in_leaf[index] = false,
            None => return Err("its attributes take more than a block of 4096 bytes".to_owned()),
        }
    }
    Ok(leaf_and_values(&all, &is_in_leaf))
}

fn leaf_and_values(all: &[Attribute], is_in_leaf: &[bool]) -> Vec<Vec<u8>> {
    let mut leaf = vec![0; BLOCK];
    put(&mut leaf, 8, magic::ATTRIBUTE_LEAF);
    let (mut blocks, mut at) = (Vec::new(), BLOCK);
    for (index, (attribute, inside)) in all.iter().zip(is_in_leaf).enumerate() {
        let Attribute { name, flags, value } = attribute;
        at -= name_size(attribute, *inside);
        let entry = ENTRIES_AT + 8 * index;
        put(&mut leaf, entry, hash(name).to_be_bytes());
        put(&mut leaf, entry + 4, narrow::<u16>(wide(at)).to_be_bytes());
        let length = [narrow::<u8>(wide(name.len()))];
        if *inside {
            leaf[entry + 6] = flags | IN_LEAF;
            put(&mut leaf, at, narrow::<u16>(wide(value.len())).to_be_bytes());
            put(&mut leaf, at + 2, length);
            leaf[at + 3..][..name.len()].copy_from_slice(name);
            leaf[at + 3 + name.len()..][..value.len()].copy_from_slice(value);
        } else {
            leaf[entry + 6] = *flags;
            put(&mut leaf, at, narrow::<u32>(wide(1 + blocks.len())).to_be_bytes());
            put(&mut leaf, at + 4, narrow::<u32>(wide(value.len())).to_be_bytes());
            put(&mut leaf, at + 8, length);
            leaf[at + 9..][..name.len()].copy_from_slice(name);
            blocks.extend(value_blocks(value));
        }
    }
    let entries_end = ENTRIES_AT + 8 * all.len();
    let counts = [all.len(), BLOCK - at, at];
    for (index, count) in counts.into_iter().enumerate() {
        put(&mut leaf, 56 + 2 * index, narrow::<u16>(wide(count)).to_be_bytes());
    }
    put(&mut leaf, 64, narrow::<u16>(wide(entries_end)).to_be_bytes());
    put(&mut leaf, 66, narrow::<u16>(wide(at - entries_end)).to_be_bytes());
    blocks.insert(0, leaf);
    blocks
}

fn value_blocks(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    value.chunks(PAYLOAD).enumerate().map(|(index, part)| {
        let mut block = vec![0; BLOCK];
        put(&mut block, 0, magic::VALUE);
        put(&mut block, 4, narrow::<u32>(wide(index * PAYLOAD)).to_be_bytes());
        put(&mut block, 8, narrow::<u32>(wide(part.len())).to_be_bytes());
        put(&mut block, 48, NO_SEQUENCE);
        block[BLOCK - PAYLOAD..][..part.len()].copy_from_slice(part);
        block
    })
}

/// The form of access control lists that the kernel shows, turned into that on disk; `None` when it
/// is malformed.
fn list_to_disk(value: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes: &[u8], at| field(bytes, at).map(u32::from_le_bytes);
    if number(value, 0)? != 2 {
        return None;
    }
    let (entries, []) = value.get(4..)?.as_chunks::<8>() else { return None };
    let mut disk = narrow::<u32>(wide(entries.len())).to_be_bytes().to_vec();
    for entry in entries {
        let half = |at| field(entry, at).map(u16::from_le_bytes);
        disk.extend(u32::from(half(0)?).to_be_bytes());
        disk.extend(number(entry, 4)?.to_be_bytes());
        disk.extend(half(2)?.to_be_bytes());
        disk.extend([0, 0]);
    }
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::super::attribute_reader::{read_blocks, read_local};
    use super::*;

    fn read(form: &Form) -> BTreeMap<Vec<u8>, Vec<u8>> {
        match form {
            Form::None => BTreeMap::new(),
            Form::Local(bytes) => read_local(bytes).unwrap(),
            Form::Blocks(blocks) => {
                let mut block = |at: u64| Ok::<_, &'static str>(blocks[at as usize].clone());
                read_blocks(&mut block).unwrap()
            }
        }
    }

    /// user::rw-, user:7:r--, as the kernel shows it.
    fn list() -> Vec<u8> {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [(1_u16, 6_u16, u32::MAX), (2, 4, 7)] {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn attributes_come_back_from_each_form() {
        let cases: [&[(&str, usize)]; 5] = [
            &[],
            &[("user.a", 3), ("security.capability", 20), ("trusted.b", 0)],
            &[("user.a", 300), ("security.selinux", 40)],
            &[("user.a", 65_536), ("user.b", 100), ("trusted.c", 4041)],
            &[("user.a", 2000), ("user.b", 2000), ("user.c", 2000)],
        ];
        for case in cases {
            let pair = |(name, size): &(&str, usize)| (name.as_bytes().to_vec(), vec![7; *size]);
            let mut attributes: BTreeMap<_, _> = case.iter().map(pair).collect();
            attributes.insert(b"system.posix_acl_access".to_vec(), list());
            assert_eq!(read(&build(&attributes).unwrap()), attributes, "{case:?}");
        }
    }

    #[test]
    fn f20_attributes_that_xfs_cannot_hold_are_refused() {
        let refused = |pairs: &[(String, usize)]| {
            let pair = |(name, size): &(String, usize)| (name.as_bytes().to_vec(), vec![7; *size]);
            build(&pairs.iter().map(pair).collect()).err().unwrap_or_default()
        };
        let one = |name: &str, size| refused(&[(name.to_owned(), size)]);
        assert_eq!(one("user.a", 65_536), "");
        assert!(one("user.a", 65_537).contains("more than 65536 bytes"));
        assert_eq!(one(&format!("user.{}", "a".repeat(255)), 1), "");
        assert!(one(&format!("user.{}", "a".repeat(256)), 1).contains("more than 255 bytes"));
        assert!(one("other.a", 1).contains("is of no kind"));
        assert!(one("trusted.SGI_ACL_FILE", 1).contains("access control list"));
        assert!(one("system.posix_acl_access", 5).contains("malformed"));
        let many: Vec<_> = (0..20).map(|n| (format!("user.{n:0250}"), 1)).collect();
        assert!(refused(&many).contains("more than a block"));
        assert_eq!(refused(&many[..12]), "");
    }
}
