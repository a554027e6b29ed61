//! The walls around the compiler, on the real kernel, as root and as an ordinary user. Code in the compiler's place tries
//! what no module may make it do. Each attack is made without walls, where it must succeed, or the test proves nothing;
//! behind each wall that is said to stop it, alone, which must; and behind all of them.
//!
//! Then the compiler itself: that it stands behind them before it has read a byte.
//!
//! No harness: the walls are raised in a process of one thread, which is this program started again.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use waft::compile::walls::{ALL, Limits, raise};

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;
const LIMITS: Limits = Limits { memory_bytes: 4 << 30, cpu_seconds: 1 };
/// What a spinning attack takes, CPU milliseconds: more than the limit.
const SPIN_MS: i64 = 1200;
const SPINNING: &str = "take processor time";
/// How the program is told to be an attacker.
const INSIDE: &str = "inside";
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an attacker is given: a directory, the port of a listener, and a descriptor that somebody left open.
struct Place {
    dir: PathBuf,
    port: u16,
    left: i32,
}

/// One thing that the compiler must not be able to do: its name, itself, and which wall alone ends it how.
type Attack = (&'static str, fn(&Place) -> Result<(), Errno>, &'static [(&'static str, &'static str)]);

const ACCESS: &str = "refused EACCES";
const PERM: &str = "refused EPERM";
const BADF: &str = "refused EBADF";

const ATTACKS: &[Attack] = &[
    (
        "read a file",
        |place| open(&place.dir.join("file"), OFlags::RDONLY),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    (
        "write a file",
        |place| open(&place.dir.join("new"), OFlags::WRONLY | OFlags::CREATE),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    (
        "list a directory",
        |place| open(&place.dir, OFlags::DIRECTORY),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    (
        "remove a file",
        |place| io(std::fs::remove_file(place.dir.join("doomed"))),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    (
        "read what was left open",
        |place| {
            let mut byte = [0];
            // SAFETY: the buffer has the length that is said.
            done(unsafe { libc::read(place.left, byte.as_mut_ptr().cast(), 1) } as i64)
        },
        &[("descriptors", BADF)],
    ),
    (
        "write to what was left open",
        |place| {
            // SAFETY: the buffer has the length that is said.
            done(unsafe { libc::write(place.left, b"x".as_ptr().cast(), 1) } as i64)
        },
        &[("descriptors", BADF), ("rlimits", "signal 25")],
    ),
    (
        "connect by TCP",
        |place| io(TcpStream::connect(("127.0.0.1", place.port)).map(drop)),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    (
        "connect to a UNIX socket",
        |place| io(UnixStream::connect(place.dir.join("socket")).map(drop)),
        &[("seccomp", PERM)],
    ),
    (
        "become a program",
        |_| io(Err(Command::new("/bin/true").exec())),
        &[("landlock", ACCESS), ("seccomp", PERM)],
    ),
    ("start a process", |_| fork(), &[("seccomp", PERM)]),
    // SAFETY: as in the manual; nobody traces this process.
    ("be traced", |_| done(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }), &[("seccomp", PERM)]),
    (
        "reach another process",
        |_| {
            let none = rustix::process::PidfdFlags::empty();
            rustix::process::pidfd_open(rustix::process::Pid::INIT, none).map(drop)
        },
        &[("seccomp", PERM)],
    ),
    ("make code", |_| map(1 << 16, libc::PROT_READ | libc::PROT_EXEC), &[("seccomp", PERM)]),
    ("set a limit", |_| set_limit(), &[("seccomp", PERM)]),
    ("take memory", |_| map(LIMITS.memory_bytes as usize, libc::PROT_READ), &[("rlimits", "refused ENOMEM")]),
    (SPINNING, |_| spin(), &[("rlimits", "signal 24")]),
    ("open many descriptors", |_| many_descriptors(), &[("rlimits", "refused EMFILE")]),
    ("gain by a set-uid program", |_| set_uid(), &[("no_new_privs", PERM)]),
];

fn done(returned: i64) -> Result<(), Errno> {
    match returned {
        -1 => io(Err(std::io::Error::last_os_error())),
        _ => Ok(()),
    }
}

fn io(done: std::io::Result<()>) -> Result<(), Errno> {
    done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn open(path: &Path, flags: OFlags) -> Result<(), Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600)).map(drop)
}

fn fork() -> Result<(), Errno> {
    // SAFETY: this process has one thread, and its child ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: ends the child without running what belongs to its parent.
        0 => unsafe { libc::_exit(0) },
        child => {
            done(i64::from(child))?;
            let child = rustix::process::Pid::from_raw(child);
            rustix::process::waitpid(child, rustix::process::WaitOptions::empty()).map(drop)
        }
    }
}

fn map(bytes: usize, protection: i32) -> Result<(), Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new memory at no fixed place.
    done(unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) } as i64)
}

fn set_limit() -> Result<(), Errno> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)
}

fn spin() -> Result<(), Errno> {
    let used = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    loop {
        let used = used();
        if used.tv_sec * 1000 + used.tv_nsec / 1_000_000 >= SPIN_MS {
            return Ok(());
        }
    }
}

fn many_descriptors() -> Result<(), Errno> {
    let copies: Result<Vec<OwnedFd>, Errno> = (0..32).map(|_| rustix::io::dup(std::io::stderr())).collect();
    copies.map(drop)
}

/// Of such a program only the kernel's word is asked for: that it would give nothing.
fn set_uid() -> Result<(), Errno> {
    match rustix::thread::no_new_privs() {
        Ok(false) => Ok(()),
        _ => Err(Errno::PERM),
    }
}

