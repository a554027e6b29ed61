//! Tests of the fleet, through SSH. Every wait has a bound; every fleet is shut down, and that is checked.

mod client;

use super::backlog::{Backlog, WINDOW_BYTES};
use super::process;
use super::{Fleet, FleetOptions, HOSTS_MAX};
use client::{BOUND, Client, Counted, Outcome, address, feed, fleet, new_dir, outcome, read_until};
use russh::{ChannelMsg, Disconnect, Sig};
use rustix::process::{Pid, PidfdFlags};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Bytes in which nothing repeats at packet size, so that a lost or doubled packet shows.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

async fn end(fleet: Fleet) {
    let name = fleet.name.clone();
    fleet.shutdown().await.expect("the fleet ends in time");
    assert_eq!(process::left_of(&name), 0, "processes outlived their fleet");
}

/// Waits for a process that is not our child to end.
async fn gone(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process number");
    // A process that cannot be opened has ended already.
    let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) else { return };
    let watched = process::watch(descriptor, Interest::READABLE).expect("a runtime");
    timeout(BOUND, watched.readable())
        .await
        .expect("the process ends in time")
        .expect("a readable pidfd")
        .retain_ready();
}

fn alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn first_number(text: &str) -> i32 {
    text.split_whitespace().find_map(|word| word.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_its_own_code_or_signal() {
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    for code in [0, 1, 3, 125, 255] {
        assert_eq!(client.run(&format!("exit {code}"), b"").await, Outcome::code(code));
    }
    let killed = client.run("kill -TERM $$", b"").await;
    assert_eq!((killed.code, killed.signal.as_deref()), (None, Some("TERM")));
    let killed = client.run("kill -USR2 $$", b"").await;
    assert_eq!((killed.code, killed.signal.as_deref()), (None, Some("USR2")));
    let missing = client.run("/no/such/program", b"").await;
    assert_eq!(missing.code, Some(127));
    assert!(!missing.stderr.is_empty());
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_knows_its_host_and_only_what_a_login_knows() {
    let fleet = fleet(2, 0).await;
    let home = fleet.premises.home("web2").expect("a home");
    let client = Client::to(&fleet, "web2").await;
    let said =
        client.run("echo $WAFT_DEMO_HOST $HOME $PWD $USER ${CARGO_MANIFEST_DIR-none}", b"").await.text();
    let home = home.display();
    assert_eq!(said, format!("web2 {home} {home} demo none\n"));
    // In a session of its own there is no terminal of ours to write to.
    assert_eq!(client.run("exec 2>/dev/null; : > /dev/tty", b"").await.code, Some(2));
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_arrive_as_they_were_sent() {
    let fleet = fleet(1, 10).await;
    let input = noise(5_000_003);
    let client = Client::to(&fleet, "bastion").await;
    let echoed = client.run("cat", &input).await;
    assert!(echoed.stdout == input, "{} bytes of {}", echoed.stdout.len(), input.len());
    assert_eq!((echoed.stderr.len(), echoed.code), (0, Some(0)));
    // Both streams at once share one window and must neither mix nor starve.
    let both = client.run("tee /dev/stderr", &input).await;
    assert!(both.stdout == input && both.stderr == input);
    // The end of the input is seen, and what comes after it still arrives.
    let counted = client.run("wc -c; echo done", &input).await;
    assert_eq!(counted.text().split_whitespace().collect::<Vec<_>>(), ["5000003", "done"]);
    // Input that nobody reads does not keep a command from ending.
    assert_eq!(client.run("exit 9", &input).await.code, Some(9));
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_stops_the_writer_and_nothing_else() {
    const SENT_BYTES: usize = 24 * 1024 * 1024;
    /// High water, two windows, and what sockets and pipes hold.
    const HELD_BYTES_MAX: u64 = 16 * 1024 * 1024;
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    let mut channel = client.start("mkfifo go && echo ready && read go < go && cat").await;
    read_until(&mut channel, "ready").await;

    let input = noise(SENT_BYTES);
    let writer = channel.make_writer();
    let feeding = tokio::spawn(feed(writer, input.clone()));
    // The writer has stopped when nothing crosses for a while.
    let up_bytes = || fleet.links().last().map_or(0, |link| link.up_bytes);
    let stopped = async {
        loop {
            let before = up_bytes();
            sleep(Duration::from_millis(300)).await;
            // Two-byte packets still trickle.
            if up_bytes() - before < 100_000 {
                return;
            }
        }
    };
    timeout(BOUND, stopped).await.expect("the writer stops");
    assert!(!feeding.is_finished());
    assert!(up_bytes() < HELD_BYTES_MAX, "{} bytes are held for a process that reads nothing", up_bytes());
    // The connection itself goes on.
    let mut neighbour = client.start("echo $((6 * 7))").await;
    assert_eq!(timeout(BOUND, outcome(&mut neighbour)).await.expect("in time").text(), "42\n");

    let go = fleet.premises.home("web1").expect("a home").join("go");
    std::fs::write(go, "now\n").expect("the process waits at the other end");
    let echoed = timeout(BOUND, outcome(&mut channel)).await.expect("no deadlock");
    assert!(echoed.stdout == input, "{} bytes of {SENT_BYTES}", echoed.stdout.len());
    feeding.await.expect("the writer is done");
    end(fleet).await;
}

#[test]
fn windows_shrink_under_a_backlog_and_grow_again() {
    let backlog = Arc::new(Backlog::default());
    let mut queue = vec![backlog.hold(&[0; 1024 * 1024])];
    assert!(
        backlog.window_bytes() > 0 && backlog.window_bytes() < 100,
        "never none: russh would never ask again"
    );
    queue.extend((0..1000).map(|_| backlog.hold(&[0; 2])));
    queue.remove(0);
    assert_eq!(backlog.window_bytes(), WINDOW_BYTES);
    // Small packets are not free.
    queue.extend((0..20_000).map(|_| backlog.hold(&[0])));
    assert!(backlog.window_bytes() < WINDOW_BYTES);
    queue.clear();
    assert_eq!(backlog.window_bytes(), WINDOW_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_channel_ends_all_it_started() {
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    // Out of the session; out of the session twice and deaf to SIGHUP; without a mark.
    for escape in [
        "setsid sh -c 'echo $$; exec sleep 600' & cat",
        "trap '' HUP; setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 600\" &'; cat",
        "env -i sh -c 'echo $$; exec sleep 600' & cat",
        "trap '' HUP TERM; echo $$; while :; do sleep 600; done",
    ] {
        let mut channel = client.start(escape).await;
        let pid = first_number(&read_until(&mut channel, "\n").await);
        assert!(alive(pid), "{escape}");
        channel.close().await.expect("the connection lives");
        gone(pid).await;
    }
    // A daemon whose command has ended belongs to the channel all the same.
    let daemon = client.run("setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' & sleep 0.1", b"").await;
    gone(first_number(&daemon.text())).await;
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_a_connection_ends_all_it_started() {
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    let mut channels = Vec::new();
    let mut pids = Vec::new();
    for _ in 0..3 {
        let mut channel = client.start("echo $$; sleep 600; sleep 600").await;
        pids.push(first_number(&read_until(&mut channel, "\n").await));
        channels.push(channel);
    }
    drop(channels);
    drop(client);
    for pid in pids {
        gone(pid).await;
    }
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_reaches_the_process() {
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    let mut channel =
        client.start("trap 'echo caught; exit 4' USR1; echo ready; while :; do sleep 0.05; done").await;
    read_until(&mut channel, "ready").await;
    channel.signal(Sig::USR1).await.expect("the connection lives");
    let ended = timeout(BOUND, outcome(&mut channel)).await.expect("in time");
    assert_eq!((ended.text().as_str(), ended.code), ("caught\n", Some(4)));
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_has_a_size_a_prompt_and_an_end() {
    let fleet = fleet(1, 0).await;
    let client = Client::to(&fleet, "web1").await;
    let mut channel = client.session().await;
    channel.request_pty(true, "xterm", 91, 31, 0, 0, &[]).await.expect("the connection lives");
    channel.request_shell(true).await.expect("the connection lives");
    read_until(&mut channel, "web1$ ").await;
    channel.data(&b"stty size; echo $TERM\n"[..]).await.expect("the connection lives");
    read_until(&mut channel, "31 91\r\nxterm\r\n").await;
    channel.window_change(77, 22, 0, 0).await.expect("the connection lives");
    // The size and the bytes take different ways; the shell looks until both are there.
    let look = &b"until [ \"$(stty size)\" = '22 77' ]; do sleep 0.01; done; stty size\n"[..];
    channel.data(look).await.expect("the connection lives");
    read_until(&mut channel, "22 77\r\n").await;
    // What still holds the terminal open does not hold the channel open.
    channel.data(&b"trap '' HUP; sleep 600 & exit 7\n"[..]).await.expect("the connection lives");
    let ended = timeout(BOUND, outcome(&mut channel)).await.expect("in time");
    assert_eq!(ended.code, Some(7));
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_fleets_key_and_user_come_in() {
    let fleet = fleet(1, 0).await;
    let own = || russh::keys::load_secret_key(fleet.identity_path(), None).expect("the fleet's key");
    let other = super::premises::new_key("other").expect("a key");
    for (user, key) in [("demo", other), ("root", own())] {
        let (ip, port) = address(&fleet, "web1");
        let stream = TcpStream::connect((ip, port)).await.expect("the host listens");
        assert!(Client::with_key(&fleet, "web1", stream, user, key).await.is_none(), "{user}");
    }
    let (ip, port) = address(&fleet, "web1");
    let stream = TcpStream::connect((ip, port)).await.expect("the host listens");
    assert!(Client::with_key(&fleet, "web1", stream, "demo", own()).await.is_some());
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bastion_leads_to_its_hosts_and_nowhere_else() {
    let fleet = fleet(2, 20).await;
    let bastion = Client::to(&fleet, "bastion").await;
    let (ip, port) = address(&fleet, "web2");
    for host in [ip.as_str(), "web2"] {
        let tunnel = bastion.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 1).await;
        let client = Client::over(&fleet, "web2", tunnel.expect("a tunnel").into_stream()).await;
        let input = noise(3_000_000);
        assert!(client.run("cat", &input).await.stdout == input);
    }
    let connections: Vec<u64> = fleet.links().iter().map(|link| link.connections).collect();
    assert_eq!(connections, [1, 0, 2]);

    let local = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let elsewhere = local.local_addr().expect("an address").port();
    for (host, port) in [("127.0.0.1", elsewhere), (ip.as_str(), 1), ("bastion", port)] {
        assert!(
            bastion.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 1).await.is_err()
        );
    }
    let web = Client::to(&fleet, "web1").await;
    assert!(web.handle.channel_open_direct_tcpip(ip, u32::from(port), "127.0.0.1", 1).await.is_err());
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact() {
    let fleet = fleet(1, 30).await;
    for (place, host) in ["bastion", "web1"].into_iter().enumerate() {
        let (read, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (ip, port) = address(&fleet, host);
        let stream = TcpStream::connect((ip, port)).await.expect("the host listens");
        let stream = Counted { stream, read: Arc::clone(&read), written: Arc::clone(&written) };
        let client = Client::over(&fleet, host, stream).await;
        let input = noise(1_000_000);
        assert!(client.run("cat", &input).await.stdout == input);
        client.handle.disconnect(Disconnect::ByApplication, "", "").await.expect("the connection lives");
        // russh calls its own goodbye an error.
        let _ = timeout(BOUND, client.handle).await.expect("in time");

        let (up, down) = (written.load(Ordering::Relaxed), read.load(Ordering::Relaxed));
        let settled = async {
            loop {
                let links = fleet.links();
                let link = links.get(place).expect("a link for each host");
                assert!(link.up_bytes <= up && link.down_bytes <= down, "{link:?}, not {up} and {down}");
                if (link.up_bytes, link.down_bytes) == (up, down) {
                    return link.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let link = timeout(BOUND, settled).await.expect("the last bytes are counted");
        assert_eq!((link.to.as_str(), link.connections), (host, 1));
        assert!(up > 1_000_000 && down > 1_000_000 && link.flights > 3);
    }
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outer_link_is_slow_and_yet_wide() {
    let rtt = Duration::from_millis(80);
    let fleet = fleet(1, 80).await;
    // TCP's handshake and the greeting: two round trips, as over a real link.
    let started = Instant::now();
    let (ip, port) = address(&fleet, "bastion");
    let mut stream = TcpStream::connect((ip, port)).await.expect("the bastion listens");
    stream.write_all(b"SSH-2.0-test\r\n").await.expect("a fresh socket");
    let mut greeting = [0; 8];
    timeout(BOUND, stream.read_exact(&mut greeting)).await.expect("in time").expect("a greeting");
    assert_eq!(&greeting, b"SSH-2.0-");
    assert!(started.elapsed() >= 2 * rtt, "{:?}", started.elapsed());

    // One window takes a round trip; one packet at a time would take 250 of them.
    let client = Client::to(&fleet, "bastion").await;
    let started = Instant::now();
    let said = client.run("head -c 8000000 /dev/zero", b"").await;
    assert_eq!(said.stdout.len(), 8_000_000);
    assert!(started.elapsed() < 60 * rtt, "{:?}", started.elapsed());
    end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_hosts_at_once() {
    let fleet = Arc::new(fleet(40, 20).await);
    let mut runs = tokio::task::JoinSet::new();
    for number in 1..=40 {
        let fleet = Arc::clone(&fleet);
        runs.spawn(async move {
            let host = format!("web{number}");
            let client = Client::to(&fleet, &host).await;
            assert_eq!(
                client.run("cat; echo $WAFT_DEMO_HOST", b"I am ").await.text(),
                format!("I am {host}\n")
            );
        });
    }
    while let Some(run) = timeout(BOUND, runs.join_next()).await.expect("in time") {
        run.expect("every host answers");
    }
    end(Arc::into_inner(fleet).expect("all clients are done")).await;
}

/// Whether this process listens there. Somebody else may, who was given the port since.
fn listens((_, port): &(String, u16)) -> bool {
    const LISTENING: &str = "0A";
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").expect("the sockets of this machine");
    let port = format!(":{port:04X}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let there =
        sockets.lines().map(words).filter(|socket| socket[1].ends_with(&port) && socket[3] == LISTENING);
    let theirs: Vec<String> = there.map(|socket| format!("socket:[{}]", socket[9])).collect();
    let ours = std::fs::read_dir("/proc/self/fd").expect("the descriptors of this process");
    let ours = ours.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    ours.into_iter().any(|ours| theirs.iter().any(|theirs| ours.as_os_str() == theirs.as_str()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shut_down_fleet_leaves_nothing() {
    let fleet = fleet(2, 40).await;
    let dir = fleet.premises.ssh_config().parent().expect("a folder").to_path_buf();
    assert_eq!(std::fs::metadata(&dir).expect("the folder").permissions().mode() & 0o777, 0o700);
    let bastion = Client::to(&fleet, "bastion").await;
    let client = Client::to(&fleet, "web1").await;
    let mut channel =
        client.start("trap '' HUP; setsid sh -c 'echo $$; exec sleep 600' & sleep 600; sleep 600").await;
    let pid = first_number(&read_until(&mut channel, "\n").await);
    let mut terminal = bastion.session().await;
    terminal.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.expect("the connection lives");
    terminal.request_shell(true).await.expect("the connection lives");
    read_until(&mut terminal, "bastion$ ").await;
    let addresses = [address(&fleet, "bastion"), address(&fleet, "web1"), address(&fleet, "web2")];

    assert!(addresses.iter().all(listens));
    end(fleet).await;
    gone(pid).await;
    assert!(!dir.exists());
    for address in addresses {
        assert!(!listens(&address));
    }
    // The clients hear of it.
    let over = async { while !matches!(channel.wait().await, None | Some(ChannelMsg::Close)) {} };
    timeout(BOUND, over).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_fleet_leaves_no_process_and_no_file() {
    let fleet = fleet(1, 0).await;
    let dir = fleet.premises.ssh_config().parent().expect("a folder").to_path_buf();
    let client = Client::to(&fleet, "web1").await;
    let mut channel =
        client.start("trap '' HUP; setsid sh -c 'echo $$; exec sleep 600' & sleep 600; sleep 600").await;
    let pid = first_number(&read_until(&mut channel, "\n").await);
    drop(fleet);
    gone(pid).await;
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_kept_or_cleared_as_asked_and_must_be_private() {
    let dir = new_dir();
    let options = |keep| FleetOptions { hosts: 1, rtt: Duration::ZERO, keep, dir: dir.clone() };
    std::fs::create_dir(&dir).expect("a folder");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("our folder");
    let problem = Fleet::start(options(false)).await.err().expect("others can enter it");
    assert_eq!(problem.code, "demo.dir");
    assert!(problem.message.contains(&dir.display().to_string()) && problem.hint.is_some());

    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("our folder");
    std::fs::write(dir.join("mine"), "stays").expect("our folder");
    end(Fleet::start(options(true)).await.expect("a private folder")).await;
    let mode = std::fs::metadata(dir.join("identity")).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    end(Fleet::start(options(false)).await.expect("a folder used before")).await;
    let left: Vec<_> =
        std::fs::read_dir(&dir).expect("not ours to remove").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["mine"]);
    std::fs::remove_dir_all(&dir).expect("our folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_fleets_are_refused() {
    for (hosts, rtt_s) in [(0, 0), (HOSTS_MAX + 1, 0), (1, 11)] {
        let dir = new_dir();
        let options = FleetOptions { hosts, rtt: Duration::from_secs(rtt_s), keep: false, dir: dir.clone() };
        let problem = Fleet::start(options).await.err().expect("impossible");
        assert!(problem.code.starts_with("demo.") && problem.hint.is_some());
        assert!(!dir.exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_ssh_enters_through_the_bastion() {
    let fleet = fleet(3, 5).await;
    let line = format!("{} 'cat; exit 3'", fleet.enter_command("web3"));
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").arg(&line).kill_on_drop(true);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("a shell");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"hello").await.expect("ssh reads");
    drop(stdin);
    let output = timeout(BOUND, child.wait_with_output()).await.expect("in time").expect("a result");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(127) {
        eprintln!("skipped: this machine has no ssh client: {said}");
    } else {
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b"hello"[..], Some(3)),
            "{line}: {said}"
        );
        let counts: Vec<u64> = fleet.links().iter().map(|link| link.connections).collect();
        assert_eq!(counts, [1, 0, 0, 1]);
    }
    let inventory = std::fs::read_to_string(fleet.inventory_path()).expect("the inventory");
    assert!(inventory.ends_with("[groups.demo]\nhosts = [\"web[1-3]\"]\nvia = \"bastion\"\n"), "{inventory}");
    end(fleet).await;
}
