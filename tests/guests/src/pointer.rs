//! Each host function that takes an address, with addresses and lengths that lead out of this module's memory.

use guests::report::Report;
use guests::wasi::{READ, WRITE, open};
use serde_json::Value;

/// One host function: its name, its parameters by kind, itself.
///
/// Kinds: `p` address, `n` length or count of what is at the address before it, `f` descriptor of a file, `d` of the granted
/// directory, `i` another number, `w` the same in 64 bits.
struct Function {
    name: &'static str,
    kinds: &'static [u8],
    call: fn(&[u64]) -> i32,
}

macro_rules! parameter {
    (w) => {
        u64
    };
    ($other:ident) => {
        u32
    };
}

macro_rules! functions {
    ($table:ident, $import:ident, $module:literal: $($name:ident($($kind:ident $at:literal),*);)*) => {
        mod $import {
            #[link(wasm_import_module = $module)]
            unsafe extern "C" {
                $(pub(super) fn $name($(_: parameter!($kind)),*) -> i32;)*
            }
        }
        const $table: &[Function] = &[$(Function {
            name: stringify!($name),
            kinds: &[$(stringify!($kind).as_bytes()[0]),*],
            // SAFETY: what an address means is checked by the host; that it is, is what this module tests. What is
            // good lies in `Scratch`, which nothing else uses.
            call: |values| unsafe { $import::$name($(values[$at] as parameter!($kind)),*) },
        }),*];
    };
}

functions! { WASI, wasi, "wasi_snapshot_preview1":
    args_get(p 0, p 1);
    args_sizes_get(p 0, p 1);
    clock_res_get(i 0, p 1);
    clock_time_get(i 0, w 1, p 2);
    environ_get(p 0, p 1);
    environ_sizes_get(p 0, p 1);
    fd_fdstat_get(f 0, p 1);
    fd_filestat_get(f 0, p 1);
    fd_pread(f 0, p 1, n 2, w 3, p 4);
    fd_prestat_dir_name(d 0, p 1, n 2);
    fd_prestat_get(d 0, p 1);
    fd_pwrite(f 0, p 1, n 2, w 3, p 4);
    fd_read(f 0, p 1, n 2, p 3);
    fd_readdir(d 0, p 1, n 2, w 3, p 4);
    fd_seek(f 0, w 1, i 2, p 3);
    fd_tell(f 0, p 1);
    fd_write(f 0, p 1, n 2, p 3);
    path_create_directory(d 0, p 1, n 2);
    path_filestat_get(d 0, i 1, p 2, n 3, p 4);
    path_filestat_set_times(d 0, i 1, p 2, n 3, w 4, w 5, i 6);
    path_link(d 0, i 1, p 2, n 3, d 4, p 5, n 6);
    path_open(d 0, i 1, p 2, n 3, i 4, w 5, w 6, i 7, p 8);
    path_readlink(d 0, p 1, n 2, p 3, n 4, p 5);
    path_remove_directory(d 0, p 1, n 2);
    path_rename(d 0, p 1, n 2, d 3, p 4, n 5);
    path_symlink(p 0, n 1, d 2, p 3, n 4);
    path_unlink_file(d 0, p 1, n 2);
    poll_oneoff(p 0, p 1, n 2, p 3);
    random_get(p 0, n 1);
    sock_accept(d 0, i 1, p 2);
    sock_recv(f 0, p 1, n 2, i 3, p 4, p 5);
    sock_send(f 0, p 1, n 2, i 3, p 4);
}

functions! { WAFT, waft, "waft_v1":
    facts(p 0, n 1);
    exec(p 0, n 1);
    file(p 0, n 1);
    net(p 0, n 1);
    task(p 0, n 1);
    blob(p 0, n 1);
    secret(p 0, n 1);
    emit(p 0, n 1);
    read(i 0, p 1, n 2);
    write(i 0, p 1, n 2);
    take(p 0, n 1);
}

