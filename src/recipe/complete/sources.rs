//! Where packages come from: mirrors, repositories, components and suites, each checked to be one.

use super::Completer;
use crate::distro::{Architecture, Distro};
use crate::recipe::Sources;
use crate::recipe::layer::SourceLayer;
use crate::recipe::mistake::{Given, Origin};

impl Completer<'_> {
    pub(super) fn sources(
        &mut self,
        layer: SourceLayer,
        place: Option<(&Distro, Architecture)>,
    ) -> Sources {
        if let Some((distro, _)) = place {
            self.check_has_components(distro, &layer.components);
        }
        let architecture = place.map(|(_, architecture)| architecture);
        let x86 = architecture == Some(Architecture::X86_64) && !layer.mirrors_x86_64.is_empty();
        let mirrors = if x86 { layer.mirrors_x86_64 } else { layer.mirrors };
        Sources {
            mirrors: self.all(mirrors, check_url),
            repositories: self.all(layer.repositories, check_repository),
            keys: layer.keys.into_iter().map(|given| given.value).collect(),
            components: self.all(layer.components, check_archive_path),
            extra_suites: self.all(layer.extra_suites, check_archive_path),
            release_only: layer.release_only.is_some_and(|given| given.value),
            insecure: layer.insecure.is_some_and(|given| given.value),
        }
    }

    /// A variable may be there for other builds: in Kata's builder it is Ubuntu's and no other's.
    fn check_has_components(&mut self, distro: &Distro, given: &[Given<String>]) {
        let is_meant = |given: &&Given<String>| !matches!(given.origin, Origin::Variable(_));
        if distro.components.is_empty()
            && let Some(given) = given.iter().find(is_meant)
        {
            let message = format!("an archive of {} has no components", distro.title);
            self.mistakes.add(&given.origin, message);
        }
    }

    fn all(
        &mut self,
        given: Vec<Given<String>>,
        check: fn(&str) -> Result<(), String>,
    ) -> Vec<String> {
        let mut good = Vec::new();
        for given in given {
            if self.mistakes.check(&given.origin, check(&given.value)).is_some() {
                good.push(given.value.trim_end_matches('/').to_owned());
            }
        }
        good
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let rest = ["http://", "https://", "file://"].iter().find_map(|s| text.strip_prefix(s));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match rest {
        Some(rest) if !rest.trim_end_matches('/').is_empty() && printable => Ok(()),
        _ => Err(format!("{text:?} is not an address of the form http://, https:// or file://")),
    }
}

/// A flat repository is an address; any other one an address, a suite and components.
fn check_repository(text: &str) -> Result<(), String> {
    let mut words = text.split(' ').peekable();
    // The tag of a repository of Alpine's kind.
    if let Some(tag) = words.next_if(|word| word.starts_with('@')) {
        check_archive_path(tag.trim_start_matches('@'))?;
    }
    // Whose signature counts, as in the lists of apt.
    words.next_if(|word| word.starts_with("[signed-by=/") && word.ends_with(']'));
    check_url(words.next().unwrap_or_default())?;
    words.try_for_each(check_archive_path)
}

/// Names of suites and components become parts of addresses.
fn check_archive_path(text: &str) -> Result<(), String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/+-~".contains(&b));
    let clean = text.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if letters && clean {
        Ok(())
    } else {
        Err(format!("{text:?} is not the name of a suite or component"))
    }
}
