//! `fd_readdir` for core modules. The one of wasmtime-wasi reads the whole directory again for each part, looks every entry up
//! by its name, and fails when one of them is gone by then, or has a name that is no UTF-8. And where entries come and go
//! between two parts, it leaves others out, because a place in a listing is a number. Here a directory is read once, when a
//! listing begins, and no entry is looked up. Whatever cannot be listed this way, wasmtime-wasi answers.

use super::State;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use waft_engine::imports::WASI;
use wasmtime::{AsContextMut, Caller, Extern, Linker, bail};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::wasi_snapshot_preview1 as p1;
use wiggle::GuestMemory;

/// What is kept of listings that go on, bytes. Above it the oldest goes, and is read again when it is continued.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// What WASI says of a file, bytes, and where in it the number and the type are.
const FILESTAT_BYTES: usize = 64;
const NUMBER_AT: usize = 8;
const TYPE_AT: usize = 16;
/// What stands before a name, bytes.
const HEAD_BYTES: usize = 24;
// Types of files. WASI 0.1 has none for a FIFO, and a socket's is not known.
const UNKNOWN: u8 = 0;
const BLOCK_DEVICE: u8 = 1;
const CHARACTER_DEVICE: u8 = 2;
const DIRECTORY: u8 = 3;
const REGULAR_FILE: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// The listings of one execution that have been begun.
#[derive(Default)]
pub(in crate::worker) struct Listings(VecDeque<Listing>);

struct Listing {
    fd: i32,
    /// Of the directory: a descriptor may be another one by now.
    number: u64,
    entries: Vec<Entry>,
    bytes: usize,
}

struct Entry {
    number: u64,
    kind: u8,
    name: Box<[u8]>,
}

impl Entry {
    fn new(number: u64, kind: u8, name: &[u8]) -> Entry {
        Entry { number, kind, name: name.into() }
    }
}

impl Listings {
    fn find(&self, fd: i32, number: u64) -> Option<&Listing> {
        self.0.iter().find(|listing| (listing.fd, listing.number) == (fd, number))
    }

    fn forget(&mut self, fd: i32) {
        self.0.retain(|listing| listing.fd != fd);
    }

    /// The newest is kept whatever its size: the next part of it is most likely what is asked for next.
    fn keep(&mut self, listing: Listing) {
        self.forget(listing.fd);
        let mut bytes = listing.bytes;
        self.0.push_front(listing);
        for older in self.0.iter().skip(1) {
            bytes += older.bytes;
        }
        while bytes > KEPT_BYTES_MAX && self.0.len() > 1 {
            bytes -= self.0.pop_back().map_or(0, |oldest| oldest.bytes);
        }
    }
}

impl Listing {
    /// As many entries as there is room for, the last one in part, from a place on. Returns the bytes.
    fn fill(&self, from: usize, room: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut put = |bytes: &[u8]| {
            let rest = room.get_mut(filled..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            for (to, from) in rest.iter_mut().zip(bytes) {
                *to = *from;
            }
            filled += count;
            count == bytes.len()
        };
        for (at, entry) in self.entries.iter().enumerate().skip(from) {
            let mut head = [0; HEAD_BYTES];
            let length = u32::try_from(entry.name.len()).unwrap_or_default();
            let fields = (at as u64 + 1).to_le_bytes().into_iter().chain(entry.number.to_le_bytes());
            let fields = fields.chain(length.to_le_bytes()).chain([entry.kind]);
            for (to, from) in head.iter_mut().zip(fields) {
                *to = from;
            }
            if !(put(&head) && put(&entry.name)) {
                break;
            }
        }
        filled
    }
}

/// The number that wasmtime-wasi shows of a file: a test holds the two together. Were it another one, no directory would be
/// found by it.
fn number(device: u64, inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device, inode).hash(&mut hasher);
    hasher.finish()
}

fn kind(file_type: FileType) -> u8 {
    match file_type {
        FileType::BlockDevice => BLOCK_DEVICE,
        FileType::CharacterDevice => CHARACTER_DEVICE,
        FileType::Directory => DIRECTORY,
        FileType::RegularFile => REGULAR_FILE,
        FileType::Symlink => SYMBOLIC_LINK,
        FileType::Fifo | FileType::Socket | FileType::Unknown => UNKNOWN,
    }
}

