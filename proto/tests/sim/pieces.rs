//! What blobs cost that have something in common, that can be made smaller, or neither.

use crate::world::*;
use waft_proto::frame::{Lane, encode};
use waft_proto::id::{Hash, NodeId};
use waft_proto::limits::CHUNK_BYTES_MAX;
use waft_proto::msg::{BlobKind, Msg};
use waft_proto::node::Peer;
use waft_proto::run::Status;

/// What a message takes besides the bytes that it carries: `Chunk` and `Packed` up to 64, `Copy` about 80.
const MESSAGE_BYTES: u64 = 90;

fn dialled(seed: u64, fan_out: &[u32], store_bytes: u64) -> World {
    let mut world = World::new(seed, fan_out);
    world.store_bytes = store_bytes;
    world.dial_all();
    let nodes = world.all().count() as usize;
    assert!(world.run_while(10_000, |world| world.joined() < nodes), "{} of {nodes} joined", world.joined());
    world
}

fn run_all(world: &mut World, number: u8, module: &[u8]) {
    let all = world.all();
    let nodes = all.count() as usize;
    world.run(number, module, vec![all]);
    assert!(world.run_while(60_000, |world| world.results(number).len() < nodes));
    assert!(world.results(number).values().all(|statuses| *statuses == [Status::Ok]));
}

/// What a blob took on each link; all of it must have come there.
fn wire(world: &World, blob: &[u8]) -> Vec<u64> {
    let hash = Hash::of(blob);
    let children: Vec<NodeId> = world.parents.keys().copied().collect();
    let bytes = |child: &NodeId| {
        let seen = world.seen(*child);
        assert_eq!(seen.chunk_bytes.get(&hash), Some(&(blob.len() as u64)), "on the link of {child}");
        seen.wire_bytes[&hash]
    };
    children.iter().map(bytes).collect()
}

/// Another version: something is new, something else is gone, a few bytes differ.
fn changed(module: &[u8]) -> Vec<u8> {
    let third = module.len() / 3;
    let mut bytes = module[..third].to_vec();
    bytes.extend_from_slice(&[b'n'; 100]);
    bytes.extend_from_slice(&module[third..2 * third]);
    bytes.extend_from_slice(&module[2 * third + 5_000..]);
    for at in (third + 1_000..third + 9_000).step_by(500) {
        bytes[at] ^= 0x55;
    }
    bytes
}

#[test]
fn what_a_child_has_is_not_sent_again_at_any_depth() {
    let mut world = dialled(101, &[1, 2, 3], 64 << 20);
    let first = module(101, 600_000);
    let second = changed(&first);
    run_all(&mut world, 1, &first);
    // It is noise, so it travels as it is.
    let chunks = first.len().div_ceil(CHUNK_BYTES_MAX) as u64;
    assert!(wire(&world, &first).iter().all(|bytes| *bytes <= first.len() as u64 + chunks * MESSAGE_BYTES));
    run_all(&mut world, 2, &second);
    let wire = wire(&world, &second);
    assert!(wire.iter().all(|bytes| *bytes == wire[0]), "hops pass pieces on as they came: {wire:?}");
    assert!(wire[0] < second.len() as u64 / 50, "{} of {} bytes", wire[0], second.len());
    let seen = world.seen(NodeId(1));
    assert!(seen.copies >= 2 && seen.dictionaries >= 1, "{seen:?}");
    // And once more: nothing at all.
    let before: Vec<u64> =
        world.parents.keys().map(|child| world.seen(*child).wire_bytes.values().sum()).collect();
    run_all(&mut world, 3, &second);
    let after: Vec<u64> =
        world.parents.keys().map(|child| world.seen(*child).wire_bytes.values().sum()).collect();
    assert_eq!(before, after);
}

