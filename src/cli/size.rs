//! Numbers of bytes as people read them, in decimal units as disks and networks are sold.

/// Writes a number of bytes with at most one digit after the point: `999 B`, `1.5 MB`.
pub(super) fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    match tenths {
        0..1000 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (99_999, "99.9 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (134_217_728, "134 MB"),
            (u64::MAX, "18446 PB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(in_words(bytes), text);
        }
    }
}
