//! The second reader (tests/reader, in Python, made from docs/protocol.md) agrees with this code: on the
//! golden bytes, as a stub at the other end of a link, and on what has to be refused.

mod process;
mod rig;

use process::{Reader, frame, python};
use rig::{INPUT, Rig, envelope, key, results, signed, unix, welcome};
use std::collections::BTreeSet;
use std::io::Write;
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::frame::Lane;
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::limits::*;
use waft_proto::msg::*;
use waft_proto::run::{Problem, Status, TargetState};

const STUB: NodeId = NodeId(1);
const GOLDEN: &str = include_str!("../golden/v1.txt");

/// What the reader says of these golden entries, and whether it is content.
fn golden(text: &str) -> (bool, String) {
    let mut child = python().args(["--golden", "/dev/stdin"]).spawn().expect("python3 runs");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the reader reads");
    let output = child.wait_with_output().expect("its end");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn reads_the_golden_bytes() {
    let entries = GOLDEN.lines().filter(|line| line.starts_with("  hex ")).count();
    assert_eq!(golden(GOLDEN), (true, format!("{entries} golden entries, 0 wrong\n")));
}

#[test]
fn notices_golden_bytes_that_mean_something_else() {
    for (of, instead, said) in [
        ("  hex 02\n", "  hex 03\n", "ping is read as Pong"),
        ("  hex 04808004\n", "  hex 0480808400\n", "credit is written as 04808004"),
        ("  hex 04808004\n", "  hex 048080\n", "truncated"),
        ("  hex 04808004\n", "  hex 0480800402\n", "with 1 left"),
        ("\"Silent\": true", "\"Silent\": 1", "report silent is read as"),
    ] {
        let changed = GOLDEN.replacen(of, instead, 1);
        assert_ne!(changed, GOLDEN);
        let (content, words) = golden(&changed);
        assert!(!content && words.contains(said), "{instead}: {words}");
    }
}

#[test]
fn takes_no_golden_bytes_for_whole_when_the_last_is_missing() {
    // One of each kind: a process takes its time to start.
    let mut kinds = BTreeSet::new();
    for entry in GOLDEN.split("\n\n").filter(|entry| entry.contains("  hex ")) {
        let [name, hex, means] = entry.lines().collect::<Vec<_>>()[..] else { panic!("{entry}") };
        let cut = &hex[..hex.len() - 2];
        // Without its only byte an entry is no entry.
        if cut.trim() == "hex" || !kinds.insert(name.split(' ').next()) {
            continue;
        }
        let (content, words) = golden(&format!("{name}\n{cut}\n{means}\n"));
        assert!(!content && words.starts_with("refused: truncated"), "{name}: {words}");
    }
    assert!(kinds.len() > 10, "{kinds:?}");
}

#[test]
fn is_a_stub_that_this_node_can_work_with() {
    let mut rig = Rig::start();
    let joined = |report: &Report| matches!(report, Report::Joined(hello) if hello.release == "reader");
    rig.wait("a hello", |rig| rig.reports.iter().any(joined));

    // Two quiet intervals of virtual time make the root ping.
    rig.now += KEEPALIVE_INTERVAL_MS * 2;
    rig.root.handle_timeout(rig.now);
    rig.settle();
    rig.wait("a pong", |rig| rig.reader.said.contains(&Msg::Pong));
    rig.ping(99);

    // More than the first window, so that credit must come back; every hash is checked there.
    let code: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    rig.root.store().insert(BlobKind::Artifact, code.clone().into());
    let small = envelope(1, &code, Hash::of(INPUT));
    rig.order(Order::Run(signed(&small, Input::Inline(INPUT.to_vec()))));
    rig.wait("a result", |rig| !rig.results(1).is_empty());
    assert_eq!(rig.results(1), [(Status::Ok, String::new())]);
    let log = format!("artifact of 300000 bytes, {}; input of 12 bytes\n", Hash::of(&code));
    assert_eq!(rig.output_of(1, Stream::Log), log.as_bytes());
    assert_eq!(rig.output_of(1, Stream::Stdout), INPUT);
    for state in [TargetState::Ready, TargetState::Running] {
        assert!(rig.reports.contains(&Report::State { run: small.run, state }), "{:?}", rig.reports);
    }

    // The same module again, with a large input that comes back whole, through its own window.
    let input: Vec<u8> = (0..400_000_u32).map(|n| (n % 241) as u8).collect();
    let hash = rig.root.store().insert(BlobKind::File, input.clone().into());
    let large = Input::Blob { hash, bytes: input.len() as u64 };
    rig.order(Order::Run(signed(&envelope(2, &code, hash), large)));
    rig.wait("a second result", |rig| !rig.results(2).is_empty());
    assert!(rig.output_of(2, Stream::Stdout) == input, "the input came back changed");

    let violations = rig.reports.iter().filter(|report| matches!(report, Report::Violation { .. })).count();
    assert_eq!(violations, 0, "{:?}", rig.reports);

    rig.order(Order::Stop);
    assert_eq!(rig.reader.end(), (Some(0), String::new()));
}

#[test]
fn executes_only_what_the_controller_signed_and_once() {
    let mut rig = Rig::start();
    let code = b"an artifact".as_slice();
    rig.root.store().insert(BlobKind::Artifact, code.into());
    let input = || Input::Inline(INPUT.to_vec());
    let good = |number| envelope(number, code, Hash::of(INPUT));

    let other = ed25519_dalek::SigningKey::from_bytes(&[6; 32]);
    let (bytes, signature) = good(1).seal(&other).expect("sealed");
    rig.order(Order::Run(Run { envelope: bytes, signature, input: input() }));

    let Run { signature, .. } = signed(&good(2), input());
    let (bytes, _) = Envelope { check: true, ..good(2) }.seal(&key()).expect("sealed");
    rig.order(Order::Run(Run { envelope: bytes, signature, input: input() }));

    let Run { envelope: bytes, mut signature, .. } = signed(&good(3), input());
    signature.truncate(63);
    rig.order(Order::Run(Run { envelope: bytes, signature, input: input() }));

    let late = Envelope { expires: unix() - 60, ..good(4) };
    rig.order(Order::Run(signed(&late, input())));
    let elsewhere = Envelope { targets: vec![NodeRange::one(NodeId(2))], ..good(5) };
    rig.order(Order::Run(signed(&elsewhere, input())));
    rig.order(Order::Run(signed(&good(6), Input::Inline(b"another".to_vec()))));
    rig.ping(1);
    for (number, words) in [
        (1, "is not signed by the controller"),
        (2, "is not signed by the controller"),
        (3, "is not signed by the controller"),
        (4, "has expired"),
        (5, "is for other nodes"),
        (6, "the input is not what the envelope names"),
    ] {
        let results = rig.results(number);
        let [(Status::Refused, said)] = &results[..] else { panic!("run {number}: {results:?}") };
        assert!(said.contains(words), "run {number}: {said}");
    }

    // A forgery does not use up the run it names, and a repeated order is not obeyed again.
    let order = signed(&good(1), input());
    rig.order(Order::Run(order.clone()));
    rig.order(Order::Run(order));
    rig.ping(2);
    let ends: Vec<Status> = rig.results(1).into_iter().map(|(status, _)| status).collect();
    assert_eq!(ends, [Status::Refused, Status::Ok]);

    let mut envelope = signed(&good(7), input()).envelope;
    envelope.truncate(60);
    rig.order(Order::Run(Run { envelope, signature: vec![0; 64], input: input() }));
    let foreign = Engine { arch: Arch::Aarch64, profile: Profile::Small };
    let artifacts = vec![Artifact { engine: foreign, hash: Hash::of(code), bytes: 11, worker: None }];
    rig.order(Order::Run(signed(&Envelope { artifacts, ..good(8) }, input())));
    rig.ping(3);
    let unread = |report: &Report| {
        matches!(report, Report::DeadLetter { to, problem }
            if *to == [NodeRange::one(STUB)] && problem.message.contains("truncated"))
    };
    assert!(rig.reports.iter().any(unread), "{:?}", rig.reports);
    let engine = Engine { arch: Arch::X86_64, profile: Profile::Small };
    assert!(rig.reports.contains(&Report::NoArtifact { run: RunId([8; 16]), engine }), "{:?}", rig.reports);
}

#[test]
fn asks_for_a_blob_and_uses_it_only_when_its_bytes_are_right() {
    let (mut reader, _) = Reader::start();
    reader.say(&Msg::Welcome(welcome()));
    let code = b"an artifact".as_slice();
    let hash = Hash::of(code);
    let offer = |kind| Msg::Offer { hash, kind, bytes: code.len() as u64 };
    let chunk =
        |offset: usize, bytes: &[u8]| Msg::Chunk { hash, offset: offset as u64, bytes: bytes.to_vec() };
    let run = |reader: &mut Reader, number| {
        reader.said.clear();
        let order = signed(&envelope(number, code, Hash::of(INPUT)), Input::Inline(INPUT.to_vec()));
        reader.say(&Msg::Down { to: vec![NodeRange::one(STUB)], order: Order::Run(order) });
        reader.wait("a wish", |msg| *msg == Msg::Want { hash, kind: BlobKind::Artifact });
    };
    let end = |reader: &mut Reader, number: u8| {
        let result = |msg: &Msg| matches!(msg, Msg::Up { report: Report::Result { .. }, .. });
        reader.wait("a result", result);
        let reports = reader.said.iter().filter_map(|msg| match msg {
            Msg::Up { report, .. } => Some(report),
            _ => None,
        });
        results(reports, number)
    };
    let failed = |results: &[(Status, String)], words: &str| {
        assert!(
            matches!(results, [(Status::Failed, said)] if said.contains(words)),
            "{results:?} without {words}"
        );
    };

    run(&mut reader, 1);
    reader.say(&Msg::Missing { hash });
    failed(&end(&mut reader, 1), "is not to be had");

    for (number, bytes) in [(2, b"an artefact".as_slice()), (3, b"an artifact and more")] {
        run(&mut reader, number);
        reader.say(&offer(BlobKind::Artifact));
        reader.say(&chunk(0, bytes));
        failed(&end(&mut reader, number), "was damaged on its way");
        assert!(reader.said.contains(&Msg::Dropped { hash }), "{:?}", reader.said);
    }

    // As a file it is no artifact. Bytes behind a gap are left out, bytes that are here already are skipped.
    run(&mut reader, 4);
    reader.say(&offer(BlobKind::File));
    reader.say(&chunk(5, &code[5..]));
    reader.say(&chunk(0, &code[..8]));
    reader.say(&chunk(5, &code[5..]));
    reader.say(&Msg::Down { to: vec![NodeRange::one(STUB)], order: Order::Ping { nonce: 1 } });
    let pong = Msg::Up { from: STUB, report: Report::Pong { nonce: 1 } };
    reader.wait("a pong", |msg| *msg == pong);
    assert!(!reader.said.iter().any(|msg| matches!(msg, Msg::Up { report: Report::Result { .. }, .. })));
    reader.say(&offer(BlobKind::Artifact));
    assert_eq!(end(&mut reader, 4), [(Status::Ok, String::new())]);
}

/// A piece, deflated, with a dictionary, and as a part of another blob.
#[test]
fn takes_pieces_that_are_deflated_or_stand_in_another_blob() {
    let (mut reader, _) = Reader::start();
    reader.say(&Msg::Welcome(welcome()));
    let known: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
    let from = Hash::of(&known);
    reader.say(&Msg::Offer { hash: from, kind: BlobKind::File, bytes: known.len() as u64 });
    reader.say(&Msg::Chunk { hash: from, offset: 0, bytes: known.clone() });
    // 500 bytes of it, some that are new, some that resemble it.
    let mut code = [&known[100..600], &[b'a'; 1000]].concat();
    let alike: Vec<u8> = known[2000..6000].iter().map(|byte| if *byte == 7 { 8 } else { *byte }).collect();
    code.extend_from_slice(&alike);
    let hash = Hash::of(&code);
    let pack =
        |dictionary: &[u8], piece: &[u8]| waft_proto::pack::pack(dictionary, piece).expect("it is smaller");
    let dictionary = Dictionary { from, at: 1900, bytes: 4200 };
    let packed = pack(&known[1900..6100], &alike);
    assert!(packed.len() < pack(&[], &alike).len() / 2, "{}", packed.len());
    let pieces = |last: Vec<u8>| {
        [
            Msg::Copy { hash, offset: 0, from, at: 100, bytes: 500 },
            Msg::Packed { hash, offset: 500, size: 1000, dictionary: None, bytes: pack(&[], &[b'a'; 1000]) },
            Msg::Packed { hash, offset: 1500, size: 4000, dictionary: Some(dictionary), bytes: last },
        ]
    };
    let offer = Msg::Offer { hash, kind: BlobKind::Artifact, bytes: code.len() as u64 };
    let order = |number| {
        let order = signed(&envelope(number, &code, Hash::of(INPUT)), Input::Inline(INPUT.to_vec()));
        Msg::Down { to: vec![NodeRange::one(STUB)], order: Order::Run(order) }
    };
    let end = |reader: &mut Reader, number| {
        reader.wait("a result", |msg| matches!(msg, Msg::Up { report: Report::Result { .. }, .. }));
        let reports = reader.said.iter().filter_map(|msg| match msg {
            Msg::Up { report, .. } => Some(report),
            _ => None,
        });
        let ends = results(reports, number);
        reader.said.clear();
        ends
    };
    // One byte too many, one too few, no deflate at all, a stretch that the other blob does not have.
    let bomb = Msg::Packed { hash, offset: 0, size: 999, dictionary: None, bytes: pack(&[], &[b'a'; 1000]) };
    let short =
        Msg::Packed { hash, offset: 0, size: 1001, dictionary: None, bytes: pack(&[], &[b'a'; 1000]) };
    let none = Msg::Packed { hash, offset: 0, size: 10, dictionary: None, bytes: vec![0xFF; 5] };
    let outside = Msg::Copy { hash, offset: 0, from, at: 15_900, bytes: 500 };
    for (number, lie) in [(1, bomb), (2, short), (3, none), (4, outside)] {
        reader.say(&order(number));
        reader.say(&offer);
        reader.say(&lie);
        let ends = end(&mut reader, number);
        assert!(
            matches!(&ends[..], [(Status::Failed, said)] if said.contains("damaged")),
            "{lie:?}: {ends:?}"
        );
    }
    // Parts of a blob that it does not have: it asks for all.
    reader.say(&order(5));
    let wish = Msg::Want { hash, kind: BlobKind::Artifact };
    reader.wait("a wish", |msg| *msg == wish);
    reader.said.clear();
    reader.say(&offer);
    reader.say(&Msg::Copy { hash, offset: 0, from: Hash([9; 32]), at: 0, bytes: 500 });
    reader.wait("a wish", |msg| *msg == wish);
    // Credit for earlier pieces may be among it.
    reader.said.retain(|msg| !matches!(msg, Msg::Credit(_)));
    assert_eq!(reader.said, [Msg::Dropped { hash }, wish]);
    reader.say(&offer);
    for piece in pieces(packed) {
        reader.say(&piece);
    }
    assert_eq!(end(&mut reader, 5), [(Status::Ok, String::new())]);
}

#[test]
fn gives_up_a_run_that_is_cancelled_or_cannot_get_its_artifact_as_one() {
    let (mut reader, _) = Reader::start();
    reader.say(&Msg::Welcome(welcome()));
    let code = b"an artifact".as_slice();
    let hash = Hash::of(code);
    // Here already, but as a file; and never to be had as an artifact.
    reader.say(&Msg::Offer { hash, kind: BlobKind::File, bytes: code.len() as u64 });
    reader.say(&Msg::Chunk { hash, offset: 0, bytes: code.to_vec() });
    let down = |order| Msg::Down { to: vec![NodeRange::one(STUB)], order };
    let run = |envelope: &Envelope| down(Order::Run(signed(envelope, Input::Inline(INPUT.to_vec()))));
    let waiting = [1, 2].map(|number| envelope(number, code, Hash::of(INPUT)));
    for envelope in &waiting {
        reader.say(&run(envelope));
    }
    reader.say(&down(Order::Cancel { run: waiting[0].run }));
    reader.say(&Msg::Missing { hash });
    reader.say(&run(&Envelope { wall: Wall::Required, ..envelope(3, code, Hash::of(INPUT)) }));
    let grants = vec!["facts".to_owned()];
    reader.say(&run(&Envelope { grants, ..envelope(4, code, Hash::of(INPUT)) }));
    reader.say(&down(Order::Ping { nonce: 1 }));
    let pong = Msg::Up { from: STUB, report: Report::Pong { nonce: 1 } };
    reader.wait("a pong", |msg| *msg == pong);
    let ends = |number| {
        let reports = reader.said.iter().filter_map(|msg| match msg {
            Msg::Up { report, .. } => Some(report),
            _ => None,
        });
        results(reports, number).into_iter().map(|(status, _)| status).collect::<Vec<_>>()
    };
    assert_eq!(ends(1), [Status::Cancelled]);
    assert_eq!(ends(2), [Status::Failed]);
    assert_eq!((ends(3), ends(4)), (vec![Status::Refused], vec![Status::Refused]));
}

#[test]
fn waits_for_credit_before_it_sends_more_bulk() {
    let (mut reader, _) = Reader::start();
    reader.say(&Msg::Welcome(welcome()));
    let code = b"an artifact".as_slice();
    let hash = Hash::of(code);
    reader.say(&Msg::Offer { hash, kind: BlobKind::Artifact, bytes: code.len() as u64 });
    reader.say(&Msg::Chunk { hash, offset: 0, bytes: code.to_vec() });
    let input = vec![b'x'; INLINE_INPUT_BYTES_MAX];
    let runs = 20_u8;
    let order = |order| Msg::Down { to: vec![NodeRange::one(STUB)], order };
    for number in 0..runs {
        let envelope = envelope(number, code, Hash::of(&input));
        reader.say(&order(Order::Run(signed(&envelope, Input::Inline(input.clone())))));
    }
    let bulk = |reader: &Reader| -> usize {
        let is_bulk =
            |msg: &&Msg| matches!(msg, Msg::Up { report: Report::Output { .. } | Report::Result { .. }, .. });
        reader.said.iter().filter(is_bulk).map(|msg| msg.encode().len()).sum()
    };
    reader.say(&order(Order::Ping { nonce: 1 }));
    let pong = Msg::Up { from: STUB, report: Report::Pong { nonce: 1 } };
    reader.wait("a pong", |msg| *msg == pong);
    let window = WINDOW_INITIAL_BYTES as usize;
    let (sent, more) = (bulk(&reader), usize::from(runs) * input.len() - window);
    assert!(sent <= window && sent + input.len() + 64 > window, "{sent} bytes at first");
    assert!(more > input.len(), "what is left would have to wait");

    reader.say(&Msg::Credit(WINDOW_INITIAL_BYTES));
    let last = |msg: &Msg| matches!(msg, Msg::Up { report: Report::Result { run, .. }, .. } if run.0 == [runs - 1; 16]);
    reader.wait("the last result", last);
    assert!(bulk(&reader) > usize::from(runs) * input.len());
}

#[test]
fn refuses_with_a_sentence_what_no_parent_may_send() {
    let control = |body: &[u8]| frame(Lane::Control, body);
    let said = |msg: Msg| control(&msg.encode());
    let chunk = Msg::Chunk { hash: Hash([0; 32]), offset: 0, bytes: vec![0] }.encode();
    let bye = Msg::Bye(Problem::new("x", "x")).encode();
    let ranges = |count| Msg::Down { to: vec![NodeRange::one(STUB); count], order: Order::Stop };
    let greeted = [
        ("an empty frame", vec![0, 0, 0], "a frame of 0 bytes"),
        ("a long frame", vec![0xFE, 0xFF, 0], "a frame of 65534 bytes"),
        ("another lane", vec![1, 0, 2], "in lane 2"),
        ("an unknown message", control(&[15]), "unknown tag 15 of Msg"),
        ("an unknown order", control(&[11, 0, 7]), "unknown tag 7 of Order"),
        ("a message cut short", control(&[9, 1, 2, 3]), "truncated"),
        ("a length beyond the frame", control(&[5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), "truncated"),
        (
            "an option that is neither",
            control(&[&bye[..bye.len() - 1], &[2]].concat()),
            "unknown tag 2 of string?",
        ),
        ("a number too large", control(&[4, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F]), "a number too large for u32"),
        ("a number too long", control(&[4, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), "a number too large for u32"),
        ("text that is none", control(&[5, 1, 0xFF, 0, 0]), "a string that is not UTF-8"),
        ("too many messages", control(&[2; MESSAGES_PER_FRAME_MAX + 1]), "4097 messages in one frame"),
        ("a chunk as control", control(&chunk), "a Chunk in the control lane"),
        ("a ping as bulk", frame(Lane::Bulk, &[2]), "a Ping in the bulk lane"),
        ("too many ranges", said(ranges(RANGES_MAX + 1)), "an order for 4097 ranges"),
        ("too much credit", said(Msg::Credit(CREDIT_MAX)), "a credit of"),
        ("a second welcome", said(Msg::Welcome(welcome())), "a Welcome after the welcome"),
        ("a child's message", said(Msg::Dropped { hash: Hash([0; 32]) }), "a parent does not say Dropped"),
    ];
    let lone = [
        ("no welcome", said(Msg::Ping), "a Ping before the welcome"),
        ("node 0", said(Msg::Welcome(Welcome { node: NodeId(0), ..welcome() })), "a welcome to node 0"),
        (
            "another version",
            said(Msg::Welcome(Welcome { version_min: 2, version_max: 3, ..welcome() })),
            "a welcome without version 1",
        ),
    ];
    let first = said(Msg::Welcome(welcome()));
    let greeted =
        greeted.into_iter().map(|(what, bytes, words)| (what, [first.clone(), bytes].concat(), words));
    for (what, bytes, words) in greeted.chain(lone) {
        let (mut reader, _) = Reader::start();
        reader.send(&bytes);
        let (code, sentence) = reader.end();
        assert!(sentence.starts_with("refused: ") && sentence.contains(words), "{what}: {sentence}");
        assert_eq!((code, sentence.lines().count()), (Some(1), 1), "{what}: {sentence}");
        let last = reader.said.last();
        assert!(
            matches!(last, Some(Msg::Bye(problem)) if problem.message.contains(words)),
            "{what}: {last:?}"
        );
    }
}
