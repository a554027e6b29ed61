//! `waft stub`: the stubs at hand, and how to get more.

use super::args::{Kind, Stub, StubBuild, StubPath};
use super::{Done, print};
use crate::files;
use crate::stubs::{self, Shelf, WORKER};
use flate2::read::GzDecoder;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use waft_proto::id::Hash;
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
    let mut rows: Vec<Vec<String>> = Shelf::load()?
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
    for arch in Arch::ALL {
        let Some(worker) = Shelf::worker(arch)? else { continue };
        let from = worker.file.map_or_else(|| "built in".to_owned(), |file| file.display().to_string());
        let bytes = worker.bytes.len().to_string();
        rows.push(vec![
            WORKER.to_owned(),
            arch.word().to_owned(),
            bytes,
            "-".to_owned(),
            worker.hash.short(),
            from,
        ]);
    }
    print::table(&["kind", "machine", "bytes", "gzip", "hash", "from"], &rows)?;
    Ok(0)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Leaf => StubKind::Leaf.word(),
        Kind::Hop => StubKind::Hop.word(),
        Kind::Worker => WORKER,
    }
}

/// A program as it is unpacked, its hash, and the file where it is one.
type Program = (Arc<[u8]>, Hash, Option<PathBuf>);

fn program(kind: Kind, arch: Arch) -> Result<Option<Program>, Problem> {
    let kind = match kind {
        Kind::Leaf => StubKind::Leaf,
        Kind::Hop => StubKind::Hop,
        Kind::Worker => {
            return Ok(Shelf::worker(arch)?.map(|worker| (worker.bytes, worker.hash, worker.file)));
        }
    };
    let shelf = Shelf::load()?;
    let Some(stub) = shelf.find(arch, kind) else { return Ok(None) };
    let mut raw = Vec::new();
    GzDecoder::new(stub.gzip.as_ref()).read_to_end(&mut raw).map_err(|error| unpacked(&error))?;
    Ok(Some((raw.into(), stub.blob.hash, stub.file.clone())))
}

fn unpacked(error: &std::io::Error) -> Problem {
    Problem::new("stub.unpack", format!("the stub cannot be unpacked: {}", crate::files::plain(error)))
}

fn arch(word: Option<&str>) -> Result<Arch, Problem> {
    let unknown = |word: &str| {
        let known = Arch::ALL.map(Arch::word).join(" and ");
        Problem::new("stub.arch", format!("there are stubs for {known}, not for {word}"))
    };
    match word {
        Some(word) => Arch::parse(word).ok_or_else(|| unknown(word)),
        None => Arch::here().ok_or_else(|| unknown(std::env::consts::ARCH)),
    }
}

fn path(args: &StubPath) -> Done {
    let (kind, arch) = (word(args.kind), arch(args.arch.as_deref())?);
    let found = program(args.kind, arch)?.ok_or_else(|| {
        Problem::new("stub.missing", format!("there is no {kind} stub for {}", arch.word())).hint(format!(
            "`waft stub build --kind {kind} --arch {}` makes one from a source tree",
            arch.word()
        ))
    })?;
    let file = match found {
        (_, _, Some(file)) => file,
        (raw, hash, None) => {
            let dir = files::cache_dir().ok_or_else(|| {
                Problem::new("stub.unpack", "there is no home directory to unpack a stub into")
            })?;
            let name = format!("{kind}-{}-{}", arch.word(), hash.short());
            let file = files::guarded(&dir, "stubs", "XDG_CACHE_HOME")?.join(name);
            files::write_private(&file, &raw).map_err(|error| unpacked(&error))?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))
                .map_err(|error| unpacked(&error))?;
            file
        }
    };
    print::out(&format!("{}\n", file.display()))?;
    Ok(0)
}

