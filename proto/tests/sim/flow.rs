//! What crosses which link how often, and how much of it a hop holds.

use crate::world::*;
use std::collections::BTreeSet;
use waft_proto::id::{Hash, NodeId, NodeRange};
use waft_proto::limits::*;
use waft_proto::msg::*;
use waft_proto::run::Status;

fn dialled(seed: u64, fan_out: &[u32]) -> World {
    let mut world = World::new(seed, fan_out);
    world.dial_all();
    let nodes = world.all().count() as usize;
    assert!(world.run_while(10_000, |world| world.joined() < nodes), "{} of {nodes} joined", world.joined());
    world
}

fn all_ok(world: &World, number: u8) {
    let results = world.results(number);
    let wrong: Vec<_> = results.iter().filter(|(_, statuses)| **statuses != [Status::Ok]).collect();
    assert_eq!(results.len() as u64, world.all().count(), "each target has a result");
    assert!(wrong.is_empty(), "exactly one result, and a good one: {wrong:?}");
}

/// One module to all nodes, twice; a module of its own for each shape.
fn fan_out_once(seed: u64, fan_out: &[u32], module_bytes: usize) {
    let mut world = dialled(seed, fan_out);
    let module = module(seed, module_bytes);
    let hash = Hash::of(&module);
    let all = world.all();
    let nodes = all.count() as usize;
    world.run(1, &module, vec![all]);
    assert!(world.run_while(60_000, |world| world.results(1).len() < nodes));
    all_ok(&world, 1);
    world.run(2, &module, vec![all]);
    assert!(world.run_while(60_000, |world| world.results(2).len() < nodes));
    all_ok(&world, 2);
    // Whatever else might still be said is said by now.
    let end = world.now + 1_000;
    world.run_until(end);
    all_ok(&world, 2);
    for child in world.parents.keys() {
        let seen = world.seen(*child);
        assert_eq!(
            seen.chunk_bytes.get(&hash).copied(),
            Some(module_bytes as u64),
            "module on the link of {child}"
        );
        assert_eq!(seen.offers, 1, "offers on the link of {child}");
        assert_eq!(seen.runs, 2, "orders on the link of {child}");
        let below = world.ranges[child];
        let hops = world.parents.values().filter(|parent| below.contains(**parent)).collect::<BTreeSet<_>>();
        let most = hops.iter().map(|hop| world.children_of(**hop).len().div_ceil(32)).sum::<usize>();
        assert_eq!(seen.dials, most, "orders to dial on the link of {child}");
    }
    assert!(world.gone().is_empty());
}

#[test]
fn one_node() {
    fan_out_once(1, &[1], 300_000);
}

#[test]
fn twenty_nodes_flat_and_deep() {
    fan_out_once(2, &[20], 200_000);
    fan_out_once(3, &[2, 3, 2], 200_000);
    fan_out_once(4, &[1, 1, 1, 17], 200_000);
}

#[test]
fn a_thousand_nodes() {
    fan_out_once(5, &[10, 99], 40_000);
    fan_out_once(6, &[3, 6, 6, 8], 40_000);
}

#[test]
fn an_empty_input_and_an_empty_module_need_no_bytes() {
    let mut world = dialled(7, &[1, 2]);
    let nodes = world.all().count() as usize;
    let all = world.all();
    world.run(1, &[], vec![all]);
    assert!(world.run_while(10_000, |world| world.results(1).len() < nodes));
    all_ok(&world, 1);
}

#[test]
fn orders_before_the_hello_arrive_once() {
    let mut world = World::new(8, &[3, 4]);
    world.eager = true;
    world.dial_all();
    let (all, nodes) = (world.all(), world.all().count() as usize);
    world.run(1, &module(8, 100_000), vec![all]);
    assert!(world.run_while(20_000, |world| world.results(1).len() < nodes));
    all_ok(&world, 1);
    for child in world.parents.keys() {
        assert_eq!(world.seen(*child).runs, 1);
        assert_eq!(world.started(*child), 1);
    }
}

