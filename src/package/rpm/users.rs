//! The users and groups that a package declares by what it provides: `user(NAME) = BASE64`, where the
//! latter is a line of sysusers.d(5), padded with zero bytes. Specification: rpm-sysusers(7), since
//! rpm 4.19.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::header::Header;
use super::tag;

/// What stands before the name in what is provided.
const KINDS: [&[u8]; 3] = [b"user(", b"group(", b"groupmember("];
/// What is provided in exactly one version, of a dependency's flags.
const EQUAL: u64 = 1 << 3;
/// The letter `P` of what is provided, in the highest byte of the dictionary's entries.
const PROVIDES: u64 = 0x5000_0000;

/// What a package declares in one of its files, or outside of any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declarations {
    /// The path of the file.
    pub file: Option<Vec<u8>>,
    /// Lines of sysusers.d(5).
    pub lines: Vec<String>,
}

/// What a package declares, by file, in the header's order.
pub fn declarations(header: &Header) -> Vec<Declarations> {
    let names = header.texts(tag::PROVIDE_NAME);
    let versions = header.texts(tag::PROVIDE_VERSION).zip(header.numbers(tag::PROVIDE_FLAGS));
    let mut all: Vec<Declarations> = Vec::new();
    for (number, (name, (version, flags))) in (0_u64..).zip(names.zip(versions)) {
        if flags & EQUAL == 0 || !KINDS.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let Some(line) = decode(version) else { continue };
        let file = providing_file(header, number);
        match all.iter_mut().find(|known| known.file == file) {
            Some(known) => known.lines.push(line),
            None => all.push(Declarations { file, lines: vec![line] }),
        }
    }
    all
}

fn decode(version: &[u8]) -> Option<String> {
    let line = String::from_utf8(STANDARD.decode(version).ok()?).ok()?;
    let line = line.trim_end_matches('\0');
    let is_line = !line.is_empty() && !line.contains(['\0', '\n', '\r']);
    is_line.then(|| line.to_owned())
}

/// The file for which something is provided, if it is provided for one.
fn providing_file(header: &Header, provided: u64) -> Option<Vec<u8>> {
    let dictionary: Vec<u64> = header.numbers(tag::DEPENDS_DICTIONARY).collect();
    let starts = header.numbers(tag::FILE_DEPENDS_START);
    let counts = header.numbers(tag::FILE_DEPENDS_COUNT);
    let is_it = |(start, count): (u64, u64)| {
        let (start, count) = (usize::try_from(start).ok()?, usize::try_from(count).ok()?);
        let entries = dictionary.get(start..start.checked_add(count)?)?;
        let wanted = PROVIDES | provided;
        entries.contains(&wanted).then_some(())
    };
    let file = starts.zip(counts).position(|range| is_it(range).is_some())?;
    let folder = header.numbers(tag::DIRECTORY_INDEXES).nth(file)?;
    let folder = header.texts(tag::DIRECTORY_NAMES).nth(usize::try_from(folder).ok()?)?;
    Some([folder, header.texts(tag::BASE_NAMES).nth(file)?].concat())
}

#[cfg(test)]
mod tests {
    use super::super::archive::Head;
    use super::super::archive::builder::Builder;
    use super::*;

    fn declared(names: &[&str], versions: &[&str], flags: &[u32]) -> Vec<Declarations> {
        let mut builder = Builder::new("some")
            .file("/usr/lib/sysusers.d/a.conf", "")
            .file("/usr/lib/sysusers.d/b.conf", "");
        builder.texts(tag::PROVIDE_NAME, names);
        builder.texts(tag::PROVIDE_VERSION, versions);
        builder.words(tag::PROVIDE_FLAGS, flags);
        // The first file provides what stands at 1 and 3, the other what stands at 2.
        builder
            .words(tag::DEPENDS_DICTIONARY, &[0x5200_0002, 0x5000_0001, 0x5000_0003, 0x5000_0002]);
        builder.words(tag::FILE_DEPENDS_START, &[0, 3]);
        builder.words(tag::FILE_DEPENDS_COUNT, &[3, 1]);
        declarations(&Head::read(&mut &builder.bytes()[..]).unwrap().header)
    }

    #[test]
    fn lines_are_told_by_the_files_that_they_stand_in() {
        let (klang, klong, member) = ("ZyBrbGFuZyAt", "ZyBrbG9uZyAt", "bSBrbGFuZ2Qga2xvbmcA");
        let names =
            ["some", "group(klang)", "group(klong)", "groupmember(klangd/klong)", "user(x)"];
        let all = declared(&names, &["1-1", klang, klong, member, ""], &[8, 8, 1 << 15 | 8, 8, 0]);
        let of = |file: Option<&str>, lines: &[&str]| Declarations {
            file: file.map(|file| file.as_bytes().to_vec()),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        let a = of(Some("/usr/lib/sysusers.d/a.conf"), &["g klang -", "m klangd klong"]);
        assert_eq!(all, [a, of(Some("/usr/lib/sysusers.d/b.conf"), &["g klong -"])]);
        let names = ["user(a)", "b", "c", "d", "group(klang)"];
        let all = declared(&names, &["", "", "", "", klang], &[0, 0, 0, 0, 8]);
        assert_eq!(all, [of(None, &["g klang -"])]);
    }

    #[test]
    fn what_is_no_line_is_none() {
        // A version like any other, one that is no text, and two lines in one.
        for bad in ["1.0-1", "AA", "/v8=", "ZyBhIC0KZyBiIC0K", ""] {
            let all = declared(&["user(a)"; 5], &[bad; 5], &[8; 5]);
            assert_eq!(all, [], "{bad}");
        }
    }
}
