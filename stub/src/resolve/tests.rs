//! With real sockets, a name server on loopback that answers as it is told, and programs that pretend to be `getent`.

use super::dns::{Answer, Kind, Name, answer, question};
use super::{NAME_BYTES_MAX, Resolver};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

pub(crate) const OK: u16 = 0x8180;
const CUT: u16 = 0x8380;
const NO_NAME: u16 = 0x8183;
const BROKEN: u16 = 0x8182;

/// What a fake server is asked.
pub(crate) struct Asked {
    pub(crate) message: Vec<u8>,
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
}

impl Asked {
    fn read(message: &[u8], tcp: bool) -> Asked {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
            at = end;
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        Asked { message: message.to_vec(), name: labels.join("."), kind, tcp }
    }

    /// An answer with records `(owner, kind, data)`; the owner as it is sent.
    pub(crate) fn reply(&self, flags: u16, records: &[(Vec<u8>, u16, Vec<u8>)]) -> Vec<u8> {
        let mut reply = self.message.clone();
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        reply[6..8].copy_from_slice(&u16::try_from(records.len()).expect("few").to_be_bytes());
        for (owner, kind, data) in records {
            reply.extend_from_slice(owner);
            reply.extend_from_slice(&kind.to_be_bytes());
            reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            reply.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
            reply.extend_from_slice(data);
        }
        reply
    }

    /// The address for a question after IPv4, and none for another.
    pub(crate) fn v4(&self, address: [u8; 4]) -> Vec<Vec<u8>> {
        let records = if self.kind == 1 { vec![(asked_name(), 1, address.to_vec())] } else { Vec::new() };
        vec![self.reply(OK, &records)]
    }
}

/// A pointer to the name in the question.
fn asked_name() -> Vec<u8> {
    vec![0xc0, 12]
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).expect("short"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A name server on loopback, over UDP and TCP; it ends with the runtime.
pub(crate) struct Fake {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<(String, u16, bool)>>>,
}

impl Fake {
    pub(crate) async fn start(answers: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Fake {
        Fake::start_at(Ipv4Addr::LOCALHOST, answers).await
    }

    async fn start_at(
        ip: Ipv4Addr,
        answers: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Fake {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((ip, 0)).await.expect("a port");
            let port = tcp.local_addr().expect("bound").port();
            if let Ok(udp) = UdpSocket::bind((ip, port)).await {
                break (tcp, udp);
            }
        };
        let port = udp.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, log) = (Arc::new(answers), asked.clone());
        let note = move |asked: &Asked| {
            log.lock().expect("whole").push((asked.name.clone(), asked.kind, asked.tcp));
        };
        let (answers_tcp, note_tcp) = (answers.clone(), note.clone());
        tokio::spawn(async move {
            let mut bytes = [0; 2048];
            while let Ok((read, from)) = udp.recv_from(&mut bytes).await {
                let asked = Asked::read(&bytes[..read], false);
                note(&asked);
                for reply in answers(&asked) {
                    udp.send_to(&reply, from).await.expect("sent");
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut length = [0; 2];
                stream.read_exact(&mut length).await.expect("a length");
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).await.expect("a message");
                let asked = Asked::read(&message, true);
                note_tcp(&asked);
                for reply in answers_tcp(&asked) {
                    let length = u16::try_from(reply.len()).expect("short").to_be_bytes();
                    stream.write_all(&[&length[..], &reply].concat()).await.expect("sent");
                }
            }
        });
        Fake { port, asked }
    }

    /// The names asked for, IPv4 only, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("whole");
        asked.iter().filter(|(_, kind, _)| *kind == 1).map(|(name, ..)| name.clone()).collect()
    }

    fn by_tcp(&self) -> usize {
        self.asked.lock().expect("whole").iter().filter(|(.., tcp)| *tcp).count()
    }
}

/// A directory with a hosts file and a resolv.conf.
pub(crate) fn files(hosts: &str, servers: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("hosts"), hosts).expect("written");
    fs::write(dir.path().join("resolv.conf"), servers).expect("written");
    dir
}

pub(crate) fn resolver(dir: &TempDir, port: u16) -> Resolver {
    Resolver::of_files(&dir.path().join("hosts"), &dir.path().join("resolv.conf"), port)
}

const ONE_SERVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

fn ips(found: Result<Vec<SocketAddr>, String>) -> Vec<String> {
    found.expect("resolved").iter().map(|address| address.ip().to_string()).collect()
}

