//! The part of rpm's `posix` table that looks at files and changes them.
//!
//! In: nothing; out: the table. Each function does what the system call of its name does, and returns
//! its result, or nothing with a reason and a number. Specification: rpm-lua(7).

use mlua::{IntoLua, Lua, LuaString, MultiValue, Table, Value};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_NOW, Uid,
};
use rustix::io::Errno;

use super::accounts::{self, Key, Line};
use super::{answer, failure, mode, people, reason};

/// What a function returns.
pub(super) type Outcome = mlua::Result<MultiValue>;

/// The table.
pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_changes(lua, &table)?;
    add_paths(lua, &table)?;
    add_looks(lua, &table)?;
    add_directories(lua, &table)?;
    people::add(lua, &table)?;
    table.set("version", "osbuilder's, after rpm's")?;
    Ok(table)
}

/// Adds a function of one path that returns nothing but success.
fn add_call(
    lua: &Lua,
    table: &Table,
    name: &str,
    call: impl Fn(&[u8]) -> rustix::io::Result<()> + 'static,
) -> mlua::Result<()> {
    let function = lua.create_function(move |lua, path: LuaString| -> Outcome {
        let path = path.as_bytes().to_vec();
        answer(lua, call(&path).map(|()| 0.0), Some(&path))
    })?;
    table.set(name, function)
}

fn add_paths(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let all = Mode::from_raw_mode(0o777);
    add_call(lua, table, "mkdir", move |path| rustix::fs::mkdir(path, all))?;
    add_call(lua, table, "chdir", |path| rustix::process::chdir(path))?;
    add_call(lua, table, "rmdir", |path| rustix::fs::rmdir(path))?;
    add_call(lua, table, "unlink", |path| rustix::fs::unlink(path))?;
    add_call(lua, table, "mkfifo", move |path| {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, all, 0)
    })?;
    for (name, is_symbolic) in [("link", false), ("symlink", true)] {
        let link = lua.create_function(move |lua, (old, new): (LuaString, LuaString)| {
            let (old, new) = (old.as_bytes().to_vec(), new.as_bytes().to_vec());
            let made = match is_symbolic {
                true => rustix::fs::symlink(&old[..], &new[..]),
                false => rustix::fs::link(&old[..], &new[..]),
            };
            answer(lua, made.map(|()| 0.0), None)
        })?;
        table.set(name, link)?;
    }
    Ok(())
}

fn add_changes(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set(
        "chmod",
        lua.create_function(|lua, (path, text): (LuaString, LuaString)| {
            let path = path.as_bytes().to_vec();
            let old = match rustix::fs::stat(&path[..]) {
                Ok(stat) => stat.st_mode,
                Err(errno) => return failure(lua, errno, Some(&path)),
            };
            let new = mode::changed(old, &text.to_string_lossy());
            let new = new.ok_or_else(|| mlua::Error::runtime("bad mode"))? & 0o7777;
            let changed = rustix::fs::chmod(&path[..], Mode::from_raw_mode(new));
            answer(lua, changed.map(|()| 0.0), Some(&path))
        })?,
    )?;
    table.set(
        "chown",
        lua.create_function(|lua, (path, user, group): (LuaString, Value, Value)| {
            let path = path.as_bytes().to_vec();
            let user = number_of(&user, accounts::user)?.map(Uid::from_raw);
            let group = number_of(&group, accounts::group)?.map(Gid::from_raw);
            let changed = rustix::fs::chownat(CWD, &path[..], user, group, AtFlags::empty());
            answer(lua, changed.map(|()| 0.0), Some(&path))
        })?,
    )?;
    type Times = (LuaString, Option<f64>, Option<f64>);
    table.set(
        "utime",
        lua.create_function(|lua, (path, modified, read): Times| {
            let path = path.as_bytes().to_vec();
            let time = |seconds: Option<f64>| match seconds {
                Some(seconds) => Timespec { tv_sec: whole(seconds), tv_nsec: 0 },
                None => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
            };
            let times = Timestamps { last_access: time(read), last_modification: time(modified) };
            let changed = rustix::fs::utimensat(CWD, &path[..], &times, AtFlags::empty());
            answer(lua, changed.map(|()| 0.0), Some(&path))
        })?,
    )?;
    table.set(
        "umask",
        lua.create_function(|_, text: Option<LuaString>| {
            let old = rustix::process::umask(Mode::empty());
            let mut allowed = !old.as_raw_mode() & 0o777;
            let new = text.map(|text| mode::changed(allowed, &text.to_string_lossy()));
            if let Some(Some(new)) = new {
                allowed = new & 0o777;
            }
            rustix::process::umask(Mode::from_raw_mode(!allowed & 0o777));
            Ok(if new == Some(None) { None } else { Some(mode::letters(allowed)) })
        })?,
    )
}

