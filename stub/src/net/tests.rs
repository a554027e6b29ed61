//! With real sockets on loopback, and a name server there that answers as it is told.

use super::{CONNECTIONS_MAX, Net, READ_BYTES_MAX, subject};
use crate::resolve::tests::{Fake, block_on, files, resolver};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);
/// What the node calls itself in these tests: that name may be loopback.
const NODE: &str = "node.test";

fn grants(texts: &[String]) -> GrantSet {
    GrantSet::parse_all(texts.iter().map(String::as_str)).expect("grants")
}

/// A [`Net`] with these grants, hosts, and name servers at this port.
fn net(grant: &[String], hosts: &str, dns_port: u16) -> (TempDir, Net) {
    let dir = files(hosts, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let net = Net::with(&grants(grant), resolver(&dir, dns_port), NODE.to_owned());
    (dir, net)
}

fn listener() -> (TcpListener, u16) {
    listener_at(Ipv4Addr::LOCALHOST)
}

fn listener_at(ip: Ipv4Addr) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

async fn ask(net: &mut Net, request: Value) -> Result<Value, Problem> {
    let reply = net.call(request.to_string().as_bytes(), "backup", "web1").await?;
    Ok(serde_json::from_str(&reply).expect("JSON"))
}

async fn open(net: &mut Net, host: &str, port: u16) -> Result<u32, Problem> {
    let reply = ask(net, json!({"op": "open", "host": host, "port": port})).await?;
    Ok(u32::try_from(reply["handle"].as_u64().expect("a handle")).expect("a small number"))
}

async fn refusal(net: &mut Net, host: &str, port: u16) -> Problem {
    open(net, host, port).await.expect_err("refused")
}

/// The connection that was made, or is being made.
fn accept(listener: &TcpListener) -> TcpStream {
    // So that a connection which went elsewhere is a failure and no endless wait.
    let mut waiting = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec::try_from(LIMIT).expect("some seconds");
    assert_eq!(rustix::event::poll(&mut waiting, Some(&limit)), Ok(1), "nobody connected");
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// All that comes until the end.
async fn read_all(net: &mut Net, handle: u32) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let part =
            tokio::time::timeout(LIMIT, net.read(handle, usize::MAX)).await.expect("in time").expect("read");
        assert!(part.len() <= READ_BYTES_MAX);
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

#[test]
fn a_connection_is_opened_read_written_half_closed_and_closed() {
    let (listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let opened =
            ask(&mut net, json!({"op": "open", "host": "127.0.0.1", "port": port})).await.expect("open");
        assert_eq!(opened, json!({"handle": 1, "address": format!("127.0.0.1:{port}")}));
        let mut peer = accept(&listener);
        assert_eq!(net.write(1, b"question").await, Ok(8));
        assert_eq!(ask(&mut net, json!({"op": "shutdown", "handle": 1})).await, Ok(json!({})));
        // The peer sees the end, and its answer still comes.
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("to the end");
        assert_eq!(heard, "question");
        peer.write_all(b"answer").expect("written");
        assert_eq!(net.read(1, 3).await, Ok(b"ans".to_vec()));
        drop(peer);
        assert_eq!(read_all(&mut net, 1).await, b"wer");
        assert_eq!(net.read(1, 1).await, Ok(Vec::new()), "the end stays the end");
        assert_eq!(net.write(1, b"more").await.expect_err("it said that it was the end").code, "net.closed");
        assert_eq!(ask(&mut net, json!({"op": "close", "handle": 1})).await, Ok(json!({})));
        for gone in [net.read(1, 1).await.map(|_| ()), net.write(1, b"x").await.map(|_| ())] {
            assert_eq!(gone.expect_err("closed").code, "net.handle");
        }
        let again = ask(&mut net, json!({"op": "close", "handle": 1})).await.expect_err("closed");
        assert_eq!((again.code.as_str(), again.hint.is_some()), ("net.handle", true));
        // A handle is not used twice.
        assert_eq!(open(&mut net, "127.0.0.1", port).await, Ok(2));
    });
}

#[test]
fn only_what_was_granted_is_opened_or_resolved() {
    let (_listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}"), "net:db.test:1".to_owned()], "", 1);
    block_on(async {
        let other_port = refusal(&mut net, "127.0.0.1", port ^ 1).await;
        assert_eq!(other_port.code, "grant.missing");
        assert_eq!(other_port.hint, Some(format!("--allow net:127.0.0.1:{}", port ^ 1)));
        // Other ways to write the same address.
        for host in ["localhost", "127.1", "0x7f.1", "::ffff:127.0.0.1", "127.0.0.1."] {
            assert_eq!(refusal(&mut net, host, port).await.code, "grant.missing", "{host}");
        }
        for host in ["localhost", "evil.test"] {
            let refused = ask(&mut net, json!({"op": "resolve", "host": host})).await.expect_err("refused");
            assert_eq!(refused.code, "grant.missing");
            assert!(refused.message.contains(host), "{refused}");
        }
        // As in a dry run.
        let mut none = Net::new(&GrantSet::default());
        assert_eq!(refusal(&mut none, "127.0.0.1", port).await.code, "grant.missing");
    });
}

#[test]
fn a_name_means_in_one_execution_what_it_meant_first() {
    let (first, port) = listener();
    // The same port at the other address: a connection there would succeed.
    let second = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).expect("the same port");
    second.set_nonblocking(true).expect("set");
    block_on(async {
        let turn = AtomicU8::new(0);
        // The node's own name, so that it may be loopback.
        let fake = Fake::start(move |asked| match asked.kind {
            1 => asked.v4([127, 0, 0, 1 + turn.fetch_add(1, Ordering::Relaxed)]),
            _ => asked.v4([0; 4]),
        })
        .await;
        let (_dir, mut net) = net(&[format!("net:{NODE}:{port}")], "", fake.port);
        for _ in 0..3 {
            open(&mut net, NODE, port).await.expect("open");
            assert_eq!(accept(&first).local_addr().expect("bound").ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let said = ask(&mut net, json!({"op": "resolve", "host": "Node.Test"})).await;
        assert_eq!(said, Ok(json!({"addresses": ["127.0.0.1"]})));
        assert_eq!(fake.names(), [NODE], "it was asked once");
        assert!(second.accept().is_err(), "somebody connected to the second answer");
        // Another execution asks anew.
        let (_dir, mut other) = self::net(&[format!("net:{NODE}:{port}")], "", fake.port);
        assert_eq!(open(&mut other, NODE, port).await, Ok(1));
        second.accept().expect("a connection");
        assert_eq!(fake.names(), [NODE, NODE]);
    });
}

#[test]
fn a_name_that_stands_for_the_node_or_its_neighbours_is_refused() {
    let (listener, port) = listener();
    let hosts = format!(
        "127.0.0.1 loop.test\n::1 loop6.test\n::ffff:127.0.0.1 mapped.test\n64:ff9b::7f00:1 nat64.test\n\
         2002:7f00:1::1 six2four.test\n169.254.169.254 meta.test\n0.0.0.0 zero.test\nfe80::1%1 link.test\n\
         224.0.0.1 multi.test\n169.254.169.254 {NODE}\n0.0.0.0 {NODE}\n127.0.0.1 {NODE}\n"
    );
    let bad = [
        ("loop.test", "127.0.0.1 (loopback)"),
        ("loop6.test", "::1 (loopback)"),
        ("mapped.test", "::ffff:127.0.0.1 (loopback)"),
        ("nat64.test", "64:ff9b::7f00:1 (loopback)"),
        ("six2four.test", "2002:7f00:1::1 (loopback)"),
        ("meta.test", "169.254.169.254 (link-local)"),
        ("zero.test", "0.0.0.0 (unspecified)"),
        ("link.test", "fe80::1 (link-local)"),
        ("multi.test", "224.0.0.1 (multicast)"),
    ];
    let names = bad.iter().map(|(name, _)| *name).chain([NODE, "localhost", "127.0.0.1"]);
    let (_dir, mut net) = net(&names.map(|name| format!("net:{name}:{port}")).collect::<Vec<_>>(), &hosts, 1);
    listener.set_nonblocking(true).expect("set");
    block_on(async {
        for (name, says) in bad {
            let problem = refusal(&mut net, name, port).await;
            assert_eq!(problem.code, "net.address", "{name}");
            assert!(problem.message.contains(name) && problem.message.contains("web1"), "{problem}");
            assert!(problem.message.ends_with(says), "{problem}");
            let resolved = ask(&mut net, json!({"op": "resolve", "host": name})).await;
            assert_eq!(resolved.expect_err("refused").code, "net.address");
        }
        assert!(listener.accept().is_err(), "somebody connected");
        // The node's own names may be loopback; what stands beside it in the answer is left out.
        let own = ask(&mut net, json!({"op": "resolve", "host": NODE})).await;
        assert_eq!(own, Ok(json!({"addresses": ["127.0.0.1"]})));
        // An address in a grant is what somebody wrote.
        for name in [NODE, "localhost", "127.0.0.1"] {
            open(&mut net, name, port).await.expect("open");
            listener.accept().expect("a connection");
        }
    });
}

#[test]
fn handles_are_good_in_their_execution_only() {
    let (listener, port) = listener();
    let grant = [format!("net:127.0.0.1:{port}")];
    let (_dir, mut one) = net(&grant, "", 1);
    let (_other_dir, mut other) = net(&grant, "", 1);
    block_on(async {
        let handle = open(&mut one, "127.0.0.1", port).await.expect("open");
        let mut peer = accept(&listener);
        for problem in [
            other.read(handle, 1).await.expect_err("not its own"),
            other.write(handle, b"x").await.expect_err("not its own"),
            ask(&mut other, json!({"op": "shutdown", "handle": handle})).await.expect_err("not its own"),
            ask(&mut other, json!({"op": "close", "handle": handle})).await.expect_err("not its own"),
            one.read(u32::MAX, 1).await.expect_err("never issued"),
            one.read(0, 1).await.expect_err("never issued"),
        ] {
            assert_eq!(problem.code, "net.handle", "{problem}");
        }
        // The connection stands all the same; with its execution it ends.
        assert_eq!(one.write(handle, b"still here").await, Ok(10));
        drop(one);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("to the end");
        assert_eq!(heard, "still here");
    });
}

#[test]
fn there_are_only_so_many_connections_at_a_time() {
    let (_listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        for _ in 0..CONNECTIONS_MAX {
            open(&mut net, "127.0.0.1", port).await.expect("open");
        }
        let problem = refusal(&mut net, "127.0.0.1", port).await;
        assert_eq!(problem.code, "net.many");
        assert!(problem.message.contains("`backup`") && problem.message.contains("`web1`"), "{problem}");
        ask(&mut net, json!({"op": "close", "handle": 1})).await.expect("closed");
        open(&mut net, "127.0.0.1", port).await.expect("there is room again");
    });
}

#[test]
fn a_read_that_is_given_up_has_taken_nothing() {
    let (listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let handle = open(&mut net, "127.0.0.1", port).await.expect("open");
        let mut peer = accept(&listener);
        for at in 0..5u8 {
            // It waits: the peer has said nothing.
            let waits = tokio::time::timeout(Duration::from_millis(5), net.read(handle, 100)).await;
            assert!(waits.is_err(), "{waits:?}");
            peer.write_all(&[at]).expect("written");
            assert_eq!(net.read(handle, 100).await, Ok(vec![at]));
        }
    });
}

