//! Bytes in any portions, into frames and messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft_proto::frame::{Decoder, Frame};
use waft_proto::msg::Msg;

fn frames(bytes: &[u8], portion: usize) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for mut rest in bytes.chunks(portion.max(1)) {
        loop {
            match decoder.next(&mut rest) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(rest.is_empty(), "a portion is used up");
    }
    (frames, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((portion, bytes)) = data.split_first() else { return };
    let whole = frames(bytes, bytes.len());
    assert_eq!(whole, frames(bytes, usize::from(*portion)));
    // The bytes as they are, and as bodies of frames.
    let bodies = whole.0.iter().map(|frame| frame.body.as_slice()).chain([bytes]);
    for body in bodies {
        let Ok(messages) = Msg::decode_all(body) else { continue };
        assert_eq!(messages.iter().map(|(_, used)| used).sum::<usize>(), body.len());
        for (msg, used) in messages {
            let again = msg.encode();
            assert!(again.len() <= used, "a message grows when it is passed on");
            assert_eq!(Msg::decode_all(&again), Ok(vec![(msg, again.len())]));
        }
    }
});
