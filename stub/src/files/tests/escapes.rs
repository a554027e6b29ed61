//! Ways out of the granted directories, and into those that are only to be read.

use super::*;

/// Each operation that changes what a path names, once.
fn changes(path: &str) -> Vec<Value> {
    vec![
        json!({"op": "chmod", "path": path, "mode": "0777"}),
        json!({"op": "chmod", "path": path, "mode": "0777", "follow": true}),
        json!({"op": "chown", "path": path, "owner": 12345}),
        json!({"op": "chown", "path": path, "group": 12345, "follow": true}),
        json!({"op": "utime", "path": path, "mtime": 1, "atime": 1}),
        json!({"op": "utime", "path": path, "mtime": 1, "follow": true}),
        json!({"op": "setxattr", "path": path, "name": "user.x", "value": "x"}),
        json!({"op": "setxattr", "path": path, "name": "user.x", "value": "x", "follow": true}),
        json!({"op": "removexattr", "path": path, "name": "user.x"}),
        json!({"op": "removexattr", "path": path, "name": "user.x", "follow": true}),
        json!({"op": "symlink", "path": path, "target": "x"}),
        json!({"op": "link", "path": path, "to": "rw/stolen"}),
        json!({"op": "link", "path": "rw/file", "to": path}),
        json!({"op": "rename", "path": path, "to": "rw/stolen"}),
        json!({"op": "rename", "path": "rw/file", "to": path}),
        json!({"op": "rename", "path": path, "to": "rw/file", "exchange": true}),
    ]
}

fn reads(path: &str) -> Vec<Value> {
    let follow = |op: &str| json!({"op": op, "path": path, "follow": true});
    let mut get = follow("getxattr");
    get["name"] = "user.x".into();
    vec![
        follow("stat"),
        follow("listxattr"),
        get,
        json!({"op": "fsync", "path": path}),
        json!({"op": "statvfs", "path": path}),
    ]
}

#[test]
fn what_is_not_granted_is_not_reached_by_any_name() {
    let place = Place::new();
    let before = place.everything();
    // `rwx` and `r` are not `rw`; and `..` is not worked out by words, not even where it would lead back.
    for path in [
        "outside/file",
        "outside",
        "rwx",
        "r",
        "",
        "outside/../rw/file",
        "./../file",
        "/",
        "/etc/passwd",
        "/..",
    ] {
        for request in changes(path).into_iter().chain(reads(path)) {
            let problem = place.bad(request.clone());
            assert_eq!(problem.code, "grant.missing", "{request}: {problem:?}");
        }
    }
    for path in
        ["rw/../outside/file", "rw/dir/../../outside/file", "rw/./..//outside/file", "ro/../outside/file"]
    {
        for request in reads(path) {
            assert_eq!(place.code(request.clone()), "file.escape", "{request}");
        }
    }
    for path in ["rw/../outside/file", "rw/dir/../../outside/file"] {
        for request in changes(path) {
            assert_eq!(place.code(request.clone()), "file.escape", "{request}");
        }
    }
    assert_eq!(place.everything(), before);
}

#[test]
fn a_missing_grant_is_named_as_it_would_be_given() {
    let place = Place::new();
    let problem = place.bad(json!({"op": "chmod", "path": "/etc/app/./x", "mode": "0644"}));
    assert_eq!(
        problem.message,
        "task `deploy` on `web1`: `chmod /etc/app/./x 0644` failed: the grant `fs:/etc/app:rw` is missing"
    );
    assert_eq!(problem.hint.as_deref(), Some("--allow fs:/etc/app:rw"));
    let hint = |request| place.bad(request).hint.unwrap_or_default();
    assert_eq!(hint(json!({"op": "stat", "path": "/etc/app/"})), "--allow fs:/etc/app:ro");
    assert_eq!(hint(json!({"op": "stat", "path": "/etc/a b/../c d/x"})), "--allow 'fs:\"/etc/c d\":ro'");
    let read_only = format!("--allow fs:{}:rw", place.path("ro"));
    assert_eq!(hint(json!({"op": "chmod", "path": "ro/file", "mode": "0644"})), read_only);
}