#[test]
fn a_peer_that_is_silent_is_waited_for_as_long_as_was_asked() {
    let (listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let request = json!({"op": "open", "host": "127.0.0.1", "port": port, "idle_ms": 50});
        let opened = ask(&mut net, request).await.expect("open");
        let handle = u32::try_from(opened["handle"].as_u64().expect("a number")).expect("fits");
        let mut peer = accept(&listener);
        assert_eq!(net.read(handle, 9).await.expect_err("silent").code, "net.timeout");
        // What comes later is there, and nobody is given up who takes what he is told.
        peer.write_all(b"late").expect("written");
        assert_eq!(net.read(handle, 9).await, Ok(b"late".to_vec()));
        let bytes = vec![7; READ_BYTES_MAX];
        let full = loop {
            match net.write(handle, &bytes).await {
                Ok(_) => {}
                Err(problem) => break problem,
            }
        };
        assert_eq!(full.code, "net.timeout");
    });
}

#[test]
fn a_peer_that_does_not_read_holds_the_writer_and_no_byte_is_lost() {
    let (listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let handle = open(&mut net, "127.0.0.1", port).await.expect("open");
        let mut peer = accept(&listener);
        let bytes = vec![7; READ_BYTES_MAX];
        let mut written = 0;
        // Until the kernel's buffers are full: then it waits, and is given up.
        while let Ok(part) = tokio::time::timeout(Duration::from_millis(200), net.write(handle, &bytes)).await
        {
            written += part.expect("written");
        }
        assert!(written >= bytes.len());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all.len())
        });
        written += net.write(handle, &bytes).await.expect("written");
        drop(net);
        assert_eq!(reader.join().expect("whole").expect("read"), written);
    });
}

