//! rpm's own Lua: runs one script of a package, inside the sandbox.
//!
//! rpm runs such scripts in its own process, where they can do all that rpm can. Here the program is
//! started once more inside the sandbox, as the interpreter of the script: with no libraries of the
//! guest's, because the first of these scripts run before there are any, and confined as every other
//! script is. In: the script's file, its arguments, on standard input the paths that set a file trigger
//! off; out: what it prints, and whether it failed. The language is Lua 5.4, in which rpm's tables `rpm`
//! and `posix` are found as well. Specification: rpm-lua(7), and `rpmio/rpmlua.c`, `rpmio/lposix.c`.

mod accounts;
mod macros;
mod mode;
mod people;
mod posix;
mod processes;
mod rpm;

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};
use rustix::io::Errno;

/// The first argument that makes this program run a script.
pub const WORD: &str = "script-of-rpm";
/// The second one of a script that reads paths.
pub const WITH_PATHS: &str = "paths";
/// The second one of any other.
pub const WITHOUT_PATHS: &str = "no-paths";
/// Where scripts lie: nothing else is run, so that nobody runs one outside of a sandbox by mistake.
const SCRIPTS: &[u8] = b"/.rpm-scripts/";
/// How much memory a script may take, in bytes.
const MOST_MEMORY: usize = 512 << 20;

/// Why a script failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The script is not where scripts lie, or cannot be read.
    #[error("there is no script to run")]
    NoScript,
    /// It is no Lua, or stopped with an error.
    #[error("lua script failed: {0}")]
    Failed(String),
    /// It became two processes, and the second one neither ended nor became a program.
    #[error("no exec() called after fork() in lua scriptlet")]
    StillForked,
}

/// Whether this process has forked: only then may it end itself or become another program.
type Forked = Rc<Cell<bool>>;

/// Runs the script that the program's arguments name; none, if they ask for something else.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<Result<(), Error>> {
    let first = arguments.nth(1)?;
    if first != WORD {
        return None;
    }
    let with_paths = arguments.next().is_some_and(|word| word == WITH_PATHS);
    let file = arguments.next().unwrap_or_default();
    let rest: Vec<Vec<u8>> = arguments.map(|word| word.as_bytes().to_vec()).collect();
    if !file.as_bytes().starts_with(SCRIPTS) {
        return Some(Err(Error::NoScript));
    }
    let text = fs_err::read(&file).map_err(|_| Error::NoScript);
    Some(text.and_then(|text| run_text(&text, &file, &rest, with_paths)))
}

fn run_text(
    text: &[u8],
    file: &std::ffi::OsStr,
    arguments: &[Vec<u8>],
    with_paths: bool,
) -> Result<(), Error> {
    let forked = Forked::default();
    let failed = |error: mlua::Error| Error::Failed(first_line(&error));
    let lua = state(&forked, with_paths).map_err(failed)?;
    let name = String::from_utf8_lossy(file.as_bytes()).into_owned();
    let outcome = execute(&lua, text, &name, arguments);
    match (outcome, forked.get()) {
        (Err(error), _) => Err(failed(error)),
        (Ok(()), true) => Err(Error::StillForked),
        (Ok(()), false) => Ok(()),
    }
}

fn first_line(error: &mlua::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("runtime error: ").unwrap_or(first).to_owned()
}

/// Lets a table's functions fail with a text and nothing else, as rpm's do: some scripts look at it.
const PLAIN_ERRORS: &str = r#"
local all = ...
for name, own in pairs(all) do
    if type(own) == "function" then
        all[name] = function(...)
            local results = table.pack(pcall(own, ...))
            if not results[1] then
                local text = tostring(results[2]):gsub("^runtime error: ", ""):gsub("\n.*", "")
                error(text, 0)
            end
            return table.unpack(results, 2, results.n)
        end
    end
end"#;

/// An interpreter with rpm's tables.
fn state(forked: &Forked, with_paths: bool) -> mlua::Result<Lua> {
    let lua = Lua::new();
    lua.set_memory_limit(MOST_MEMORY)?;
    let (posix, rpm) = (posix::table(&lua)?, rpm::table(&lua, forked, with_paths)?);
    processes::add(&lua, &posix, forked)?;
    let os: Table = lua.globals().get("os")?;
    processes::guard_exit(&lua, &os, forked)?;
    for table in [&posix, &rpm, &os] {
        lua.load(PLAIN_ERRORS).call::<()>(table)?;
    }
    lua.globals().set("posix", posix)?;
    lua.globals().set("rpm", rpm)?;
    Ok(lua)
}

/// Runs the text as rpm does: its arguments are in a local table, the numbers among them as such.
fn execute(lua: &Lua, text: &[u8], name: &str, arguments: &[Vec<u8>]) -> mlua::Result<()> {
    const BEGIN: &[u8] = b"local opt, arg = ...;";
    let table = lua.create_table()?;
    table.push("<lua>")?;
    for argument in arguments {
        let number = std::str::from_utf8(argument).ok().and_then(|text| text.parse::<i64>().ok());
        match number {
            Some(number) => table.push(number)?,
            None => table.push(lua.create_string(argument)?)?,
        }
    }
    let chunk = lua.load([BEGIN, text].concat()).set_name(format!("={name}"));
    chunk.call::<()>((lua.create_table()?, table))
}

/// What rpm's functions return of a system call: a number, or nothing with a reason and its number.
fn answer(lua: &Lua, result: Result<f64, Errno>, of: Option<&[u8]>) -> mlua::Result<MultiValue> {
    match result {
        Ok(number) => Ok(MultiValue::from_iter([Value::Number(number)])),
        Err(errno) => failure(lua, errno, of),
    }
}

fn failure(lua: &Lua, errno: Errno, of: Option<&[u8]>) -> mlua::Result<MultiValue> {
    let reason = reason(errno);
    let text = match of {
        Some(of) => [of, b": ", reason.as_bytes()].concat(),
        None => reason.into_bytes(),
    };
    let number = Value::Number(f64::from(errno.raw_os_error()));
    Ok(MultiValue::from_iter([Value::Nil, Value::String(lua.create_string(text)?), number]))
}

/// The C library's words for an error.
fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
