//! Dry runs by real modules on the real kernel, as root and as an ordinary user: what a task writes it sees, the report has
//! it, and the real directory is what it was. Where no overlay can be, a write ends the task.

use crate::lab::{Order, Ran, pool_of, task};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use waft_proto::envelope::Wall;
use waft_proto::run::Status;

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;

/// One call of a guest. The module ends with WASI's error number of the first that fails.
#[derive(Clone, Copy)]
enum Op<'a> {
    /// Makes or replaces a file with this text.
    Write(&'a str, &'a str),
    /// Ends with 1 unless the file begins with this text.
    Reads(&'a str, &'a str),
    Mkdir(&'a str),
    Rmdir(&'a str),
    Unlink(&'a str),
    Rename(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    Link(&'a str, &'a str),
    /// Writes so many blocks of 64 KiB to a file.
    Fill(&'a str, u32),
    /// Opens for writing without making.
    Open(&'a str),
    /// The same for reading.
    OpenToRead(&'a str),
    /// Prints to stdout.
    Say(&'a str),
    Trap,
}

/// A module that does this in its granted directory number `dir`, from 0.
fn guest_in(dir: u32, ops: &[Op<'_>]) -> String {
    let (mut body, mut data, mut at) = (String::new(), String::new(), 4096usize);
    let mut text = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(data, "(data (i32.const {at}) \"{bytes}\")");
        let place = format!("(i32.const {at}) (i32.const {})", text.len());
        at += text.len();
        place
    };
    let fd = format!("(i32.const {})", dir + 3);
    let put = "(drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))";
    for op in ops {
        let line = match *op {
            Op::Write(path, words) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 9) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector {}) (call $try (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                 (call $try (call $close (i32.load (i32.const 16))))",
                text(path),
                text(words)
            ),
            Op::Reads(path, words) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 1024) (i32.const {}))
                 (call $try (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                 (call $same {})
                 (call $try (call $close (i32.load (i32.const 16))))",
                text(path),
                words.len(),
                text(words)
            ),
            Op::Mkdir(path) => format!("(call $try (call $mkdir {fd} {}))", text(path)),
            Op::Rmdir(path) => format!("(call $try (call $rmdir {fd} {}))", text(path)),
            Op::Unlink(path) => format!("(call $try (call $unlink {fd} {}))", text(path)),
            Op::Rename(from, to) => {
                format!("(call $try (call $rename {fd} {} {fd} {}))", text(from), text(to))
            }
            Op::Symlink(target, path) => {
                format!("(call $try (call $symlink {} {fd} {}))", text(target), text(path))
            }
            Op::Link(from, to) => {
                format!("(call $try (call $link {fd} (i32.const 0) {} {fd} {}))", text(from), text(to))
            }
            Op::Fill(path, blocks) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 9) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 65536) (i32.const 65536))
                 (local.set $left (i32.const {blocks}))
                 (loop $more
                   (call $try (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                   (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                   (br_if $more (local.get $left)))",
                text(path)
            ),
            Op::Open(path) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector {}) {put}",
                text(path),
                text("seen")
            ),
            Op::OpenToRead(path) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 1024) (i32.const 16))
                 (call $try (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))",
                text(path)
            ),
            Op::Say(words) => format!(
                "(call $vector {}) (call $try (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
                text(words)
            ),
            Op::Trap => "unreachable".to_owned(),
        };
        body.push_str(&line);
    }
    let of = |name: &str, id: &str, kinds: &str| {
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${id} (param {kinds}) (result i32)))")
    };
    let imports = [
        of("fd_write", "write", "i32 i32 i32 i32"),
        of("fd_read", "read", "i32 i32 i32 i32"),
        of("fd_close", "close", "i32"),
        of("path_open", "open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        of("path_create_directory", "mkdir", "i32 i32 i32"),
        of("path_remove_directory", "rmdir", "i32 i32 i32"),
        of("path_unlink_file", "unlink", "i32 i32 i32"),
        of("path_rename", "rename", "i32 i32 i32 i32 i32 i32"),
        of("path_symlink", "symlink", "i32 i32 i32 i32 i32"),
        of("path_link", "link", "i32 i32 i32 i32 i32 i32 i32"),
    ]
    .join("\n");
    format!(
        "(module {imports}
           (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
           (memory (export \"memory\") 3)
           {data}
           (func $try (param $error i32) (if (local.get $error) (then (call $exit (local.get $error)))))
           (func $vector (param $at i32) (param $length i32)
             (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length)))
           (func $same (param $at i32) (param $length i32) (local $i i32)
             (loop $next
               (if (i32.lt_u (local.get $i) (local.get $length)) (then
                 (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $i)))
                             (i32.load8_u (i32.add (i32.const 1024) (local.get $i))))
                   (then (call $exit (i32.const 1))))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br $next)))))
           (func (export \"_start\") (local $left i32) {body}))"
    )
}