#[test]
fn a_port_where_nobody_listens_refuses_at_every_address() {
    let (listener, port) = listener();
    drop(listener);
    let hosts = format!("127.0.0.1 {NODE}\n127.0.0.2 {NODE}\n");
    let (_dir, mut net) = net(&[format!("net:{NODE}:{port}")], &hosts, 1);
    let problem = block_on(refusal(&mut net, NODE, port));
    assert_eq!(problem.code, "net.refused");
    assert_eq!(
        problem.message,
        format!(
            "`backup` got no connection from `web1` to {NODE}:{port}: 127.0.0.1 refused it, 127.0.0.2 refused it"
        )
    );
}

#[test]
fn the_next_address_is_tried() {
    let (listener, port) = listener_at(Ipv4Addr::new(127, 0, 0, 2));
    let hosts = format!("127.0.0.1 {NODE}\n127.0.0.2 {NODE}\n");
    let (_dir, mut net) = net(&[format!("net:{NODE}:{port}")], &hosts, 1);
    let reply = block_on(ask(&mut net, json!({"op": "open", "host": NODE, "port": port}))).expect("open");
    assert_eq!(reply["address"], format!("127.0.0.2:{port}"));
    accept(&listener);
}

#[test]
fn an_address_that_does_not_answer_times_out() {
    // A listener whose queue is full drops what knocks.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bound");
    rustix::net::listen(&socket, 0).expect("listens");
    let address =
        SocketAddr::try_from(rustix::net::getsockname(&socket).expect("bound")).expect("an address");
    let knock = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let socket = socket.expect("a socket");
        let _ = rustix::net::connect(&socket, &address);
        socket
    };
    let _knocking: Vec<_> = (0..4).map(|_| knock()).collect();
    let port = address.port();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    let request = json!({"op": "open", "host": "127.0.0.1", "port": port, "timeout_ms": 300});
    let problem = block_on(ask(&mut net, request)).expect_err("nobody answers");
    assert_eq!(problem.code, "net.timeout");
    assert!(problem.message.contains("127.0.0.1 no answer within"), "{problem}");
}

