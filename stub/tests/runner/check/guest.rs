//! Modules that make a few calls of WASI.

use crate::lab::{Order, task};
use std::fmt::Write as _;

/// One call of a guest. The module ends with WASI's error number of the first that fails.
#[derive(Clone, Copy)]
pub(super) enum Op<'a> {
    /// Makes or replaces a file with this text.
    Write(&'a str, &'a str),
    /// Ends with 1 unless the file begins with this text.
    Reads(&'a str, &'a str),
    Mkdir(&'a str),
    Rmdir(&'a str),
    Unlink(&'a str),
    Rename(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    Link(&'a str, &'a str),
    /// Writes so many blocks of 64 KiB to a file.
    Fill(&'a str, u32),
    /// Opens for writing without making.
    Open(&'a str),
    /// The same for reading.
    OpenToRead(&'a str),
    /// Prints to stdout.
    Say(&'a str),
    Trap,
}

/// A module that does this in its granted directory number `dir`, from 0.
pub(super) fn guest_in(dir: u32, ops: &[Op<'_>]) -> String {
    let (mut body, mut data, mut at) = (String::new(), String::new(), 4096usize);
    let mut text = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(data, "(data (i32.const {at}) \"{bytes}\")");
        let place = format!("(i32.const {at}) (i32.const {})", text.len());
        at += text.len();
        place
    };
    let fd = format!("(i32.const {})", dir + 3);
    let put = "(drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))";
    for op in ops {
        let line = match *op {
            Op::Write(path, words) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 9) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector {}) (call $try (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                 (call $try (call $close (i32.load (i32.const 16))))",
                text(path),
                text(words)
            ),
            Op::Reads(path, words) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 1024) (i32.const {}))
                 (call $try (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                 (call $same {})
                 (call $try (call $close (i32.load (i32.const 16))))",
                text(path),
                words.len(),
                text(words)
            ),
            Op::Mkdir(path) => format!("(call $try (call $mkdir {fd} {}))", text(path)),
            Op::Rmdir(path) => format!("(call $try (call $rmdir {fd} {}))", text(path)),
            Op::Unlink(path) => format!("(call $try (call $unlink {fd} {}))", text(path)),
            Op::Rename(from, to) => {
                format!("(call $try (call $rename {fd} {} {fd} {}))", text(from), text(to))
            }
            Op::Symlink(target, path) => {
                format!("(call $try (call $symlink {} {fd} {}))", text(target), text(path))
            }
            Op::Link(from, to) => {
                format!("(call $try (call $link {fd} (i32.const 0) {} {fd} {}))", text(from), text(to))
            }
            Op::Fill(path, blocks) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 9) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 65536) (i32.const 65536))
                 (local.set $left (i32.const {blocks}))
                 (loop $more
                   (call $try (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                   (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                   (br_if $more (local.get $left)))",
                text(path)
            ),
            Op::Open(path) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector {}) {put}",
                text(path),
                text("seen")
            ),
            Op::OpenToRead(path) => format!(
                "(call $try (call $open {fd} (i32.const 1) {} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
                 (call $vector (i32.const 1024) (i32.const 16))
                 (call $try (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))",
                text(path)
            ),
            Op::Say(words) => format!(
                "(call $vector {}) (call $try (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
                text(words)
            ),
            Op::Trap => "unreachable".to_owned(),
        };
        body.push_str(&line);
    }
    let of = |name: &str, id: &str, kinds: &str| {
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${id} (param {kinds}) (result i32)))")
    };
    let imports = [
        of("fd_write", "write", "i32 i32 i32 i32"),
        of("fd_read", "read", "i32 i32 i32 i32"),
        of("fd_close", "close", "i32"),
        of("path_open", "open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        of("path_create_directory", "mkdir", "i32 i32 i32"),
        of("path_remove_directory", "rmdir", "i32 i32 i32"),
        of("path_unlink_file", "unlink", "i32 i32 i32"),
        of("path_rename", "rename", "i32 i32 i32 i32 i32 i32"),
        of("path_symlink", "symlink", "i32 i32 i32 i32 i32"),
        of("path_link", "link", "i32 i32 i32 i32 i32 i32 i32"),
    ]
    .join("\n");
    format!(
        "(module {imports}
           (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
           (memory (export \"memory\") 3)
           {data}
           (func $try (param $error i32) (if (local.get $error) (then (call $exit (local.get $error)))))
           (func $vector (param $at i32) (param $length i32)
             (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length)))
           (func $same (param $at i32) (param $length i32) (local $i i32)
             (loop $next
               (if (i32.lt_u (local.get $i) (local.get $length)) (then
                 (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $i)))
                             (i32.load8_u (i32.add (i32.const 1024) (local.get $i))))
                   (then (call $exit (i32.const 1))))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br $next)))))
           (func (export \"_start\") (local $left i32) {body}))"
    )
}

/// In a dry run.
pub(super) fn guest(ops: &[Op<'_>]) -> Order {
    task(guest_in(0, ops)).check()
}
