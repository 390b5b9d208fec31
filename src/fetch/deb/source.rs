//! Which repositories a recipe asks for, where each may be fetched and who must have signed it.
//!
//! In: a recipe and the host's apt configuration. Out: one [`Source`] per suite, in the order of
//! priority: the distribution's own first, then the user's. Nothing is fetched here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::host;
use crate::distro::Mirror;
use crate::fetch::Error;
use crate::fetch::keys::Trust;
use crate::fetch::url::{Scheme, Url, stays_below};
use crate::recipe::Recipe;

/// One repository to be read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What the lock calls it: the distribution's own address or the user's.
    pub root: Url,
    pub layout: Layout,
    /// Where it may be fetched, in the order of trying.
    pub mirrors: Vec<Url>,
    pub trust: Trust,
}

/// How a repository is laid out below its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// `dists/SUITE/COMPONENT/binary-ARCH/Packages`.
    Suite { suite: String, components: Vec<String> },
    /// `PATH/Packages`; the path is empty or ends with a slash.
    Flat { path: String },
}

impl Source {
    /// What the lock records as suite.
    pub(super) fn suite(&self) -> String {
        match &self.layout {
            Layout::Suite { suite, .. } => suite.clone(),
            Layout::Flat { path } if path.is_empty() => "./".to_owned(),
            Layout::Flat { path } => path.clone(),
        }
    }

    pub(super) fn components(&self) -> Vec<String> {
        match &self.layout {
            Layout::Suite { components, .. } => components.clone(),
            Layout::Flat { .. } => Vec::new(),
        }
    }

    /// The folder of the release file below the root, empty or with a final slash.
    pub(super) fn folder(&self) -> String {
        match &self.layout {
            Layout::Suite { suite, .. } => format!("dists/{suite}/"),
            Layout::Flat { path } => path.clone(),
        }
    }

    /// For messages: `http://m/debian trixie`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.root, self.suite())
    }
}

/// Lists the repositories of `recipe`; `host` is what [`host::read`] found.
pub(super) fn sources(recipe: &Recipe, host: &[host::Entry]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for (suite, security) in suites(recipe) {
        sources.push(of_distribution(recipe, host, (suite, security))?);
    }
    for text in &recipe.sources.repositories {
        sources.push(of_user(text)?);
    }
    Ok(sources)
}

fn suites(recipe: &Recipe) -> Vec<(String, bool)> {
    let all = recipe.release.suites_for(recipe.architecture);
    let limit = if recipe.sources.release_only { 1 } else { usize::MAX };
    let own = all.take(limit).map(|suite| (suite.name.clone(), suite.security));
    let extra = recipe.sources.extra_suites.iter().map(|suite| (suite.clone(), false));
    own.chain(extra).collect()
}

fn of_distribution(
    recipe: &Recipe,
    host: &[host::Entry],
    (suite, security): (String, bool),
) -> Result<Source, Error> {
    let distro = &recipe.distro;
    let components = match recipe.sources.components.as_slice() {
        [] => distro.components.clone(),
        named => named.to_vec(),
    };
    check_path(&suite, &suite)?;
    components.iter().try_for_each(|component| check_path(component, component))?;
    let built_in: Vec<Url> = distro
        .mirrors_for(&recipe.release, recipe.architecture)
        .map(|mirror| address(mirror, security).parse().map_err(Error::Url))
        .collect::<Result<_, _>>()?;
    let root = built_in.first().cloned().ok_or_else(|| Error::NoPlace {
        distro: distro.title.clone(),
        architecture: recipe.architecture.to_string(),
    })?;
    let mirrors = match named_mirrors(recipe, security)? {
        named if named.is_empty() => {
            let mut mirrors = host_mirrors(recipe, host, security);
            mirrors.extend(built_in);
            mirrors
        }
        mut named => {
            // Few mirrors carry the security archive; it is signed, so its own place will do. A
            // closed network that names only local folders is left alone.
            if security && named.iter().any(|mirror| mirror.scheme() != Scheme::File) {
                named.extend(built_in);
            }
            named
        }
    };
    let pins = recipe.release.keys.iter().map(|key| key.parse().map_err(Error::Pin));
    let and_the_users = !recipe.sources.mirrors.is_empty();
    let trust = Trust::Distribution { pins: pins.collect::<Result<_, _>>()?, and_the_users };
    let layout = Layout::Suite { suite, components };
    Ok(Source { root, layout, mirrors: without_repeats(mirrors), trust })
}