#[test]
fn what_is_like_nothing_costs_what_deflate_makes_of_it() {
    let mut world = dialled(102, &[1, 2], 64 << 20);
    let text: Vec<u8> =
        (0..40_000_u32).flat_map(|line| format!("line {line} of a text\n").into_bytes()).collect();
    run_all(&mut world, 1, &module(102, 300_000));
    run_all(&mut world, 2, &text);
    let pieces = text.chunks(CHUNK_BYTES_MAX);
    let deflated: usize =
        pieces.clone().map(|piece| waft_proto::pack::pack(&[], piece).expect("text").len()).sum();
    let most = deflated as u64 + pieces.len() as u64 * MESSAGE_BYTES;
    let wire = wire(&world, &text);
    assert!(
        wire.iter().all(|bytes| (deflated as u64..=most).contains(bytes)),
        "{wire:?}, {deflated} deflated"
    );
    assert!(most < text.len() as u64 / 3);
    assert_eq!((world.seen(NodeId(1)).copies, world.seen(NodeId(1)).dictionaries), (0, 0));
}

#[test]
fn two_orders_at_once_share_what_they_have_in_common() {
    let mut world = dialled(103, &[1, 1, 2], 64 << 20);
    let first = module(103, 400_000);
    let second = changed(&first);
    let all = world.all();
    let nodes = all.count() as usize;
    world.run(1, &first, vec![all]);
    world.run(2, &second, vec![all]);
    assert!(
        world.run_while(60_000, |world| world.results(1).len() < nodes || world.results(2).len() < nodes)
    );
    let wire = wire(&world, &second);
    assert!(wire.iter().all(|bytes| *bytes < second.len() as u64 / 50), "{wire:?}");
}

#[test]
fn a_blob_that_had_to_make_room_is_not_referred_to_for_long() {
    // Room for one of them: what the second is made of goes when the second is offered.
    let mut world = dialled(104, &[1, 1], 500_000);
    let first = module(104, 400_000);
    let second = changed(&first);
    run_all(&mut world, 1, &first);
    run_all(&mut world, 2, &second);
    let link = world.seen(NodeId(1));
    assert!(link.copies >= 1 && link.wants >= 1, "it referred to what was gone, and was told: {link:?}");
    assert!(link.wire_bytes[&Hash::of(&second)] >= second.len() as u64);
    run_all(&mut world, 3, &first);
    assert!(world.gone().is_empty());
    let end = world.now + 1_000;
    world.run_until(end);
    for node in [1, 2] {
        assert_eq!(world.node(NodeId(node)).store().pinned(), 0, "node {node}");
        assert!(world.node(NodeId(node)).store().bytes() <= 500_000, "node {node}");
    }
}

#[test]
fn a_child_that_comes_later_gets_all_of_it() {
    let mut world = dialled(105, &[1, 2], 64 << 20);
    let first = module(105, 300_000);
    let second = changed(&first);
    // One of two leaves has the first; the other has neither.
    let one = world.ranges[&NodeId(2)];
    world.run(1, &first, vec![one]);
    assert!(world.run_while(60_000, |world| world.results(1).is_empty()));
    run_all(&mut world, 2, &second);
    let [hop, with, without] = wire(&world, &second)[..] else { panic!("three links") };
    assert_eq!(hop, with);
    assert!(with < second.len() as u64 / 50 && without >= second.len() as u64 / 10 * 9, "{with} {without}");
}

#[test]
fn a_child_that_drops_a_blob_is_sent_it_without_references() {
    let mut world = dialled(106, &[1, 1], 64 << 20);
    let first = module(106, 300_000);
    let second = changed(&first);
    run_all(&mut world, 1, &first);
    run_all(&mut world, 2, &second);
    for (parent, child) in [(NodeId::ROOT, NodeId(1)), (NodeId(1), NodeId(2))] {
        let (hash, before) = (Hash::of(&second), world.seen(child).copies);
        assert!(before > 0);
        let kind = BlobKind::Artifact;
        for msg in [Msg::Dropped { hash }, Msg::Want { hash, kind }] {
            let mut frame = Vec::new();
            encode(Lane::Control, &msg.encode(), &mut frame).expect("a message that fits");
            world.inject(parent, Peer::Child(child), &frame);
        }
        let end = world.now + 5_000;
        world.run_until(end);
        let seen = world.seen(child);
        assert_eq!(seen.chunk_bytes[&hash], 2 * second.len() as u64, "it was sent again");
        assert_eq!(seen.copies, before, "and as it is, whatever else it has");
    }
}
