//! Access control lists as the kernel keeps them in attributes: acl(5), and `posix_acl_xattr.h`.

use crate::configure::shell::Shell;

/// Lists for a file and, if it is a directory, for what will be made in it.
pub(super) struct Lists {
    pub(super) access: Option<Vec<u8>>,
    pub(super) default: Option<Vec<u8>>,
}

const USER: u16 = 1;
const NAMED_USER: u16 = 2;
const GROUP: u16 = 4;
const NAMED_GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
const NOBODY: u32 = u32::MAX;

/// Reads `d:group:adm:r-x,group::r-x`, added to what a file's mode says.
pub(super) fn lists(shell: &mut Shell<'_, '_>, text: &str, mode: u16) -> Option<Lists> {
    let (mut access, mut default) = (Vec::new(), Vec::new());
    for entry in text.split(',') {
        let (entry, list) = match entry.strip_prefix("d:").or(entry.strip_prefix("default:")) {
            Some(entry) => (entry, &mut default),
            None => (entry, &mut access),
        };
        let [who, name, bits] = entry.split(':').collect::<Vec<_>>().try_into().ok()?;
        let mut permission = 0;
        for bit in bits.chars() {
            permission |= match bit {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            };
        }
        let (tag, id) = match (who, name) {
            ("user" | "u", "") => (USER, NOBODY),
            ("group" | "g", "") => (GROUP, NOBODY),
            ("other" | "o", "") => (OTHER, NOBODY),
            ("user" | "u", name) => (NAMED_USER, shell.number_of("/etc/passwd", name)?),
            ("group" | "g", name) => (NAMED_GROUP, shell.number_of("/etc/group", name)?),
            _ => return None,
        };
        list.push((tag, id, permission));
    }
    let written = |list: Vec<_>| (!list.is_empty()).then(|| attribute(list, mode));
    Some(Lists { access: written(access), default: written(default) })
}

/// The bytes of an attribute; what an entry does not say is taken from the mode.
fn attribute(mut list: Vec<(u16, u32, u16)>, mode: u16) -> Vec<u8> {
    for (tag, bits) in [(USER, mode >> 6), (GROUP, mode >> 3), (OTHER, mode)] {
        if !list.iter().any(|(other, ..)| *other == tag) {
            list.push((tag, NOBODY, bits & 7));
        }
    }
    let masked = list.iter().filter(|(tag, ..)| [NAMED_USER, GROUP, NAMED_GROUP].contains(tag));
    let mask = masked.fold(0, |mask, (.., bits)| mask | bits);
    list.push((MASK, NOBODY, mask));
    list.sort_unstable();
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, id, bits) in list {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
