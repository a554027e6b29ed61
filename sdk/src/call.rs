//! The calls of `waft_v1`, over a trait of its functions: the imports in a guest, a script of replies in a test.

use crate::Error;
use crate::read::object;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The imports as they are, for hosts that tests make, too. The safe side of a pointer and a length is a slice.
#[cfg_attr(target_arch = "wasm32", expect(unreachable_pub, reason = "tests run elsewhere"))]
pub trait Host {
    fn facts(&mut self, request: &[u8]) -> i32;
    fn exec(&mut self, request: &[u8]) -> i32;
    fn file(&mut self, request: &[u8]) -> i32;
    fn net(&mut self, request: &[u8]) -> i32;
    fn task(&mut self, request: &[u8]) -> i32;
    fn blob(&mut self, request: &[u8]) -> i32;
    fn secret(&mut self, request: &[u8]) -> i32;
    fn emit(&mut self, request: &[u8]) -> i32;
    fn take(&mut self, into: &mut [u8]) -> i32;
    fn read(&mut self, handle: u32, into: &mut [u8]) -> i32;
    fn write(&mut self, handle: u32, bytes: &[u8]) -> i32;
}

/// A `read` or `write` that failed: `take` has the reason, `{"error": ..}`.
pub(crate) const FAILED: i32 = -4;

/// A call outside of a target, and of [`crate::testing`].
pub(crate) const NO_HOST: i32 = -100;

/// Longer than any reason that a host gives.
const REASON_BYTES_MAX: usize = 16 * 1024;

#[derive(Serialize)]
struct Exec<'a> {
    argv: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<&'a str>,
    replace: bool,
}

#[derive(Deserialize)]
struct Refusal {
    error: Error,
}

pub(crate) fn facts(host: &mut impl Host) -> Result<String, Error> {
    texts(host, "facts", Host::facts, "{}")
}

/// Asks with a text, and answers with the text of the reply.
pub(crate) fn texts<H: Host>(
    host: &mut H,
    name: &str,
    function: impl FnOnce(&mut H, &[u8]) -> i32,
    request: &str,
) -> Result<String, Error> {
    let length = function(host, request.as_bytes());
    let reply = take_reply(host, name, length)?;
    refusal(&reply).map_or(Ok(reply), Err)
}

pub(crate) fn exec_replace(host: &mut impl Host, argv: &[String], stdin: Option<&str>) -> Error {
    replaced(host, serde_json::to_vec(&Exec { argv, stdin, replace: true }))
}

/// Asks with a request that has `replace`.
pub(crate) fn replaced(host: &mut impl Host, request: serde_json::Result<Vec<u8>>) -> Error {
    let request = match request {
        Ok(request) => request,
        Err(e) => {
            return Error::new("exec.request", format!("the program's arguments are no JSON text: {e}"));
        }
    };
    let length = host.exec(&request);
    match take_reply(host, "exec", length) {
        Ok(reply) => refusal(&reply)
            .unwrap_or_else(|| Error::new("exec.reply", "the host neither started the program nor said why")),
        Err(error) => error,
    }
}

/// Asks with `request`, one JSON object, and reads the reply as `T`. `function` is the import, `name` what it is called.
pub(crate) fn ask<H: Host, T: DeserializeOwned>(
    host: &mut H,
    name: &str,
    function: impl FnOnce(&mut H, &[u8]) -> i32,
    request: &impl Serialize,
) -> Result<T, Error> {
    let request = serde_json::to_vec(request).map_err(|e| {
        Error::new(&format!("{name}.request"), format!("the request of `{name}` is no JSON: {e}"))
    })?;
    let length = function(host, &request);
    let reply = take_reply(host, name, length)?;
    if let Some(error) = refusal(&reply) {
        return Err(error);
    }
    object(&reply).map_err(|e| {
        Error::new("waft_v1.reply", format!("the host's reply to `{name}` is not what this task knows: {e}"))
    })
}

