//! A dry run on the worker's side: what the stub is told about the overlays, and the calls that an overlay cannot keep
//! apart from the real files. Such a call ends the guest; the stub says why.

use super::guest::State;
use super::walls::Layer;
use super::wire::{FromWorker, Link, Load, cut};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use waft_engine::imports::WASI;
use wasmtime::{AsContextMut, Caller, Extern, Linker, bail};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as p1;
use wiggle::GuestMemory;

// Errors of WASI 0.1. What wasmtime-wasi has no number for, a read-only file system and a move to another device among
// it, is IO.
const ACCES: i32 = 2;
const IO: i32 = 29;
/// The overlay cannot hold the owner of a file.
pub(crate) const OVERFLOW: i32 = 61;
const PERM: i32 = 63;
pub(crate) const ROFS: i32 = 69;
pub(crate) const XDEV: i32 = 75;

/// Longer than any path that the kernel takes, bytes.
const PATH_BYTES_MAX: usize = 4096;
/// What WASI says of a file, bytes, and where in it the type is.
const FILESTAT_BYTES: usize = 64;
const TYPE_AT: usize = 16;
/// The types of what is opened: directories, regular files, and links, which are not followed then.
const OPENED: [u8; 3] = [3, 4, 7];

// What `path_open` may do to a file.
const CREATE_OR_TRUNCATE: i32 = 1 | 8;
const RIGHT_WRITE: i64 = 1 << 6;

/// Tells the stub of one directory, with its descriptors.
pub(super) fn tell(link: &Link, layer: &Layer) -> io::Result<()> {
    let descriptors: Vec<_> = layer.descriptors.iter().map(AsFd::as_fd).collect();
    let missing = layer.missing.as_deref().map(cut).unwrap_or_default();
    link.send_with(&FromWorker::Layer { dir: layer.dir, missing }, &descriptors)
}

/// Which errors of a call that writes mean that a granted directory has no overlay. It is read-only then: by its mount, and
/// where there are no mounts of our own by wasmtime.
pub(super) fn prepare(load: &mut Load, own_root: bool) -> &'static [i32] {
    let Some(dry) = &load.dry else { return &[] };
    if !own_root {
        return &[PERM, ACCES, IO];
    }
    let mut missing = false;
    for at in &dry.writable {
        if let Some(dir) = load.dirs.get_mut(*at as usize) {
            missing |= !dir.writable;
            // The mount decides, so that its error can be told from wasmtime's.
            dir.writable = true;
        }
    }
    if missing { &[IO] } else { &[] }
}

/// Ends a guest that asked for what a dry run cannot keep: WASI's error number.
#[derive(Debug)]
pub(super) struct Unkept(pub(super) i32);

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the dry run could not be kept")
    }
}

impl std::error::Error for Unkept {}

impl State {
    fn kept(&self, errno: i32, writes: bool, renames: bool) -> wasmtime::Result<i32> {
        let unkept = match errno {
            OVERFLOW if writes => OVERFLOW,
            _ if writes && self.denied.contains(&errno) => ROFS,
            // Within one directory only an overlay has this error: for a directory that is in its lower side.
            IO if renames => XDEV,
            errno => return Ok(errno),
        };
        Err(Unkept(unkept).into())
    }
}

/// The calls as wasmtime-wasi has them, and a look at how they ended.
macro_rules! watched {
    ($linker:ident, $($name:ident($($argument:ident: $kind:ty),*) $writes:expr, $renames:expr;)*) => {$(
        $linker.func_wrap_async(
            WASI,
            stringify!($name),
            |mut caller: Caller<'_, State>, ($($argument,)*): ($($kind,)*)| {
                Box::new(async move {
                    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                        bail!("missing required memory export");
                    };
                    let fuel = caller.as_context_mut().hostcall_fuel();
                    let (memory, state) = memory.data_and_store_mut(&mut caller);
                    p1::WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, fuel);
                    let mut memory = GuestMemory::Unshared(memory);
                    let errno = p1::$name(&mut state.wasi, &mut memory $(, $argument)*).await?;
                    state.kept(errno, $writes, $renames)
                })
            },
        )?;
    )*};
}

/// Whether a path leads to a FIFO, a socket or a device: opening one may do something to whoever is at its other end. What an
/// overlay shows of them is not the real one, but not each directory has an overlay.
///
/// Whoever swaps such a file in between the look and the leap is not the task: it has one thread.
async fn is_special(
    state: &mut State,
    memory: &[u8],
    (fd, follow): (i32, i32),
    (path, length): (i32, i32),
) -> wasmtime::Result<bool> {
    let (from, length) = (path.cast_unsigned() as usize, length.cast_unsigned() as usize);
    // What is wrong about these the call itself says.
    let Some(path) = from.checked_add(length).and_then(|to| memory.get(from..to)) else { return Ok(false) };
    // It is opened name by name, so one may well lead somewhere: nobody has looked where.
    if length > PATH_BYTES_MAX {
        return Ok(true);
    }
    let mut scratch = vec![0; FILESTAT_BYTES];
    scratch.extend_from_slice(path);
    let mut memory = GuestMemory::Unshared(&mut scratch);
    let at = FILESTAT_BYTES as i32;
    let errno = p1::path_filestat_get(&mut state.wasi, &mut memory, fd, follow, at, length as i32, 0).await?;
    Ok(errno == 0 && scratch.get(TYPE_AT).is_some_and(|kind| !OPENED.contains(kind)))
}

pub(super) fn watch(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        WASI,
        "path_open",
        |mut caller: Caller<'_, State>,
         (fd, follow, path, length, how, rights, later, flags, to): (
            i32,
            i32,
            i32,
            i32,
            i32,
            i64,
            i64,
            i32,
            i32,
        )| {
            Box::new(async move {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    bail!("missing required memory export");
                };
                let fuel = caller.as_context_mut().hostcall_fuel();
                let (memory, state) = memory.data_and_store_mut(&mut caller);
                p1::WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, fuel);
                if is_special(state, memory, (fd, follow), (path, length)).await? {
                    return Ok(PERM);
                }
                let mut memory = GuestMemory::Unshared(memory);
                let errno = p1::path_open(
                    &mut state.wasi,
                    &mut memory,
                    fd,
                    follow,
                    path,
                    length,
                    how,
                    rights,
                    later,
                    flags,
                    to,
                )
                .await?;
                state.kept(errno, how & CREATE_OR_TRUNCATE != 0 || rights & RIGHT_WRITE != 0, false)
            })
        },
    )?;
    watched! { linker,
        path_create_directory(fd: i32, path: i32, length: i32) true, false;
        path_remove_directory(fd: i32, path: i32, length: i32) true, false;
        path_unlink_file(fd: i32, path: i32, length: i32) true, false;
        path_symlink(target: i32, bytes: i32, fd: i32, path: i32, length: i32) true, false;
        path_link(fd: i32, follow: i32, path: i32, length: i32, to: i32, link: i32, bytes: i32) true, false;
        path_rename(fd: i32, path: i32, length: i32, to: i32, name: i32, bytes: i32) true, fd == to;
    }
    linker.allow_shadowing(false);
    Ok(())
}
