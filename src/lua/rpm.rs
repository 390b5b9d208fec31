//! rpm's `rpm` table: versions, macros, programs, encodings, and the paths that set a trigger off.
//!
//! In: whether the script reads paths; out: the table. What only makes sense while packages are built,
//! or needs a person, is not there. Specification: rpm-lua(7).

use std::cell::RefCell;
use std::cmp::Ordering;
use std::io::BufRead;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mlua::{Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, UserDataMethods};
use mlua::{Value, Variadic};

use super::macros::Macros;
use super::{Forked, processes};
use crate::package::rpm::version::Version;

/// The table.
pub(super) fn table(lua: &Lua, forked: &Forked, with_paths: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_versions(lua, &table)?;
    add_macros(lua, &table)?;
    add_encodings(lua, &table)?;
    table.set(
        "execute",
        lua.create_function(|lua, words: Variadic<LuaString>| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            processes::execute(lua, &words)
        })?,
    )?;
    table.set(
        "spawn",
        lua.create_function(|lua, words: Vec<LuaString>| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            processes::execute(lua, &words)
        })?,
    )?;
    let own = forked.clone();
    table.set(
        "redirect2null",
        lua.create_function(move |lua, number: i32| {
            processes::redirect_to_null(lua, &own, number)
        })?,
    )?;
    table.set(
        "interactive",
        lua.create_function(|_, ()| -> mlua::Result<()> {
            Err(mlua::Error::runtime("not a tty"))
        })?,
    )?;
    if with_paths {
        table.set(
            "next_file",
            lua.create_function(|lua, ()| {
                let mut line = Vec::new();
                std::io::stdin().lock().read_until(b'\n', &mut line)?;
                let path = line.strip_suffix(b"\n").unwrap_or(&line);
                if path.is_empty() { Ok(None) } else { lua.create_string(path).map(Some) }
            })?,
        )?;
    }
    Ok(table)
}

/// A version as scripts hold it.
#[derive(Debug, Clone)]
struct OwnVersion(String);

impl OwnVersion {
    fn parse(text: &str) -> mlua::Result<Self> {
        match Version::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(mlua::Error::runtime(error.to_string())),
        }
    }

    fn parts(&self) -> Version<'_> {
        Version::parse(&self.0).expect("it was a version when it was made")
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.parts().compare(&other.parts())
    }
}

impl UserData for OwnVersion {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        fields.add_field_method_get("e", move |_, own| Ok(word(own.parts().epoch)));
        fields.add_field_method_get("v", move |_, own| Ok(word(own.parts().version)));
        fields.add_field_method_get("r", move |_, own| Ok(own.parts().release.map(str::to_owned)));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        type Other = mlua::UserDataRef<OwnVersion>;
        methods.add_meta_method(MetaMethod::ToString, |_, own, ()| Ok(own.0.clone()));
        methods.add_meta_method(MetaMethod::Eq, |_, own, other: Other| {
            Ok(own.compare(&other) == Ordering::Equal)
        });
        methods.add_meta_method(MetaMethod::Lt, |_, own, other: Other| {
            Ok(own.compare(&other) == Ordering::Less)
        });
        methods.add_meta_method(MetaMethod::Le, |_, own, other: Other| {
            Ok(own.compare(&other) != Ordering::Greater)
        });
    }
}

fn add_versions(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set(
        "vercmp",
        lua.create_function(|_, (one, other): (String, String)| {
            let (one, other) = (OwnVersion::parse(&one)?, OwnVersion::parse(&other)?);
            Ok(match one.compare(&other) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            })
        })?,
    )?;
    type Parts = (String, Option<String>, Option<String>);
    table.set(
        "ver",
        lua.create_function(|_, (one, version, release): Parts| match (version, release) {
            (None, _) => OwnVersion::parse(&one),
            (Some(version), Some(release)) => {
                OwnVersion::parse(&format!("{one}:{version}-{release}"))
            }
            (Some(_), None) => Err(mlua::Error::runtime("invalid number of arguments: 2")),
        })?,
    )
}

fn add_macros(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let macros = Rc::new(RefCell::new(Macros::default()));
    let own = Rc::clone(&macros);
    table.set(
        "expand",
        lua.create_function(move |_, text: String| {
            let expanded = own.borrow().expand(&text);
            expanded.ok_or_else(|| mlua::Error::runtime("error expanding macro"))
        })?,
    )?;
    let own = Rc::clone(&macros);
    table.set(
        "define",
        lua.create_function(move |_, text: String| match own.borrow_mut().define(&text) {
            true => Ok(()),
            false => Err(mlua::Error::runtime("error defining macro")),
        })?,
    )?;
    let own = Rc::clone(&macros);
    table.set(
        "undefine",
        lua.create_function(move |_, name: String| {
            own.borrow_mut().undefine(&name);
            Ok(())
        })?,
    )?;
    let own = Rc::clone(&macros);
    table.set(
        "isdefined",
        lua.create_function(move |_, name: String| Ok((own.borrow().get(&name).is_some(), false)))?,
    )?;
    let global = lua.create_table()?;
    let meta = lua.create_table()?;
    meta.set(
        "__index",
        lua.create_function(move |_, (_, name): (Value, String)| {
            let macros = macros.borrow();
            Ok(macros.get(&name).and_then(|text| macros.expand(text)))
        })?,
    )?;
    global.set_metatable(Some(meta))?;
    lua.globals().set("macros", global)
}

fn add_encodings(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set(
        "b64encode",
        lua.create_function(|lua, (text, width): (LuaString, Option<i64>)| {
            const USUAL: usize = 64;
            let width = match width {
                None | Some(..0) => USUAL,
                Some(width) => usize::try_from(width).unwrap_or(USUAL),
            };
            let encoded = STANDARD.encode(text.as_bytes());
            if width == 0 {
                return lua.create_string(encoded);
            }
            let lines = encoded.as_bytes().chunks(width).flat_map(|line| [line, b"\n"].concat());
            lua.create_string(lines.collect::<Vec<u8>>())
        })?,
    )?;
    table.set(
        "b64decode",
        lua.create_function(|lua, text: LuaString| {
            let text: Vec<u8> = text
                .as_bytes()
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            STANDARD.decode(text).ok().map(|bytes| lua.create_string(bytes)).transpose()
        })?,
    )?;
    table.set(
        "splitargs",
        lua.create_function(|_, text: String| {
            Ok(text
                .split([' ', '\t'])
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>())
        })?,
    )?;
    table.set("unsplitargs", lua.create_function(|_, words: Vec<String>| Ok(words.join(" ")))?)
}
