//! What each operation does, and that a second time it does nothing.

use super::*;
use std::os::unix::fs::FileTypeExt;

#[test]
fn stat_tells_what_the_kernel_tells() {
    let place = Place::new();
    symlink("file", place.path("rw/link")).expect("a link");
    let stat = fs::metadata(place.path("rw/file")).expect("it is there");
    let told = place.stat("rw/file");
    assert_eq!(told["kind"], "file");
    assert_eq!(told["mode"], "0640");
    assert_eq!(told["size"], 2);
    assert_eq!((&told["uid"], &told["gid"]), (&json!(stat.uid()), &json!(stat.gid())));
    assert_eq!(told["nlink"], 1);
    assert_eq!(told["inode"], stat.ino());
    assert_eq!(told["mtime"], format!("{}.{:09}", stat.mtime(), stat.mtime_nsec()));
    assert_eq!(told["ctime"], format!("{}.{:09}", stat.ctime(), stat.ctime_nsec()));
    assert!(told.get("target").is_none());
    let device =
        told["device"].as_str().expect("text").split(':').map(|n| n.parse::<u32>().expect("a number"));
    assert_eq!(device.collect::<Vec<_>>(), [rustix::fs::major(stat.dev()), rustix::fs::minor(stat.dev())]);
    if is_root() {
        assert_eq!((&told["owner"], &told["group"]), (&json!("root"), &json!("root")));
    }
    let link = place.stat("rw/link");
    assert_eq!((&link["kind"], &link["target"]), (&json!("symlink"), &json!("file")));
    let followed = place.good(json!({"op": "stat", "path": "rw/link", "follow": true}));
    assert_eq!(followed["inode"], told["inode"]);
    assert_eq!(place.stat("ro")["kind"], "dir");
    for missing in ["rw/nothing", "rw/nothing/below", "ro/nothing"] {
        assert_eq!(place.stat(missing), json!({"kind": null}));
    }
    assert_eq!(place.code(json!({"op": "stat", "path": "rw/file/below"})), "file.not_dir");
    assert_eq!(place.code(json!({"op": "stat", "path": "rw/file/"})), "file.not_dir");
}

#[test]
fn stat_knows_each_kind_and_opens_none() {
    let place = Place::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, place.path("rw/fifo"), fifo, mode, 0).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("rw/socket")).expect("a socket");
    assert!(fs::metadata(place.path("rw/socket")).expect("it is there").file_type().is_socket());
    for name in ["fifo", "socket"] {
        // Opened, the one would block for ever, and the other fail.
        let path = format!("rw/{name}");
        assert_eq!(place.stat(&path)["kind"], name);
        place.changes_once(json!({"op": "chmod", "path": path, "mode": "0622"}));
        place.changes_once(json!({"op": "utime", "path": path, "mtime": 1}));
        let problem = place.bad(json!({"op": "fsync", "path": path}));
        assert_eq!(problem.code, "file.kind");
    }
    use std::os::unix::ffi::OsStrExt;
    symlink(std::ffi::OsStr::from_bytes(b"\xff"), place.path("rw/odd")).expect("a link");
    assert_eq!(place.stat("rw/odd")["target_base64"], "/w==");
    if !is_root() {
        return eprintln!("NOT TESTED: device nodes are made by root");
    }
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, place.path("rw/null"), kind, mode, device).expect("a device");
    assert_eq!(place.stat("rw/null")["kind"], "char");
    assert_eq!(place.code(json!({"op": "fsync", "path": "rw/null"})), "file.kind");
}

#[test]
fn chmod_sets_all_bits_that_lend_no_rights() {
    let place = Place::new();
    for mode in ["0604", "7", "01644"] {
        place.changes_once(json!({"op": "chmod", "path": "rw/file", "mode": mode}));
    }
    assert_eq!(place.stat("rw/file")["mode"], "1644");
    place.changes_once(json!({"op": "chmod", "path": "rw/dir", "mode": "2775"}));
    symlink("file", place.path("rw/link")).expect("a link");
    assert_eq!(place.code(json!({"op": "chmod", "path": "rw/link", "mode": "0600"})), "file.symlink");
    place.changes_once(json!({"op": "chmod", "path": "rw/link", "mode": "0600", "follow": true}));
    assert_eq!(place.stat("rw/file")["mode"], "0600");
    assert_eq!(place.code(json!({"op": "chmod", "path": "rw/nothing", "mode": "0600"})), "file.not_found");
    // The directory itself is granted with what is in it.
    place.changes_once(json!({"op": "chmod", "path": "rw", "mode": "0711"}));
}

