//! What waft.lua stands on: the calls of the host, and what of WASI standard Lua has no word for. What fails returns nil, a
//! code, a message and a hint.

use luars::{CFunction, LuaResult, LuaStackApi, LuaState};
use std::fs;
use std::io::Write;
use waft_sdk::{Error, raw};

pub(crate) const FUNCTIONS: [(&str, CFunction); 9] = [
    ("ask", ask),
    ("read", read),
    ("write", write),
    ("list", list),
    ("make_dir", make_dir),
    ("remove_dir", remove_dir),
    ("write_error", write_error),
    ("float", float),
    ("exit", exit),
];

fn failed(lua: &mut LuaState, error: &Error) -> LuaResult<usize> {
    lua.lua_pushnil()?;
    lua.lua_pushstring(&error.code)?;
    lua.lua_pushstring(&error.message)?;
    match &error.hint {
        Some(hint) => lua.lua_pushstring(hint)?,
        None => lua.lua_pushnil()?,
    }
    Ok(4)
}

/// Nothing, where nothing failed.
fn done(lua: &mut LuaState, result: std::io::Result<()>) -> LuaResult<usize> {
    match result {
        Ok(()) => {
            lua.lua_pushboolean(true)?;
            Ok(1)
        }
        Err(error) => failed(lua, &error.into()),
    }
}

fn handle(lua: &mut LuaState) -> LuaResult<u32> {
    // What is no handle is one that nobody has: the host says so.
    Ok(u32::try_from(lua.lua_l_checkinteger(1)?).unwrap_or(u32::MAX))
}

/// `ask(function, request)`, JSON texts.
fn ask(lua: &mut LuaState) -> LuaResult<usize> {
    let (function, request) = (lua.lua_l_checkstring(1)?, lua.lua_l_checkstring(2)?);
    match raw::ask(&function, &request) {
        Ok(reply) => {
            lua.lua_pushstring(&reply)?;
            Ok(1)
        }
        Err(error) => failed(lua, &error),
    }
}

/// `read(handle, limit)`: bytes, none at the end.
fn read(lua: &mut LuaState) -> LuaResult<usize> {
    let handle = handle(lua)?;
    let limit = usize::try_from(lua.lua_l_checkinteger(2)?).unwrap_or_default();
    let mut bytes = vec![0; limit.min(raw::PART_BYTES_MAX)];
    match raw::read(handle, &mut bytes) {
        Ok(count) => {
            lua.lua_pushlstring(&bytes[..count])?;
            Ok(1)
        }
        Err(error) => failed(lua, &error),
    }
}

/// `write(handle, bytes)`: how many were taken.
fn write(lua: &mut LuaState) -> LuaResult<usize> {
    let handle = handle(lua)?;
    let bytes = lua.lua_l_checklstring(2)?;
    match raw::write(handle, &bytes) {
        Ok(count) => {
            lua.lua_pushinteger(i64::try_from(count).unwrap_or_default())?;
            Ok(1)
        }
        Err(error) => failed(lua, &error),
    }
}

/// `list(path)`: a list of names, whose bytes are those of the target.
fn list(lua: &mut LuaState) -> LuaResult<usize> {
    let path = lua.lua_l_checkstring(1)?;
    let names = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().into_encoded_bytes())).collect());
    let mut names: Vec<Vec<u8>> = match names {
        Ok(names) => names,
        Err(error) => return failed(lua, &error.into()),
    };
    names.sort_unstable();
    lua.lua_createtable(names.len(), 0)?;
    for (name, at) in names.iter().zip(1..) {
        lua.lua_pushlstring(name)?;
        lua.lua_rawseti(-2, at)?;
    }
    Ok(1)
}

fn make_dir(lua: &mut LuaState) -> LuaResult<usize> {
    let path = lua.lua_l_checkstring(1)?;
    let made = if lua.lua_toboolean(2) { fs::create_dir_all(path) } else { fs::create_dir(path) };
    done(lua, made)
}

fn remove_dir(lua: &mut LuaState) -> LuaResult<usize> {
    let path = lua.lua_l_checkstring(1)?;
    done(lua, fs::remove_dir(path))
}

fn write_error(lua: &mut LuaState) -> LuaResult<usize> {
    let bytes = lua.lua_l_checklstring(1)?;
    let written = std::io::stderr().write_all(&bytes);
    done(lua, written)
}

/// `float(specification, number)`: the text.
fn float(lua: &mut LuaState) -> LuaResult<usize> {
    let (specification, number) = (lua.lua_l_checkstring(1)?, lua.lua_l_checknumber(2)?);
    match crate::float::format(&specification, number) {
        Some(text) => lua.lua_pushstring(&text)?,
        None => lua.lua_pushnil()?,
    }
    Ok(1)
}

/// Ends the task here and now.
fn exit(lua: &mut LuaState) -> LuaResult<usize> {
    let code = lua.lua_l_checkinteger(1)?;
    let _ = std::io::stdout().flush();
    std::process::exit(i32::try_from(code).unwrap_or(1))
}
