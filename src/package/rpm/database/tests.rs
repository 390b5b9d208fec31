//! What leads to a package, and both forms as rpm reads them.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]

use super::super::archive::Head;
use super::super::archive::builder::Builder;
use super::*;

const TRANSACTION: Transaction = Transaction { time: 1_700_000_000, color: 3 };

fn head(builder: &Builder) -> Head {
    Head::read(&mut &builder.bytes()[..]).unwrap()
}

/// A package with something for every index.
fn rich() -> Head {
    let mut builder = Builder::new("rich")
        .file("/usr/bin/rich", "1")
        .file("/etc/rich", "2")
        .requiring(&["/bin/sh", "(a and (b if c else d))", "rpmlib(RichDependencies)"]);
    builder.words(tag::REQUIRE_FLAGS, &[0, 0, 1 << 24]);
    builder.texts(tag::CONFLICT_NAME, &["(x unless y)"]);
    let [names, versions, flags, indexes, scripts, programs, ..] = tag::FILE_TRIGGERS;
    builder.texts(names, &["/usr/lib", "/etc", "/usr/lib"]);
    builder.texts(versions, &["", "", ""]);
    builder.words(flags, &[1 << 16; 3]);
    builder.words(indexes, &[1, 0, 0]);
    builder.texts(scripts, &["true", "false"]);
    builder.texts(programs, &["/bin/sh", "/bin/sh"]);
    builder.texts(tag::TRIGGER_NAME, &["one", "two", "one"]);
    head(&builder)
}

fn installed(head: &Head) -> Installed<'_> {
    Installed { signature: &head.signature, header: &head.header, states: &[0, 0] }
}

fn keys(head: &Head, name: &str) -> Vec<(u32, String)> {
    let table = TABLES.iter().find(|table| table.name == name).unwrap();
    let keys = table.keys(&installed(head), TRANSACTION).into_iter();
    keys.map(|(place, key)| (place, String::from_utf8_lossy(&key).into_owned())).collect()
}

