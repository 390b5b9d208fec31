//! Choices from small worlds: what rpm's rules say comes out, and what cannot be is explained.

use super::*;
use crate::package::rpm::info::{self, Draft, Identity, Info, Sort};

/// Records of packages: `name version [letter relation]…`, one a line, `;` between relations.
fn records(text: &str) -> String {
    let mut draft = Draft::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        draft.begin(&Identity {
            name: name.into(),
            architecture: "noarch".into(),
            epoch: "0".into(),
            version: version.into(),
            release: "1".into(),
            place: "a.rpm".into(),
            ..Identity::default()
        });
        draft.relation(Sort::Provides, name, "EQ", &format!("{version}-1"));
        for part in parts {
            let (letter, relation) = part.split_once(' ').unwrap();
            let sort = match letter {
                "P" => Sort::Provides,
                "R" => Sort::Requires,
                "C" => Sort::Conflicts,
                "O" => Sort::Obsoletes,
                "W" => Sort::Recommends,
                "S" => Sort::Supplements,
                "G" => Sort::Suggests,
                _ => panic!("{letter}"),
            };
            let words: Vec<_> = relation.split(' ').collect();
            match (relation.starts_with('('), words.as_slice()) {
                (false, [name, operator, version]) => draft.relation(sort, name, operator, version),
                (false, [path]) if letter == "P" && path.starts_with('/') => draft.file(path),
                _ => draft.relation(sort, relation, "", ""),
            }
        }
    }
    draft.into_text()
}

fn chosen(text: &str, asked: &[&str], recommends: bool) -> Result<Vec<String>, Failure> {
    let text = records(text);
    let infos: Vec<Info<'_>> = info::parse(&text).unwrap();
    let offers = [Offer { name: "r", packages: &infos }];
    let request = Request { architecture: "x86_64", asked, recommends };
    let chosen = choose(&request, &offers)?;
    Ok(chosen.iter().map(|c| format!("{} {}", c.info.name, c.info.version.version)).collect())
}

#[test]
fn packages_are_chosen_by_rpm_s_rules() {
    for (world, asked, expected) in [
        ("a 1; R b\n b 1\n b 2", "a", "a 1,b 2"),
        ("a 1; R b LT 2\n b 1\n b 2", "a", "a 1,b 1"),
        ("a 1; R /usr/bin/b\n c 1; P /usr/bin/b", "a", "a 1,c 1"),
        ("a 1; R web\n n 1; P web\n web 1", "a", "a 1,n 1"),
        ("a 1; R web\n n 1; P web\n w 1; P web; C a", "a", "a 1,n 1"),
        ("a 1; R b; R c\n b 1; O d LT 2\n c 1; R d\n d 1\n d 2", "a", "a 1,b 1,c 1,d 2"),
        ("a 1; R (b or c)\n c 1", "a", "a 1,c 1"),
        ("a 1; R (b if c)\n b 1\n c 1", "a", "a 1"),
        ("a 1; R (b if c)\n b 1\n c 1", "a,c", "a 1,b 1,c 1"),
        ("a 1; R (b if c else d)\n b 1\n c 1\n d 1", "a", "a 1,d 1"),
        ("a 1; R (b and (c or d))\n b 1\n d 1", "a", "a 1,b 1,d 1"),
        (
            "a 1; R (x >= 2 with x < 3)\n b 1; P x EQ 1\n c 1; P x EQ 2\n d 1; P x EQ 3",
            "a",
            "a 1,c 1",
        ),
        ("a 1; R (x without y)\n b 1; P x; P y\n c 1; P x", "a", "a 1,c 1"),
        ("a 1; R b\n b 1; R a", "a", "a 1,b 1"),
        ("a 1; R y\n x 1; P y; R z\n w 1; P y", "a", "a 1,w 1"),
        ("a 1; R rpmlib(FileDigests) LE 4.6.0-1", "a", "a 1"),
        ("a 1; C a LT 1; C (b and c)\n b 1\n c 1", "a,b", "a 1,b 1"),
        ("a 1; W b\n b 1", "a", "a 1"),
        ("a 1; R lang; G min\n all 1; P lang\n min 1; P lang", "a", "a 1,min 1"),
        ("a 1; R lang; W min\n all 1; P lang\n min 1; P lang; C a", "a", "a 1,all 1"),
        ("a 1; R (b if c); W b\n b 1\n c 1", "a", "a 1"),
        ("a 1; R b; G b LT 2\n b 1\n b 2", "a", "a 1,b 2"),
        ("a 1; R b; R x\n b 1; G n\n m 1; P x\n n 1; P x", "a", "a 1,b 1,n 1"),
        ("a 1; R b; R x\n b 1; W n\n m 1; P x\n n 1; P x; G m", "a", "a 1,b 1,n 1"),
        ("a 1; R x\n m 1; P x\n n 1; P x; S a", "a", "a 1,n 1"),
        ("a 1; R old\n old 1\n zew 1; O old LT 2; P old EQ 2", "a", "a 1,zew 1"),
        ("a 1; R old\n old 2\n zew 1; O old LT 2; P old EQ 2", "a", "a 1,old 2"),
        ("old 1\n zew 1; O old LT 2", "old", "zew 1"),
        ("old 2\n zew 1; O old LT 2", "old", "old 2"),
        ("a 1; R web\n b 1; P web\n c 1; P web EQ 2", "a", "a 1,b 1"),
        ("a 1; R web\n b 1; P web EQ 1\n c 1; P web EQ 2", "a", "a 1,c 1"),
        ("a 1; R (c or b)\n b 1\n c 1", "a", "a 1,b 1"),
        ("a 1; R web LT 2\n b 1; P web EQ 1\n b 2; P web EQ 2\n c 1; P web EQ 1", "a", "a 1,c 1"),
    ] {
        let asked: Vec<_> = asked.split(',').collect();
        assert_eq!(chosen(world, &asked, false).unwrap().join(","), expected, "{world}");
    }
    let world = "a 1; W b; W c; W d\n b 1; R e\n c 1; C a\n e 1";
    assert_eq!(chosen(world, &["a"], true).unwrap().join(","), "a 1,b 1,e 1");
}

