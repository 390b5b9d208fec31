//! Tables of UEFI that were changed, with right and with wrong checksums.

use super::{Entry, Gpt, Partition, Role, SECTOR, Table, halves, mbr, uuid_text};
use crate::digest::Digest;
use crate::distro::Architecture;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4 * MIB;

fn long_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn table() -> Gpt {
    let hash = Digest::of(b"root");
    let [root, tree] = halves(&hash);
    let entry = |role, uuid, start, end| {
        Entry::new(role, Architecture::Ppc64le, uuid, Partition::between(start, end))
    };
    let entries =
        vec![entry(Role::Root, root, MIB, 2 * MIB), entry(Role::Verity, tree, 2 * MIB, 3 * MIB)];
    Gpt { disk: [0xA5; 16], sectors: SIZE / SECTOR, entries }
}

fn disk(table: &Gpt) -> Vec<u8> {
    let (first, backup) = table.encode();
    let mut bytes = vec![0; usize::try_from(table.sectors * SECTOR).unwrap()];
    let end = bytes.len() - backup.len();
    bytes[..first.len()].copy_from_slice(&first);
    bytes[end..].copy_from_slice(&backup);
    bytes
}

/// Makes the checksums of both copies right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let last = bytes.len() - 512;
    for at in [512, last] {
        let entries = usize::try_from(long_at(&bytes[at..], 72)).unwrap() * 512;
        let entries = libdeflater::crc32(&bytes[entries..][..16384]);
        bytes[at + 88..at + 92].copy_from_slice(&entries.to_le_bytes());
        bytes[at + 16..at + 20].fill(0);
        let own = libdeflater::crc32(&bytes[at..at + 92]);
        bytes[at + 16..at + 20].copy_from_slice(&own.to_le_bytes());
    }
    bytes
}

fn why(bytes: &Vec<u8>) -> String {
    Table::read(bytes).unwrap_err().to_string()
}

#[test]
fn a_table_comes_back_and_names_the_two_halves_of_the_root_hash() {
    let table = table();
    let bytes = disk(&table);
    assert_eq!(sealed(bytes.clone()), bytes);
    assert_eq!(Table::read(&bytes).unwrap(), Table::Gpt(table.clone()));
    assert!(table.is_of(&Digest::of(b"root")) && !table.is_of(&Digest::of(b"other")));
    let hash = Digest::of(b"root").to_string();
    let texts: Vec<_> = table.entries.iter().map(|e| uuid_text(&e.uuid)).collect();
    assert_eq!(texts.concat().replace('-', ""), hash);
    assert_eq!(table.entries[1].name, "root-ppc64-le-verity");
    // The first partition's type, as its bytes stand on the disk.
    assert_eq!(bytes[1024..1032], [0xe6, 0x45, 0x1c, 0xc3, 0x39, 0x3f, 0x2e, 0x41]);
}

#[test]
fn a_changed_bit_anywhere_in_both_copies_is_noticed() {
    let good = disk(&table());
    let end = good.len();
    let used = 446..462;
    let places = used.chain(510..512).chain(512..1024 + 256).chain(end - 512..end - 420);
    for at in places.chain([1024 + 16000, end - 16384 - 512, end - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(Table::read(&bad).is_err(), "{at}");
    }
}

#[test]
fn tables_that_lie_with_right_checksums_are_refused_by_their_lie() {
    let in_both = |at: usize, value: &[u8]| {
        let mut bytes = disk(&table());
        let end = bytes.len();
        let copy = if at < 1024 { end - 1024 + at } else { end - 512 - 16384 + at - 1024 };
        for at in [at, copy] {
            bytes[at..at + value.len()].copy_from_slice(value);
        }
        why(&sealed(bytes))
    };
    let long = |value: u64| value.to_le_bytes();
    let cases = [
        (in_both(512, b"X"), "does not begin with \"EFI PART\""),
        (in_both(512 + 8, &[1]), "another revision"),
        (in_both(512 + 20, &[1]), "something where it has nothing"),
        (in_both(512 + 100, &[1]), "something where it has nothing"),
        (in_both(512 + 24, &long(7)), "another place or another size"),
        (in_both(512 + 80, &[127]), "other than 128 entries"),
        (in_both(512 + 40, &long(3)), "where the table is"),
        (in_both(512 + 48, &long(8191)), "where the table is"),
        (in_both(1024, &[0; 16]), "not in use and not empty"),
        (in_both(1024, &[7]), "the type c31c4507-3f39"),
        (in_both(1024 + 32, &long(0)), "overlaps with another or the table"),
        (in_both(1024 + 40, &long(5000)), "partition 2: it is empty or overlaps"),
        (in_both(1024 + 40, &long(5)), "it ends before it begins"),
        (in_both(1024 + 128 + 40, &long(1 << 40)), "it ends beyond the disk"),
        (in_both(1024 + 127, &[1]), "its name goes on behind its end"),
        (in_both(1024 + 512, &disk(&table())[1024..1152]), "not numbered from 1 on"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said} instead of {expected}");
    }
    let mut other = disk(&table());
    let end = other.len();
    other[end - 512 + 56] ^= 1;
    assert!(why(&sealed(other)).contains("does not say what the first says"));
    let other_order = Gpt { entries: table().entries.into_iter().rev().collect(), ..table() };
    assert!(why(&disk(&other_order)).contains("other than a root and its hash tree"));
}

#[test]
fn a_disk_that_was_cut_or_extended_is_noticed() {
    let good = disk(&table());
    assert!(why(&good[..good.len() - 512].to_vec()).contains("protects it on this disk"));
    let longer = [good.clone(), vec![0; 512]].concat();
    assert!(why(&longer).contains("protects it on this disk"));
    assert!(why(&good[..512 * 60].to_vec()).contains("too small"));
}

#[test]
fn f20_the_protecting_entry_ends_where_its_numbers_end() {
    let count =
        |sectors| u32::from_le_bytes(*mbr::protective(sectors)[458..].first_chunk().unwrap());
    assert_eq!(count(1 << 32), u32::MAX);
    assert_eq!(count(1 << 40), u32::MAX);
    assert_eq!(count(8192), 8191);
}