#[test]
fn symlinks_that_lead_out_are_not_followed() {
    let place = Place::new();
    let (file, dir) = (place.path("outside/file"), place.path("outside"));
    let (root, top) = (format!("/proc/self/root{file}"), place.path(""));
    for (at, target) in [file.as_str(), "../outside/file", "dir/../../outside/file", &root].iter().enumerate()
    {
        symlink(target, place.path(&format!("rw/link{at}"))).expect("a link");
    }
    for (at, target) in [dir.as_str(), "../outside", "/proc/self/cwd", &top].iter().enumerate() {
        symlink(target, place.path(&format!("rw/way{at}"))).expect("a link");
    }
    let before = place.everything();
    for at in 0..4 {
        let link = format!("rw/link{at}");
        let follows = |request: &Value| request["follow"] == true;
        for request in changes(&link).into_iter().chain(reads(&link)).filter(follows) {
            assert_eq!(place.code(request.clone()), "file.escape", "{request}");
        }
        for way in [
            format!("rw/way{at}/file"),
            format!("rw/dir/../way{at}/file"),
            format!("rw/way{at}/../outside/file"),
        ] {
            for request in changes(&way).into_iter().chain(reads(&way)) {
                assert_eq!(place.code(request.clone()), "file.escape", "{request}");
            }
        }
        // The kernel follows what has a slash behind it.
        let behind = format!("rw/way{at}/");
        assert_eq!(place.code(json!({"op": "chmod", "path": behind, "mode": "0777"})), "file.escape");
        assert_eq!(place.code(json!({"op": "stat", "path": behind})), "file.escape");
        assert_eq!(place.code(json!({"op": "link", "path": behind, "to": "rw/new"})), "file.name");
        assert_eq!(place.code(json!({"op": "rename", "path": behind, "to": "rw/new"})), "file.not_dir");
    }
    assert_eq!(place.everything(), before);
}

#[test]
fn symlinks_that_stay_inside_are_followed() {
    let place = Place::new();
    symlink("dir/../dir/file", place.path("rw/link")).expect("a link");
    symlink("../dir", place.path("rw/dir/self")).expect("a link");
    let inode = place.stat("rw/dir/file")["inode"].clone();
    assert_eq!(place.good(json!({"op": "stat", "path": "rw/link", "follow": true}))["inode"], inode);
    assert_eq!(place.stat("rw/dir/self/self/./file")["inode"], inode);
    assert_eq!(place.stat("rw//./dir/..//dir/file")["inode"], inode);
    place.changes_once(json!({"op": "chmod", "path": "rw/dir/self/file", "mode": "0600"}));
}

#[test]
fn loops_and_links_of_proc_end() {
    let place = Place::new();
    symlink("loop2", place.path("rw/loop1")).expect("a link");
    symlink("loop1", place.path("rw/loop2")).expect("a link");
    assert_eq!(place.code(json!({"op": "stat", "path": "rw/loop1", "follow": true})), "file.loop");
    assert_eq!(place.code(json!({"op": "chmod", "path": "rw/loop1/x", "mode": "0600"})), "file.loop");
    assert_eq!(place.stat("rw/loop1")["kind"], "symlink");
    // With /proc granted, its links to open files and roots are there, and lead nowhere.
    let open = fs::File::open(place.path("outside/file")).expect("a file");
    let proc = [Dir { path: "/proc".to_owned(), writable: true }];
    let roots = Roots::open(&proc).expect("it is there");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
    let before = place.outside();
    for path in [format!("/proc/self/fd/{fd}"), format!("/proc/self/root{}", place.path("outside/file"))] {
        for request in changes(&path).into_iter().chain(reads(&path)) {
            if request["follow"] != true && path.contains("/fd/") {
                continue;
            }
            let code =
                call(request.to_string().as_bytes(), &roots, "deploy", "web1").map(|_| "done".to_owned());
            let code = code.unwrap_or_else(|problem| problem.code);
            // The other end of some is not granted here.
            assert!(
                matches!(code.as_str(), "file.loop" | "grant.missing" | "file.request"),
                "{request}: {code}"
            );
        }
    }
    assert_eq!(place.outside(), before);
}

