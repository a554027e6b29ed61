//! The stub's own file calls, which are behind no wall of the worker: each operation of `file`, with paths that lead out.

use crate::say::reply;
use guests::report::Report;
use guests::wasi::{self, READ, WRITE, granted_name};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What follows each of these is not in the granted directory. The links among them were made by the test.
const OUTSIDE: [&str; 13] = [
    "..",
    "../outside",
    "./../outside",
    "inner/../../outside",
    "inner/.././/../outside",
    "../granted/../outside",
    "../../../../../../../../../../etc",
    "absolute",
    "relative",
    "chain",
    "inner/up",
    "proc-root",
    "proc-cwd",
];

/// Refusals that say why. What the kernel says of a path that it walked (`file.not_found`) is no refusal: it was there.
const REFUSALS: [&str; 7] = [
    "file.escape",
    "file.loop",
    "grant.missing",
    "file.name",
    "file.setid",
    "file.xattr_class",
    "file.request",
];

/// The answer, or the code of the problem.
fn ask(request: &Value) -> Result<Value, String> {
    let answer = reply("file", request);
    match answer["error"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(answer),
    }
}

/// Must be refused, and for a reason of ours.
fn refused(report: &mut Report, request: &Value) {
    let answer = ask(request);
    let held = answer.as_ref().is_err_and(|code| REFUSALS.contains(&code.as_str()));
    report.refused(|| format!("{request}: {answer:?}"), u16::from(held));
}

fn works(report: &mut Report, request: &Value, expected: &str) {
    let answer = ask(request).map(|answer| answer.to_string());
    if !answer.as_ref().is_ok_and(|text| text.contains(expected)) {
        report.lost(format!("{request}: {answer:?}"));
    }
}

/// Each operation that changes what `path` names; `other` is inside, and writable.
fn changes(path: &str, other: &str, follow: bool) -> Vec<Value> {
    let mut all = vec![
        json!({"op": "chmod", "path": path, "mode": "0777"}),
        json!({"op": "chmod", "path": path, "mode": "4755"}),
        json!({"op": "chown", "path": path, "owner": 12345, "group": 12345}),
        json!({"op": "utime", "path": path, "mtime": 1, "atime": 1}),
        json!({"op": "setxattr", "path": path, "name": "user.waft", "value": "x"}),
        json!({"op": "setxattr", "path": path, "name": "security.capability", "value": "x"}),
        json!({"op": "removexattr", "path": path, "name": "user.waft"}),
    ];
    if follow {
        all.iter_mut().for_each(|request| request["follow"] = true.into());
        return all;
    }
    all.extend([
        json!({"op": "symlink", "path": path, "target": "x"}),
        json!({"op": "link", "path": path, "to": format!("{other}/stolen")}),
        json!({"op": "link", "path": format!("{other}/file"), "to": path}),
        json!({"op": "rename", "path": path, "to": format!("{other}/stolen")}),
        json!({"op": "rename", "path": format!("{other}/sacrifice"), "to": path}),
        json!({"op": "rename", "path": format!("{other}/sacrifice"), "to": path, "exchange": true}),
        json!({"op": "rename", "path": path, "to": format!("{other}/sacrifice"), "exchange": true}),
    ]);
    all
}

/// Each that only looks.
fn looks(path: &str, follow: bool) -> Vec<Value> {
    let mut all = vec![
        json!({"op": "stat", "path": path}),
        json!({"op": "listxattr", "path": path}),
        json!({"op": "getxattr", "path": path, "name": "user.waft"}),
    ];
    if follow {
        all.iter_mut().for_each(|request| request["follow"] = true.into());
    } else {
        all.extend([json!({"op": "fsync", "path": path}), json!({"op": "statvfs", "path": path})]);
    }
    all
}

/// Everything, by a path whose last name may be a link when `follow` is true.
fn everything(report: &mut Report, path: &str, top: &str, follow: bool) {
    for request in changes(path, top, follow).iter().chain(&looks(path, follow)) {
        refused(report, request);
    }
}

/// `{"attack": "file"}`, with the directory granted for writing.
pub(crate) fn file(report: &mut Report) {
    let top = granted_name();
    let at = |name: &str| format!("{top}/{name}");
    controls(report, &top);
    for dir in OUTSIDE {
        for name in ["/file", "/dir/", "/dir/.", "/new", "/passwd", "/only-outside/"] {
            everything(report, &at(&format!("{dir}{name}")), &top, false);
        }
    }
    // Links themselves lie inside: the attack is on what they name.
    for link in
        ["to-file", "absolute", "relative", "chain", "inner/up", "proc-root", "proc-cwd", "loop", "loop/x"]
    {
        everything(report, &at(link), &top, true);
    }
    let outside = top.strip_suffix("granted").expect("the name that the test gave it");
    for path in [
        &format!("{outside}outside/file"),
        &format!("{outside}grantedfile"),
        &format!("{outside}outside/../granted/file"),
        "/etc/passwd",
        "/",
        "//etc/passwd",
        "/proc/self/root/etc/passwd",
        "/proc/self/fd/3",
        "granted/file",
        "",
        "/etc/pass\0wd",
    ] {
        everything(report, path, &top, false);
        everything(report, path, &top, true);
    }
    links_of_its_own(report, &top);
    rights_to_lend(report, &top);
    what_is_no_file(report, &top);
}