#[test]
fn each_index_has_the_keys_that_rpm_gives_it() {
    let head = rich();
    let rows: [(&str, &[(u32, &str)]); 9] = [
        ("Name", &[(0, "rich")]),
        ("Basenames", &[(0, "rich"), (1, "rich")]),
        ("Dirnames", &[(0, "/etc/"), (1, "/usr/bin/")]),
        ("Group", &[(0, "Unknown")]),
        ("Triggername", &[(0, "one"), (1, "two")]),
        ("Filetriggername", &[(1, "/usr/lib"), (0, "/etc"), (0, "/usr/lib")]),
        (
            "Requirename",
            &[
                (0, "/bin/sh"),
                (1, "(a and (b if c else d))"),
                (1, "a"),
                (1, "b"),
                (1, "c"),
                (1, "d"),
                (1, "!c"),
            ],
        ),
        ("Conflictname", &[(0, "(x unless y)"), (0, "x"), (0, "!y")]),
        ("Sigmd5", &[]),
    ];
    for (table, expected) in rows {
        let expected: Vec<_> =
            expected.iter().map(|(place, key)| (*place, (*key).to_owned())).collect();
        assert_eq!(keys(&head, table), expected, "{table}");
    }
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The numbers of packages and places that a key leads to, found as rpm finds them.
fn look_up(index: &[u8], tag: u32, key: &[u8]) -> Vec<(u32, u32)> {
    let slot = (32..4096).step_by(16).find(|at| number(index, at + 4) == tag).unwrap();
    let table = &index[number(index, slot + 8) as usize * 4096..];
    assert_eq!((&table[..4], number(index, slot) >> 24), (&b"RpmI"[..], 0));
    let slots = number(table, 12);
    let (mask, keys) = (number(table, 24), 64 + 12 * slots as usize);
    let mut found = Vec::new();
    let hash = index::murmur(key);
    let (mut at, mut step) = (hash & (slots - 1), 7);
    loop {
        let slot = 64 + 8 * at as usize;
        let (own, value) = (number(table, slot), number(table, slot + 4));
        if own == 0 {
            return found;
        }
        let place = keys + (own & !mask) as usize;
        let start = if table[place] == 255 { 3 } else { 1 };
        let is_it = table[place + start..].starts_with(key) && (own ^ hash) & mask == 0;
        if is_it && (start == 3 || usize::from(table[place]) == key.len()) {
            let rest = number(table, 64 + 8 * slots as usize + 4 * at as usize);
            found.push(match value >> 30 {
                0 => (value & 0xf_ffff, value >> 20),
                1 => (value & 0xff_ffff, value >> 24 & 0x3f),
                _ => (rest, value & 0x7fff_ffff),
            });
        }
        (at, step) = (at.wrapping_add(step) & (slots - 1), step + 1);
    }
}

/// As many packages, and one that has everything.
fn many(count: usize) -> Vec<Head> {
    let mut heads = vec![rich()];
    for number in 0..count {
        let mut builder = Builder::new(&format!("p{number}"));
        let names: Vec<String> = (0..20).map(|at| format!("/usr/share/p{number}/{at}")).collect();
        for name in &names {
            builder = builder.file(name, "");
        }
        builder.texts(tag::OBSOLETE_NAME, &["", &"long".repeat(100)]);
        heads.push(head(&builder));
    }
    heads
}

#[test]
fn in_ndb_every_key_leads_to_its_packages_however_many_there_are() {
    for count in [0, 3, 300] {
        let heads = many(count);
        let packages: Vec<_> = heads.iter().map(installed).collect();
        let files = database(&packages, TRANSACTION, Format::Ndb).unwrap();
        let [("Packages.db", bytes), ("Index.db", index)] = &files[..] else { panic!("{count}") };
        assert_eq!((bytes.len() % 16, index.len() % 4096), (0, 0));
        assert_eq!(number(index, 20), number(bytes, 8), "the index is of these packages");
        for table in &TABLES {
            let mut expected = std::collections::BTreeMap::<Vec<u8>, Vec<(u32, u32)>>::new();
            for (number, package) in (1..).zip(&packages) {
                for (place, key) in table.keys(package, TRANSACTION) {
                    expected.entry(key).or_default().push((number, place));
                }
            }
            for (key, mut places) in expected {
                let mut found = look_up(index, table.tag, &key);
                found.sort_unstable();
                places.sort_unstable();
                assert_eq!(found, places, "{} {key:?}", table.name);
            }
            assert_eq!(look_up(index, table.tag, b"nobody"), []);
        }
    }
}

#[test]
fn in_ndb_packages_lie_in_blocks_of_their_own_with_a_checksum() {
    let heads = many(300);
    let packages: Vec<_> = heads.iter().map(installed).collect();
    let files = database(&packages, TRANSACTION, Format::Ndb).unwrap();
    let bytes = &files[0].1;
    assert_eq!(&bytes[..4], b"RpmP");
    let fields: Vec<u32> = (4..20).step_by(4).map(|at| number(bytes, at)).collect();
    assert_eq!(fields, [0, 302, 2, 302], "version, generation, pages of slots, next number");
    let mut end = 2 * 4096;
    for (number_of_it, head) in (1..).zip(&heads) {
        let slot = 32 + 16 * (number_of_it - 1);
        let at = number(bytes, slot + 8) as usize * 16;
        let length = number(bytes, slot + 12) as usize * 16;
        assert_eq!((&bytes[slot..slot + 4], at), (&b"Slot"[..], end));
        let blob = &bytes[at..at + length];
        assert_eq!((&blob[..4], &blob[length - 4..]), (&b"BlbS"[..], &b"BlbE"[..]));
        let of_it = u32::try_from(number_of_it).unwrap();
        assert_eq!([number(bytes, slot + 4), number(blob, 4), number(blob, 8)], [of_it; 3]);
        let header = super::blob(&installed(head), TRANSACTION);
        assert_eq!(&blob[16..16 + header.len()], header);
        assert_eq!(number(blob, 12), number(blob, length - 8));
        end = at + length;
    }
    assert_eq!(end, bytes.len());
    assert_eq!(ndb::adler32(b"Wikipedia"), 0x11e6_0398);
    let again = database(&packages, TRANSACTION, Format::Ndb).unwrap();
    assert_eq!(again, files);
}
