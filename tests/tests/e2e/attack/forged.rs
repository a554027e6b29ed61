//! Artifacts that are not what the controller's compiler made: changed on the way, by whoever holds a link, or wrong from the
//! beginning. Loading one is as good as running a program.

use super::arena::shape;
use crate::LIMIT;
use crate::library::{Connected, Ran, messages, module};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use waft::compile::artifact;
use waft::tree::{Endpoint, Target};
use waft_proto::id::Hash;
use waft_proto::msg::{Arch, BlobKind, Msg, Profile};
use waft_proto::run::Status;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::Waft;
use waft_tests::{Error, Result};

/// Changes what goes to the stub: what is in the file `from` becomes what is in `to`, once, also where a read cuts it in two.
const FILTER: &str = r#"
my ($dir) = @ARGV; local $/;
open(my $pid, '>', "$dir/pid"); print $pid $$; close $pid;
sub whole { open(my $f, '<:raw', "$dir/$_[0]") or die; <$f> }
my $held = '';
while (sysread(STDIN, my $bytes, 65536)) {
    $bytes = $held . $bytes; $held = '';
    if (!-e "$dir/changed") {
        my ($from, $to) = (whole('from'), whole('to'));
        if ((my $at = index($bytes, $from)) >= 0) {
            substr($bytes, $at, length $from) = $to;
            open(my $f, '>', "$dir/changed");
        }
        for my $n (reverse 4 .. length($from) - 1) {
            if (length($bytes) >= $n && substr($bytes, -$n) eq substr($from, 0, $n)) {
                $held = substr($bytes, -$n); $bytes = substr($bytes, 0, -$n); last;
            }
        }
    }
    while (length $bytes) { my $n = syswrite(STDOUT, $bytes); exit 0 unless $n; substr($bytes, 0, $n) = ''; }
}
syswrite(STDOUT, $held);
"#;
/// So many bytes are looked for on the link.
const WINDOW_BYTES: usize = 16;
/// Cranelift's and wasmtime's own, and ELF's.
const SECTIONS_MIN: usize = 6;

/// Puts a stub behind the filter; gives what starts both.
fn filtered_stub(lab: &Lab) -> Result<String> {
    let dir = lab.dir.path();
    let waft = Waft::new("stub")?.args(["path", "--kind", "leaf"]).limit(LIMIT);
    let path = waft.run()?.expect_code(0)?.stdout();
    fs::copy(path.trim(), dir.join("stub")).expect("the stub is where it says");
    fs::write(dir.join("filter.pl"), FILTER).expect("written");
    let script = dir.join("stub.sh");
    let at = dir.display();
    // When the stub has ended, nobody makes the filter end.
    let line =
        format!("perl '{at}/filter.pl' '{at}' | {{ '{at}/stub' \"$@\"; kill \"$(cat '{at}/pid')\"; }}");
    fs::write(&script, format!("#!/bin/sh\n{line}\n")).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    Ok(script.to_str().expect("a plain path").to_owned())
}

fn behind_a_filter(lab: &Lab, stub: &str) -> Result<Connected> {
    let endpoint = Endpoint { installed: Some(stub.to_owned()), ..Endpoint::named("h1") };
    Connected::with(lab, &[Target { endpoint, via: Vec::new(), allow: Vec::new() }])
}

fn run(link: &mut Connected, wasm: &Arc<[u8]>) -> Result<Ran> {
    let mut request = module("small", Arc::clone(wasm));
    request.timeout = Duration::from_secs(10);
    link.attempt(&request, |_| {})
}

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// Name, beginning and length of each part of an ELF file that has bytes in it; the headers too.
fn sections(elf: &[u8]) -> Vec<(String, usize, usize)> {
    let (table, size, count) = (number(elf, 0x28, 8), number(elf, 0x3a, 2), number(elf, 0x3c, 2));
    let header = |index: usize| &elf[table + index * size..][..size];
    let names = number(header(number(elf, 0x3e, 2)), 0x18, 8);
    let mut found =
        vec![("(header)".to_owned(), 0, 0x40), ("(section headers)".to_owned(), table, size * count)];
    const NO_BITS: usize = 8;
    for index in 1..count {
        let header = header(index);
        let name = &elf[names + number(header, 0, 4)..];
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let (kind, at, length) = (number(header, 4, 4), number(header, 0x18, 8), number(header, 0x20, 8));
        if kind != NO_BITS && length > 0 {
            found.push((String::from_utf8_lossy(name).into_owned(), at, length));
        }
    }
    found
}