/// All that is in a directory, and the directory's own number twice, as wasmtime-wasi has it. The number of an entry is what the
/// directory says. On an overlay, and of what something else is mounted on, the file itself may have another one; whoever
/// needs that looks the file up.
fn read(dir: &File) -> rustix::io::Result<Vec<Entry>> {
    let own = fstat(dir)?;
    let own_number = number(own.st_dev, own.st_ino);
    let mut entries = vec![Entry::new(own_number, DIRECTORY, b"."), Entry::new(own_number, DIRECTORY, b"..")];
    // A descriptor of its own stands at the beginning, and may read whatever the guest's is for.
    let again = openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::new(again)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let file_type = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(_) => FileType::Unknown,
            },
            known => known,
        };
        entries.push(Entry::new(number(own.st_dev, entry.ino()), kind(file_type), name.to_bytes()));
    }
    Ok(entries)
}

impl State {
    /// The number of an open directory.
    async fn directory(&mut self, fd: i32) -> wasmtime::Result<Option<u64>> {
        let mut stat = [0; FILESTAT_BYTES];
        let errno = p1::fd_filestat_get(&mut self.wasi, &mut GuestMemory::Unshared(&mut stat), fd, 0).await?;
        if errno != 0 || stat.get(TYPE_AT) != Some(&DIRECTORY) {
            return Ok(None);
        }
        Ok(stat.get(NUMBER_AT..TYPE_AT).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes))
    }

    /// wasmtime-wasi does not tell which file is behind the descriptor of a guest: one with the same number is the same.
    fn opened(&mut self, directory: u64) -> Option<Arc<File>> {
        let entries = self.wasi.ctx().table.iter_mut();
        let mut dirs = entries.filter_map(|entry| match entry.downcast_ref::<Descriptor>() {
            Some(Descriptor::Dir(dir)) => Some(&dir.dir),
            _ => None,
        });
        dirs.find(|dir| fstat(dir).is_ok_and(|stat| number(stat.st_dev, stat.st_ino) == directory)).cloned()
    }

    /// The next part of a listing. None: it is not for this to answer.
    async fn list(
        &mut self,
        memory: &mut [u8],
        fd: i32,
        (buffer, length): (i32, i32),
        cookie: i64,
        used: i32,
    ) -> wasmtime::Result<Option<()>> {
        let start = buffer.cast_unsigned() as usize;
        let room = start..start.saturating_add(length.cast_unsigned() as usize);
        let used = used.cast_unsigned() as usize;
        let used = used..used.saturating_add(size_of::<u32>());
        let (Ok(from), Some(directory)) = (usize::try_from(cookie), self.directory(fd).await?) else {
            return Ok(None);
        };
        if memory.get(room.clone()).is_none() || memory.get(used.clone()).is_none() {
            return Ok(None);
        }
        if from == 0 || self.listings.find(fd, directory).is_none() {
            let Some(Ok(entries)) = self.opened(directory).map(|dir| read(&dir)) else { return Ok(None) };
            let bytes = entries.iter().map(|entry| size_of::<Entry>() + entry.name.len()).sum();
            self.listings.keep(Listing { fd, number: directory, entries, bytes });
        }
        let (Some(listing), Some(room)) = (self.listings.find(fd, directory), memory.get_mut(room)) else {
            return Ok(None);
        };
        let filled = listing.fill(from, room);
        // Not where there was room left: some guests ask again, until nothing comes, and are not told of what is new.
        if filled == 0 {
            self.listings.forget(fd);
        }
        let Some(used) = memory.get_mut(used) else { return Ok(None) };
        used.copy_from_slice(&u32::try_from(filled)?.to_le_bytes());
        Ok(Some(()))
    }
}

/// In place of the one that is there.
pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        WASI,
        "fd_readdir",
        |mut caller: Caller<'_, State>, (fd, buffer, length, cookie, used): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    bail!("missing required memory export");
                };
                let fuel = caller.as_context_mut().hostcall_fuel();
                let (memory, state) = memory.data_and_store_mut(&mut caller);
                if state.list(memory, fd, (buffer, length), cookie, used).await?.is_some() {
                    return Ok(0);
                }
                p1::WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, fuel);
                let mut memory = GuestMemory::Unshared(memory);
                p1::fd_readdir(&mut state.wasi, &mut memory, fd, buffer, length, cookie, used).await
            })
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
