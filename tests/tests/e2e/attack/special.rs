//! Files that do something when they are opened, in a dry run: a FIFO lets go of whoever waits at its other end, a terminal or
//! watchdog begins to work. `/dev/null` stands for the watchdog here.

use super::arena::{Arena, Place};
use crate::component::made::guest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use waft_proto::run::Status;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{is_root, run_tool};
use waft_tests::{Result, need_root};

/// What waits for another end is given this long, milliseconds.
const SHORT_MS: u64 = 800;

/// Both ends of a FIFO, so that opening it does not wait, and a watch on who opens what.
struct Watched {
    queue: OwnedFd,
    _ends: Option<OwnedFd>,
}

impl Watched {
    fn new(place: &Place, name: &str) -> Watched {
        Watched::at(&place.granted(name), name)
    }

    fn at(path: &Path, name: &str) -> Watched {
        let both = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let ends = (name == "fifo").then(|| open(path, both, Mode::empty()).expect("both ends"));
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("a queue");
        inotify::add_watch(&queue, path, WatchFlags::OPEN).expect("a watch");
        Watched { queue, _ends: ends }
    }

    /// The kernel says so before the call that opened it returns.
    fn opened(&self) -> bool {
        let mut waiting = [PollFd::new(&self.queue, PollFlags::IN)];
        let ready = poll(&mut waiting, Some(&Timespec::default())).expect("polled") > 0;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.queue, &mut buffer);
        while let Ok(event) = events.next() {
            assert!(event.events().contains(ReadFlags::OPEN));
            if events.is_buffer_empty() {
                break;
            }
        }
        ready
    }
}

/// A terminal of its own that a place has in its granted directory. A device node would not do: the kernel knows these only
/// where they are mounted.
struct Terminal {
    _master: OwnedFd,
    at: PathBuf,
}

impl Terminal {
    fn new(place: &Place) -> Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let tty = Path::new(OsStr::from_bytes(name.to_bytes()));
        let at = place.granted("terminal");
        File::create(&at).expect("where it is mounted");
        for path in [tty, &at] {
            chown(path, place.uid(), None).expect("the account's own");
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("a mode");
        }
        let mut mount = Command::new("mount");
        mount.arg("--bind").arg(tty).arg(&at);
        run_tool(mount, b"")?;
        Ok(Terminal { _master: master, at })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("--lazy").arg(&self.at);
        if let Err(error) = run_tool(umount, b"") {
            eprintln!("{} stays mounted: {error}", self.at.display());
        }
    }
}

/// Also to see whether it is one, it is not opened.
#[test]
fn a_dry_run_opens_no_terminal() -> Result<()> {
    need_root!("mounts of its own");
    let arena = Arena::new()?;
    let terminals: Vec<Terminal> = arena.places.iter().map(Terminal::new).collect::<Result<_>>()?;
    let guard = LeakGuard::start();
    for access in ["rw", "ro"] {
        let mut link = arena.connect(Some(access))?;
        let watched: Vec<Watched> =
            terminals.iter().map(|terminal| Watched::at(&terminal.at, "terminal")).collect();
        let attack = || arena.with(json!({"attack": "special", "name": "terminal"})).timeout_ms(SHORT_MS);
        for (place, result) in arena.run(&mut link, attack().check())? {
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            assert!(said.starts_with("to read\n"), "{}, {access}: it did not try: {result:?}", place.name);
        }
        for (place, watched) in arena.places.iter().zip(&watched) {
            assert!(!watched.opened(), "{}, {access}: it was opened", place.name);
        }
        for (place, result) in arena.run(&mut link, attack())? {
            assert_eq!(result.status, Status::Ok, "{}, {access}: {result:?}", place.name);
        }
        for (place, watched) in arena.places.iter().zip(&watched) {
            assert!(watched.opened(), "{}, {access}: the watch sees nothing", place.name);
        }
        arena.stands(&mut link)?;
        link.stop()?;
    }
    guard.check()
}

