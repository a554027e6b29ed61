//! What a login shell may print, in whatever portions. The words of the delivery line itself are compared with
//! real shells in `delivery/tests.rs`.

use super::*;

const HOST: &str = "web-1";
const PROBE: &[u8] = b"WAFT1 Linux x86_64 perl 1 1\n";
/// What a stub says after its preamble; opaque here, with the marker and line breaks as a trap.
const FRAMES: &[u8] = b"\x01\x00\nWAFT-LINK\n\nWAFT1-FAIL short\n\xff";

/// Everything that came out of one stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Heard {
    probes: Vec<Probe>,
    /// The bytes behind the preamble, once it came.
    frames: Option<Vec<u8>>,
    problem: Option<Problem>,
    noise: Option<String>,
}

fn hear<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let (mut intro, mut heard) = (Intro::default(), Heard::default());
    for portion in portions {
        if let Some(frames) = &mut heard.frames {
            frames.extend_from_slice(portion);
            continue;
        }
        intro.feed(portion);
        loop {
            match intro.next(HOST) {
                Ok(Some(Said::Probe(probe))) => heard.probes.push(probe),
                Ok(Some(Said::Preamble(rest))) => {
                    heard.frames = Some(rest);
                    break;
                }
                Ok(None) => break,
                Err(problem) => return Heard { problem: Some(problem), ..heard },
            }
        }
    }
    heard.noise = intro.noise();
    heard
}

fn whole(bytes: &[u8]) -> Heard {
    hear([bytes])
}

fn code(heard: &Heard) -> &str {
    heard.problem.as_ref().map_or("", |problem| &problem.code)
}

fn perl() -> Probe {
    Probe { system: "Linux".into(), machine: "x86_64".into(), reader: "perl".into(), exact: true, gzip: true }
}

/// A stream of a good target, behind that noise.
fn good(noise: &[u8]) -> Vec<u8> {
    [noise, PROBE, PREAMBLE, FRAMES].concat()
}

/// Streams worth cutting: each with a name for the message.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let long = |bytes: usize| vec![b'='; bytes];
    let mut streams = vec![
        ("nothing but ours", good(b"")),
        ("a banner", good(b"Welcome!\r\n\r\n")),
        ("a banner without line break", good(b"Last login: today")),
        ("breaks only", good(b"\n\n\n")),
        ("no text", good(&[0, 0xff, 0xc3, b'\n', 0xfe])),
        ("a word of ours in the noise", good(b"WAFT1 is great\nsee WAFT1 and ")),
        ("half a preamble in the noise", good(b"\nWAFT-LIN\n\nWAFT-LIN")),
        ("noise between the probe and the preamble", [PROBE, b"gzip: hm", PREAMBLE, FRAMES].concat()),
        ("no probe at all", [b"hm", PREAMBLE, FRAMES].concat()),
        ("a failure", [PROBE, b"WAFT1-FAIL dir  /dev/shm\nmore"].concat()),
        ("a failure behind noise", b"oops: WAFT1-FAIL short\n".to_vec()),
        ("a failure without end", [b"WAFT1-FAIL dir ".to_vec(), long(2 * LINE_BYTES_MAX)].concat()),
        ("an end in the middle of a line", b"hello\nsh: not fou".to_vec()),
        ("an end in the middle of the probe", b"hello\nWAFT1 Linux".to_vec()),
    ];
    // Around the length at which a line is cut, so that each word lies across the cut in some of them.
    for excess in 0..2 * FAIL_WORD.len() {
        let noise = long(LINE_BYTES_MAX - FAIL_WORD.len() - PROBE_WORD.len() + excess);
        streams.push(("a long line, then the probe", good(&noise)));
        streams.push(("a long line, then a failure", [noise.as_slice(), b"WAFT1-FAIL short\n"].concat()));
    }
    streams
}

#[test]
fn noise_before_the_probe_is_skipped() {
    let heard = whole(&good(b"Welcome to web-1\nlast login: never\n"));
    let expected = Heard {
        probes: vec![perl()],
        frames: Some(FRAMES.to_vec()),
        noise: heard.noise.clone(),
        problem: None,
    };
    assert_eq!(heard, expected);
    assert_eq!(heard.noise.as_deref(), Some("Welcome to web-1 last login: never"));
}

#[test]
fn a_banner_without_line_break_does_not_hide_the_probe() {
    assert_eq!(whole(&good(b"password expires in 3 days ")).probes, [perl()]);
}

#[test]
fn a_line_longer_than_any_of_ours_does_not_hide_the_probe() {
    for (name, stream) in streams().iter().filter(|(name, _)| name.ends_with("then the probe")) {
        assert_eq!(whole(stream).probes, [perl()], "{name}, {} bytes", stream.len());
    }
}

#[test]
fn noise_that_begins_like_a_probe_is_noise() {
    for line in
        ["WAFT1 is great", "WAFT1 Linux x86_64 perl 1", "WAFT1 Linux x86_64 perl 1 1 1", "WAFT1 a b c yes 1"]
    {
        let heard = whole(&good(format!("{line}\n").as_bytes()));
        assert_eq!(heard.probes, [perl()], "{line}");
    }
}

#[test]
fn a_stub_without_a_probe_is_heard() {
    let heard = whole(&[PREAMBLE, FRAMES].concat());
    assert_eq!((heard.probes, heard.frames), (vec![], Some(FRAMES.to_vec())));
}

#[test]
fn the_preamble_stands_alone_after_noise_without_line_break() {
    let heard = whole(&[PROBE, b"tput: unknown terminal", PREAMBLE, FRAMES].concat());
    assert_eq!((heard.probes, heard.frames), (vec![perl()], Some(FRAMES.to_vec())));
}