#[test]
fn a_link_that_fails_before_the_hello_is_dialled_again() {
    let mut world = World::new(9, &[1]);
    world.eager = true;
    world.dial_all();
    let all = world.all();
    world.run_until(1);
    world.run(1, &module(9, 100_000), vec![all]);
    world.cut(NodeId(1));
    assert!(world.run_while(20_000, |world| world.results(1).is_empty()));
    all_ok(&world, 1);
    assert!(world.gone().is_empty(), "it was never reported: {:?}", world.gone());
}

#[test]
fn many_scattered_targets_cost_few_messages() {
    let mut world = dialled(10, &[1, 600]);
    // Every second leaf: as many ranges as there are targets.
    let to: Vec<NodeRange> = (1..=300).map(|n| NodeRange::one(NodeId(n * 2))).collect();
    world.run(1, &module(10, 1000), to);
    assert!(world.run_while(20_000, |world| world.results(1).len() < 300));
    assert_eq!(world.seen(NodeId(1)).runs, 1);
}

#[test]
fn an_order_to_more_ranges_than_a_frame_holds_is_split() {
    let mut world = World::new(11, &[1, 1]);
    world.dial_all();
    // Ranges far apart take five bytes per end; the nodes behind them need not exist.
    let to: Vec<NodeRange> = (0..6000_u32).map(|n| NodeRange::one(NodeId(1 + n * 700_000))).collect();
    world.run_until(100);
    world.run(1, &module(11, 10), to);
    world.run_until(2_000);
    assert_eq!(world.results(1)[&NodeId(1)], [Status::Ok]);
    let lost: u64 = world.reports.iter().map(|(_, report)| dead(report, "route.unknown")).sum();
    assert_eq!(lost, 5999, "each target that nobody leads to is named");
}

fn dead(report: &Report, code: &str) -> u64 {
    match report {
        Report::DeadLetter { to, problem } if problem.code == code => to.iter().map(NodeRange::count).sum(),
        _ => 0,
    }
}

#[test]
fn output_through_a_slow_link_waits_at_its_source() {
    const OUTPUT: u64 = 200 * 1024 * 1024;
    let mut world = dialled(12, &[1, 1, 2]);
    let leaves = [NodeId(3), NodeId(4)];
    // 20 MB/s at the root, no limit below: without credit the hops would fill up.
    world.slow_down(NodeId(1), 20_000);
    world.behaviour.output_bytes = OUTPUT / 2;
    world.run(1, &module(12, 1000), leaves.map(NodeRange::one).to_vec());
    assert!(world.run_while(60_000, |world| world.results(1).len() < 2), "{} bytes came", world.output_bytes);
    assert_eq!(world.output_bytes, OUTPUT);
    let window = WINDOW_INITIAL_BYTES as usize;
    for (hop, children) in [(NodeId(1), 1), (NodeId(2), 2)] {
        let most = world.bulk_held_max[&hop];
        assert!(most <= children * window, "{hop} held {most} bytes for {children} children");
        assert!(most > window / 4, "{hop} held {most} bytes: the test did not press on it");
    }
    for leaf in leaves {
        let most = world.bulk_held_max[&leaf];
        assert!(
            most <= OWN_OUTPUT_QUEUE_BYTES_MAX + FRAME_BYTES_MAX,
            "{leaf} queued {most} bytes of its own"
        );
    }
}

#[test]
fn a_slow_child_does_not_delay_its_sisters() {
    let mut world = dialled(13, &[1, 3]);
    world.slow_down(NodeId(2), 10);
    let (all, module) = (world.all(), module(13, 200_000));
    world.run(1, &module, vec![all]);
    let quick = |world: &World| world.results(1).len() < 3;
    assert!(world.run_while(1_000, quick), "hop and two leaves are done");
    assert!(!world.results(1).contains_key(&NodeId(2)));
    assert!(world.run_while(250_000, |world| world.results(1).len() < 4));
    all_ok(&world, 1);
}

