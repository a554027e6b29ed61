//! Packets of a worker that was taken over: each with its length before it, two bytes.
#![no_main]

mod held;

use libfuzzer_sys::fuzz_target;

/// Of one input.
const PACKETS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let (mut rest, mut packets) = (bytes, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (packet, after) = after.split_at(length);
        packets.push(packet);
        rest = after;
        if packets.len() == PACKETS_MAX {
            break;
        }
    }
    held::held(|_| packets, None);
});