/// A number of seconds; Lua's numbers have fractions.
fn whole(seconds: f64) -> i64 {
    // What lies outside of the type becomes its first or last value.
    seconds as i64
}

/// Who is meant: by number, by name, or nobody in particular. A name that is unknown is nobody, too.
pub(super) fn number_of(who: &Value, find: fn(&Key) -> Option<Line>) -> mlua::Result<Option<u32>> {
    match who {
        Value::Nil => Ok(None),
        Value::Integer(number) => Ok(u32::try_from(*number).ok()),
        Value::Number(number) => Ok(u32::try_from(whole(*number)).ok()),
        Value::String(name) => {
            let name = name.as_bytes().to_vec();
            let number = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
            let found = || find(&Key::Name(name.clone())).and_then(|line| accounts::number(&line));
            Ok(number.or_else(found))
        }
        other => {
            let text = format!("string or number expected, got {}", other.type_name());
            Err(mlua::Error::runtime(text))
        }
    }
}

fn add_looks(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set(
        "access",
        lua.create_function(|lua, (path, text): (LuaString, Option<LuaString>)| {
            let path = path.as_bytes().to_vec();
            let mut wanted = Access::EXISTS;
            for letter in text.map(|text| text.to_string_lossy()).unwrap_or_default().chars() {
                wanted |= match letter {
                    'r' => Access::READ_OK,
                    'w' => Access::WRITE_OK,
                    'x' => Access::EXEC_OK,
                    ' ' | 'f' => Access::EXISTS,
                    other => {
                        return Err(mlua::Error::runtime(format!("unknown mode option {other}")));
                    }
                };
            }
            answer(lua, rustix::fs::access(&path[..], wanted).map(|()| 0.0), Some(&path))
        })?,
    )?;
    table.set(
        "stat",
        lua.create_function(|lua, (path, field): (LuaString, Option<String>)| {
            let path = path.as_bytes().to_vec();
            match rustix::fs::lstat(&path[..]) {
                Ok(stat) => select(lua, facts(&stat), field),
                Err(errno) => failure(lua, errno, Some(&path)),
            }
        })?,
    )?;
    table.set(
        "readlink",
        lua.create_function(|lua, path: LuaString| {
            let path = path.as_bytes().to_vec();
            match rustix::fs::readlink(&path[..], Vec::new()) {
                Ok(target) => one(lua, lua.create_string(target.as_bytes())?),
                Err(errno) => failure(lua, errno, Some(&path)),
            }
        })?,
    )?;
    table.set(
        "uname",
        lua.create_function(|_, format: Option<String>| {
            let system = rustix::system::uname();
            let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
            let format = format.unwrap_or_else(|| "%s %n %r %v %m".to_owned());
            let words = [
                ("%s", text(system.sysname())),
                ("%n", text(system.nodename())),
                ("%r", text(system.release())),
                ("%v", text(system.version())),
                ("%m", text(system.machine())),
            ];
            Ok(words.iter().fold(format, |format, (sign, word)| format.replace(sign, word)))
        })?,
    )?;
    table.set("errno", lua.create_function(|_, ()| Ok((reason(Errno::from_raw_os_error(0)), 0.0)))?)
}

pub(super) fn one(lua: &Lua, value: impl IntoLua) -> Outcome {
    Ok(MultiValue::from_iter([value.into_lua(lua)?]))
}

/// A fact of a file or a user: a number or a text.
pub(super) enum Fact {
    Number(f64),
    Text(Vec<u8>),
}

impl IntoLua for Fact {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Number(number) => Ok(Value::Number(number)),
            Self::Text(text) => Ok(Value::String(lua.create_string(text)?)),
        }
    }
}

