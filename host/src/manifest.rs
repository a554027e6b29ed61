//! What a task says of itself: TOML text in the custom section `waft.task` of its module, or in the file
//! `NAME.toml` beside `NAME.wasm`. The section counts; where both are there they must say the same.
//!
//! ```toml
//! name = "restart"
//! version = "1.2"
//! description = "Restarts units and waits until they are up."
//! grants = ["exec:systemctl restart *", "facts"]     # what it asks for; nothing when left out
//! check = true                                       # it supports a dry run
//! returns = "after-reboot"                           # it is over when its target has booted again
//! [secrets."db/password"]                            # of those that `grants` asks for
//! type = "text"                                      # or bytes
//! description = "of the account that backs up"
//! require = "end-to-end"                             # no hop may be able to read it
//! ```
//!
//! `grants = "given"` asks for whatever it is given, as a task without a manifest does. The tables `params`, `result` and
//! `examples` are told by docs/manifest.md. Any other key is an error.
//!
//! A manifest is the task's own word. It can only take away from what the operator gives: see [`agree`].

pub mod agree;
mod read;
pub mod refusal;
pub mod schema;
pub mod suggest;

use crate::compile::component::outside;
use crate::inventory::read_text;
use crate::secret::Declarations;
use schema::Object;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use waft_engine::Form;
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;
use wasmparser::{Parser, Payload};

/// The name of the custom section.
pub const SECTION: &str = "waft.task";
/// A manifest, bytes: room for parameters and examples, and nothing that takes time to read.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// The name of a task, bytes; a stub takes up to 1024.
pub const NAME_BYTES_MAX: usize = 128;
/// A version, bytes.
pub const VERSION_BYTES_MAX: usize = 64;
/// A description, bytes: a paragraph.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Examples of one task.
pub const EXAMPLES_MAX: usize = 32;

/// Where a manifest was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Section,
    File(PathBuf),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    pub name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
    /// What the task asks for.
    pub grants: GrantSet,
    /// It asks for whatever it is given, and `grants` is empty.
    pub given: bool,
    /// Whether it says that it supports a dry run.
    pub check: bool,
    /// Whether its target boots again after it changed something, and is waited for.
    pub after_reboot: bool,
    /// What it says of the secrets that it asks for.
    pub secrets: Declarations,
    /// `None`: nothing is said of them, and nothing is checked.
    pub params: Option<Object>,
    /// What its result has beside `changed` and `msg`.
    pub result: Option<Object>,
    pub examples: Vec<Example>,
    pub place: Place,
}

/// How it can be used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Example {
    pub description: Option<String>,
    /// Those that are files have the name of one.
    pub params: Map<String, Value>,
    /// What it needs for that; only [`agree::ASKED`]: all that the manifest asks for.
    pub grants: Vec<String>,
}

impl Manifest {
    /// `None`: exactly what it is given.
    pub fn asked(&self) -> Option<&GrantSet> {
        (!self.given).then_some(&self.grants)
    }

    /// Reads a text; `what` names it in problems, which are all of them.
    pub fn parse(what: &str, text: &str, place: Place) -> Result<Manifest, Vec<Problem>> {
        read::read(what, text, place)
    }
}

/// The manifest of a module, if it has one. `file` is where the module was read from; a task that is built in has none.
pub fn of_module(name: &str, wasm: &[u8], file: Option<&Path>) -> Result<Option<Manifest>, Vec<Problem>> {
    let inside = section(name, wasm).map_err(|problem| vec![problem])?;
    let beside = match file {
        Some(file) => beside(file).map_err(|problem| vec![problem])?,
        None => None,
    };
    match (inside, beside) {
        (None, None) => Ok(None),
        (Some(text), beside) => {
            if let Some((path, _)) = beside.filter(|(_, other)| !same(text, other)) {
                let message = format!(
                    "the manifest in {name} (section {SECTION}) and the one in {} differ",
                    path.display()
                );
                let hint = "what is in the module counts: remove the file, or build the module again from it";
                return Err(vec![Problem::new("manifest.differs", message).hint(hint)]);
            }
            Manifest::parse(&format!("the manifest in {name}"), text, Place::Section).map(Some)
        }
        (None, Some((path, text))) => {
            Manifest::parse(&path.display().to_string(), &text, Place::File(path)).map(Some)
        }
    }
}

/// The text of the section. Of a module that cannot be read nothing is said here: that is the validator's business.
fn section<'a>(name: &str, wasm: &'a [u8]) -> Result<Option<&'a str>, Problem> {
    // A component has its manifest itself, or in the module that it was made from.
    let (mut outer, mut inner, mut inside) = (Vec::new(), Vec::new(), 0_usize);
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => inside += 1,
            Payload::End(_) => inside = inside.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == SECTION => {
                if inside == 0 {
                    outer.push(section.data())
                } else {
                    inner.push(section.data())
                }
            }
            _ => {}
        }
    }
    let mut found = None;
    for bytes in if outer.is_empty() { inner } else { outer } {
        if found.replace(bytes).is_some() {
            let message = format!("{name} has more than one section {SECTION}");
            return Err(
                Problem::new("manifest.twice", message).hint("a module has one manifest: link in one")
            );
        }
    }
    let Some(bytes) = found else { return Ok(None) };
    if bytes.len() > MANIFEST_BYTES_MAX {
        let message = format!(
            "the section {SECTION} of {name} has {} bytes; a manifest has at most {MANIFEST_BYTES_MAX}",
            bytes.len()
        );
        return Err(Problem::new("manifest.size", message));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Problem::new("manifest.utf8", format!("the section {SECTION} of {name} is not UTF-8 text"))
            .hint("it holds the manifest as TOML text, and nothing else")
    })?;
    Ok(Some(text))
}

/// `NAME.toml` beside `NAME.wasm`, when there is such a file.
fn beside(wasm: &Path) -> Result<Option<(PathBuf, String)>, Problem> {
    let path = wasm.with_extension("toml");
    // Also a broken link is somebody's intention; reading it says what is wrong.
    if path == wasm || path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let text = read_text(&path.to_string_lossy(), MANIFEST_BYTES_MAX as u64, "manifest")?;
    Ok(Some((path, text)))
}

/// The functions that a module imports, sorted, by the module they come from; of a component by interface.
pub fn imports(wasm: &[u8]) -> BTreeMap<String, Vec<String>> {
    if Form::of_wasm(wasm) == Form::Component {
        return outside(wasm).map(|outside| outside.imports).unwrap_or_default();
    }
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        let Payload::ImportSection(section) = payload else { continue };
        for import in section.into_imports().map_while(Result::ok) {
            imports.entry(import.module.to_owned()).or_default().insert(import.name.to_owned());
        }
    }
    imports.into_iter().map(|(module, names)| (module, names.into_iter().collect())).collect()
}

/// Line ends and blanks around the text do not count.
fn same(a: &str, b: &str) -> bool {
    a.trim().lines().eq(b.trim().lines())
}

#[cfg(test)]
mod tests;
