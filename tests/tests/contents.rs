//! What is in the stubs, and what is not: a stub crosses every link and sits in every target's memory, so nothing
//! gets into it unseen. Seen from both sides: the packages and features that cargo puts together, and the program
//! that came out.
//!
//! The committed texts in `tests/contents` are made anew by
//!
//! ```text
//! cargo build && UPDATE=1 cargo test -p waft-tests --test contents
//! ```
//!
//! A change of theirs belongs into the commit that caused it, with a word on why the stub needs it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use waft_tests::waft::Waft;
use waft_tests::{Context, Error, Result};

/// `worker` runs components for the other two.
const KINDS: [&str; 3] = ["leaf", "hop", "worker"];
/// The committed texts are of this machine; what the program must not have is looked at on every machine.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Compilers, argument parsers and TLS: beginnings of package names.
const FORBIDDEN_PACKAGES: [&str; 10] = [
    "cranelift-codegen",
    "cranelift-frontend",
    "wasmtime-internal-cranelift",
    "wasmtime-internal-winch",
    "winch",
    "regalloc2",
    "clap",
    "rustls",
    "openssl",
    "native-tls",
];
/// What such a package leaves in a program without symbols: its own name, in the messages of its panics.
const FORBIDDEN_TEXTS: [&str; 6] =
    ["cranelift_codegen", "cranelift-codegen", "regalloc2", "clap_builder", "rustls", "native_tls"];
/// Parts that are looked at one by one; the smaller ones count together.
const PARTS: [&str; 5] = [".text", ".rodata", ".rela.dyn", ".data.rel.ro", ".data"];
/// Tables that only an unwinder reads, which a stub has not.
const UNWIND_TABLES: [&str; 3] = [".eh_frame", ".eh_frame_hdr", ".gcc_except_table"];
/// Those of the few functions at the start of a program, which the C compiler brings, bytes.
const UNWIND_BYTES_MAX: u64 = 256;
/// A difference that a new compiler or dependency makes without anybody's doing, per cent.
const TOLERANCE_PERCENT: u64 = 2;

/// What a stub may weigh, bytes: raw, which is memory on each target, and gzip, which is what crosses a link.
const fn limits(kind: &str) -> (u64, u64) {
    match kind.as_bytes() {
        b"leaf" => (3_000_000, 1_200_000),
        // Crosses a link as it is, with the first component.
        b"worker" => (3_000_000, 3_000_000),
        _ => (4_500_000, 1_700_000),
    }
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contents").join(name)
}

const HOW_TO_UPDATE: &str = "If it is meant: cargo build && UPDATE=1 cargo test -p waft-tests --test contents, and say why in the commit.";

