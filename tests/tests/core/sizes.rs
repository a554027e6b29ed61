//! How large the tasks are that waft ships: each is sent to every target on which it runs.

use std::fs;
use std::path::PathBuf;
use waft_tests::Result;

/// A task, bytes of its module.
const BYTES_MAX: usize = 200_000;

/// Those that may be larger: name, bytes, and what they are made of.
const EXCEPTIONS: &[(&str, usize, &str)] = &[
    ("archive", 315_000, "deflate and zstd, both to pack"),
    ("blockinfile", 232_000, "regular expressions: 40 kB"),
    ("cert_check", 1_150_000, "TLS, and a reader of X.509"),
    ("find", 223_000, "regular expressions: 40 kB"),
    ("get_url", 1_000_000, "TLS, an HTTP client, and three hashes"),
    ("javascript", 1_300_000, "an interpreter"),
    ("lineinfile", 239_000, "regular expressions: 40 kB"),
    ("lua", 1_050_000, "an interpreter"),
    ("python", 26_000_000, "an interpreter with its standard library"),
    ("template", 795_000, "the language of templates, with its filters"),
    ("unarchive", 365_000, "deflate and zstd, both to unpack"),
    ("uri", 980_000, "TLS, and an HTTP client"),
    ("wait_for", 1_050_000, "TLS, an HTTP client, and regular expressions"),
];

/// Names and sizes of what `scripts/build-tasks.sh` made, where the tests of this run take their tasks from.
fn tasks() -> Vec<(String, usize)> {
    let mut tasks: Vec<(String, usize)> = match std::env::var_os("WAFT_TASKS_DIR") {
        Some(dir) => files(dir.into()),
        None => {
            let builtin = waft::stubs::builtin_tasks();
            builtin
                .map(|name| (name.to_owned(), waft::stubs::builtin_task(name).unwrap_or_default().len()))
                .collect()
        }
    };
    tasks.sort();
    tasks
}

fn files(dir: PathBuf) -> Vec<(String, usize)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let modules = entries.filter_map(|entry| {
        let name = entry.file_name().to_str()?.strip_suffix(".wasm")?.to_owned();
        Some((name, usize::try_from(entry.metadata().ok()?.len()).ok()?))
    });
    modules.collect()
}

#[test]
fn tasks_are_small() -> Result<()> {
    let tasks = tasks();
    assert!(
        tasks.iter().any(|(name, _)| name == "file"),
        "the tasks that are shipped are not here: {tasks:?}"
    );
    let mut faults = Vec::new();
    for (name, bytes) in &tasks {
        let exception = EXCEPTIONS.iter().find(|(known, ..)| known == name);
        let most = exception.map_or(BYTES_MAX, |(_, most, _)| *most);
        let why = exception.map_or("", |(.., why)| why);
        println!("{name:<16} {bytes:>7} of {most:>7}  {why}");
        if *bytes > most {
            faults.push(format!("{name} has {bytes} bytes, at most {most} were agreed on"));
        }
        // An exception that is none any more is taken back.
        if exception.is_some() && *bytes <= BYTES_MAX {
            faults.push(format!("{name} has {bytes} bytes: it needs no exception"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
