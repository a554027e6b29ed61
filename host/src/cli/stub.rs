//! `waft stub`: the stubs at hand, and how to get more.

use super::args::{Kind, Stub, StubBuild, StubPath};
use super::{Done, print};
use crate::files;
use crate::stubs::{self, Shelf};
use flate2::read::GzDecoder;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use waft_proto::msg::{Arch, StubKind};
use waft_proto::run::Problem;

pub(super) async fn stub(command: Stub) -> Done {
    match command {
        Stub::List => list(),
        Stub::Build(args) => build(&args),
        Stub::Path(args) => path(&args),
    }
}

fn list() -> Done {
    let rows: Vec<Vec<String>> = Shelf::load()?
        .all()
        .map(|stub| {
            vec![
                stub.blob.kind.word().to_owned(),
                stub.blob.arch.word().to_owned(),
                stub.blob.bytes_raw.to_string(),
                stub.blob.bytes.to_string(),
                stub.blob.hash.short(),
                stub.file.as_ref().map_or_else(|| "built in".to_owned(), |file| file.display().to_string()),
            ]
        })
        .collect();
    print::table(&["kind", "machine", "bytes", "gzip", "hash", "from"], &rows)?;
    Ok(0)
}

fn kind(kind: Kind) -> StubKind {
    match kind {
        Kind::Leaf => StubKind::Leaf,
        Kind::Hop => StubKind::Hop,
    }
}

fn arch(word: Option<&str>) -> Result<Arch, Problem> {
    let unknown = |word: &str| {
        Problem::new("stub.arch", format!("there are stubs for x86_64 and aarch64, not for {word}"))
    };
    match word {
        Some(word) => Arch::parse(word).ok_or_else(|| unknown(word)),
        None => Arch::here().ok_or_else(|| unknown(std::env::consts::ARCH)),
    }
}

fn path(args: &StubPath) -> Done {
    let (kind, arch) = (kind(args.kind), arch(args.arch.as_deref())?);
    let shelf = Shelf::load()?;
    let stub = shelf.find(arch, kind).ok_or_else(|| {
        Problem::new("stub.missing", format!("there is no {} stub for {}", kind.word(), arch.word())).hint(
            format!(
                "`waft stub build --kind {} --arch {}` makes one from a source tree",
                kind.word(),
                arch.word()
            ),
        )
    })?;
    let file = match &stub.file {
        Some(file) => file.clone(),
        None => {
            let failed = |error: std::io::Error| {
                Problem::new("stub.unpack", format!("the stub cannot be unpacked: {error}"))
            };
            let mut raw = Vec::new();
            GzDecoder::new(stub.gzip.as_ref()).read_to_end(&mut raw).map_err(failed)?;
            let dir = files::cache_dir().ok_or_else(|| {
                Problem::new("stub.unpack", "there is no home directory to unpack a stub into")
            })?;
            let name = format!("{}-{}-{}", kind.word(), arch.word(), stub.blob.hash.short());
            let file = dir.join("stubs").join(name);
            files::write_private(&file, &raw).map_err(failed)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
            file
        }
    };
    print::out(&format!("{}\n", file.display()))?;
    Ok(0)
}

/// Builds with cargo from a source tree, for this machine or (with the toolchain that
/// `scripts/aarch64.sh` prepares) for aarch64.
fn build(args: &StubBuild) -> Done {
    let (kind, arch) = (kind(args.kind), arch(args.arch.as_deref())?);
    let source = args.source.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."));
    let script = source.join("scripts/build-stub.sh");
    if !script.is_file() {
        return Err(Problem::new("stub.source", format!("{} is no source tree of waft", source.display()))
            .hint("give the directory of a clone with --source")
            .into());
    }
    let dir = stubs::dir()
        .ok_or_else(|| Problem::new("stub.dir", "there is no home directory for stubs; set WAFT_STUB_DIR"))?;
    files::private_dir(&dir)
        .map_err(|error| Problem::new("stub.dir", format!("{}: {error}", dir.display())))?;
    let out = dir.join(format!("{}-{}", kind.word(), arch.word()));
    run_script(&script, &[kind.word(), arch.word()], &out)?;
    print::out(&format!("{}\n", out.display()))?;
    Ok(0)
}

fn run_script(script: &Path, words: &[&str], out: &Path) -> Result<(), Problem> {
    let status = Command::new("bash").arg(script).args(words).arg(out).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Problem::new("stub.build", "the stub was not built; the compiler's words are above")),
        Err(error) => Err(Problem::new("stub.build", format!("bash could not be started: {error}"))),
    }
}
