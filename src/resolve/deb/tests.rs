//! Tiny worlds, one line a package, and what is chosen from them.
//!
//! A line is `name version; field value; field value …` with the fields of a control file in lower
//! case. A line `== suite pin` starts a repository; without one, all is in `main` with pin 500, and
//! the first repository is the release pocket.

use std::fmt::Write as _;

use super::world::Offer;
use super::{Candidate, Failure, Request, choose, validate};
use crate::digest::Digest;
use crate::package::deb::index::{Index, Package};
use crate::recipe::Variant;

/// The `Packages` texts of a world, each with suite and pin.
fn repositories(world: &str) -> Vec<(String, u16, String)> {
    let mut found = vec![];
    if !world.trim_start().starts_with("==") {
        found.push(("main".to_owned(), 500, String::new()));
    }
    for line in world.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(head) = line.strip_prefix("==") {
            let (suite, pin) = head.trim().split_once(' ').unwrap();
            found.push((suite.to_owned(), pin.parse().unwrap(), String::new()));
        } else {
            found.last_mut().unwrap().2.push_str(&entry(line));
        }
    }
    found
}

fn entry(line: &str) -> String {
    let mut fields = line.split(';').map(str::trim);
    let (name, version) = fields.next().unwrap().split_once(' ').unwrap();
    let mut text = format!(
        "Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {}\n",
        Digest::of(line.as_bytes())
    );
    let fields: Vec<_> = fields.collect();
    for field in &fields {
        let (name, value) = field.split_once(' ').unwrap();
        writeln!(text, "{name}: {value}").unwrap();
    }
    if !fields.iter().any(|field| field.starts_with("architecture ")) {
        text.push_str("Architecture: amd64\n");
    }
    text + "\n"
}

/// What is chosen for `asked`, in one line; or why nothing is.
fn answer(world: &str, asked: &str) -> String {
    answer_with(world, asked, false)
}

fn answer_with(world: &str, asked: &str, recommends: bool) -> String {
    let repositories = repositories(world);
    let indexes: Vec<_> =
        repositories.iter().map(|(_, _, text)| Index::parse([text.as_bytes()]).unwrap()).collect();
    let offers: Vec<_> = indexes
        .iter()
        .zip(&repositories)
        .enumerate()
        .map(|(number, (index, (name, pin, _)))| Offer {
            name,
            index,
            pin: *pin,
            base: number == 0,
        })
        .collect();
    let request = Request {
        native: "amd64",
        asked: asked.split_whitespace().collect(),
        variant: Variant::Required,
        recommends,
    };
    let shown = |c: &Candidate<'_>| format!("{} {}", c.package.name, c.package.version);
    match choose(&request, &offers) {
        Ok(chosen) => chosen.iter().map(shown).collect::<Vec<_>>().join(", "),
        Err(Failure::Conflict(conflict)) => conflict.to_string(),
        Err(other) => format!("{other:?}"),
    }
}

/// Checks the explanation, given without its first line.
fn check_conflict(world: &str, asked: &str, expected: &str) {
    let answer = answer(world, asked);
    let told = answer.strip_prefix("what is asked for cannot be installed:\n");
    assert_eq!(told.unwrap_or(&answer), expected.trim_start_matches('\n').trim_end());
}

#[test]
fn dependencies_come_along_and_nothing_else() {
    let world = "
        app 1; depends lib (>= 2), tool; pre-depends early
        lib 2; breaks old (<< 2)
        tool 1; recommends nice; suggests other
        early 1
        nice 1
        old 1
    ";
    assert_eq!(answer(world, "app"), "app 1, early 1, lib 2, tool 1");
    assert_eq!(answer_with(world, "app", true), "app 1, early 1, lib 2, nice 1, tool 1");
}

#[test]
fn the_first_alternative_is_preferred_unless_another_is_there_or_it_cannot_be() {
    let world = "
        app 1; depends a | b
        a 1
        b 1
        hater 1; conflicts a
        broken 1; depends nothing | b
    ";
    assert_eq!(answer(world, "app"), "a 1, app 1");
    assert_eq!(answer(world, "app b"), "app 1, b 1");
    assert_eq!(answer(world, "app hater"), "app 1, b 1, hater 1");
    assert_eq!(answer(world, "broken"), "b 1, broken 1");
}

#[test]
fn real_packages_are_preferred_to_provided_ones_and_important_providers_to_others() {
    let world = "
        app 1; depends mail
        mail 1
        zmail 1; provides mail; priority important
        other 1; depends awk
        gawk 1; provides awk
        mawk 1; provides awk; priority standard
        same 1; depends thing
        thing-a 1; provides thing
        thing-b 1; provides thing
    ";
    assert_eq!(answer(world, "app"), "app 1, mail 1");
    assert_eq!(answer(world, "other"), "mawk 1, other 1");
    assert_eq!(answer(world, "same"), "same 1, thing-b 1");
}