/// Functions that take or give vectors of buffers: the addresses in these can be as bad.
const VECTORED: [&str; 6] = ["fd_read", "fd_pread", "fd_write", "fd_pwrite", "sock_recv", "sock_send"];

const SCRATCH_BYTES: usize = 64 << 10;
const ROOM_BYTES: usize = 2 << 20;
const SMALL: u64 = 8;

/// One call, and the buffer that its second of two vectors names.
struct Case {
    function: &'static Function,
    values: Vec<u64>,
    buffer: Option<(u64, u64)>,
}

/// Makes the calls from `from` on, and names each on stderr before it: WASI's functions trap when an address is outside, and
/// then the test begins anew behind that call.
pub(crate) fn pointers(report: &mut Report, params: &Value) {
    let from = usize::try_from(params["from"].as_u64().expect("a number")).expect("fits");
    // Room for all that follows: the memory must not grow behind the end that the cases know.
    drop(std::hint::black_box(vec![0u8; ROOM_BYTES]));
    let mut scratch = vec![0u64; SCRATCH_BYTES / 8];
    let good = scratch.as_mut_ptr() as u64;
    let file = open("file", 0, READ | WRITE).expect("a file to read and write");
    let cases = cases(good, file);
    for (number, case) in cases.iter().enumerate().skip(from) {
        let Case { function, values, buffer } = case;
        scratch.fill(0);
        if let Some((at, length)) = buffer {
            // Two vectors, of which the first is good.
            scratch[0] = good | 4 << 32;
            scratch[1] = at | length << 32;
        }
        eprintln!("{number} {}", function.name);
        let answer = (function.call)(values);
        let is_ours = !function.name.contains('_');
        // The host may serve the first buffer, and say so.
        let short = buffer.is_some() && answer == 0 && {
            let done = values.iter().rev().find(|value| **value == good + 1024).map_or(0, |_| scratch[128]);
            done <= 4
        };
        let refused = if is_ours { answer < 0 } else { answer != 0 } || short;
        report.refused(|| format!("{} {values:x?} {buffer:x?}", function.name), u16::from(refused));
    }
    report.works("read after all that", guests::wasi::opens("file", 0, READ));
    report.note("cases", cases.len());
}

fn cases(good: u64, file: u32) -> Vec<Case> {
    let end = (core::arch::wasm32::memory_size::<0>() as u64) << 16;
    let far = [u64::from(u32::MAX), end - 1];
    let long = [u64::from(u32::MAX), end];
    let mut cases = Vec::new();
    for function in WASI.iter().chain(WAFT) {
        // All that is written lands in one place: the kernel of the host must not mind.
        let base = function.kinds.iter().map(|kind| match kind {
            b'p' => good + 1024,
            b'n' => SMALL,
            b'f' => u64::from(file),
            b'd' => u64::from(guests::wasi::GRANTED),
            _ => 0,
        });
        let base: Vec<u64> = base.collect();
        let with = |changes: &[(usize, u64)], buffer| {
            let mut values = base.clone();
            for (at, value) in changes {
                values[*at] = *value;
            }
            Case { function, values, buffer }
        };
        for (at, kind) in function.kinds.iter().enumerate() {
            match kind {
                b'p' => {
                    cases.extend(far.iter().map(|value| with(&[(at, *value)], None)));
                    // A length that brings the sum round to a good address.
                    if function.kinds.get(at + 1) == Some(&b'n') {
                        cases.push(with(&[(at, u64::from(u32::MAX)), (at + 1, good + 1)], None));
                    }
                }
                b'n' => cases.extend(long.iter().map(|value| with(&[(at, *value)], None))),
                _ => {}
            }
        }
        if VECTORED.contains(&function.name) {
            for buffer in [(u64::from(u32::MAX), 8), (end - 1, 8), (good, u64::from(u32::MAX)), (good, end)] {
                cases.push(with(&[(1, good), (2, 2)], Some(buffer)));
            }
        }
    }
    cases
}
