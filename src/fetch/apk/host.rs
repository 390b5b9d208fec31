//! The host's own apk configuration: where this machine gets Alpine from.
//!
//! In: the files of apk-repositories(5). Out: the roots that serve branches of the distribution. Whom
//! to trust is not read from there: keys are pinned. What cannot be understood is passed over, since it
//! is not ours to complain about.

use std::path::Path;

use crate::fetch::url::Url;
use crate::recipe::Recipe;

/// Reads the configuration below `root` (`/` on a real host).
pub(super) fn roots(root: &Path, recipe: &Recipe) -> Vec<Url> {
    let mut texts: Vec<String> = text(&root.join("etc/apk/repositories")).into_iter().collect();
    let folder = fs_err::read_dir(root.join("etc/apk/repositories.d"));
    let mut files: Vec<_> =
        folder.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "list"));
    texts.extend(files.iter().filter_map(|file| text(file)));
    let suites = recipe.distro.releases.iter().flat_map(|release| &release.suites);
    let mut branches: Vec<&str> = suites.map(|suite| suite.name.as_str()).collect();
    branches.push("latest-stable");
    let mut roots = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(root) = root_of(line, &branches, &recipe.distro.components)
            && !roots.contains(&root)
        {
            roots.push(root);
        }
    }
    roots
}

fn text(path: &Path) -> Option<String> {
    fs_err::read_to_string(path).ok()
}

/// The root of a line such as `https://mirror/alpine/v3.19/main`.
fn root_of(line: &str, branches: &[&str], components: &[String]) -> Option<Url> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    let address = if ["v2", "v3"].contains(&first) { words.next()? } else { first };
    let (rest, component) = match words.next() {
        None => address.trim_end_matches('/').rsplit_once('/')?,
        Some(component) => (address, component),
    };
    let (root, branch) = rest.trim_end_matches('/').rsplit_once('/')?;
    let known = components.iter().any(|name| name == component) && branches.contains(&branch);
    if known { root.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_found_in_both_notations_and_everything_else_is_passed_over() {
        let components = ["main".to_owned(), "community".to_owned()];
        let root =
            |line: &str| root_of(line, &["v3.19", "edge"], &components).map(|url| url.to_string());
        let expected = Some("https://m/alpine".to_owned());
        for line in [
            "https://m/alpine/v3.19/main",
            "https://m/alpine/edge/community/",
            "v2 https://m/alpine/v3.19 main community",
            "https://m/alpine/v3.19 main",
        ] {
            assert_eq!(root(line), expected, "{line}");
        }
        for line in [
            "",
            "#https://m/alpine/v3.19/main",
            "@edge https://m/alpine/edge/main",
            "https://m/alpine/v3.19/mine",
            "https://m/alpine/v3.2/main",
            "/media/cdrom/apks",
            "set x=1",
            "ndx https://m/alpine/v3.19/main/x86_64/APKINDEX.tar.gz",
        ] {
            assert_eq!(root(line), None, "{line}");
        }
    }
}
