//! Secrets, from where they come from to the task, over real sshd: the value is where it has to be and nowhere else.
//!
//! Each search is first made for a text that is no secret and went the same ways: it has to find that.

mod hidden;
mod memory;
pub(crate) mod scan;
mod sources;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use waft_tests::{Context, Result};

/// A grant, and what asks for it.
pub(crate) const NAME: &str = "db/password";

/// A text of this run alone, in which every escaping has something to do. `scan` looks for its two ends.
pub(crate) fn fresh(word: &str) -> String {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let chance = blake3::hash(format!("{word} {} {nanos}", std::process::id()).as_bytes()).to_hex();
    format!("{word}{}\"o'r$d \\/{}", &chance[..12], &chance[12..24])
}

/// A file that only its owner can read.
pub(crate) fn private(path: PathBuf, bytes: &[u8]) -> Result<PathBuf> {
    let doing = || format!("cannot write {}", path.display());
    fs::write(&path, bytes).context(doing)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context(doing)?;
    Ok(path)
}

/// The module with all attacks, in a file.
pub(crate) fn attacks(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("attacks.wasm");
    fs::write(&path, &*crate::attack::arena::attacks()?).context(|| "the attacks".to_owned())?;
    Ok(path)
}

pub(crate) fn parameters(dir: &Path, params: &Value) -> Result<PathBuf> {
    let path = dir.join("params.json");
    fs::write(&path, params.to_string()).context(|| "the parameters".to_owned())?;
    Ok(path)
}