#[test]
fn addresses_names_of_the_hosts_file_and_localhost_ask_nobody() {
    let hosts = "10.0.0.5 db.internal DB # not.this\n\nbad line\n::1 six\nfe80::1%7 link\n10.0.0.6\tdb\n";
    // A server that is not there: asking it would be an error.
    let dir = files(hosts, ONE_SERVER);
    let resolver = resolver(&dir, 1);
    let found = |name: &str| block_on(resolver.resolve(name, 22));
    assert_eq!(found("192.0.2.7").expect("itself")[0].to_string(), "192.0.2.7:22");
    assert_eq!(found("2001:db8::7").expect("itself")[0].to_string(), "[2001:db8::7]:22");
    assert_eq!(ips(found("db.internal")), ["10.0.0.5"]);
    assert_eq!(ips(found("dB.")), ["10.0.0.5", "10.0.0.6"]);
    assert_eq!(found("link").expect("with its interface")[0].to_string(), "[fe80::1%7]:22");
    assert_eq!(found("fe80::2%9").expect("with its interface")[0].to_string(), "[fe80::2%9]:22");
    assert_eq!(ips(found("LOCALHOST")), ["127.0.0.1", "::1"]);
    assert_eq!(ips(found("a.localhost")), ["127.0.0.1", "::1"]);
    assert!(found("not.this").expect_err("a comment").contains("no name server answered: 127.0.0.1"));
    for odd in ["", "-s", "a b", "a\nb", "a\0b", &"a".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(found(odd), Err("it is no name of a host".to_owned()), "{odd:?}");
    }
}

#[test]
fn a_server_is_asked_for_both_families_and_aliases_are_followed() {
    block_on(async {
        let fake = Fake::start(|asked| {
            let stranger = (wire("evil.test"), asked.kind, vec![6; if asked.kind == 1 { 4 } else { 16 }]);
            let alias = (asked_name(), 5, wire("B.test"));
            let address = match asked.kind {
                1 => (wire("b.TEST"), 1, vec![192, 0, 2, 1]),
                _ => (wire("b.test"), 28, vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            };
            vec![asked.reply(OK, &[stranger, address, alias])]
        })
        .await;
        let dir = files("", ONE_SERVER);
        let found = resolver(&dir, fake.port).resolve("a.test", 443).await.expect("found");
        assert_eq!(found, ["192.0.2.1:443".parse().expect("v4"), "[2001:db8::1]:443".parse().expect("v6")]);
    });
}

#[test]
fn names_with_few_dots_are_searched_for_and_a_failure_ends_the_search() {
    block_on(async {
        let fake = Fake::start(|asked| match asked.name.as_str() {
            "db.one.test" => vec![asked.reply(NO_NAME, &[])],
            "db.two.test" | "a.b" => asked.v4([192, 0, 2, 2]),
            "ill.one.test" => vec![asked.reply(BROKEN, &[])],
            _ => vec![asked.reply(NO_NAME, &[])],
        })
        .await;
        let dir = files("", &format!("search ignored\nsearch one.test two.test.\n{ONE_SERVER}"));
        let resolver = resolver(&dir, fake.port);
        assert_eq!(ips(resolver.resolve("db", 1).await), ["192.0.2.2"]);
        assert_eq!(ips(resolver.resolve("a.b", 1).await), ["192.0.2.2"]);
        assert_eq!(resolver.resolve("no", 1).await, Err("there is no such name".to_owned()));
        let ill = resolver.resolve("ill", 1).await.expect_err("the server failed");
        assert_eq!(ill, "no name server answered: 127.0.0.1");
        let asked = ["db.one.test", "db.two.test", "a.b", "no.one.test", "no.two.test", "no", "ill.one.test"];
        assert_eq!(fake.names(), asked);
    });
}

#[test]
fn the_next_server_is_asked_when_one_is_down() {
    block_on(async {
        let fake = Fake::start_at(Ipv4Addr::new(127, 0, 0, 2), |asked| asked.v4([192, 0, 2, 3])).await;
        let dir = files("", "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n");
        assert_eq!(ips(resolver(&dir, fake.port).resolve("a.test", 1).await), ["192.0.2.3"]);
    });
}

#[test]
fn forged_answers_before_the_right_one_are_passed_over() {
    block_on(async {
        let fake = Fake::start(|asked| {
            let forged = asked.v4([6, 6, 6, 6]).remove(0);
            let mut other_id = forged.clone();
            other_id[0] ^= 1;
            let mut other_name = forged.clone();
            other_name[13] ^= 2;
            let mut no_answer = forged.clone();
            no_answer[2] &= 0x7f;
            let replies = [other_id, other_name, no_answer, forged[..forged.len() - 1].to_vec(), Vec::new()];
            let only_forged = asked.name == "forged.test";
            let right = if only_forged { Vec::new() } else { asked.v4([192, 0, 2, 4]) };
            // Without the last one, a question after IPv6 has a whole answer that is cut by a byte.
            replies.into_iter().chain(right).collect()
        })
        .await;
        let dir = files("", ONE_SERVER);
        let resolver = resolver(&dir, fake.port);
        assert_eq!(ips(resolver.resolve("a.test", 1).await), ["192.0.2.4"]);
        let failed = resolver.resolve("forged.test", 1).await.expect_err("nobody answered");
        assert_eq!(failed, "no name server answered: 127.0.0.1");
    });
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    block_on(async {
        let fake = Fake::start(|asked| match asked.tcp {
            false => vec![asked.reply(CUT, &[])],
            // More than a datagram takes, and more than is kept.
            true => {
                let one = |at: u8| (asked_name(), 1, vec![192, 0, 2, at]);
                let all: Vec<_> = (1..=60).map(one).collect();
                vec![asked.reply(OK, if asked.kind == 1 { &all } else { &[] })]
            }
        })
        .await;
        let dir = files("", ONE_SERVER);
        let found = ips(resolver(&dir, fake.port).resolve("a.test", 1).await);
        assert_eq!((found.len(), found[0].as_str()), (super::ADDRESSES_MAX, "192.0.2.1"));
        assert_eq!(fake.by_tcp(), 2);
    });
}

fn asked(name: &str) -> (Name, Asked) {
    let name = Name::parse(name).expect("a name");
    let asked = Asked::read(&question(7, &name, Kind::V4), false);
    (name, asked)
}

#[test]
fn names_that_point_in_circles_are_no_answers() {
    let (name, asked) = asked("a.test");
    let says = |owner: Vec<u8>| {
        let message = asked.reply(OK, &[(owner, 1, vec![1, 2, 3, 4])]);
        answer(&message, 7, &name, Kind::V4)
    };
    assert_eq!(says(asked_name()), Answer::Addresses(vec![IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))]));
    // The answer's records begin at 12 + 8 + 4.
    assert_eq!(says(vec![0xc0, 24]), Answer::Foreign, "to itself");
    assert_eq!(says(vec![1, b'x', 0xc0, 24]), Answer::Foreign, "to its begin");
    assert_eq!(says(vec![0xc0, 26]), Answer::Foreign, "forward");
    assert_eq!(says(vec![0xff, 0xff]), Answer::Foreign, "beyond the end");
    assert_eq!(says(vec![0x40, 1]), Answer::Foreign, "a form that was never used");
    assert_eq!(says([[1, b'x'].repeat(200), vec![0]].concat()), Answer::Foreign, "too long");
    // Two names that point at each other: the second goes back to the first, which points forward.
    let circle =
        asked.reply(OK, &[(vec![0xc0, 40], 5, vec![0xc0, 24]), (vec![0xc0, 24], 1, vec![1, 2, 3, 4])]);
    assert_eq!(answer(&circle, 7, &name, Kind::V4), Answer::Foreign);
}