/// What an artifact is on the link: where each piece of it begins, its length, and the bytes that stand for it, deflated or
/// as they are.
fn pieces(artifact: &[u8]) -> Vec<(usize, usize, Vec<u8>)> {
    let mut offset = 0;
    let piece = |(message, length): (Msg, u64)| {
        let (Msg::Packed { bytes, .. } | Msg::Chunk { bytes, .. }) = message else {
            panic!("{message:?} stands for bytes that nobody was sent")
        };
        let length = length as usize;
        offset += length;
        (offset - length, length, bytes)
    };
    messages(BlobKind::Artifact, &[artifact]).into_iter().map(piece).collect()
}

/// Bytes of the piece that holds this place of the artifact, about as far into it as the place is, that are nowhere else. The
/// filter holds back what may be their beginning, so they do not begin with zeros.
fn window(pieces: &[(usize, usize, Vec<u8>)], at: usize) -> Option<&[u8]> {
    let (from, length, bytes) = pieces.iter().rfind(|(from, ..)| *from <= at)?;
    let unique = |found: &&[u8]| {
        let count = |bytes: &[u8]| bytes.windows(WINDOW_BYTES).filter(|other| other == found).count();
        found[..4] != [0; 4] && pieces.iter().map(|(_, _, bytes)| count(bytes)).sum::<usize>() == 1
    };
    // The last bits of what is deflated may be nobody's.
    let windows = bytes.len().checked_sub(2 * WINDOW_BYTES)?;
    let near = (at - from) * windows / length;
    (near..windows).chain(0..near).map(|start| &bytes[start..start + WINDOW_BYTES]).find(unique)
}

#[test]
fn a_bit_that_flips_on_the_way_is_found_in_every_section() -> Result<()> {
    let lab = Lab::of(1)?;
    super::arena::warm_up()?;
    let guard = LeakGuard::start();
    let (wasm, stub) = (shape("small"), filtered_stub(&lab)?);
    let set = |from: &[u8], to: &[u8]| {
        fs::write(lab.dir.path().join("from"), from).expect("written");
        fs::write(lab.dir.path().join("to"), to).expect("written");
        let _ = fs::remove_file(lab.dir.path().join("changed"));
    };
    let changed = || lab.dir.path().join("changed").exists();
    set(b"not on this link", b"not on this link");
    let mut link = behind_a_filter(&lab, &stub)?;
    link.wait_joined()?;
    let made = compiled(&link, &wasm, Arch::here().expect("an engine for here"), Profile::Fast)?;
    let (sections, pieces) = (sections(&made), pieces(&made));
    assert!(sections.len() >= SECTIONS_MIN, "{sections:?}");
    for (name, at, _) in &sections {
        let from = window(&pieces, *at).unwrap_or_else(|| panic!("{name} has no bytes of its own"));
        let mut to = from.to_vec();
        to[WINDOW_BYTES / 2] ^= 0x10;
        set(from, &to);
        // What was damaged is not kept: each run has it sent again.
        let result = run(&mut link, &wasm)?.results.remove(0);
        assert!(changed(), "{name}: the artifact did not pass");
        let code = result.problem.as_ref().map_or("", |problem| problem.code.as_str());
        assert_eq!((result.status, code), (Status::Failed, "blob.damaged"), "{name}: {result:?}");
        assert!(result.stdout.is_empty() && result.walls.is_empty(), "{name}: it was executed: {result:?}");
    }
    // Unchanged, it comes through the same filter on the same link.
    set(b"not on this link", b"not on this link");
    let good = run(&mut link, &wasm)?.results.remove(0);
    assert_eq!((good.status, changed()), (Status::Ok, false), "{good:?}");
    assert_eq!(good.stdout, b"hello from a small module\n");
    link.stop()?;
    guard.check()
}

