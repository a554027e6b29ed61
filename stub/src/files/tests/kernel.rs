//! Kernels and machines that lack something: nothing is done another way, and the sentence says what is missing.

use super::*;
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Makes the kernel refuse a call to this thread.
fn refuse(number: i64, error: Errno) {
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let action = SeccompAction::Errno(error.raw_os_error().unsigned_abs());
    let rules = [(number, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("it is applied");
}

#[test]
fn without_openat2_no_path_is_followed() {
    let place = Place::new();
    let before = place.everything();
    for error in [Errno::NOSYS, Errno::PERM] {
        // A filter is for the rest of a thread's life.
        std::thread::scope(|scope| {
            let tried = scope.spawn(|| {
                refuse(libc::SYS_openat2, error);
                [
                    place.bad(json!({"op": "stat", "path": "rw/file"})),
                    place.bad(json!({"op": "chmod", "path": "rw/file", "mode": "0600"})),
                    place.bad(json!({"op": "symlink", "path": "rw/new", "target": "x"})),
                ]
            });
            for problem in tried.join().expect("it ends") {
                assert_eq!(problem.code, "file.kernel");
                assert!(
                    problem.message.contains("openat2")
                        && problem.hint.is_some_and(|hint| hint.contains("5.6"))
                );
            }
        });
    }
    assert_eq!(place.everything(), before);
}

#[test]
fn without_proc_it_says_so() {
    if !is_root() {
        return eprintln!("NOT TESTED: only root takes /proc away");
    }
    let place = Place::new();
    let before = place.everything();
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            // SAFETY: descriptors stay shared; the namespace and the working directory are this thread's alone.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
                .expect("a namespace");
            use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .expect("private mounts");
            mount("none", "/proc", "tmpfs", MountFlags::empty(), c"").expect("no /proc");
            // Without a read-only directory beside it, whose place has to be looked up.
            let roots = Roots::open(&[Dir { path: place.path("rw"), writable: true }]).expect("it is there");
            let code = |mut request: Value| {
                request["path"] = place.path("rw/file").into();
                let done = call(request.to_string().as_bytes(), &roots, "deploy", "web1");
                done.map_or_else(|problem| problem.code, |answer| answer.text)
            };
            assert_eq!(code(json!({"op": "chmod", "mode": "0600"})), "file.no_proc");
            assert_eq!(code(json!({"op": "utime", "mtime": 1})), "file.no_proc");
            assert_eq!(code(json!({"op": "setxattr", "name": "user.x", "value": "x"})), "file.no_proc");
            assert_eq!(code(json!({"op": "fsync"})), "file.no_proc");
            assert_eq!(code(json!({"op": "chown", "owner": 0})), "{\"changed\":false}");
        });
        tried.join().expect("it ends");
    });
    assert_eq!(place.everything(), before);
}

#[test]
fn two_file_systems_are_told_apart() {
    let place = Place::new();
    let Ok(other) = tempfile::Builder::new().prefix("waft-files-").tempdir_in("/dev/shm") else {
        return eprintln!("NOT TESTED: there is no /dev/shm");
    };
    let device = |path: &Path| fs::metadata(path).expect("a directory").dev();
    if device(other.path()) == device(&place.top) {
        return eprintln!("NOT TESTED: /dev/shm is no file system of its own");
    }
    let dirs = [place.top.join("rw"), other.path().to_owned()];
    let dirs = dirs.map(|dir| Dir { path: dir.to_str().expect("a plain path").to_owned(), writable: true });
    let roots = Roots::open(&dirs).expect("they are there");
    for op in ["rename", "link"] {
        let request = json!({"op": op, "path": place.path("rw/file"), "to": other.path().join("new")});
        let problem =
            call(request.to_string().as_bytes(), &roots, "deploy", "web1").expect_err("two file systems");
        assert!(problem.code == "file.cross_device" && problem.hint.is_some(), "{problem:?}");
    }
    // Between two directories of one file system both are done.
    let dirs = ["rw/dir", "ro"].map(|dir| Dir { path: place.path(dir), writable: true });
    let roots = Roots::open(&dirs).expect("they are there");
    let request = json!({"op": "rename", "path": place.path("rw/dir/file"), "to": place.path("ro/new")});
    call(request.to_string().as_bytes(), &roots, "deploy", "web1").expect("one file system");
    assert_eq!(place.stat("ro/new")["kind"], "file");
}

#[test]
fn an_ordinary_user_changes_what_he_may() {
    if is_root() {
        return eprintln!("NOT TESTED AS ROOT: it is about what others may not");
    }
    let roots = Roots::open(&[Dir { path: "/etc".to_owned(), writable: true }]).expect("it is there");
    for request in [
        json!({"op": "chmod", "path": "/etc/passwd", "mode": "0666"}),
        json!({"op": "chown", "path": "/etc/passwd", "owner": ORDINARY}),
        json!({"op": "utime", "path": "/etc/passwd", "mtime": 1}),
        json!({"op": "setxattr", "path": "/etc/passwd", "name": "user.x", "value": "x"}),
        json!({"op": "symlink", "path": "/etc/waft-test", "target": "x"}),
        json!({"op": "rename", "path": "/etc/passwd", "to": "/etc/waft-test"}),
        json!({"op": "fsync", "path": "/etc/shadow"}),
    ] {
        let problem = call(request.to_string().as_bytes(), &roots, "deploy", "web1").expect_err("not his");
        assert_eq!(problem.code, "file.denied", "{request}: {problem:?}");
        assert!(problem.hint.is_some_and(|hint| hint.starts_with("it acts as `")));
    }
}
