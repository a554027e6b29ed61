//! Extended attributes, of what the path names.
//!
//! All that the kernel lets the account read may be read. Written are only those that give nobody more than files and modes
//! do: `user.*` and POSIX ACLs. Of the rest, `security.capability` is set-uid by another name, `security.selinux` and its
//! like are somebody's policy, and with `trusted.overlay.*` or `user.overlay.*` a directory that is a layer of an overlay
//! shows what lies elsewhere.

use super::Call;
use super::beneath::own;
use super::meta::changed;
use crate::base64;
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use waft_proto::run::Problem;

/// A value, and the list of all names: what the kernel itself takes at most.
const BYTES_MAX: usize = 64 * 1024;
const NAME_BYTES_MAX: usize = 255;

const WRITABLE: &str = "user.";
const NOT_WRITABLE: &str = "user.overlay.";
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

fn name<'a>(call: &'a Call<'_>) -> Result<&'a str, Problem> {
    let name = call.request.name("name")?;
    call.request.want("name", "a name of at most 255 bytes", (name.len() <= NAME_BYTES_MAX).then_some(name))
}

fn name_to_write<'a>(call: &'a Call<'_>) -> Result<&'a str, Problem> {
    let name = name(call)?;
    if ACLS.contains(&name) || (name.starts_with(WRITABLE) && !name.starts_with(NOT_WRITABLE)) {
        return Ok(name);
    }
    let what = "attributes of this class can lend rights or lead elsewhere, which no grant of files gives";
    Err(call.problem("file.xattr_class", what).hint("written are user.* (not user.overlay.*) and POSIX ACLs"))
}

/// The value, or nothing where there is no such attribute.
fn read(path: &str, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; BYTES_MAX];
    match getxattr(path, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn get(call: &Call<'_>) -> Result<Value, Problem> {
    let name = name(call)?;
    let found = call.find()?;
    let value = read(&own(&found), name).map_err(|error| call.by_descriptor(error))?;
    Ok(match value.map(String::from_utf8) {
        None => json!({"value": null}),
        Some(Ok(text)) => json!({"value": text}),
        Some(Err(error)) => json!({"base64": base64::encode(error.as_bytes())}),
    })
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, Problem> {
    let found = call.find()?;
    let mut names = vec![0; BYTES_MAX];
    let length = listxattr(own(&found), names.as_mut_slice()).map_err(|error| call.by_descriptor(error))?;
    names.truncate(length);
    let mut names: Vec<String> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(Value::Object(Map::from_iter([("names".to_owned(), names.into())])))
}

pub(super) fn set(call: &Call<'_>) -> Result<Value, Problem> {
    let name = name_to_write(call)?;
    let wrong = "base64 with padding, or a text in `value`, and not both";
    let value = match (call.request.text("value")?, call.request.text("base64")?) {
        (Some(text), None) => Some(text.as_bytes().to_vec()),
        (None, Some(text)) => base64::decode(text),
        _ => None,
    };
    let value = call.request.want("base64", wrong, value)?;
    if value.len() > BYTES_MAX {
        return Err(call.failed(Errno::TOOBIG));
    }
    let found = call.find_to_change()?;
    let path = own(&found);
    // What cannot be read may still be written.
    if read(&path, name).is_ok_and(|there| there.is_some_and(|there| there == value)) {
        return Ok(changed(false));
    }
    setxattr(&path, name, &value, XattrFlags::empty()).map_err(|error| call.by_descriptor(error))?;
    Ok(changed(true))
}

pub(super) fn remove(call: &Call<'_>) -> Result<Value, Problem> {
    let name = name_to_write(call)?;
    let found = call.find_to_change()?;
    let path = own(&found);
    // The kernel is content to remove an ACL that is not there, and calls that a change.
    if read(&path, name).is_ok_and(|there| there.is_none()) {
        return Ok(changed(false));
    }
    match removexattr(path, name) {
        Ok(()) => Ok(changed(true)),
        Err(Errno::NODATA) => Ok(changed(false)),
        Err(error) => Err(call.by_descriptor(error)),
    }
}
