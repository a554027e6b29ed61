//! Tasks that waft ships, where all is as it shall be.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waft::run::Request;
use waft::stubs::builtin_task;
use waft_tests::{Context, Error, Result};

use super::sandbox;
use crate::bench::Bench;
use crate::library::{Connected, task};
use crate::measure::take_turns;
use crate::report::{Row, Table};

pub(super) const NAME: &str = "core";
const ABOUT: &str = "One more run over a local link to a warm worker, of a task that finds all as it was asked for. The ratio \
                     is to the empty task, which prints `{}`.";
const ROUNDS: usize = 200;
/// Lines of the file in which one is looked for.
const LINES: usize = 100;

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let dir = bench.dir()?.join("core");
    let doing = || format!("cannot write below {}", dir.display());
    fs::create_dir_all(&dir).context(doing)?;
    let path = dir.join("app.conf");
    let lines: String = (0..LINES).map(|number| format!("key{number} = value\n")).collect();
    fs::write(&path, &lines).context(doing)?;
    let grant = format!("fs:{}:rw", dir.display());
    let request = |name: &str, params: Value| -> Result<Request> {
        let wasm = builtin_task(name).ok_or_else(|| Error::new(format!("there is no task `{name}`")))?;
        let params = params.to_string().into_bytes();
        Ok(Request { params, allow: vec![grant.clone()], ..task(name, wasm) })
    };
    let empty = task(NAME, &sandbox::empty_task()?);
    let file = request("file", json!({"path": path, "state": "file", "mode": mode(&path)?}))?;
    let line = request("lineinfile", json!({"path": path, "line": "key50 = value"}))?;
    let copy = request("copy", json!({"dest": path, "content": lines}))?;
    let link = RefCell::new(Connected::to_this_machine(bench)?);
    let requests = [empty, file, line, copy];
    let run = |at: usize| link.borrow_mut().run(&requests[at]);
    let [empty, file, line, copy] =
        take_turns(bench.rounds(ROUNDS), [&mut || run(0), &mut || run(1), &mut || run(2), &mut || run(3)])?;
    link.into_inner().stop()?;
    let row = |name: &str, samples| Row::time(name, samples).against(samples, &empty);
    let rows = vec![
        Row::time("the empty task", &empty),
        row("file, as it shall be", &file),
        row("lineinfile, the line is there", &line),
        row("copy, the content is there", &copy),
    ];
    Ok(Table { name: NAME, about: ABOUT, rows })
}

/// As a task takes it.
fn mode(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).context(|| format!("cannot look at {}", path.display()))?;
    Ok(format!("{:04o}", metadata.permissions().mode() & 0o7777))
}