#[test]
fn aliases_in_circles_and_long_chains_of_them_fail() {
    let (name, asked) = asked("n0.test");
    let chain = |links: usize| {
        let link = |at: usize| (wire(&format!("n{at}.test")), 5, wire(&format!("n{}.test", at + 1)));
        let mut records: Vec<_> = (0..links).map(link).collect();
        records.push((wire(&format!("n{links}.test")), 1, vec![1, 2, 3, 4]));
        answer(&asked.reply(OK, &records), 7, &name, Kind::V4)
    };
    assert_eq!(chain(8), Answer::Addresses(vec![IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))]));
    assert_eq!(chain(9), Answer::Failed);
    let circle = [(wire("n0.test"), 5, wire("n1.test")), (wire("n1.test"), 5, wire("n0.test"))];
    assert_eq!(answer(&asked.reply(OK, &circle), 7, &name, Kind::V4), Answer::Failed);
    let short = asked.reply(OK, &[(asked_name(), 1, vec![1, 2, 3])]);
    assert_eq!(answer(&short, 7, &name, Kind::V4), Answer::Foreign);
}

#[test]
fn damaged_answers_are_read_without_harm() {
    let (name, asked) = asked("a.test");
    let alias = (asked_name(), 5, vec![1, b'b', 0xc0, 14]);
    let whole =
        asked.reply(OK, &[alias, (wire("b.test"), 1, vec![192, 0, 2, 9]), (asked_name(), 28, vec![0; 16])]);
    assert!(matches!(answer(&whole, 7, &name, Kind::V4), Answer::Addresses(found) if found.len() == 1));
    // xorshift, so that a failure can be had again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).expect("fits")).expect("fits")
    };
    let mut good = 0;
    for _ in 0..100_000 {
        let mut message = whole.clone();
        for _ in 0..=next(4) {
            let at = next(message.len());
            match next(4) {
                0 => message[at] = [0, 0xc0, 0xff, 0x3f][next(4)],
                1 => message[at] ^= 1 << next(8),
                2 => message.truncate(at.max(1)),
                _ => message.insert(at, u8::try_from(next(256)).expect("a byte")),
            }
        }
        if let Answer::Addresses(found) = answer(&message, 7, &name, Kind::V4) {
            // Whatever else is damaged: it answers this question.
            assert_eq!(message[..2], whole[..2]);
            assert!(found.len() <= 3);
            good += 1;
        }
    }
    assert!(good > 100, "hardly any was read: {good}");
}

