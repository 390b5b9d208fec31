//! The users and groups that a package declares by what it provides: `user(NAME) = BASE64`, where the
//! latter is a line of sysusers.d(5), padded with zero bytes. Specification: rpm-sysusers(7), since
//! rpm 4.19.

use std::collections::BTreeMap;

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
    let lines = lines(header);
    if lines.is_empty() {
        return Vec::new();
    }
    let files = providing_files(header, &lines);
    // The lines of each file, and the first one's number.
    let mut by_file: BTreeMap<Option<usize>, (u64, Vec<String>)> = BTreeMap::new();
    for (number, line) in lines {
        let file = files.get(&number).copied();
        by_file.entry(file).or_insert((number, Vec::new())).1.push(line);
    }
    let mut all: Vec<_> = by_file.into_iter().collect();
    all.sort_by_key(|(_, (first, _))| *first);
    let folders: Vec<&[u8]> = header.texts(tag::DIRECTORY_NAMES).collect();
    let folder_of: Vec<u64> = header.numbers(tag::DIRECTORY_INDEXES).collect();
    let names: Vec<&[u8]> = header.texts(tag::BASE_NAMES).collect();
    let path = |file: usize| {
        let folder = folders.get(usize::try_from(*folder_of.get(file)?).ok()?)?;
        Some([*folder, *names.get(file)?].concat())
    };
    let all = all.into_iter();
    all.map(|(file, (_, lines))| Declarations { file: file.and_then(path), lines }).collect()
}

/// The lines of a package, by the number that each has among what is provided.
fn lines(header: &Header) -> BTreeMap<u64, String> {
    let names = header.texts(tag::PROVIDE_NAME);
    let versions = header.texts(tag::PROVIDE_VERSION).zip(header.numbers(tag::PROVIDE_FLAGS));
    let mut lines = BTreeMap::new();
    for (number, (name, (version, flags))) in (0..).zip(names.zip(versions)) {
        if flags & EQUAL != 0 && KINDS.iter().any(|kind| name.starts_with(kind)) {
            lines.extend(decode(version).map(|line| (number, line)));
        }
    }
    lines
}

fn decode(version: &[u8]) -> Option<String> {
    let line = String::from_utf8(STANDARD.decode(version).ok()?).ok()?;
    let line = line.trim_end_matches('\0');
    let is_line = !line.is_empty() && !line.contains(['\0', '\n', '\r']);
    is_line.then(|| line.to_owned())
}

/// The number of the file for which each line is provided, if it is provided for one.
fn providing_files(header: &Header, lines: &BTreeMap<u64, String>) -> BTreeMap<u64, usize> {
    let dictionary: Vec<u64> = header.numbers(tag::DEPENDS_DICTIONARY).collect();
    let starts = header.numbers(tag::FILE_DEPENDS_START);
    let counts = header.numbers(tag::FILE_DEPENDS_COUNT);
    let mut files = BTreeMap::new();
    let mut unread = dictionary.len();
    for (file, range) in starts.zip(counts).enumerate() {
        let Some(entries) = part(&dictionary, range) else { continue };
        // To rpm each file has a part of its own. Were parts to overlap at will, the whole
        // dictionary could be read for every file; so what goes beyond its length is ignored.
        let Some(rest) = unread.checked_sub(entries.len()) else { break };
        unread = rest;
        let provided = entries.iter().filter_map(|entry| entry.checked_sub(PROVIDES));
        for number in provided.filter(|number| lines.contains_key(number)) {
            files.entry(number).or_insert(file);
        }
    }
    files
}

/// The part of a dictionary with this start and length.
fn part(dictionary: &[u64], (start, count): (u64, u64)) -> Option<&[u64]> {
    let (start, count) = (usize::try_from(start).ok()?, usize::try_from(count).ok()?);
    dictionary.get(start..start.checked_add(count)?)
}

#[cfg(test)]
mod tests {
    use super::super::archive::Head;
    use super::super::archive::builder::Builder;
    use super::*;

    fn declared(names: &[&str], versions: &[&str], flags: &[u32]) -> Vec<Declarations> {
        // The first file provides what stands at 1 and 3, the other what stands at 2.
        declared_in([[0, 3], [3, 1]], names, versions, flags)
    }

    /// As [`declared`], where the two files have these starts and lengths.
    fn declared_in(
        ranges: [[u32; 2]; 2],
        names: &[&str],
        versions: &[&str],
        flags: &[u32],
    ) -> Vec<Declarations> {
        let mut builder = Builder::new("some")
            .file("/usr/lib/sysusers.d/a.conf", "")
            .file("/usr/lib/sysusers.d/b.conf", "");
        builder.texts(tag::PROVIDE_NAME, names);
        builder.texts(tag::PROVIDE_VERSION, versions);
        builder.words(tag::PROVIDE_FLAGS, flags);
        builder
            .words(tag::DEPENDS_DICTIONARY, &[0x5200_0002, 0x5000_0001, 0x5000_0003, 0x5000_0002]);
        builder.words(tag::FILE_DEPENDS_START, &ranges.map(|[start, _]| start));
        builder.words(tag::FILE_DEPENDS_COUNT, &ranges.map(|[_, count]| count));
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
    fn files_that_have_more_of_the_dictionary_than_there_is_are_ignored() {
        let line = "ZyBrbGFuZyAt";
        let files = |ranges| -> Vec<(Option<u8>, usize)> {
            let all = declared_in(ranges, &["group(klang)"; 4], &[line; 4], &[0, 8, 8, 8]);
            // Of a file's path, the letter of its name.
            let letter = |path: Vec<u8>| path.iter().rev().nth(5).copied();
            all.into_iter().map(|one| (one.file.and_then(letter), one.lines.len())).collect()
        };
        let (a, b) = (Some(b'a'), Some(b'b'));
        assert_eq!(files([[0, 3], [3, 1]]), [(a, 2), (b, 1)]);
        assert_eq!(files([[0, 2], [2, 2]]), [(a, 1), (b, 2)]);
        // Both have what stands at 3: it is the first one's.
        assert_eq!(files([[2, 1], [2, 2]]), [(None, 1), (b, 1), (a, 1)]);
        // Together one more than there is; beyond its end; without an end.
        for other in [[2, 2], [3, 2], [1, u32::MAX]] {
            assert_eq!(files([[0, 3], other]), [(a, 2), (None, 1)], "{other:?}");
        }
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