/// Builds with cargo from a source tree, for this machine or (with the toolchain that
/// `scripts/aarch64.sh` prepares) for aarch64.
fn build(args: &StubBuild) -> Done {
    let (kind, arch) = (word(args.kind), arch(args.arch.as_deref())?);
    let here = std::env::current_dir().unwrap_or_default();
    let source = source_tree(args.source.as_deref(), BUILT_FROM.as_ref(), &here)?;
    let failed = |dir: &Path, error: std::io::Error| {
        Problem::new(
            "stub.dir",
            format!("stubs cannot be written to {}: {}", dir.display(), crate::files::plain(&error)),
        )
        .hint("set WAFT_STUB_DIR to a directory of yours")
    };
    let dir = stubs::dir()
        .ok_or_else(|| Problem::new("stub.dir", "there is no home directory for stubs; set WAFT_STUB_DIR"))?;
    // The script works in the source tree, where a relative path would lead elsewhere.
    let dir = std::path::absolute(&dir).map_err(|error| failed(&dir, error))?;
    files::private_dir(&dir).map_err(|error| failed(&dir, error))?;
    let out = dir.join(format!("{kind}-{}", arch.word()));
    // Not in place: a build that fails, or is stopped, leaves the stub that was there.
    let beside = tempfile::TempDir::new_in(&dir).map_err(|error| failed(&dir, error))?;
    let new = beside.path().join("stub");
    run_script(&source.join(SCRIPT), kind, arch.word(), &new)?;
    std::fs::rename(&new, &out).map_err(|error| failed(&dir, error))?;
    print::out(&format!("{}\n", out.display()))?;
    Ok(0)
}

/// What builds a stub, in a source tree.
const SCRIPT: &str = "scripts/build-stub.sh";
/// Where this program was built; there may be nothing any more.
const BUILT_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The source tree that is named, else the one this program was built from, else the one that `here` is in.
fn source_tree(named: Option<&Path>, built_from: &Path, here: &Path) -> Result<PathBuf, Problem> {
    let found = match named {
        Some(named) => is_source_tree(named),
        None => is_source_tree(built_from).or_else(|| here.ancestors().find_map(is_source_tree)),
    };
    found.ok_or_else(|| {
        let text = match named {
            Some(named) => format!("{} is no source tree of waft", named.display()),
            None => "stubs are built from a source tree of waft, and there is none here".to_owned(),
        };
        Problem::new("stub.source", text).hint("name the directory of a clone with --source DIR")
    })
}

fn is_source_tree(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    (dir.join(SCRIPT).is_file() && dir.join("stub/Cargo.toml").is_file()).then_some(dir)
}

fn run_script(script: &Path, kind: &str, arch: &str, out: &Path) -> Result<(), Problem> {
    let status = Command::new("bash").arg(script).args([kind, arch]).arg(out).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Problem::new(
            "stub.build",
            format!("the {kind} stub for {arch} was not built; why is said above"),
        )),
        Err(error) => Err(Problem::new(
            "stub.build",
            format!("bash could not be started: {}", crate::files::plain(&error)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{SCRIPT, source_tree};
    use std::fs;

    #[test]
    fn a_source_tree_is_the_named_one_else_that_of_the_build_else_that_around_us() {
        let place = tempfile::tempdir().expect("a directory");
        let place = place.path().canonicalize().expect("its path");
        for tree in ["named", "built", "around"] {
            for file in [SCRIPT, "stub/Cargo.toml"] {
                let file = place.join(tree).join(file);
                fs::create_dir_all(file.parent().expect("a folder")).expect("made");
                fs::write(file, "").expect("written");
            }
        }
        let (named, built, around) = (place.join("named"), place.join("built"), place.join("around"));
        let (within, gone) = (around.join("stub"), place.join("gone"));
        let found = |named, built, here| source_tree(named, built, here).map_err(|problem| problem.message);
        assert_eq!(found(Some(&named), &built, &within), Ok(named.clone()));
        assert_eq!(found(None, &built, &within), Ok(built.clone()));
        assert_eq!(found(None, &gone, &within), Ok(around.clone()));
        // A named one is not replaced by another.
        let no_tree = format!("{} is no source tree of waft", gone.display());
        assert_eq!(found(Some(&gone), &built, &within), Err(no_tree));
        let none = "stubs are built from a source tree of waft, and there is none here".to_owned();
        assert_eq!(found(None, &gone, &place), Err(none));
    }
}