#[test]
fn a_versioned_need_is_met_by_versioned_provides_only() {
    let world = "
        app 1; depends api (>= 2)
        plain 1; provides api
        old 1; provides api (= 1)
        new 1; provides api (= 2)
        exact 1; depends api (= 1)
    ";
    assert_eq!(answer(world, "app"), "app 1, new 1");
    assert_eq!(answer(world, "exact"), "exact 1, old 1");
}

#[test]
fn a_package_may_refuse_what_it_provides_itself() {
    let world = "
        exim 1; provides mta; conflicts mta; replaces mta
        postfix 1; provides mta; conflicts mta; replaces mta
        app 1; depends mta
    ";
    assert_eq!(answer(world, "app postfix"), "app 1, postfix 1");
    check_conflict(
        world,
        "exim postfix",
        "
  exim 1 is asked for
  exim 1 refuses mta, which postfix 1 is
    postfix 1 is asked for",
    );
}

#[test]
fn essential_and_required_packages_come_unasked_and_choose_for_themselves() {
    let world = "
        base 1; essential yes; depends awk
        mawk 1; provides awk; priority required
        gawk 1; provides awk
        login 1; priority required
        cron 1; priority important
    ";
    assert_eq!(answer(world, "gawk"), "base 1, gawk 1, login 1, mawk 1");
}

#[test]
fn what_essential_packages_prefer_gives_way_only_to_what_is_asked_for() {
    let world = "
        base 1; essential yes; depends one | two
        one 1
        two 1
        asked 1; conflicts one
    ";
    assert_eq!(answer(world, ""), "base 1, one 1");
    assert_eq!(answer(world, "asked"), "asked 1, base 1, two 1");
}

#[test]
fn the_highest_version_is_the_candidate_but_never_from_a_repository_of_lower_pin() {
    let world = "
        == stable 500
        a 1; essential yes
        b 1
        == security 500
        a 1.1
        b 1~
        == backports 100
        a 2
        b 2
        c 2
    ";
    assert_eq!(answer(world, "b c"), "a 1.1, b 1, c 2");
}

#[test]
fn essential_is_what_the_release_pocket_says() {
    let world = "
        == stable 500
        a 1
        == other 500
        b 1; essential yes
        c 1; priority required
    ";
    assert_eq!(answer(world, "a"), "a 1");
}

#[test]
fn multi_arch_qualifiers_are_understood() {
    let world = "
        app 1; depends python:any, lib:amd64, tool:native
        python 3; multi-arch allowed
        lib 1; multi-arch same
        tool 1; architecture all
        bad 1; depends lib:any
        foreign 1; depends lib:arm64
        far 9; architecture arm64
    ";
    assert_eq!(answer(world, "app"), "app 1, lib 1, python 3, tool 1");
    let expected = "  bad 1 is asked for
  bad 1 needs lib:any
    lib 1 does not serve other architectures, as lib:any asks";
    check_conflict(world, "bad", expected);
    check_conflict(world, "far", "  far: no repository has it");
    assert!(answer(world, "foreign").contains("foreign 1 needs lib:arm64"));
}

#[test]
fn cycles_are_allowed() {
    let world = "
        a 1; depends b
        b 1; depends c | d; pre-depends a
        c 1; depends a, c
        d 1
    ";
    assert_eq!(answer(world, "a"), "a 1, b 1, c 1");
}

#[test]
fn recommended_packages_come_only_where_they_can() {
    let world = "
        app 1; recommends bad | good, never, more
        bad 1; conflicts app
        good 1
        more 1; recommends most
        most 1
    ";
    assert_eq!(answer_with(world, "app", true), "app 1, good 1, more 1, most 1");
}

#[test]
fn a_name_that_one_package_provides_can_be_asked_for() {
    let world = "
        mawk 1; provides awk
        exim 1; provides mta
        postfix 1; provides mta
    ";
    assert_eq!(answer(world, "awk"), "mawk 1");
    let expected = "  bsh: no repository has it
  mta is provided by several packages: ask for one of exim, postfix";
    check_conflict(world, "bsh mta", expected);
}

#[test]
fn a_missing_or_too_old_package_is_named_with_the_chain_that_leads_to_it() {
    let world = "
        == bookworm 500
        app 1; depends mid
        mid 3; depends lib (>= 2), other
        lib 1.5
        other 1
        gone 1; depends nowhere | lib (>> 9) | api (>= 3)
        mock 1; provides api (= 2)
    ";
    check_conflict(
        world,
        "app other",
        "
  app 1 is asked for
  app 1 needs mid
    mid 3 needs lib (>= 2)
      lib is 1.5 in bookworm",
    );
    check_conflict(
        world,
        "gone",
        "
  gone 1 is asked for
  gone 1 needs nowhere | lib (>> 9) | api (>= 3)
    no repository has nowhere
    lib is 1.5 in bookworm
    api is provided by mock 1, but not in such a version",
    );
}

