//! The proxy: what it counts, delays, cuts and holds back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::wait_until;
use waft_tests::proxy::{Direction, Fault, FaultAfter, Proxy, Settings, Writes};
use waft_tests::sshd::HostSpec;

use crate::SOON;

/// One end of a scripted exchange.
enum Step {
    Send(&'static [u8]),
    Expect(&'static [u8]),
}
use Step::{Expect, Send};

fn play(mut stream: TcpStream, steps: &[Step]) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    for step in steps {
        match step {
            Send(bytes) => stream.write_all(bytes).unwrap(),
            Expect(bytes) => {
                let mut got = vec![0; bytes.len()];
                stream.read_exact(&mut got).unwrap();
                assert_eq!(got, *bytes);
            }
        }
    }
}

/// A target that plays one script per connection, in turn.
fn target(scripts: Vec<Vec<Step>>) -> (std::net::SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for script in scripts {
            play(listener.accept().unwrap().0, &script);
        }
    });
    (address, server)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn bytes_connections_and_flights_are_counted_exactly() -> Result<()> {
    let answer = || vec![Expect(b"ping"), Send(b"pong!"), Expect(b"more"), Send(b"end")];
    let (address, server) = target(vec![answer(), answer()]);
    let proxy = Proxy::start(address, Settings { record: true, ..Settings::round_trip(millis(40)) })?;
    let ask = [Send(b"ping"), Expect(b"pong!"), Send(b"more"), Expect(b"end")];

    play(TcpStream::connect(proxy.addr).unwrap(), &ask);
    let first = proxy.snapshot();
    assert_eq!((first.connections, first.up_bytes, first.down_bytes), (1, 8, 8));
    assert_eq!((first.flights, first.turns), (4, 4));
    let recorded = proxy.recordings();
    assert_eq!(
        (recorded[0].up.as_slice(), recorded[0].down.as_slice()),
        (&b"pingmore"[..], &b"pong!end"[..])
    );

    let mark = proxy.mark();
    play(TcpStream::connect(proxy.addr).unwrap(), &ask);
    let second = proxy.since(mark);
    assert_eq!((second.connections, second.up_bytes, second.down_bytes, second.flights), (1, 8, 8, 4));
    assert_eq!(proxy.snapshot().connections, 2);
    proxy.reset();
    assert_eq!(proxy.snapshot(), Default::default());
    server.join().unwrap();
    Ok(())
}

#[test]
fn sides_that_talk_at_once_make_one_flight_each() -> Result<()> {
    // Both greet at once and then send on without having heard the other; only the last word is an answer.
    let (address, server) = target(vec![vec![Send(b"hello"), Send(b"again"), Expect(b"hihi"), Send(b"bye")]]);
    let proxy = Proxy::start(address, Settings::round_trip(millis(200)))?;
    let script = [Send(b"hi"), Send(b"hi"), Expect(b"hello"), Expect(b"again"), Expect(b"bye")];
    play(TcpStream::connect(proxy.addr).unwrap(), &script);
    assert_eq!(proxy.snapshot().flights, 2, "{:?}", proxy.snapshot());
    server.join().unwrap();
    Ok(())
}

#[test]
fn a_mark_separates_two_steps_in_one_direction() -> Result<()> {
    let (address, server) = target(vec![vec![Expect(b"one"), Expect(b"two"), Send(b"!")]]);
    let proxy = Proxy::start(address, Settings::default())?;
    let stream = TcpStream::connect(proxy.addr).unwrap();
    play(stream.try_clone().unwrap(), &[Send(b"one")]);
    wait_until("the first step", SOON, || (proxy.snapshot().up_bytes == 3).then_some(()))?;
    let mark = proxy.mark();
    play(stream, &[Send(b"two"), Expect(b"!")]);
    assert_eq!(proxy.since(mark).flights, 2);
    server.join().unwrap();
    Ok(())
}

#[test]
fn the_delay_is_kept_and_costs_no_throughput() -> Result<()> {
    const BULK_BYTES: usize = 8 * 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        stream.write_all(b"!").unwrap();
        got.len()
    });
    let proxy = Proxy::start(address, Settings::round_trip(millis(200)))?;
    let started = Instant::now();
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    stream.write_all(&vec![7; BULK_BYTES]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let took = started.elapsed();
    assert_eq!(server.join().unwrap(), BULK_BYTES);
    // The handshake's round trip and one more. In line, the 128 chunks alone would take 12.8 s.
    assert!(took >= millis(400), "{} ms", took.as_millis());
    assert!(took < millis(5000), "{} ms", took.as_millis());
    Ok(())
}

