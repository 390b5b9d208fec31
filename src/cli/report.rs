//! The table at the end of a build: what was made, of what, and where the time went.

use std::path::Path;
use std::time::Duration;

use osbuilder::lock::Lock;
use osbuilder::output::{Measurement, Written};
use serde_json::json;

use super::show::Manner;
use super::{Session, size};

/// Tells what was built.
pub(super) fn built(
    written: &Written,
    lock: Option<(&Lock, &Path)>,
    took: Duration,
    session: &Session,
) {
    session.show.finish();
    if session.show.manner() == Manner::Json {
        return session.print(&as_json(written, lock, took, session).to_string());
    }
    let mut rows = vec![
        ("output", written.path.display().to_string()),
        ("size", format!("{} ({} bytes)", size::in_words(written.size), written.size)),
        ("sha256", written.digest.to_string()),
        ("files", written.files.to_string()),
    ];
    if let Some(Measurement { parameters, path, signature }) = &written.measurement {
        rows.push(("root hash", parameters.root_hash.to_string()));
        rows.push(("verity", path.display().to_string()));
        rows.extend(signature.iter().map(|path| ("signature", path.display().to_string())));
    }
    if let Some((lock, path)) = lock {
        let bytes: u64 = lock.packages.iter().map(|package| package.size).sum();
        let packages = format!("{}, {} to download", lock.packages.len(), size::in_words(bytes));
        rows.push(("packages", packages));
        rows.push(("lock", path.display().to_string()));
    }
    let stages: Vec<String> = (session.show.stages().iter())
        .map(|(stage, took)| format!("{} {:.2}", stage.name(), took.wall.as_secs_f64()))
        .collect();
    rows.push(("seconds", format!("{:.2} ({})", took.as_secs_f64(), stages.join(", "))));
    rows.iter().for_each(|(name, value)| session.print(&format!("{name:>10}  {value}")));
}

fn as_json(
    written: &Written,
    lock: Option<(&Lock, &Path)>,
    took: Duration,
    session: &Session,
) -> serde_json::Value {
    let stages: Vec<_> = (session.show.stages().iter())
        .map(|(stage, took)| {
            json!({
                "stage": stage.name(),
                "seconds": took.wall.as_secs_f64(),
                "processor_seconds": took.processor.as_secs_f64(),
            })
        })
        .collect();
    json!({
        "event": "built",
        "output": written.path,
        "size": written.size,
        "sha256": written.digest,
        "files": written.files,
        "verity": written.measurement.as_ref().map(|measurement| json!({
            "parameters": measurement.parameters,
            "line": measurement.parameters.to_string(),
            "file": measurement.path,
            "signature": measurement.signature,
        })),
        "packages": lock.map(|(lock, _)| lock.packages.len()),
        "lock": lock.map(|(_, path)| path),
        "seconds": took.as_secs_f64(),
        "stages": stages,
    })
}

/// Tells what was locked.
pub(super) fn locked(lock: &Lock, path: &Path, session: &Session) {
    session.show.finish();
    let count = lock.packages.len();
    if session.show.manner() == Manner::Json {
        session.print(&json!({"event": "locked", "lock": path, "packages": count}).to_string());
    } else {
        session.print(&format!("{}: {count} packages", path.display()));
    }
}
