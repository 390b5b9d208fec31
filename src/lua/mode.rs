//! Permissions as text: `0644`, `rwxr-xr-x`, `u+x,go=r`, and how rpm shows them.
//!
//! In: the permissions that are there, and a text; out: the new ones. Specification: rpm-lua(7),
//! `posix.chmod` and `posix.umask`.

const LETTERS: &[u8; 9] = b"rwxrwxrwx";
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// Permissions after a change; none, if the text is not understood.
pub(super) fn changed(mode: u32, text: &str) -> Option<u32> {
    match text.bytes().next()? {
        b'r' | b'-' => of_letters(mode, text.as_bytes()),
        b'0'..=b'7' => u32::from_str_radix(text, 8).ok(),
        _ => text.split(',').try_fold(mode, clause),
    }
}

/// Nine letters. Where one is neither its place's nor a hyphen, nothing changes.
fn of_letters(mode: u32, text: &[u8]) -> Option<u32> {
    let mut mode = mode & !(SET_UID | SET_GID);
    for (place, letter) in LETTERS.iter().enumerate() {
        let bit = 0o400 >> place;
        match (text.get(place), place) {
            (Some(found), _) if found == letter => mode |= bit,
            (Some(b'-'), _) => mode &= !bit,
            (Some(b's'), 2) => mode |= SET_UID | bit,
            (Some(b's'), 5) => mode |= SET_GID | bit,
            (Some(b's'), _) => return None,
            _ => {}
        }
    }
    Some(mode)
}

/// `u+x`: whose bits, how, which.
fn clause(mode: u32, text: &str) -> Option<u32> {
    let text: String = text.chars().filter(|c| *c != ' ').collect();
    let at = text.find(['+', '-', '='])?;
    let (who, rest) = text.split_at(at);
    let mut affected = 0;
    for letter in who.chars() {
        affected |= match letter {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if affected == 0 {
        affected = 0o7777;
    }
    let mut letters = rest.chars();
    let operator = letters.next()?;
    let mut bits = 0;
    for letter in letters {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            _ => return None,
        };
    }
    // A clause without letters changes nothing.
    Some(match operator {
        _ if bits == 0 => mode,
        '+' => mode | bits & affected,
        '-' => mode & !(bits & affected),
        _ => bits & affected,
    })
}

/// Permissions as nine letters.
pub(super) fn letters(mode: u32) -> String {
    let mut text: Vec<char> = (0..9)
        .zip(LETTERS)
        .map(|(place, letter)| if mode & 0o400 >> place == 0 { '-' } else { char::from(*letter) })
        .collect();
    for (bit, place) in [(SET_UID, 2), (SET_GID, 5)] {
        if let Some(letter) = text.get_mut(place).filter(|_| mode & bit != 0) {
            *letter = if *letter == 'x' { 's' } else { 'S' };
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_changed_as_their_texts_say() {
        for (mode, text, expected) in [
            (0o100_755, "0600", Some(0o600)),
            (0o4755, "rw-r--r--", Some(0o644)),
            (0o755, "rwsr-sr-x", Some(0o6755)),
            (0o755, "rwxr-xr-s", None),
            (0o644, "u+x", Some(0o744)),
            (0o777, "go-w", Some(0o755)),
            (0o777, "g=r,o=", Some(0o040)),
            (0o644, "+x", Some(0o755)),
            (0o755, "u+s", Some(0o4755)),
            (0o755, "89", None),
            (0o755, "u?x", None),
            (0o755, "u+t", None),
            (0o755, "", None),
        ] {
            assert_eq!(changed(mode, text), expected, "{mode:o} {text}");
        }
        assert_eq!(letters(0o6754), "rwsr-sr--");
        assert_eq!(letters(0o4644), "rwSr--r--");
    }
}