#[test]
fn set_uid_and_set_gid_are_refused_as_root_too() {
    let place = Place::new();
    let before = place.everything();
    for mode in ["4755", "2755", "6755", "7777", "04000"] {
        let problem = place.bad(json!({"op": "chmod", "path": "rw/file", "mode": mode}));
        assert_eq!(problem.code, "file.setid", "{mode}");
        assert!(problem.message.contains("set-uid") && problem.hint.is_some());
    }
    assert_eq!(place.code(json!({"op": "chmod", "path": "rw/dir", "mode": "4755"})), "file.setid");
    assert_eq!(place.everything(), before);
}

#[test]
fn chown_takes_names_and_numbers() {
    let place = Place::new();
    let stat = fs::metadata(place.path("rw/file")).expect("it is there");
    let same =
        json!({"op": "chown", "path": "rw/file", "owner": stat.uid(), "group": stat.gid().to_string()});
    assert_eq!(place.good(same), json!({"changed": false}));
    let problem = place.bad(json!({"op": "chown", "path": "rw/file", "owner": "no such user"}));
    assert_eq!(problem.code, "file.no_name");
    assert!(problem.hint.is_some_and(|hint| hint.contains("give the number")));
    for odd in [json!(-1), json!(u32::MAX), json!("4294967295"), json!(1.5), json!([]), json!(1_u64 << 32)] {
        let request = json!({"op": "chown", "path": "rw/file", "owner": odd});
        let code = place.code(request.clone());
        assert_eq!(code, "file.request", "{request}");
    }
    assert_eq!(place.code(json!({"op": "chown", "path": "rw/file"})), "file.request");
    if !is_root() {
        let problem = place.bad(json!({"op": "chown", "path": "rw/file", "owner": 0}));
        assert_eq!(problem.code, "file.denied");
        return eprintln!("NOT TESTED: only root gives files away");
    }
    place.changes_once(json!({"op": "chown", "path": "rw/file", "owner": "daemon", "group": 7}));
    assert_eq!(place.stat("rw/file")["owner"], "daemon");
    assert_eq!(place.stat("rw/file")["gid"], 7);
    place.changes_once(json!({"op": "chown", "path": "rw/file", "group": "root"}));
    place.changes_once(json!({"op": "chown", "path": "rw/file", "owner": "987654"}));
    assert_eq!(place.stat("rw/file")["owner"], Value::Null);
    // A symlink is given away itself.
    symlink("dir", place.path("rw/link")).expect("a link");
    place.changes_once(json!({"op": "chown", "path": "rw/link", "owner": 5}));
    assert_eq!((&place.stat("rw/link")["uid"], &place.stat("rw/dir")["uid"]), (&json!(5), &json!(0)));
    place.changes_once(json!({"op": "chown", "path": "rw/link", "owner": 6, "follow": true}));
    assert_eq!(place.stat("rw/dir")["uid"], 6);
    // A set-uid program that somebody else put there does not become root's.
    fs::set_permissions(place.path("rw/file"), fs::Permissions::from_mode(0o6755)).expect("its mode");
    place.changes_once(json!({"op": "chown", "path": "rw/file", "owner": 0}));
    assert_eq!(place.stat("rw/file")["mode"], "0755");
}

#[test]
fn links_are_made_once() {
    let place = Place::new();
    place.changes_once(json!({"op": "symlink", "path": "rw/link", "target": "file"}));
    // Where it leads is nobody's business here: the stub does not follow it there.
    place.changes_once(json!({"op": "symlink", "path": "rw/dir/away", "target": "/etc/passwd"}));
    let problem = place.bad(json!({"op": "symlink", "path": "rw/link", "target": "other"}));
    assert_eq!(problem.code, "file.exists");
    assert_eq!(place.code(json!({"op": "symlink", "path": "rw/file", "target": "x"})), "file.exists");
    place.changes_once(json!({"op": "link", "path": "rw/file", "to": "rw/dir/again"}));
    assert_eq!(place.stat("rw/file")["nlink"], 2);
    assert_eq!(place.code(json!({"op": "link", "path": "rw/file", "to": "rw/dir/file"})), "file.exists");
    assert_eq!(place.code(json!({"op": "link", "path": "rw/nothing", "to": "rw/new"})), "file.not_found");
    assert_eq!(place.code(json!({"op": "link", "path": "rw/dir", "to": "rw/new"})), "file.denied");
    // The symlink itself: what it leads to has as many names as before.
    place.changes_once(json!({"op": "link", "path": "rw/dir/away", "to": "rw/away"}));
    assert_eq!(place.stat("rw/away")["kind"], "symlink");
}

