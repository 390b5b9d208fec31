//! Paths of files below a repository's root, as indexes and locks name them.
//!
//! They become part of a URL or of a path on a disk, and they come from others: so a path here
//! cannot leave the root, name another host, or mean something else once it is decoded.

/// Checks the path of a file below a repository's root, and returns it without a leading `./`.
///
/// Printable ASCII without white space; names joined by single slashes; no name is `.` or `..`,
/// also not after percent-decoding; nothing that starts a scheme, a query or a fragment.
///
/// # Errors
/// [`BadPath`] with the rule that is broken.
pub fn check(path: &str) -> Result<&str, BadPath> {
    let clean = path.strip_prefix("./").unwrap_or(path);
    let bad = |rule| BadPath { path: path.chars().take(120).collect(), rule };
    check_bytes(clean.as_bytes()).map_err(bad)?;
    let mut decoded = clean.as_bytes().to_vec();
    // A server may decode more than once.
    while decoded.contains(&b'%') {
        let next = decode_percent(&decoded);
        if next == decoded {
            break;
        }
        check_bytes(&next).map_err(bad)?;
        decoded = next;
    }
    Ok(clean)
}

fn check_bytes(path: &[u8]) -> Result<(), &'static str> {
    if path.len() > 1024 {
        return Err("it is longer than 1024 bytes");
    }
    if !path.iter().all(u8::is_ascii_graphic) {
        return Err("it holds white space, a control character or a letter beyond ASCII");
    }
    if path.iter().any(|b| b"?#\\".contains(b)) {
        return Err("it holds one of `? # \\`");
    }
    let mut names = path.split(|b| *b == b'/');
    if names.clone().next().is_some_and(|first| first.contains(&b':')) {
        return Err("it starts like a URL");
    }
    if names.any(|name| matches!(name, b"" | b"." | b"..")) {
        return Err("one of its names is empty, `.` or `..`");
    }
    Ok(())
}

/// Replaces each `%` and two hexadecimal digits by the byte that they name.
fn decode_percent(bytes: &[u8]) -> Vec<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let byte = match rest {
            [b'%', high, low, ..] => digit(high).zip(digit(low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { rest.get(3..).unwrap_or_default() } else { tail };
    }
    decoded
}

/// Why a path cannot be that of a file in a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not the path of a file in a repository: {rule}")]
pub struct BadPath {
    path: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_paths_cannot_leave_the_repository() {
        let good = [
            "pool/main/b/bash/bash_5.2.15-2+b8_amd64.deb",
            "a.deb",
            "pool/g++/1:2/x~rc1_%3a.deb",
            "pool/..a/b..",
            "100%",
            "%zz/%",
        ];
        for path in good {
            assert_eq!(check(path), Ok(path));
        }
        assert_eq!(check("./a_1_all.deb"), Ok("a_1_all.deb"));
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "../../x",
            "a/../b",
            "a/..",
            "..",
            ".",
            "././a",
            "a//b",
            "a/",
            "http://e/x",
            "http:x",
            "file:///x",
            "//host/x",
            "a\nb",
            "a b",
            "a\0",
            "é",
            "%2e%2e/x",
            "a/%2E./b",
            "%252e%252e/x",
            "a%2f..%2fb",
            "a%00",
            "a%0ab",
            "a?b",
            "a#b",
            "a\\b",
            "%3fx",
            "http%3a//x",
            "./",
            "./../x",
        ];
        for path in bad {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check(&"a".repeat(1025)).is_err());
    }
}