/// Packages of a stub as `name version features`, one a line, sorted.
fn packages(kind: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace())
        .args(["tree", "--locked", "--package", "waft-stub", "--no-default-features", "--target", TRIPLE])
        // Macros run in the compiler and are in no program.
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p} {f}"]);
    let feature = match kind {
        "hop" => Some("hop"),
        "worker" => Some("components"),
        _ => None,
    };
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let output = command.output().context(|| "cargo tree could not be started".to_owned())?;
    if !output.status.success() {
        return Err(Error::new(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // `(/where/it/lies)` is this machine's, `(*)` marks what was shown before.
    let words =
        |line: &str| line.split(' ').filter(|word| !word.starts_with('(')).collect::<Vec<_>>().join(" ");
    Ok(text.lines().map(|line| words(line).trim_end().to_owned()).collect())
}

#[test]
fn the_packages_of_a_stub_are_the_committed_ones() -> Result<()> {
    for kind in KINDS {
        let file = committed(&format!("{kind}.txt"));
        let now = packages(kind)?;
        if update() {
            let text: String = now.iter().map(|package| format!("{package}\n")).collect();
            fs::write(&file, text).context(|| format!("cannot write {}", file.display()))?;
            continue;
        }
        let text = fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?;
        let before: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        let gone = before.difference(&now).map(|package| format!("- {package}\n"));
        let new = now.difference(&before).map(|package| format!("+ {package}\n"));
        let differences: String = gone.chain(new).collect();
        assert!(
            differences.is_empty(),
            "the {kind} stub is made of other packages:\n{differences}{HOW_TO_UPDATE}"
        );
    }
    Ok(())
}

#[test]
fn no_compiler_argument_parser_or_tls_is_among_the_packages() -> Result<()> {
    for kind in KINDS {
        let packages = packages(kind)?;
        // A tree that came out empty would have none of them either.
        assert!(packages.iter().any(|package| package.starts_with("wasmtime v")), "{packages:?}");
        let found: Vec<_> = packages
            .iter()
            .filter(|package| FORBIDDEN_PACKAGES.iter().any(|name| package.starts_with(name)))
            .collect();
        assert!(found.is_empty(), "the {kind} stub has {found:?}");
    }
    Ok(())
}

#[test]
fn the_leaf_has_no_ssh_client() -> Result<()> {
    let has_russh =
        |packages: BTreeSet<String>| packages.iter().any(|package| package.starts_with("russh v"));
    assert!(has_russh(packages("hop")?) && !has_russh(packages("leaf")?));
    Ok(())
}

/// A stub as the controller carries it.
fn stub(kind: &str) -> Result<(PathBuf, Vec<u8>)> {
    let dir =
        std::env::var_os("WAFT_STUB_DIR").map_or_else(|| workspace().join("target/stubs"), PathBuf::from);
    let file = dir.join(format!("{kind}-{}", std::env::consts::ARCH));
    let bytes =
        fs::read(&file).context(|| format!("cannot read {}: `cargo build` makes it", file.display()))?;
    Ok((file, bytes))
}

/// What is looked at of a program: the types of its segments, and names and bytes of its sections in the file.
#[derive(Debug)]
struct Elf {
    segments: Vec<u32>,
    sections: Vec<(String, u64)>,
}

impl Elf {
    /// Of a little-endian 64-bit file, such as all machines have that stubs run on.
    fn parse(file: &[u8]) -> Option<Elf> {
        const SECTION_IS_NO_BITS: u64 = 8;
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let (segments_at, segment_bytes, segments) =
            (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
        let (sections_at, section_bytes, sections) =
            (number(file, 40, 8)?, number(file, 58, 2)?, number(file, 60, 2)?);
        let section = |index: u64| sections_at + index * section_bytes;
        let names_at = number(file, section(number(file, 62, 2)?) + 24, 8)?;
        let name = |at: u64| {
            let text = file.get(usize::try_from(names_at + at).ok()?..)?;
            let end = text.iter().position(|byte| *byte == 0)?;
            Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
        };
        let in_file = |at: u64| {
            let bytes = number(file, at + 32, 8)?;
            Some(if number(file, at + 4, 4)? == SECTION_IS_NO_BITS { 0 } else { bytes })
        };
        let segment = |index| u32::try_from(number(file, segments_at + index * segment_bytes, 4)?).ok();
        Some(Elf {
            segments: (0..segments).map(segment).collect::<Option<_>>()?,
            sections: (0..sections)
                .map(|index| Some((name(number(file, section(index), 4)?)?, in_file(section(index))?)))
                .collect::<Option<_>>()?,
        })
    }

    fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|(section, _)| section == name)
    }

    fn unwind_bytes(&self) -> u64 {
        let tables = self.sections.iter().filter(|(name, _)| UNWIND_TABLES.contains(&name.as_str()));
        tables.map(|(_, bytes)| bytes).sum()
    }
}

/// A little-endian number of so many bytes.
fn number(file: &[u8], at: u64, bytes: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = file.get(at..at.checked_add(bytes)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_stub_needs_no_loader_and_has_no_symbols_or_unwind_tables() -> Result<()> {
    const INTERPRETER: u32 = 3;
    for kind in KINDS {
        let (file, bytes) = stub(kind)?;
        let elf =
            Elf::parse(&bytes).ok_or_else(|| Error::new(format!("{} is no program", file.display())))?;
        assert!(elf.has_section(".text"), "{kind}: {elf:?}");
        assert!(!elf.segments.contains(&INTERPRETER), "the {kind} stub is not static");
        assert!(!elf.has_section(".symtab"), "the {kind} stub has symbols");
        assert!(elf.unwind_bytes() <= UNWIND_BYTES_MAX, "the {kind} stub has unwind tables: {elf:?}");
    }
    Ok(())
}

#[test]
fn what_tells_static_from_dynamic_knows_both() -> Result<()> {
    const INTERPRETER: u32 = 3;
    let tests = std::env::current_exe().context(|| "these tests have no path".to_owned())?;
    let bytes = fs::read(&tests).context(|| format!("cannot read {}", tests.display()))?;
    let elf = Elf::parse(&bytes).ok_or_else(|| Error::new("these tests are no program"))?;
    assert!(elf.segments.contains(&INTERPRETER) && elf.has_section(".symtab"), "{elf:?}");
    assert!(elf.unwind_bytes() > UNWIND_BYTES_MAX, "{elf:?}");
    Ok(())
}

#[test]
fn no_compiler_argument_parser_or_tls_is_in_the_program() -> Result<()> {
    for kind in KINDS {
        let (_, bytes) = stub(kind)?;
        // A text of the same sort that must be there, or the search is blind.
        assert!(has(&bytes, "wasmtime"), "the {kind} stub does not even mention wasmtime");
        let found: Vec<_> = FORBIDDEN_TEXTS.iter().filter(|text| has(&bytes, text)).collect();
        assert!(found.is_empty(), "the {kind} stub has {found:?}");
    }
    Ok(())
}

/// `stub/src/absent.rs` stands in for what the resolver of glibc would need: were it linked, it would not work.
#[test]
fn no_stub_has_the_resolver_of_glibc() -> Result<()> {
    const RESOLVER: &str = "nsswitch.conf";
    // What our own reads, so that the search is not blind.
    assert!(has(&stub("hop")?.1, "/etc/resolv.conf"), "the hop resolves no names");
    for kind in KINDS {
        assert!(!has(&stub(kind)?.1, RESOLVER), "the {kind} stub has the resolver of glibc");
    }
    Ok(())
}

#[test]
fn a_stub_does_not_say_where_it_was_built() -> Result<()> {
    for kind in KINDS {
        let (_, bytes) = stub(kind)?;
        let home = std::env::var("HOME").unwrap_or_default();
        for place in [workspace().display().to_string(), format!("{home}/.cargo")] {
            assert!(!has(&bytes, &place), "the {kind} stub has {place} in it");
        }
    }
    Ok(())
}

/// What crosses a link, as `waft stub list` says it of the stub that is built in.
fn gzip_bytes(kind: &str) -> Result<u64> {
    let list = Waft::new("stub")?.arg("list").run()?.expect_code(0)?.stdout();
    let row = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = row.into_iter().find(|row| row.first() == Some(&kind) && row.get(1) == Some(&"x86_64"));
    // What is not compressed crosses as it is.
    let bytes = found.and_then(|row| [3, 2].into_iter().find_map(|at| row.get(at)?.parse().ok()));
    bytes.ok_or_else(|| Error::new(format!("no {kind} stub in {list}")))
}

#[test]
fn a_stub_stays_within_its_size() -> Result<()> {
    let mut faults = String::new();
    for kind in KINDS {
        let (_, bytes) = stub(kind)?;
        let (raw_max, gzip_max) = limits(kind);
        for (what, is, at_most) in
            [("raw", bytes.len() as u64, raw_max), ("gzip", gzip_bytes(kind)?, gzip_max)]
        {
            if is > at_most {
                let _ = writeln!(faults, "the {kind} stub has {is} bytes {what}, {} too many", is - at_most);
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
    Ok(())
}

/// `kind part bytes`, one a line.
fn sizes() -> Result<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for kind in KINDS {
        let (file, bytes) = stub(kind)?;
        let elf =
            Elf::parse(&bytes).ok_or_else(|| Error::new(format!("{} is no program", file.display())))?;
        let part = |name: &str| {
            elf.sections.iter().filter(|(section, _)| section == name).map(|(_, bytes)| bytes).sum()
        };
        let whole = bytes.len() as u64;
        let parts: Vec<(&str, u64)> = PARTS.iter().map(|name| (*name, part(name))).collect();
        let rest = whole - parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let all =
            [("raw", whole), ("gzip", gzip_bytes(kind)?)].into_iter().chain(parts).chain([("rest", rest)]);
        sizes.extend(all.map(|(part, bytes)| (format!("{kind} {part}"), bytes)));
    }
    Ok(sizes)
}

/// Other machines have other sizes.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_parts_of_a_stub_have_the_committed_sizes() -> Result<()> {
    let file = committed("sizes.txt");
    let now = sizes()?;
    if update() {
        let text: String = now.iter().map(|(part, bytes)| format!("{part} {bytes}\n")).collect();
        return fs::write(&file, text).context(|| format!("cannot write {}", file.display()));
    }
    let text = fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?;
    let before: Vec<(&str, u64)> = text
        .lines()
        .map(|line| {
            let (part, bytes) = line.rsplit_once(' ')?;
            Some((part, bytes.parse().ok()?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new(format!("{} has a line that cannot be read", file.display())))?;
    let names = |part: &(String, u64)| part.0.clone();
    let known: Vec<String> = before.iter().map(|(part, _)| (*part).to_owned()).collect();
    assert_eq!(now.iter().map(names).collect::<Vec<_>>(), known, "other parts. {HOW_TO_UPDATE}");
    let differences: String = before
        .iter()
        .zip(&now)
        .filter(|((_, before), (_, now))| before.abs_diff(*now) * 100 > before * TOLERANCE_PERCENT)
        .map(|((part, before), (_, now))| format!("{part}: {before} -> {now} bytes\n"))
        .collect();
    assert!(
        differences.is_empty(),
        "parts of the stub differ by more than {TOLERANCE_PERCENT} %:\n{differences}{HOW_TO_UPDATE}"
    );
    Ok(())
}
