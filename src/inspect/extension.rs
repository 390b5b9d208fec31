//! What an extension image must hold so that Kata's agent can use it: a manifest of its components.
//!
//! In: a tree and its contents. Out: what is wrong with the manifest, if there is one. An extension is
//! mounted below `/run/kata-extensions`, and the agent refuses it when its manifest cannot be read;
//! what it names and what is not there is missed only when the agent starts it.
//!
//! Specification: Kata Containers, `docs/design/proposals/composable-vm-images.md`; version 1.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::Deserialize;

use super::{Lack, Severity};
use crate::tree::{Contents, Inode, Kind, Tree, TreePath};

/// Where the agent looks for it.
const MANIFEST: &str = "etc/kata-extensions/components.toml";
/// A larger one is no manifest, in bytes.
const LARGEST: u64 = 1 << 20;
/// What is started when nothing is selected.
const DEFAULT_VARIANT: &str = "default";

/// The manifest, as far as it must be right. Keys that are not known are passed over, as the agent
/// does.
#[derive(Debug, Deserialize)]
struct Manifest {
    schema_version: u32,
    #[serde(default)]
    paths: BTreeMap<String, String>,
    #[serde(default)]
    process: Vec<Process>,
}

#[derive(Debug, Deserialize)]
struct Process {
    id: String,
    #[serde(default, rename = "level")]
    _level: u32,
    path: Option<String>,
    select: Option<String>,
    #[serde(default)]
    variants: BTreeMap<String, Variant>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    optional_args: Vec<OptionalArguments>,
    config: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    wait_socket: Option<String>,
    timeout_secs: Option<String>,
}

#[derive(Debug, Deserialize)]
struct OptionalArguments {
    #[serde(rename = "when")]
    _when: String,
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Variant {
    path: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Whether the tree is that of an extension: it has a manifest.
pub fn is_extension(tree: &Tree) -> bool {
    tree.get(&manifest_path()).is_some()
}

fn manifest_path() -> TreePath {
    TreePath::parse(MANIFEST).expect("a clean path")
}

/// What an extension lacks, or what is wrong with its manifest. Nothing for a tree without one.
///
/// # Errors
/// What the manifest's reader reports.
pub fn extension(tree: &Tree, contents: &dyn Contents) -> std::io::Result<Vec<Lack>> {
    let fatal = |what: String| Lack { severity: Severity::Fatal, what };
    let text = match tree.get(&manifest_path()).map(|inode| &inode.kind) {
        None => return Ok(Vec::new()),
        Some(Kind::Regular(content)) if content.size() <= LARGEST => {
            let mut text = Vec::new();
            content.open(contents)?.read_to_end(&mut text)?;
            String::from_utf8(text).unwrap_or_default()
        }
        Some(_) => return Ok(vec![fatal(format!("/{MANIFEST} is no file of less than a MiB"))]),
    };
    let manifest: Manifest = match toml::from_str(&text) {
        Ok(manifest) => manifest,
        Err(error) => {
            let reason = error.message().to_owned();
            return Ok(vec![fatal(format!("/{MANIFEST} is no manifest of components: {reason}"))]);
        }
    };
    if manifest.schema_version != 1 {
        let version = manifest.schema_version;
        return Ok(vec![fatal(format!(
            "/{MANIFEST} has the version {version}, and agents know 1"
        ))]);
    }
    Ok(Judge { tree, lacks: Vec::new() }.judge(&manifest))
}

struct Judge<'t> {
    tree: &'t Tree,
    lacks: Vec<Lack>,
}

impl Judge<'_> {
    fn judge(mut self, manifest: &Manifest) -> Vec<Lack> {
        for (name, path) in &manifest.paths {
            self.path(&format!("the component {name:?}"), path, |_| true);
        }
        let mut met = BTreeSet::new();
        for process in &manifest.process {
            let whose = format!("the process {:?}", process.id);
            if process.id.is_empty() || !met.insert(&process.id) {
                self.fatal(format!("{whose} has no name of its own"));
            }
            self.process(&whose, process);
        }
        self.lacks
    }

    fn fatal(&mut self, what: String) {
        self.lacks.push(Lack { severity: Severity::Fatal, what });
    }

    fn process(&mut self, whose: &str, process: &Process) {
        let mut programs: Vec<&str> = process.path.as_deref().into_iter().collect();
        for (name, variant) in &process.variants {
            match variant.path.as_deref() {
                Some(path) => programs.push(path),
                None if process.path.is_none() => {
                    self.fatal(format!("{whose} has no path in its variant {name:?}"));
                }
                None => {}
            }
        }
        if programs.is_empty() && process.variants.is_empty() {
            self.fatal(format!("{whose} has neither a path nor variants"));
        }
        let selects = process.select.as_deref().unwrap_or_default();
        let has_default = process.variants.contains_key(DEFAULT_VARIANT);
        let is_fixed = !selects.contains("${") && process.variants.contains_key(selects);
        if !process.variants.is_empty() && !has_default && !is_fixed {
            self.fatal(format!("{whose} has variants, and none that is the default"));
        }
        let is_program =
            |inode: &Inode| matches!(inode.kind, Kind::Regular(_)) && inode.meta.mode & 0o111 != 0;
        for path in programs {
            self.path(&format!("the program of {whose}"), path, is_program);
        }
        let timeout = process.timeout_secs.as_deref().unwrap_or_default();
        if !timeout.is_empty() && !timeout.contains("${") && timeout.parse::<u64>().is_err() {
            self.fatal(format!("{whose} waits {timeout:?}, which is no number of seconds"));
        }
        self.variables(whose, process);
    }

