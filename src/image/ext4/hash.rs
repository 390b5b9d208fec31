//! The hash by which ext4 finds a name in a large directory: half of MD4.
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/directory.html#hash-tree-directories>
//! (`DX_HASH_HALF_MD4_UNSIGNED`), with the steps of MD4 from RFC 1320 on eight words instead of
//! sixteen. `debugfs -R "dx_hash"` is the judge.

/// A name's place in the order of a directory: its hash, and what decides between equal ones.
pub(super) type Place = (u32, u32);

/// Hashes `name` under `seed`. The lowest bit of the hash is always clear.
pub(super) fn half_md4(name: &[u8], seed: [u32; 4]) -> Place {
    let mut state = seed;
    for (index, _) in name.iter().enumerate().step_by(32) {
        state = transform(state, words(&name[index..]));
    }
    let hash = state[1] & !1;
    // The largest value marks the end of a directory and cannot be a hash.
    (if hash == 0xFFFF_FFFE { 0xFFFF_FFFC } else { hash }, state[2])
}

/// The next 32 bytes of a name as eight big-endian words; what is missing is filled with the
/// length of the rest, in each byte.
fn words(rest: &[u8]) -> [u32; 8] {
    let length = u8::try_from(rest.len()).expect("names are at most 255 bytes long");
    let padding = u32::from_be_bytes([length; 4]);
    let mut words = [padding; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(padding, |word, &byte| word << 8 | u32::from(byte));
    }
    words
}

type Mix = fn(u32, u32, u32) -> u32;

/// The three rounds: mixing function, constant, order of words, rotations.
const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
    (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
    (
        |x, y, z| (x & y).wrapping_add((x ^ y) & z),
        0x5A82_7999,
        [1, 3, 5, 7, 0, 2, 4, 6],
        [3, 5, 9, 13],
    ),
    (|x, y, z| x ^ y ^ z, 0x6ED9_EBA1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
];

fn transform(state: [u32; 4], words: [u32; 8]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = state;
    for (mix, constant, order, rotations) in ROUNDS {
        for (&index, &rotation) in order.iter().zip(rotations.iter().cycle()) {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(words[index]);
            let turned = sum.wrapping_add(constant).rotate_left(rotation);
            (a, b, c, d) = (d, turned, b, c);
        }
    }
    let mixed = [a, b, c, d];
    std::array::from_fn(|index| state[index].wrapping_add(mixed[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from `debugfs -R "dx_hash -h half_md4 -s UUID NAME"` of e2fsprogs 1.47, which
    /// hashes signed bytes: the same for names in ASCII.
    #[test]
    fn hashes_equal_those_of_debugfs() {
        let seed = [0x0302_0100, 0x0706_0504, 0x0B0A_0908, 0x0F0E_0D0C];
        let (exact, over, longest) = ("x".repeat(32), "x".repeat(33), "a".repeat(255));
        let cases = [
            ("a", (0x0A2F_A3A0, 0x6B8E_D956)),
            ("abcd", (0xC6BA_441A, 0x5F13_4AE9)),
            ("libc.so.6", (0x490D_4B2E, 0x5FC6_8A6A)),
            (&exact, (0x69BC_108C, 0xFA99_93FA)),
            (&over, (0x0121_0264, 0x3838_7C20)),
            (&longest, (0xFEC6_3AC2, 0x68AB_3C78)),
        ];
        for (name, place) in cases {
            assert_eq!(half_md4(name.as_bytes(), seed), place, "{name}");
        }
    }
}
