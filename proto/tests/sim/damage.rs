//! Links that break, fall silent, come back, or never speak.

use crate::world::*;
use std::collections::BTreeSet;
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::limits::*;
use waft_proto::msg::*;
use waft_proto::node::Peer;

/// Cuts at random moments of dialling and running. Every target ends in exactly one way: a result, or as
/// part of a subtree that was reported gone; and the two agree with a plain model of the tree.
#[test]
fn whatever_breaks_every_target_ends_once() {
    for seed in 0..60 {
        let mut world = World::new(seed, &[2, 3, 4]);
        world.eager = seed % 3 == 0;
        let all = world.all();
        for _ in 0..world.chance.below(3) {
            let node = NodeId(1 + world.chance.below(all.count()) as u32);
            world.unreachable.insert(node);
        }
        world.dial_all();
        world.behaviour.output_bytes = 300_000;
        world.run(1, &module(seed, 150_000), vec![all]);
        let mut cut = BTreeSet::new();
        for _ in 0..world.chance.below(6) {
            let node = NodeId(1 + world.chance.below(all.count()) as u32);
            let when = world.chance.below(400);
            cut.insert(node);
            world.cut_at(when, node);
        }
        world.run_until(400_000);

        let results = world.results(1);
        let mut gone = BTreeSet::new();
        for (node, _) in world.gone() {
            assert!(gone.insert(node), "seed {seed}: {node} was reported gone twice");
            let above = world.ranges.iter().filter(|(id, range)| **id != node && range.contains(node));
            let told: Vec<_> = above.map(|(id, _)| *id).filter(|id| *id != NodeId::ROOT).collect();
            let earlier =
                world.gone().iter().take_while(|(id, _)| *id != node).any(|(id, _)| told.contains(id));
            assert!(!earlier, "seed {seed}: {node} was reported after a node above it was gone");
            let known = cut.contains(&node) || world.unreachable.contains(&node);
            assert!(known, "seed {seed}: {node} was neither cut nor unreachable");
        }
        for id in 1..=all.last.0 {
            let node = NodeId(id);
            let lost = gone.iter().any(|top| world.ranges[top].contains(node));
            let ends = results.get(&node).map_or(0, Vec::len);
            assert!(ends <= 1, "seed {seed}: {node} has {ends} results");
            assert!(ends == 1 || lost, "seed {seed}: {node} ended in no way");
            let linked = world.has_link(node);
            assert_eq!(
                (world.is_alive(node), linked),
                (!lost, !lost),
                "seed {seed}: {node} lives and is lost"
            );
        }
        world.order(vec![all], Order::Stop);
        world.run_until(500_000);
        assert!((1..=all.last.0).all(|id| !world.is_alive(NodeId(id))), "seed {seed}: everything stops");
    }
}

#[test]
fn a_result_comes_before_the_loss_of_its_node() {
    for seed in 0..20 {
        let mut world = World::new(seed, &[1, 2]);
        world.dial_all();
        world.run_until(1_000);
        world.slow_down(NodeId(1), 50);
        world.behaviour.output_bytes = 200_000;
        world.run(1, &module(seed, 10), vec![NodeRange::new(NodeId(2), NodeId(3))]);
        // The leaves are done at once; their output and result wait at the hop.
        world.run_until(1_400);
        world.cut(NodeId(2));
        world.cut(NodeId(3));
        world.run_until(60_000);
        let order: Vec<&str> = world
            .reports
            .iter()
            .filter_map(|(from, report)| match report {
                Report::Result { .. } if *from == NodeId(2) => Some("result"),
                Report::Gone { .. } if *from == NodeId(2) => Some("gone"),
                _ => None,
            })
            .collect();
        assert_eq!(order, ["result", "gone"], "seed {seed}");
    }
}

fn silences(world: &World, node: NodeId) -> Vec<bool> {
    let said = world.reports.iter().filter_map(|(from, report)| match report {
        Report::Silent(silent) if *from == node => Some(*silent),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_silent_peer_is_noticed_and_its_return_too() {
    let mut world = World::new(1, &[1, 1]);
    world.dial_all();
    world.run_until(1_000);
    let leaf = NodeId(2);
    world.freeze(leaf, true);
    // Nothing was said since the start, so the silence began there.
    world.run_until(KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_OFFLINE) - 1);
    assert!(silences(&world, leaf).is_empty(), "not yet");
    world.run_until(1_000 + KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_OFFLINE + 1));
    assert_eq!(silences(&world, leaf), [true]);
    world.freeze(leaf, false);
    let back = world.now;
    world.run_until(back + KEEPALIVE_INTERVAL_MS);
    assert_eq!(silences(&world, leaf), [true], "one answered interval is not enough");
    world.run_until(back + KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_ONLINE + 1));
    assert_eq!(silences(&world, leaf), [true, false]);
    assert!(world.gone().is_empty() && world.is_alive(leaf));
}

