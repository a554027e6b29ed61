//! Peers that lie: each lie is refused, and what can be told about it is told.

use crate::world::*;
use waft_proto::frame::{Lane, encode};
use waft_proto::id::{Hash, NodeId, NodeRange};
use waft_proto::limits::*;
use waft_proto::msg::*;
use waft_proto::node::Peer;
use waft_proto::run::{Problem, Status, TargetState};

const LEAF: NodeId = NodeId(2);
const SISTER: NodeId = NodeId(3);

/// Root, hop 1, leaves 2 and 3.
fn small(seed: u64) -> World {
    let mut world = World::new(seed, &[1, 2]);
    world.dial_all();
    assert!(world.run_while(5_000, |world| world.joined() < 3));
    world.reports.clear();
    world
}

fn frame(lane: Lane, msg: &Msg) -> Vec<u8> {
    let mut out = Vec::new();
    encode(lane, &msg.encode(), &mut out).expect("a message that fits");
    out
}

/// What the root hears when the leaf says that to its hop.
fn leaf_says(lane: Lane, msg: &Msg) -> (World, Vec<(NodeId, Report)>) {
    let mut world = small(1);
    world.inject(NodeId(1), Peer::Child(LEAF), &frame(lane, msg));
    let end = world.now + 100;
    world.run_until(end);
    let reports = core::mem::take(&mut world.reports);
    (world, reports)
}

#[track_caller]
fn refused(lane: Lane, msg: &Msg, because: &str) {
    let (world, reports) = leaf_says(lane, msg);
    match reports.as_slice() {
        [(LEAF, Report::Violation { count: 1, problem })] => {
            assert!(problem.message.contains(because), "{}", problem.message);
        }
        other => panic!("one violation was expected: {other:?}"),
    }
    assert!(world.is_alive(LEAF), "the leaf may go on");
}

fn up(from: NodeId, report: Report) -> Msg {
    Msg::Up { from, report }
}

#[test]
fn a_child_speaks_for_itself_only() {
    let state = Report::State { run: run_id(1), state: TargetState::Running };
    refused(Lane::Control, &up(SISTER, state.clone()), "in the name of n3");
    refused(Lane::Control, &up(NodeId::ROOT, state.clone()), "in the name of n0");
    refused(Lane::Control, &up(NodeId(1), state), "in the name of n1");
    let result = Report::Result { run: run_id(1), outcome: Box::new(outcome(Status::Ok)), proof: Vec::new() };
    refused(Lane::Bulk, &up(SISTER, result), "in the name of n3");
}

#[test]
fn a_child_does_not_speak_of_its_own_link() {
    let own = "its parent's to make";
    let problem = Problem::new("a", "b");
    refused(Lane::Control, &up(LEAF, Report::Joined(Box::new(hello(StubKind::Hop, "x")))), own);
    refused(Lane::Bulk, &up(LEAF, Report::Gone { lost: true, problem: problem.clone() }), own);
    refused(Lane::Control, &up(LEAF, Report::Silent(true)), own);
    refused(Lane::Control, &up(LEAF, Report::Violation { count: 1, problem }), own);
    let learned = Remembered { arch: Arch::X86_64, exact: true };
    refused(Lane::Control, &up(LEAF, Report::Learned(learned)), own);
}

#[test]
fn a_child_touches_no_sister() {
    let problem = Problem::new("a", "b");
    let to = vec![NodeRange::new(LEAF, SISTER)];
    refused(Lane::Control, &up(LEAF, Report::DeadLetter { to, problem }), "dead letter");
    let request = SignRequest {
        node: SISTER,
        host_key: vec![],
        session_id: vec![],
        host_signature: vec![],
        user: "op".into(),
        public_key: vec![],
        algorithm: "ssh-ed25519".into(),
        to_sign: vec![],
    };
    refused(Lane::Control, &up(LEAF, Report::Sign(Box::new(request))), "sign for n3");
}

