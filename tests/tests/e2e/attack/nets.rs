//! Connections to what was not granted, by names that lead elsewhere, by handles of others; peers that say nothing.

use super::arena::{Arena, attacks, held, warm_up};
use crate::LIMIT;
use crate::library::{Connected, module};
use serde_json::json;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use waft::tree::{Endpoint, Target};
use waft_proto::envelope::Wall;
use waft_proto::run::Status;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::machine::{self, Login, Machine};
use waft_tests::process::is_root;
use waft_tests::sshd::HostSpec;
use waft_tests::{Context, Result};

/// Between two looks of a server whether it shall end.
const LOOK: Duration = Duration::from_millis(5);
/// Connections one after the other, on all places together.
const CONNECTIONS: usize = 10_000;
/// `waft_v1`'s own limit.
const OPEN_MAX: u64 = 16;
/// What tasks without end are given, milliseconds.
const SHORT_MS: u64 = 700;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Says who it is; answers what it hears with more than fits into one read.
    Answers,
    /// Says who it is and goes.
    Goes,
    /// Says nothing and reads nothing.
    Silent,
}

/// Listens until it is dropped.
struct Server {
    ip: Ipv4Addr,
    port: u16,
    came: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn at(ip: Ipv4Addr, port: u16, manner: Manner) -> Result<Server> {
        let listener = TcpListener::bind((ip, port)).context(|| format!("cannot listen at {ip}:{port}"))?;
        listener.set_nonblocking(true).context(|| "cannot listen without waiting".to_owned())?;
        let port = listener.local_addr().context(|| "no port".to_owned())?.port();
        let (came, heard, over) = (Arc::default(), Arc::default(), Arc::default());
        let thread = thread::spawn({
            let (came, heard, over) = (Arc::clone(&came), Arc::clone(&heard), Arc::clone(&over));
            move || serve(&listener, manner, &came, &heard, &over)
        });
        Ok(Server { ip, port, came, heard, over, thread: Some(thread) })
    }

    fn here(manner: Manner) -> Result<Server> {
        Server::at(Ipv4Addr::LOCALHOST, 0, manner)
    }