fn guest(ops: &[Op<'_>]) -> Order {
    task(guest_in(0, ops)).check()
}

/// A tree to work in, everybody's, and the script that a worker is started with.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let top = tempfile::Builder::new().prefix("waft-check-").tempdir().expect("a directory");
        let place = Place { top };
        fs::set_permissions(place.top.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        for dir in ["real", "real/old", "real/deep", "real/deep/er", "other"] {
            fs::create_dir(place.path(dir)).expect("a directory");
        }
        for (file, text) in [
            ("real/a", "one\ntwo\nthree\n"),
            ("real/b", "b"),
            ("real/gone", "gone"),
            ("real/old/file", "x"),
            ("real/deep/er/file", "deep\n"),
            ("other/file", "other"),
        ] {
            fs::write(place.path(file), text).expect("a file");
        }
        symlink("a", place.path("real/link")).expect("a link");
        place.own();
        place
    }

    /// Gives all of it to the ordinary user, as far as we may.
    fn own(&self) {
        if rustix::process::geteuid().is_root() {
            for path in walk(self.top.path()) {
                std::os::unix::fs::lchown(path, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn grant(&self, name: &str, access: &str) -> String {
        format!("fs:{}:{access}", self.path(name).display())
    }

    /// What there is, with all that a write would change.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        walk(self.top.path())
            .into_iter()
            .filter(|path| !path.ends_with("start"))
            .map(|path| {
                let meta = fs::symlink_metadata(&path).expect("it is there");
                let content = if meta.is_file() { fs::read(&path).expect("its bytes") } else { Vec::new() };
                let all = format!(
                    "{:o} {}:{} {} {:?} {}.{} {:?}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.ino(),
                    meta.modified().expect("a time"),
                    meta.ctime(),
                    meta.ctime_nsec(),
                    content
                );
                (path, all)
            })
            .collect()
    }

    /// A program that starts the stub its own way.
    fn starts(&self, how: &str) -> PathBuf {
        let path = self.path("start");
        let stub = env!("CARGO_BIN_EXE_waft-stub");
        fs::write(&path, format!("#!/bin/sh\n{}\n", how.replace("STUB", &format!("env -i {stub}"))))
            .expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path
    }

    /// By whom the worker is run: us, and an ordinary user where we are root.
    fn users(&self) -> Vec<(&'static str, PathBuf)> {
        let mut users = vec![("this user", PathBuf::from(env!("CARGO_BIN_EXE_waft-stub")))];
        if rustix::process::geteuid().is_root() {
            let how =
                format!("exec setpriv --reuid {ORDINARY} --regid {ORDINARY} --clear-groups STUB \"$@\"");
            users.push(("an ordinary user", self.starts(&how)));
        } else {
            eprintln!("SKIPPED: not root, so only this user's dry runs are tried");
        }
        users
    }

    async fn run(&self, order: &Order, program: &Path) -> Ran {
        let before = self.snapshot();
        let pool = pool_of(program);
        let ran = order.run_in(&pool).await;
        if order.check {
            assert_eq!(pool.idle(), Vec::<u32>::new(), "no worker of a dry run is kept");
        }
        pool.shutdown().await;
        assert_eq!(self.snapshot(), before, "the real directories are what they were");
        ran
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    if !dir.is_symlink() && dir.is_dir() {
        for entry in fs::read_dir(dir).expect("a directory") {
            all.extend(walk(&entry.expect("an entry").path()));
        }
    }
    all
}

/// The lines of a dry run, by the end of their path.
fn changes(ran: &Ran, top: &Path) -> BTreeMap<String, Value> {
    let text = std::str::from_utf8(&ran.changes).expect("text");
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let path = line["path"].as_str().expect("a path").to_owned();
        let name = path.strip_prefix(&format!("{}/", top.display())).expect("a path below").to_owned();
        line.as_object_mut().expect("an object").remove("path");
        assert!(all.insert(name, line).is_none(), "{path} twice");
    }
    assert_eq!(all.len(), ran.outcome.changes as usize, "{text}");
    all
}

#[tokio::test]
async fn what_a_task_writes_is_seen_by_it_and_told_and_nowhere_else() {
    let place = Place::new();
    let order = guest(&[
        Op::Write("a", "one\n2\nthree\n"),
        Op::Reads("a", "one\n2\n"),
        Op::Write("new", "hello\n"),
        Op::Unlink("gone"),
        Op::Mkdir("dir"),
        Op::Write("dir/in", "in"),
        Op::Unlink("old/file"),
        Op::Rmdir("old"),
        Op::Rename("b", "c"),
        Op::Symlink("b", "to"),
        Op::Unlink("link"),
        Op::Symlink("new", "link"),
        Op::Write("deep/er/file", "deep\n"),
        Op::Say("{\"changed\":false}"),
    ])
    .grant(place.grant("real", "rw"))
    .diff();
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let told: Vec<_> = all
            .iter()
            .map(|(path, line)| {
                format!(
                    "{path} {} {}",
                    line["kind"].as_str().unwrap_or(""),
                    line["change"].as_str().unwrap_or("")
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "a file modified",
                "b file deleted",
                "c file created",
                "dir dir created",
                "dir/in file created",
                "gone file deleted",
                "link symlink modified",
                "new file created",
                "old dir deleted",
                "to symlink created",
            ],
            "{user}"
        );
        assert_eq!(
            all["a"]["text"],
            json!({"line": 1, "old": "one\ntwo\nthree\n", "new": "one\n2\nthree\n"})
        );
        assert_eq!(all["a"]["bytes"], json!([14, 12]));
        assert_eq!(all["new"]["text"], json!({"line": 1, "old": "", "new": "hello\n"}));
        assert_eq!(all["link"]["target"], json!(["a", "new"]));
    }
}

#[tokio::test]
async fn a_directory_that_is_made_anew_shows_only_what_is_different() {
    let place = Place::new();
    let order = guest(&[
        Op::Unlink("deep/er/file"),
        Op::Rmdir("deep/er"),
        Op::Mkdir("deep/er"),
        Op::Write("deep/er/file", "deep\n"),
        Op::Write("deep/er/more", "more"),
        Op::Unlink("old/file"),
        Op::Rmdir("old"),
        Op::Mkdir("old"),
        Op::Unlink("b"),
        Op::Mkdir("b"),
    ])
    .grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let told: Vec<_> = all
            .iter()
            .map(|(path, line)| format!("{path} {}", line["change"].as_str().unwrap_or("")))
            .collect();
        // What is made anew is its maker's.
        let told: Vec<_> = told.into_iter().filter(|line| !line.ends_with(" owner")).collect();
        assert_eq!(told, ["b replaced", "deep/er/more created", "old/file deleted"], "{user}");
    }
}

#[tokio::test]
async fn nothing_is_told_when_nothing_would_change_and_all_when_the_task_fails() {
    let place = Place::new();
    let same =
        guest(&[Op::Write("b", "b"), Op::Write("a", "one\ntwo\nthree\n"), Op::Say("{\"changed\":true}")])
            .grant(place.grant("real", "rw"));
    let fails = guest(&[Op::Write("new", "x"), Op::Trap]).grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&same, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.changes),
            (Status::Ok, 0),
            "{user}: {:?}",
            ran.outcome.problem
        );
        let ran = place.run(&fails, &program).await;
        assert_eq!((ran.outcome.status, ran.outcome.changes), (Status::Failed, 1), "{user}");
        assert_eq!(ran.code(), "task.trap");
    }
}