#[test]
fn a_clash_of_what_two_requests_need_is_explained_from_both_sides() {
    let world = "
        one 1; depends shared-a
        two 1; depends shared-b
        shared-a 1; conflicts shared-b (<< 2)
        shared-b 1
        bystander 1
    ";
    check_conflict(
        world,
        "bystander one two",
        "
  one 1 is asked for
  one 1 needs shared-a
  shared-a 1 refuses shared-b (<< 2), which shared-b 1 is
    two 1 is asked for
    two 1 needs shared-b",
    );
}

#[test]
fn a_need_whose_ways_all_fail_only_when_tried_is_explained_way_by_way() {
    let world = "
        app 1; depends a | b
        a 1; depends x | y
        b 1; depends x | y
        x 1; conflicts a, b
        y 1; conflicts a, b
    ";
    let told = answer(world, "app");
    assert!(told.contains("app 1 needs a | b"), "{told}");
    assert!(told.contains("refuses a, which a 1 is"), "{told}");
}

#[test]
fn a_broken_relation_makes_its_package_unusable_and_no_other() {
    let world = "
        bad 1; depends x [amd64]
        worse 1; conflicts (
        app 1; depends bad | good
        good 1
    ";
    assert_eq!(answer(world, "app"), "app 1, good 1");
    check_conflict(
        world,
        "bad",
        "
  bad 1 is asked for
  bad 1 has a relation without a meaning: \"x [amd64]\" is not a relation to a package",
    );
    assert!(answer(world, "worse").contains("without a meaning"));
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let lines = [
        "app 1; depends a | b, v, w",
        "a 1; depends v",
        "b 1",
        "va 1; provides v, w",
        "vb 1; provides w, v",
        "vc 1; provides v; conflicts vb",
    ];
    let expected = answer(&lines.join("\n"), "app");
    for shift in 1..lines.len() {
        let mut turned = lines;
        turned.rotate_left(shift);
        assert_eq!(answer(&turned.join("\n"), "app"), expected);
        turned.reverse();
        assert_eq!(answer(&turned.join("\n"), "app"), expected);
    }
}

#[test]
fn r12_a_hundred_thousand_versions_and_packages_that_exclude_each_other_are_refused_in_time() {
    let versions: String = (0..100_000)
        .map(|n| format!("a {n}; depends a (= {}), b (>> {n})\n", n + 1))
        .chain(["b 1\n".to_owned()])
        .collect();
    assert!(answer(&versions, "a").contains("a 99999 needs"));

    let packages: String = (0..100_000)
        .map(|n| format!("p{n} 1; provides x, y{n}; conflicts x, y{}\n", (n * 7) % 100_000))
        .chain(["app 1; depends x, z\n".to_owned(), "z 1; conflicts x\n".to_owned()])
        .collect();
    let refused = answer(&packages, "app");
    assert!(refused.contains("app 1 is asked for") || refused == "TooHard", "{refused}");
    assert_eq!(answer(&packages, "p7"), "p7 1");
}

/// The pigeonhole principle, which no solver of this kind does quickly.
#[test]
fn r12_a_hard_puzzle_is_given_up() {
    let (pigeons, holes) = (12, 11);
    let mut world = String::new();
    for pigeon in 0..pigeons {
        let ways: Vec<_> = (0..holes).map(|hole| format!("p{pigeon}h{hole}")).collect();
        world += &format!("p{pigeon} 1; depends {}\n", ways.join(" | "));
        for hole in 0..holes {
            world += &format!("p{pigeon}h{hole} 1; provides h{hole}; conflicts h{hole}\n");
        }
    }
    let asked: Vec<_> = (0..pigeons).map(|pigeon| format!("p{pigeon}")).collect();
    assert_eq!(answer(&world, &asked.join(" ")), "TooHard");
    assert_ne!(answer(&world, &asked[1..].join(" ")), "TooHard");
}

#[test]
fn the_validator_finds_what_a_wrong_choice_breaks() {
    let text: String = [
        "a 1; depends b (>= 2) | c",
        "b 1; provides d",
        "e 1; conflicts d",
        "f 1; architecture arm64",
        "g 1; depends d, c:any",
        "h 1; breaks h, d (<< 3)",
        "c 1; multi-arch foreign",
        "i 1; depends (",
    ]
    .map(entry)
    .concat();
    let index = Index::parse([text.as_bytes()]).unwrap();
    let check = |names: &str| {
        let chosen: Vec<&Package<'_>> =
            names.split(' ').flat_map(|name| index.named(name).first()).collect();
        let result = validate::check("amd64", &["b"], &chosen);
        result.map_or_else(|flaw| flaw.to_string(), |()| "sound".to_owned())
    };
    let cases = [
        ("b", "sound"),
        ("a b", "package a 1 needs b (>= 2) | c"),
        ("a b c", "sound"),
        ("b e", "package e 1 refuses d, which b 1 is"),
        ("b h", "sound"),
        ("b f", "package f 1 is for another architecture"),
        ("b b", "package b is there twice"),
        ("b c g", "package g 1 needs c:any"),
        ("b i", "a relation of package i 1 cannot be understood"),
        ("c", "package b is missing"),
    ];
    for (names, expected) in cases {
        assert_eq!(check(names), expected, "{names}");
    }
}
