//! The stubs at hand: those built into this program, and those in a stub directory (`WAFT_STUB_DIR`, else
//! `~/.local/share/waft/stubs`) for other machines. A file is named after what it is: `leaf-x86_64`.

use crate::files;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use waft_hop::dial::Stubs;
use waft_hop::stream::Pending;
use waft_proto::id::Hash;
use waft_proto::msg::{Arch, BlobKind, StubBlob, StubKind};
use waft_proto::run::Problem;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

pub struct Stub {
    pub blob: StubBlob,
    pub gzip: Arc<[u8]>,
    /// The file, or nothing for one that is built in.
    pub file: Option<PathBuf>,
}

/// The program that runs components for the stubs of one architecture. It travels as it is: a leaf undoes no gzip.
pub struct Worker {
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
    /// The file, or nothing for one that is built in.
    pub file: Option<PathBuf>,
}

/// The kind of those in names of files and in what is built in.
pub const WORKER: &str = "worker";

pub struct Shelf(Vec<Stub>);

/// The directory for stubs of other machines.
pub fn dir() -> Option<PathBuf> {
    named_dir().or_else(|| files::data_dir().map(|dir| dir.join("stubs")))
}

fn named_dir() -> Option<PathBuf> {
    std::env::var_os("WAFT_STUB_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

impl Shelf {
    /// Everything at hand. A file in the stub directory goes before a built-in one of the same kind.
    pub fn load() -> Result<Shelf, Problem> {
        if let Some(dir) = named_dir().filter(|dir| !dir.is_dir()) {
            let text = format!("WAFT_STUB_DIR is {}, which is no directory", dir.display());
            return Err(Problem::new("stub.dir", text).hint("unset it, or make the directory"));
        }
        // What lies there is run on every target. A directory that was named is the operator's business.
        if let (None, Some(data)) = (named_dir(), files::data_dir()) {
            files::guarded(&data, "stubs", "XDG_DATA_HOME")?;
        }
        let mut stubs = Vec::new();
        for file in dir().map(|dir| files::list(&dir)).unwrap_or_default() {
            if let Some((kind, arch)) = file.file_name().and_then(|name| parse_name(name.to_str()?)) {
                stubs.push(from_file(&file, kind, arch)?);
            }
        }
        for embedded in STUBS {
            let (Some(arch), Some(kind)) = (Arch::parse(embedded.arch), parse_kind(embedded.kind)) else {
                continue;
            };
            if stubs.iter().any(|stub: &Stub| stub.blob.arch == arch && stub.blob.kind == kind) {
                continue;
            }
            let gzip: Arc<[u8]> = Arc::from(embedded.gz);
            let blob = StubBlob {
                arch,
                kind,
                hash: Hash::of(&gzip),
                bytes: gzip.len() as u64,
                bytes_raw: embedded.raw_len,
            };
            stubs.push(Stub { blob, gzip, file: None });
        }
        Ok(Shelf(stubs))
    }

    pub fn all(&self) -> impl Iterator<Item = &Stub> {
        self.0.iter()
    }

    /// What goes into the root's blob store, so that hops can have it.
    pub fn blobs(&self) -> Vec<(Arc<[u8]>, BlobKind)> {
        self.0.iter().map(|stub| (stub.gzip.clone(), BlobKind::Stub)).collect()
    }

    /// What runs components on that architecture, if it is at hand. A file in the stub directory goes before the one that
    /// is built in.
    pub fn worker(arch: Arch) -> Result<Option<Worker>, Problem> {
        let of = |bytes: Vec<u8>, file| Some(Worker { hash: Hash::of(&bytes), bytes: bytes.into(), file });
        let file = dir().map(|dir| dir.join(format!("{WORKER}-{}", arch.word())));
        if let Some(file) = file.filter(|file| file.is_file()) {
            return read_program(&file, arch).map(|bytes| of(bytes, Some(file)));
        }
        let built_in = STUBS.iter().find(|known| known.kind == WORKER && known.arch == arch.word());
        let Some(built_in) = built_in else { return Ok(None) };
        let mut raw = Vec::new();
        GzDecoder::new(built_in.gz).read_to_end(&mut raw).map_err(|error| {
            let why = crate::files::plain(&error);
            Problem::new("stub.unpack", format!("the worker for components cannot be unpacked: {why}"))
        })?;
        Ok(of(raw, None))
    }

    pub fn find(&self, arch: Arch, kind: StubKind) -> Option<&Stub> {
        self.0.iter().find(|stub| stub.blob.arch == arch && stub.blob.kind == kind)
    }
}

impl Stubs for Shelf {
    fn choose(&self, arch: Arch, kind: StubKind) -> Option<StubBlob> {
        self.find(arch, kind).map(|stub| stub.blob.clone())
    }

    fn bytes(&self, wanted: &StubBlob) -> Pending<'_, Result<Arc<[u8]>, Problem>> {
        let found = self.0.iter().find(|stub| stub.blob.hash == wanted.hash).map(|stub| stub.gzip.clone());
        Box::pin(async move {
            found.ok_or_else(|| Problem::new("delivery.stub", "that stub is not on the shelf"))
        })
    }
}

/// Tasks that are built in when scripts/interpreters.sh had made them.
pub const INTERPRETER_NAMES: [&str; 2] = ["javascript", "python"];

/// The WebAssembly of a task that is built in.
pub fn builtin_task(name: &str) -> Option<&'static [u8]> {
    /// Of the interpreters that were asked for.
    static UNPACKED: [OnceLock<Vec<u8>>; INTERPRETER_NAMES.len()] =
        [const { OnceLock::new() }; INTERPRETER_NAMES.len()];
    if let Some((_, wasm)) = TASKS.iter().find(|(task, _)| *task == name) {
        return Some(wasm);
    }
    let (_, gz) = INTERPRETERS.iter().find(|(task, _)| *task == name)?;
    let at = INTERPRETER_NAMES.iter().position(|known| *known == name)?;
    let unpacked = UNPACKED.get(at)?.get_or_init(|| {
        let mut wasm = Vec::new();
        // `gzip` made it, while this program was built.
        let _ = GzDecoder::new(*gz).read_to_end(&mut wasm);
        wasm
    });
    Some(unpacked)
}

