//! The part of rpm's `posix` table that tells who is who, and who this process is.
//!
//! In: a table; out: the same with these functions. Users and groups are those of the tree.

use mlua::{Lua, MultiValue, Table, Value};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use super::accounts::{self, Key, Line};
use super::answer;
use super::posix::{Fact, number_of, one, select};

/// Adds the functions.
pub(super) fn add(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set(
        "getpasswd",
        lua.create_function(|lua, (who, field): (Value, Option<String>)| {
            let own = Key::Number(rustix::process::geteuid().as_raw());
            match accounts::user(&key(&who)?.unwrap_or(own)) {
                Some(line) => select(lua, of_user(&line), field),
                None => one(lua, Value::Nil),
            }
        })?,
    )?;
    table.set(
        "getgroup",
        lua.create_function(|lua, who: Value| {
            let line = key(&who)?.and_then(|key| accounts::group(&key));
            let Some(line) = line else { return one(lua, Value::Nil) };
            let group = lua.create_table()?;
            group.set("name", lua.create_string(line.first().map_or(&[][..], Vec::as_slice))?)?;
            group.set("gid", f64::from(accounts::number(&line).unwrap_or(0)))?;
            let members = line.get(3).map_or(&[][..], Vec::as_slice).split(|byte| *byte == b',');
            for member in members.filter(|member| !member.is_empty()) {
                group.push(lua.create_string(member)?)?;
            }
            one(lua, group)
        })?,
    )?;
    table.set(
        "getprocessid",
        lua.create_function(|lua, field: Option<String>| {
            let number = |number: u32| Fact::Number(f64::from(number));
            let process = |process: i32| Fact::Number(f64::from(process));
            let parent =
                rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
            let facts = vec![
                ("egid", number(rustix::process::getegid().as_raw())),
                ("euid", number(rustix::process::geteuid().as_raw())),
                ("gid", number(rustix::process::getgid().as_raw())),
                ("uid", number(rustix::process::getuid().as_raw())),
                ("pgrp", process(rustix::process::getpgrp().as_raw_nonzero().get())),
                ("pid", process(rustix::process::getpid().as_raw_nonzero().get())),
                ("ppid", process(parent)),
            ];
            select(lua, facts, field)
        })?,
    )?;
    table.set(
        "setuid",
        lua.create_function(|lua, who: Value| {
            let uid = number_of(&who, accounts::user)?.ok_or(Errno::INVAL);
            let set = uid.and_then(|uid| rustix::thread::set_thread_uid(Uid::from_raw(uid)));
            answer(lua, set.map(|()| 0.0), None)
        })?,
    )?;
    table.set(
        "setgid",
        lua.create_function(|lua, who: Value| {
            let gid = number_of(&who, accounts::group)?.ok_or(Errno::INVAL);
            let set = gid.and_then(|gid| rustix::thread::set_thread_gid(Gid::from_raw(gid)));
            answer(lua, set.map(|()| 0.0), None)
        })?,
    )?;
    // There is no terminal, and nobody has logged in.
    table.set("ctermid", lua.create_function(|_, ()| Ok("/dev/tty"))?)?;
    for name in ["ttyname", "getlogin"] {
        table.set(name, lua.create_function(|_, _: MultiValue| Ok(Value::Nil))?)?;
    }
    Ok(())
}

/// By what somebody is looked for; none, if by nothing.
fn key(who: &Value) -> mlua::Result<Option<Key>> {
    Ok(match who {
        Value::String(name) => Some(Key::Name(name.as_bytes().to_vec())),
        other => number_of(other, |_| None)?.map(Key::Number),
    })
}

fn of_user(line: &Line) -> Vec<(&'static str, Fact)> {
    let text = |place: usize| Fact::Text(line.get(place).cloned().unwrap_or_default());
    let number = |place: usize| {
        let word = line.get(place).and_then(|word| std::str::from_utf8(word).ok());
        Fact::Number(word.and_then(|word| word.parse::<u32>().ok()).map_or(0.0, f64::from))
    };
    vec![
        ("name", text(0)),
        ("uid", number(2)),
        ("gid", number(3)),
        ("dir", text(5)),
        ("shell", text(6)),
        ("gecos", text(4)),
        ("passwd", text(1)),
    ]
}
