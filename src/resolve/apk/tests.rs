//! Worlds of a few packages in a few lines, and what is chosen from them.

use super::*;
use crate::package::apk::checksum::Checksum;
use crate::package::apk::index::Index;
use crate::package::apk::relation;

/// An index from lines such as `a 1 D:b>1 p:c=2 k:5`; `&` stands for a blank.
fn index(lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let identity = Checksum::sha1(line.as_bytes()).unwrap();
        text.push_str(&format!("C:{identity}\nP:{name}\nV:{version}\nS:1\nI:1\n"));
        words.for_each(|word| text.push_str(&format!("{}\n", word.replace('&', " "))));
        text.push('\n');
    }
    text
}

fn chosen_from(repositories: &[(&str, Option<&str>)], asked: &str) -> Result<String, String> {
    let texts: Vec<_> = repositories.iter().map(|(lines, _)| index(lines)).collect();
    let indexes: Vec<_> = texts.iter().map(|t| Index::parse(t.as_bytes()).unwrap()).collect();
    let offers: Vec<_> = repositories
        .iter()
        .zip(&indexes)
        .map(|((_, tag), index)| Offer { name: "test", tag: *tag, index })
        .collect();
    let words = asked.split(' ').filter(|word| !word.is_empty());
    let asked: Vec<_> = words.map(|word| relation::parse_tagged(word).unwrap()).collect();
    let request = Request { architecture: "x86_64", asked: &asked };
    match choose(&request, &offers) {
        Ok(chosen) => {
            let shown: Vec<_> =
                chosen.iter().map(|c| format!("{}-{}", c.info.name, c.info.version)).collect();
            Ok(shown.join(" "))
        }
        Err(Failure::Conflict(conflict)) => Err(conflict.to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

fn chosen(lines: &str, asked: &str) -> String {
    chosen_from(&[(lines, None)], asked).unwrap()
}

fn refused(lines: &str, asked: &str) -> String {
    chosen_from(&[(lines, None)], asked).unwrap_err()
}

#[test]
fn the_newest_version_that_fits_is_chosen_with_what_it_needs() {
    let world = "a 1 D:b=1\n a 2 D:b=2\n b 1\n b 2\n";
    assert_eq!(chosen(world, "a"), "b-2 a-2");
    assert_eq!(chosen(world, "a b<2"), "b-1 a-1");
    assert_eq!(chosen(world, "a~1"), "b-1 a-1");
    assert_eq!(chosen(world, "b a=1"), "b-1 a-1");
    assert_eq!(chosen(world, "!a b"), "b-2");
}

#[test]
fn names_with_a_version_belong_to_one_package() {
    let world = "a 1 D:so:x\n x1 1 p:so:x=1\n x2 1 p:so:x=2\n";
    assert_eq!(chosen(world, "a"), "x2-1 a-1");
    assert_eq!(chosen(world, "a x1"), "x1-1 a-1");
    let error = refused(world, "a x1 x2");
    assert!(error.contains("x1 1 excludes x2 1"), "{error}");
}

#[test]
fn names_without_a_version_need_a_priority_or_a_choice() {
    let world = "a 1 D:v\n x 1 p:v\n y 1 p:v\n";
    let error = refused(world, "a");
    assert!(error.contains("v is provided by x, y, of which one must be asked for"), "{error}");
    assert_eq!(chosen(world, "a y"), "y-1 a-1");
    assert_eq!(chosen(world, "a x y"), "x-1 a-1 y-1");
    let world = "a 1 D:v\n x 1 p:v k:10\n y 1 p:v k:20\n z 9 p:v\n";
    assert_eq!(chosen(world, "a"), "y-1 a-1");
    let world = "a 1 D:v&x\n x 1 p:v\n y 1 p:v\n";
    assert_eq!(chosen(world, "a"), "x-1 a-1");
}

#[test]
fn what_waits_comes_along_when_all_is_there_and_can_be() {
    let world = "a 1\n docs 1\n a-doc 1 i:a=1&docs D:man\n man 1\n b-doc 1 i:b&docs\n \
                 c 1 i:a&!d D:nobody\n";
    assert_eq!(chosen(world, "a"), "a-1");
    assert_eq!(chosen(world, "a docs"), "a-1 docs-1 man-1 a-doc-1");
    assert_eq!(chosen(world, "a docs !a-doc"), "a-1 docs-1");
}

#[test]
fn tagged_repositories_are_for_those_that_name_the_tag() {
    let (main, edge) = ("a 1 D:b\n b 1\n", "a 2 D:b>1\n b 2\n c 1\n");
    let ask = |asked| chosen_from(&[(main, None), (edge, Some("edge"))], asked);
    assert_eq!(ask("a").unwrap(), "b-1 a-1");
    assert_eq!(ask("a@edge").unwrap(), "b-2 a-2");
    assert!(ask("c").unwrap_err().contains("no repository has c"));
    assert_eq!(ask("a c@edge").unwrap(), "b-1 a-1 c-1");
    // The earlier repository has a package that both have.
    let same = chosen_from(&[(main, None), (main, None)], "a");
    assert_eq!(same.unwrap(), "b-1 a-1");
}

#[test]
fn what_cannot_be_is_explained_down_to_its_cause() {
    let world = "a 1 D:b\n b 1 D:so:gone=1&c>2\n c 1\n d 1 D:!e\n e 1\n f 1 X:1\n";
    let error = refused(world, "a c");
    for line in [
        "a\n",
        "a 1 needs b",
        "b 1 needs so:gone=1",
        "no repository has so:gone",
        "c is there as 1",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    assert!(refused(world, "d e").contains("d 1 excludes e 1"));
    assert!(refused(world, "c !c").contains("!c rules out c 1, which is needed"));
    assert!(refused(world, "nothing").contains("no repository has nothing"));
    assert!(refused(world, "f").contains("no repository has f"));
}

#[test]
fn r12_a_hundred_thousand_rivals_are_refused_in_time() {
    let mut lines = String::from("a 1 D:v>1\n");
    (0..100_000).for_each(|n| lines.push_str(&format!("p{n} 1 p:v=2 D:!v\n")));
    let text = index(&lines);
    let parsed = Index::parse(text.as_bytes()).unwrap();
    let offers = [Offer { name: "test", tag: None, index: &parsed }];
    let asked = relation::parse("a").unwrap();
    let request = Request { architecture: "x86_64", asked: &asked };
    assert_eq!(choose(&request, &offers).unwrap_err(), Failure::TooHard);
}

#[test]
fn other_architectures_do_not_take_part() {
    let world = "a 1 A:aarch64\n b 1 A:noarch\n c 1 A:x86_64\n";
    assert_eq!(chosen(world, "b c"), "b-1 c-1");
    assert!(refused(world, "a").contains("no repository has a"));
}
