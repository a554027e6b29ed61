//! Ways out of a granted directory that stands beside one that was not granted.
//!
//! ```text
//!   top/granted/{file, inner/file, and links that the test made}      top/outside/{file, dir}
//! ```

use crate::report::Report;
use crate::wasi::{
    self, CREATE, DIRECTORY, EXCLUSIVE, READ, READDIR, TRUNCATE, WRITE, link, mkdir, opens, readlink, rename,
    rmdir, stat, symlink, touch, unlink,
};

/// Each leads to the directory outside, or to where there is none. `absolute` and the rest are links that the test made.
const OUTSIDE: [&str; 14] = [
    "../outside",
    "./../outside",
    "inner/../../outside",
    "inner/.././/../outside",
    "..//outside",
    "../granted/../outside",
    "../../../../../../../../../../etc",
    "/etc",
    "absolute",
    "relative",
    "chain",
    "inner/up",
    "proc-root",
    "proc-cwd",
];

pub fn escape(report: &mut Report) {
    controls(report);
    for dir in OUTSIDE {
        for name in ["", "/", "/.", "/file", "/file/", "/dir/", "/new", "/passwd"] {
            everything(report, &format!("{dir}{name}"));
        }
    }
    for path in [
        "..",
        "../",
        "../.",
        "/",
        "//",
        "inner/../..",
        "inner/../../",
        "loop",
        "loop/file",
        "to-file",
        "to-file/",
    ] {
        everything(report, path);
    }
    links_of_its_own(report);
}

/// What the grant gives, by the same functions.
fn controls(report: &mut Report) {
    for (what, errno) in [
        ("read", opens("file", 0, READ)),
        ("read by a path with ..", opens("inner/../file", 0, READ)),
        ("read by a link that stays inside", opens("fine", 0, READ)),
        ("write", opens("file", 0, WRITE)),
        ("create", opens("made", CREATE | EXCLUSIVE, READ | WRITE)),
        ("rename", rename("made", "inner/moved")),
        ("hard link", link("inner/moved", "linked")),
        ("remove", unlink("inner/moved")),
        ("remove a link", unlink("linked")),
        ("make a directory", mkdir("new-dir")),
        ("remove a directory", rmdir("new-dir")),
        ("list", opens("inner", DIRECTORY, READDIR)),
        ("look", stat("file")),
        ("read a link", readlink("fine")),
        ("make a link", symlink("file", "own")),
        ("remove it", unlink("own")),
    ] {
        report.works(what, errno);
    }
}

/// Each function that takes a path, with one that leads out.
fn everything(report: &mut Report, path: &str) {
    let ways: [(&str, u16); 13] = [
        ("read", opens(path, 0, READ)),
        ("list", opens(path, DIRECTORY, READDIR)),
        ("write", opens(path, 0, WRITE)),
        ("truncate", opens(path, TRUNCATE, WRITE)),
        ("create", opens(path, CREATE, WRITE)),
        ("make a directory at", mkdir(path)),
        ("look at", stat(path)),
        ("set times of", touch(path)),
        ("hard link from", unless_a_link(path, || link(path, "linked-in"))),
        ("hard link to", link("file", path)),
        ("rename from", unless_a_link(path, || rename(path, "renamed-in"))),
        ("rename to", unless_a_link(path, || rename("sacrifice", path))),
        ("read as a link", unless_a_link(path, || readlink(path))),
    ];
    for (what, errno) in ways {
        report.refused(|| format!("{what} `{path}`"), errno);
    }
    for (what, errno) in [
        ("remove", unless_a_link(path, || unlink(path))),
        ("remove the directory", unless_a_link(path, || rmdir(path))),
    ] {
        report.refused(|| format!("{what} `{path}`"), errno);
    }
}

/// A link itself lies inside, and may be renamed, removed and read; the attack is on what is behind it.
fn unless_a_link(path: &str, way: impl FnOnce() -> u16) -> u16 {
    const NONE: u16 = u16::MAX;
    let inside = !path.starts_with('/') && !path.contains("..");
    if inside && !path.trim_end_matches(['/', '.']).trim_start_matches("inner/").contains('/') {
        NONE
    } else {
        way()
    }
}

/// Links that the task makes, at whatever it likes, and then goes through.
fn links_of_its_own(report: &mut Report) {
    for content in ["../outside", "/etc", "..", "../..", "/proc/self/root", "/", "inner/../../outside"] {
        let _ = unlink("own");
        if symlink(content, "own") != 0 {
            report.tried += 1;
            continue;
        }
        for path in ["own/file", "own/passwd", "own/new", "own/etc/passwd", "own/outside/file", "own/"] {
            for (what, errno) in [
                ("read", opens(path, 0, READ)),
                ("create", opens(path, CREATE, WRITE)),
                ("look at", stat(path)),
                ("list", opens(path, DIRECTORY, READDIR)),
            ] {
                report.refused(|| format!("{what} `{path}` by an own link to `{content}`"), errno);
            }
        }
        // Moved deeper, a relative link leads elsewhere.
        if rename("own", "inner/own") == 0 {
            let errno = opens("inner/own/file", 0, READ);
            let inside = content == "..";
            if !inside {
                report.refused(|| format!("read by a moved link to `{content}`"), errno);
            }
            let _ = unlink("inner/own");
        }
    }
    // A directory that is moved away while it is held does not take `..` with it.
    report.works("make a directory", mkdir("deep"));
    report.works("move it", rename("deep", "inner/deep"));
    report.refused(
        || "read by .. of a moved directory".to_owned(),
        opens("inner/deep/../../../outside/file", 0, READ),
    );
    let _ = rmdir("inner/deep");
}

/// A directory that was granted for reading.
pub fn read_only(report: &mut Report) {
    report.works("read", opens("file", 0, READ));
    report.works("list", opens("inner", DIRECTORY, READDIR));
    for (what, errno) in [
        ("write", opens("file", 0, WRITE)),
        ("write and read", opens("file", 0, READ | WRITE)),
        ("truncate", opens("file", TRUNCATE, READ)),
        ("create", opens("new", CREATE, READ)),
        ("create deeper", opens("inner/new", CREATE, WRITE)),
        ("make a directory", mkdir("new")),
        ("remove a directory", rmdir("inner")),
        ("remove", unlink("file")),
        ("rename", rename("file", "other")),
        ("hard link", link("file", "other")),
        ("make a link", symlink("file", "other")),
        ("set times", touch("file")),
    ] {
        report.refused(|| what.to_owned(), errno);
    }
    // By a descriptor that may only read.
    match wasi::open("file", 0, READ) {
        Ok(fd) => {
            report.refused(
                || "write by a reading descriptor".to_owned(),
                wasi::write(fd, b"x").err().unwrap_or(0),
            );
            wasi::close(fd);
        }
        Err(errno) => report.works("read", errno),
    }
}