fn compiled(link: &Connected, wasm: &Arc<[u8]>, arch: Arch, profile: Profile) -> Result<Vec<u8>> {
    let (cache, _) = link.cache();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let made = runtime.block_on(artifact(cache, "small", wasm, arch, profile));
    made.map(|bytes| bytes.to_vec()).map_err(|problem| Error::new(problem.message))
}

/// Of a file in the controller's cache: a word, and the hash of the module. That of the artifact follows.
const CACHE_MODULE_BYTES: usize = 8 + 32;

/// Lets the controller find these bytes where it keeps what its compiler made, with the right hashes.
fn plant(dir: &Path, bytes: &[u8]) {
    for file in fs::read_dir(dir).expect("the cache").flatten() {
        let known = fs::read(file.path()).expect("an artifact");
        let planted = [&known[..CACHE_MODULE_BYTES], &Hash::of(bytes).0, bytes].concat();
        fs::write(file.path(), planted).expect("written");
    }
}

#[test]
fn what_was_not_made_for_this_engine_is_refused_by_the_engine() -> Result<()> {
    let lab = Lab::of(1)?;
    super::arena::warm_up()?;
    let guard = LeakGuard::start();
    let wasm = shape("small");
    let mut link = Connected::to(&lab, &["h1"])?;
    link.wait_joined()?;
    assert_eq!(run(&mut link, &wasm)?.results[0].status, Status::Ok);
    let here = Arch::here().expect("an engine for here");
    let made = compiled(&link, &wasm, here, Profile::Fast)?;
    let there = if here == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 };
    let changed = |from: &[u8], to: &[u8]| {
        let at = made.windows(from.len()).position(|bytes| bytes == from).expect("it is there");
        [&made[..at], to, &made[at + from.len()..]].concat()
    };
    let version =
        sections(&made).into_iter().find(|(name, ..)| name == ".wasmtime.engine").expect("its mark");
    // The engine's mark begins with a byte for the format, the length of the version, the version.
    let mut other_version = made.clone();
    other_version[version.1 + 2] ^= 1;
    for (what, forged) in [
        ("nothing", Vec::new()),
        ("no ELF file", b"not an artifact".repeat(100)),
        ("the module itself", wasm.to_vec()),
        ("the first half", made[..made.len() / 2].to_vec()),
        ("the header alone", made[..64].to_vec()),
        ("another version", other_version),
        ("another magic", changed(b"\x7fELF", b"\x7fELG")),
        ("another profile", compiled(&link, &wasm, here, Profile::Small)?),
        ("another architecture", compiled(&link, &wasm, there, Profile::Fast)?),
    ] {
        plant(link.cache().1, &forged);
        let result = run(&mut link, &wasm)?.results.remove(0);
        let code = result.problem.as_ref().map_or("", |problem| problem.code.as_str());
        assert_eq!((result.status, code), (Status::Failed, "task.artifact"), "{what}: {result:?}");
        assert!(result.stdout.is_empty(), "{what}: {result:?}");
        let message = result.problem.as_ref().map_or("", |problem| problem.message.as_str());
        // In words: no descriptor and no address of the stub's.
        assert!(
            !message.contains(" { ") && !message.contains("fd:") && !message.contains("0x0"),
            "{what}: {message}"
        );
        let is_cut = matches!(what, "nothing" | "the first half" | "the header alone");
        assert_eq!(message.contains("and the end of it is missing"), is_cut, "{what}: {message}");
    }
    plant(link.cache().1, &made);
    assert_eq!(run(&mut link, &wasm)?.results[0].status, Status::Ok);
    link.stop()?;
    guard.check()
}

