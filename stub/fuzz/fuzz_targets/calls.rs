//! Requests of a task to each host call, in one part or two. The first byte chooses the function: of all that there are, so
//! that a new one is fuzzed without a change here. Each function has its grant: a directory, a port, a program that is not
//! there, a blob, a secret, another task.
#![no_main]

mod held;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waft_stub::pool::hostile::{call, done};

static FUNCTIONS: LazyLock<u8> =
    LazyLock::new(|| (0..=u8::MAX).take_while(|number| call(*number, &[b""]).is_some()).count() as u8);

fuzz_target!(|bytes: &[u8]| {
    let Some(([function, cut], request)) = bytes.split_first_chunk::<2>() else { return };
    let packets = |placed: &dyn Fn(&[u8]) -> Vec<u8>| {
        let request = placed(request);
        let (first, second) = request.split_at(usize::from(*cut).min(request.len()));
        let whole = [request.as_slice()];
        let halves = [first, second];
        let parts: &[&[u8]] = if *cut == 0 { &whole } else { &halves };
        let mut packets = call(function % *FUNCTIONS, parts).expect("a function");
        packets.push(done());
        packets
    };
    let heard = held::held(packets, Some("a secret value"));
    assert!(heard.replies.len() == 1, "one answer to one call: {heard:?}");
});
