//! The last lines of files. The manifest says what the parameters are.

use log_tail_task::{ANSWER_BYTES_MAX, Wish, tail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::Words;
use waft_tasks_common::files::{absolute, is_file, read_failed, resolved};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Lines of one file that are answered.
const LINES_MAX: usize = 10_000;
const LINES_DEFAULT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "paths", alias = "name")]
    path: Words,
    lines: Option<usize>,
    since: Option<u64>,
    inode: Option<u64>,
    pattern: Option<String>,
}

#[derive(Serialize)]
struct Told {
    path: String,
    lines: Vec<String>,
    offset: u64,
    inode: u64,
    size: u64,
    rotated: bool,
    truncated: bool,
}

fn run(params: Params) -> Result<Outcome, Error> {
    if params.path.0.is_empty() {
        return Err(Error::new("params.path", "`path` names no file"));
    }
    if params.path.0.len() > 1 && params.since.is_some() {
        let text = "`since` is of one file, and `path` names several";
        return Err(Error { hint: Some("one run for each".into()), ..Error::new("params.since", text) });
    }
    let (mut files, mut room, mut count) = (Vec::new(), ANSWER_BYTES_MAX, 0);
    for path in &params.path.0 {
        let (path, stat) = resolved(&absolute("path", path)?)?;
        if !is_file(&stat) {
            let kind = stat.kind.as_deref().unwrap_or("nothing");
            return Err(Error::new("files.kind", format!("{path} is no regular file, but {kind}")));
        }
        let known = params.since.unwrap_or(0);
        let rotated = known > stat.size || params.inode.is_some_and(|inode| inode != stat.inode);
        let wish = Wish {
            lines: params.lines.unwrap_or(LINES_DEFAULT).min(LINES_MAX),
            from: if rotated { 0 } else { known },
            pattern: params.pattern.as_deref(),
            room,
        };
        let tail = File::open(&path)
            .and_then(|mut file| tail(&mut file, stat.size, &wish))
            .map_err(|error| read_failed(&path, &error))?;
        room -= tail.lines.iter().map(String::len).sum::<usize>();
        count += tail.lines.len();
        files.push(Told {
            path,
            lines: tail.lines,
            offset: tail.offset,
            inode: stat.inode,
            size: stat.size,
            rotated,
            truncated: tail.truncated,
        });
    }
    Ok(Outcome::ok().msg(format!("{count} lines")).with("files", &files))
}
