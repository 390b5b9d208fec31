//! Alpine's version order: ours against the vectors of apk-tools' own tests.

use osbuilder::package::apk::relation;
use osbuilder::package::apk::version::Version;

use crate::judge;

/// Vectors that compare what apk itself, asked for it, calls no version; here it is none anywhere.
const NO_VERSIONS: [&str; 4] =
    ["23_foo > 4_beta", "1.0 < 1.0bc", "3.6.9_post1 ~ 3.6", "3.6.9_post1 !~ 3.8"];

/// What one line of the vectors came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    NoVersion,
    Broken,
}

/// `A op B`, `VERSION`, or `!NO VERSION`.
fn judge(line: &str) -> Outcome {
    let held = |held: bool| if held { Outcome::Held } else { Outcome::Broken };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (a, operator, b) = match words.as_slice() {
        [one] => {
            let (text, good) = one.strip_prefix('!').map_or((*one, true), |bad| (bad, false));
            return held(Version::parse(text).is_ok() == good);
        }
        [a, operator, b] => (a, operator, b),
        _ => return Outcome::Broken,
    };
    let (Ok(version), Ok(_)) = (Version::parse(a), Version::parse(b)) else {
        return Outcome::NoVersion;
    };
    let (operator, expected) = match operator.strip_prefix('!') {
        Some(operator) => (operator, false),
        None => (*operator, true),
    };
    let entry = format!("x{operator}{b}");
    let relation = relation::parse_one(&entry).unwrap();
    held(relation.allows(Some(version), None) == expected)
}

#[test]
fn versions_are_ordered_as_apk_s_own_tests_say() {
    let Some(folder) = judge::data("conformance/apk-tools") else { return };
    let mut counts = Vec::new();
    for file in ["test/version.data", "v3/test/unit/version.data"] {
        let text = fs_err::read_to_string(folder.join(file)).unwrap();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let outcomes: Vec<_> = lines.iter().map(|line| (judge(line), *line)).collect();
        let broken: Vec<_> = outcomes.iter().filter(|(o, _)| *o == Outcome::Broken).collect();
        assert!(broken.is_empty(), "{file}: {broken:#?}");
        let none: Vec<_> = outcomes.iter().filter(|(o, _)| *o == Outcome::NoVersion).collect();
        assert!(none.iter().all(|(_, line)| NO_VERSIONS.contains(line)), "{file}: {none:#?}");
        counts.push((lines.len(), none.len()));
    }
    // Lines, and those of them that compare no versions.
    assert_eq!(counts, [(733, 2), (785, 4)]);
}
