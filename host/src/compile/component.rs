//! What a component imports and exports: said before any host is dialled, as for a module.

use super::advice::of_component;
use std::collections::BTreeMap;
use waft_engine::Form;
use waft_engine::imports::components::{RUN, WAFT_VERSION, WASI_VERSION, functions, has_version};
use waft_proto::run::Problem;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{BinaryReaderError, Parser, Payload, Validator};

/// What is at the outermost level of a component. Those inside import from one another.
#[derive(Debug, Default)]
pub struct Outside {
    /// Functions by interface, with its version; what is imported and is no interface has none.
    pub imports: BTreeMap<String, Vec<String>>,
    pub exports: Vec<String>,
}

/// Validates, too.
pub fn outside(wasm: &[u8]) -> Result<Outside, BinaryReaderError> {
    let types =
        Validator::new_with_features(waft_engine::parser_features(Form::Component)).validate_all(wasm)?;
    let types = types.as_ref();
    let mut outside = Outside::default();
    let mut inside = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => inside += 1,
            Payload::End(_) => inside = inside.saturating_sub(1),
            Payload::ComponentImportSection(section) if inside == 0 => {
                for import in section {
                    let name = import?.name.name;
                    let item = types.component_item_for_import(name).map(|item| item.ty);
                    let names = match item {
                        Some(ComponentEntityType::Instance(id)) => {
                            let exports = types[id].exports.iter();
                            let called =
                                exports.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
                            called.map(|(name, _)| name.clone()).collect()
                        }
                        _ => Vec::new(),
                    };
                    outside.imports.insert(name.to_owned(), names);
                }
            }
            Payload::ComponentExportSection(section) if inside == 0 => {
                for export in section {
                    outside.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(outside)
}

/// All that no host has, and a `run` that is missing.
pub(super) fn check(name: &str, outside: &Outside) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        outside.imports.iter().flat_map(|(import, called)| unknown(name, import, called)).collect();
    let starts = |export: &String| {
        export
            .split_once('@')
            .is_some_and(|(interface, version)| interface == RUN && has_version(interface, version))
    };
    if !outside.exports.iter().any(starts) {
        let text =
            format!("{name} is a component without {RUN}@{}0: it is a library, no command", WASI_VERSION.0);
        problems.push(
            Problem::new("task.start", text)
                .hint("build it for the world wasi:cli/command, or waft:task/task"),
        );
    }
    problems
}

fn unknown(name: &str, import: &str, called: &[String]) -> Vec<Problem> {
    let refused = |text: String, hint: &str| vec![Problem::new("task.import", text).hint(hint)];
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let Some(known) = functions(interface) else {
        return refused(
            format!("{name} imports {import}, which no host of waft offers"),
            of_component(interface),
        );
    };
    if !has_version(interface, version) {
        let (line, newest) = if interface.starts_with("waft:") { WAFT_VERSION } else { WASI_VERSION };
        let version =
            if version.is_empty() { "without a version".into() } else { format!("of version {version}") };
        let text =
            format!("{name} imports {interface} {version}; hosts of waft have {line}0 to {line}{newest}");
        return refused(text, "build it against that version of the WIT packages, or get a newer waft");
    }
    let new = called.iter().filter(|called| known.binary_search(&called.as_str()).is_err());
    new.flat_map(|called| {
        refused(
            format!("{name} imports {import}#{called}, which no host of waft offers"),
            of_component(interface),
        )
    })
    .collect()
}
