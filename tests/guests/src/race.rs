//! Two tasks at once on one directory: one swaps a directory and a link that leads outside, the other goes through that name.

use guests::report::Report;
use guests::wasi::{
    self, CREATE, READ, WRITE, close, mkdir, opens, read, rename, rmdir, stat, symlink, unlink, write,
};
use serde_json::Value;
use std::time::{Duration, Instant};

fn until(params: &Value) -> impl Fn() -> bool {
    let (began, time) = (Instant::now(), Duration::from_millis(params["ms"].as_u64().expect("a time")));
    move || began.elapsed() < time
}

/// `turn` is a directory, then a link to `../outside`, and so on.
pub(crate) fn swap(report: &mut Report, params: &Value) {
    report.works("make the link", symlink("../outside", "link"));
    let (going_on, mut swaps) = (until(params), 0u64);
    while going_on() {
        let errno =
            rename("turn", "real") | rename("link", "turn") | rename("turn", "link") | rename("real", "turn");
        report.works("swap", errno);
        swaps += 1;
    }
    report.works("remove the link", unlink("link"));
    report.note("swaps", swaps);
}

/// What is inside `turn` says `inside`; anything else came from outside.
fn open_all(report: &mut Report) -> u64 {
    let mut good = 0;
    if let Ok(fd) = wasi::open("turn/file", 0, READ) {
        let text = read(fd).unwrap_or_default();
        close(fd);
        good += u64::from(text == b"inside");
        report.refused(|| format!("read {:?}", String::from_utf8_lossy(&text)), u16::from(text == b"inside"));
    }
    // All of these may succeed, inside: the test looks at what is outside.
    if let Ok(fd) = wasi::open("turn/written", CREATE, WRITE) {
        let _ = write(fd, b"by the task");
        close(fd);
    }
    let _ = mkdir("turn/made");
    let _ = rmdir("turn/dir");
    let _ = unlink("turn/file-to-remove");
    let _ = rename("turn/only-outside", "stolen");
    let _ = rename("sacrifice", "turn/sacrifice");
    // These are only outside.
    report.refused(|| "look at what is only outside".to_owned(), stat("turn/only-outside"));
    report.refused(|| "read what is only outside".to_owned(), opens("turn/only-outside", 0, READ));
    good
}

pub(crate) fn open(report: &mut Report, params: &Value) {
    let (going_on, mut good) = (until(params), 0);
    while going_on() {
        good += open_all(report);
    }
    report.note("good", good);
}
