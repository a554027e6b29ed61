//! `componentize WIT MODULE COMPONENT`: a component of a module that imports WASI 0.1 and perhaps `waft:task`, by the adapter of
//! wasmtime. Prints what the world `task` of the WIT imports and exports.

use std::error::Error;
use std::path::Path;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [wit, module, component] = args.as_slice() else {
        return Err("usage: componentize WIT MODULE COMPONENT".into());
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(Path::new(wit))?;
    let task = &resolve.worlds[resolve.select_world(&[package], Some("task"))?];
    for (word, items) in [("import", &task.imports), ("export", &task.exports)] {
        for key in items.keys() {
            println!("{word} {}", resolve.name_world_key(key));
        }
    }
    let mut module = std::fs::read(module)?;
    let world = resolve.select_world(&[package], Some("imports"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)?;
    std::fs::write(component, encoder.encode()?)?;
    Ok(())
}