#[test]
fn a_greeting_comes_no_sooner_than_over_a_real_link() -> Result<()> {
    let (address, server) = target(vec![vec![Send(b"hello")]]);
    let proxy = Proxy::start(address, Settings::round_trip(millis(100)))?;
    let started = Instant::now();
    play(TcpStream::connect(proxy.addr).unwrap(), &[Expect(b"hello")]);
    assert!(started.elapsed() >= millis(200), "{} ms", started.elapsed().as_millis());
    server.join().unwrap();
    Ok(())
}

/// Reads to the end and gives what came.
fn sink() -> (std::net::SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut got = Vec::new();
        // A cut may look like a reset.
        let _ = listener.accept().unwrap().0.read_to_end(&mut got);
        got
    });
    (address, server)
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() -> Result<()> {
    for bytes in [0, 1, 1000, 100_000] {
        let (address, server) = sink();
        let fault = Some(FaultAfter { fault: Fault::Cut, direction: Direction::Up, bytes });
        let proxy = Proxy::start(address, Settings { fault, ..Settings::default() })?;
        let mut stream = TcpStream::connect(proxy.addr).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // May fail half way: that is the cut.
        let _ = stream.write_all(&vec![1; 200_000]);
        let end = stream.read(&mut [0]);
        assert!(!matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "not cut");
        assert_eq!(server.join().unwrap().len() as u64, bytes);
        assert_eq!(proxy.snapshot().up_bytes, bytes);
    }
    Ok(())
}

#[test]
fn a_cut_on_command_ends_both_sides_and_later_connections_work() -> Result<()> {
    let (address, server) = target(vec![vec![Send(b"a"), Expect(b"")], vec![Send(b"b")]]);
    let proxy = Proxy::start(address, Settings::default())?;
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    play(stream.try_clone().unwrap(), &[Expect(b"a")]);
    proxy.cut();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    play(TcpStream::connect(proxy.addr).unwrap(), &[Expect(b"b")]);
    server.join().unwrap();
    Ok(())
}

#[test]
fn a_stall_holds_back_and_a_resume_hands_over_all() -> Result<()> {
    let (address, server) = sink();
    let fault = Some(FaultAfter { fault: Fault::Stall, direction: Direction::Up, bytes: 3 });
    let proxy = Proxy::start(address, Settings { fault, ..Settings::default() })?;
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    stream.write_all(b"abcdef").unwrap();
    wait_until("the bytes to arrive at the proxy", SOON, || (proxy.snapshot().up_bytes == 6).then_some(()))?;
    assert!(!server.is_finished());
    // The connection lives: there is nothing to read, and no end.
    stream.set_read_timeout(Some(millis(100))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    proxy.resume();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.join().unwrap(), b"abcdef");
    Ok(())
}

#[test]
fn nothing_passes_a_stalled_proxy() -> Result<()> {
    let (address, server) = target(vec![vec![Expect(b"go"), Send(b"gone")]]);
    let proxy = Proxy::start(address, Settings::default())?;
    proxy.stall();
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    stream.write_all(b"go").unwrap();
    stream.set_read_timeout(Some(millis(200))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    proxy.resume();
    play(stream, &[Expect(b"gone")]);
    server.join().unwrap();
    Ok(())
}

#[test]
fn single_bytes_arrive_one_by_one() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(
        listener.local_addr().unwrap(),
        Settings { writes: Writes::SingleBytes, ..Settings::default() },
    )?;
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let (mut got, mut reads) = (Vec::new(), 0);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
            reads += 1;
        }
        (got, reads)
    });
    let sent: Vec<u8> = (0..4000u32).map(|number| number as u8).collect();
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    stream.write_all(&sent).unwrap();
    drop(stream);
    let (got, reads) = server.join().unwrap();
    assert_eq!(got, sent);
    // Two bytes may meet in the receiver's buffer; had they been sent together, one read would do.
    assert!(reads > 100, "{} bytes came in {reads} reads", got.len());
    Ok(())
}

#[test]
fn ssh_works_through_a_proxied_host_and_nothing_stays() -> Result<()> {
    let guard = LeakGuard::start();
    {
        let lab =
            Lab::builder().host(HostSpec::new("h1").proxied(Settings::round_trip(millis(20)))).start()?;
        let done = lab.ssh(&["h1", "head -c 100000 /dev/zero"])?;
        assert_eq!(done.stdout.len(), 100_000, "{}", done.stderr_text());
        let seen = lab.host("h1").proxy.as_ref().unwrap().snapshot();
        assert_eq!(seen.connections, 1);
        assert!(seen.down_bytes > 100_000 && seen.flights >= 10, "{seen:?}");
        assert!(seen.flights <= seen.turns, "{seen:?}");
        println!("ssh h1 true: {seen:?}");
    }
    guard.check()
}