#[test]
fn both_ends_have_to_be_writable() {
    let place = Place::new();
    let before = place.everything();
    for request in changes("ro/file").into_iter().chain(changes("rw/inner/file")).chain(changes("ro/new")) {
        let problem = place.bad(request.clone());
        assert_eq!(problem.code, "grant.missing", "{request}: {problem:?}");
    }
    for request in [
        json!({"op": "rename", "path": "rw/file", "to": "outside/file"}),
        json!({"op": "rename", "path": "outside/file", "to": "rw/new"}),
        json!({"op": "link", "path": "outside/file", "to": "rw/new"}),
        json!({"op": "link", "path": "rw/file", "to": "outside/new"}),
    ] {
        assert_eq!(place.code(request.clone()), "grant.missing", "{request}");
    }
    for request in [
        json!({"op": "rename", "path": "rw/file", "to": "rw/../outside/file"}),
        json!({"op": "link", "path": "rw/../outside/file", "to": "rw/new"}),
    ] {
        assert_eq!(place.code(request.clone()), "file.escape", "{request}");
    }
    assert_eq!(place.everything(), before);
    assert_eq!(place.stat("ro/file")["kind"], "file");
}

#[test]
fn a_read_only_directory_inside_a_writable_one_stays_so() {
    let place = Place::new();
    symlink("inner/file", place.path("rw/link")).expect("a link");
    symlink("inner", place.path("rw/way")).expect("a link");
    let before = place.everything();
    for path in ["rw/way/file", "rw/dir/../inner/file", "rw/way/new"] {
        for request in changes(path) {
            let problem = place.bad(request.clone());
            assert!(
                matches!(problem.code.as_str(), "grant.missing" | "file.not_found"),
                "{request}: {problem:?}"
            );
        }
    }
    for request in [
        json!({"op": "chmod", "path": "rw/link", "mode": "0777", "follow": true}),
        json!({"op": "chmod", "path": "rw/way", "mode": "0777", "follow": true}),
        // Neither may it be moved away, nor something into its place.
        json!({"op": "rename", "path": "rw/dir/../inner", "to": "rw/new"}),
        json!({"op": "rename", "path": "rw/dir", "to": "rw/dir/../inner", "exchange": true}),
    ] {
        let problem = place.bad(request.clone());
        assert_eq!(problem.code, "grant.missing", "{request}");
        assert_eq!(problem.hint, Some(format!("--allow fs:{}:rw", place.path("rw/inner"))));
    }
    assert_eq!(place.everything(), before);
}

#[test]
fn the_granted_directory_is_no_name_in_itself() {
    let place = Place::new();
    let before = place.everything();
    for path in ["rw", "rw/", "rw/.", "rw/dir/..", "rw/dir/."] {
        for request in [
            json!({"op": "rename", "path": path, "to": "rw/new"}),
            json!({"op": "rename", "path": "rw/dir", "to": path}),
            json!({"op": "symlink", "path": path, "target": "x"}),
            json!({"op": "link", "path": "rw/file", "to": path}),
        ] {
            assert_eq!(place.code(request.clone()), "file.name", "{request}");
        }
    }
    for slash in [
        json!({"op": "symlink", "path": "rw/new/", "target": "x"}),
        json!({"op": "link", "path": "rw/file", "to": "rw/new/"}),
    ] {
        assert_eq!(place.code(slash), "file.name");
    }
    assert_eq!(place.everything(), before);
}

#[test]
fn descriptors_of_somebody_else_are_what_the_paths_name() {
    let place = Place::new();
    let other = fs::File::open(place.path("rw/dir")).expect("a directory");
    let dir = Dir { path: "/etc".to_owned(), writable: true };
    let roots = Roots::of(vec![(dir, other.into())]);
    let request = br#"{"op":"chmod","path":"/etc/file","mode":"0604"}"#;
    assert_eq!(call(request, &roots, "deploy", "web1").expect("a file").text, r#"{"changed":true}"#);
    assert_eq!(place.stat("rw/dir/file")["mode"], "0604");
    let gone = [Dir { path: place.path("gone"), writable: true }];
    let problem = Roots::open(&gone).expect_err("it is not there");
    assert!(problem.code == "task.dir" && problem.message.contains("gone") && problem.hint.is_some());
}