#[test]
fn a_peer_that_works_while_in_doubt_is_back_too() {
    let mut world = World::new(2, &[1]);
    world.dial_all();
    world.run_until(1_000);
    let leaf = NodeId(1);
    // Output flows all the time, so neither side owes the other a ping.
    world.slow_down(leaf, 100);
    world.behaviour.output_bytes = 20_000_000;
    let all = world.all();
    world.run(1, &module(2, 10), vec![all]);
    world.run_until(2_000);
    world.freeze(leaf, true);
    world.run_until(22_000);
    assert_eq!(silences(&world, leaf), [true]);
    world.freeze(leaf, false);
    world.run_until(42_000);
    assert_eq!(silences(&world, leaf), [true, false]);
}

#[test]
fn a_peer_that_stays_silent_is_lost_at_both_ends() {
    let mut world = World::new(3, &[1, 1]);
    world.dial_all();
    world.run_until(1_000);
    let leaf = NodeId(2);
    world.freeze(leaf, true);
    world.run_until(2_000 + KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_LOST + 1));
    assert_eq!(world.gone(), [(leaf, true)]);
    assert!(!world.is_alive(leaf), "a stub without its parent ends");
    assert!(world.is_alive(NodeId(1)));
}

#[test]
fn quiet_links_cost_a_ping_per_interval() {
    let mut world = World::new(4, &[1]);
    world.dial_all();
    world.run_until(500 + 20 * KEEPALIVE_INTERVAL_MS);
    let pings = world.seen(NodeId(1)).pings;
    assert!((10..=40).contains(&pings), "{pings} pings both ways in 20 intervals");
    assert!(world.gone().is_empty());
}

#[test]
fn a_stub_that_never_says_hello_is_unreachable() {
    let mut world = World::new(5, &[1]);
    world.root().expect(NodeId(1), NodeId(1), StubKind::Leaf);
    world.root().attach(NodeId(1), "mute".into(), [0; 32], None, 0);
    world.root().started(NodeId(1), 0);
    world.settle(NodeId::ROOT);
    world.run_until(HELLO_DEADLINE_MS - 1);
    assert!(world.gone().is_empty());
    world.run_until(HELLO_DEADLINE_MS);
    assert_eq!(world.gone(), [(NodeId(1), false)]);
}

#[test]
fn a_slow_delivery_does_not_count_as_a_missing_hello() {
    let mut world = World::new(6, &[1]);
    world.root().expect(NodeId(1), NodeId(1), StubKind::Leaf);
    world.root().attach(NodeId(1), "slow".into(), [0; 32], None, 0);
    world.settle(NodeId::ROOT);
    world.run_until(HELLO_DEADLINE_MS * 5);
    assert!(world.gone().is_empty());
    world.run_until(DELIVERY_DEADLINE_MS);
    assert_eq!(world.gone(), [(NodeId(1), false)], "and yet it has an end");
}

#[test]
fn a_run_whose_module_never_comes_fails_in_time() {
    let mut world = World::new(7, &[1]);
    world.dial_all();
    world.run_until(1_000);
    // The root no longer has the module that the order names.
    let all = world.all();
    let (envelope, signature) =
        world.envelope(1, b"gone", waft_proto::id::Hash::of(b"{}")).seal(&world.key).expect("sealed");
    world.order(vec![all], Order::Run(Run { envelope, signature, input: Input::Inline(b"{}".to_vec()) }));
    world.run_until(2_000);
    let results = world.results(1);
    assert_eq!(results[&NodeId(1)], [waft_proto::run::Status::Failed]);
    assert_eq!(world.node(NodeId(1)).store().pinned(), 0);
}

#[test]
fn garbage_in_a_link_ends_it_and_no_other() {
    let mut world = World::new(8, &[1, 3]);
    world.dial_all();
    world.run_until(1_000);
    world.inject(NodeId(1), Peer::Child(NodeId(3)), b"Segmentation fault (core dumped)\n");
    world.run_until(2_000);
    assert_eq!(world.gone(), [(NodeId(3), true)]);
    assert!(world.is_alive(NodeId(2)) && world.is_alive(NodeId(4)) && !world.is_alive(NodeId(3)));
}
