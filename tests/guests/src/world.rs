//! `waft:task/host` by hand, as the canonical ABI has it: a text is an address and a length, an answer goes to an area that
//! the caller has.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for `result<string, problem>`: which of both, and the texts.
#[repr(C)]
#[derive(Default)]
struct Area {
    failed: u8,
    /// The answer, or code and message of the problem.
    texts: [[u32; 2]; 2],
    has_hint: u8,
    hint: [u32; 2],
}

#[link(wasm_import_module = "waft:task/host@1.0.0")]
unsafe extern "C" {
    fn exec(request: *const u8, length: usize, to: *mut Area);
    fn facts(request: *const u8, length: usize, to: *mut Area);
    fn file(request: *const u8, length: usize, to: *mut Area);
    fn net(request: *const u8, length: usize, to: *mut Area);
    fn task(request: *const u8, length: usize, to: *mut Area);
    fn blob(request: *const u8, length: usize, to: *mut Area);
    fn secret(request: *const u8, length: usize, to: *mut Area);
    fn emit(request: *const u8, length: usize, to: *mut Area);
    fn read(handle: u32, limit: u32, to: *mut Area);
    fn write(handle: u32, bytes: *const u8, length: usize, to: *mut Area);
}

type Call = unsafe extern "C" fn(*const u8, usize, *mut Area);

const CALLS: [(&str, Call); 8] = [
    ("exec", exec),
    ("facts", facts),
    ("file", file),
    ("net", net),
    ("task", task),
    ("blob", blob),
    ("secret", secret),
    ("emit", emit),
];

/// Where the host is told to put what it answers, if that is not to be memory.
static ANSWERS_AT: AtomicUsize = AtomicUsize::new(0);

/// The host puts what it answers into memory that it gets from here; it is never given back.
#[unsafe(no_mangle)]
extern "C" fn cabi_realloc(old: *mut u8, old_bytes: usize, align: usize, bytes: usize) -> *mut u8 {
    if bytes == 0 {
        return align as *mut u8;
    }
    if ANSWERS_AT.load(Ordering::Relaxed) != 0 {
        return ANSWERS_AT.load(Ordering::Relaxed) as *mut u8;
    }
    let layout = std::alloc::Layout::from_size_align(bytes, align).expect("a layout");
    // SAFETY: a new block of at least that size; of an old one no more is read than it has.
    unsafe {
        let new = std::alloc::alloc(layout);
        if old_bytes > 0 {
            std::ptr::copy_nonoverlapping(old, new, old_bytes.min(bytes));
        }
        new
    }
}

fn bytes([address, length]: [u32; 2]) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: the host wrote that many bytes there.
    unsafe { std::slice::from_raw_parts(address as *const u8, length as usize) }.to_vec()
}

fn text(at: [u32; 2]) -> String {
    String::from_utf8(bytes(at)).expect("UTF-8")
}

fn problem(area: &Area) -> Value {
    let hint = (area.has_hint != 0).then(|| text(area.hint));
    json!({ "error": { "code": text(area.texts[0]), "message": text(area.texts[1]), "hint": hint } })
}

pub(crate) fn call(name: &str, request: &str) -> Value {
    let (_, function) = CALLS.iter().find(|(known, _)| *known == name).expect("a call");
    let mut area = Area::default();
    // SAFETY: both are there while it is called.
    unsafe { function(request.as_ptr(), request.len(), &mut area) };
    if area.failed != 0 {
        return problem(&area);
    }
    serde_json::from_str(&text(area.texts[0])).expect("answers are JSON")
}

/// One call with the address and length of its request, the address of the area and that of the answer as they are given.
/// 0 is a good one. What the call says, when it comes back.
pub(crate) fn astray(params: &Value) -> Value {
    const REQUEST: &[u8] = b"{}";
    const NO_TEXT: &[u8] = b"\xff\xfe";
    let mut area = Area::default();
    let given = |name: &str| params[name].as_u64().unwrap_or(0) as usize;
    let good = if params["no_text"] == true { NO_TEXT } else { REQUEST };
    let address = if given("address") == 0 { good.as_ptr() } else { given("address") as *const u8 };
    let length = if given("length") == 0 { good.len() } else { given("length") };
    let to = if given("area") == 0 { &raw mut area } else { given("area") as *mut Area };
    let call = params["call"].as_str().expect("a call");
    ANSWERS_AT.store(given("answers"), Ordering::Relaxed);
    // SAFETY: what an address means is checked by the host; that it is, is what this tests.
    unsafe {
        match CALLS.iter().find(|(known, _)| *known == call) {
            Some((_, function)) => function(address, length, to),
            None => write(7, address, length, to),
        }
    }
    ANSWERS_AT.store(0, Ordering::Relaxed);
    if area.failed != 0 { problem(&area) } else { json!({ "text": text(area.texts[0]) }) }
}

/// A blob to its end; then a handle that nobody gave.
pub(crate) fn read_blob(hash: &str) -> Value {
    let opened = call("blob", &json!({ "hash": hash }).to_string());
    let Some(handle) = opened["handle"].as_u64() else { return opened };
    let mut all = Vec::new();
    loop {
        let mut area = Area::default();
        // SAFETY: the area is there while it is called.
        unsafe { read(handle as u32, 7, &mut area) };
        if area.failed != 0 {
            return problem(&area);
        }
        let some = bytes(area.texts[0]);
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    let mut area = Area::default();
    // SAFETY: as above.
    unsafe { write(7, b"x".as_ptr(), 1, &mut area) };
    json!({ "text": String::from_utf8_lossy(&all), "other": problem(&area) })
}