#[test]
fn rename_moves_replaces_and_exchanges() {
    let place = Place::new();
    let inode = |path| place.stat(path)["inode"].clone();
    let (file, other) = (inode("rw/file"), inode("rw/dir/file"));
    assert_eq!(
        place.code(json!({"op": "rename", "path": "rw/file", "to": "rw/dir/file", "replace": false})),
        "file.exists"
    );
    let exchange = json!({"op": "rename", "path": "rw/file", "to": "rw/dir/file", "exchange": true});
    assert_eq!(place.good(exchange), json!({"changed": true}));
    assert_eq!((inode("rw/file"), inode("rw/dir/file")), (other, file.clone()));
    assert_eq!(
        place.good(json!({"op": "rename", "path": "rw/dir/file", "to": "rw/file"})),
        json!({"changed": true})
    );
    assert_eq!((inode("rw/file"), place.stat("rw/dir/file")["kind"].clone()), (file, Value::Null));
    assert_eq!(
        place.good(json!({"op": "rename", "path": "rw/file", "to": "rw/./file"})),
        json!({"changed": false})
    );
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/nothing", "to": "rw/new"})), "file.not_found");
    // Directories, with the slash that people write behind them.
    fs::create_dir(place.path("rw/full")).expect("a directory");
    fs::write(place.path("rw/full/x"), "").expect("a file");
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/dir/", "to": "rw/full"})), "file.not_empty");
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/full", "to": "rw/full/in"})), "file.invalid");
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/full", "to": "rw/file"})), "file.not_dir");
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/file", "to": "rw/full"})), "file.is_dir");
    assert_eq!(place.code(json!({"op": "rename", "path": "rw/file/", "to": "rw/new"})), "file.not_dir");
    assert_eq!(
        place.good(json!({"op": "rename", "path": "rw/dir/", "to": "rw/moved/"})),
        json!({"changed": true})
    );
    assert_eq!(place.stat("rw/moved")["kind"], "dir");
}

#[test]
fn times_are_what_stat_tells() {
    let place = Place::new();
    for time in
        ["1767225600.123456789", "0.000000000", "-0.500000000", "-7.000000000", "4102444800.000000001"]
    {
        place.changes_once(json!({"op": "utime", "path": "rw/file", "mtime": time}));
        assert_eq!(place.stat("rw/file")["mtime"], time);
    }
    let atime = place.stat("rw/file")["atime"].clone();
    // Once: to see that nothing changes, the file is read, which is an access.
    place.good(json!({"op": "utime", "path": "rw/file", "mtime": 12}));
    assert_eq!(place.stat("rw/file")["atime"], atime);
    let both = json!({"op": "utime", "path": "rw/file", "atime": "13.5", "mtime": 14});
    assert_eq!(place.good(both.clone()), json!({"changed": true}));
    assert_eq!(place.good(both), json!({"changed": false}));
    assert_eq!(place.stat("rw/file")["atime"], "13.500000000");
    assert_eq!(
        place.good(json!({"op": "utime", "path": "rw/file", "mtime": "now"})),
        json!({"changed": true})
    );
    let now =
        place.stat("rw/file")["mtime"].as_str().and_then(|time| time.split('.').next()?.parse::<u64>().ok());
    assert!(now.is_some_and(|now| now > 1_700_000_000), "{now:?}");
    // Of a symlink, its own.
    symlink("file", place.path("rw/link")).expect("a link");
    place.changes_once(json!({"op": "utime", "path": "rw/link", "mtime": 15}));
    assert_eq!(place.stat("rw/link")["mtime"], "15.000000000");
    assert_ne!(place.stat("rw/file")["mtime"], "15.000000000");
    for odd in [
        json!("yesterday"),
        json!(1.5),
        json!("1.1234567890"),
        json!("+1"),
        json!("1.-5"),
        json!("."),
        json!(""),
    ] {
        let code = place.code(json!({"op": "utime", "path": "rw/file", "mtime": odd}));
        assert_eq!(code, "file.request", "{odd}");
    }
    assert_eq!(place.code(json!({"op": "utime", "path": "rw/file"})), "file.request");
}

