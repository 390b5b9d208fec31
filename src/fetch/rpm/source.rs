//! Which repositories a recipe asks for, where each may be fetched and who must have signed it.
//!
//! In: a recipe. Out: one [`Source`] for each of the release's repositories, in the order of priority:
//! the distribution's own first, then the user's. In addresses `$arch` and `$basearch` stand for the
//! architecture and `$releasever` for the release's number. Nothing is fetched here; of mirrors in the
//! local file system it is looked at whether they are one repository themselves.

use std::path::PathBuf;

use super::index::REPOMD;
use crate::distro::{Signed, Suite};
use crate::fetch::Error;
use crate::fetch::keys::Trust;
use crate::fetch::url::{Scheme, Url, stays_below};
use crate::recipe::Recipe;

/// One repository to be read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What the lock calls it: the distribution's own address or the user's.
    pub root: Url,
    /// Its folder below the root; empty for a repository of the user's.
    pub folder: String,
    /// Where it may be fetched, in the order of trying: the folders that hold `repodata`.
    pub places: Vec<Url>,
    /// Where a list of mirrors with the digest of `repomd.xml` can be had.
    pub metalink: Option<Url>,
    /// Where a plain list of mirrors can be had, and what the variables in its lines stand for.
    pub mirrorlist: Option<(Url, Variables)>,
    pub trust: Trust,
    /// What of it bears signatures.
    pub signed: Signed,
}

impl Source {
    /// What the lock records as suite.
    pub(super) fn suite(&self) -> String {
        if self.folder.is_empty() { "./".to_owned() } else { self.folder.clone() }
    }

    /// Whether metadata that bears no signature is as good as its transport from `place`: where only
    /// packages are signed, and the place is one of the distribution's own or of the user's.
    pub(super) fn is_vouched_by_transport(&self, place: &Url) -> bool {
        self.signed == Signed::Packages
            && self.places.contains(place)
            && matches!(place.scheme(), Scheme::Https | Scheme::File)
    }

    /// For messages: `https://m/mariner prod/base/x86_64`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.root, self.suite())
    }
}

/// The folder of a repository below a root, as the lock names both.
pub(super) fn below(root: &Url, suite: &str) -> Url {
    if suite == "./" { root.clone() } else { root.join(suite) }
}

/// Lists the repositories of `recipe`.
pub(super) fn sources(recipe: &Recipe) -> Result<Vec<Source>, Error> {
    let mut sources = of_distribution(recipe)?;
    for text in &recipe.sources.repositories {
        sources.push(of_user(text)?);
    }
    Ok(sources)
}

fn of_distribution(recipe: &Recipe) -> Result<Vec<Source>, Error> {
    let pins = recipe.release.keys.iter().map(|key| key.parse().map_err(Error::Pin));
    let and_the_users = !recipe.sources.mirrors.is_empty();
    let trust = Trust::Distribution { pins: pins.collect::<Result<_, _>>()?, and_the_users };
    let signed = recipe.distro.signed;
    let named: Vec<Url> = parsed(recipe.sources.mirrors.iter().map(String::as_str))?;
    let (whole, named): (Vec<_>, Vec<_>) = named.into_iter().partition(is_repository);
    let one = |root: Url| Source {
        places: vec![root.clone()],
        root,
        folder: String::new(),
        metalink: None,
        mirrorlist: None,
        trust: trust.clone(),
        signed,
    };
    let mut sources: Vec<Source> = whole.into_iter().map(one).collect();
    if !sources.is_empty() && named.is_empty() {
        let rule = "the mirror is one repository itself and has no others; --repository names them";
        return match recipe.sources.extra_suites.first() {
            Some(suite) => Err(Error::Repository { text: suite.clone(), rule }),
            None => Ok(sources),
        };
    }
    let built_in = recipe.distro.mirrors_for(&recipe.release, recipe.architecture);
    let built_in = built_in.map(|mirror| variables(&mirror.url, recipe));
    let built_in = parsed(built_in.collect::<Vec<_>>().iter().map(String::as_str))?;
    let root = built_in.first().cloned().ok_or_else(|| Error::NoPlace {
        distro: recipe.distro.title.clone(),
        architecture: recipe.architecture.to_string(),
    })?;
    let mirrors = if named.is_empty() { built_in } else { named };
    let wanted = |suite: &&Suite| !(recipe.sources.release_only && suite.updates);
    for suite in recipe.release.suites_for(recipe.architecture).filter(wanted) {
        let folder = folder(&suite.name, recipe)?;
        let list = |address: &Option<String>| {
            let address = address.as_ref().map(|address| variables(address, recipe).parse());
            address.transpose().map_err(Error::Url)
        };
        sources.push(Source {
            root: root.clone(),
            places: mirrors.iter().map(|mirror| mirror.join(&folder)).collect(),
            folder,
            metalink: list(&suite.metalink)?,
            mirrorlist: list(&suite.mirrorlist)?.map(|url| (url, Variables::of(recipe))),
            trust: trust.clone(),
            signed,
        });
    }
    for suite in &recipe.sources.extra_suites {
        let (folder, root) = (folder(suite, recipe)?, root.clone());
        let places = mirrors.iter().map(|mirror| mirror.join(&folder)).collect();
        sources.push(Source {
            root,
            folder,
            places,
            metalink: None,
            mirrorlist: None,
            trust: trust.clone(),
            signed,
        });
    }
    Ok(sources)
}

/// The folder of a repository below a mirror.
fn folder(suite: &str, recipe: &Recipe) -> Result<String, Error> {
    let folder = variables(suite, recipe);
    if stays_below(&folder) {
        return Ok(folder);
    }
    Err(Error::Repository { text: folder, rule: "a part of it leads elsewhere" })
}

/// What variables in addresses stand for.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    pub architecture: &'static str,
    pub release: String,
}

impl Variables {
    fn of(recipe: &Recipe) -> Self {
        let release = recipe.release.version.clone();
        Self { architecture: recipe.architecture.rpm_name(), release }
    }

    /// Puts values in the place of variables.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("$basearch", self.architecture)
            .replace("$arch", self.architecture)
            .replace("$releasever", &self.release)
    }
}

fn variables(text: &str, recipe: &Recipe) -> String {
    Variables::of(recipe).fill(text)
}

/// Whether a mirror is a folder of this machine with metadata of its own.
fn is_repository(mirror: &Url) -> bool {
    mirror.join(REPOMD).file_path().is_some_and(|path| path.is_file())
}

fn parsed<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Url>, Error> {
    texts.map(|text| text.trim_end_matches('/').parse().map_err(Error::Url)).collect()
}

/// `[signed-by=FILE] URL`, where the brackets are written.
fn of_user(text: &str) -> Result<Source, Error> {
    let malformed = |rule| Error::Repository { text: text.to_owned(), rule };
    let mut words = text.split_ascii_whitespace().peekable();
    let trust = match words.next_if(|word| word.starts_with('[')) {
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
    let places = vec![root.clone()];
    let (folder, metalink, mirrorlist) = (String::new(), None, None);
    Ok(Source { root, folder, places, metalink, mirrorlist, trust, signed: Signed::Metadata })
}