#[tokio::test]
async fn each_granted_directory_has_its_own_overlay_also_in_another() {
    let place = Place::new();
    let grants = |order: Order| {
        order
            .grant(place.grant("real", "rw"))
            .grant(place.grant("real/deep", "ro"))
            .grant(place.grant("other", "rw"))
    };
    // The order of preopened directories is that of the grants.
    let ways: [(Order, Option<u32>, &[&str]); 4] = [
        (task(guest_in(0, &[Op::Write("new", "x")])), Some(0), &["real/new"]),
        (
            task(guest_in(2, &[Op::Write("new", "x"), Op::Unlink("file")])),
            Some(0),
            &["other/file", "other/new"],
        ),
        // What is granted for reading within another stays so.
        (task(guest_in(0, &[Op::Write("deep/new", "x")])), None, &[]),
        (task(guest_in(1, &[Op::Write("new", "x")])), None, &[]),
    ];
    for (user, program) in place.users() {
        for (order, code, told) in &ways {
            let order = grants(task(order.wat.clone())).check();
            let ran = place.run(&order, &program).await;
            let all = changes(&ran, place.top.path());
            assert_eq!(
                all.keys().map(String::as_str).collect::<Vec<_>>(),
                *told,
                "{user}: {:?}",
                ran.outcome.problem
            );
            match code {
                Some(code) => assert_eq!(ran.outcome.exit_code, Some(*code), "{user}"),
                None => assert_ne!(ran.outcome.status, Status::Ok, "{user}"),
            }
        }
    }
}