/// A program that pretends to be `getent`.
fn getent(dir: &TempDir, script: &str) -> PathBuf {
    let path = dir.path().join("getent");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

fn with_getent(script: &str) -> (TempDir, Resolver) {
    let dir = files("10.9.9.9 db\n", ONE_SERVER);
    let getent = Some(getent(&dir, script));
    let resolver = Resolver { getent, ..resolver(&dir, 1) };
    (dir, resolver)
}

#[test]
fn getent_answers_before_files_and_servers() {
    let script = r#"[ "$1:$2" = ahosts:db ] && [ -z "$HOME$LC_ALL" ] || exit 2
printf '10.0.0.5  STREAM db\n10.0.0.5  DGRAM\n10.0.0.5  RAW\n2001:db8::5 STREAM\nfe80::1%%3 STREAM\n'"#;
    let (_dir, resolver) = with_getent(script);
    let found = block_on(resolver.resolve("db", 80)).expect("found");
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.0.0.5:80", "[2001:db8::5]:80", "[fe80::1%3]:80"]);
    assert_eq!(block_on(resolver.resolve("other", 80)), Err("there is no such name".to_owned()));
}

#[test]
fn where_getent_is_missing_or_knows_no_ahosts_files_are_read() {
    for script in ["exit 1", "exit 127", "kill -9 $$", "echo no address", "exit 0"] {
        let (_dir, resolver) = with_getent(script);
        assert_eq!(ips(block_on(resolver.resolve("db", 80))), ["10.9.9.9"], "{script}");
    }
    let dir = files("10.9.9.9 db\n", ONE_SERVER);
    let gone = Resolver { getent: Some(dir.path().join("nothing")), ..resolver(&dir, 1) };
    assert_eq!(ips(block_on(gone.resolve("db", 80))), ["10.9.9.9"]);
}

/// Waits until no process has that pid.
fn wait_gone(file: &Path) {
    let pids = fs::read_to_string(file).expect("pids");
    for pid in pids.split_whitespace() {
        let gone = (0..500).any(|_| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie has ended: it waits for the next child of ours, or for init.
            let ended = stat.is_empty() || stat.contains(") Z ");
            if !ended {
                std::thread::sleep(Duration::from_millis(10));
            }
            ended
        });
        assert!(gone, "{pid} still runs");
    }
}

#[test]
fn a_getent_that_hangs_is_ended_with_what_it_started() {
    let (dir, mut resolver) = with_getent("sleep 1000 & echo $$ $! > \"$0.pids\"; wait");
    resolver.getent_limit = Duration::from_secs(1);
    let error = block_on(resolver.resolve("db", 80)).expect_err("it hangs");
    assert_eq!(error, "`getent` gave no answer within 1 s");
    wait_gone(&dir.path().join("getent.pids"));
}

#[test]
fn a_getent_that_floods_is_ended() {
    let (dir, resolver) = with_getent("echo $$ > \"$0.pids\"; while :; do echo 10.0.0.5 STREAM; done");
    let error = block_on(resolver.resolve("db", 80)).expect_err("it floods");
    assert_eq!(error, "`getent` printed more than addresses");
    wait_gone(&dir.path().join("getent.pids"));
}

#[test]
fn the_getent_of_this_machine_knows_localhost() {
    let here = Resolver::here();
    if crate::program::look_up("getent").is_none() {
        eprintln!("SKIPPED: there is no getent here");
        return;
    }
    let found = ips(block_on(here.resolve("localhost", 80)));
    assert!(found.iter().any(|address| address == "127.0.0.1" || address == "::1"), "{found:?}");
    let unknown = block_on(here.resolve("no-such-name.invalid", 80));
    assert!(unknown.is_err(), "{unknown:?}");
}
