//! The delivery line under real shells and with the tools that real machines have or lack.
//!
//! A target is made of this machine (`lab.rs`): a PATH of symlinks hides all tools but the chosen ones, namespaces
//! give it directories that cannot be used. What is brought over is `testee.rs`.

mod lab;

use super::*;
use crate::intro::Said;
use lab::{
    AndThen, Namespace, Outcome, Started, Target, namespaces, package, package_for, package_of_a_dud, stub,
    which,
};
use std::path::Path;

/// What follows the stub at once; not one byte of it may be lost to a reader.
const REST: &[u8] = b"frames\0\xff\nmore frames";
/// Each reader that takes exactly its bytes, and the tools that make the line choose it.
const READERS: [(&str, &[&str]); 4] = [
    ("perl", &["perl", "gzip", "head", "dd"]),
    ("python3", &["python3", "head", "dd"]),
    ("head", &["head", "gzip"]),
    ("dd", &["dd", "gzip"]),
];
/// Those of them that can make a memfd.
const MEMFD_READERS: usize = 2;
/// Shells that stand behind the name `sh` somewhere, and those that this machine must have.
const SHELLS: [(&str, bool); 6] =
    [("dash", true), ("bash", true), ("busybox", true), ("ksh", false), ("mksh", false), ("yash", false)];
const ONE_PORTION: usize = usize::MAX;

fn no_disk() -> Delivery {
    Delivery { no_disk: true, ..Delivery::default() }
}

fn named_dir(dir: &Path) -> Delivery {
    Delivery { dir: Some(dir.display().to_string()), ..Delivery::default() }
}

/// Everything in one go, as to a remembered host.
fn deliver(target: &Target, delivery: &Delivery) -> Outcome {
    let mut session = target.log_in();
    session.write([&package(delivery), REST].concat(), ONE_PORTION, AndThen::Close);
    session.finish(b"")
}

fn probed(outcome: &Outcome) -> (&str, bool, bool) {
    let probe = outcome.probe.as_ref().unwrap_or_else(|| panic!("no probe: {outcome:?}"));
    assert_eq!(probe.arch(), Arch::here(), "{probe:?}");
    (&probe.reader, probe.exact, probe.gzip)
}

fn started<'a>(outcome: &'a Outcome, what: &str) -> &'a Started {
    let stub = outcome.stub.as_ref().unwrap_or_else(|| panic!("{what}: not started: {outcome:?}"));
    assert_eq!(stub.leaks, "0", "{what}: an open descriptor of its own file");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{what}");
    stub
}

fn assert_in_memory(outcome: &Outcome, what: &str) {
    let stub = started(outcome, what);
    assert_eq!(stub.args, "waft-stub --link memfd", "{what}");
    assert_eq!(stub.exe, "/memfd:waft-stub (deleted)", "{what}");
    assert_eq!(stub.rest, REST, "{what}");
}

fn assert_in_dir(outcome: &Outcome, dir: &Path, what: &str) {
    let stub = started(outcome, what);
    assert!(stub.args.ends_with(&format!(" --link dir:{}", dir.display())), "{what}: {}", stub.args);
    assert_eq!(Path::new(&stub.exe).parent(), Some(dir), "{what}: {}", stub.exe);
    assert_eq!(stub.rest, REST, "{what}");
}

fn assert_refused(outcome: &Outcome, code: &str, part: &str, what: &str) {
    let problem = outcome.problem.as_ref().unwrap_or_else(|| panic!("{what}: no problem: {outcome:?}"));
    assert_eq!(problem.code, code, "{what}: {problem:?}");
    assert!(problem.message.contains(part), "{what}: {problem:?}");
    assert_eq!((&outcome.stub, outcome.code), (&None, Some(70)), "{what}: {outcome:?}");
}

/// Neither the runtime directory nor /dev/shm has anything of that delivery.
fn assert_no_file(target: &Target, outcome: &Outcome, what: &str) {
    let left: Vec<_> = target.runtime.read_dir().expect("the runtime directory").collect();
    assert!(left.is_empty(), "{what}: {left:?}");
    // The shell gave itself up to the stub, so its process number is the stub's.
    let own = |name: &str| name.starts_with(".waft-") && name.ends_with(&format!("-{}", outcome.pid));
    let shared = Path::new("/dev/shm").read_dir().expect("/dev/shm").flatten();
    let names: Vec<_> = shared.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert!(!names.iter().any(|name| own(name)), "{what}: {names:?}");
}

