//! `osbuilder cache`: where it is, whether it is sound, and making it smaller.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use osbuilder::event::Event;
use osbuilder::store::{self, Keep};
use serde_json::json;

use super::arguments::CacheAction;
use super::{Failure, Kind, Session, size};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Does what was asked with the cache.
pub(super) fn run(action: CacheAction, session: &Session) -> Result<ExitCode, Failure> {
    match action {
        CacheAction::Show => show(session)?,
        CacheAction::Check => return check(session),
        CacheAction::Shrink { days } => shrink(days, session)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells where the cache is, alone on standard output for whoever uses the path, and its size.
fn show(session: &Session) -> Result<(), Failure> {
    let bytes = bytes_in(&session.cache).map_err(|error| Failure::new(Kind::Host, error))?;
    if session.json {
        session.print(&json!({ "cache": session.cache, "bytes": bytes }).to_string());
    } else {
        session.print(&session.cache.display().to_string());
        session.hear(&Event::note(format!("it holds {} ({bytes} bytes)", size::in_words(bytes))));
    }
    Ok(())
}

/// What all files of a folder hold together; nothing, if there is no folder.
fn bytes_in(folder: &Path) -> io::Result<u64> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path())?,
            Ok(found) => found.len(),
            // Other builds clean up meanwhile.
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

fn check(session: &Session) -> Result<ExitCode, Failure> {
    let checked = session.store()?.check().map_err(|error| Failure::new(Kind::Host, error))?;
    if session.json {
        session.print(
            &json!({"objects": checked.objects, "packs": checked.packs,
                "records": checked.records, "damaged": checked.damaged})
            .to_string(),
        );
    } else {
        let store::Checked { objects, packs, records, damaged } = &checked;
        session.print(&format!("{objects} objects, {packs} packs and {records} records are sound"));
        for path in damaged {
            session.print(&format!("damaged and put aside: {}", path.display()));
        }
    }
    Ok(if checked.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shrink(days: u64, session: &Session) -> Result<(), Failure> {
    let since = session.environment.now.seconds().saturating_sub(days.saturating_mul(DAY));
    let keep =
        Keep { used_since: Some(UNIX_EPOCH + Duration::from_secs(since)), ..Keep::default() };
    drop(session.store()?); // makes the cache if there is none, and checks that it is ours
    let collected =
        store::collect(&session.cache, &keep).map_err(|error| Failure::new(Kind::Host, error))?;
    let (removed, kept) = (collected.removed_bytes, collected.kept_bytes);
    if session.json {
        session.print(&json!({"removed_bytes": removed, "kept_bytes": kept}).to_string());
    } else {
        let text = format!("removed {}, kept {}", size::in_words(removed), size::in_words(kept));
        session.print(&text);
    }
    Ok(())
}