    fn grant(&self) -> String {
        format!("net:{}:{}", self.ip, self.port)
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    /// What each of those who came said.
    fn heard(mut self) -> Vec<Vec<u8>> {
        self.end();
        std::mem::take(&mut self.heard.lock().expect("no panic"))
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(
    listener: &TcpListener,
    manner: Manner,
    came: &AtomicUsize,
    heard: &Mutex<Vec<Vec<u8>>>,
    over: &AtomicBool,
) {
    let mut open = Vec::new();
    thread::scope(|scope| {
        while !over.load(Ordering::SeqCst) {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(LOOK);
                    continue;
                }
                Err(error) => panic!("nobody can come: {error}"),
            };
            came.fetch_add(1, Ordering::SeqCst);
            match manner {
                Manner::Answers => drop(scope.spawn(move || {
                    let said = answer(stream);
                    heard.lock().expect("no panic").push(said);
                })),
                // Who came may be gone already.
                Manner::Goes => drop(stream.write_all(b"granted")),
                Manner::Silent => open.push(stream),
            }
        }
    });
}

/// Until the other end goes: what it said first.
fn answer(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    let mut said = vec![0; 64];
    let read = stream.write_all(b"granted").and_then(|()| stream.read(&mut said)).unwrap_or(0);
    said.truncate(read);
    if read > 0 && stream.write_all(&[b'y'; 200_000]).is_ok() {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
    said
}

#[test]
fn only_what_was_granted_is_connected_to_and_only_by_its_handle() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let granted = Server::here(Manner::Answers)?;
    let other = Server::here(Manner::Answers)?;
    // The same port at another address, and the other way round.
    let elsewhere = Server::at(Ipv4Addr::new(127, 0, 0, 2), granted.port, Manner::Answers)?;
    let mut link = arena.connect(None)?;
    // One execution before it has left three connections open: their numbers mean nothing any more.
    let silent = Server::here(Manner::Silent)?;
    let before = arena.with(json!({"attack": "net-silence", "port": silent.port}));
    for (place, result) in arena.run(&mut link, before.allow(silent.grant()).timeout_ms(SHORT_MS))? {
        assert_eq!(result.status, Status::TimedOut, "{}: {result:?}", place.name);
    }
    assert_eq!(silent.came(), 3 * arena.places.len());
    let attack = arena.with(json!({"attack": "net", "port": granted.port, "other": other.port}));
    for (place, result) in arena.run(&mut link, attack.allow(granted.grant()))? {
        let tried = held(place, &result)["tried"].as_u64();
        assert!(tried > Some(90), "{}: {tried:?}", place.name);
    }
    assert_eq!((other.came(), elsewhere.came()), (0, 0), "nobody came where nobody may");
    arena.stands(&mut link)?;
    link.stop()?;
    assert_eq!(granted.heard(), vec![b"mine".to_vec(); arena.places.len()]);
    drop((other, elsewhere, silent));
    guard.check()
}

#[test]
fn ten_thousand_connections_leave_the_stub_as_it_was() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let server = Server::here(Manner::Goes)?;
    let mut link = arena.connect(None)?;
    let count = CONNECTIONS / arena.places.len();
    let attack = arena.with(json!({"attack": "net-many", "port": server.port, "count": count}));
    for (place, result) in arena.run(&mut link, attack.allow(server.grant()))? {
        let said = held(place, &result);
        assert_eq!((said["most"].as_u64(), &said["end"]), (Some(OPEN_MAX), &json!("net.many")), "{said}");
        assert_eq!(said["made"], count, "{}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    assert!(server.came() >= CONNECTIONS, "{}", server.came());
    drop(server);
    guard.check()
}

#[test]
fn peers_that_do_not_read_or_say_nothing_do_not_hold_the_deadline() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let server = Server::here(Manner::Silent)?;
    let mut link = arena.connect(None)?;
    for name in ["net-silence", "net-flood"] {
        let attack = arena.with(json!({"attack": name, "port": server.port})).allow(server.grant());
        for (place, result) in arena.run(&mut link, attack.timeout_ms(SHORT_MS))? {
            let code = result.problem.as_ref().map(|problem| problem.code.as_str());
            assert_eq!(
                (result.status, code),
                (Status::TimedOut, Some("task.timeout")),
                "{name}, {}",
                place.name
            );
        }
        arena.stands(&mut link)?;
    }
    link.stop()?;
    assert_eq!(server.came(), 4 * arena.places.len(), "all attacks went where they should");
    drop(server);
    guard.check()
}

/// Names, and what the machine's own `getent` says of each.
const NAMES: [(&str, &str); 12] = [
    ("loop.test", "127.0.0.1"),
    ("six.test", "::1"),
    ("mapped.test", "::ffff:127.0.0.1"),
    ("nat.test", "64:ff9b::7f00:1"),
    ("six-to-four.test", "2002:7f00:1::1"),
    ("zero.test", "0.0.0.0"),
    ("link.test", "169.254.169.254"),
    ("meta.test", "fd00:ec2::254"),
    ("cloud.test", "100.100.100.200"),
    ("many.test", "224.0.0.1"),
    // A name of the node itself may be loopback, and nothing else.
    ("meta.localhost", "169.254.169.254"),
    ("zero.localhost", "0.0.0.0"),
];
const UNKNOWN: [&str; 3] = ["nothing.test", "flood.test", "words.test"];

/// Says another address of `turns.localhost` each time it is asked, and writes down what it was asked.
fn getent(machine: &Machine) -> std::io::Result<()> {
    let names: String =
        NAMES.iter().map(|(name, address)| format!("{name}) echo '{address} STREAM' ;;\n")).collect();
    let script = format!(
        "#!/bin/sh\necho \"$2\" >>/tmp/asked\ncase $2 in\n\
         turns.localhost) if [ -e /tmp/turned ]; then echo 127.0.0.2 STREAM; else echo 127.0.0.1 STREAM; : >/tmp/turned; fi ;;\n\
         {names}\
         flood.test) i=0; while [ $i -lt 3000 ]; do echo '127.0.0.1 STREAM x'; i=$((i+1)); done ;;\n\
         words.test) echo 'rm -rf /'; exit 2 ;;\n\
         *) exit 2 ;;\nesac\n"
    );
    let path = machine.path("/usr/bin/getent");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
}

#[test]
fn a_name_leads_neither_elsewhere_afterwards_nor_where_no_name_may() -> Result<()> {
    if !machine::is_possible() {
        eprintln!("SKIPPED (needs root or user namespaces): names on a target with a resolver of its own");
        return Ok(());
    }
    warm_up()?;
    let lab = Lab::builder().host(HostSpec::new("unused")).start()?;
    let mut logins = vec![("user", Login::Ordinary)];
    match is_root() {
        true => logins.push(("root", Login::Root)),
        false => eprintln!("SKIPPED (needs root): names, as root"),
    }
    let machines: Vec<Machine> =
        logins.iter().map(|(name, login)| Machine::start(&lab, name, *login, None)).collect::<Result<_>>()?;
    machines.iter().try_for_each(getent).context(|| "cannot write getent".to_owned())?;
    let guard = LeakGuard::start();
    let first = Server::here(Manner::Goes)?;
    let second = Server::at(Ipv4Addr::new(127, 0, 0, 2), first.port, Manner::Goes)?;
    let bad: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let mut allow: Vec<String> =
        bad.iter().chain(&UNKNOWN).map(|name| format!("net:{name}:{}", first.port)).collect();
    allow.push(format!("net:turns.localhost:{}", first.port));
    for wall in [Wall::Required, Wall::Off] {
        let targets: Vec<Target> = machines
            .iter()
            .map(|machine| Target {
                endpoint: Endpoint { wall, ..Endpoint::named(&machine.name) },
                via: Vec::new(),
                allow: Vec::new(),
            })
            .collect();
        let mut link = Connected::with(&lab, &targets)?;
        link.wait_joined()?;
        for machine in &machines {
            let _ = fs::remove_file(machine.path("/tmp/turned"));
        }
        // What a name meant to one execution is nothing to the next: or the first could not have been led astray.
        for expected in ["127.0.0.1", "127.0.0.2"] {
            for machine in &machines {
                let _ = fs::remove_file(machine.path("/tmp/asked"));
            }
            let mut request = module("attacks", attacks()?);
            let params = json!({
                "attack": "net-names", "port": first.port, "expected": expected, "bad": bad, "none": UNKNOWN,
            });
            (request.params, request.allow) = (params.to_string().into_bytes(), allow.clone());
            let ran = link.attempt(&request, |_| {})?;
            assert_eq!(ran.results.len(), machines.len());
            for result in &ran.results {
                let said = result.result.clone().unwrap_or_default();
                assert_eq!(result.status, Status::Ok, "{wall:?}: {:?} {said}", result.problem);
                assert_eq!((&said["broke"], &said["lost"]), (&json!([]), &json!([])), "{wall:?}, {expected}");
            }
            for machine in &machines {
                let asked = fs::read_to_string(machine.path("/tmp/asked")).expect("what getent was asked");
                let turns = asked.lines().filter(|name| *name == "turns.localhost").count();
                assert_eq!(turns, 1, "{}: asked once in an execution: {asked}", machine.name);
            }
        }
        link.stop()?;
    }
    let each = 3 * 2 * machines.len();
    assert_eq!((first.came(), second.came()), (each, each));
    drop((first, second));
    guard.check()
}