/// What the grant gives, by the same functions: or the rest proves nothing.
fn controls(report: &mut Report, top: &str) {
    let at = |name: &str| format!("{top}/{name}");
    for (request, expected) in [
        (json!({"op": "chmod", "path": at("file"), "mode": "0640"}), "true"),
        (json!({"op": "stat", "path": at("inner/.././file")}), "\"0640\""),
        (json!({"op": "stat", "path": at("fine"), "follow": true}), "\"file\""),
        (json!({"op": "utime", "path": at("file"), "mtime": 1}), "true"),
        (json!({"op": "symlink", "path": at("made"), "target": "file"}), "true"),
        (json!({"op": "rename", "path": at("made"), "to": at("inner/moved")}), "true"),
        (json!({"op": "link", "path": at("file"), "to": at("linked")}), "true"),
        (json!({"op": "fsync", "path": at("inner")}), "{}"),
        (json!({"op": "statvfs", "path": at("")}), "total_bytes"),
        (json!({"op": "listxattr", "path": at("file")}), "names"),
    ] {
        works(report, &request, expected);
    }
}

fn links_of_its_own(report: &mut Report, top: &str) {
    for (number, target) in
        ["../outside", "../../outside", "/etc", "..", "/proc/self/fd", "/", "inner/../../outside"]
            .into_iter()
            .enumerate()
    {
        let own = format!("{top}/own{number}");
        works(report, &json!({"op": "symlink", "path": own, "target": target}), "true");
        for name in ["file", "passwd", "3", "outside/file", "new"] {
            everything(report, &format!("{own}/{name}"), top, false);
        }
        everything(report, &own, top, true);
        // Deeper, a relative link leads elsewhere, and some of these then stay inside.
        let moved = format!("{top}/inner/own{number}");
        works(report, &json!({"op": "rename", "path": own, "to": moved}), "true");
        if target.starts_with('/') || target.starts_with("../../") {
            everything(report, &format!("{moved}/file"), top, false);
        }
    }
}

/// Owner and mode of what is inside, which must not become somebody's rights.
fn rights_to_lend(report: &mut Report, top: &str) {
    let file = format!("{top}/inner/file");
    for mode in ["4755", "2755", "6711", "7777"] {
        refused(report, &json!({"op": "chmod", "path": file, "mode": mode}));
    }
    refused(report, &json!({"op": "chmod", "path": format!("{top}/inner"), "mode": "4755"}));
    for name in ["security.capability", "security.selinux", "trusted.x", "user.overlay.opaque", "system.x"] {
        refused(report, &json!({"op": "setxattr", "path": file, "name": name, "base64": "AQAAAg=="}));
        refused(report, &json!({"op": "removexattr", "path": file, "name": name}));
    }
    for op in ["mknod", "mkfifo", "mount", "open", "chroot", "CHMOD", ""] {
        refused(report, &json!({"op": op, "path": file, "mode": "0777"}));
    }
}

/// A FIFO and, where the test could make one, a device: neither is opened, and neither blocks.
fn what_is_no_file(report: &mut Report, top: &str) {
    for (name, kind) in [("fifo", "fifo"), ("device", "char")] {
        let path = format!("{top}/{name}");
        let Ok(found) = ask(&json!({"op": "stat", "path": path})) else { continue };
        if found["kind"].is_null() {
            continue;
        }
        works(report, &json!({"op": "stat", "path": path}), &format!("\"{kind}\""));
        let answer = ask(&json!({"op": "fsync", "path": path}));
        let held = answer.as_ref().is_err_and(|code| code == "file.kind");
        report.refused(|| format!("fsync of a {kind}: {answer:?}"), u16::from(held));
        report.note(if name == "fifo" { "fifo" } else { "device" }, true);
    }
}

/// `{"attack": "file-read-only"}`: nothing changes; looking goes on.
pub(crate) fn read_only(report: &mut Report, params: &Value) {
    let (top, at) = (granted_name(), params["below"].as_str().unwrap_or_default());
    for path in [format!("{top}{at}/file"), format!("{top}{at}/./file"), format!("{top}{at}/new")] {
        for follow in [false, true] {
            for request in changes(&path, &top, follow) {
                refused(report, &request);
            }
        }
    }
    works(report, &json!({"op": "stat", "path": format!("{top}{at}/file")}), "\"file\"");
    works(report, &json!({"op": "statvfs", "path": format!("{top}{at}")}), "free_bytes");
}

