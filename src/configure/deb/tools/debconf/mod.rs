//! debconf without questions: what `confmodule` and its `db_…` commands do for a script when nobody
//! is asked; see debconf-devel(7) and debconf(7).
//!
//! In: what scripts say; out: their answers, and debconf's databases under `/var/cache/debconf`,
//! byte for byte what debconf's own programs leave in them. A script that asks for debconf begins
//! anew under its frontend, after the package's templates were loaded and its `config` script ran;
//! when it has ended the databases are written. This is so for one script at a time, and for the
//! programs that it calls.

mod answer;
mod database;
mod session;
mod template;

use crate::configure::shell::{Call, Flow, Shell, Stop, bytes_of};
use session::Session;

/// debconf's own program that scripts run under; another implementation has a link here.
const FRONTEND: &str = "/usr/share/debconf/frontend";

/// A script has asked for debconf. What comes after this call does not run, unless the script
/// already runs under a frontend.
pub(super) fn confmodule(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    if is_running(shell) {
        return Ok(0);
    }
    let path = shell.parameter("0").unwrap_or_default();
    let Some(script) = shell.world.text(&path) else {
        return Err(not_understood("from a script that is no file"));
    };
    let arguments = call.arguments.clone();
    let owner = package(shell, &path);
    begin(shell, &owner)?;
    shell.set_exported("DEBIAN_HAS_FRONTEND", "1");
    if let Some(base) = base(&path) {
        if let Some(text) = shell.world.text(&format!("{base}templates")) {
            session(shell)?.load(&text, &owner)?;
        }
        let config = format!("{base}config");
        let asks = !path.ends_with("prerm") && !path.ends_with("postrm");
        if let Some(text) = shell.world.text(&config).filter(|_| asks) {
            let version = arguments.get(1).cloned().unwrap_or_default();
            let status = run(shell, &config, &text, &["configure".to_owned(), version])?;
            if status != 0 {
                return Err(Stop::Exit(status));
            }
        }
    }
    let status = run(shell, &path, &script, &arguments)?;
    end(shell)?;
    Err(Stop::Exit(status))
}

/// Runs a script under the frontend; then what it has shown counts as seen.
fn run(shell: &mut Shell<'_, '_>, path: &str, text: &str, arguments: &[String]) -> Flow {
    session(shell)?.start();
    let status = shell.run_program(path, &bytes_of(text), arguments)?;
    session(shell)?.finish();
    Ok(status)
}

/// Does something under the frontend that runs, or else under one for a program that is no
/// package's script.
pub(super) fn under_frontend(
    shell: &mut Shell<'_, '_>,
    work: impl FnOnce(&mut Shell<'_, '_>) -> Flow,
) -> Flow {
    if is_running(shell) {
        return work(shell);
    }
    begin(shell, "")?;
    session(shell)?.start();
    let status = work(shell)?;
    session(shell)?.finish();
    end(shell)?;
    Ok(status)
}

/// Whether a frontend runs.
pub(super) fn is_running(shell: &Shell<'_, '_>) -> bool {
    shell.world.kept.as_ref().is_some_and(|kept| kept.is::<Session>())
}

fn begin(shell: &mut Shell<'_, '_>, owner: &str) -> Result<(), Stop> {
    if shell.file(FRONTEND, false).is_none() {
        return Err(not_understood("without its frontend"));
    }
    let session = Session::open(shell.world, owner)?;
    shell.world.kept = Some(Box::new(session));
    Ok(())
}

fn end(shell: &mut Shell<'_, '_>) -> Result<(), Stop> {
    let kept = shell.world.kept.take();
    let session = kept.and_then(|kept| kept.downcast::<Session>().ok());
    session.map_or(Ok(()), |session| session.save(shell.world))
}

/// The frontend that runs.
fn session<'s>(shell: &'s mut Shell<'_, '_>) -> Result<&'s mut Session, Stop> {
    let session = shell.world.kept.as_mut().and_then(|kept| kept.downcast_mut::<Session>());
    session.ok_or_else(|| not_understood("without a frontend"))
}

fn not_understood(what: &str) -> Stop {
    Stop::unknown(format!("debconf {what}"))
}

/// Whose script this is: by its name, or by what dpkg is unpacking.
fn package(shell: &mut Shell<'_, '_>, path: &str) -> String {
    let name = path.rsplit_once('/').map_or("", |(_, name)| name);
    let named =
        name.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "postinst" | "postrm" | "prerm"));
    if let Some((package, _)) = named {
        return package.to_owned();
    }
    let control = shell.world.text("/var/lib/dpkg/tmp.ci/control").unwrap_or_default();
    let package = control.lines().find_map(|line| line.strip_prefix("Package: "));
    package.unwrap_or_default().to_owned()
}

/// What other files of a package's script begin with: `…/PACKAGE.`, or dpkg's directory.
fn base(path: &str) -> Option<&str> {
    let kinds = ["preinst", "postinst", "prerm", "postrm"];
    let base = kinds.iter().find_map(|kind| path.strip_suffix(kind))?;
    base.ends_with(['.', '/']).then_some(base)
}

/// One of debconf's commands; what it prints becomes `RET`.
pub(super) fn command(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let name = call.name.strip_prefix("db_").unwrap_or_default().to_owned();
    let (status, text) = say(shell, &name, &call.arguments.join(" "))?;
    call.out = text;
    Ok(status)
}

/// Says a command to the frontend; its status, and what a script finds in `RET`.
pub(super) fn say(
    shell: &mut Shell<'_, '_>,
    name: &str,
    line: &str,
) -> Result<(i32, String), Stop> {
    if line.contains('\n') {
        return Err(not_understood("with a line's end in a command"));
    }
    let words = session(shell)?.words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if name == "x_loadtemplatefile" {
        let (file, owner) = match words.as_slice() {
            [file] => (*file, session(shell)?.owner.clone()),
            [file, owner] => (*file, (*owner).to_owned()),
            _ => return Err(not_understood("x_loadtemplatefile")),
        };
        let text = shell.world.text(file).ok_or_else(|| not_understood(file))?;
        session(shell)?.load(&text, &owner)?;
        return Ok((0, "0".to_owned()));
    }
    session(shell)?.answer(name, &words)
}
