//! Operations on a small tree of nodes: orders, waiting, cuts, freezes, lies.
#![no_main]

#[path = "golden.rs"]
mod golden;
#[expect(dead_code, reason = "the simulation's tests use the rest of it")]
#[path = "../../tests/sim/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use waft_proto::frame::{Lane, encode};
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::limits::*;
use waft_proto::msg::{Msg, Order};
use waft_proto::node::Peer;
use world::{World, module, run_id};

/// Operations of one input, so that one input takes milliseconds.
const OPS_MAX: usize = 64;
const RUNS: u8 = 4;

fn frame(golden: &[Vec<u8>], op: &[u8]) -> Vec<u8> {
    let mut body = golden[usize::from(op[2]) % golden.len()].clone();
    if op[0] >= 128 {
        let at = usize::from(op[3]) % body.len();
        body[at] ^= op[0] >> 3;
    }
    // A report's sender, made one of ours half of the time.
    if let Ok(messages) = Msg::decode_all(&body)
        && op[0] & 0x40 != 0
        && let Some((Msg::Up { report, .. }, _)) = messages.first()
    {
        body = Msg::Up { from: NodeId(u32::from(op[3] % 8)), report: report.clone() }.encode();
    }
    let lane = if op[0] & 0x20 == 0 { Lane::Control } else { Lane::Bulk };
    let mut frame = Vec::new();
    let _ = encode(lane, &body, &mut frame);
    frame
}

fn check(world: &mut World) {
    for id in 0..=world.all().last.0 {
        let id = NodeId(id);
        let children = world.children_of(id).len();
        if world.is_alive(id) {
            let node = world.node(id);
            let own = OWN_OUTPUT_QUEUE_BYTES_MAX + 4 * FRAME_BYTES_MAX;
            // Twice: what a lost child sent may wait beside what its next link sends.
            assert!(node.bulk_held() <= 2 * children * WINDOW_INITIAL_BYTES as usize + own);
            assert!(node.control_held() <= (children + 1) * (CONTROL_QUEUE_BYTES_MAX + FRAME_BYTES_MAX));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, ops)) = data.split_first() else { return };
    let golden = &*golden::MESSAGES;
    let mut world = World::new(u64::from(*first), &[2, 2]);
    world.eager = first & 1 == 1;
    world.behaviour.output_bytes = if first & 2 == 0 { 0 } else { 400_000 };
    world.store_bytes = if first & 4 == 0 { 1 << 20 } else { 60_000 };
    world.dial_all();
    let all = world.all();
    let count = all.count() as u32;
    let (mut lied, mut ordered) = (false, BTreeSet::new());
    for op in ops.chunks_exact(4).take(OPS_MAX) {
        let node = NodeId(1 + u32::from(op[1]) % count);
        match op[0] % 10 {
            0 | 1 => {
                let until = world.now + u64::from(op[2]);
                world.run_until(until);
            }
            2 => {
                let until = world.now + u64::from(op[2]) * 100;
                world.run_until(until);
            }
            3 => world.cut(node),
            4 if world.has_link(node) => world.freeze(node, op[2] & 1 == 0),
            5 => {
                let number = op[2] % RUNS;
                if ordered.insert(number) {
                    world.run(number, &module(u64::from(number), 20_000), vec![all]);
                }
            }
            6 => world.order(vec![NodeRange::one(node)], Order::Cancel { run: run_id(op[2] % RUNS) }),
            7 if world.is_alive(node) => {
                lied = true;
                world.inject(node, Peer::Parent, &frame(golden, op));
            }
            8 if world.is_alive(world.parents[&node]) => {
                lied = true;
                world.inject(world.parents[&node], Peer::Child(node), &frame(golden, op));
            }
            9 if world.has_link(node) => world.slow_down(node, u64::from(op[2]) * 20),
            _ => {}
        }
        check(&mut world);
    }
    for id in 1..=count {
        if world.has_link(NodeId(id)) {
            world.freeze(NodeId(id), false);
            world.slow_down(NodeId(id), 0);
        }
    }
    // Longer than any wait: a fetch, then the silence of a link.
    let end = world.now + 2 * FETCH_IDLE_MS;
    world.run_until(end);
    check(&mut world);
    // A lie may be a forged result or a stop: then only the bounds hold.
    if lied {
        return;
    }
    let gone: Vec<NodeId> = world.gone().into_iter().map(|(node, _)| node).collect();
    assert_eq!(gone.iter().collect::<BTreeSet<_>>().len(), gone.len(), "each loss is reported once");
    for number in ordered {
        let results = world.results(number);
        for id in 1..=count {
            let ends = results.get(&NodeId(id)).map_or(0, Vec::len);
            let lost = gone.iter().any(|top| world.ranges[top].contains(NodeId(id)));
            assert!(ends <= 1 && (ends == 1 || lost), "run {number} ended {ends} times on n{id}");
        }
    }
});
