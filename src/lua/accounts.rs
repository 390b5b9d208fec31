//! Users and groups of the tree, as the C library would find them in its files.
//!
//! In: a name or a number; out: the fields of the line. Formats: passwd(5), group(5).

/// A line of one of the lists, its fields separated.
pub(super) type Line = Vec<Vec<u8>>;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// By what somebody is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Name(Vec<u8>),
    Number(u32),
}

/// The line of a user.
pub(super) fn user(key: &Key) -> Option<Line> {
    find(&fs_err::read(USERS).unwrap_or_default(), key, 7)
}

/// The line of a group.
pub(super) fn group(key: &Key) -> Option<Line> {
    find(&fs_err::read(GROUPS).unwrap_or_default(), key, 4)
}

/// The number of a line.
pub(super) fn number(line: &Line) -> Option<u32> {
    std::str::from_utf8(line.get(2)?).ok()?.parse().ok()
}

fn find(text: &[u8], key: &Key, fields: usize) -> Option<Line> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| -> Line {
        line.splitn(fields, |byte| *byte == b':').map(<[u8]>::to_vec).collect()
    });
    lines.find(|line| {
        let is_whole = line.len() == fields && number(line).is_some();
        is_whole
            && match key {
                Key::Name(name) => line.first() == Some(name),
                Key::Number(wanted) => number(line) == Some(*wanted),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number_and_broken_lines_are_passed_over() {
        let text = b"bad:x:7\nroot:x:0:0:root:/root:/bin/sh\nchrony:x:7:8::/var/lib:/x\n";
        let found = |key: Key| find(text, &key, 7).map(|line| number(&line));
        assert_eq!(found(Key::Name(b"chrony".to_vec())), Some(Some(7)));
        assert_eq!(found(Key::Number(0)), Some(Some(0)));
        assert_eq!(found(Key::Name(b"bad".to_vec())), None);
        assert_eq!(found(Key::Number(9)), None);
    }
}