#[test]
fn fsync_and_statvfs_need_no_right_to_write() {
    let place = Place::new();
    for path in ["rw/file", "rw/dir", "rw", "ro/file", "ro"] {
        assert_eq!(place.good(json!({"op": "fsync", "path": path})), json!({}));
    }
    place.good(json!({"op": "chmod", "path": "rw/file", "mode": "0200"}));
    assert_eq!(place.good(json!({"op": "fsync", "path": "rw/file"})), json!({}));
    let told = place.good(json!({"op": "statvfs", "path": "ro"}));
    let known = rustix::fs::statvfs(place.path("ro").as_str()).expect("a file system");
    assert_eq!(told["total_bytes"], known.f_blocks * known.f_frsize);
    assert_eq!(told["total_inodes"], known.f_files);
    let bytes = |name: &str| told[name].as_u64().expect("a number");
    assert!(bytes("available_bytes") <= bytes("free_bytes") && bytes("free_bytes") <= bytes("total_bytes"));
    assert!(bytes("free_inodes") <= bytes("total_inodes"));
}

#[test]
fn attributes_are_text_or_base64() {
    let place = Place::new();
    let get = |name: &str| place.good(json!({"op": "getxattr", "path": "rw/file", "name": name}));
    assert_eq!(get("user.a"), json!({"value": null}));
    place.changes_once(json!({"op": "setxattr", "path": "rw/file", "name": "user.a", "value": "grüße"}));
    place.changes_once(json!({"op": "setxattr", "path": "rw/file", "name": "user.b", "base64": "/wA="}));
    place.changes_once(json!({"op": "setxattr", "path": "rw/file", "name": "user.c", "value": ""}));
    assert_eq!(get("user.a"), json!({"value": "grüße"}));
    assert_eq!(get("user.b"), json!({"base64": "/wA="}));
    assert_eq!(get("user.c"), json!({"value": ""}));
    let names = place.good(json!({"op": "listxattr", "path": "rw/file"}))["names"].clone();
    let names: Vec<&str> = names.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    // A machine with SELinux has more.
    assert_eq!(
        names.iter().filter(|name| name.starts_with("user.")).copied().collect::<Vec<_>>(),
        ["user.a", "user.b", "user.c"]
    );
    place.changes_once(json!({"op": "removexattr", "path": "rw/file", "name": "user.a"}));
    assert_eq!(get("user.a"), json!({"value": null}));
    let large = "x".repeat(65537);
    let request = json!({"op": "setxattr", "path": "rw/file", "name": "user.a", "value": large});
    assert_eq!(place.code(request), "file.too_large");
    for odd in ["/wA", "/w=A", "/wB=", "_wA=", "====", "A"] {
        let request = json!({"op": "setxattr", "path": "rw/file", "name": "user.a", "base64": odd});
        assert_eq!(place.code(request), "file.request", "{odd}");
    }
    let both = json!({"op": "setxattr", "path": "rw/file", "name": "user.a", "base64": "", "value": ""});
    assert_eq!(place.code(both), "file.request");
    let long = format!("user.{}", "x".repeat(251));
    assert_eq!(place.code(json!({"op": "getxattr", "path": "rw/file", "name": long})), "file.request");
}

#[test]
fn attributes_that_lend_rights_are_read_only() {
    let place = Place::new();
    let before = place.everything();
    for name in [
        "security.capability",
        "security.selinux",
        "security.x",
        "trusted.x",
        "trusted.overlay.redirect",
        "user.overlay.redirect",
        "system.nfs4_acl",
        "system.posix_acl_accessx",
        "user",
        "x",
    ] {
        for op in ["setxattr", "removexattr"] {
            let mut request = json!({"op": op, "path": "rw/file", "name": name});
            if op == "setxattr" {
                request["value"] = "x".into();
            }
            assert_eq!(place.code(request), "file.xattr_class", "{op} {name}");
        }
    }
    assert_eq!(place.everything(), before);
    let read = place.good(json!({"op": "getxattr", "path": "rw/file", "name": "security.capability"}));
    assert_eq!(read, json!({"value": null}));
    // Version 2; owner rw, user 1 r, group r, mask r, others nothing.
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 1), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let base64 = crate::base64::encode(&acl);
    let name = "system.posix_acl_access";
    place.changes_once(json!({"op": "setxattr", "path": "rw/file", "name": name, "base64": base64}));
    // It is bytes that may happen to be text.
    let told = place.good(json!({"op": "getxattr", "path": "rw/file", "name": name}));
    assert_eq!(told, json!({"base64": base64}));
    place.changes_once(json!({"op": "removexattr", "path": "rw/file", "name": name}));
}
