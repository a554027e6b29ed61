//! A file that came with the run, as its parameter names it.

use crate::say::ask;
use guests::report::Report;
use serde_json::{Value, json};

mod raw {
    #[link(wasm_import_module = "waft_v1")]
    unsafe extern "C" {
        pub(super) fn read(handle: u32, into: *mut u8, length: usize) -> i32;
    }
}

/// FNV-1a of 64 bits: small, and no piece can be missing or twice.
fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
}

/// Reads all of it, and says how long it was and what its bytes were.
pub(crate) fn read(report: &mut Report, params: &Value) {
    let request = json!({"hash": params["file"]["hash"]}).to_string();
    let reply: Value =
        serde_json::from_str(&ask("blob", request.as_bytes()).expect("a reply")).expect("JSON");
    report.note("reply", reply.clone());
    let Some(handle) = reply["handle"].as_u64().and_then(|handle| u32::try_from(handle).ok()) else { return };
    let (mut length, mut hash) = (0_u64, 0xcbf2_9ce4_8422_2325);
    let mut buffer = vec![0; 32 << 10];
    loop {
        // SAFETY: one live slice, and the host writes no further.
        let read = unsafe { raw::read(handle, buffer.as_mut_ptr(), buffer.len()) };
        let read = usize::try_from(read).expect("a blob that is open can be read");
        if read == 0 {
            break;
        }
        length += u64::try_from(read).expect("fits");
        hash = buffer[..read].iter().fold(hash, |hash, byte| mix(hash, *byte));
    }
    report.note("length", length);
    report.note("fnv", format!("{hash:016x}"));
    report.note("params", params["file"].clone());
}
