//! The option `--sbom`: bills of materials beside an output.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use osbuilder::Guest;
use osbuilder::lock::Lock;
use osbuilder::output::Written;
use osbuilder::recipe::{Init, Recipe};
use osbuilder::sbom::{Agent, Bill, Format, Subject};
use osbuilder::tree::Contents;

use super::arguments::Form;
use super::{Failure, Kind, Session};

/// A bill that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    path: PathBuf,
    format: Format,
}

impl Wanted {
    /// Reads the option's value.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let format = Format::of_name(name);
        let rule = "its name ends in .spdx.json (SPDX 2.3) or .cdx.json (CycloneDX 1.6)";
        format.map(|format| Self { path, format }).ok_or_else(|| rule.to_owned())
    }

    /// Where it shall be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The bills that were asked for, and what stands in them.
pub(super) struct Bills<'a> {
    wanted: &'a [Wanted],
    bill: Option<Bill>,
}

impl<'a> Bills<'a> {
    /// Looks up what is in a tree, if anybody wants to know: before the database goes.
    pub(super) fn look(
        wanted: &'a [Wanted],
        guest: &Guest,
        contents: &dyn Contents,
        lock: Option<&Lock>,
    ) -> Result<Self, Failure> {
        if wanted.is_empty() {
            return Ok(Self { wanted, bill: None });
        }
        let bill = Bill::of_packages(&guest.tree, contents, lock);
        let bill = bill.map_err(|error| Failure::new(Kind::Failed, error))?;
        if bill.is_empty() {
            let failure = Failure::new(Kind::Request, "the tree has no database of packages");
            let hint = "--sbom goes with the build that installs packages, or with --keep-database";
            return Err(failure.hint(hint));
        }
        Ok(Self { wanted, bill: Some(bill) })
    }

    /// Writes the bills of an output, each at once and whole.
    pub(super) fn write(
        self,
        (written, form): (&Written, Form),
        guest: &Guest,
        recipe: &Recipe,
        session: &Session,
    ) -> Result<(), Failure> {
        let Some(mut bill) = self.bill else { return Ok(()) };
        let agent = Agent {
            name: &recipe.guest.agent_name,
            version: recipe.guest.agent_version.as_deref(),
            is_init: recipe.init == Init::Agent,
        };
        bill.add_agent(&guest.tree, agent);
        let name = written.path.file_name().unwrap_or(written.path.as_os_str()).to_string_lossy();
        let subject = Subject {
            name: &name,
            digest: written.digest,
            is_file: form != Form::Rootfs,
            epoch: guest.epoch,
        };
        let write =
            |wanted: &Wanted| session.write(&bill.text(&subject, wanted.format), &wanted.path);
        self.wanted.iter().try_for_each(write)
    }
}
