use super::*;
use crate::id::{Hash, NodeId};
use crate::msg::*;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;

fn hello() -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        kind: StubKind::Leaf,
        engine: Engine { arch: Arch::X86_64, profile: Profile::Fast },
        release: "0".into(),
        hostname: "h".into(),
        kernel: "k".into(),
        user: "u".into(),
        uid: 0,
        pid: 1,
        delivery: "memfd".into(),
        policy: Policy::None,
        walls: Vec::new(),
        seal_key: [0; 32],
        identity: None,
        compiles: false,
    }
}

fn frame(lane: Lane, messages: &[Msg]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(lane, &messages.iter().flat_map(Msg::encode).collect::<Vec<u8>>(), &mut out).unwrap();
    out
}

/// What a link makes of a frame.
fn receive(link: &mut Link, lane: Lane, messages: &[Msg], now: u64) -> Result<Vec<LinkEvent>, Problem> {
    let mut events = Vec::new();
    link.receive(&frame(lane, messages), now, &mut events).map(|()| events)
}

fn greeted() -> Link {
    let mut link = Link::new(Role::Parent, 0);
    let events = receive(&mut link, Lane::Control, &[Msg::Hello(Box::new(hello()))], 0).unwrap();
    assert_eq!(events, [LinkEvent::Hello(hello())]);
    link
}

/// The frames a link wants to send, as messages.
fn transmitted(link: &mut Link, now: u64) -> Vec<Vec<Msg>> {
    let (mut out, mut sent) = (Vec::new(), Vec::new());
    while link.poll_transmit(now, &mut out, &mut sent) {}
    let (mut rest, mut decoder, mut frames) = (out.as_slice(), Decoder::default(), Vec::new());
    while let Some(frame) = decoder.next(&mut rest).unwrap() {
        frames.push(Msg::decode_all(&frame.body).unwrap().into_iter().map(|(msg, _)| msg).collect());
    }
    frames
}

fn chunk(bytes: usize) -> Msg {
    Msg::Chunk { hash: Hash([0; 32]), offset: 0, bytes: vec![0; bytes] }
}

#[test]
fn the_first_message_is_the_right_one() {
    for first in [Msg::Ping, Msg::Missing { hash: Hash([0; 32]) }] {
        assert!(receive(&mut Link::new(Role::Parent, 0), Lane::Control, &[first], 0).is_err());
    }
    assert!(
        receive(&mut Link::new(Role::Child, 0), Lane::Control, &[Msg::Hello(Box::new(hello()))], 0).is_err()
    );
    assert!(
        receive(&mut greeted(), Lane::Control, &[Msg::Hello(Box::new(hello()))], 0).is_err(),
        "a second hello"
    );
}

#[test]
fn versions_that_do_not_meet_end_the_link_with_both_ranges() {
    for (min, max) in [(VERSION_MAX + 1, VERSION_MAX + 3), (0, 0), (VERSION_MAX, VERSION_MIN - 1)] {
        let hello = Hello { version_min: min, version_max: max, ..hello() };
        let problem =
            receive(&mut Link::new(Role::Parent, 0), Lane::Control, &[Msg::Hello(Box::new(hello))], 0)
                .unwrap_err();
        assert_eq!(problem.code, "link.version");
        assert!(problem.message.contains(&max.to_string()));
    }
    let newer = Hello { version_max: VERSION_MAX + 9, ..hello() };
    assert!(
        receive(&mut Link::new(Role::Parent, 0), Lane::Control, &[Msg::Hello(Box::new(newer))], 0).is_ok()
    );
}

#[test]
fn a_hello_longer_than_its_limit_is_refused() {
    let long = Hello { hostname: "x".repeat(HELLO_BYTES_MAX), ..hello() };
    assert!(
        receive(&mut Link::new(Role::Parent, 0), Lane::Control, &[Msg::Hello(Box::new(long))], 0).is_err()
    );
}

#[test]
fn control_goes_before_bulk() {
    let mut link = greeted();
    link.queue(Lane::Bulk, &chunk(10), None).unwrap();
    link.send(&Msg::Ping);
    assert_eq!(transmitted(&mut link, 0), [vec![Msg::Ping], vec![chunk(10)]]);
}

#[test]
fn bulk_stops_without_credit_and_goes_on_with_it() {
    let mut link = greeted();
    let size = chunk(30_000).encode().len();
    for _ in 0..12 {
        link.queue(Lane::Bulk, &chunk(30_000), None).unwrap();
    }
    let fit = WINDOW_INITIAL_BYTES as usize / size;
    assert_eq!(transmitted(&mut link, 0).concat().len(), fit);
    assert!(!link.wants_transmit());
    assert_eq!(link.bulk_room(), 0);
    receive(&mut link, Lane::Control, &[Msg::Credit(size as u32)], 0).unwrap();
    assert_eq!(transmitted(&mut link, 0).concat().len(), 1);
}

#[test]
fn credit_has_a_top() {
    let mut link = greeted();
    assert!(receive(&mut link, Lane::Control, &[Msg::Credit(CREDIT_MAX - WINDOW_INITIAL_BYTES)], 0).is_ok());
    assert!(receive(&mut link, Lane::Control, &[Msg::Credit(1)], 0).is_err());
}

