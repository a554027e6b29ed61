//! Using up what there is.

use crate::report::Report;
use crate::wasi::{CREATE, READ, TRUNCATE, WRITE, close, open, write};
use serde_json::Value;
use std::hint::black_box;

const MIB: usize = 1 << 20;

/// Grows until it may not, and touches all of it.
pub fn memory(report: &mut Report) {
    const PAGE: usize = 64 << 10;
    let mut pages = 0u64;
    loop {
        let before = core::arch::wasm32::memory_grow::<0>(16);
        if before == usize::MAX {
            break;
        }
        // SAFETY: these pages are new, and nobody else's.
        unsafe { std::ptr::write_bytes((before * PAGE) as *mut u8, 0xa5, 16 * PAGE) };
        pages += 16;
    }
    report.note("mib", core::arch::wasm32::memory_size::<0>() * PAGE / MIB);
    report.note("pages", pages);
}

/// Opens one file until it may not.
pub fn files(report: &mut Report) {
    let mut opened = 0u64;
    let errno = loop {
        match open("file", 0, READ) {
            Ok(_) => opened += 1,
            Err(errno) => break errno,
        }
    };
    report.note("opened", opened);
    report.note("errno", errno);
}

/// Writes for ever.
pub fn output(fd: u32) {
    let bytes = vec![b'x'; 64 << 10];
    loop {
        let _ = write(fd, &bytes);
    }
}

/// Writes so many MiB to disk, in many files of which none is large.
pub fn disk(report: &mut Report, params: &Value) {
    let bytes = vec![b'x'; 64 << 10];
    let files = params["mib"].as_u64().expect("a number") * 4;
    for at in 0..files {
        let fd = open(&format!("flood-{at}"), CREATE | TRUNCATE, WRITE).expect("a file");
        for _ in 0..4 {
            assert_eq!(write(fd, &bytes), Ok(bytes.len()), "it is written");
        }
        close(fd);
    }
    report.note("files", files);
}

/// Short lines, for ever, on both.
pub fn lines() {
    loop {
        let _ = (write(1, b"\n"), write(2, b"{}\n"));
    }
}

pub fn recursion(report: &mut Report) {
    fn deeper(depth: u64) -> u64 {
        let kept = black_box([depth; 16]);
        if black_box(depth) == u64::MAX { depth } else { deeper(depth + 1) + black_box(kept)[3] }
    }
    report.note("depth", deeper(0));
}

pub fn spin() {
    loop {
        black_box(0);
    }
}

/// In a host call: an hour of `poll_oneoff`.
pub fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}