/// Names of the tasks that are built in.
pub fn builtin_tasks() -> impl Iterator<Item = &'static str> {
    TASKS.iter().chain(INTERPRETERS).map(|(name, _)| *name)
}

pub fn parse_kind(word: &str) -> Option<StubKind> {
    [StubKind::Leaf, StubKind::Hop].into_iter().find(|kind| kind.word() == word)
}

fn parse_name(name: &str) -> Option<(StubKind, Arch)> {
    let (kind, arch) = name.split_once('-')?;
    Some((parse_kind(kind)?, Arch::parse(arch)?))
}

fn unread(file: &Path, why: &str) -> Problem {
    let hint = "name it otherwise, remove it, or build it again with `waft stub build`";
    Problem::new("stub.read", format!("the stub {} {why}", file.display())).hint(hint)
}

fn read_program(file: &Path, arch: Arch) -> Result<Vec<u8>, Problem> {
    let raw = std::fs::read(file)
        .map_err(|error| unread(file, &format!("cannot be read: {}", crate::files::plain(&error))))?;
    match elf_machine(&raw) {
        Some(machine) if machine == machine_of(arch) => Ok(raw),
        Some(_) => Err(unread(file, &format!("is no program for {}, as its name says", arch.word()))),
        None => Err(unread(file, "is no program for Linux")),
    }
}

fn from_file(file: &Path, kind: StubKind, arch: Arch) -> Result<Stub, Problem> {
    let failed =
        |error: std::io::Error| unread(file, &format!("cannot be read: {}", crate::files::plain(&error)));
    let raw = read_program(file, arch)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&raw).map_err(failed)?;
    let gzip: Arc<[u8]> = encoder.finish().map_err(failed)?.into();
    let blob =
        StubBlob { arch, kind, hash: Hash::of(&gzip), bytes: gzip.len() as u64, bytes_raw: raw.len() as u64 };
    Ok(Stub { blob, gzip, file: Some(file.to_owned()) })
}

/// `e_machine` of a 64-bit little-endian ELF file.
fn elf_machine(file: &[u8]) -> Option<u16> {
    const AT: std::ops::Range<usize> = 18..20;
    let bytes = file.strip_prefix(b"\x7fELF\x02\x01").and(file.get(AT))?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// EM_X86_64 and EM_AARCH64.
fn machine_of(arch: Arch) -> u16 {
    match arch {
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
    }
}

#[cfg(test)]
mod tests {
    use super::{elf_machine, machine_of};
    use waft_proto::msg::Arch;

    #[test]
    fn this_program_is_one_for_this_machine() {
        let own = std::fs::read("/proc/self/exe").expect("the program of this test");
        assert_eq!(elf_machine(&own), Arch::here().map(machine_of));
        assert_eq!(elf_machine(own.get(..19).expect("a header")), None);
        assert_eq!(elf_machine(b"#!/bin/sh\nexit 0 # long enough\n"), None);
    }
}