#[test]
fn a_module_behind_a_long_one_on_a_slow_link_is_not_given_up() {
    let mut world = dialled(14, &[1]);
    // 100 bytes/ms: the first module takes 200 s, much longer than a run waits for a byte.
    world.slow_down(NodeId(1), 100);
    let all = world.all();
    world.run(1, &module(1, 20_000_000), vec![all]);
    world.run(2, &module(2, 100_000), vec![all]);
    assert!(world.run_while(400_000, |world| world.results(1).is_empty() || world.results(2).is_empty()));
    all_ok(&world, 1);
    all_ok(&world, 2);
}

#[test]
fn cancel_ends_a_run_wherever_it_is() {
    let mut world = dialled(15, &[1, 2]);
    world.behaviour.endless = true;
    let all = world.all();
    let module = module(15, 500_000);
    // The link of the second leaf is so slow that its module is still on its way.
    world.slow_down(NodeId(3), 10);
    world.run(1, &module, vec![all]);
    let end = world.now + 2_000;
    world.run_until(end);
    assert_eq!((world.started(NodeId(2)), world.started(NodeId(3))), (1, 0));
    world.order(vec![all], Order::Cancel { run: run_id(1) });
    assert!(world.run_while(60_000, |world| world.results(1).len() < 3));
    world.run_until(200_000);
    assert!(world.results(1).values().all(|statuses| *statuses == [Status::Cancelled]));
    assert_eq!(world.started(NodeId(3)), 0, "a cancelled run does not begin later");
    assert_eq!(world.node(NodeId(2)).store().pinned(), 0);
}

#[test]
fn a_small_store_forgets_and_asks_again() {
    let mut world = World::new(16, &[1, 2]);
    world.store_bytes = 250_000;
    world.dial_all();
    assert!(world.run_while(5_000, |world| world.joined() < 3));
    let all = world.all();
    for number in 1..=12 {
        // Three modules in turn, and only two of them fit.
        let module = module(u64::from(number % 3), 100_000);
        world.run(number, &module, vec![all]);
        assert!(world.run_while(30_000, |world| world.results(number).len() < 3), "run {number}");
        all_ok(&world, number);
        assert!(world.node(NodeId(2)).store().bytes() <= 250_000);
    }
    // All at once: some cannot fit beside those that run, and say so; nobody waits for ever.
    world.behaviour.endless = true;
    for number in 21..=24 {
        world.run(number, &module(u64::from(number), 100_000), vec![all]);
    }
    let end = world.now + 120_000;
    world.run_until(end);
    let failed: Vec<Status> =
        (21..=24).flat_map(|number| world.results(number).into_values().flatten()).collect();
    let running: usize = (1..=3).map(|node| world.started(NodeId(node))).sum::<usize>() - 36;
    assert_eq!(
        failed.len() + running,
        12,
        "each of 4 runs on 3 nodes ended or runs: {failed:?}, {running} run"
    );
    assert!(failed.iter().all(|status| *status == Status::Failed) && failed.len() >= 6);
}

#[test]
fn large_input_is_a_blob_and_arrives_whole() {
    let mut world = dialled(17, &[1, 2]);
    let input = module(99, 300_000);
    let code = module(17, 1000);
    let hash = world.root().store().insert(BlobKind::File, input.clone().into());
    world.root().store().insert(BlobKind::Artifact, code.clone().into());
    let (envelope, signature) = world.envelope(1, &code, hash).seal(&world.key).expect("sealed");
    let input_blob = Input::Blob { hash, bytes: input.len() as u64 };
    let all = world.all();
    world.order(vec![all], Order::Run(Run { envelope, signature, input: input_blob }));
    assert!(world.run_while(10_000, |world| world.results(1).len() < 3));
    all_ok(&world, 1);
    assert_eq!(world.inputs(NodeId(3)), [input]);
}

