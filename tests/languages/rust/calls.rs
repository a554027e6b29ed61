//! Calls every function of `waft_v1`, and says what came back.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use waft::exec::Program;
use waft::serde_json::{Value, json};
use waft::{Blob, Connection, Error, File, Outcome, Params, Result, file};

#[derive(Params)]
struct Where {
    dir: String,
    port: u16,
    blob: File,
}

// Without a manifest a task asks for whatever it is given; the port is another one each time.
fn main() -> ExitCode {
    waft::main(run)
}

fn run(Where { dir, port, blob }: Where) -> Result<Outcome> {
    waft::log("calls: log")?;
    let outcome = Outcome::changed(true)
        .with("facts", &facts()?)
        .with("exec", &exec()?)
        .with("file", &files(&dir)?)
        .with("net", &net(port)?)
        .with("task", &waft::call_task("facts", &json!({"filter": "kernel"}))?.result)
        .with("blob", &blobs(&blob)?)
        .with("secret", &waft::secret("word")?.iter().rev().collect::<Vec<_>>())
        .with("refused", &code(file::stat("/etc/passwd")))
        .with("wrong", &code(file::chmod(&format!("{dir}/file"), 0o10_0000)))
        .with("check", &waft::is_check());
    waft::progress(2, Some(2), Some("all"))?;
    Ok(outcome)
}

fn code<T>(done: Result<T>) -> Option<String> {
    done.err().map(|Error { code, .. }| code)
}

fn facts() -> Result<Vec<Value>> {
    #[derive(waft::serde::Deserialize)]
    #[serde(crate = "waft::serde")]
    struct System {
        kernel: String,
    }
    let all: Value = waft::serde_json::from_str(&waft::facts()?)?;
    let System { kernel } = waft::facts_as()?;
    Ok(vec![all["kernel"].clone(), kernel.into()])
}

fn exec() -> Result<Value> {
    let program = |words: &[&str]| Program {
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Program::default()
    };
    let cat = Program { stdin: vec![b'a', 0xff, 0, b'b'], ..program(&["/bin/cat"]) }.run()?;
    let env = [("GREETING".to_owned(), "hello".to_owned())].into();
    let env = Program { env, cwd: Some("/".into()), ..program(&["/usr/bin/env"]) }.run()?;
    let greeted = env.stdout.split(|byte| *byte == b'\n').any(|line| line == b"GREETING=hello");
    let slept = Program { timeout_ms: Some(50), ..program(&["/bin/sleep", "60"]) }.run()?;
    let not_replaced = waft::exec_replace(&["/bin/false".into()], None).code;
    Ok(json!([cat.stdout, cat.exit_code, greeted, slept.timed_out, not_replaced]))
}

fn files(dir: &str) -> Result<Value> {
    let path = |name: &str| format!("{dir}/{name}");
    let (a, link, b, c) = (path("file"), path("link"), path("b"), path("c"));
    let stat = file::stat(&a)?;
    let chmod = [file::chmod(&a, 0o600)?, file::chmod(&a, 0o600)?];
    let chown = file::chown(&a, Some(&stat.uid.to_string()), Some(&stat.gid.to_string()))?;
    let symlink = file::symlink(&link, "file")?;
    let target = file::stat(&link)?.target;
    let followed = file::stat_followed(&link)?.size;
    let linked = file::link(&a, &b)?;
    let renamed =
        [code(file::rename_new(&b, &a)).is_some(), file::rename(&b, &c)?, file::exchange(&c, &link)?];
    file::fsync(&a)?;
    let utime = file::utime(&a, Some("1767225600.5"), None)?;
    let set = file::set_xattr(&a, "user.x", &[b'a', 0xff])?;
    let (names, value) = (file::list_xattr(&a)?, file::get_xattr(&a, "user.x")?);
    let removed = file::remove_xattr(&a, "user.x")?;
    Ok(json!({
        "stat": [stat.kind, stat.mode, stat.size, file::stat(&path("none"))?.kind],
        "chmod": chmod,
        "chown": chown,
        "symlink": [symlink, target, followed],
        "rename": [linked, renamed],
        "utime": [utime, file::stat(&a)?.mtime],
        "xattr": [set, names, value, removed],
    }))
}

fn net(port: u16) -> Result<Value> {
    let (mut connection, address) = Connection::connect("127.0.0.1", port, Some(Duration::from_secs(10)))?;
    connection.write_all(b"hello over there")?;
    connection.shutdown()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(json!([waft::resolve("127.0.0.1")?, address.ends_with(&format!(":{port}")), answer]))
}

fn blobs(file: &File) -> Result<Value> {
    let mut all = Vec::new();
    file.open()?.read_to_end(&mut all)?;
    let sum: u64 = all.iter().map(|byte| u64::from(*byte)).sum();
    let (mut part, bytes) = Blob::open_part(&file.hash, 2, Some(3))?;
    let mut three = Vec::new();
    part.read_to_end(&mut three)?;
    Ok(json!([all.len(), sum, bytes, three, file.name]))
}
