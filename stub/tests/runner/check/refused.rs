//! What no overlay can be put under, or hold: it is not opened, not written, and said.

use super::guest::{Op, guest, guest_in};
use super::place::Place;
use crate::lab::{pool_of, task};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use waft_proto::envelope::Wall;
use waft_proto::run::Status;

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

#[tokio::test]
async fn what_has_too_long_a_path_to_be_looked_at_is_not_opened() {
    /// WASI's "operation not permitted".
    const PERM: u32 = 63;
    let place = Place::new();
    let path = |steps: usize| format!("{}a", "./".repeat(steps));
    for (user, program) in place.users() {
        for (steps, code) in [(1024, 0), (2048, PERM)] {
            let order = guest(&[Op::OpenToRead(&path(steps))]).grant(place.grant("real", "rw"));
            let ran = place.run(&order, &program).await;
            assert_eq!(ran.outcome.exit_code, Some(code), "{user}, {steps}: {:?}", ran.outcome.problem);
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