#[test]
fn lanes_are_kept() {
    let output = Report::Output { run: run_id(1), stream: Stream::Stdout, bytes: vec![1] };
    refused(Lane::Control, &up(LEAF, output), "wrong lane");
    let state = Report::State { run: run_id(1), state: TargetState::Ready };
    refused(Lane::Bulk, &up(LEAF, state), "wrong lane");
}

#[test]
fn parents_messages_are_not_taken_from_a_child() {
    let hash = Hash::of(b"x");
    let to = vec![NodeRange::one(SISTER)];
    refused(Lane::Control, &Msg::Down { to, order: Order::Stop }, "only a parent");
    refused(Lane::Control, &Msg::Missing { hash }, "only a parent");
    refused(Lane::Control, &Msg::Offer { hash, kind: BlobKind::Stub, bytes: 1 }, "only a parent");
    refused(Lane::Bulk, &Msg::Chunk { hash, offset: 0, bytes: vec![1] }, "wrong lane");
}

#[test]
fn a_blob_is_had_only_by_those_whose_orders_name_it() {
    let mut world = small(2);
    let secret = world.root().store().insert(BlobKind::File, module(5, 1000).into());
    for node in [NodeId::ROOT, NodeId(1)] {
        let child = if node == NodeId::ROOT { NodeId(1) } else { LEAF };
        let want = frame(Lane::Control, &Msg::Want { hash: secret, kind: BlobKind::File });
        world.inject(node, Peer::Child(child), &want);
    }
    let end = world.now + 500;
    world.run_until(end);
    assert_eq!(world.seen(NodeId(1)).offers + world.seen(LEAF).offers, 0);
    let told = world.reports.iter().filter(
        |(_, report)| matches!(report, Report::Violation { problem, .. } if problem.code == "blob.refused"),
    );
    assert_eq!(told.count(), 2);
}

