//! The tasks `python` and `javascript`: taken along when scripts/interpreters.sh has made them, as stubs of another
//! architecture are. They need pip and npm, which no `cargo build` may ask for.

use crate::{Failure, failed, watch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// As in host/src/stubs.rs.
const NAMES: [&str; 2] = ["javascript", "python"];
/// What scripts/interpreters.sh touches when it wrote one: files that are not there yet cannot be watched.
const MADE: &str = "made";

/// A task as the gzip of its WebAssembly.
pub(crate) struct Packed {
    pub(crate) name: &'static str,
    pub(crate) file: PathBuf,
}

pub(crate) fn gather(root: &Path) -> Result<Vec<Packed>, Failure> {
    let shelf = root.join("target/interpreters");
    let made = shelf.join(MADE);
    if !made.exists() {
        fs::create_dir_all(&shelf).map_err(|e| failed("make the folder", &shelf, &e))?;
        let touched = File::create(&made).and_then(|made| made.set_modified(SystemTime::UNIX_EPOCH));
        touched.map_err(|e| failed("make", &made, &e))?;
    }
    watch(&made);
    let packed = NAMES.map(|name| Packed { name, file: shelf.join(format!("{name}.wasm.gz")) });
    Ok(packed.into_iter().filter(|packed| packed.file.is_file()).collect())
}