/// One of the facts, or a table of all.
pub(super) fn select(
    lua: &Lua,
    facts: Vec<(&'static str, Fact)>,
    field: Option<String>,
) -> Outcome {
    match field {
        None => one(lua, lua.create_table_from(facts)?),
        Some(field) => match facts.into_iter().find(|(name, _)| *name == field) {
            Some((_, fact)) => one(lua, fact),
            None => Err(mlua::Error::runtime(format!("invalid option '{field}'"))),
        },
    }
}

fn facts(stat: &Stat) -> Vec<(&'static str, Fact)> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "regular",
        FileType::Symlink => "link",
        FileType::Directory => "directory",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "?",
    };
    vec![
        ("mode", Fact::Text(mode::letters(stat.st_mode).into_bytes())),
        ("ino", Fact::Number(stat.st_ino as f64)),
        ("dev", Fact::Number(stat.st_dev as f64)),
        ("nlink", Fact::Number(stat.st_nlink as f64)),
        ("uid", Fact::Number(f64::from(stat.st_uid))),
        ("gid", Fact::Number(f64::from(stat.st_gid))),
        ("size", Fact::Number(stat.st_size as f64)),
        ("atime", Fact::Number(stat.st_atime as f64)),
        ("mtime", Fact::Number(stat.st_mtime as f64)),
        ("ctime", Fact::Number(stat.st_ctime as f64)),
        ("type", Fact::Text(kind.as_bytes().to_vec())),
        ("_mode", Fact::Number(f64::from(stat.st_mode))),
    ]
}

/// The names in a directory, `.` and `..` among them, sorted so that every build sees the same.
fn names(path: &[u8]) -> rustix::io::Result<Vec<Vec<u8>>> {
    use rustix::fs::{Dir, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        names.push(entry?.file_name().to_bytes().to_vec());
    }
    names.sort_unstable();
    Ok(names)
}

fn add_directories(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let path_of = |path: Option<LuaString>| {
        path.map_or_else(|| b".".to_vec(), |path| path.as_bytes().to_vec())
    };
    table.set(
        "dir",
        lua.create_function(move |lua, path: Option<LuaString>| {
            let path = path_of(path);
            match names(&path) {
                Ok(names) => {
                    let names = names.iter().map(|name| lua.create_string(name));
                    one(lua, lua.create_sequence_from(names.collect::<mlua::Result<Vec<_>>>()?)?)
                }
                Err(errno) => failure(lua, errno, Some(&path)),
            }
        })?,
    )?;
    table.set(
        "files",
        lua.create_function(move |lua, path: Option<LuaString>| {
            let path = path_of(path);
            match names(&path) {
                Ok(names) => {
                    let mut names = names.into_iter();
                    let next = lua.create_function_mut(move |lua, _: MultiValue| {
                        names.next().map(|name| lua.create_string(name)).transpose()
                    });
                    one(lua, next?)
                }
                Err(errno) => failure(lua, errno, Some(&path)),
            }
        })?,
    )?;
    table.set(
        "getcwd",
        lua.create_function(|lua, ()| match rustix::process::getcwd(Vec::new()) {
            Ok(path) => one(lua, lua.create_string(path.as_bytes())?),
            Err(errno) => failure(lua, errno, Some(b".")),
        })?,
    )?;
    table.set(
        "mkstemp",
        lua.create_function(|lua, template: LuaString| {
            let template = template.as_bytes().to_vec();
            let path = match temporary(&template) {
                Ok(path) => path,
                Err(errno) => return failure(lua, errno, Some(&template)),
            };
            let io: Table = lua.globals().get("io")?;
            let open: mlua::Function = io.get("open")?;
            let path = lua.create_string(path)?;
            let file: Value = open.call((&path, "a+"))?;
            Ok(MultiValue::from_iter([file, Value::String(path)]))
        })?,
    )
}

/// Makes a file whose name ends in six signs of its own. They are the first that are free: a name by
/// chance would differ with every build.
fn temporary(template: &[u8]) -> rustix::io::Result<Vec<u8>> {
    use rustix::fs::OFlags;
    const ROOM: &[u8] = b"XXXXXX";
    let start = template.strip_suffix(ROOM).ok_or(Errno::INVAL)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    for number in 0..1_000_000 {
        let path = [start, format!("{number:06}").as_bytes()].concat();
        match rustix::fs::open(&path[..], flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => {}
            other => return other.map(|_| path),
        }
    }
    Err(Errno::EXIST)
}
