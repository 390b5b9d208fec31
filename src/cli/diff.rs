//! `osbuilder diff`: what differs between two guests, whatever their forms.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use osbuilder::event::Event;
use osbuilder::inspect::{self, Aspect, Difference};
use osbuilder::lock::Lock;
use osbuilder::store::directory;
use osbuilder::tree::{Contents, Tree};

use super::arguments::DiffArguments;
use super::{Failure, Kind, Session, failed, no_guest};

/// Compares, and says so by the status: 0 without a difference, 1 with one.
pub(super) fn run(arguments: &DiffArguments, session: &Session) -> Result<ExitCode, Failure> {
    let first = Side::read(&arguments.first, session)?;
    let second = Side::read(&arguments.second, session)?;
    let mut found = Vec::new();
    if let (Some(first), Some(second)) = (&first.parts, &second.parts) {
        found.extend(Difference::between(Aspect::Part, first, second));
    }
    if let (Some(first), Some(second)) = (&first.packages, &second.packages) {
        found.extend(Difference::between(Aspect::Package, first, second));
    }
    match (&first.tree, &second.tree) {
        (Some(first), Some(second)) => found.extend(inspect::trees(first, second)),
        (None, None) => {}
        _ => {
            let text = "a lock can be compared with a lock only: it has no files";
            return Err(Failure::new(Kind::Request, text));
        }
    }
    found.iter().for_each(|difference| tell(difference, session));
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One of the two; what its form does not have is absent.
struct Side {
    parts: Option<BTreeMap<String, String>>,
    packages: Option<BTreeMap<String, String>>,
    tree: Option<Tree>,
}

impl Side {
    fn read(path: &Path, session: &Session) -> Result<Self, Failure> {
        if path.is_dir() {
            let (tree, contents) = directory::read(path, session.threads()).map_err(failed)?;
            let packages = packages((&tree, &contents), path, session);
            return Ok(Self { parts: None, packages, tree: Some(tree) });
        }
        if path.extension().is_some_and(|extension| extension == "lock") {
            let mut text = String::new();
            super::open(path)?.read_to_string(&mut text).map_err(failed)?;
            let lock = Lock::parse(&text)
                .map_err(|error| failed(error).hint(format!("the lock is {}", path.display())))?;
            let packages = Some(lock.versions());
            return Ok(Self { parts: None, packages, tree: None });
        }
        let file = super::open(path)?;
        let guest = inspect::read(&file, session.threads()).map_err(no_guest(path))?;
        let parts = Some(inspect::inventory(&guest.report));
        let packages = packages((&guest.tree, &guest.contents), path, session);
        Ok(Self { parts, packages, tree: Some(guest.tree) })
    }
}

/// The packages of a tree. Where they cannot be read, only they are not compared.
fn packages(
    (tree, contents): (&Tree, &dyn Contents),
    path: &Path,
    session: &Session,
) -> Option<BTreeMap<String, String>> {
    let failed = |error: inspect::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let (path, cause) = (path.display(), cause.unwrap_or_default());
        let text = format!("packages are not compared: of {path}, {error}{cause}");
        session.hear(&Event::warning(text));
    };
    inspect::packages_of(tree, contents).map_err(failed).ok()
}

fn tell(difference: &Difference, session: &Session) {
    if session.json {
        let text = serde_json::to_string(difference).expect("a difference has string keys");
        return session.print(&text);
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or("absent".to_owned());
    let aspect = serde_json::to_value(difference.aspect).expect("an aspect is a word");
    let aspect = aspect.as_str().unwrap_or_default().to_owned();
    let Difference { subject, first, second, .. } = difference;
    session.print(&format!("{aspect}: {subject}: {} -> {}", shown(first), shown(second)));
}