/// The bytes that were moved, or why none.
pub(crate) fn moved(host: &mut impl Host, name: &str, count: i32, most: usize) -> Result<usize, Error> {
    match usize::try_from(count) {
        Ok(count) if count <= most => return Ok(count),
        Ok(count) => {
            return Err(Error::new(
                "waft_v1.reply",
                format!("the host moved {count} bytes in a `{name}` of {most}"),
            ));
        }
        Err(_) => {}
    }
    let mut reason = Vec::new();
    let mut piece = [0; 512];
    while count == FAILED && reason.len() < REASON_BYTES_MAX {
        match usize::try_from(host.take(&mut piece)) {
            Ok(taken @ 1..=512) => reason.extend_from_slice(&piece[..taken]),
            _ => break,
        }
    }
    let said = std::str::from_utf8(&reason).ok().and_then(refusal);
    Err(said.unwrap_or_else(|| {
        Error::new("waft_v1.call", format!("the host refused a `{name}` with the code {count}"))
    }))
}

/// No reply but a refusal has a field `error`. Anything else stays text: a tree of values would cost a task 20 kB.
fn refusal(reply: &str) -> Option<Error> {
    object::<Refusal>(reply).ok().map(|refusal| refusal.error)
}

fn take_reply(host: &mut impl Host, function: &str, length: i32) -> Result<String, Error> {
    let Ok(length) = usize::try_from(length) else {
        let why = match length {
            -1 => "it lies outside the memory of this task",
            -2 => "it is longer than 1 MiB",
            -3 => "it is no UTF-8",
            NO_HOST => "there is none: this is no target, and no test has put one here",
            _ => "this host has a newer reason than this task knows",
        };
        let message = format!("the host did not take the request of `{function}`: {why} (code {length})");
        return Err(Error::new("waft_v1.call", message));
    };
    let mut reply = vec![0; length];
    let copied = host.take(&mut reply);
    let whole = usize::try_from(copied).is_ok_and(|copied| copied == length);
    if !whole {
        return Err(Error::new(
            "waft_v1.take",
            format!("the host's reply to `{function}` came as {copied} of {length} bytes"),
        ));
    }
    String::from_utf8(reply).map_err(|_| {
        Error::new("waft_v1.reply", format!("the host's reply to `{function}` is no UTF-8 text"))
    })
}

/// The host that runs this task; where there is none, the one that a test has put in its place.
pub(crate) struct Imports;

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "waft_v1")]
    unsafe extern "C" {
        pub(super) fn facts(request: *const u8, length: usize) -> i32;
        pub(super) fn exec(request: *const u8, length: usize) -> i32;
        pub(super) fn file(request: *const u8, length: usize) -> i32;
        pub(super) fn net(request: *const u8, length: usize) -> i32;
        pub(super) fn task(request: *const u8, length: usize) -> i32;
        pub(super) fn blob(request: *const u8, length: usize) -> i32;
        pub(super) fn secret(request: *const u8, length: usize) -> i32;
        pub(super) fn emit(request: *const u8, length: usize) -> i32;
        pub(super) fn take(into: *mut u8, length: usize) -> i32;
        pub(super) fn read(handle: u32, into: *mut u8, length: usize) -> i32;
        pub(super) fn write(handle: u32, bytes: *const u8, length: usize) -> i32;
    }
}

/// The functions that take a request. A task imports only those that it uses.
#[cfg(target_arch = "wasm32")]
macro_rules! requests {
    ($($name:ident)*) => {
        $(fn $name(&mut self, request: &[u8]) -> i32 {
            // SAFETY: pointer and length are one live slice, which the host only reads.
            unsafe { imports::$name(request.as_ptr(), request.len()) }
        })*
    };
}

#[cfg(target_arch = "wasm32")]
impl Host for Imports {
    requests!(facts exec file net task blob secret emit);