#[test]
fn a_name_that_nobody_resolves_in_time_or_at_all() {
    block_on(async {
        let fake = Fake::start(|_| Vec::new()).await;
        let (_dir, mut net) = net(&["net:db.test:80".to_owned()], "", fake.port);
        let request = json!({"op": "open", "host": "db.test", "port": 80, "timeout_ms": 100});
        let problem = ask(&mut net, request).await.expect_err("the server is silent");
        assert_eq!(problem.code, "net.timeout");
        assert!(problem.message.contains("db.test was not resolved on `web1` within 100 ms"), "{problem}");
        let problem = refusal(&mut net, "db.test", 80).await;
        assert_eq!(problem.code, "net.resolve");
        assert!(problem.message.contains("no name server answered: 127.0.0.1"), "{problem}");
    });
}

#[test]
fn a_network_without_a_way_is_said() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a network namespace needs root");
        return;
    }
    // A thread of its own, in a network where even loopback is down.
    let thread = std::thread::spawn(|| {
        // SAFETY: moves this thread, which has nothing open, to a new network.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        let (_dir, mut net) = net(&["net:192.0.2.1:80".to_owned()], "", 1);
        block_on(refusal(&mut net, "192.0.2.1", 80))
    });
    let problem = thread.join().expect("whole");
    assert_eq!(problem.code, "net.route");
    assert!(problem.message.ends_with("192.0.2.1 cannot be reached"), "{problem}");
}