#[tokio::test]
async fn a_task_that_fills_the_overlay_has_no_space_left() {
    let place = Place::new();
    // 64 blocks of 64 KiB are 4 MiB. 51: no space left.
    let floods = guest(&[Op::Fill("big", 64)]).grant(place.grant("real", "rw")).grant("disk:1M");
    let fits = guest(&[Op::Fill("big", 8)]).grant(place.grant("real", "rw")).grant("disk:1M");
    for (user, program) in place.users() {
        let ran = place.run(&floods, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.exit_code),
            (Status::Failed, Some(51)),
            "{user}: {:?}",
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let bytes = all["big"]["bytes"][1].as_u64().expect("a size");
        assert!(bytes > 0 && bytes <= 1 << 20, "{user}: {bytes}");
        let ran = place.run(&fits, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.changes),
            (Status::Ok, 1),
            "{user}: {:?}",
            ran.outcome.problem
        );
    }
}

/// Somebody waits at the other end of a FIFO until it is opened: through an overlay that is never.
#[tokio::test]
async fn a_fifo_below_a_granted_directory_is_not_the_real_one() {
    let ways = [
        ("rw", Op::Open("fifo"), false),
        ("rw", Op::OpenToRead("fifo"), true),
        ("ro", Op::OpenToRead("fifo"), true),
    ];
    let place = Place::new();
    let path = place.path("real/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o666.into(), 0).expect("a FIFO");
    place.own();
    for (user, program) in place.users() {
        for (access, op, writer) in ways {
            for check in [true, false] {
                let (done, opened) = std::sync::mpsc::channel();
                let end = path.clone();
                let other = std::thread::spawn(move || {
                    let file = fs::OpenOptions::new().write(writer).read(!writer).open(end);
                    done.send(file.is_ok()).expect("somebody listens");
                });
                // Who opens the overlay's own FIFO waits for another end that nobody has.
                let mut order = task(guest_in(0, &[op])).grant(place.grant("real", access)).timeout_ms(500);
                order.check = check;
                let pool = pool_of(&program);
                order.run_in(&pool).await;
                pool.shutdown().await;
                if check {
                    assert!(opened.try_recv().is_err(), "{user}, {access}: the real FIFO was opened");
                    // Lets the other end go.
                    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK;
                    let both =
                        rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).expect("both its ends");
                    assert_eq!(opened.recv_timeout(crate::lab::PATIENCE), Ok(true));
                    drop(both);
                } else {
                    // A real run opens it, or this test would prove nothing.
                    assert_eq!(opened.recv_timeout(crate::lab::PATIENCE), Ok(true), "{user}, {access}");
                }
                other.join().expect("it ends");
            }
        }
    }
}

/// `/dev/zero` stands for a device that does something when it is opened.
#[tokio::test]
async fn no_device_is_opened_also_where_there_is_no_overlay() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a device");
        return;
    }
    let place = Place::new();
    let zero = rustix::fs::makedev(1, 5);
    let kind = rustix::fs::FileType::CharacterDevice;
    if rustix::fs::mknodat(rustix::fs::CWD, place.path("real/zero"), kind, 0o666.into(), zero).is_err() {
        eprintln!("SKIPPED: this root may make no device");
        return;
    }
    let opens = task(guest_in(0, &[Op::OpenToRead("zero")]));
    let top = place.path("real").display().to_string();
    let mounted = place.starts(&format!(
        "exec unshare -m sh -c 'mount -t tmpfs none {top}/deep && exec STUB \"$@\"' - \"$@\""
    ));
    for program in [PathBuf::from(env!("CARGO_BIN_EXE_waft-stub")), mounted] {
        for access in ["ro", "rw"] {
            let order = task(opens.wat.clone()).grant(place.grant("real", access));
            let ran = place.run(&order, &program).await;
            assert_eq!(
                ran.outcome.status,
                Status::Ok,
                "in a real run it is opened: {:?}",
                ran.outcome.exit_code
            );
            let ran = place.run(&order.check(), &program).await;
            assert_ne!(ran.outcome.status, Status::Ok, "{access}");
        }
    }
}

