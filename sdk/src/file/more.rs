//! What is asked for more rarely.

use super::{Request, Stat, request};
use crate::Error;
use crate::call::{Host, Imports, ask};
use serde::Deserialize;

/// Of what a symlink leads to, as far as that stays in a granted directory.
pub fn stat_followed(path: &str) -> Result<Stat, Error> {
    let request = Request { op: "stat", path, follow: Some(true), ..Request::default() };
    ask(&mut Imports, "file", Host::file, &request)
}

/// Renames, unless there is something of the new name.
pub fn rename_new(path: &str, to: &str) -> Result<bool, Error> {
    request(&Request { op: "rename", path, to: Some(to), replace: Some(false), ..Request::default() })
}

/// Each gets the name of the other, at once.
pub fn exchange(path: &str, with: &str) -> Result<bool, Error> {
    request(&Request { op: "rename", path, to: Some(with), exchange: Some(true), ..Request::default() })
}

/// The names of the extended attributes, sorted.
pub fn list_xattr(path: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Names {
        names: Vec<String>,
    }
    let request = Request { op: "listxattr", path, ..Request::default() };
    ask::<_, Names>(&mut Imports, "file", Host::file, &request).map(|found| found.names)
}
