//! Using up what there is.

use crate::Report;
use crate::wasi::{READ, open, write};
use std::hint::black_box;

const MIB: usize = 1 << 20;

/// Grows until it may not, and touches all of it.
pub(crate) fn memory(report: &mut Report) {
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
pub(crate) fn files(report: &mut Report) {
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
pub(crate) fn output(fd: u32) {
    let bytes = vec![b'x'; 64 << 10];
    loop {
        let _ = write(fd, &bytes);
    }
}

/// Short lines, for ever, on both.
pub(crate) fn lines() {
    loop {
        let _ = (write(1, b"\n"), write(2, b"{}\n"));
    }
}

pub(crate) fn recursion(report: &mut Report) {
    fn deeper(depth: u64) -> u64 {
        let kept = black_box([depth; 16]);
        if black_box(depth) == u64::MAX { depth } else { deeper(depth + 1) + black_box(kept)[3] }
    }
    report.note("depth", deeper(0));
}

pub(crate) fn spin() {
    loop {
        black_box(0);
    }
}

/// In a host call: an hour of `poll_oneoff`.
pub(crate) fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}
