//! The names a task may import: WASI 0.1 and `waft_v1`. The controller refuses a task that imports anything
//! else before it dials; a test of the stub compares the lists with what its linker really defines.

pub mod components;

pub const WASI: &str = "wasi_snapshot_preview1";
pub const WAFT: &str = "waft_v1";

/// The interface of `waft:task` that components import, with its version.
pub const WAFT_HOST: &str = "waft:task/host@1.0.0";

pub const WASI_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// `read` and `write` are `(i32, i32, i32) -> i32`, all others `(i32, i32) -> i32`.
pub const WAFT_FUNCTIONS: [&str; 11] =
    ["blob", "emit", "exec", "facts", "file", "net", "read", "secret", "take", "task", "write"];

/// What the import modules offer; none when no host has such a module.
pub fn functions(module: &str) -> &'static [&'static str] {
    match module {
        WASI => &WASI_FUNCTIONS,
        WAFT => &WAFT_FUNCTIONS,
        _ => &[],
    }
}
