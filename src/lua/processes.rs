//! The part of rpm's `posix` table that makes, ends and becomes processes, and their environment.
//!
//! In: a table; out: the same with these functions. As under rpm a script may only become another
//! program, or end, after it has forked.

use std::collections::BTreeMap;
use std::time::Duration;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value, Variadic};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::{Forked, answer};
use crate::sandbox::inside;

/// Adds the functions.
pub(super) fn add(lua: &Lua, posix: &Table, forked: &Forked) -> mlua::Result<()> {
    let own = forked.clone();
    posix.set(
        "fork",
        lua.create_function(move |lua, ()| {
            let process = inside::fork();
            if process == Ok(None) {
                own.set(true);
            }
            answer(lua, process.map(|process| process.map_or(0.0, f64::from)), None)
        })?,
    )?;
    let own = forked.clone();
    posix.set(
        "exec",
        lua.create_function(move |lua, words: Variadic<LuaString>| {
            if !own.get() {
                return Err(mlua::Error::runtime("exec not permitted in this context"));
            }
            let words = bytes(&words);
            let errno = inside::become_program(&words);
            answer(lua, Err(errno), words.first().map(Vec::as_slice))
        })?,
    )?;
    let own = forked.clone();
    posix.set(
        "redirect2null",
        lua.create_function(move |lua, number: i32| redirect_to_null(lua, &own, number))?,
    )?;
    posix.set(
        "wait",
        lua.create_function(|lua, process: Option<i32>| {
            answer(lua, wait(process.unwrap_or(-1)), None)
        })?,
    )?;
    posix.set(
        "kill",
        lua.create_function(|lua, (process, signal): (i32, Option<i32>)| {
            answer(lua, kill(process, signal.unwrap_or(15)), None)
        })?,
    )?;
    posix.set(
        "sleep",
        lua.create_function(|_, seconds: u32| {
            std::thread::sleep(Duration::from_secs(seconds.into()));
            Ok(0.0)
        })?,
    )?;
    add_environment(lua, posix)
}

/// Ends the process only after it has forked.
pub(super) fn guard_exit(lua: &Lua, os: &Table, forked: &Forked) -> mlua::Result<()> {
    let exit: Function = os.get("exit")?;
    let own = forked.clone();
    os.set(
        "exit",
        lua.create_function(move |_, status: Option<Value>| {
            if !own.get() {
                return Err(mlua::Error::runtime("exit not permitted in this context"));
            }
            exit.call::<()>(status)
        })?,
    )
}

/// Lets a descriptor lead nowhere.
pub(super) fn redirect_to_null(
    lua: &Lua,
    forked: &Forked,
    number: i32,
) -> mlua::Result<MultiValue> {
    if !forked.get() {
        return Err(mlua::Error::runtime("redirect2null not permitted in this context"));
    }
    answer(lua, inside::redirect_to_null(number).map(|()| f64::from(number)), None)
}

/// Runs a program to its end: 0, or nothing with the way in which it ended.
pub(super) fn execute(lua: &Lua, words: &[Vec<u8>]) -> mlua::Result<MultiValue> {
    let ended = |text: &str, number: i32| -> mlua::Result<MultiValue> {
        let text = Value::String(lua.create_string(text)?);
        Ok(MultiValue::from_iter([Value::Nil, text, Value::Number(f64::from(number))]))
    };
    match inside::run_program(words) {
        Ok(inside::End::Exited(0)) => answer(lua, Ok(0.0), None),
        Ok(inside::End::Exited(status)) => ended("exit code", status),
        Ok(inside::End::Killed(signal)) => ended("exit signal", signal),
        Err(errno) => answer(lua, Err(errno), None),
    }
}

fn bytes(words: &[LuaString]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn wait(process: i32) -> Result<f64, Errno> {
    loop {
        let waited = match Pid::from_raw(process) {
            Some(one) if process > 0 => rustix::process::waitpid(Some(one), WaitOptions::empty()),
            _ => rustix::process::wait(WaitOptions::empty()),
        };
        match waited {
            Err(Errno::INTR) => {}
            Ok(Some((ended, _))) => return Ok(f64::from(ended.as_raw_nonzero().get())),
            Ok(None) => return Err(Errno::CHILD),
            Err(errno) => return Err(errno),
        }
    }
}

fn kill(process: i32, signal: i32) -> Result<f64, Errno> {
    let process = Pid::from_raw(process).filter(|_| process > 0).ok_or(Errno::SRCH)?;
    let signal = Signal::from_named_raw(signal).ok_or(Errno::INVAL)?;
    rustix::process::kill_process(process, signal).map(|()| 0.0)
}

fn add_environment(lua: &Lua, posix: &Table) -> mlua::Result<()> {
    posix.set(
        "getenv",
        lua.create_function(|lua, name: Option<LuaString>| {
            let environment: BTreeMap<Vec<u8>, Vec<u8>> = inside::environment();
            match name {
                Some(name) => match environment.get(&*name.as_bytes()) {
                    Some(value) => Ok(Value::String(lua.create_string(value)?)),
                    None => Ok(Value::Nil),
                },
                None => {
                    let table = lua.create_table()?;
                    for (name, value) in environment {
                        table.set(lua.create_string(name)?, lua.create_string(value)?)?;
                    }
                    Ok(Value::Table(table))
                }
            }
        })?,
    )?;
    let set = |name: &[u8], value: Option<&[u8]>| inside::set_variable(name, value);
    posix.set(
        "setenv",
        lua.create_function(
            move |lua, (name, value, over): (LuaString, LuaString, Option<bool>)| {
                let is_there = inside::environment().contains_key(&*name.as_bytes());
                let result = match over.unwrap_or(true) || !is_there {
                    true => set(&name.as_bytes(), Some(&value.as_bytes())),
                    false => Ok(()),
                };
                answer(lua, result.map(|()| 0.0), Some(&name.as_bytes()))
            },
        )?,
    )?;
    posix.set(
        "unsetenv",
        lua.create_function(move |_, name: LuaString| {
            let _impossible_name = set(&name.as_bytes(), None);
            Ok(())
        })?,
    )?;
    posix.set(
        "putenv",
        lua.create_function(move |lua, text: LuaString| {
            let text = text.as_bytes().to_vec();
            let result =
                match text.iter().position(|byte| *byte == b'=').map(|at| text.split_at(at)) {
                    Some((name, value)) => set(name, value.get(1..)),
                    None => set(&text, None),
                };
            answer(lua, result.map(|()| 0.0), Some(&text))
        })?,
    )
}