/// `{"attack": "file-inner"}`: the directory is granted for writing, and `inner` below it for reading.
pub(crate) fn inner(report: &mut Report) {
    let top = granted_name();
    // Both are granted, in an order that is not the task's to choose.
    let top = top.strip_suffix("/inner").unwrap_or(&top).to_owned();
    works(report, &json!({"op": "chmod", "path": format!("{top}/file"), "mode": "0600"}), "true");
    works(report, &json!({"op": "symlink", "path": format!("{top}/way"), "target": "inner"}), "true");
    for path in
        ["inner/file", "inner/new", "way/file", "turn/../inner/file", ".//inner/./file", "way/../inner/file"]
    {
        for request in changes(&format!("{top}/{path}"), &top, false) {
            // What is not there, in a directory that may only be read, is told as that.
            let answer = ask(&request);
            let held = answer.as_ref().is_err_and(|code| {
                REFUSALS.contains(&code.as_str()) || (path == "inner/new" && code == "file.not_found")
            });
            report.refused(|| format!("{request}: {answer:?}"), u16::from(held));
        }
    }
    for request in changes(&format!("{top}/way"), &top, true) {
        refused(report, &request);
    }
    // Neither is it moved away, nor something into its place.
    for (path, to) in [("inner", "moved"), ("turn/../inner", "moved"), ("turn", "inner"), ("way", "inner")] {
        let request = json!({"op": "rename", "path": format!("{top}/{path}"), "to": format!("{top}/{to}")});
        refused(report, &request);
        let mut exchange = request;
        exchange["exchange"] = true.into();
        if to == "inner" {
            refused(report, &exchange);
        }
    }
}

/// `{"attack": "file-in-a-race"}`: all operations through a name that another task swaps for a link that leads out.
pub(crate) fn race(report: &mut Report, params: &Value) {
    const INSIDE_BYTES: u64 = 6;
    let (top, time) = (granted_name(), Duration::from_millis(params["ms"].as_u64().expect("a time")));
    let (began, mut good, mut calls) = (Instant::now(), 0u64, 0u64);
    // On a busy machine a little longer, to see the calls work.
    while began.elapsed() < time || (good == 0 && began.elapsed() < time * 10) {
        let file = format!("{top}/turn/file");
        if let Ok(found) = ask(&json!({"op": "stat", "path": file, "follow": true})) {
            match found["size"].as_u64() {
                Some(INSIDE_BYTES) => good += 1,
                None => {}
                Some(_) => report.refused(|| format!("look at the file outside: {found}"), 0),
            }
        }
        for name in ["file", "only-outside", "dir/"] {
            for request in changes(&format!("{top}/turn/{name}"), &top, false) {
                let moves = matches!(request["op"].as_str(), Some("rename" | "link" | "symlink"));
                // Inside, these may succeed, but `turn` has to stay one.
                if !moves || name != "file" {
                    let _ = ask(&request);
                    calls += 1;
                }
            }
        }
        let looked = ask(&json!({"op": "stat", "path": format!("{top}/turn/only-outside")}));
        let seen = looked.as_ref().is_ok_and(|found| found["size"] == 18);
        report.refused(|| "look at what is only outside".to_owned(), u16::from(!seen));
    }
    report.note("good", good);
    report.note("calls", calls);
}

/// `{"attack": "file-proc"}`: `/proc`, granted; in the stub its links lead to what the stub has open.
pub(crate) fn proc(report: &mut Report) {
    works(report, &json!({"op": "stat", "path": "/proc/uptime"}), "\"file\"");
    for process in ["self", "thread-self", "1"] {
        for link in [
            "root/etc/passwd",
            "root/",
            "cwd/",
            "cwd/.",
            "exe",
            "fd/0",
            "fd/1",
            "fd/3",
            "fd/4",
            "fd/5",
            "fd/6",
            "fd/7",
            "ns/mnt",
            "fd/3/",
            "map_files/x",
        ] {
            let path = format!("/proc/{process}/{link}");
            for request in looks(&path, true).iter().chain(&changes(&path, "/proc", true)) {
                let answer = ask(request);
                // Nothing of that name, nothing that this account may look at: nothing was reached.
                let held = answer.as_ref().is_err_and(|code| {
                    REFUSALS.contains(&code.as_str())
                        || matches!(code.as_str(), "file.not_found" | "file.denied" | "file.not_dir")
                }) || answer
                    .as_ref()
                    .is_ok_and(|found| request["op"] == "stat" && found["kind"].is_null());
                report.refused(|| format!("{request}: {answer:?}"), u16::from(held));
            }
        }
    }
}

/// `{"attack": "special", "name": ..}`: opens it in each way, and says before each what it is about to do.
pub(crate) fn special(params: &Value) {
    let name = params["name"].as_str().expect("a name");
    for (way, rights) in [("to read", READ), ("to write", WRITE), ("for both", READ | WRITE)] {
        eprintln!("{way}");
        eprintln!("{way}: {}", wasi::opens(name, 0, rights));
    }
}