#[test]
fn more_bulk_than_granted_is_a_breach_and_less_is_not() {
    let mut link = greeted();
    let size = chunk(30_000).encode().len() as u32;
    let fit = WINDOW_INITIAL_BYTES / size;
    for _ in 0..fit {
        receive(&mut link, Lane::Bulk, &[chunk(30_000)], 0).unwrap();
    }
    assert!(receive(&mut link, Lane::Bulk, &[chunk(30_000)], 0).is_err());

    let mut link = greeted();
    for _ in 0..fit * 3 {
        receive(&mut link, Lane::Bulk, &[chunk(30_000)], 0).unwrap();
        link.consumed(size);
    }
    let given: u32 = transmitted(&mut link, 0)
        .concat()
        .iter()
        .map(|msg| if let Msg::Credit(bytes) = msg { *bytes } else { 0 })
        .sum();
    assert!(given > size * (fit * 3 - 4), "{given} bytes were given back");
}

#[test]
fn messages_keep_to_their_lanes() {
    assert!(receive(&mut greeted(), Lane::Control, &[chunk(1)], 0).is_err());
    assert!(receive(&mut greeted(), Lane::Bulk, &[Msg::Ping], 0).is_err());
    assert!(receive(&mut greeted(), Lane::Bulk, &[Msg::Bye(Problem::new("a", "b"))], 0).is_err());
}

#[test]
fn a_frame_never_holds_more_messages_than_may_be_read() {
    let mut link = greeted();
    let small = Msg::Up { from: NodeId(1), report: Report::Silent(true) };
    for _ in 0..MESSAGES_PER_FRAME_MAX + 10 {
        link.send(&small);
    }
    let frames = transmitted(&mut link, 0);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [MESSAGES_PER_FRAME_MAX, 10]);
}

#[test]
fn a_message_that_no_frame_holds_is_not_queued() {
    let mut link = greeted();
    let error = link.queue(Lane::Control, &Msg::Bye(Problem::new("a", "x".repeat(BODY_BYTES_MAX))), None);
    assert!(matches!(error, Err(TooLong(bytes)) if bytes > BODY_BYTES_MAX));
    assert!(!link.wants_transmit());
}

#[test]
fn a_peer_that_reads_nothing_is_given_up() {
    let mut link = greeted();
    let bye = Msg::Bye(Problem::new("a", "x".repeat(1000)));
    for _ in 0..2 * CONTROL_QUEUE_BYTES_MAX / 1000 {
        link.send(&bye);
    }
    assert!(link.control_queued() < CONTROL_QUEUE_BYTES_MAX + 2000);
    assert_eq!(link.poll_timeout(), Some(0), "at once");
    let problem = link.handle_timeout(1, &mut Vec::new()).unwrap_err();
    assert_eq!(problem.code, "link.stuck");
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn a_flood_of_pings_gets_one_pong_at_a_time() {
    let mut link = greeted();
    receive(&mut link, Lane::Control, &vec![Msg::Ping; 4000], 0).unwrap();
    assert_eq!(transmitted(&mut link, 0), [vec![Msg::Pong]]);
    receive(&mut link, Lane::Control, &[Msg::Ping], 0).unwrap();
    assert_eq!(transmitted(&mut link, 0), [vec![Msg::Pong]]);
}

#[test]
fn the_hello_is_due_after_the_preamble() {
    let mut link: Link = Link::new(Role::Parent, 100);
    assert_eq!(link.poll_timeout(), Some(100 + DELIVERY_DEADLINE_MS));
    link.started(5_000);
    assert_eq!(link.poll_timeout(), Some(5_000 + HELLO_DEADLINE_MS));
    assert!(link.handle_timeout(4_999 + HELLO_DEADLINE_MS, &mut Vec::new()).is_ok());
    assert!(link.handle_timeout(5_000 + HELLO_DEADLINE_MS, &mut Vec::new()).is_err());
    let child: Link = Link::new(Role::Child, 100);
    assert_eq!(child.poll_timeout(), Some(100 + HELLO_DEADLINE_MS));
}

#[test]
fn a_busy_link_is_not_pinged() {
    let mut link = greeted();
    for step in 1..10 {
        let now = step * KEEPALIVE_INTERVAL_MS;
        receive(&mut link, Lane::Control, &[Msg::Pong], now - 1).unwrap();
        link.send(&Msg::Credit(1));
        transmitted(&mut link, now - 1);
        link.handle_timeout(now, &mut Vec::new()).unwrap();
        assert!(!link.wants_transmit(), "step {step}");
    }
}

#[test]
fn the_end_is_the_end() {
    let mut link = greeted();
    let problem = Problem::new("a", "b");
    let events = receive(
        &mut link,
        Lane::Control,
        &[Msg::Bye(problem.clone()), Msg::Dropped { hash: Hash([1; 32]) }],
        0,
    );
    assert_eq!(events, Ok(vec![LinkEvent::Bye(problem)]));
    assert_eq!(receive(&mut link, Lane::Control, &[Msg::Dropped { hash: Hash([1; 32]) }], 0), Ok(vec![]));
    assert_eq!(link.poll_timeout(), None);

    let mut link = greeted();
    link.end(Problem::new("a".repeat(100).as_str(), "é".repeat(PROBLEM_TEXT_BYTES_MAX)));
    let words = transmitted(&mut link, 0).concat();
    let [Msg::Bye(problem)] = words.as_slice() else { panic!("one last word: {words:?}") };
    assert_eq!((problem.code.len(), problem.message.len()), (PROBLEM_CODE_BYTES_MAX, PROBLEM_TEXT_BYTES_MAX));
}
