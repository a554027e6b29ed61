//! Bytes: what crosses a link once, and what the controller weighs.

use waft::stubs::{builtin_task, builtin_tasks};
use waft_proto::msg::{Arch, Engine, Profile};
use waft_tests::{Context, Error, Result};

use crate::bench::Bench;
use crate::report::{Row, Table};

pub(super) const NAME: &str = "size";
const ABOUT: &str = "The stub crosses a link once per connection, as gzip; an artifact once per link and task. \
                     Artifacts are for this machine's architecture, engine profile `fast`.";

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let arch = Arch::here().ok_or_else(|| Error::new("there are no stubs for this machine"))?;
    let mut rows = Vec::new();
    for kind in ["leaf", "hop"] {
        let (raw, gzip) = stub_sizes(bench, kind)?;
        rows.push(Row::bytes(format!("stub, {kind}"), raw).bounded());
        rows.push(Row::bytes(format!("stub, {kind}, gzip"), gzip).bounded());
    }
    let mut names: Vec<&str> = builtin_tasks().collect();
    names.sort_unstable();
    for name in names {
        let wasm = builtin_task(name).unwrap_or_default();
        // The others are bounded where they are tested: tests/tests/core/sizes.rs.
        if !["exec", "facts"].contains(&name) {
            rows.push(Row::bytes(format!("task {name}, module"), wasm.len() as u64));
            continue;
        }
        let artifact = waft_engine::compile(Engine { arch, profile: Profile::Fast }, wasm)
            .map_err(|error| Error::new(format!("the task {name} cannot be compiled: {error:#}")))?;
        rows.push(Row::bytes(format!("task {name}, module"), wasm.len() as u64).bounded());
        rows.push(Row::bytes(format!("task {name}, artifact"), artifact.len() as u64).bounded());
    }
    let waft =
        std::fs::metadata(&bench.waft).context(|| format!("cannot look at {}", bench.waft.display()))?;
    rows.push(Row::bytes("waft, with stubs, tasks and compiler", waft.len()));
    Ok(Table { name: NAME, about: ABOUT, rows })
}

/// Raw and compressed bytes of a stub for this machine.
pub(super) fn stub_sizes(bench: &Bench, kind: &str) -> Result<(u64, u64)> {
    let arch = Arch::here().ok_or_else(|| Error::new("there are no stubs for this machine"))?;
    let list = bench.waft_stub(&["list"])?;
    stub(&list, kind, arch.word())
        .ok_or_else(|| Error::new(format!("`waft stub list` shows no {kind} for {}:\n{list}", arch.word())))
}

/// The same from a table whose first columns are kind, machine, bytes, gzip.
fn stub(list: &str, kind: &str, arch: &str) -> Option<(u64, u64)> {
    let rows = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = rows.into_iter().find(|row| row.starts_with(&[kind, arch]))?;
    Some((found.get(2)?.parse().ok()?, found.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_stubs_is_read_by_its_columns() {
        let list =
            "kind  machine  bytes  gzip\nleaf  aarch64  9  8  ab  built in\nleaf  x86_64  300  100  cd  /x\n";
        assert_eq!(super::stub(list, "leaf", "x86_64"), Some((300, 100)));
        assert_eq!(super::stub(list, "hop", "x86_64"), None);
    }
}