/// The module with another sentence of the same length in it.
fn saying(ours: &[u8], says: &[u8], other: &[u8]) -> Vec<u8> {
    let at = ours.windows(says.len()).position(|bytes| bytes == says).expect("what it says");
    [&ours[..at], other, &ours[at + says.len()..]].concat()
}

/// What the small module says.
const WE_SAY: &[u8] = b"hello from a small module\n";
/// A sentence for which the artifact differs in one piece on the link, and that is as long as before: so that the filter makes
/// exactly the other artifact of it. What it is in the one, and in the other.
fn twin(made: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let ours = pieces(made);
    // Two letters of it exchanged: then it has the same letters, as often.
    let letters = WE_SAY.len() - 1;
    for (one, other) in (0..letters).flat_map(|one| (one + 1..letters).map(move |other| (one, other))) {
        let mut say = WE_SAY.to_vec();
        say.swap(one, other);
        let theirs = pieces(&saying(made, WE_SAY, &say));
        let mut differ = ours.iter().zip(&theirs).filter(|(a, b)| a.2 != b.2);
        if let (Some((a, b)), None) = (differ.next(), differ.next())
            && a.2.len() == b.2.len()
        {
            return (say, a.2.clone(), b.2.clone());
        }
    }
    panic!("no other sentence is as long when it is deflated")
}

/// The envelope says which artifact is that of which module, and both its ends hold it.
#[test]
fn an_artifact_of_another_module_is_not_executed_in_its_place() -> Result<()> {
    let lab = Lab::of(1)?;
    super::arena::warm_up()?;
    let guard = LeakGuard::start();
    let ours = shape("small");
    let stub = filtered_stub(&lab)?;
    let dir = lab.dir.path();
    fs::write(dir.join("from"), b"not on this link").expect("written");
    fs::write(dir.join("to"), b"not on this link").expect("written");
    let mut link = behind_a_filter(&lab, &stub)?;
    link.wait_joined()?;
    let here = Arch::here().expect("an engine for here");
    let a = compiled(&link, &ours, here, Profile::Fast)?;
    let (they_say, from, to) = twin(&a);
    let theirs: Arc<[u8]> = saying(&ours, WE_SAY, &they_say).into();
    let b = compiled(&link, &theirs, here, Profile::Fast)?;
    assert_eq!(saying(&a, WE_SAY, &they_say), b, "the sentence is all that differs");
    fs::write(dir.join("from"), from).expect("written");
    fs::write(dir.join("to"), to).expect("written");
    let swapped = run(&mut link, &ours)?.results.remove(0);
    assert!(dir.join("changed").exists(), "the artifact did not pass");
    let code = swapped.problem.as_ref().map_or("", |problem| problem.code.as_str());
    assert_eq!((swapped.status, code), (Status::Failed, "blob.damaged"), "{swapped:?}");
    assert!(swapped.stdout.is_empty(), "{swapped:?}");
    // In the controller's cache, under the other's name: a file says whose it is.
    let files = |wasm: &[u8]| {
        let name = Hash::of(wasm).to_string();
        let mut all = fs::read_dir(link.cache().1).expect("the cache").flatten().map(|file| file.path());
        all.find(|file| file.to_string_lossy().contains(&name)).expect("its artifact")
    };
    let (kept, other) = (files(&ours), files(&theirs));
    let whole = fs::read(&kept).expect("an artifact");
    fs::copy(&other, &kept).expect("planted");
    assert_eq!(run(&mut link, &ours)?.results.remove(0).stdout, WE_SAY);
    assert_eq!(fs::read(&kept).expect("an artifact"), whole, "it was made again");
    assert_eq!(run(&mut link, &theirs)?.results.remove(0).stdout, they_say);
    link.stop()?;
    guard.check()
}
