//! Which repositories a recipe asks for, where each may be fetched and who must have signed it.
//!
//! In: a recipe, and the roots that the host's apk uses. Out: one [`Source`] for each branch and
//! component, in the order of priority: the distribution's own first, then the user's. Nothing is
//! fetched here; of mirrors in the local file system it is looked at whether they are an installation
//! medium, which has one repository without branch and component.

use std::path::PathBuf;

use super::keys::{Pin, Trust};
use crate::fetch::Error;
use crate::fetch::url::{Url, stays_below};
use crate::package::apk::relation;
use crate::recipe::Recipe;

/// One repository to be read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What the lock calls it: the distribution's own address or the user's.
    pub root: Url,
    /// Its folder below the root: `v3.19/main`. Empty for a repository of the user's.
    pub folder: String,
    /// The branch that it must be of; none where the user may have any.
    pub branch: Option<String>,
    /// The tag that must be asked for to use it.
    pub tag: Option<String>,
    /// Where it may be fetched, in the order of trying: the folders that hold one for each
    /// architecture.
    pub places: Vec<Url>,
    pub trust: Trust,
}

impl Source {
    /// What the lock records as suite.
    pub(super) fn suite(&self) -> String {
        if self.folder.is_empty() { "./".to_owned() } else { self.folder.clone() }
    }

    /// For messages: `http://m/alpine v3.19/main`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.root, self.suite())
    }
}

/// The folder of a repository below a root, as the lock names both.
pub(super) fn below(root: &Url, suite: &str) -> Url {
    if suite == "./" { root.clone() } else { root.join(suite) }
}

/// Lists the repositories of `recipe`; `host` are the roots that the host's apk uses.
pub(super) fn sources(recipe: &Recipe, host: &[Url]) -> Result<Vec<Source>, Error> {
    let mut sources = of_distribution(recipe, host)?;
    for text in &recipe.sources.repositories {
        sources.push(of_user(text)?);
    }
    Ok(sources)
}

fn of_distribution(recipe: &Recipe, host: &[Url]) -> Result<Vec<Source>, Error> {
    let pins = recipe.release.keys.iter().map(|text| Pin::parse(text));
    let pins = pins.collect::<Result<Vec<_>, _>>()?;
    let pins = pins.into_iter().filter(|pin| pin.architecture == recipe.architecture).collect();
    let and_the_users = !recipe.sources.mirrors.is_empty();
    let trust = Trust::Distribution { pins, and_the_users };
    let named: Vec<Url> = parsed(recipe.sources.mirrors.iter().map(String::as_str))?;
    let (media, named): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|mirror| is_medium(mirror, recipe));
    let medium = |root: Url| Source {
        places: vec![root.clone()],
        root,
        folder: String::new(),
        branch: Some(recipe.release.codename.clone()),
        tag: None,
        trust: trust.clone(),
    };
    let mut sources: Vec<Source> = media.into_iter().map(medium).collect();
    if !sources.is_empty() && named.is_empty() {
        return match recipe.sources.extra_suites.first() {
            None => Ok(sources),
            Some(suite) => Err(Error::Repository {
                text: suite.clone(),
                rule: "the mirror is a medium, which has no branches",
            }),
        };
    }
    let built_in = recipe.distro.mirrors_for(&recipe.release, recipe.architecture);
    let built_in = parsed(built_in.map(|mirror| mirror.url.as_str()))?;
    let root = built_in.first().cloned().ok_or_else(|| Error::NoPlace {
        distro: recipe.distro.title.clone(),
        architecture: recipe.architecture.to_string(),
    })?;
    let mirrors = if named.is_empty() { [host, &built_in].concat() } else { named };
    for folder in folders(recipe)? {
        let mut places: Vec<Url> = Vec::new();
        for place in mirrors.iter().map(|mirror| below(mirror, &folder)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let (root, trust) = (root.clone(), trust.clone());
        let branch = folder.split('/').next().map(str::to_owned);
        sources.push(Source { root, folder, branch, tag: None, places, trust });
    }
    Ok(sources)
}

/// The folders of the wanted branches and components.
fn folders(recipe: &Recipe) -> Result<Vec<String>, Error> {
    let own = recipe.release.suites_for(recipe.architecture).map(|suite| suite.name.as_str());
    let extra = recipe.sources.extra_suites.iter().map(String::as_str);
    let components = match recipe.sources.components.as_slice() {
        [] => &recipe.distro.components,
        named => named,
    };
    let mut folders = Vec::new();
    for branch in own.chain(extra) {
        for component in components {
            let folder = format!("{branch}/{component}");
            if !stays_below(&folder) {
                return Err(Error::Repository {
                    text: folder,
                    rule: "a part of it leads elsewhere",
                });
            }
            folders.push(folder);
        }
    }
    Ok(folders)
}

/// Whether a mirror is a folder of this machine with an index of its own.
fn is_medium(mirror: &Url, recipe: &Recipe) -> bool {
    let mut indexes = super::index::paths(recipe).into_iter().map(|path| mirror.join(&path));
    indexes.any(|index| index.file_path().is_some_and(|path| path.is_file()))
}

fn parsed<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Url>, Error> {
    texts.map(|text| text.trim_end_matches('/').parse().map_err(Error::Url)).collect()
}

/// `[@TAG] [signed-by=FILE] URL`, where the brackets around the second word are written and those
/// around the first are not.
fn of_user(text: &str) -> Result<Source, Error> {
    let malformed = |rule| Error::Repository { text: text.to_owned(), rule };
    let mut words = text.split_ascii_whitespace().peekable();
    let tag = words.next_if(|word| word.starts_with('@')).map(|word| word.trim_start_matches('@'));
    if !tag.is_none_or(relation::is_tag) {
        return Err(malformed("its tag holds a character that no tag has"));
    }
    let option = words.next_if(|word| word.starts_with('['));
    let trust = match option {
        None => Trust::Users,
        Some(option) => {
            let file = option.strip_prefix("[signed-by=").and_then(|rest| rest.strip_suffix(']'));
            Trust::File(PathBuf::from(
                file.ok_or(malformed("the only option is [signed-by=FILE]"))?,
            ))
        }
    };
    let address = words.next().ok_or(malformed("it has no address"))?;
    if words.next().is_some() {
        return Err(malformed("something follows its address"));
    }
    let root: Url = address.trim_end_matches('/').parse().map_err(Error::Url)?;
    let (places, tag) = (vec![root.clone()], tag.map(str::to_owned));
    Ok(Source { root, folder: String::new(), branch: None, tag, places, trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_the_user_are_an_address_and_perhaps_a_tag_and_a_key() {
        let plain = of_user("https://m/alpine/edge/main/").unwrap();
        assert_eq!((plain.suite().as_str(), plain.tag.as_deref()), ("./", None));
        assert_eq!(plain.places[0].to_string(), "https://m/alpine/edge/main");
        let tagged = of_user("@edge [signed-by=/k.rsa.pub] file:///srv/repo").unwrap();
        assert_eq!(tagged.tag.as_deref(), Some("edge"));
        assert_eq!(tagged.trust, Trust::File("/k.rsa.pub".into()));
        for bad in ["", "@edge", "@ https://m", "ftp://x", "x", "https://m main", "[x] https://m"] {
            assert!(of_user(bad).is_err(), "{bad}");
        }
    }
}
