//! Debian's version order: ours against `dpkg --compare-versions`, on random pairs.

use std::cmp::Ordering;

use osbuilder::package::deb::version::Version;

use crate::judge;

/// Numbers from a fixed seed (SplitMix64), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    /// A version made of few characters, so that two are often nearly the same.
    fn version(&mut self) -> String {
        let mut text = ["", "", "0:", "1:"][self.below(4)].to_owned();
        text.push_str(["0", "1", "01", "10"][self.below(4)]);
        for _ in 0..self.below(6) {
            text.push_str(["0", "1", "a", "Z", ".", "+", "~", "-", "00"][self.below(9)]);
        }
        if self.below(2) == 0 {
            text.push('-');
            for _ in 0..=self.below(3) {
                text.push_str(["0", "1", "b", "~", "+", "."][self.below(6)]);
            }
        }
        text
    }

    /// Two versions, the second often the first with a small change.
    fn pair(&mut self) -> (String, String) {
        let first = self.version();
        let second = match self.below(3) {
            0 => self.version(),
            1 => format!("{first}{}", ["~", "0", "a", "+", ".1"][self.below(5)]),
            _ => first.replacen('1', ["01", "1~", "2", "0"][self.below(4)], 1),
        };
        (first, second)
    }
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    if judge::is_missing(&["dpkg"]) {
        return;
    }
    let mut numbers = Numbers(20_261_122);
    let pairs: Vec<_> = (0..700)
        .map(|_| numbers.pair())
        .filter(|(a, b)| Version::parse(a).is_ok() && Version::parse(b).is_ok())
        .collect();
    assert!(pairs.len() > 500, "{} pairs are too few", pairs.len());
    // One shell for all: it prints `<`, `=` or `>` for each pair of arguments.
    let script = "while [ $# -gt 0 ]; do
        if dpkg --compare-versions \"$1\" lt \"$2\"; then echo '<'
        elif dpkg --compare-versions \"$1\" eq \"$2\"; then echo '='
        else echo '>'; fi
        shift 2
    done";
    let texts = pairs.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]);
    let arguments: Vec<&str> = ["-c", script, "sh"].into_iter().chain(texts).collect();
    let answers = String::from_utf8(judge::run("sh", &arguments)).unwrap();
    assert_eq!(answers.lines().count(), pairs.len());
    for ((a, b), answer) in pairs.iter().zip(answers.lines()) {
        let ours = match Version::parse(a).unwrap().cmp(&Version::parse(b).unwrap()) {
            Ordering::Less => "<",
            Ordering::Equal => "=",
            Ordering::Greater => ">",
        };
        assert_eq!(ours, answer, "{a} and {b}");
    }
}

#[test]
fn what_dpkg_validates_is_accepted_and_nothing_else() {
    if judge::is_missing(&["dpkg"]) {
        return;
    }
    let mut numbers = Numbers(42);
    let parts = ["", "1", "a", ":", "-", "~", ".", "_", "é", "0", "99999999999", "/", "+"];
    let mut texts: Vec<String> = (0..200)
        .map(|_| (0..=numbers.below(4)).map(|_| parts[numbers.below(parts.len())]).collect())
        .collect();
    // dpkg takes the first for options, and reads a sign before the epoch, which we do not.
    texts.retain(|text: &String| !text.starts_with('-') && !text.starts_with('+'));
    let script = "for v; do dpkg --validate-version \"$v\" >/dev/null 2>&1; echo $?; done";
    let words = texts.iter().map(String::as_str);
    let arguments: Vec<&str> = ["-c", script, "sh"].into_iter().chain(words).collect();
    let answers = String::from_utf8(judge::run("sh", &arguments)).unwrap();
    assert_eq!(answers.lines().count(), texts.len());
    for (text, answer) in texts.iter().zip(answers.lines()) {
        assert_eq!(Version::parse(text).is_ok(), answer == "0", "{text:?}");
    }
}
