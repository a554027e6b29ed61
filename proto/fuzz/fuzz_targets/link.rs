//! Bytes and times into a link, in both roles.
#![no_main]

#[path = "golden.rs"]
mod golden;

use libfuzzer_sys::fuzz_target;
use waft_proto::frame::{Lane, encode};
use waft_proto::limits::*;
use waft_proto::link::{Link, LinkEvent, Role};
use waft_proto::msg::Msg;

/// Operations are a few bytes each: what, and two operands.
fn drive(role: Role, data: &[u8]) {
    let golden = &*golden::MESSAGES;
    let mut link: Link = Link::new(role, 0);
    let mut now = 0;
    let mut ended = false;
    let mut granted = u64::from(WINDOW_INITIAL_BYTES);
    let mut taken = 0;
    for op in data.chunks_exact(4) {
        let (a, b) = (usize::from(op[1]), usize::from(op[2]));
        let mut events = Vec::new();
        let mut outcome = Ok(());
        match op[0] % 8 {
            0 => outcome = link.receive(&op[1..], now, &mut events),
            1..=4 => {
                let mut body = golden[a % golden.len()].clone();
                if op[0] >= 128 {
                    let at = b % body.len();
                    body[at] ^= op[3];
                }
                // Two messages in a frame, now and then.
                if op[0] & 0x40 != 0 {
                    body.extend(&golden[b % golden.len()]);
                }
                let lane = if op[0] & 0x20 == 0 { Lane::Control } else { Lane::Bulk };
                let mut frame = Vec::new();
                if encode(lane, &body, &mut frame).is_ok() {
                    outcome = link.receive(&frame, now, &mut events);
                }
            }
            5 => {
                now += (a * 256 + b) as u64;
                outcome = link.handle_timeout(now, &mut events);
            }
            6 => {
                let (mut out, mut sent) = (Vec::new(), Vec::new());
                while link.poll_transmit(now, &mut out, &mut sent) {}
                assert!(!link.wants_transmit());
            }
            _ => {
                let bytes = taken.min((a * 256 + b) as u64);
                taken -= bytes;
                granted += bytes;
                link.consumed(bytes as u32);
            }
        }
        for event in events {
            assert!(!ended, "something was read after the end");
            match event {
                LinkEvent::Message { msg, bulk_bytes } => {
                    assert!(link.is_greeted());
                    assert!(bulk_bytes == 0 || msg.is_of_blob() || matches!(msg, Msg::Up { .. }));
                    granted = granted.checked_sub(u64::from(bulk_bytes)).expect("no more than was granted");
                    taken += u64::from(bulk_bytes);
                }
                LinkEvent::Bye(_) => ended = true,
                LinkEvent::Hello(_) => assert_eq!(role, Role::Parent),
                LinkEvent::Welcome(_) => assert_eq!(role, Role::Child),
                LinkEvent::Silent(_) => {}
            }
        }
        ended |= outcome.is_err();
        assert_eq!(ended, link.poll_timeout().is_none());
        assert!(link.control_queued() <= CONTROL_QUEUE_BYTES_MAX + FRAME_BYTES_MAX);
    }
}

fuzz_target!(|data: &[u8]| {
    drive(Role::Parent, data);
    drive(Role::Child, data);
});
