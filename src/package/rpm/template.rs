//! Scripts that rpm fills in before it runs them: `%post -e` may hold macros, `%post -q` is a format for
//! queries of the header.
//!
//! In: the text of a script, and the package's header; out: the text as rpm runs it, or nothing where
//! that hangs on more than the package: most macros are those of the machine. What is filled in are
//! doubled signs, and in formats the values that identify a package. Specification: rpm's `lib/rpmscript.c`
//! (`rpmScriptNew`), rpm-macros(7), and `lib/headerfmt.c` for the formats.

use super::header::Header;
use super::tag;

/// rpm's bit of a script that holds macros.
const MACROS: u64 = 1;
/// rpm's bit of a script that is a format. Macros come first.
const FORMAT: u64 = 2;

/// The text that runs; none where something else would have to be filled in.
pub fn filled(text: &[u8], flags: u64, header: &Header) -> Option<Vec<u8>> {
    let mut text = text.to_vec();
    if flags & MACROS != 0 {
        text = replaced(&text, &|_| None)?;
    }
    if flags & FORMAT != 0 {
        // An expression, a loop over values, or a sign with a meaning of its own.
        if text.iter().any(|byte| b"\\[]".contains(byte)) {
            return None;
        }
        text = replaced(&text, &|name| value(name, header))?;
    }
    Some(text)
}

/// The text with one sign for two, and values for names in braces.
fn replaced(text: &[u8], value: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut done = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let (plain, behind) = rest.split_at_checked(at)?;
        done.extend(plain);
        rest = match behind.get(1..)? {
            [b'%', rest @ ..] => {
                done.push(b'%');
                rest
            }
            [b'{', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'}')?;
                done.extend(value(rest.get(..end)?)?);
                rest.get(end.saturating_add(1)..)?
            }
            _ => return None,
        };
    }
    done.extend(rest);
    Some(done)
}

/// A value of the header by the name of its tag.
fn value(name: &[u8], header: &Header) -> Option<Vec<u8>> {
    let tag = match name.to_ascii_uppercase().as_slice() {
        b"NAME" => tag::NAME,
        b"VERSION" => tag::VERSION,
        b"RELEASE" => tag::RELEASE,
        b"ARCH" => tag::ARCHITECTURE,
        _ => return None,
    };
    header.text(tag).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::archive::Head;
    use super::super::archive::builder::Builder;
    use super::*;

    #[test]
    fn what_the_package_says_itself_is_filled_in_and_nothing_else() {
        let bytes = Builder::new("some").bytes();
        let head = Head::read(&mut &bytes[..]).unwrap();
        for (flags, text, expected) in [
            (0, "date +%Y %{NAME} [", Some("date +%Y %{NAME} [")),
            (MACROS, "echo 100%%", Some("echo 100%")),
            (MACROS, "test -f x && [ 1 ]", Some("test -f x && [ 1 ]")),
            (MACROS, "echo %{_libdir}", None),
            (MACROS, "date +%Y", None),
            (MACROS, "echo %", None),
            (FORMAT, "echo %{NAME}-%{version}.%{Arch} 5%%", Some("echo some-1.noarch 5%")),
            (FORMAT, "echo %{NOSUCH}", None),
            (FORMAT, "echo %{NAME", None),
            (FORMAT, "echo %{NAME:shescape}", None),
            (FORMAT, "echo %10{NAME}", None),
            (FORMAT, "test [ 1 ]", None),
            (FORMAT, "echo 'a\\nb'", None),
            (MACROS | FORMAT, "echo %%{RELEASE} %%%%", Some("echo 1 %")),
        ] {
            let found = filled(text.as_bytes(), flags, &head.header);
            let found = found.map(|text| String::from_utf8(text).unwrap());
            assert_eq!(found.as_deref(), expected, "{flags} {text}");
        }
    }
}
