//! The compiler of an installed stub, on the host: two at once, and one that is killed. What it may take is tried in
//! `stub/tests/compiler.rs`.

use super::orders::{Desk, TASK, code, is_ok};
use super::rig::envelope;
use rustix::process::{Pid, Signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waft_proto::msg::BlobKind;
use waft_proto::run::Status;
use waft_tests::process::wait_until;
use waft_tests::{Result, need_root};

const ANY: &str = "[[rule]]\nname = \"any\"\n";
const SOON: Duration = Duration::from_secs(20);

/// A compiler of this user's, if one runs.
fn running(uid: u32) -> Option<i32> {
    let of_user = format!("Uid:\t{uid}\t");
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        (status.contains(&of_user) && line.windows(9).any(|word| word == b"--compile")).then_some(pid)
    })
}

/// Everything of this user's in a directory, and in its directories, that deep.
fn files(dir: &Path, deep: usize, uid: u32) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(data) = fs::symlink_metadata(entry.path()) else { continue };
        if data.uid() == uid {
            found.push(entry.path());
        }
        if data.is_dir() && deep > 0 {
            found.extend(files(&entry.path(), deep - 1, uid));
        }
    }
    found.sort();
    found
}

/// A module that keeps the compiler busy long enough to be met: each step of its function needs the one before.
fn laborious() -> Vec<u8> {
    const STEPS: usize = 200_000;
    // local.get 0, local.get 1, i64.mul, local.tee 0, local.get 1, i64.xor, local.set 1
    let step = [0x20, 0, 0x20, 1, 0x7e, 0x22, 0, 0x20, 1, 0x85, 0x21, 1];
    let leb = |number: usize| {
        [number & 0x7f | 0x80, number >> 7 & 0x7f | 0x80, number >> 14 & 0x7f | 0x80, number >> 21]
    };
    let sized = |bytes: Vec<u8>| {
        let length = leb(bytes.len()).map(|byte| u8::try_from(byte).expect("seven bits, and one"));
        [length.to_vec(), bytes].concat()
    };
    let long = sized([vec![0], step.repeat(STEPS), vec![0x0b]].concat());
    let code = sized([vec![2], long, vec![2, 0, 0x0b]].concat());
    [
        b"\0asm\x01\0\0\0".to_vec(),
        // Types: of two numbers, of nothing; a function of each; the second is the task.
        vec![1, 9, 2, 0x60, 2, 0x7e, 0x7e, 0, 0x60, 0, 0],
        vec![3, 3, 2, 0, 1],
        [&[7, 10, 1, 6], b"_start".as_slice(), &[0, 1]].concat(),
        vec![10],
        code,
    ]
    .concat()
}

#[test]
fn two_modules_are_compiled_side_by_side() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start(ANY)?;
    let mut rig = desk.rig()?;
    let other = wat::parse_str(TASK.replace("hello", "olleh")).expect("a module");
    let module = rig.offer(BlobKind::Task, &other);
    let two = [desk.hash, module, desk.hash].map(|module| {
        let envelope = envelope(module, Vec::new());
        (envelope.run, desk.seal(&envelope))
    });
    let ended = rig.orders(&two)?;
    for (run, _) in &two {
        let outcome = ended.iter().find(|(ended, _)| ended == run).map(|(_, outcome)| outcome);
        assert_eq!(outcome.map(|outcome| outcome.status), Some(Status::Ok), "{ended:?}");
    }
    Ok(())
}

#[test]
fn a_compiler_that_is_killed_is_said_and_leaves_nothing() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start(ANY)?;
    let uid = desk.place.account.uid;
    let mut rig = desk.rig()?;
    is_ok(&desk.run(&mut rig, |_| {})?);
    let everything = || {
        let own = [desk.place.dir.path(), &desk.place.account.home].map(|dir| files(dir, 8, uid));
        // What is made by others is theirs, and there may be much of it.
        let shared = ["/tmp", "/var/tmp", "/dev/shm"].map(|dir| files(Path::new(dir), 0, uid));
        own.into_iter().chain(shared).flatten().collect::<Vec<PathBuf>>()
    };
    let before = everything();
    let module = rig.offer(BlobKind::Task, &laborious());
    let killer = std::thread::spawn(move || {
        let pid = wait_until("a compiler", SOON, || running(uid))?;
        let pid = Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, Signal::KILL).expect("killed");
        Ok::<_, waft_tests::Error>(())
    });
    let (outcome, stdout) = desk.run(&mut rig, |envelope| envelope.module = module)?;
    killer.join().expect("no panic")?;
    assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "compile.failed"), "{outcome:?}");
    let problem = outcome.problem.expect("a problem");
    assert_eq!(problem.message, "task `hello` could not be compiled: the compiler was killed");
    assert!(problem.hint.is_some_and(|hint| hint.contains("try again")));
    assert_eq!(stdout, "");
    assert_eq!(running(uid), None);
    assert_eq!(everything(), before);
    // The stub lives on, and nothing half made is taken for an artifact.
    is_ok(&desk.run(&mut rig, |_| {})?);
    Ok(())
}
