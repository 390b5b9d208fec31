//! Numbers of users and groups by their names, as `/etc/passwd` and `/etc/group` have them.
//!
//! In: the texts of both files, which scripts may have changed; out: numbers. A line that is none is
//! passed over, as any C library does; of several with one name the first counts. Formats: passwd(5),
//! group(5).

use std::collections::BTreeMap;

/// The numbers by the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    users: BTreeMap<Vec<u8>, u32>,
    groups: BTreeMap<Vec<u8>, u32>,
}

impl Names {
    /// Reads both files.
    pub(super) fn read(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: numbers(passwd), groups: numbers(group) }
    }

    /// The number of a user; `otherwise`, if nobody has the name.
    pub(super) fn user(&self, name: &[u8], otherwise: u32) -> u32 {
        self.users.get(name).copied().unwrap_or(otherwise)
    }

    /// The number of a group; `otherwise`, if none has the name.
    pub(super) fn group(&self, name: &[u8], otherwise: u32) -> u32 {
        self.groups.get(name).copied().unwrap_or(otherwise)
    }
}

/// In both files the name is the first field and the number the third.
fn numbers(text: &[u8]) -> BTreeMap<Vec<u8>, u32> {
    let mut numbers = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
            && let Some(number) = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok())
            && !name.is_empty()
        {
            numbers.entry(name.to_vec()).or_insert(number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name_and_nonsense_is_passed_over() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nchrony:x:100:101::/:/x\nchrony:x:7:7::/:/x\n\
                       bad\n:x:5:5::/:\nneg:x:-1:0::/:\n\xff\xfe:x:9:9::/:";
        let names = Names::read(passwd, b"chrony:x:101:\n");
        assert_eq!((names.user(b"chrony", 1), names.group(b"chrony", 1)), (100, 101));
        assert_eq!((names.user(b"root", 1), names.user(b"\xff\xfe", 1)), (0, 9));
        for unknown in [&b"bad"[..], b"", b"neg", b"nobody"] {
            assert_eq!(names.user(unknown, 42), 42);
        }
    }
}