fn shells() -> impl Iterator<Item = &'static str> {
    SHELLS.iter().filter_map(|(shell, demanded)| {
        assert!(!demanded || which(shell).is_some(), "{shell} is missing here: scripts/setup.sh test");
        which(shell).map(|_| *shell)
    })
}

#[test]
fn the_line_is_fit_for_any_login_shell() {
    let line = shell_line();
    let script =
        line.strip_prefix("exec sh -c '").and_then(|rest| rest.strip_suffix('\'')).expect("one quoted word");
    // The quote would end the word; csh replaces `!` even in quotes and takes no line break; fish makes one
    // backslash of two.
    for not in ["'", "!", "\n", "\r", "\\\\"] {
        assert!(!script.contains(not), "{not:?} in {script}");
    }
    assert!(script.is_ascii());
    // Nothing of the programs inside may mean something to the shell around them.
    for program in [include_str!("stub.pl"), include_str!("stub.py")] {
        assert!(!program.contains('`') && !program.contains('\''), "{program}");
    }
    assert!(!include_str!("stub.pl").contains('"') && !include_str!("stub.py").contains('$'));
    // It is sent with every cold login, before anything else.
    const LINE_BYTES_MAX: usize = 5000;
    assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
}

#[test]
fn every_reader_under_every_shell() {
    for shell in shells() {
        for (index, (reader, tools)) in READERS.iter().enumerate() {
            let what = format!("{reader} under {shell}");
            let target = Target::new(shell, tools);
            let outcome = deliver(&target, &Delivery::default());
            assert_eq!(probed(&outcome), (*reader, true, true), "{what}");
            if index < MEMFD_READERS {
                assert_in_memory(&outcome, &what);
            } else {
                assert_in_dir(&outcome, &target.runtime, &what);
            }
            assert_no_file(&target, &outcome, &what);
        }
    }
}

#[test]
fn every_login_shell() {
    for shell in ["dash", "bash", "busybox", "csh", "fish", "ksh", "mksh", "tcsh", "yash", "zsh"] {
        let Some(program) = which(shell) else { continue };
        // busybox is a shell only by the name `sh`.
        let target = match shell {
            "busybox" => Target::new(shell, &["perl", "gzip"]),
            _ => Target::with_login_shell(program),
        };
        let outcome = deliver(&target, &Delivery::default());
        assert_in_memory(&outcome, shell);
        assert_no_file(&target, &outcome, shell);
    }
}

#[test]
fn memory_alone_leaves_no_file() {
    for (reader, tools) in &READERS[..MEMFD_READERS] {
        let target = Target::new("sh", tools);
        let outcome = deliver(&target, &no_disk());
        assert_in_memory(&outcome, reader);
        assert_no_file(&target, &outcome, reader);
    }
}

#[test]
fn no_disk_without_a_maker_of_memfds_is_refused() {
    for (reader, tools) in &READERS[MEMFD_READERS..] {
        let target = Target::new("sh", tools);
        let outcome = deliver(&target, &no_disk());
        assert_refused(&outcome, "delivery.no_disk", "no perl or python3", reader);
        assert_no_file(&target, &outcome, reader);
    }
}

#[test]
fn single_bytes_are_enough() {
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools);
        let mut session = target.log_in();
        session.write([&package(&Delivery::default()), REST].concat(), 1, AndThen::Close);
        assert_eq!(started(&session.finish(b""), reader).rest, REST, "{reader}");
    }
}

#[test]
fn a_dd_of_busybox_is_exact() {
    let target = Target::new("busybox", &["busybox:dd", "busybox:gzip"]);
    let outcome = deliver(&target, &Delivery::default());
    assert_eq!(probed(&outcome), ("dd", true, true));
    assert_in_dir(&outcome, &target.runtime, "dd");
}

#[test]
fn a_reader_that_swallows_is_told_apart_and_still_works() {
    let target = Target::new("busybox", &["busybox:head", "busybox:gzip"]);
    let mut session = target.log_in();
    session.write(package(&Delivery::default()), ONE_PORTION, AndThen::Keep);
    let outcome = session.finish(REST);
    assert_eq!(probed(&outcome), ("head", false, true));
    assert_in_dir(&outcome, &target.runtime, "head of busybox");
    assert_no_file(&target, &outcome, "head of busybox");
}

