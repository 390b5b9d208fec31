//! Databases of others, good and broken.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]

use super::super::super::archive::Head;
use super::super::super::archive::builder::Builder;
use super::super::{Format, Installed, Transaction, blob, database};
use super::*;

const TRANSACTION: Transaction = Transaction { time: 1_700_000_000, color: 3 };

/// Packages of different sizes: one has much more than a page.
fn heads(count: usize) -> Vec<Head> {
    let head = |number: usize| {
        let mut builder = Builder::new(&format!("p{number}"));
        if number % 3 == 1 {
            builder.words(tag::EPOCH, &[2]);
        }
        builder.text(tag::SOURCE_RPM, &"s".repeat(number * 700 % 20_000));
        Head::read(&mut &builder.bytes()[..]).unwrap()
    };
    (0..count).map(head).collect()
}

fn installed(head: &Head) -> Installed<'_> {
    Installed { signature: &head.signature, header: &head.header, states: &[] }
}

/// What a database of so many packages has to say.
fn expected(count: usize) -> Vec<Package> {
    let package = |number: usize| Package {
        name: format!("p{number}"),
        architecture: Some("noarch".to_owned()),
        version: if number % 3 == 1 { "2:1-1".to_owned() } else { "1-1".to_owned() },
        source: Some("s".repeat(number * 700 % 20_000)),
    };
    (0..count).map(package).collect()
}

fn written(count: usize, format: Format) -> Vec<u8> {
    let heads = heads(count);
    let packages: Vec<_> = heads.iter().map(installed).collect();
    database(&packages, TRANSACTION, format).unwrap().remove(0).1
}

/// A hash table of Berkeley DB, all in one bucket's pages.
fn berkeley(count: usize, is_swapped: bool) -> Vec<u8> {
    const PAGE: usize = 512;
    let word = |number: u32| match is_swapped {
        true => number.to_be_bytes(),
        false => number.to_le_bytes(),
    };
    let short = |number: usize| {
        let number = u16::try_from(number).unwrap();
        if is_swapped { number.to_be_bytes() } else { number.to_le_bytes() }
    };
    let mut pages = vec![vec![0; PAGE]];
    for (at, number) in [(12, HASH), (16, 9), (20, 512)] {
        pages[0][at..at + 4].copy_from_slice(&word(number));
    }
    pages[0][25] = 8;
    let blank = |number: usize, kind| {
        let mut page = vec![0; PAGE];
        page[8..12].copy_from_slice(&word(u32::try_from(number).unwrap()));
        page[25] = kind;
        page
    };
    let mut pairs = vec![(0, vec![1, 4, 0, 0, 0])];
    let heads = heads(count);
    let numbered = (1_u32..).zip(&heads);
    pairs.extend(
        numbered.map(|(number, head)| {
            (number, [&[1][..], &blob(&installed(head), TRANSACTION)].concat())
        }),
    );
    for (key, mut value) in pairs {
        let number = pages.len();
        let mut page = blank(number, if number % 2 == 0 { 2 } else { 13 });
        let mut far = Vec::new();
        if value.len() > 300 {
            let length = u32::try_from(value.len() - 1).unwrap();
            let parts: Vec<_> = value[1..].chunks(PAGE - 26).collect();
            for (at, part) in parts.iter().enumerate() {
                let mut page = blank(number + 1 + at, 7);
                let next = if at + 1 < parts.len() { number + 2 + at } else { 0 };
                page[16..20].copy_from_slice(&word(u32::try_from(next).unwrap()));
                page[22..24].copy_from_slice(&short(part.len()));
                page[26..26 + part.len()].copy_from_slice(part);
                far.push(page);
            }
            let first = word(u32::try_from(number + 1).unwrap());
            value = [&[3, 0, 0, 0][..], &first, &word(length)].concat();
        }
        let key = [&[1][..], &word(key)].concat();
        let (first, second) = (PAGE - key.len(), PAGE - key.len() - value.len());
        page[20..22].copy_from_slice(&short(2));
        page[26..28].copy_from_slice(&short(first));
        page[28..30].copy_from_slice(&short(second));
        page[first..].copy_from_slice(&key);
        page[second..first].copy_from_slice(&value);
        pages.push(page);
        pages.extend(far);
    }
    pages.concat()
}

const HASH: u32 = 0x0006_1561;

#[test]
fn every_form_says_which_packages_are_in_it() {
    for count in [0, 1, 40, 400] {
        for bytes in [
            written(count, Format::Sqlite),
            written(count, Format::Ndb),
            berkeley(count, false),
            berkeley(count, true),
        ] {
            assert_eq!(read(&bytes).unwrap(), expected(count));
        }
    }
}

#[test]
fn what_rpm_added_to_a_header_counts_and_a_package_without_a_name_is_none() {
    let mut builder = Builder::new("gpg-pubkey");
    builder.text(tag::VERSION, "c105b9de");
    let head = Head::read(&mut &builder.bytes()[..]).unwrap();
    let mut extra = super::super::Extra::default();
    extra.copy(&head.header, tag::VERSION, tag::RELEASE);
    let added = extra.behind(&head.header);
    assert_eq!(package(&added).unwrap().version, "c105b9de-c105b9de");
    let mut extra = super::super::Extra::default();
    extra.words(tag::NAME, &[1]);
    assert!(matches!(package(&extra.behind(&head.header)), Err(BadDatabase::Nameless)));
}

