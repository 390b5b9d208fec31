//! Each branch and processor of the data file: where its repositories are, and which keys may sign them.

use crate::distro::{Architecture, Catalogue};
use crate::fetch::apk::keys::Trust;
use crate::fetch::apk::source::sources;
use crate::fetch::apk::{index, keys};
use crate::fetch::world::usual;
use crate::recipe::Recipe;

/// What is asked for, and the folder that it means.
const BRANCHES: [(&str, &str); 15] = [
    ("latest-stable", "v3.24"),
    ("stable", "v3.24"),
    ("3.24", "v3.24"),
    ("v3.24", "v3.24"),
    ("3.23", "v3.23"),
    ("v3.22", "v3.22"),
    ("3.22", "v3.22"),
    ("3.21", "v3.21"),
    ("3.20", "v3.20"),
    ("v3.19", "v3.19"),
    ("3.18", "v3.18"),
    ("3.17", "v3.17"),
    ("3.16", "v3.16"),
    ("edge", "edge"),
    ("rolling", "edge"),
];

/// How Alpine calls a processor, and the keys of those who build for it.
const BUILDERS: [(Architecture, &str, &[&str]); 4] = [
    (Architecture::X86_64, "x86_64", &["4a6a0840", "5261cecb", "6165ee59"]),
    (Architecture::Aarch64, "aarch64", &["58199dcc", "616ae350"]),
    (Architecture::Ppc64le, "ppc64le", &["58cbb476", "616abc23"]),
    (Architecture::S390x, "s390x", &["58e4f17d", "616ac3bc"]),
];

fn recipe(asked: &str, architecture: Architecture) -> Recipe {
    let mut recipe = usual("alpine");
    recipe.release = recipe.distro.release(asked).unwrap().clone();
    recipe.architecture = architecture;
    recipe
}

#[test]
fn every_branch_leads_to_its_own_folders_and_to_the_keys_of_its_processor() {
    for (asked, branch) in BRANCHES {
        for (architecture, folder, ids) in BUILDERS {
            let recipe = recipe(asked, architecture);
            assert!(recipe.release.architectures.contains(&architecture), "{asked} {architecture}");
            let sources = sources(&recipe, &[]).unwrap();
            let paths = index::paths(&recipe);
            let indexes: Vec<String> = sources
                .iter()
                .flat_map(|source| &source.places)
                .map(|place| place.join(&paths[0]).to_string())
                .collect();
            let root = format!("https://dl-cdn.alpinelinux.org/alpine/{branch}");
            let expected = ["main", "community"]
                .map(|component| format!("{root}/{component}/{folder}/APKINDEX.tar.gz"));
            assert_eq!(indexes, expected, "{asked} {architecture}");
            for source in sources {
                let Trust::Distribution { pins, and_the_users: false } = source.trust else {
                    panic!("{asked} {architecture}")
                };
                let names: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
                let expected: Vec<String> = ids
                    .iter()
                    .map(|id| format!("alpine-devel@lists.alpinelinux.org-{id}.rsa.pub"))
                    .collect();
                assert_eq!(names, expected, "{asked} {architecture}");
            }
        }
    }
    // The table is about every branch that there is.
    let catalogue = Catalogue::default();
    let alpine = catalogue.find("alpine").unwrap();
    for release in &alpine.releases {
        assert!(BRANCHES.iter().any(|(_, branch)| *branch == release.codename));
        assert_eq!(release.architectures, BUILDERS.map(|(architecture, ..)| architecture));
    }
}

#[test]
fn every_pinned_key_is_compiled_in_and_none_serves_two_processors() {
    let catalogue = Catalogue::default();
    let alpine = catalogue.find("alpine").unwrap();
    for release in &alpine.releases {
        let pins: Vec<_> =
            release.keys.iter().map(|text| keys::Pin::parse(text).unwrap()).collect();
        for pin in &pins {
            let (_, bytes) = keys::COMPILED_IN.iter().find(|(name, _)| *name == pin.name).unwrap();
            assert_eq!(crate::digest::Digest::of(bytes), pin.digest, "{}", pin.name);
            let same = pins.iter().filter(|other| other.digest == pin.digest).count();
            assert_eq!(same, 1, "{}", pin.name);
        }
    }
}

#[test]
fn a_mirror_of_the_user_s_takes_the_place_of_the_official_one_for_each_branch() {
    for (asked, branch) in BRANCHES {
        let mut recipe = recipe(asked, Architecture::S390x);
        recipe.sources.mirrors = vec!["http://mirror.example.org/alpine/".to_owned()];
        let sources = sources(&recipe, &[]).unwrap();
        let places: Vec<String> =
            sources.iter().flat_map(|s| &s.places).map(ToString::to_string).collect();
        let root = format!("http://mirror.example.org/alpine/{branch}");
        assert_eq!(places, [format!("{root}/main"), format!("{root}/community")]);
        // The lock names the official place, so that it can be followed elsewhere.
        assert!(sources.iter().all(|s| s.root.to_string().contains("alpinelinux.org")));
    }
}