#[test]
fn the_same_bytes_may_be_a_file_and_a_module() {
    let mut world = dialled(18, &[1, 1]);
    let bytes = module(18, 100_000);
    let all = world.all();
    for number in 1..=2 {
        let hash = world.root().store().insert(BlobKind::File, bytes.clone().into());
        let code = if number == 1 { module(1, 10) } else { bytes.clone() };
        world.root().store().insert(BlobKind::Artifact, code.clone().into());
        let (envelope, signature) = world.envelope(number, &code, hash).seal(&world.key).expect("sealed");
        let input = Input::Blob { hash, bytes: bytes.len() as u64 };
        world.order(vec![all], Order::Run(Run { envelope, signature, input }));
        assert!(world.run_while(10_000, |world| world.results(number).len() < 2), "run {number}");
        all_ok(&world, number);
    }
}

#[test]
fn an_engine_without_an_artifact_says_so() {
    let mut world = dialled(19, &[1]);
    let input = b"{}".to_vec();
    let mut envelope = world.envelope(1, b"x", Hash::of(&input));
    envelope.artifacts.clear();
    let (envelope, signature) = envelope.seal(&world.key).expect("sealed");
    let all = world.all();
    world.order(vec![all], Order::Run(Run { envelope, signature, input: Input::Inline(input) }));
    world.run_until(5_000);
    let asked = world.reports.iter().filter(|(_, report)| {
        matches!(report, Report::NoArtifact { run, engine } if *run == run_id(1) && *engine == ENGINE)
    });
    assert_eq!(asked.count(), 1);
    // The same run with an artifact is a new order.
    world.run(1, b"x", vec![all]);
    assert!(world.run_while(5_000, |world| world.results(1).is_empty()));
    all_ok(&world, 1);
}

#[test]
fn many_who_miss_a_blob_ask_for_it_once() {
    let mut world = dialled(20, &[1, 20]);
    // The order names a module that the root does not have.
    let input = b"{}".to_vec();
    let (envelope, signature) =
        world.envelope(1, b"gone", Hash::of(&input)).seal(&world.key).expect("sealed");
    let (all, hop) = (world.all(), NodeId(1));
    world.order(vec![all], Order::Run(Run { envelope, signature, input: Input::Inline(input) }));
    let end = world.now + world.latency_ms;
    world.run_until(end);
    world.freeze(hop, true);
    let end = world.now + 100;
    world.run_until(end);
    world.freeze(hop, false);
    assert!(world.run_while(5_000, |world| world.results(1).len() < 21));
    assert!(world.results(1).values().all(|statuses| *statuses == [Status::Failed]));
    assert_eq!(world.seen(hop).wants, 1);
}

#[test]
fn what_runs_a_component_comes_with_it_and_is_nothing_else() {
    let mut world = dialled(21, &[1, 2]);
    let (code, program) = (module(21, 1000), module(22, 200_000));
    let input = b"{}".to_vec();
    world.root().store().insert(BlobKind::Artifact, code.clone().into());
    let hash = world.root().store().insert(BlobKind::Worker, program.clone().into());
    let all = world.all();
    let order = |world: &World, number: u8, hash: Hash| {
        let mut envelope = world.envelope(number, &code, Hash::of(&input));
        envelope.artifacts.iter_mut().for_each(|artifact| artifact.worker = Some(hash));
        let (envelope, signature) = envelope.seal(&world.key).expect("sealed");
        Order::Run(Run { envelope, signature, input: Input::Inline(input.clone()) })
    };
    let run = order(&world, 1, hash);
    world.order(vec![all], run);
    assert!(world.run_while(20_000, |world| world.results(1).len() < 3));
    all_ok(&world, 1);
    for node in [1, 2, 3].map(NodeId) {
        let store = world.node(node).store();
        assert_eq!(store.get(hash, BlobKind::Worker).as_deref(), Some(program.as_slice()), "{node}");
        assert!(store.get(hash, BlobKind::File).is_none() && store.get(hash, BlobKind::Artifact).is_none());
    }
    // What was given as a file is no program.
    let file = world.root().store().insert(BlobKind::File, module(23, 500).into());
    let run = order(&world, 2, file);
    world.order(vec![all], run);
    assert!(world.run_while(20_000, |world| world.results(2).len() < 3));
    assert!(world.results(2).values().all(|statuses| *statuses == [Status::Failed]));
}
