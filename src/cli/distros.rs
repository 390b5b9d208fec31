//! `osbuilder distros`: what can be built, and how far each kind of guest was tried.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use osbuilder::distro::{self, Catalogue, Cell, DataFile, Distro, How, Release, Signed};
use serde_json::json;

use super::arguments::DistrosArguments;
use super::{Failure, Kind, Session};

/// Lists names, or the matrix of distributions, architectures and first processes; or checks a data file.
pub(super) fn run(arguments: &DistrosArguments, session: &Session) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.check {
        return check(path, session);
    }
    if let Some(name) = &arguments.show {
        return show(name, session);
    }
    for distro in session.catalogue()?.all() {
        if arguments.names && session.json {
            session.print(&json!({ "name": distro.name }).to_string());
        } else if arguments.names {
            session.print(&distro.name);
        } else if session.json {
            session.print(&as_json(distro).to_string());
        } else {
            as_table(distro).iter().for_each(|line| session.print(line));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a data file that is compiled in, to be changed and put beside.
fn show(name: &str, session: &Session) -> Result<ExitCode, Failure> {
    let catalogue = Catalogue::default();
    let distro = catalogue.find(name).map_err(|error| Failure::new(Kind::Request, error))?;
    let file = Path::new(&distro.name).with_extension("toml");
    let own = Catalogue::files().find(|known| known.path == file);
    session.print(own.map_or("", |known| known.text).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Says what is wrong with a file, or what it describes.
fn check(path: &Path, session: &Session) -> Result<ExitCode, Failure> {
    let request = |error| Failure::new(Kind::Request, error);
    let text = fs_err::read_to_string(path).map_err(request)?;
    let distro = distro::read(DataFile { path, text: &text })
        .map_err(|flaws| Failure::new(Kind::Request, flaws))?;
    match session.json {
        true => session.print(&as_json(&distro).to_string()),
        false => as_table(&distro).iter().for_each(|line| session.print(line)),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(distro: &Distro) -> serde_json::Value {
    let releases: Vec<_> = (distro.releases.iter())
        .map(|release| {
            let names = release.architectures.iter().map(|a| a.kernel_name()).collect::<Vec<_>>();
            json!({
                "codename": release.codename, "version": release.version,
                "aliases": release.aliases, "architectures": names,
            })
        })
        .collect();
    json!({"name": distro.name, "title": distro.title, "aliases": distro.aliases,
        "default": distro.default_release, "remark": remark(distro), "releases": releases,
        "cells": distro::cells(distro)})
}

/// What a person must know before building, if there is something.
fn remark(distro: &Distro) -> Option<String> {
    let signed = match distro.signed {
        Signed::Nothing => Some("nothing of it is signed: --insecure is needed"),
        Signed::Packages => Some("packages are signed, metadata is not"),
        Signed::Metadata => None,
    };
    let is_untried = |cell: &Cell| matches!(cell.how, How::Data | How::Chosen);
    let ours = Catalogue::default();
    let is_ours = ours.all().iter().any(|known| known.name == distro.name);
    let untried = is_ours && distro::cells(distro).iter().all(is_untried);
    let untried = untried.then_some("never built nor booted here, for want of its packages");
    let remarks: Vec<_> = signed.into_iter().chain(untried).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

/// A line with the releases, and one for each architecture.
fn as_table(distro: &Distro) -> Vec<String> {
    let releases: Vec<String> = distro.releases.iter().map(|r| named(r, distro)).collect();
    let remark = remark(distro).map(|text| format!(" ({text})")).unwrap_or_default();
    let mut lines = vec![format!("{}: {}{remark}", distro.name, releases.join(", "))];
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let cells = distro::cells(distro);
    for cell in &cells {
        rows.entry(cell.architecture).or_default().push(tried(cell));
    }
    let order = cells.iter().map(|cell| cell.architecture);
    let mut order: Vec<&str> = order.collect();
    order.dedup();
    for architecture in order {
        let row = rows.get(architecture).map(|row| row.join("")).unwrap_or_default();
        lines.push(format!("  {architecture:9}{}", row.trim_end()));
    }
    lines
}

fn named(release: &Release, distro: &Distro) -> String {
    let is_default = release.codename == distro.default_release;
    let number = Some(&release.version).filter(|number| **number != release.codename);
    let number = number.map(|number| format!(" {number}")).unwrap_or_default();
    format!("{}{number}{}", release.codename, if is_default { " (default)" } else { "" })
}

fn tried(cell: &Cell) -> String {
    let release = cell.release.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{:9}{:42}", cell.init.name(), format!("{}{release}", cell.how.words()))
}
