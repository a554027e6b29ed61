//! `embedded.rs`: three tables over `include_bytes!`, so that rustc never parses the bytes.

use crate::interpreters::Packed;
use crate::stubs::Stub;
use crate::tasks::Task;
use crate::{Failure, failed};
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

pub(crate) fn write(
    out: &Path,
    stubs: &[Stub],
    tasks: &[Task],
    interpreters: &[Packed],
) -> Result<(), Failure> {
    let mut text = String::from(
        "/// A stub as it is sent.\n\
         pub struct EmbeddedStub {\n    \
             /// As `uname -m` prints it.\n    pub arch: &'static str,\n    \
             /// `leaf`, `hop` or `worker`.\n    pub kind: &'static str,\n    \
             pub gz: &'static [u8],\n    \
             /// Bytes after gunzip.\n    pub raw_len: u64,\n    \
             /// blake3 of `gz`.\n    pub hash: [u8; 32],\n}\n\n\
         pub static STUBS: &[EmbeddedStub] = &[\n",
    );
    for stub in stubs {
        text += &stub_entry(out, stub)?;
    }
    text +=
        "];\n\n/// Name and module of each task that is built in.\npub static TASKS: &[(&str, &[u8])] = &[\n";
    for task in tasks {
        // `{:?}` of a path is a Rust string literal.
        let _ = writeln!(text, "    ({:?}, include_bytes!({:?})),", task.name, task.file);
    }
    text += "];\n\n/// Name of each interpreter that is built in, and the gzip of its component.\npub static INTERPRETERS: &[(&str, &[u8])] = &[\n";
    for packed in interpreters {
        let _ = writeln!(text, "    ({:?}, include_bytes!({:?})),", packed.name, packed.file);
    }
    text += "];\n";
    let file = out.join("embedded.rs");
    fs::write(&file, text).map_err(|e| failed("write", &file, &e))
}

fn stub_entry(out: &Path, stub: &Stub) -> Result<String, Failure> {
    let raw = fs::read(&stub.file).map_err(|e| failed("read", &stub.file, &e))?;
    let file = out.join(format!("{}-{}.gz", stub.kind, stub.arch));
    // Of what `file` is the gzip, and made how, so that a stub that did not change is not compressed again.
    let of = file.with_extension("of");
    let made = format!("{} {ITERATIONS} {BLOCKS_MAX}", blake3::hash(&raw));
    let gz = match fs::read(&file) {
        Ok(gz) if fs::read(&of).is_ok_and(|of| of == made.as_bytes()) => gz,
        _ => {
            let gz = gzip(&raw).map_err(|e| failed("compress", &stub.file, &e))?;
            // An interrupted build leaves no pair that does not belong together.
            let _ = fs::remove_file(&of);
            fs::write(&file, &gz).map_err(|e| failed("write", &file, &e))?;
            fs::write(&of, &made).map_err(|e| failed("write", &of, &e))?;
            gz
        }
    };
    Ok(format!(
        "    EmbeddedStub {{ arch: {:?}, kind: {:?}, gz: include_bytes!({file:?}), raw_len: {}, hash: {:?} }},\n",
        stub.arch,
        stub.kind,
        raw.len(),
        blake3::hash(&gz).as_bytes(),
    ))
}

/// How hard zopfli tries: beyond these a stub shrinks by less than a packet.
const ITERATIONS: NonZeroU64 = NonZeroU64::new(40).unwrap();
const BLOCKS_MAX: u16 = 60;

/// gzip, because every target can undo it; no name and no time in its header, so that equal stubs are equal blobs. By
/// zopfli: it takes seconds, once, for bytes that cross every link.
fn gzip(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gz = Vec::new();
    let options = zopfli::Options {
        iteration_count: ITERATIONS,
        maximum_block_splits: BLOCKS_MAX,
        ..Default::default()
    };
    zopfli::compress(options, zopfli::Format::Gzip, raw, &mut gz)?;
    Ok(gz)
}