/// `inside WALLS ATTACK DIR PORT`: raises those walls, makes that attack and says how it ended.
fn inside(arguments: &[String]) {
    let [walls, attack, dir, port] = arguments else { panic!("{arguments:?}") };
    let dir = PathBuf::from(dir);
    let left = std::fs::OpenOptions::new().read(true).write(true).open(dir.join("left")).expect("a file");
    let left = std::os::fd::IntoRawFd::into_raw_fd(left);
    let place = Place { dir, port: port.parse().expect("a port"), left };
    let attack = ATTACKS.iter().find(|known| known.0 == attack).expect("an attack");
    let wanted: Vec<&str> = walls.split(',').collect();
    let missing = raise(&wanted, &LIMITS);
    assert!(missing.is_empty(), "this kernel lacks: {missing:?}");
    match attack.1(&place) {
        Ok(()) => println!("done"),
        Err(error) => println!("refused {}", name(error)),
    }
}

fn name(error: Errno) -> String {
    let known = [
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::BADF, "EBADF"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::MFILE, "EMFILE"),
    ];
    known
        .iter()
        .find(|(known, _)| *known == error)
        .map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}

/// How an attack ended; `exit 0` when the process has become another one.
fn attack(user: u32, walls: &str, attack: &str, dir: &Path, port: u16) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([INSIDE, walls, attack]).arg(dir).arg(port.to_string()).stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(user).gid(user);
    }
    let output = command.output().expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match (output.status.signal(), output.status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(0)) if said.is_empty() => "exit 0".to_owned(),
        (None, Some(0)) => said,
        _ => format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
}

#[derive(Default)]
struct Report {
    failed: Vec<String>,
    checked: usize,
}

impl Report {
    fn expect(&mut self, what: &str, found: &str, expected: &str) {
        self.checked += 1;
        if found != expected {
            self.failed.push(format!("{what}: `{found}`, expected `{expected}`"));
        }
    }
}

fn attacks(report: &mut Report, user: u32, is_first: bool) {
    let top = tempfile::Builder::new().prefix("waft-compiler-").tempdir().expect("a directory");
    std::fs::set_permissions(top.path(), PermissionsExt::from_mode(0o777)).expect("its mode");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("an address").port();
    let _unix = UnixListener::bind(top.path().join("socket")).expect("a socket");
    std::fs::set_permissions(top.path().join("socket"), PermissionsExt::from_mode(0o777)).expect("its mode");
    for (name, alone) in ATTACKS.iter().map(|attack| (attack.0, attack.2)) {
        // Its limits are the same for everybody, and a second of processor time is one.
        if name == SPINNING && !is_first {
            continue;
        }
        let run = |walls: &str| {
            for file in ["file", "left", "doomed"] {
                let path = top.path().join(file);
                std::fs::write(&path, "text").expect("a file");
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("its mode");
            }
            let _ = std::fs::remove_file(top.path().join("new"));
            attack(user, walls, name, top.path(), port)
        };
        let succeeded = if name == "become a program" { "exit 0" } else { "done" };
        report.expect(&format!("user {user}, without walls: {name}"), &run(""), succeeded);
        for (wall, end) in alone {
            report.expect(&format!("user {user}, {wall} alone: {name}"), &run(wall), end);
        }
        let all = run(&ALL.join(","));
        let is_ended = all.starts_with("refused ") || all.starts_with("signal ");
        report.expect(&format!("user {user}, all walls: {name} ({all})"), &is_ended.to_string(), "true");
    }
}

/// The program that compiles, before it gets its module.
fn the_compiler_is_behind_them(report: &mut Report) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waft"))
        .args(["__compile", "x86_64", "fast", "6442450944", "300"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the compiler");
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
    let until = Instant::now() + PATIENCE;
    let field = |name: &str| {
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    while field("Seccomp_filters") != "2" && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    report.expect("seccomp", &field("Seccomp"), "2");
    report.expect("its filters", &field("Seccomp_filters"), "2");
    report.expect("no_new_privs", &field("NoNewPrivs"), "1");
    report.expect("threads", &field("Threads"), "1");
    let limits = read("limits");
    for (name, soft, hard) in [
        ("Max cpu time", "300", "302"),
        ("Max file size", "0", "0"),
        ("Max core file size", "0", "0"),
        ("Max open files", "8", "8"),
        ("Max address space", "6442450944", "6442450944"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let found: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        report.expect(name, &found.join(" "), &format!("{soft} {hard}"));
    }
    let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    open.sort();
    report.expect("descriptors", &open.join(" "), "0 1 2");
    // With its walls it does its work, and has none to report missing.
    let wasm = wat::parse_str("(module (func (export \"_start\")))").expect("a module");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), &wasm).expect("written");
    let output = child.wait_with_output().expect("its end");
    report.expect("what it says", &String::from_utf8_lossy(&output.stderr), "");
    report.expect(
        "its artifact is an object file",
        &output.stdout.starts_with(b"\x7fELF").to_string(),
        "true",
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As `cargo nextest` asks: one test, of this program's name.
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("compiler_walls: test");
        }
        return;
    }
    if arguments.first().is_some_and(|first| first == INSIDE) {
        return inside(arguments.get(1..).unwrap_or_default());
    }
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED as root: only an ordinary user is tried (run the tests as root for both)");
    }
    let mut report = Report::default();
    let users = if root { vec![0, ORDINARY] } else { vec![rustix::process::geteuid().as_raw()] };
    for (at, user) in users.into_iter().enumerate() {
        attacks(&mut report, user, at == 0);
    }
    the_compiler_is_behind_them(&mut report);
    println!("{} checks", report.checked);
    if !report.failed.is_empty() {
        eprintln!("{}", report.failed.join("\n"));
        std::process::exit(1);
    }
}
