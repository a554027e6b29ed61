//! Targets made of this machine: a shell, a PATH of chosen tools, directories in a chosen state.

use crate::intro::{Intro, Probe, Said};
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use waft_proto::msg::{Arch, Delivery};
use waft_proto::run::Problem;

/// For one delivery on a busy machine; a good one takes 20 ms.
const DEADLINE: Duration = Duration::from_secs(30);
const HOST: &str = "the lab";
/// What the line needs beside a reader. Not every shell has the last three built in.
const BASICS: [&str; 6] = ["uname", "rm", "chmod", "[", "echo", "printf"];

/// A directory that goes away with its owner.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("waft-delivery-{}-{count}", std::process::id()));
        fs::create_dir(&dir).expect("a scratch directory");
        Scratch(dir)
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir(&dir).expect("a directory");
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where a program of this machine is, if it has it.
pub(super) fn which(name: &str) -> Option<PathBuf> {
    if name == "python3" {
        // What PATH names may be a version manager's script, which needs more than PATH.
        static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
        let ask = || {
            let said = Command::new(name).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
            Some(PathBuf::from(String::from_utf8(said.stdout).ok()?.trim()))
        };
        return PYTHON.get_or_init(ask).clone();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn must(name: &str) -> PathBuf {
    which(name).unwrap_or_else(|| panic!("{name} is missing here: scripts/setup.sh test"))
}

/// A machine to deliver to.
pub(super) struct Target {
    scratch: Scratch,
    tools: PathBuf,
    /// The login shell; `sh` of the chosen tools unless set.
    shell: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`: empty at first, and the only directory that exists there beside /dev/shm.
    pub(super) runtime: PathBuf,
    pub(super) set_runtime: bool,
    namespace: Option<Namespace>,
}

/// Mounts and kernel settings that only the target sees.
#[derive(Clone, Copy)]
pub(super) struct Namespace {
    /// Makes the kernel refuse every executable memfd.
    pub(super) no_memfd: bool,
    /// Shell commands: `$1` is the runtime directory, `$2` the scratch directory.
    pub(super) prepare: &'static str,
}

impl Target {
    /// `sh` is that program, and PATH has that and the named tools: `head`, or `busybox:head`.
    pub(super) fn new(sh: &str, tools: &[&str]) -> Target {
        let scratch = Scratch::new();
        let (dir, runtime) = (scratch.dir("bin"), scratch.dir("run"));
        symlink(must(sh), dir.join("sh")).expect("a link");
        for tool in BASICS.iter().chain(tools) {
            let (program, name) = tool.split_once(':').unwrap_or((tool, tool));
            symlink(must(program), dir.join(name)).expect("a link");
        }
        Target { scratch, tools: dir, shell: None, runtime, set_runtime: true, namespace: None }
    }

    /// All that this machine has, and `shell` as the account's login shell.
    pub(super) fn with_login_shell(shell: PathBuf) -> Target {
        Target { shell: Some(shell), ..Target::new("sh", &["perl", "gzip"]) }
    }

    pub(super) fn within(self, namespace: Namespace) -> Target {
        Target { namespace: Some(namespace), ..self }
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.scratch.dir(name)
    }

    /// Takes all tools away, `uname` too, but for the shell.
    pub(super) fn strip(&self) {
        for entry in fs::read_dir(&self.tools).expect("the tools") {
            let file = entry.expect("a tool").path();
            if !file.ends_with("sh") {
                fs::remove_file(file).expect("one tool less");
            }
        }
    }

    /// The login shell, given the delivery line as sshd gives it.
    pub(super) fn log_in(&self) -> Session<'_> {
        let shell = self.shell.clone().unwrap_or_else(|| self.tools.join("sh"));
        let mut command = match self.namespace {
            None => Command::new(shell),
            Some(namespace) => self.enter(namespace, &shell),
        };
        command.arg("-c").arg(crate::delivery::shell_line()).env_clear();
        command.env("PATH", &self.tools).env("HOME", &self.scratch.0);
        if self.set_runtime {
            command.env("XDG_RUNTIME_DIR", &self.runtime);
        }
        Session::start(self, command)
    }

    fn enter(&self, namespace: Namespace, shell: &Path) -> Command {
        // The mounts need tools that the target then does not have.
        let path = std::env::var("PATH").unwrap_or_default();
        let refuse = if namespace.no_memfd { "echo 2 >/proc/sys/vm/memfd_noexec; " } else { "" };
        let prepare = namespace.prepare;
        let script = format!(
            "set -e; target=$PATH; PATH='{path}'; {refuse}mount -t tmpfs shm /dev/shm; {prepare}\n\
             PATH=$target; shift 2; exec \"$@\""
        );
        let mut command = Command::new(must("unshare"));
        command.args(["--mount", "--pid", "--fork", "--kill-child"]).arg(must("sh")).arg("-c").arg(script);
        command.arg("namespace").arg(&self.runtime).arg(&self.scratch.0).arg(shell);
        command
    }
}

/// Whether this machine lets the tests have targets with mounts of their own: root, and not in a container that
/// forbids it. Says so when it does not.
pub(super) fn namespaces(no_memfd: bool) -> bool {
    let setting = if no_memfd { "echo 2 >/proc/sys/vm/memfd_noexec" } else { "true" };
    let works = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c"])
        .arg(format!("mount -t tmpfs shm /dev/shm && {setting}"))
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        eprintln!("not tested here: it takes root, mount namespaces and vm.memfd_noexec (Linux 6.3)");
    }
    works
}

/// A delivery under way.
pub(super) struct Session<'a> {
    /// Its tools and directories stay as long as the shell.
    _target: &'a Target,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<Vec<u8>>,
    stderr: Option<thread::JoinHandle<String>>,
    intro: Intro,
    until: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) probe: Option<Probe>,
    pub(super) stub: Option<Started>,
    pub(super) problem: Option<Problem>,
    pub(super) stderr: String,
    pub(super) pid: u32,
    pub(super) code: Option<i32>,
}

/// What the program said that was brought over.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Started {
    pub(super) args: String,
    pub(super) exe: String,
    /// Descriptors of its own file, open in it.
    pub(super) leaks: String,
    /// What it read from stdin.
    pub(super) rest: Vec<u8>,
}

impl<'a> Session<'a> {
    fn start(target: &'a Target, mut command: Command) -> Session<'a> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().expect("stdout");
        let mut stderr = child.stderr.take().expect("stderr");
        let (to, from) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = stdout.read(&mut buffer) {
                if to.send(buffer.get(..bytes).unwrap_or_default().to_vec()).is_err() {
                    break;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let until = Instant::now() + DEADLINE;
        let intro = Intro::default();
        Session { _target: target, child, stdin, stdout: from, stderr: Some(stderr), intro, until }
    }

    /// Writes in a thread of its own, in portions of so many bytes. A shell that has given up reads no more.
    pub(super) fn write(&mut self, bytes: Vec<u8>, portion: usize, and_then: AndThen) {
        let mut stdin = self.stdin.take().expect("an open stdin");
        let write = move || {
            for portion in bytes.chunks(portion) {
                match stdin.write_all(portion) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    Err(error) => panic!("{error}"),
                }
            }
            stdin
        };
        match and_then {
            AndThen::Close => {
                thread::spawn(write);
            }
            AndThen::Keep => self.stdin = Some(write()),
        }
    }

    /// What the target says next; `None` when it ended.
    pub(super) fn hear(&mut self) -> Option<Result<Said, Problem>> {
        loop {
            match self.intro.next(HOST) {
                Ok(Some(said)) => return Some(Ok(said)),
                Err(problem) => return Some(Err(problem)),
                Ok(None) => {
                    let bytes = self.more()?;
                    self.intro.feed(&bytes);
                }
            }
        }
    }

    fn more(&mut self) -> Option<Vec<u8>> {
        match self.stdout.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(bytes) => Some(bytes),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                panic!("the target neither spoke nor ended within {DEADLINE:?}");
            }
        }
    }

    /// Everything until the end. `rest` is written when the stub speaks.
    pub(super) fn finish(mut self, rest: &[u8]) -> Outcome {
        let (mut probe, mut frames, mut problem) = (None, None, None);
        while problem.is_none() && frames.is_none() {
            match self.hear() {
                Some(Ok(Said::Probe(said))) => probe = Some(said),
                Some(Ok(Said::Preamble(rest))) => frames = Some(rest),
                Some(Err(said)) => problem = Some(said),
                None => break,
            }
        }
        if !rest.is_empty() {
            self.write(rest.to_vec(), rest.len(), AndThen::Close);
        }
        drop(self.stdin.take());
        while let Some(bytes) = self.more() {
            if let Some(frames) = &mut frames {
                frames.extend(bytes);
            }
        }
        let status = self.child.wait().expect("an exit status");
        Outcome {
            probe,
            problem,
            stub: frames.map(started),
            stderr: self.stderr.take().map(|thread| thread.join().expect("stderr")).unwrap_or_default(),
            pid: self.child.id(),
            code: status.code(),
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AndThen {
    Close,
    Keep,
}

fn started(frames: Vec<u8>) -> Started {
    let mut parts = frames.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (args, exe, leaks) = (line(), line(), line());
    Started { args, exe, leaks, rest: parts.next().unwrap_or_default().to_vec() }
}

/// Header and stub, as they are sent.
pub(super) fn package(delivery: &Delivery) -> Vec<u8> {
    package_for(Arch::here().expect("a machine that waft runs on"), delivery)
}

pub(super) fn package_for(arch: Arch, delivery: &Delivery) -> Vec<u8> {
    packed(arch, &stub(), delivery)
}

/// The same with a program that no machine can start.
pub(super) fn package_of_a_dud() -> Vec<u8> {
    let scratch = Scratch::new();
    let file = scratch.0.join("dud");
    fs::write(&file, "#!/nonexistent/interpreter\n").expect("a file");
    packed(Arch::here().expect("a machine that waft runs on"), &gzip(&file), &Delivery::default())
}

fn packed(arch: Arch, stub: &[u8], delivery: &Delivery) -> Vec<u8> {
    let mut bytes = crate::delivery::header(arch, stub.len() as u64, true, delivery).expect("a header");
    bytes.extend_from_slice(stub);
    bytes
}

/// `testee.rs` as a static program, gzipped.
pub(super) fn stub() -> Arc<[u8]> {
    static STUB: OnceLock<Arc<[u8]>> = OnceLock::new();
    STUB.get_or_init(|| gzip(&testee())).clone()
}

fn gzip(file: &Path) -> Arc<[u8]> {
    let output = Command::new("gzip").args(["-9", "-n", "-c"]).arg(file).output().expect("gzip");
    assert!(output.status.success(), "gzip {}: {}", file.display(), output.status);
    output.stdout.into()
}

/// Compiled once per build of the tests, beside them: under nextest each test is a process of its own.
fn testee() -> PathBuf {
    const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/delivery/tests/testee.rs");
    let tests = std::env::current_exe().expect("the path of the tests");
    let program = tests.with_extension("testee");
    let time = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).ok();
    if time(&program) > time(&tests) && time(&program) > time(Path::new(SOURCE)) {
        return program;
    }
    // A folder each: rustc names its intermediate files after the output, without what follows the dot.
    let folder = tests.with_extension(format!("testee-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder beside the tests");
    let partial = folder.join("testee");
    let mut options: Vec<OsString> = [
        "--edition=2024",
        "-Copt-level=s",
        "-Cpanic=abort",
        "-Cstrip=symbols",
        "-Ctarget-feature=+crt-static",
    ]
    .map(OsString::from)
    .into();
    options.extend(["-o".into(), partial.clone().into(), SOURCE.into()]);
    let status = Command::new("rustc").args(options).status().expect("rustc");
    assert!(status.success(), "rustc {SOURCE}: {status}");
    fs::rename(&partial, &program).expect("the compiled program");
    fs::remove_dir_all(&folder).expect("the folder goes");
    program
}
