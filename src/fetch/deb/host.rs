//! The host's own apt configuration: where this machine gets the same distribution from.
//!
//! In: the texts of `sources.list`, `*.list` and `*.sources` (sources.list(5)). Out: the roots that
//! serve the suites of a distribution. Whom to trust is not read from there: keys are pinned. What
//! cannot be understood is passed over, since it is not ours to complain about.

use std::path::Path;

use crate::fetch::url::Url;
use crate::store;

/// One place that the host's apt uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub root: Url,
    pub suites: Vec<String>,
    pub components: Vec<String>,
}

/// Reads the configuration below `root` (`/` on a real host), in apt's order.
pub(super) fn read(root: &Path) -> Vec<Entry> {
    let apt = root.join("etc/apt");
    let mut entries = text(&apt.join("sources.list")).map_or_else(Vec::new, |t| one_line(&t));
    for file in store::paths_in(&apt.join("sources.list.d")).unwrap_or_default() {
        let Some(content) = text(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(one_line(&content)),
            Some("sources") => entries.extend(deb822(&content)),
            _ => {}
        }
    }
    entries
}

fn text(path: &Path) -> Option<String> {
    fs_err::read_to_string(path).ok()
}

/// `deb [ option=value … ] uri suite component …`, one a line.
fn one_line(text: &str) -> Vec<Entry> {
    text.lines().filter_map(one_entry).collect()
}

fn one_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    let root = words.next()?.parse().ok()?;
    let suites = vec![words.next()?.to_owned()];
    Some(Entry { root, suites, components: words.map(str::to_owned).collect() })
}

/// Paragraphs with `Types`, `URIs`, `Suites`, `Components`, `Enabled`.
fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(entries_of(&paragraph));
            paragraph.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            paragraph.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn entries_of(paragraph: &[(String, String)]) -> Vec<Entry> {
    let words = |name: &str| -> Vec<String> {
        let value = paragraph.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        value.into_iter().flat_map(|v| v.split_ascii_whitespace()).map(str::to_owned).collect()
    };
    let disabled = matches!(
        words("enabled").first().map(String::as_str),
        Some("no" | "false" | "without" | "off" | "disable")
    );
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let roots = words("uris").into_iter().filter_map(|uri| uri.parse().ok());
    let entry = |root| Entry { root, suites: words("suites"), components: words("components") };
    roots.map(entry).collect()
}

/// The roots that serve one of `suites` with one of `components`: a place that has one suite of a
/// distribution has its others too. Those that name more of the suites come first.
pub(super) fn roots_of(entries: &[Entry], suites: &[&str], components: &[String]) -> Vec<Url> {
    let mut found: Vec<(usize, Url)> = Vec::new();
    for entry in entries {
        let common = entry.suites.iter().filter(|suite| suites.contains(&suite.as_str())).count();
        if common == 0 || !entry.components.iter().any(|name| components.contains(name)) {
            continue;
        }
        match found.iter_mut().find(|(_, root)| *root == entry.root) {
            Some((count, _)) => *count = count.saturating_add(common),
            None => found.push((common, entry.root.clone())),
        }
    }
    found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    found.into_iter().map(|(_, root)| root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(entries: &[Entry], suites: &[&str]) -> Vec<String> {
        let main = ["main".to_owned()];
        roots_of(entries, suites, &main).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_notations_of_apt_are_understood() {
        let old = one_line(
            "# deb http://no/ bookworm main\n\
             deb-src http://src/ bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://third/prod bookworm main # x\n\
             deb http://m/debian bookworm main contrib\n\
             deb http://m/debian bookworm-updates main\n\
             deb http://docker/ bookworm stable\n\
             deb cdrom:[Debian]/ bookworm main\n",
        );
        // The mirror that has two of the suites comes before the stranger that has one.
        let suites = ["bookworm", "bookworm-updates"];
        assert_eq!(roots(&old, &suites), ["http://m/debian", "http://third/prod"]);
        let new = deb822(
            "Types: deb deb-src\n# a remark\nURIs: http://a/debian\n https://b/debian\n\
             Suites: trixie\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://c/\nSuites: trixie\nComponents: main\n\n\
             Types: deb\nURIs: http://s/debian-security\nSuites: trixie-security\nComponents: main",
        );
        assert_eq!(roots(&new, &["trixie"]), ["http://a/debian", "https://b/debian"]);
        assert_eq!(roots(&new, &["trixie-security"]), ["http://s/debian-security"]);
        assert_eq!(roots(&new, &["noble"]), Vec::<String>::new());
    }

    #[test]
    fn nonsense_is_passed_over() {
        for nonsense in ["deb", "deb [", "deb [x]", "deb x y z", "debian http://a/ b c", ": :\n\n:"]
        {
            assert!(one_line(nonsense).is_empty() && deb822(nonsense).is_empty(), "{nonsense}");
        }
    }
}
