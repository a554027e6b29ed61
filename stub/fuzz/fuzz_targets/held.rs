//! What must hold whatever a worker said.

use std::cell::OnceCell;
use tokio::runtime::{Builder, Runtime};
use waft_stub::pool::hostile::{Heard, OUT_BYTES, hear, is_done};

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// Says these packets to a stub, in the place of its worker.
pub fn held(packets: &[&[u8]]) -> Heard {
    let heard = RUNTIME.with(|runtime| {
        let made = || Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.get_or_init(made).block_on(hear(packets))
    });
    // No program was granted, so none was started.
    assert!(!heard.replaced && heard.outcome.signal.is_none(), "{heard:?}");
    let ended = packets.iter().any(|packet| is_done(packet));
    assert!(ended || (!heard.reused && heard.outcome.exit_code.is_none()), "{heard:?}");
    for stream in ["stdout", "stderr"] {
        assert!(heard.output.get(stream).is_none_or(|bytes| *bytes <= OUT_BYTES), "{heard:?}");
    }
    for reply in &heard.replies {
        let reply: serde_json::Value = serde_json::from_str(reply).expect("an answer is JSON");
        assert!(reply.is_object(), "{reply}");
    }
    heard
}
