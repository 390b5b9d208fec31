//! Modules: packages of streams that nobody chose are hidden, and those of chosen ones hide others.
//!
//! In: the packages and streams of all repositories, and the streams that are wanted; out: the packages
//! without what is hidden. A stream is chosen if it is wanted or else the default of its module. As in
//! dnf, a package of a stream that is not chosen cannot be installed, and one outside of modules cannot
//! either if a chosen stream has one of its name. Which versions and contexts of a chosen stream fit
//! together is not asked: the solver takes the latest packages that do.

use std::collections::{BTreeMap, BTreeSet};

use crate::package::rpm::info::Info;
use crate::package::rpm::modules::Stream;
use crate::package::rpm::version::Version;

/// Removes what is hidden from the lists.
///
/// # Errors
/// [`NoStream`] for a stream that is wanted and that nobody has.
pub(super) fn hide(
    lists: &mut [Vec<Info<'_>>],
    streams: &[Stream<'_>],
    wanted: &[String],
) -> Result<(), NoStream> {
    if streams.is_empty() && wanted.is_empty() {
        return Ok(());
    }
    let chosen = chosen(streams, wanted)?;
    let is_chosen = |stream: &&Stream<'_>| chosen.get(stream.module) == Some(&stream.stream);
    let packages = |chosen: bool| {
        let of = streams.iter().filter(|stream| !stream.is_default);
        let of = of.filter(move |stream| is_chosen(stream) == chosen);
        of.flat_map(|stream| stream.packages.iter().filter_map(|text| identity(text)))
    };
    let shown: BTreeSet<Identity> = packages(true).collect();
    let hidden: BTreeSet<Identity> = packages(false).collect();
    let names: BTreeSet<&str> = shown.iter().map(|(name, ..)| *name).collect();
    for list in lists {
        list.retain(|info| {
            let identity = (info.name, info.version.to_string(), info.architecture);
            let identity = (identity.0, identity.1, identity.2);
            shown.contains(&identity) || !(hidden.contains(&identity) || names.contains(info.name))
        });
    }
    Ok(())
}

/// Which stream of each module is chosen.
fn chosen<'a>(
    streams: &'a [Stream<'_>],
    wanted: &'a [String],
) -> Result<BTreeMap<&'a str, &'a str>, NoStream> {
    let defaults = streams.iter().filter(|stream| stream.is_default);
    let mut chosen: BTreeMap<&str, &str> =
        defaults.map(|stream| (stream.module, stream.stream)).collect();
    for text in wanted {
        let (module, stream) = text.split_once(':').unwrap_or((text, ""));
        let is_there = |known: &Stream<'_>| {
            !known.is_default && (known.module, known.stream) == (module, stream)
        };
        if !streams.iter().any(is_there) {
            return Err(NoStream { stream: text.clone() });
        }
        chosen.insert(module, stream);
    }
    Ok(chosen)
}

/// Name, version and architecture.
type Identity<'a> = (&'a str, String, &'a str);

/// Reads name-epoch:version-release.architecture.
fn identity(text: &str) -> Option<Identity<'_>> {
    let (rest, architecture) = text.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
    let version = Version::of_parts(epoch, version, release).ok()?;
    Some((name, version.to_string(), architecture))
}

/// A stream that nobody has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no repository has the module stream {stream}")]
pub(super) struct NoStream {
    /// Which.
    stream: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::rpm::{info, modules};

    const PACKAGES: &str = "\
N\tperl\tx86_64\t4\t5.26\t1\t0\t\t0\tp
N\tperl\tx86_64\t4\t5.30\t1.module\t0\t\t0\tp
N\tperl\tx86_64\t4\t5.32\t1.module\t0\t\t0\tp
N\tperl-libs\tx86_64\t4\t5.40\t1\t0\t\t0\tp
N\tbash\tx86_64\t0\t5\t1\t0\t\t0\tp
";
    const MODULES: &str = "\
D\tperl\t5.30
M\tperl\t5.30
A\tperl-4:5.30-1.module.x86_64
M\tperl\t5.32
A\tperl-4:5.32-1.module.x86_64
A\tperl-libs-4:5.32-1.module.x86_64
";

    fn left(modules: &str, wanted: &[&str]) -> Result<Vec<String>, NoStream> {
        let mut lists = [info::parse(PACKAGES).unwrap()];
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        hide(&mut lists, &modules::parse(modules), &wanted)?;
        Ok(lists[0].iter().map(|info| format!("{} {}", info.name, info.version)).collect())
    }

    #[test]
    fn the_default_stream_hides_other_streams_and_packages_outside_of_modules() {
        let found = left(MODULES, &[]).unwrap();
        assert_eq!(found, ["perl 4:5.30-1.module", "perl-libs 4:5.40-1", "bash 5-1"]);
        assert_eq!(left("", &[]).unwrap().len(), 5);
    }

    #[test]
    fn a_stream_that_is_wanted_takes_the_place_of_the_default_one() {
        let found = left(MODULES, &["perl:5.32"]).unwrap();
        assert_eq!(found, ["perl 4:5.32-1.module", "bash 5-1"]);
        let missing = left(MODULES, &["perl:5.99"]).unwrap_err();
        assert_eq!(missing.to_string(), "no repository has the module stream perl:5.99");
    }

    #[test]
    fn without_a_default_no_modular_package_is_left() {
        let without: String = MODULES.lines().skip(1).map(|line| format!("{line}\n")).collect();
        let found = left(&without, &[]).unwrap();
        assert_eq!(found, ["perl 4:5.26-1", "perl-libs 4:5.40-1", "bash 5-1"]);
    }
}