/// For a component, an overlay is what keeps it from them.
#[test]
fn a_dry_run_of_a_component_opens_no_fifo_or_device() -> Result<()> {
    let arena = Arena::new()?;
    let wasm = guest()?;
    let guard = LeakGuard::start();
    let mut names = vec!["fifo"];
    let mode = Mode::from_raw_mode(0o666);
    for place in &arena.places {
        mknodat(CWD, place.granted("fifo"), FileType::Fifo, mode, 0).expect("a FIFO");
        let device = mknodat(CWD, place.granted("watchdog"), FileType::CharacterDevice, mode, makedev(1, 3));
        if device.is_ok() && !names.contains(&"watchdog") {
            names.push("watchdog");
        }
        for name in &names {
            let _ = rustix::fs::chmodat(CWD, place.granted(name), mode, rustix::fs::AtFlags::empty());
        }
    }
    if names.len() < 2 {
        eprintln!("SKIPPED (needs a root that may make devices): devices in a dry run of a component");
    }
    let mut link = arena.connect(Some("rw"))?;
    let mut tried = 0;
    for name in &names {
        let watched: Vec<Watched> = arena.places.iter().map(|place| Watched::new(place, name)).collect();
        let attack = || {
            let mut attack = arena.with(json!({"attack": "special", "name": name})).timeout_ms(SHORT_MS);
            attack.wasm = wasm.clone();
            attack
        };
        for (place, result) in arena.run(&mut link, attack().check())? {
            if result.status == Status::Refused {
                let code = result.problem.as_ref().map_or("", |problem| problem.code.as_str());
                assert_eq!(code, "check.overlay", "{}, {name}: {result:?}", place.name);
                assert!(result.stderr.is_empty(), "{}, {name}: it was started: {result:?}", place.name);
                continue;
            }
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            assert!(said.starts_with("to read\n"), "{}, {name}: it did not try: {result:?}", place.name);
            // The overlay's FIFO is one of its own, at whose other end nobody is.
            assert!(!said.contains(": 0\n"), "{}, {name}: something was opened: {result:?}", place.name);
            tried += 1;
        }
        for (place, watched) in arena.places.iter().zip(&watched) {
            assert!(!watched.opened(), "{}, {name}: it was opened", place.name);
        }
        for (place, result) in arena.run(&mut link, attack())? {
            assert_eq!(result.status, Status::Ok, "{}, {name}: {result:?}", place.name);
        }
        for (place, watched) in arena.places.iter().zip(&watched) {
            assert!(watched.opened(), "{}, {name}: the watch sees nothing", place.name);
        }
    }
    match is_root() {
        // Root makes overlays on any kernel that has them.
        true => assert!(tried > 0, "no dry run had an overlay"),
        false if tried == 0 => eprintln!("SKIPPED (no overlay here): FIFOs in a dry run of a component"),
        false => {}
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

#[test]
fn a_dry_run_opens_no_fifo_terminal_or_watchdog() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mode = Mode::from_raw_mode(0o666);
    let mut names = vec!["fifo"];
    for place in &arena.places {
        mknodat(CWD, place.granted("fifo"), FileType::Fifo, mode, 0).expect("a FIFO");
        let device = mknodat(CWD, place.granted("watchdog"), FileType::CharacterDevice, mode, makedev(1, 3));
        // Mode and mask.
        for name in ["fifo", "watchdog"] {
            let _ = rustix::fs::chmodat(CWD, place.granted(name), mode, rustix::fs::AtFlags::empty());
        }
        match device {
            Ok(()) if !names.contains(&"watchdog") => names.push("watchdog"),
            Ok(()) => {}
            Err(_) => eprintln!("SKIPPED (needs a root that may make devices): devices in a dry run"),
        }
    }
    for access in ["rw", "ro"] {
        let mut link = arena.connect(Some(access))?;
        for name in &names {
            let watched: Vec<Watched> = arena.places.iter().map(|place| Watched::new(place, name)).collect();
            let attack = || arena.with(json!({"attack": "special", "name": name})).timeout_ms(SHORT_MS);
            for (place, result) in arena.run(&mut link, attack().check())? {
                let said = String::from_utf8_lossy(&result.stderr).into_owned();
                assert!(
                    said.starts_with("to read\n"),
                    "{}, {name}, {access}: it did not try: {result:?}",
                    place.name
                );
            }
            for (place, watched) in arena.places.iter().zip(&watched) {
                assert!(!watched.opened(), "{}, {name}, {access}: it was opened", place.name);
            }
            // A real run opens it, or this proves nothing.
            for (place, result) in arena.run(&mut link, attack())? {
                assert_eq!(result.status, Status::Ok, "{}, {name}, {access}: {result:?}", place.name);
            }
            for (place, watched) in arena.places.iter().zip(&watched) {
                assert!(watched.opened(), "{}, {name}, {access}: the watch sees nothing", place.name);
            }
        }
        arena.stands(&mut link)?;
        link.stop()?;
    }
    guard.check()
}
