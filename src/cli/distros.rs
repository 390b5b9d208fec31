//! `osbuilder distros`: what can be built.

use std::process::ExitCode;

use osbuilder::distro::{Distro, Release};
use serde_json::json;

use super::arguments::DistrosArguments;
use super::{Failure, Session};

/// Lists names, or a table of distributions, releases and architectures.
pub(super) fn run(arguments: &DistrosArguments, session: &Session) -> Result<ExitCode, Failure> {
    for distro in Distro::all() {
        if arguments.names {
            session.print(&distro.name);
        } else if session.json {
            session.print(&as_json(distro).to_string());
        } else {
            as_table(distro).iter().for_each(|line| session.print(line));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(distro: &Distro) -> serde_json::Value {
    let releases: Vec<_> = (distro.releases.iter())
        .map(|release| {
            json!({
                "codename": release.codename, "version": release.version,
                "aliases": release.aliases, "architectures": names(release),
            })
        })
        .collect();
    json!({"name": distro.name, "title": distro.title, "default": distro.default_release,
        "releases": releases})
}

fn names(release: &Release) -> Vec<&'static str> {
    release.architectures.iter().map(|architecture| architecture.kernel_name()).collect()
}

fn as_table(distro: &Distro) -> Vec<String> {
    let lines = distro.releases.iter().map(|release| {
        let is_default = release.codename == distro.default_release;
        let mark = if is_default { " (default)" } else { "" };
        let architectures = names(release).join(" ");
        let name = format!("{}{mark}", release.codename);
        format!("{:8} {name:20} {:8} {architectures}", distro.name, release.version)
    });
    lines.collect()
}