#[test]
fn perl_without_gzip_gives_way() {
    let target = Target::new("sh", &["perl", "python3"]);
    let outcome = deliver(&target, &Delivery::default());
    assert_eq!(probed(&outcome), ("python3", true, true));
    assert_in_memory(&outcome, "python3");

    let outcome = deliver(&Target::new("sh", &["perl", "head"]), &Delivery::default());
    assert_eq!(probed(&outcome), ("head", true, false));
    assert_refused(&outcome, "delivery.gzip", "neither gzip nor python3", "perl without gzip");
}

#[test]
fn nothing_to_read_with_is_said() {
    for tools in [&["gzip"][..], &[]] {
        let outcome = deliver(&Target::new("sh", tools), &Delivery::default());
        assert_eq!(probed(&outcome), ("none", false, !tools.is_empty()));
        assert_refused(&outcome, "delivery.reader", "head, dd, perl or python3", "no reader");
    }
}

#[test]
fn a_machine_without_uname_still_answers() {
    let target = Target::new("sh", &[]);
    target.strip();
    let Some(Ok(Said::Probe(probe))) = target.log_in().hear() else { panic!("no probe") };
    assert_eq!((probe.system.as_str(), probe.arch()), ("unknown", None));
}

#[test]
fn the_probe_comes_before_anything_is_sent() {
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools);
        let mut session = target.log_in();
        let Some(Ok(Said::Probe(probe))) = session.hear() else { panic!("no probe") };
        assert_eq!(probe.reader, reader);
    }
}

#[test]
fn another_machine_than_remembered_is_said() {
    let here = Arch::here().expect("a machine that waft runs on");
    let other = Arch::ALL.into_iter().find(|arch| *arch != here).expect("another machine");
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools);
        let mut session = target.log_in();
        session.write(package_for(other, &Delivery::default()), ONE_PORTION, AndThen::Close);
        let outcome = session.finish(b"");
        assert_refused(&outcome, "delivery.arch", here.word(), reader);
        assert_no_file(&target, &outcome, reader);
    }
}

#[test]
fn a_stub_that_ends_early_is_never_started() {
    let package = package(&Delivery::default());
    let header = package.len() - stub().len();
    for (reader, tools) in READERS {
        for sent in [header, header + 1, package.len() / 2, package.len() - 1] {
            let what = format!("{reader}, {} bytes less", package.len() - sent);
            let target = Target::new("sh", tools);
            let mut session = target.log_in();
            session.write(package[..sent].to_vec(), ONE_PORTION, AndThen::Close);
            let outcome = session.finish(b"");
            assert_refused(&outcome, "delivery.short", "whole", &what);
            assert_no_file(&target, &outcome, &what);
        }
    }
}

#[test]
fn a_stub_that_cannot_be_started_leaves_no_file() {
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools);
        let mut session = target.log_in();
        session.write(package_of_a_dud(), ONE_PORTION, AndThen::Close);
        let outcome = session.finish(b"");
        // Either one of our sentences or the shell's own on stderr, but not silence.
        assert!(outcome.problem.is_some() || !outcome.stderr.is_empty(), "{reader}: {outcome:?}");
        assert!(outcome.stub.is_none() && outcome.code != Some(0), "{reader}: {outcome:?}");
        assert_no_file(&target, &outcome, reader);
    }
}

#[test]
fn an_end_before_the_header_ends_the_shell() {
    let target = Target::new("sh", READERS[0].1);
    let mut session = target.log_in();
    session.write(vec![], ONE_PORTION, AndThen::Close);
    let outcome = session.finish(b"");
    assert_eq!((&outcome.problem, &outcome.stub, outcome.code), (&None, &None, Some(71)), "{outcome:?}");
    assert_no_file(&target, &outcome, "no header");
}

#[test]
fn without_a_runtime_directory_shared_memory_is_used() {
    for (reader, tools) in &READERS[MEMFD_READERS..] {
        for unset in [true, false] {
            let mut target = Target::new("sh", tools);
            target.set_runtime = !unset;
            std::fs::remove_dir(&target.runtime).expect("an empty directory");
            let outcome = deliver(&target, &Delivery::default());
            assert_in_dir(&outcome, Path::new("/dev/shm"), &format!("{reader}, unset: {unset}"));
        }
    }
}

/// States of the runtime directory in which it is of no use.
const USELESS: [(&str, &str); 3] = [
    ("noexec", "mount -t tmpfs -o noexec run \"$1\""),
    ("read-only", "mount -t tmpfs -o ro run \"$1\""),
    // Room for the first page only: enough to try, not for the stub.
    ("full", "mount -t tmpfs -o size=8k run \"$1\""),
];