#[test]
fn a_connection_that_is_reset_says_so() {
    let (listener, port) = listener();
    let (_dir, mut net) = net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let handle = open(&mut net, "127.0.0.1", port).await.expect("open");
        let peer = accept(&listener);
        // Closed without lingering it is a reset.
        sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).expect("set");
        drop(peer);
        let problem = net.read(handle, 1).await.expect_err("reset");
        assert_eq!(problem.code, "net.closed");
        assert!(problem.message.contains(&format!("127.0.0.1:{port}")), "{problem}");
    });
}

#[test]
fn requests_have_one_form_each() {
    let (_dir, mut net) = net(&[], "", 1);
    let code = |net: &mut Net, request: &str| {
        block_on(net.call(request.as_bytes(), "t", "h"))
            .map_or_else(|problem| problem.code, |_| "good".to_owned())
    };
    for bad in [
        "",
        "[]",
        "{}",
        "{\"op\":\"listen\"}",
        r#"{"op":"open","host":"a"}"#,
        r#"{"op":"open","host":"a","port":0}"#,
        r#"{"op":"open","host":"a","port":65536}"#,
        r#"{"op":"open","host":"a","port":1,"handle":1}"#,
        r#"{"op":"open","host":"a","port":1,"timeout_ms":0}"#,
        r#"{"op":"open","host":"a","port":1,"timeout_ms":60001}"#,
        r#"{"op":"open","host":"a","port":1,"idle_ms":0}"#,
        r#"{"op":"resolve","host":"a","idle_ms":5}"#,
        r#"{"op":"resolve","host":"a","port":1}"#,
        r#"{"op":"close"}"#,
        r#"{"op":"close","handle":-1}"#,
        r#"{"op":"shutdown","handle":1,"host":"a"}"#,
        r#"{"op":"close","handle":1,"more":1}"#,
    ] {
        assert_eq!(code(&mut net, bad), "net.request", "{bad}");
    }
    let long = json!({"op": "resolve", "host": "a".repeat(254)}).to_string();
    assert_eq!(code(&mut net, &long), "net.request");
    assert_eq!(code(&mut net, r#"{"op":"open","host":"a","port":1,"timeout_ms":60000}"#), "grant.missing");
    // No bytes are no read and no write: an empty answer means the end.
    let (listener, port) = listener();
    let (_other, mut net) = self::net(&[format!("net:127.0.0.1:{port}")], "", 1);
    block_on(async {
        let handle = open(&mut net, "127.0.0.1", port).await.expect("open");
        assert_eq!(net.read(handle, 0).await.expect_err("nothing to do").code, "net.request");
        assert_eq!(net.write(handle, b"").await.expect_err("nothing to do").code, "net.request");
    });
    drop(listener);
}

#[test]
fn a_subject_names_what_is_asked_for() {
    for (request, text) in [
        (r#"{"op":"open","host":"db.internal","port":5432}"#, "open db.internal:5432"),
        (r#"{"op":"open","host":"::1","port":80,"timeout_ms":5}"#, "open [::1]:80"),
        (r#"{"op":"resolve","host":"db.internal"}"#, "resolve db.internal"),
        (r#"{"op":"shutdown","handle":3}"#, "shutdown 3"),
        (r#"{"op":"close","handle":3}"#, "close 3"),
        (r#"{"op":"open"}"#, "malformed"),
        ("\u{1b}[2J", "malformed"),
    ] {
        assert_eq!(subject(request.as_bytes()), text);
    }
}
