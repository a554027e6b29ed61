//! `templates.rs`: what `waft new` writes, per language: the files of sdk/templates/LANG, and the bindings that such a
//! project needs.

use crate::{Failure, failed, watch};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Each language, and what it takes from this repository: a file or folder of it, and where that lies in the project.
/// A language whose template is not there is not offered.
const LANGUAGES: [(&str, &[(&str, &str)]); 7] = [
    (
        "rust",
        &[
            ("sdk/Cargo.toml", "vendor/waft-sdk/Cargo.toml"),
            ("sdk/src", "vendor/waft-sdk/src"),
            ("sdk/macros", "vendor/waft-sdk/macros"),
        ],
    ),
    ("c", &[("sdk/include/waft.h", "waft.h")]),
    ("go", &[("sdk/go", "waft")]),
    ("zig", &[("sdk/zig/waft.zig", "waft.zig")]),
    ("assemblyscript", &[("sdk/assemblyscript", "")]),
    ("javascript", &[("sdk/javascript", ""), ("sdk/wit", "wit/deps/waft-task")]),
    ("python", &[("sdk/python", ""), ("sdk/wit", "wit/deps/waft-task")]),
];

/// What tools leave in a folder in which they were tried.
const LEFT_BEHIND: [&str; 7] =
    ["target", "node_modules", "zig-out", ".zig-cache", "__pycache__", "Cargo.lock", ".DS_Store"];

/// Folders in each other.
const DEPTH_MAX: usize = 16;

/// A file, where it lies in the project, and whether the task's name is put into it.
struct Source {
    file: String,
    place: String,
    named: bool,
}

pub(crate) fn write(root: &Path, out: &Path) -> Result<(), Failure> {
    watch(&root.join("sdk/templates"));
    let mut text = String::from(
        "/// Of each language: its name, and the files of a project.\n\
         static LANGUAGES: &[(&str, &[File])] = &[\n",
    );
    for (language, bindings) in LANGUAGES {
        let template = root.join("sdk/templates").join(language);
        if !template.is_dir() {
            continue;
        }
        let mut sources = Vec::new();
        gather(&template, "", true, 0, &mut sources)?;
        for (from, place) in bindings {
            watch(&root.join(from));
            gather(&root.join(from), place, false, 0, &mut sources)?;
        }
        sources.sort_by(|a, b| a.place.cmp(&b.place));
        let _ = writeln!(text, "    ({language:?}, &[");
        for Source { file, place, named } in sources {
            let _ = writeln!(
                text,
                "        File {{ place: {place:?}, named: {named}, bytes: include_bytes!({file:?}) }},"
            );
        }
        text += "    ]),\n";
    }
    text += "];\n";
    let file = out.join("templates.rs");
    fs::write(&file, text).map_err(|e| failed("write", &file, &e))
}

fn gather(
    path: &Path,
    place: &str,
    named: bool,
    depth: usize,
    into: &mut Vec<Source>,
) -> Result<(), Failure> {
    let kind = fs::metadata(path).map_err(|e| failed("look at", path, &e))?;
    if kind.is_file() {
        let file = path.to_str().ok_or_else(|| format!("{} is no UTF-8", path.display()))?;
        into.push(Source { file: file.to_owned(), place: place.to_owned(), named });
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Err(format!("{} lies deeper than {DEPTH_MAX} folders", path.display()));
    }
    for entry in fs::read_dir(path).map_err(|e| failed("read the folder", path, &e))? {
        let entry = entry.map_err(|e| failed("read the folder", path, &e))?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| format!("{} is no UTF-8", entry.path().display()))?;
        if LEFT_BEHIND.contains(&name) || name.ends_with(".wasm") {
            continue;
        }
        let below = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
        gather(&entry.path(), &below, named, depth + 1, into)?;
    }
    Ok(())
}