#[test]
fn what_cannot_be_is_explained() {
    let explained = |world: &str, asked: &[&str]| match chosen(world, asked, false) {
        Err(Failure::Conflict(conflict)) => conflict.to_string(),
        other => panic!("{other:?}"),
    };
    let cases = [
        explained("a 1; R b\n b 1; R c GE 2\n c 1", &["a"]),
        explained("a 1", &["y", "a", "z"]),
        explained("a 1; C b\n b 1\n c 1", &["a", "b", "c"]),
        explained("a 1; R (b if c)\n c 1; R a", &["c"]),
        explained("a 1; R b; R c\n b 1; O c\n c 1", &["a"]),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r"
    what is asked for cannot be installed:
      a
        a 1-1 needs b
          b 1-1 needs c >= 2
            there is only c = 1-1
    what is asked for cannot be installed:
      y
        no repository has y
      z
        no repository has z
    what is asked for cannot be installed:
      a 1-1 excludes b 1-1
    what is asked for cannot be installed:
      c
        what c 1-1 needs cannot be had all together
    what is asked for cannot be installed:
      a
        b 1-1 excludes c 1-1
    ");
}

#[test]
fn r12_ten_thousand_versions_that_exclude_each_other_are_given_up_in_time() {
    let lines = (0..3000).map(|number| format!("p{number} 1; P x; C x; R x\n"));
    let world: String = lines.chain(["a 1; R x; C x".to_owned()]).collect();
    assert!(chosen(&world, &["a"], false).is_err());
}

#[test]
fn r6_a_package_that_only_an_index_asks_for_is_found_out() {
    let check = |text: &str, weak| {
        let text = records(text);
        let infos = info::parse(&text).unwrap();
        validate::check_needed(&["a"], &infos.iter().collect::<Vec<_>>(), weak)
    };
    assert_eq!(check("a 1; R b\n b 1; R (c if d)\n c 1\n d 1; P x\n e 1", false), {
        Err(Flaw::Extraneous { package: "e 1-1".into() })
    });
    for (text, weak, is_needed) in [
        ("a 1; R /usr/bin/b\n b 1; P /usr/bin/b", false, true),
        ("a 1\n evil 1", false, false),
        ("a 1\n evil 1; R a", false, false),
        ("a 1; W b\n b 1", true, true),
        ("a 1; W b\n b 1", false, false),
        ("a 1\n b 1; S a\n c 1; S b", true, true),
        ("a 1\n b 1; S a", false, false),
    ] {
        assert_eq!(check(text, weak).is_ok(), is_needed, "{text} {weak}");
    }
}

#[test]
fn weak_dependencies_are_followed_both_ways_where_that_is_wanted() {
    for (world, expected) in [
        ("a 1; W b\n b 1; R c\n c 1", "a 1,b 1,c 1"),
        ("a 1\n b 1; S a\n c 1; S b\n d 1; S e\n e 1", "a 1,b 1,c 1"),
        ("a 1; W (b if c)\n b 1\n c 1", "a 1"),
        ("a 1; R c; W (b if c)\n b 1\n c 1", "a 1,b 1,c 1"),
        ("a 1; W (b or c)\n b 1; C a\n c 1", "a 1,c 1"),
        ("a 1\n b 1; S (a and c)\n c 1", "a 1"),
        ("a 1; R c\n b 1; S (a and c)\n c 1", "a 1,b 1,c 1"),
    ] {
        assert_eq!(chosen(world, &["a"], true).unwrap().join(","), expected, "{world}");
        assert!(!chosen(world, &["a"], false).unwrap().contains(&"b 1".to_owned()), "{world}");
    }
}
