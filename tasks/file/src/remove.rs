//! Removal of whole directories. No symlink is followed.

use crate::{DEPTH_MAX, deep};
use std::fs;
use std::path::PathBuf;
use waft_sdk::Error;
use waft_tasks_common::files::{read_failed, write_failed};

pub(crate) fn all(path: &str, is_dir: bool) -> Result<(), Error> {
    if is_dir {
        tree(path.into(), DEPTH_MAX)
    } else {
        fs::remove_file(path).map_err(|error| write_failed(path, &error))
    }
}

fn tree(dir: PathBuf, depth: u32) -> Result<(), Error> {
    let name = dir.to_string_lossy().into_owned();
    let Some(depth) = depth.checked_sub(1) else { return Err(deep(&name)) };
    for entry in fs::read_dir(&dir).map_err(|error| read_failed(&name, &error))? {
        let entry = entry.map_err(|error| read_failed(&name, &error))?;
        let path = entry.path();
        if entry.file_type().map_err(|error| read_failed(&name, &error))?.is_dir() {
            tree(path, depth)?;
        } else {
            fs::remove_file(&path).map_err(|error| write_failed(&path.to_string_lossy(), &error))?;
        }
    }
    fs::remove_dir(&dir).map_err(|error| write_failed(&name, &error))
}