fn address(mirror: &Mirror, security: bool) -> &str {
    mirror.security.as_deref().filter(|_| security).unwrap_or(&mirror.url)
}

/// The user's mirrors. For security suites first the sibling that mirrors customarily have.
fn named_mirrors(recipe: &Recipe, security: bool) -> Result<Vec<Url>, Error> {
    let apart = security
        && recipe.distro.mirrors.iter().any(|mirror| {
            mirror.security.as_ref().is_some_and(|security| security.ends_with("-security"))
        });
    let mut mirrors = Vec::new();
    for text in &recipe.sources.mirrors {
        let root = text.trim_end_matches('/');
        if apart {
            mirrors.push(format!("{root}-security").parse().map_err(Error::Url)?);
        }
        mirrors.push(root.parse().map_err(Error::Url)?);
    }
    Ok(mirrors)
}

fn host_mirrors(recipe: &Recipe, host: &[host::Entry], security: bool) -> Vec<Url> {
    let all_suites = recipe.distro.releases.iter().flat_map(|release| &release.suites);
    let alike = all_suites.filter(|suite| suite.security == security);
    let names: Vec<&str> = alike.map(|suite| suite.name.as_str()).collect();
    host::roots_of(host, &names, &recipe.distro.components)
}

fn without_repeats(mirrors: Vec<Url>) -> Vec<Url> {
    let mut seen = BTreeSet::new();
    let key = |url: &Url| url.to_string().trim_end_matches('/').to_owned();
    mirrors.into_iter().filter(|url| seen.insert(key(url))).collect()
}

/// `[signed-by=FILE] URL [SUITE COMPONENT…]`; a suite that ends with `/` is the path of a flat one.
fn of_user(text: &str) -> Result<Source, Error> {
    let malformed = |rule| Error::Repository { text: text.to_owned(), rule };
    let (trust, rest) = match text.trim().strip_prefix('[') {
        None => (Trust::Users, text.trim()),
        Some(options) => {
            let (option, rest) =
                options.split_once(']').ok_or(malformed("the option has no `]`"))?;
            let file = option.trim().strip_prefix("signed-by=");
            let file = file.ok_or(malformed("the only option is signed-by=FILE"))?;
            (Trust::File(PathBuf::from(file)), rest)
        }
    };
    let mut words = rest.split_ascii_whitespace();
    let root: Url =
        words.next().ok_or(malformed("it has no address"))?.parse().map_err(Error::Url)?;
    let layout = match words.next() {
        None | Some("./" | "/") => Layout::Flat { path: String::new() },
        Some(path) if path.ends_with('/') => Layout::Flat { path: path.to_owned() },
        Some(suite) => {
            let components: Vec<String> = words.by_ref().map(str::to_owned).collect();
            if components.is_empty() {
                return Err(malformed(
                    "it names a suite and no component (as in `URL trixie main`)",
                ));
            }
            Layout::Suite { suite: suite.to_owned(), components }
        }
    };
    if words.next().is_some() {
        return Err(malformed("a flat repository has no components"));
    }
    let source = Source { mirrors: vec![root.clone()], root, layout, trust };
    let folder = source.folder();
    if !folder.is_empty() {
        check_path(folder.trim_end_matches('/'), text)?;
    }
    source.components().iter().try_for_each(|component| check_path(component, text))?;
    Ok(source)
}

fn check_path(path: &str, text: &str) -> Result<(), Error> {
    if stays_below(path) {
        return Ok(());
    }
    Err(Error::Repository { text: text.to_owned(), rule: "a part of it leads elsewhere" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_the_user_are_flat_or_have_suites() {
        let flat = of_user("file:///srv/repo/").unwrap();
        assert_eq!((flat.suite().as_str(), flat.folder().as_str()), ("./", ""));
        let below = of_user("http://x/r sub/dir/").unwrap();
        assert_eq!((below.suite().as_str(), below.folder().as_str()), ("sub/dir/", "sub/dir/"));
        let suite = of_user("[signed-by=/k.asc] https://x/r stable main extra").unwrap();
        assert_eq!(suite.folder(), "dists/stable/");
        assert_eq!(suite.components(), ["main", "extra"]);
        assert_eq!(suite.trust, Trust::File("/k.asc".into()));
        for bad in [
            "",
            "x",
            "http://x/r stable",
            "http://x/r ./ main",
            "http://x/r ../../ ",
            "[arch=amd64] http://x/r s c",
            "[signed-by=/k http://x",
            "http://x/r s ../c",
            "ftp://x/",
        ] {
            assert!(of_user(bad).is_err(), "{bad}");
        }
    }
}