#[tokio::test]
async fn where_no_overlay_can_be_a_write_ends_the_task_and_reading_goes_on() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can take an overlay away");
        return;
    }
    let place = Place::new();
    let top = place.path("real").display().to_string();
    let ways = [
        // Another file system below would not show in an overlay.
        (format!("exec unshare -m sh -c 'mount -t tmpfs none {top}/deep && exec STUB \"$@\"' - \"$@\""), Wall::Required, "is mounted in it"),
        // An overlay of an overlay of an overlay is more than the kernel stacks.
        (
            format!(
                "exec unshare -m sh -c 'mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/v /mnt/x /mnt/m && \
                 mount -t overlay a -o lowerdir={top},upperdir=/mnt/u,workdir=/mnt/w /mnt/m && \
                 mount -t overlay b -o lowerdir=/mnt/m,upperdir=/mnt/v,workdir=/mnt/x {top} && exec STUB \"$@\"' - \"$@\""
            ),
            Wall::Required,
            "the kernel mounts none",
        ),
        // A user namespace in which no mount namespace can be made.
        (
            "exec unshare -U -r sh -c 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec STUB \"$@\"' - \"$@\"".to_owned(),
            Wall::Best,
            "no namespace can be made",
        ),
        (
            "exec unshare -U -r sh -c 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec STUB \"$@\"' - \"$@\"".to_owned(),
            Wall::Off,
            "no namespace can be made",
        ),
    ];
    let writes: [&[Op<'_>]; 7] = [
        &[Op::Write("new", "x")],
        &[Op::Open("a")],
        &[Op::Unlink("a")],
        &[Op::Mkdir("dir")],
        &[Op::Rmdir("old")],
        &[Op::Rename("a", "z")],
        &[Op::Symlink("a", "z")],
    ];
    for (how, wall, why) in ways {
        let program = place.starts(&how);
        for ops in writes {
            let order = guest(ops).grant(place.grant("real", "rw")).wall(wall);
            let ran = place.run(&order, &program).await;
            assert_eq!(
                (ran.outcome.status, ran.code()),
                (Status::Refused, "check.overlay"),
                "{why}: {:?} {:?}",
                ran.outcome.exit_code,
                ran.outcome.problem
            );
            let message = ran.message();
            assert!(
                message.contains("no overlay here") && message.contains(&top) && message.contains(why),
                "{message}"
            );
            assert_eq!(ran.outcome.changes, 0);
        }
        let reads = guest(&[Op::Reads("a", "one\n")]).grant(place.grant("real", "rw")).wall(wall);
        let ran = place.run(&reads, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{why}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
    }
}

#[tokio::test]
async fn the_root_of_all_is_never_written_to() {
    let place = Place::new();
    let order = guest(&[Op::Write("waft-check-was-here", "x")]).grant("fs:/:rw");
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.code()),
            (Status::Refused, "check.overlay"),
            "{user}: {:?}",
            ran.outcome.exit_code
        );
        assert!(!Path::new("/waft-check-was-here").exists());
    }
}

#[tokio::test]
async fn what_an_overlay_cannot_hold_is_refused_and_not_reported_as_an_error_of_the_task() {
    let place = Place::new();
    // A directory that was there cannot be renamed; that is the overlay's limit, not the task's.
    let order = guest(&[Op::Rename("old", "older")]).grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.code()),
            (Status::Refused, "check.overlay"),
            "{user}: {:?}",
            ran.outcome.exit_code
        );
        assert!(ran.message().contains("cannot be renamed"), "{}", ran.message());
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: not root, so there is no file of another user");
        return;
    }
    // An ordinary user's overlay holds no files of others.
    chown(place.path("real/b"), Some(0), Some(0)).expect("an owner");
    fs::set_permissions(place.path("real/b"), fs::Permissions::from_mode(0o666)).expect("its mode");
    let order = guest(&[Op::Open("b")]).grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        match user {
            "this user" => assert_eq!(ran.outcome.status, Status::Ok, "{:?}", ran.outcome.problem),
            _ => assert_eq!(
                (ran.outcome.status, ran.code()),
                (Status::Refused, "check.overlay"),
                "{:?}",
                ran.outcome.exit_code
            ),
        }
    }
}

#[tokio::test]
async fn a_hard_link_leads_into_the_overlay() {
    let place = Place::new();
    let order = guest(&[Op::Link("a", "twin"), Op::Write("twin", "mine"), Op::Reads("a", "mine")])
        .grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        assert_eq!(changes(&ran, &place.path("real")).keys().collect::<Vec<_>>(), ["a", "twin"], "{user}");
    }
}
