//! A message of every kind, with every variant of every enum somewhere among them.

use waft_proto::envelope::{Approval, Artifact, Bytes, Callee, Envelope, FileBlob, Wall};
use waft_proto::frame::Lane;
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::msg::*;
use waft_proto::run::{Problem, Status, TargetState};

pub(crate) enum Sample {
    Msg(Msg),
    Envelope(Box<Envelope>),
    Frame(Lane, Vec<Msg>),
}

fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

fn run() -> RunId {
    RunId([0x01, 0x97, 0, 1, 2, 3, 0x70, 4, 0x80, 5, 6, 7, 8, 9, 10, 11])
}

fn problem(hint: Option<&str>) -> Problem {
    let problem = Problem::new("ssh.host_key", "the host key of web1 is not known — né?");
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn ranges() -> Vec<NodeRange> {
    vec![
        NodeRange::one(NodeId(1)),
        NodeRange::new(NodeId(127), NodeId(128)),
        NodeRange::one(NodeId(u32::MAX)),
    ]
}

fn hello(kind: StubKind, engine: Engine, policy: Policy) -> Box<Hello> {
    Box::new(Hello {
        version_min: 1,
        version_max: 300,
        kind,
        engine,
        release: "0.1.0".into(),
        hostname: "web1".into(),
        kernel: "Linux 6.1.0".into(),
        user: "deploy".into(),
        uid: 1000,
        pid: 4_194_304,
        delivery: "memfd".into(),
        policy,
        walls: vec!["landlock".into(), "seccomp".into()],
        seal_key: [11; 32],
        identity: (kind == StubKind::Hop).then(|| Identity { key: [12; 32], signature: vec![13; 64] }),
        compiles: kind == StubKind::Leaf,
    })
}

fn outcome(status: Status) -> Outcome {
    let good = status.is_done();
    Outcome {
        status,
        exit_code: good.then_some(125),
        signal: (!good).then_some(-9),
        stdout_bytes: u64::MAX,
        stderr_bytes: 0,
        stdout_truncated: good,
        stderr_truncated: !good,
        ms: 1500,
        walls: vec!["mount namespace".into()],
        problem: (!good).then(|| problem(None)),
        changes: if good { 0 } else { 300 },
        audit: good.then(|| hash(14)),
    }
}

fn dial() -> Dial {
    let target = |node: u32, kind, delivery| DialTarget {
        node: NodeId(node),
        last: NodeId(node + 9),
        kind,
        name: "db".into(),
        host: "2001:db8::1".into(),
        port: 65535,
        user: "root".into(),
        host_keys: vec![vec![0, 0, 0, 11, 255], vec![]],
        host_cas: vec![vec![7]],
        delivery,
    };
    let remembered = Some(Remembered { arch: Arch::Aarch64, exact: true });
    let full = Delivery {
        no_disk: true,
        dir: Some("/run/user/0".into()),
        installed: Some("/usr/libexec/waft-stub".into()),
        remembered,
    };
    Dial {
        targets: vec![target(2, StubKind::Hop, full), target(12, StubKind::Leaf, Delivery::default())],
        stubs: vec![StubBlob {
            arch: Arch::X86_64,
            kind: StubKind::Hop,
            hash: hash(9),
            bytes: 3_000_000,
            bytes_raw: 7_000_000_000,
        }],
        identities: vec![vec![1, 2, 3], vec![128]],
        connect_ms: 10_000,
    }
}

fn sign() -> SignRequest {
    SignRequest {
        node: NodeId(3),
        host_key: vec![1],
        session_id: vec![2; 32],
        host_signature: vec![3, 3],
        user: "op".into(),
        public_key: vec![],
        algorithm: "rsa-sha2-512".into(),
        to_sign: vec![4; 5],
    }
}

fn order(order: Order) -> Msg {
    Msg::Down { to: ranges(), order }
}

fn report(report: Report) -> Msg {
    Msg::Up { from: NodeId(300), report }
}

pub(crate) const FAST: Engine = Engine { arch: Arch::X86_64, profile: Profile::Fast };
pub(crate) const SMALL: Engine = Engine { arch: Arch::Aarch64, profile: Profile::Small };

pub(crate) fn samples() -> Vec<(String, Sample)> {
    let mut list: Vec<(String, Sample)> = Vec::new();
    let mut add = |name: &str, msg: Msg| list.push((name.into(), Sample::Msg(msg)));
    add("hello leaf", Msg::Hello(hello(StubKind::Leaf, FAST, Policy::Enforced)));
    add("hello hop", Msg::Hello(hello(StubKind::Hop, SMALL, Policy::Advisory)));
    add(
        "welcome",
        Msg::Welcome(Welcome {
            version_min: 1,
            version_max: 1,
            node: NodeId(5),
            last: NodeId(1_000_000),
            name: "web1".into(),
            controller: [0xc0; 32],
        }),
    );
    add("ping", Msg::Ping);
    add("pong", Msg::Pong);
    add("credit", Msg::Credit(65536));
    add("bye", Msg::Bye(problem(Some("check it"))));
    for kind in [BlobKind::Task, BlobKind::Artifact, BlobKind::File, BlobKind::Stub, BlobKind::Worker] {
        add(&format!("offer {}", kind.word()), Msg::Offer { hash: hash(1), kind, bytes: 1 << 30 });
        add(&format!("want {}", kind.word()), Msg::Want { hash: hash(2), kind });
    }
    add("missing", Msg::Missing { hash: hash(3) });
    add("dropped", Msg::Dropped { hash: hash(4) });
    add("chunk", Msg::Chunk { hash: hash(5), offset: 1 << 35, bytes: vec![0, 255, 128] });

    let inline = Input::Inline(b"{}".to_vec());
    let blob = Input::Blob { hash: hash(6), bytes: 16385 };
    let run_order = |input| Order::Run(Run { envelope: vec![1, 2], signature: vec![3; 64], input });
    add("order run inline", order(run_order(inline)));
    add("order run blob", order(run_order(blob)));
    add("order cancel", order(Order::Cancel { run: run() }));
    add("order dial", order(Order::Dial(dial())));
    add("order signed", order(Order::Signed { node: NodeId(3), signature: Ok(vec![1; 64]) }));
    add("order signed refused", order(Order::Signed { node: NodeId(3), signature: Err(problem(None)) }));
    add("order stop", order(Order::Stop));
    add("order ping", order(Order::Ping { nonce: 7 }));
    add("order secrets", order(Order::Secrets { run: run(), sealed: vec![21; 48] }));

    add("report joined", report(Report::Joined(hello(StubKind::Leaf, FAST, Policy::None))));
    add("report gone lost", report(Report::Gone { lost: true, problem: problem(Some("")) }));
    add("report gone unreachable", report(Report::Gone { lost: false, problem: problem(None) }));
    add("report silent", report(Report::Silent(true)));
    add("report learned", report(Report::Learned(Remembered { arch: Arch::X86_64, exact: false })));
    add("report sign", report(Report::Sign(Box::new(sign()))));
    for state in [TargetState::Selected, TargetState::Connecting, TargetState::Ready, TargetState::Running] {
        add(&format!("report state {}", state.word()), report(Report::State { run: run(), state }));
    }
    for stream in
        [Stream::Stdout, Stream::Stderr, Stream::Log, Stream::Progress, Stream::Change, Stream::Call]
    {
        let bytes = b"hello\n\xff".to_vec();
        add(
            &format!("report output {}", stream.word()),
            report(Report::Output { run: run(), stream, bytes }),
        );
    }
    for status in Status::ALL {
        let outcome = Box::new(outcome(status));
        let proof = if status == Status::Ok { vec![15; 64] } else { Vec::new() };
        add(
            &format!("report result {}", status.word()),
            report(Report::Result { run: run(), outcome, proof }),
        );
    }
    add("report no artifact", report(Report::NoArtifact { run: run(), engine: SMALL }));
    add("report dead letter", report(Report::DeadLetter { to: ranges(), problem: problem(None) }));
    add("report violation", report(Report::Violation { count: 1 << 31, problem: problem(None) }));
    add("report pong", report(Report::Pong { nonce: u32::MAX }));

    let envelope = Envelope {
        run: run(),
        task: "file".into(),
        targets: ranges(),
        module: hash(7),
        artifacts: vec![
            Artifact { engine: FAST, hash: hash(8), bytes: 40_000, worker: None },
            Artifact { engine: SMALL, hash: hash(9), bytes: 0, worker: Some(hash(20)) },
        ],
        params: hash(10),
        grants: vec!["fs:/etc:rw".into(), "mem:64M".into()],
        check: true,
        timeout_ms: 30_000,
        expires: 1_800_000_000,
        nonce: [1, 2, 3, 4, 5, 6, 7, 8],
        wall: Wall::Required,
        diff: true,
        task_signatures: vec![Bytes(vec![16; 3])],
        approval: Some(Approval { document: b"{}".to_vec(), signatures: vec![Bytes(vec![17; 2])] }),
        callees: vec![Callee {
            name: "facts".into(),
            module: hash(18),
            artifacts: vec![Artifact { engine: FAST, hash: hash(19), bytes: 1, worker: None }],
            grants: vec!["facts".into()],
        }],
        files: vec![FileBlob { hash: hash(20), bytes: 1 << 40 }],
        audit: Some(hash(22)),
    };
    list.push(("envelope".into(), Sample::Envelope(Box::new(envelope))));
    list.push((
        "frame control".into(),
        Sample::Frame(Lane::Control, vec![Msg::Ping, Msg::Credit(1), Msg::Pong]),
    ));
    let output = Report::Output { run: run(), stream: Stream::Log, bytes: vec![b'x'; 300] };
    list.push(("frame bulk".into(), Sample::Frame(Lane::Bulk, vec![report(output)])));
    list.extend(pieces());
    list
}

/// Forms in which bytes of a blob come besides `Chunk`.
fn pieces() -> Vec<(String, Sample)> {
    let dictionary = Some(Dictionary { from: hash(6), at: 1 << 20, bytes: 24_576 });
    let bytes = vec![0x4b, 0x4c, 0x4a, 0x06, 0x00];
    let packed = |offset, dictionary| {
        Sample::Msg(Msg::Packed { hash: hash(5), offset, size: 3, dictionary, bytes: bytes.clone() })
    };
    let copy = Msg::Copy { hash: hash(5), offset: 300, from: hash(6), at: 1 << 35, bytes: 1 << 20 };
    vec![
        ("packed".into(), packed(0, None)),
        ("packed with dictionary".into(), packed(1 << 35, dictionary)),
        ("copy".into(), Sample::Msg(copy)),
    ]
}

/// The kind of a message, by matches that do not compile when a variant is added: then add it to
/// [`KINDS`], to [`samples`] and to a golden file of a new version.
pub(crate) fn kind_of(msg: &Msg) -> &'static str {
    match msg {
        Msg::Hello(_) => "Hello",
        Msg::Welcome(_) => "Welcome",
        Msg::Ping => "Ping",
        Msg::Pong => "Pong",
        Msg::Credit(_) => "Credit",
        Msg::Bye(_) => "Bye",
        Msg::Offer { .. } => "Offer",
        Msg::Want { .. } => "Want",
        Msg::Missing { .. } => "Missing",
        Msg::Dropped { .. } => "Dropped",
        Msg::Chunk { .. } => "Chunk",
        Msg::Packed { .. } => "Packed",
        Msg::Copy { .. } => "Copy",
        Msg::Down { order, .. } => match order {
            Order::Run(Run { input: Input::Inline(_), .. }) => "Run inline",
            Order::Run(Run { input: Input::Blob { .. }, .. }) => "Run blob",
            Order::Cancel { .. } => "Cancel",
            Order::Dial(_) => "Dial",
            Order::Signed { signature: Ok(_), .. } => "Signed",
            Order::Signed { signature: Err(_), .. } => "Signed refused",
            Order::Stop => "Stop",
            Order::Ping { .. } => "Order ping",
            Order::Secrets { .. } => "Secrets",
        },
        Msg::Up { report, .. } => match report {
            Report::Joined(_) => "Joined",
            Report::Gone { .. } => "Gone",
            Report::Silent(_) => "Silent",
            Report::Learned(_) => "Learned",
            Report::Sign(_) => "Sign",
            Report::State { .. } => "State",
            Report::Output { .. } => "Output",
            Report::Result { .. } => "Result",
            Report::NoArtifact { .. } => "NoArtifact",
            Report::DeadLetter { .. } => "DeadLetter",
            Report::Violation { .. } => "Violation",
            Report::Pong { .. } => "Report pong",
        },
    }
}

pub(crate) const KINDS: [&str; 34] = [
    "Hello",
    "Welcome",
    "Ping",
    "Pong",
    "Credit",
    "Bye",
    "Offer",
    "Want",
    "Missing",
    "Dropped",
    "Chunk",
    "Run inline",
    "Run blob",
    "Cancel",
    "Dial",
    "Signed",
    "Signed refused",
    "Stop",
    "Joined",
    "Gone",
    "Silent",
    "Learned",
    "Sign",
    "State",
    "Output",
    "Result",
    "NoArtifact",
    "DeadLetter",
    "Violation",
    "Order ping",
    "Report pong",
    "Secrets",
    "Packed",
    "Copy",
];