#[test]
fn the_preamble_is_given_once() {
    let mut intro = Intro::default();
    intro.feed(PREAMBLE);
    assert_eq!(intro.next(HOST), Ok(Some(Said::Preamble(vec![]))));
    assert_eq!(intro.next(HOST), Ok(None));
}

#[test]
fn each_failure_has_its_own_code_and_names_the_host() {
    for (line, code, part) in [
        ("arch i686", "delivery.arch", "i686"),
        ("reader", "delivery.reader", "head, dd, perl or python3"),
        ("gzip", "delivery.gzip", "gzip"),
        ("short", "delivery.short", "whole"),
        ("memfd no perl or python3", "delivery.no_disk", "no perl or python3"),
        ("dir  /run/user/0 /dev/shm", "delivery.dir", "/run/user/0 /dev/shm"),
        ("write /dev/shm/.waft-1 gzip: no space", "delivery.write", "no space"),
        ("something new", "delivery.failed", "something new"),
    ] {
        let problem = whole(format!("hm\nWAFT1-FAIL {line}\n").as_bytes()).problem.expect(line);
        assert_eq!(problem.code, code);
        assert!(problem.message.contains(HOST), "{}", problem.message);
        assert!(problem.message.contains(part), "{}", problem.message);
    }
}

#[test]
fn a_failure_loses_its_control_characters() {
    let problem = whole(b"WAFT1-FAIL dir \x1b[2J/tmp\x07\n").problem.expect("a failure");
    assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
}

#[test]
fn noise_has_a_limit() {
    let line = [vec![b'='; 99], b"\n".to_vec()].concat();
    let lines = NOISE_BYTES_MAX / line.len();
    assert_eq!(whole(&good(&line.repeat(lines))).probes, [perl()]);
    assert_eq!(code(&whole(&good(&line.repeat(lines + 1)))), "delivery.noise");
    assert_eq!(code(&whole(&vec![b'='; NOISE_BYTES_MAX + 2 * LINE_BYTES_MAX])), "delivery.noise");
}

#[test]
fn a_target_that_fails_while_the_stub_is_written_is_heard_without_consuming() {
    let mut intro = Intro::default();
    intro.feed(PROBE);
    intro.feed(b"WAFT1-FAIL arch i6");
    assert_eq!(intro.check(HOST), Ok(()));
    intro.feed(b"86\n");
    assert_eq!(intro.check(HOST).map_err(|problem| problem.code), Err("delivery.arch".to_owned()));
    assert_eq!(intro.next(HOST), Ok(Some(Said::Probe(perl()))));
    assert_eq!(intro.check(HOST).map_err(|problem| problem.code), Err("delivery.arch".to_owned()));
}

#[test]
fn a_target_that_talks_while_the_stub_is_written_is_stopped() {
    let mut intro = Intro::default();
    intro.feed(&vec![b'='; NOISE_BYTES_MAX]);
    assert_eq!(intro.check(HOST), Ok(()));
    intro.feed(b"=");
    assert_eq!(intro.check(HOST).map_err(|problem| problem.code), Err("delivery.noise".to_owned()));
}

#[test]
fn only_linux_machines_with_a_stub_have_an_arch() {
    let machine =
        |system: &str, machine: &str| Probe { system: system.into(), machine: machine.into(), ..perl() };
    assert_eq!(machine("Linux", "x86_64").arch(), Some(Arch::X86_64));
    assert_eq!(machine("Linux", "aarch64").arch(), Some(Arch::Aarch64));
    assert_eq!(machine("Linux", "i686").arch(), None);
    assert_eq!(machine("Darwin", "arm64").arch(), None);
    assert_eq!(machine("unknown", "unknown").remembered(), None);
}

#[test]
fn remembered_as_exact_only_with_gzip() {
    let exact = |exact, gzip| Probe { exact, gzip, ..perl() }.remembered().map(|remembered| remembered.exact);
    assert_eq!(exact(true, true), Some(true));
    assert_eq!(exact(false, true), Some(false));
    assert_eq!(exact(true, false), Some(false));
}

#[test]
fn single_bytes_give_the_same() {
    for (name, stream) in streams() {
        assert_eq!(hear(stream.chunks(1)), whole(&stream), "{name}, {} bytes", stream.len());
    }
}

#[test]
fn every_cut_in_two_gives_the_same() {
    // The long streams are cut everywhere too, by the test of random portions.
    for (name, stream) in streams().into_iter().filter(|(_, stream)| stream.len() < 1000) {
        let expected = whole(&stream);
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(hear([left, right]), expected, "{name}, cut at {at}");
        }
    }
}

#[test]
fn any_portions_give_the_same() {
    const ROUNDS: u64 = 9;
    for (name, stream) in streams() {
        let expected = whole(&stream);
        for seed in 1..=ROUNDS {
            let mut chance = Chance(seed);
            // Small portions in some rounds, portions around the limit of a line in others.
            let longest = [3, 40, 2 * LINE_BYTES_MAX][chance.below(3)];
            let (mut portions, mut rest) = (Vec::new(), stream.as_slice());
            while !rest.is_empty() {
                let (portion, after) = rest.split_at((1 + chance.below(longest)).min(rest.len()));
                portions.push(portion);
                rest = after;
            }
            assert_eq!(hear(portions), expected, "{name}, {} bytes, seed {seed}", stream.len());
        }
    }
}

/// SplitMix64: the same portions in every run, so that a failure can be repeated from its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap_or_default()
    }
}