    fn take(&mut self, into: &mut [u8]) -> i32 {
        // SAFETY: pointer and length are one live slice, borrowed for writing, and the host writes no further.
        unsafe { imports::take(into.as_mut_ptr(), into.len()) }
    }

    fn read(&mut self, handle: u32, into: &mut [u8]) -> i32 {
        // SAFETY: as above.
        unsafe { imports::read(handle, into.as_mut_ptr(), into.len()) }
    }

    fn write(&mut self, handle: u32, bytes: &[u8]) -> i32 {
        // SAFETY: pointer and length are one live slice, which the host only reads.
        unsafe { imports::write(handle, bytes.as_ptr(), bytes.len()) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
macro_rules! passed_on {
    ($($name:ident)*) => {
        $(fn $name(&mut self, request: &[u8]) -> i32 {
            testing::with(|host| host.$name(request))
        })*
    };
}

#[cfg(not(target_arch = "wasm32"))]
impl Host for Imports {
    passed_on!(facts exec file net task blob secret emit);

    fn take(&mut self, into: &mut [u8]) -> i32 {
        testing::with(|host| host.take(into))
    }

    fn read(&mut self, handle: u32, into: &mut [u8]) -> i32 {
        testing::with(|host| host.read(handle, into))
    }

    fn write(&mut self, handle: u32, bytes: &[u8]) -> i32 {
        testing::with(|host| host.write(handle, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    const REFUSED: &str =
        r#"{"error":{"code":"grant.missing","message":"No grant.","hint":"--allow facts"}}"#;

    #[test]
    fn facts_come_as_they_are() {
        let mut host = Script::replying(r#"{"hostname":"web1"}"#);
        assert_eq!(facts(&mut host).unwrap(), r#"{"hostname":"web1"}"#);
        assert_eq!(host.asked, b"{}");
    }

    #[test]
    fn a_refusal_is_an_error_with_its_hint() {
        let error = facts(&mut Script::replying(REFUSED)).unwrap_err();
        assert_eq!((error.code.as_str(), error.hint.as_deref()), ("grant.missing", Some("--allow facts")));
        assert_eq!(error.to_string(), "No grant.\n--allow facts");
    }

    #[test]
    fn exec_asks_to_be_replaced() {
        let mut host = Script::replying(REFUSED);
        let error = exec_replace(&mut host, &["/bin/echo".into(), "a b".into()], Some("in"));
        assert_eq!(error.code, "grant.missing");
        assert_eq!(host.asked, br#"{"argv":["/bin/echo","a b"],"stdin":"in","replace":true}"#);
        exec_replace(&mut host, &["/bin/true".into()], None);
        assert_eq!(host.asked, br#"{"argv":["/bin/true"],"replace":true}"#);
    }

    #[test]
    fn why_no_byte_was_moved_is_told() {
        let mut host = Script::replying(REFUSED);
        assert_eq!(moved(&mut host, "read", 3, 4), Ok(3));
        assert_eq!(moved(&mut host, "read", FAILED, 4).unwrap_err().code, "grant.missing");
        assert_eq!(moved(&mut host, "read", 5, 4).unwrap_err().code, "waft_v1.reply");
        assert_eq!(moved(&mut host, "read", -1, 4).unwrap_err().code, "waft_v1.call");
    }

    #[test]
    fn a_host_that_breaks_the_contract_is_reported_and_not_believed() {
        let negative = Script { code: -3, ..Script::default() };
        let short = Script { short_by: 2, ..Script::replying("{}{}") };
        for (mut host, code) in [
            (negative, "waft_v1.call"),
            (short, "waft_v1.take"),
            (Script::replying(*b"\xff{}"), "waft_v1.reply"),
        ] {
            assert_eq!(facts(&mut host).unwrap_err().code, code);
        }
        assert_eq!(exec_replace(&mut Script::replying("{}"), &[], None).code, "exec.reply");
    }
}
