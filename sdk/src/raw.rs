//! Calls as they cross the border, for interpreters: a request and an answer are JSON texts (docs/waft-v1.md).

use crate::Error;
use crate::call::{Host, Imports, moved, texts};

/// The most that one [`read`] or [`write`] moves, bytes.
pub const PART_BYTES_MAX: usize = 32 * 1024;

/// One call: the import, and its request, one JSON object. Answers the JSON object of the host.
///
/// ```
/// # use waft_sdk::{Error, Outcome, testing::Fake, serde_json::{Value, json}};
/// # let host = Fake::new().facts(json!({"kernel": "6.1"}));
/// # host.run(|_: Value| -> Result<Outcome, Error> {
/// assert_eq!(waft_sdk::raw::ask("facts", "{}")?, r#"{"kernel":"6.1"}"#);
/// assert_eq!(waft_sdk::raw::ask("fact", "{}").unwrap_err().code, "waft_v1.call");
/// # Ok(Outcome::ok()) }, json!({})).unwrap();
/// ```
pub fn ask(function: &str, request: &str) -> Result<String, Error> {
    let call = match function {
        "facts" => Host::facts,
        "exec" => Host::exec,
        "file" => Host::file,
        "net" => Host::net,
        "task" => Host::task,
        "blob" => Host::blob,
        "secret" => Host::secret,
        "emit" => Host::emit,
        other => return Err(Error::new("waft_v1.call", format!("no host has a call `{other}`"))),
    };
    texts(&mut Imports, function, call, request)
}

/// The next bytes behind a handle, at most [`PART_BYTES_MAX`]; 0 is the end.
pub fn read(handle: u32, into: &mut [u8]) -> Result<usize, Error> {
    let most = into.len().min(PART_BYTES_MAX);
    let into = &mut into[..most];
    let count = Imports.read(handle, into);
    moved(&mut Imports, "read", count, most)
}

/// Writes some of the bytes, at most [`PART_BYTES_MAX`], and says how many.
pub fn write(handle: u32, bytes: &[u8]) -> Result<usize, Error> {
    let bytes = &bytes[..bytes.len().min(PART_BYTES_MAX)];
    let count = Imports.write(handle, bytes);
    moved(&mut Imports, "write", count, bytes.len())
}