#[test]
fn a_directory_of_no_use_is_passed_over() {
    if !namespaces(true) {
        return;
    }
    for (state, prepare) in USELESS {
        for (reader, tools) in READERS {
            let what = format!("{reader}, {state}");
            let target = Target::new("sh", tools).within(Namespace { no_memfd: true, prepare });
            assert_in_dir(&deliver(&target, &Delivery::default()), Path::new("/dev/shm"), &what);
        }
    }
}

#[test]
fn the_named_directory_is_the_last_one() {
    if !namespaces(true) {
        return;
    }
    let prepare = "mount -t tmpfs -o ro run \"$1\"; mount -t tmpfs -o noexec shm /dev/shm";
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools).within(Namespace { no_memfd: true, prepare });
        // The name is only a name, to every shell and program on the way.
        let dir = target.dir("$HOME;`id`&*\"#%s\\n");
        assert_in_dir(&deliver(&target, &named_dir(&dir)), &dir, reader);
        let left: Vec<_> = dir.read_dir().expect("the named directory").collect();
        assert!(left.is_empty(), "{reader}: {left:?}");
    }
}

#[test]
fn no_directory_of_use_is_said_with_what_was_tried() {
    if !namespaces(true) {
        return;
    }
    let prepare = "mount -t tmpfs -o ro run \"$1\"; mount -t tmpfs -o noexec shm /dev/shm; \
                   mount -t tmpfs -o size=8k named \"$2/named\"";
    for (reader, tools) in READERS {
        let target = Target::new("sh", tools).within(Namespace { no_memfd: true, prepare });
        let dir = target.dir("named");
        let outcome = deliver(&target, &named_dir(&dir));
        let tried = format!("{} /dev/shm {}", target.runtime.display(), dir.display());
        assert_refused(&outcome, "delivery.dir", &tried, reader);
    }
}

#[test]
fn no_disk_where_the_kernel_refuses_is_refused() {
    if !namespaces(true) {
        return;
    }
    for (reader, tools) in &READERS[..MEMFD_READERS] {
        let target = Target::new("sh", tools).within(Namespace { no_memfd: true, prepare: "" });
        let outcome = deliver(&target, &no_disk());
        assert_refused(&outcome, "delivery.no_disk", "the kernel refused it", reader);
        assert_no_file(&target, &outcome, reader);
    }
}

/// A header without its number, and the number.
fn parts(header: Vec<u8>) -> (String, String) {
    let text = String::from_utf8(header).expect("text");
    let words: Vec<&str> = text.split(' ').collect();
    let [before @ .., number, dir] = words.as_slice() else { panic!("{text}") };
    (format!("{} {dir}", before.join(" ")), (*number).to_owned())
}

#[test]
fn the_header_takes_only_a_plain_absolute_directory() {
    let with =
        |dir: &str| header(Arch::X86_64, 7, true, &Delivery { dir: Some(dir.into()), ..Delivery::default() });
    let (header_of_dir, number) = parts(with("/var/tmp").expect("a header"));
    assert_eq!(header_of_dir, "x86_64 7 1 any /var/tmp\n");
    assert!(number.len() == 8 && number.chars().all(|c| c.is_ascii_hexdigit()), "{number}");
    for dir in ["", "tmp", "/a b", "/a\nb", "/a\u{a0}b", "/a\0"] {
        assert_eq!(with(dir).map_err(|problem| problem.code), Err("delivery.dir".to_owned()), "{dir:?}");
    }
    let (plain, other) = parts(header(Arch::Aarch64, 1, false, &no_disk()).expect("a header"));
    assert_eq!(plain, "aarch64 1 0 mem -\n");
    assert_ne!(number, other, "two stubs in one directory");
}

#[test]
fn an_installed_stub_is_a_plain_absolute_path() {
    assert_eq!(
        installed_line("/opt/waft/waft-stub_1.0+x").as_deref(),
        Ok("exec /opt/waft/waft-stub_1.0+x --link installed")
    );
    for path in ["", "waft-stub", "/a b", "/a;b", "/$HOME/x", "/a'b", "~/x"] {
        assert_eq!(
            installed_line(path).map_err(|problem| problem.code),
            Err("delivery.installed".to_owned()),
            "{path}"
        );
    }
}
