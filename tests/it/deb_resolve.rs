//! The choice of packages: ours against apt's, on the package lists that apt has on this machine.
//!
//! apt is asked as mmdebstrap asks it: for the essential packages of an empty system, then for the
//! rest beside them. Nothing is fetched or installed. Without lists there is nothing to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use osbuilder::package::deb::index::Index;
use osbuilder::recipe::Variant;
use osbuilder::resolve::deb::world::{Candidate, Offer};
use osbuilder::resolve::deb::{Request, choose};

use crate::judge;

/// Where the lists are, and of which release: this machine's own, unless
/// `OSBUILDER_TEST_APT_LISTS=FOLDER` and `OSBUILDER_TEST_APT_RELEASE=CODENAME` name others.
#[expect(clippy::disallowed_methods, reason = "a test may be told where its data is")]
fn lists() -> (String, String) {
    let variable = |name: &str| std::env::var(format!("OSBUILDER_TEST_APT_{name}")).ok();
    let folder = variable("LISTS").unwrap_or_else(|| "/var/lib/apt/lists".to_owned());
    (folder, variable("RELEASE").or_else(own_release).unwrap_or_default())
}

/// What is asked for: Kata's lists, and some with many alternatives.
const REQUESTS: [&str; 7] = [
    "",
    "systemd coreutils init iptables chrony kmod dbus cryptsetup-bin e2fsprogs libseccomp2",
    "coreutils iptables chrony kmod e2fsprogs libseccomp2",
    "chrony iptables dbus cryptsetup-bin e2fsprogs init",
    "gawk postfix",
    "build-essential python3 git",
    "openssh-server curl ca-certificates sudo vim",
];

/// A suite's release file and its package lists, decompressed.
struct Suite {
    codename: String,
    lists: Vec<Vec<u8>>,
}

/// The suites that apt has lists of. The release itself is first.
fn suites(folder: &str, release: &str) -> Vec<Suite> {
    let mut files: Vec<String> = fs_err::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    files.sort();
    let mut found = Vec::new();
    for head in files.iter().filter_map(|name| name.strip_suffix("_InRelease")) {
        let text = fs_err::read_to_string(format!("{folder}/{head}_InRelease")).unwrap();
        let codename = text.lines().find_map(|line| line.strip_prefix("Codename: "));
        let prefix = format!("{head}_");
        let is_list = |name: &&String| name.starts_with(&prefix) && name.contains("_Packages");
        let lists = files
            .iter()
            .filter(is_list)
            .map(|name| run("/usr/lib/apt/apt-helper", &["cat-file", &format!("{folder}/{name}")]));
        let codename = codename.unwrap_or_default().to_owned();
        found.push(Suite { codename, lists: lists.collect() });
    }
    found.sort_by_key(|suite| suite.codename != release);
    found
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    output.stdout
}

fn own_release() -> Option<String> {
    let text = fs_err::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// What apt would install into a system with the status file `status`: names with versions.
fn simulate(lists: &str, status: &str, asked: &[&str]) -> BTreeMap<String, String> {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("status");
    fs_err::write(&file, status).unwrap();
    let status = format!("Dir::State::status={}", file.display());
    let lists = format!("Dir::State::Lists={lists}");
    let options = [
        "-s",
        "-o",
        &lists,
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
    let output = run("apt-get", &[options.as_slice(), asked].concat());
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
    let (folder, release) = lists();
    let suites = suites(&folder, &release);
    let there = suites.first().is_some_and(|s| s.codename == release && !s.lists.is_empty());
    if !there && judge::skip("apt has no package lists of the release") {
        return;
    }
    let pattern =
        |what: &str| format!("?narrow(?codename(^{release}$),?architecture(amd64),{what})");
    let essential = simulate(&folder, "", &[&pattern("?essential")]);
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
        expected.extend(simulate(&folder, &status, &names));
        let found = ours(asked, &offers);
        let (apt, we) = (only(&expected, &found), only(&found, &expected));
        assert!(apt.is_empty() && we.is_empty(), "{asked:?}\nonly apt: {apt:?}\nonly we: {we:?}");
    }
}