#[test]
fn violations_are_counted_and_do_not_flood() {
    let mut world = small(3);
    let lie = frame(Lane::Control, &up(SISTER, Report::Silent(true)));
    for _ in 0..1000 {
        world.inject(NodeId(1), Peer::Child(LEAF), &lie);
    }
    let end = world.now + 100;
    world.run_until(end);
    let counts: Vec<u32> = world
        .reports
        .iter()
        .filter_map(|(_, report)| match report {
            Report::Violation { count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
}

#[test]
fn a_flood_of_control_messages_ends_the_flooder_and_nobody_else() {
    let mut world = small(4);
    world.freeze(NodeId(1), true);
    let state = Report::State { run: run_id(1), state: TargetState::Ready };
    let mut flood = Vec::new();
    for _ in 0..1000 {
        flood.extend(frame(Lane::Control, &up(LEAF, state.clone())));
    }
    let mut sent = 0;
    while world.is_alive(LEAF) {
        world.inject(NodeId(1), Peer::Child(LEAF), &flood);
        sent += flood.len();
        assert!(sent < 4 * CONTROL_QUEUE_BYTES_MAX, "a flood without end is taken");
    }
    assert!(world.node(NodeId(1)).control_held() <= CONTROL_QUEUE_BYTES_MAX / 2 + 64 * 1024);
    world.inject(NodeId(1), Peer::Child(SISTER), &frame(Lane::Control, &up(SISTER, state)));
    world.freeze(NodeId(1), false);
    let end = world.now + 2_000;
    world.run_until(end);
    assert!(world.is_alive(NodeId(1)) && world.is_alive(SISTER));
    assert_eq!(world.gone(), [(LEAF, true)]);
    let heard =
        world.reports.iter().any(|(from, report)| *from == SISTER && matches!(report, Report::State { .. }));
    assert!(heard, "its sister was heard");
}

#[test]
fn pings_that_nobody_reads_the_answers_of_take_no_memory() {
    let mut world = small(5);
    world.freeze(LEAF, true);
    let ping = frame(Lane::Control, &Msg::Ping).repeat(10_000);
    world.inject(NodeId(1), Peer::Child(LEAF), &ping);
    assert!(world.node(NodeId(1)).control_held() < 10_000);
}

#[test]
fn a_long_goodbye_does_not_hide_a_loss() {
    let mut world = small(6);
    // As long as a frame can be: wrapped into a report it would not fit any more.
    let message = "x".repeat(BODY_BYTES_MAX - 32);
    let bye = frame(Lane::Control, &Msg::Bye(Problem::new("a", message)));
    world.inject(NodeId(1), Peer::Child(LEAF), &bye);
    let end = world.now + 100;
    world.run_until(end);
    assert_eq!(world.gone(), [(LEAF, true)]);
}

#[test]
fn nothing_counts_after_a_goodbye() {
    let mut world = small(7);
    let mut bytes = frame(Lane::Control, &Msg::Bye(Problem::new("a", "b")));
    bytes
        .extend(frame(Lane::Control, &up(LEAF, Report::State { run: run_id(1), state: TargetState::Ready })));
    world.inject(NodeId(1), Peer::Child(LEAF), &bytes);
    let end = world.now + 100;
    world.run_until(end);
    assert_eq!(world.reports.len(), 1, "{:?}", world.reports);
}

/// Sends the leaf an order as its hop would, and gives the status it ends with.
fn order_to_leaf(change: impl FnOnce(&World, Run) -> Run) -> (World, Vec<Status>) {
    let mut world = small(8);
    let code = module(8, 1000);
    world.root().store().insert(BlobKind::Artifact, code.clone().into());
    let input = b"{}".to_vec();
    let (envelope, signature) = world.envelope(1, &code, Hash::of(&input)).seal(&world.key).expect("sealed");
    let run = change(&world, Run { envelope, signature, input: Input::Inline(input) });
    let msg = Msg::Down { to: vec![NodeRange::one(LEAF)], order: Order::Run(run) };
    world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &msg));
    let end = world.now + 1_000;
    world.run_until(end);
    let statuses = world.results(1).remove(&LEAF).unwrap_or_default();
    (world, statuses)
}

fn codes(world: &World) -> Vec<String> {
    let codes = world.reports.iter().filter_map(|(_, report)| match report {
        Report::Result { outcome, .. } => outcome.problem.as_ref().map(|problem| problem.code.clone()),
        Report::DeadLetter { problem, .. } => Some(problem.code.clone()),
        _ => None,
    });
    codes.collect()
}

#[test]
fn a_changed_order_is_refused() {
    let (world, statuses) = order_to_leaf(|_, mut run| {
        run.signature[5] ^= 1;
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.signature".into()]));

    let (world, statuses) = order_to_leaf(|_, mut run| {
        // This byte belongs to the nonce: it decodes, and is not what was signed.
        let nonce = run.envelope.len() - 8;
        run.envelope[nonce] ^= 1;
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.signature".into()]));

    let (world, statuses) = order_to_leaf(|_, mut run| {
        run.input = Input::Inline(b"{\"x\":1}".to_vec());
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.params".into()]));

    let (world, statuses) = order_to_leaf(|world, mut run| {
        let stranger = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let envelope = world.envelope(1, b"evil", Hash::of(b"{}"));
        (run.envelope, run.signature) = envelope.seal(&stranger).expect("sealed");
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.signature".into()]));
}

#[test]
fn an_order_for_others_or_too_late_is_refused() {
    let (world, statuses) = order_to_leaf(|world, mut run| {
        let mut envelope = world.envelope(1, b"x", Hash::of(b"{}"));
        envelope.targets = vec![NodeRange::one(SISTER)];
        (run.envelope, run.signature) = envelope.seal(&world.key).expect("sealed");
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.target".into()]));

    let (world, statuses) = order_to_leaf(|world, mut run| {
        let mut envelope = world.envelope(1, b"x", Hash::of(b"{}"));
        envelope.expires = UNIX - 1;
        (run.envelope, run.signature) = envelope.seal(&world.key).expect("sealed");
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![Status::Refused], vec!["envelope.expired".into()]));

    let (world, statuses) = order_to_leaf(|_, mut run| {
        run.envelope = vec![0xff; 40];
        run
    });
    assert_eq!((statuses, codes(&world)), (vec![], vec!["envelope.signature".into()]));
}

#[test]
fn a_repeated_order_runs_once() {
    let mut world = small(9);
    let code = module(9, 1000);
    world.run(1, &code, vec![NodeRange::one(LEAF)]);
    assert!(world.run_while(1_000, |world| world.results(1).is_empty()));
    let input = b"{}".to_vec();
    let (envelope, signature) = world.envelope(1, &code, Hash::of(&input)).seal(&world.key).expect("sealed");
    let run = Run { envelope, signature, input: Input::Inline(input) };
    let msg = Msg::Down { to: vec![NodeRange::one(LEAF)], order: Order::Run(run) };
    world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &msg));
    let end = world.now + 1_000;
    world.run_until(end);
    assert_eq!(world.started(LEAF), 1);
    assert_eq!(world.results(1)[&LEAF], [Status::Ok]);
}

#[test]
fn a_module_whose_bytes_were_changed_is_not_run() {
    let mut world = small(10);
    let code = module(10, 40_000);
    let hash = Hash::of(&code);
    let mut changed = code.clone();
    changed[39_999] ^= 1;
    let offer = Msg::Offer { hash, kind: BlobKind::Artifact, bytes: 40_000 };
    world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &offer));
    let input = b"{}".to_vec();
    let (envelope, signature) = world.envelope(1, &code, Hash::of(&input)).seal(&world.key).expect("sealed");
    let run = Run { envelope, signature, input: Input::Inline(input) };
    let order = Msg::Down { to: vec![NodeRange::one(LEAF)], order: Order::Run(run) };
    world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &order));
    for (at, bytes) in changed.chunks(CHUNK_BYTES_MAX).enumerate() {
        let chunk = Msg::Chunk { hash, offset: (at * CHUNK_BYTES_MAX) as u64, bytes: bytes.to_vec() };
        world.inject(LEAF, Peer::Parent, &frame(Lane::Bulk, &chunk));
    }
    let end = world.now + 1_000;
    world.run_until(end);
    assert_eq!((world.started(LEAF), codes(&world)), (0, vec!["blob.damaged".into()]));
    // The next order brings it again, whole.
    world.run(2, &code, vec![NodeRange::one(LEAF)]);
    assert!(world.run_while(1_000, |world| world.results(2).is_empty()));
    assert_eq!(world.results(2)[&LEAF], [Status::Ok]);
}

#[test]
fn an_empty_blob_cannot_stand_in_for_another() {
    let mut world = small(11);
    let hash = Hash::of(b"the real one");
    let offer = Msg::Offer { hash, kind: BlobKind::Artifact, bytes: 0 };
    world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &offer));
    assert!(world.node(LEAF).store().get(hash, BlobKind::Artifact).is_none());
}

#[test]
fn a_dial_order_stays_below_its_hop() {
    let mut world = small(12);
    let mut outside = world.dial_target(SISTER);
    (outside.node, outside.last) = (NodeId(9), NodeId(9));
    let mut overlapping = world.dial_target(LEAF);
    (overlapping.node, overlapping.last) = (LEAF, SISTER);
    let mut backwards = world.dial_target(LEAF);
    (backwards.node, backwards.last) = (NodeId(3), NodeId(2));
    let targets = vec![outside, overlapping, backwards, world.dial_target(LEAF)];
    let dial = Dial { targets, stubs: vec![], identities: vec![], connect_ms: 1 };
    world.order(vec![NodeRange::one(NodeId(1))], Order::Dial(dial));
    let end = world.now + 100;
    world.run_until(end);
    assert_eq!(codes(&world), ["dial.range", "dial.range", "dial.range"]);
    assert_eq!(world.joined(), 0, "nobody was dialled again");

    let targets = (0..=DIAL_TARGETS_MAX as u32)
        .map(|n| DialTarget { node: NodeId(n), last: NodeId(n), ..world.dial_target(LEAF) })
        .collect();
    let dial = Dial { targets, stubs: vec![], identities: vec![], connect_ms: 1 };
    world.reports.clear();
    world.order(vec![NodeRange::one(NodeId(1))], Order::Dial(dial));
    let end = world.now + 100;
    world.run_until(end);
    assert_eq!(codes(&world), ["dial.size"]);
}

#[test]
fn an_order_too_long_for_a_frame_is_named_not_lost() {
    let mut world = small(13);
    let mut target = world.dial_target(LEAF);
    target.host_keys = vec![vec![0; 40_000], vec![1; 40_000]];
    let dial = Dial { targets: vec![target], stubs: vec![], identities: vec![], connect_ms: 1 };
    world.order(vec![NodeRange::one(NodeId(1))], Order::Dial(dial));
    assert_eq!(codes(&world), ["route.size"]);
}

#[test]
fn more_bulk_than_granted_ends_the_link() {
    let mut world = small(14);
    world.freeze(NodeId(1), true);
    let output = Report::Output { run: run_id(1), stream: Stream::Stdout, bytes: vec![0; CHUNK_BYTES_MAX] };
    let bytes = frame(Lane::Bulk, &up(LEAF, output));
    // What the hop's own socket takes comes on top of the window.
    let most = (WINDOW_INITIAL_BYTES as usize + SOCKET_BYTES) / CHUNK_BYTES_MAX + 3;
    for _ in 0..most {
        if world.is_alive(LEAF) {
            world.inject(NodeId(1), Peer::Child(LEAF), &bytes);
        }
    }
    assert!(!world.is_alive(LEAF));
    assert!(world.node(NodeId(1)).bulk_held() <= WINDOW_INITIAL_BYTES as usize + 1024);
}

#[test]
fn a_parent_that_lies_ends_its_own_stub_only() {
    for bytes in [
        frame(Lane::Control, &Msg::Want { hash: Hash::of(b"x"), kind: BlobKind::File }),
        frame(Lane::Control, &up(LEAF, Report::Silent(true))),
        frame(Lane::Control, &Msg::Credit(u32::MAX)),
        frame(Lane::Bulk, &Msg::Ping),
        vec![0, 0, 0],
        vec![255, 255, 0],
        vec![1, 0, 7],
    ] {
        let mut world = small(15);
        world.inject(LEAF, Peer::Parent, &bytes);
        let end = world.now + 100;
        world.run_until(end);
        assert!(!world.is_alive(LEAF) && world.is_alive(SISTER) && world.is_alive(NodeId(1)));
        assert_eq!(world.gone(), [(LEAF, true)]);
    }
}

#[test]
fn a_blob_that_was_given_up_may_be_fetched_again_later() {
    let mut world = small(9);
    let (hash, gone, kind) = (Hash([7; 32]), Hash([8; 32]), BlobKind::File);
    let offer = Msg::Offer { hash, kind, bytes: 5000 };
    let copy = Msg::Copy { hash, offset: 0, from: gone, at: 0, bytes: 500 };
    for round in 1..=3 {
        world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &offer));
        world.inject(LEAF, Peer::Parent, &frame(Lane::Bulk, &copy));
        let end = world.now + 100;
        world.run_until(end);
        assert_eq!(world.seen(LEAF).wants, round, "it is asked for again");
        world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &Msg::Missing { hash }));
    }
    // Twice in one transfer is once too often.
    for _ in 0..2 {
        world.inject(LEAF, Peer::Parent, &frame(Lane::Control, &offer));
        world.inject(LEAF, Peer::Parent, &frame(Lane::Bulk, &copy));
    }
    let end = world.now + 100;
    world.run_until(end);
    assert_eq!(world.seen(LEAF).wants, 4);
}
