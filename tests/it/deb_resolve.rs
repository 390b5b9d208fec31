//! The choice of packages: ours against apt's, on the package lists that apt has on this machine.
//!
//! apt is asked as mmdebstrap asks it: for the essential packages of an empty system, then for the
//! rest beside them. Nothing is fetched or installed. Without lists there is nothing to compare.

use std::collections::{BTreeMap, BTreeSet};

use osbuilder::package::deb::index::Index;
use osbuilder::recipe::Variant;
use osbuilder::resolve::deb::world::{Candidate, Offer};
use osbuilder::resolve::deb::{Request, choose};

use crate::judge;

/// What is asked for: Kata's lists, and some with many alternatives.
const REQUESTS: [&str; 3] = [
    "systemd coreutils init iptables chrony kmod dbus cryptsetup-bin e2fsprogs libseccomp2",
    "coreutils iptables chrony kmod e2fsprogs libseccomp2",
    "gawk postfix build-essential python3 git openssh-server curl ca-certificates sudo vim",
];

/// A suite: its code name, and its package lists, decompressed.
struct Suite {
    codename: String,
    lists: Vec<Vec<u8>>,
}

/// The suites that apt has lists of, as it is configured (`APT_CONFIG` can name another
/// configuration). The release itself, which has the shortest name, is first.
fn suites() -> Vec<Suite> {
    let folder = judge::run("apt-config", &["shell", "FOLDER", "Dir::State::Lists/d"]);
    let folder = String::from_utf8(folder).unwrap();
    let folder = folder.trim().trim_start_matches("FOLDER=").trim_matches('\'').to_owned();
    let mut files: Vec<String> = fs_err::read_dir(&folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    files.sort();
    let mut found = Vec::new();
    for head in files.iter().filter_map(|name| name.strip_suffix("_InRelease")) {
        let text = fs_err::read_to_string(format!("{folder}{head}_InRelease")).unwrap();
        let codename = text.lines().find_map(|line| line.strip_prefix("Codename: "));
        let prefix = format!("{head}_");
        let is_list = |name: &&String| name.starts_with(&prefix) && name.contains("_Packages");
        let lists = files.iter().filter(is_list).map(|name| {
            judge::run("/usr/lib/apt/apt-helper", &["cat-file", &format!("{folder}{name}")])
        });
        let codename = codename.unwrap_or_default().to_owned();
        found.push(Suite { codename, lists: lists.collect() });
    }
    found.sort_by_key(|suite| suite.codename.len());
    found
}

/// What apt would install into a system with the status file `status`: names with versions.
fn simulate(status: &str, asked: &[&str]) -> BTreeMap<String, String> {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("status");
    fs_err::write(&file, status).unwrap();
    let status = format!("Dir::State::status={}", file.display());
    let options = [
        "-s",
        "-o",
        &status,
        "-o",
        "APT::Install-Recommends=false",
        "-o",
        "pkgCacheGen::ForceEssential=,",
        "-o",
        "Dir::Etc::Preferences=/dev/null",
        "-o",
        "Dir::Etc::PreferencesParts=/dev/null",
        "-o",
        "Dir::Cache::pkgcache=",
        "-o",
        "Dir::Cache::srcpkgcache=",
        "install",
    ];
    let output = judge::run("apt-get", &[options.as_slice(), asked].concat());
    let installs = |line: &str| {
        let mut words = line.strip_prefix("Inst ")?.split(' ');
        let name = words.next()?.to_owned();
        Some((name, words.next()?.trim_start_matches('(').to_owned()))
    };
    String::from_utf8(output).unwrap().lines().filter_map(installs).collect()
}

/// The status file of a system in which `packages` are installed.
fn status_of(packages: &BTreeMap<String, String>, suites: &[Suite]) -> String {
    let mut status = String::new();
    let mut done = BTreeSet::new();
    for list in suites.iter().flat_map(|suite| &suite.lists) {
        for stanza in std::str::from_utf8(list).unwrap().split("\n\n") {
            let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
            let (Some(name), Some(version)) = (field("Package: "), field("Version: ")) else {
                continue;
            };
            if packages.get(name).is_some_and(|v| v == version) && done.insert(name) {
                status += &format!("{}\nStatus: install ok installed\n\n", stanza.trim());
            }
        }
    }
    assert_eq!(done.len(), packages.len());
    status
}

fn ours(asked: &str, offers: &[Offer<'_>]) -> BTreeMap<String, String> {
    let request = Request {
        native: "amd64",
        asked: asked.split_whitespace().collect(),
        variant: Variant::Required,
        recommends: false,
    };
    let chosen = choose(&request, offers).unwrap();
    let pair = |c: &Candidate<'_>| (c.package.name.to_owned(), c.package.version.to_string());
    chosen.iter().map(pair).collect()
}

/// What is in `a` and not, or in another version, in `b`.
fn only(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let differs = |(name, version): &(&String, &String)| b.get(*name) != Some(*version);
    a.iter().filter(differs).map(|(name, version)| format!("{name} {version}")).collect()
}

#[test]
fn the_same_packages_are_chosen_as_by_apt() {
    if judge::is_missing(&["apt-get"]) {
        return;
    }
    let suites = suites();
    if !suites.iter().any(|suite| !suite.lists.is_empty()) && judge::skip("apt has no lists") {
        return;
    }
    let release = suites.first().unwrap().codename.clone();
    let pattern =
        |what: &str| format!("?narrow(?codename(^{release}$),?architecture(amd64),{what})");
    let essential = simulate("", &[&pattern("?essential")]);
    let status = status_of(&essential, &suites);
    let required = pattern("?and(?priority(required),?not(?essential))");
    let indexes: Vec<_> = suites
        .iter()
        .map(|suite| Index::parse(suite.lists.iter().map(Vec::as_slice)).unwrap())
        .collect();
    let offers: Vec<_> = indexes
        .iter()
        .zip(&suites)
        .enumerate()
        .map(|(at, (index, suite))| Offer { name: &suite.codename, index, pin: 500, base: at == 0 })
        .collect();
    for asked in REQUESTS {
        let names: Vec<&str> = asked.split_whitespace().chain([required.as_str()]).collect();
        let mut expected = essential.clone();
        expected.extend(simulate(&status, &names));
        let found = ours(asked, &offers);
        let (apt, we) = (only(&expected, &found), only(&found, &expected));
        assert!(apt.is_empty() && we.is_empty(), "{asked:?}\nonly apt: {apt:?}\nonly we: {we:?}");
    }
}