    /// A variable that is begun must end: the agent starts nothing otherwise.
    fn variables(&mut self, whose: &str, process: &Process) {
        let Process { args, optional_args, env, variants, .. } = process;
        let single = [&process.path, &process.select, &process.config];
        let more = [&process.wait_socket, &process.timeout_secs];
        let mut texts: Vec<&String> = single.into_iter().chain(more).flatten().collect();
        texts.extend(args.iter().chain(env.values()));
        texts.extend(optional_args.iter().flat_map(|group| &group.args));
        for variant in variants.values() {
            texts.extend(variant.path.iter().chain(&variant.args).chain(variant.env.values()));
        }
        for text in texts {
            if text.split("${").skip(1).any(|rest| !rest.contains('}')) {
                self.fatal(format!("{whose} has a variable without an end: {text:?}"));
            }
        }
    }

    /// Paths begin at the extension's root, and stay below it.
    fn path(&mut self, whose: &str, path: &str, is_right: impl Fn(&Inode) -> bool) {
        let path = path.trim();
        if path.contains("${") {
            return;
        }
        let place = TreePath::parse(path.trim_start_matches('/')).ok();
        let place = place.filter(|place| !place.is_root());
        let Some(place) = place else {
            return self.fatal(format!("{whose} is at {path:?}, which is no path below the root"));
        };
        let found = self.tree.resolve(&place).ok().and_then(|place| self.tree.get(&place));
        match found {
            Some(inode) if is_right(inode) => {}
            Some(_) => self.fatal(format!("{whose} is at {place}, which cannot be executed")),
            None => self.fatal(format!("{whose} is at {place}, where nothing is")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta, NoContents};

    fn tree(manifest: &str) -> Tree {
        let mut tree = Tree::default();
        let files = [(MANIFEST, manifest, 0o644), ("usr/local/bin/aa", "ELF", 0o755)];
        for (path, text, mode) in files.into_iter().chain([("etc/aa.json", "{}", 0o644)]) {
            let path = TreePath::parse(path).unwrap();
            tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
            let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
            tree.insert(&path, Inode { meta: Meta::root(mode), kind }).unwrap();
        }
        tree
    }

    fn judged(manifest: &str) -> Vec<String> {
        let lacks = extension(&tree(manifest), &NoContents).unwrap();
        lacks.into_iter().map(|lack| lack.what).collect()
    }

    const GOOD: &str = r#"
        schema_version = 1
        [paths]
        config = "etc/aa.json"
        [[process]]
        id = "aa"
        level = 1
        select = "${attester_variant}"
        args = ["--socket", "${aa_socket}"]
        timeout_secs = "${launch_process_timeout}"
        [[process.optional_args]]
        when = "initdata"
        args = ["-i", "${initdata}"]
        [process.variants.default]
        path = "usr/local/bin/aa"
        [process.variants.other]
        path = "/usr/local/bin/aa"
        env = { A = "b" }
    "#;

    #[test]
    fn a_good_manifest_lacks_nothing_and_no_manifest_is_no_extension() {
        assert_eq!(judged(GOOD), Vec::<String>::new());
        assert!(is_extension(&tree(GOOD)));
        assert!(!is_extension(&Tree::default()));
        assert!(extension(&Tree::default(), &NoContents).unwrap().is_empty());
    }

    #[test]
    fn each_mistake_is_told() {
        let cases = [
            ("schema_version = 1", "schema_version = 2", "has the version 2, and agents know 1"),
            ("schema_version = 1", "", "is no manifest of components: missing field"),
            ("\"etc/aa.json\"", "\"../aa.json\"", "which is no path below the root"),
            ("\"etc/aa.json\"", "\"etc/bb.json\"", "/etc/bb.json, where nothing is"),
            ("\"usr/local/bin/aa\"", "\"etc/aa.json\"", "which cannot be executed"),
            ("variants.default", "variants.usual", "none that is the default"),
            ("${aa_socket}", "${aa_socket", "a variable without an end"),
            ("${launch_process_timeout}", "soon", "which is no number of seconds"),
            ("path = \"usr/local/bin/aa\"", "args = []", "has no path in its variant"),
        ];
        for (right, wrong, rule) in cases {
            let told = judged(&GOOD.replacen(right, wrong, 1)).join("\n");
            assert!(told.contains(rule), "{wrong}: {told}");
        }
    }
}