#[track_caller]
fn refused(bytes: &[u8], words: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

/// The same with other bytes at a place.
fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + other.len()].copy_from_slice(other);
    changed
}

#[test]
fn m7_numbers_in_ndb_that_lead_elsewhere_are_refused() {
    let good = written(3, Format::Ndb);
    let (slot, blob) = (32, 4096);
    assert!(read(&good).is_ok());
    for (at, other, words) in [
        (4, vec![1, 0, 0, 0], "a version of its own"),
        (12, vec![255; 4], "slots end early"),
        (slot, b"Slut".to_vec(), "a slot does not begin"),
        (slot + 8, vec![255; 4], "lies outside"),
        (slot + 12, vec![255; 4], "lies outside"),
        (slot + 12, vec![1, 0, 0, 0], "do"),
        (slot + 16, good[slot..slot + 16].to_vec(), "two packages lie in one block"),
        (slot + 4, vec![9, 0, 0, 0], "does not begin and end"),
        (blob + 12, vec![255; 4], "does not begin and end"),
        (blob + 20, vec![255; 4], "checksum"),
    ] {
        refused(&with(&good, at, &other), words);
    }
}

#[test]
fn m7_pages_of_berkeley_db_that_lead_elsewhere_are_refused() {
    let good = berkeley(3, false);
    assert!(read(&good).is_ok());
    // The second package is too long for a page: its entry is at the end of the page.
    let far = (1..).find(|number| good[512 * number + 26..].starts_with(&[251, 1, 239])).unwrap();
    let (page, entry) = (512 * far, 512 * (far + 1) - 17);
    assert_eq!(good[entry], 3);
    let first = (far + 1) * 512;
    for (at, other, words) in [
        (12, vec![0; 4], "no database of rpm's"),
        (16, vec![7, 0, 0, 0], "a version of its own"),
        (24, vec![1], "encrypted"),
        (26, vec![1], "checksums"),
        (20, vec![0, 3, 0, 0], "impossible size"),
        (page + 8, vec![77, 0, 0, 0], "another page's number"),
        (page + 20, vec![255, 255], "outside of its page"),
        (page + 26, vec![1, 0], "outside of its page"),
        (entry, vec![9], "no package under a number"),
        (entry, vec![4], "several packages under one number"),
        (entry + 4, vec![0, 0, 0, 0], "ends early"),
        (entry + 8, vec![255, 255, 255, 127], "ends early"),
        (first + 16, vec![u8::try_from(far + 1).unwrap(), 0, 0, 0], "belongs to two"),
        (first + 22, vec![255, 255], "ends early"),
    ] {
        refused(&with(&good, at, &other), words);
    }
}

/// Where the schema has the name of the table of packages: before it are rows of which nothing is left.
fn name_in_schema(bytes: &[u8]) -> usize {
    let kind = b"tablePackagesPackages";
    bytes.windows(kind.len()).rposition(|text| text == kind).unwrap() + 5
}

#[test]
fn m7_pages_of_sqlite_that_lead_elsewhere_are_refused() {
    let good = written(40, Format::Sqlite);
    assert!(read(&good).is_ok());
    let name = name_in_schema(&good);
    // The table's first page is an inner one, behind the names in the schema's row.
    let root = usize::from(good[name + 16]);
    let page = 4096 * (root - 1);
    assert_eq!(good[page], 5);
    for (at, other, words) in [
        (16, vec![0, 3], "impossible size"),
        (56, vec![0, 0, 0, 2], "UTF-8"),
        (name, b"P".repeat(8), "no table of packages"),
        (name + 16, vec![0], "a page lies outside"),
        (page, vec![10], "no known kind"),
        (page + 8, [0, 0, 0].into_iter().chain([good[name + 16]]).collect(), "belongs to two"),
        (page + 8, vec![255; 4], "lies outside"),
        (page + 12, vec![255, 255], "lies outside"),
    ] {
        refused(&with(&good, at, &other), words);
    }
}

#[test]
fn m7_rows_that_lie_over_each_other_take_no_memory() {
    // Two pages: the schema, and a leaf of which every cell is the same long row.
    let mut bytes = written(0, Format::Sqlite);
    let page = 4096 * (usize::from(bytes[name_in_schema(&bytes) + 16]) - 1);
    let cells = 1_900_usize;
    bytes[page..page + 5].copy_from_slice(&[13, 0, 0, 7, 108]);
    for cell in 0..cells {
        bytes[page + 8 + 2 * cell..page + 10 + 2 * cell].copy_from_slice(&[15, 0]);
    }
    // A row of 240 bytes, of which the second column takes nearly all.
    bytes[page + 3840..page + 3848].copy_from_slice(&[0x81, 0x70, 1, 4, 0, 0x83, 0x60, 0]);
    refused(&bytes, "longer than the file");
}

#[test]
fn m7_any_broken_byte_gives_an_error_or_packages() {
    for good in [written(4, Format::Ndb), berkeley(4, false), written(12, Format::Sqlite)] {
        for end in (0..good.len()).step_by(97) {
            drop(read(&good[..end]));
        }
        let is_telling = |at: &usize| good[*at] != 0 || at.is_multiple_of(61);
        for at in (0..good.len()).filter(is_telling).step_by(1 + good.len() / 1_000) {
            for other in [0, 255, good[at] ^ 1] {
                drop(read(&with(&good, at, &[other])));
            }
        }
    }
}
