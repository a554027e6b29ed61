//! `/proc`, granted for reading: the worker's own memory and root, its parent's, and everybody else's.

use guests::report::Report;
use guests::wasi::{DIRECTORY, READ, READDIR, WRITE, close, open, opens, read};

/// Processes of which it is tried, the stub among them.
const PIDS_MAX: usize = 400;

pub(crate) fn proc(report: &mut Report) {
    report.works("read the machine's uptime", opens("uptime", 0, READ));
    // Magic links lead anywhere.
    for link in
        ["self/root", "self/cwd", "self/root/etc", "self/fd/0", "self/fd/3", "1/root", "self/task/1/root"]
    {
        report.refused(|| format!("list by {link}"), opens(link, DIRECTORY, READDIR));
        report.refused(|| format!("read by {link}/passwd"), opens(&format!("{link}/passwd"), 0, READ));
        report.refused(|| format!("read by {link}"), opens(link, 0, READ));
    }
    for path in ["self/exe", "self/root/etc/passwd", "thread-self/root/etc/passwd"] {
        report.refused(|| format!("read {path}"), opens(path, 0, READ));
    }
    for path in [
        "self/mem",
        "self/oom_score_adj",
        "sys/kernel/core_pattern",
        "sysrq-trigger",
        "self/comm",
        "self/clear_refs",
    ] {
        report.refused(|| format!("write {path}"), opens(path, 0, WRITE));
    }
    let mut seen = 0u64;
    for pid in pids(report) {
        seen += 1;
        // Whoever may open this may read it; its beginning is mapped nowhere.
        if !own(&pid) {
            report.refused(|| format!("read {pid}/mem"), opens(&format!("{pid}/mem"), 0, READ));
        }
        let environ = format!("{pid}/environ");
        // Opening it is allowed to some who then find it empty.
        let errno = match open(&environ, 0, READ) {
            Ok(fd) => {
                let got = read(fd);
                close(fd);
                u16::from(got.map_or(true, |bytes| bytes.is_empty()))
            }
            Err(errno) => errno,
        };
        report.refused(|| format!("read {environ}"), errno);
        for link in ["root/etc/passwd", "cwd/etc/passwd", "fd/0", "fd/3"] {
            report.refused(|| format!("read {pid}/{link}"), opens(&format!("{pid}/{link}"), 0, READ));
        }
        report.refused(|| format!("write {pid}/mem"), opens(&format!("{pid}/mem"), 0, WRITE));
    }
    report.note("processes", seen);
}

/// A task may read its own memory: it is its own.
fn own(pid: &str) -> bool {
    let read_name = |name: &str| std::fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
    read_name("self").split(' ').next() == Some(pid)
}

/// All that can be listed.
fn pids(report: &mut Report) -> Vec<String> {
    match std::fs::read_dir("/proc") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .take(PIDS_MAX)
            .collect(),
        Err(error) => {
            report.lost.push(format!("list /proc: {error}"));
            Vec::new()
        }
    }
}
