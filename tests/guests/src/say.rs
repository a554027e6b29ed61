//! What goes to the stub and to the operator.

use guests::report::Report;
use serde_json::{Value, json};

mod raw {
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
        pub(super) fn read(handle: i32, into: *mut u8, length: usize) -> i32;
        pub(super) fn write(handle: i32, from: *const u8, length: usize) -> i32;
    }
}

type Call = unsafe extern "C" fn(*const u8, usize) -> i32;

/// All that take a request.
const CALLS: [(&str, Call); 8] = [
    ("facts", raw::facts),
    ("exec", raw::exec),
    ("file", raw::file),
    ("net", raw::net),
    ("task", raw::task),
    ("blob", raw::blob),
    ("secret", raw::secret),
    ("emit", raw::emit),
];

pub(crate) fn ask(function: &str, request: &[u8]) -> Result<String, i32> {
    let (_, call) = CALLS.iter().find(|(name, _)| *name == function).expect("a function");
    // SAFETY: one live slice, which the host only reads.
    let length = unsafe { call(request.as_ptr(), request.len()) };
    let mut reply = vec![0; usize::try_from(length).map_err(|_| length)?];
    // SAFETY: one live slice, and the host writes no further.
    let taken = unsafe { raw::take(reply.as_mut_ptr(), reply.len()) };
    assert_eq!(usize::try_from(taken), Ok(reply.len()), "the reply is whole");
    Ok(String::from_utf8(reply).expect("the reply is text"))
}

/// The answer to a request, which is JSON.
pub(crate) fn reply(function: &str, request: &Value) -> Value {
    let text = ask(function, request.to_string().as_bytes()).expect("an answer");
    serde_json::from_str(&text).expect("the answer is JSON")
}

/// The next bytes behind a handle, or why there are none.
pub(crate) fn read(handle: i32, buffer: &mut [u8]) -> Result<usize, String> {
    // SAFETY: one live slice, and the host writes no further.
    moved(unsafe { raw::read(handle, buffer.as_mut_ptr(), buffer.len()) })
}

pub(crate) fn write(handle: i32, bytes: &[u8]) -> Result<usize, String> {
    // SAFETY: one live slice, which the host only reads.
    moved(unsafe { raw::write(handle, bytes.as_ptr(), bytes.len()) })
}

fn moved(returned: i32) -> Result<usize, String> {
    const FAILED: i32 = -4;
    if returned != FAILED {
        return usize::try_from(returned).map_err(|_| returned.to_string());
    }
    let mut reason = vec![0; 4096];
    // SAFETY: as above.
    let taken = unsafe { raw::take(reason.as_mut_ptr(), reason.len()) };
    reason.truncate(usize::try_from(taken).unwrap_or_default());
    let reason: Value = serde_json::from_slice(&reason).expect("a reason is JSON");
    Err(reason["error"]["code"].as_str().unwrap_or("no code").to_owned())
}

/// Becomes a program, if it may.
pub(crate) fn exec(report: &mut Report, params: &Value) {
    let request = json!({"argv": params["argv"], "replace": true}).to_string();
    report.note("reply", ask("exec", request.as_bytes()).unwrap_or_else(|code| code.to_string()));
}

/// Any text as a request.
pub(crate) fn call(report: &mut Report, params: &Value) {
    let function = params["function"].as_str().expect("a function");
    let request = params["request"].as_str().expect("a text");
    report.note("reply", ask(function, request.as_bytes()).unwrap_or_else(|code| code.to_string()));
}

/// Requests that are deep, long, odd or nothing: each must be answered, with an error.
pub(crate) fn deep_call(report: &mut Report) {
    let deep = "[".repeat(500_000) + &"]".repeat(500_000);
    let object = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    let argv = format!(r#"{{"argv":{},"replace":true}}"#, "[".repeat(200_000));
    let words = format!(r#"{{"argv":["/bin/true"{}],"replace":true}}"#, r#","""#.repeat(300_000));
    let number = format!(r#"{{"argv":{}}}"#, "9".repeat(1_000_000));
    let twice = r#"{"argv":["/bin/true"],"argv":["/bin/true"],"replace":true,"replace":true}"#.to_owned();
    for request in [deep, object, argv, words, number, twice, "\0".repeat(100), "\u{feff}{}".to_owned()] {
        for (function, _) in CALLS {
            let reply = ask(function, request.as_bytes());
            let refused = reply.as_ref().is_ok_and(|reply| {
                reply.len() < 8192
                    && serde_json::from_str::<Value>(reply).is_ok_and(|reply| {
                        reply["error"]["code"].as_str().is_some_and(|code| code.contains('.'))
                    })
            });
            let start: String = request.chars().take(20).collect();
            report.refused(|| format!("{function} `{start}`: {reply:?}"), u16::from(refused));
        }
    }
    let long = " ".repeat((1 << 20) + 1);
    for (function, _) in CALLS {
        report.refused(
            || format!("{function} of more than 1 MiB"),
            u16::from(ask(function, long.as_bytes()) == Err(-2)),
        );
    }
}

/// A result that is JSON, and too deep for most readers.
pub(crate) fn deep_result(params: &Value) -> ! {
    let depth = usize::try_from(params["depth"].as_u64().expect("a depth")).expect("fits");
    println!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    std::process::exit(0);
}

/// Says what it is told to, and ends with a code.
pub(crate) fn say(params: &Value) -> ! {
    print!("{}", params["stdout"].as_str().unwrap_or_default());
    eprint!("{}", params["stderr"].as_str().unwrap_or_default());
    std::process::exit(i32::try_from(params["code"].as_i64().unwrap_or(0)).expect("fits"));
}
