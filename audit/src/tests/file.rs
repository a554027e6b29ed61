//! The file: who may have it, several writers, and what a crash leaves.

use super::super::chain::Kind;
use super::super::line::{NOTHING, parse, seal};
use super::super::log::Log;
use super::Place;
use rustix::fs::FlockOperation;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
}

/// Neither prepared for nor appended to; both say the same.
fn refused(log: &Log) -> (String, String) {
    let problem = log.prepare(1).expect_err("it is refused");
    let again = log.append(SystemTime::UNIX_EPOCH, "test", Default::default(), false).expect_err("refused");
    assert_eq!(problem, again);
    (problem.code, problem.message)
}

#[test]
fn it_is_made_for_this_user_alone() {
    let place = Place::with(1);
    let file = place.log.file();
    let dir = file.parent().expect("a directory");
    assert_eq!((mode(&place.above), mode(dir), mode(&file)), (0o700, 0o700, 0o600));
}

#[test]
fn what_others_can_write_to_is_refused() {
    let place = Place::with(1);
    let file = place.log.file();
    let dir = file.parent().expect("a directory").to_owned();
    let before = place.bytes();
    for (path, good) in [(&file, 0o640), (&dir, 0o755), (&place.above, 0o755)] {
        for bad in [good | 0o020, good | 0o002] {
            chmod(path, bad);
            let (code, message) = refused(&place.log);
            assert_eq!(code, "audit.mode");
            assert!(message.contains(path.to_str().unwrap_or_default()), "{message}");
            assert!(message.contains(&format!("mode {bad:o}")), "{message}");
        }
        // Reading is for the site to allow.
        chmod(path, good);
        place.log.prepare(1).expect("good again");
    }
    assert_eq!(place.bytes(), before);
}

#[test]
fn what_belongs_to_another_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED (needs root): files of another user");
        return;
    }
    let place = Place::with(1);
    let file = place.log.file();
    let dir = file.parent().expect("a directory").to_owned();
    for path in [&file, &dir, &place.above] {
        std::os::unix::fs::chown(path, Some(4711), None).expect("root may");
        let (code, message) = refused(&place.log);
        assert_eq!(code, "audit.owner");
        assert!(message.contains("uid 4711"), "{message}");
        std::os::unix::fs::chown(path, Some(0), None).expect("root may");
    }
    place.log.prepare(1).expect("good again");
}

#[test]
fn what_is_no_file_is_neither_followed_nor_written_to() {
    let place = Place::new();
    let file = place.log.file();
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    for path in [place.above.as_path(), file.parent().expect("a directory")] {
        chmod(path, 0o700);
    }
    let elsewhere = place.above.join("elsewhere");
    for there in [true, false] {
        symlink(&elsewhere, &file).expect("made");
        if there {
            fs::write(&elsewhere, "precious").expect("written");
        }
        assert_eq!(refused(&place.log).0, "audit.file");
        assert_eq!(fs::read(&elsewhere).ok(), there.then(|| b"precious".to_vec()));
        fs::remove_file(&file).expect("removed");
        let _ = fs::remove_file(&elsewhere);
    }
    fs::create_dir(&file).expect("made");
    assert_eq!(refused(&place.log).0, "audit.file");
    fs::remove_dir(&file).expect("removed");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    assert_eq!(refused(&place.log).0, "audit.file");
}

#[test]
fn writers_at_once_make_one_chain() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 50;
    let place = Place::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let place = &place;
            scope.spawn(move || {
                for number in 0..EACH {
                    place.append(writer * EACH + number);
                }
            });
        }
    });
    let walked = place.walked();
    assert_eq!((walked.lines, walked.torn, walked.defect), (WRITERS * EACH, 0, None));
    let mut numbers: Vec<u64> =
        place.shown().iter().filter_map(|line| line.fields["number"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..WRITERS * EACH).collect::<Vec<_>>());
}

#[test]
fn a_log_that_is_moved_away_goes_on_as_a_new_one() {
    let place = Place::with(2);
    let file = place.log.file();
    let old = file.with_extension("old");
    // One writer has the old file open and waits for its lock when it is moved.
    let held = File::open(&file).expect("a log");
    rustix::fs::flock(&held, FlockOperation::LockExclusive).expect("locked");
    let appended = std::thread::scope(|scope| {
        let writer = scope.spawn(|| place.append(3));
        while !is_open(&held) {
            assert!(!writer.is_finished(), "it did not wait for the lock");
            std::thread::yield_now();
        }
        fs::rename(&file, &old).expect("moved");
        // As logrotate does it.
        fs::write(&file, "").expect("written");
        chmod(&file, 0o600);
        drop(held);
        writer.join().expect("appended")
    });
    assert_eq!(fs::read_to_string(&old).expect("the old log").lines().count(), 2);
    let walked = place.walked();
    assert_eq!((walked.lines, walked.head, walked.defect), (1, appended, None));
}

/// Whether this process has the file open a second time.
fn is_open(held: &File) -> bool {
    let wanted = held.metadata().expect("a file");
    let open = fs::read_dir("/proc/self/fd").expect("open files").flatten();
    let same = open.filter(|entry| {
        fs::metadata(entry.path()).is_ok_and(|meta| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino()))
    });
    same.count() > 1
}

#[test]
fn what_a_crash_leaves_stays_and_is_recorded() {
    let whole = Place::with(3);
    let lines = whole.lines();
    let last = &lines[2];
    for keep in 1..last.len() - 1 {
        let place = Place::with(1);
        let (fragment, _) = last.split_at(keep);
        let before = [lines[0].as_slice(), &lines[1], fragment].concat();
        place.write(&before);
        let torn = place.walked().defect.expect("a defect");
        assert_eq!((torn.line, torn.kind), (3, Kind::Torn));
        place.append(4);
        assert!(place.bytes().starts_with(&before), "nothing is rewritten");
        let walked = place.walked();
        assert_eq!((walked.lines, walked.torn, walked.defect), (4, 1, None), "{keep} bytes");
        let shown = place.shown();
        let record = &shown[2];
        assert_eq!((record.event.as_str(), record.seq), ("torn", 3));
        assert_eq!(record.fields["bytes"], keep);
        assert_eq!(record.fields["blake3"], blake3::hash(fragment).to_string());
        // What is left of the line counts as well.
        let mut changed = place.bytes();
        let at = lines[0].len() + lines[1].len();
        changed[at] ^= 1;
        assert_eq!(super::of_bytes(&changed, None).defect.map(|defect| defect.line), Some(3));
    }
}

#[test]
fn a_line_that_lacks_only_its_end_is_given_it() {
    let place = Place::with(3);
    let bytes = place.bytes();
    place.write(bytes.strip_suffix(b"\n").expect("a line end"));
    assert_eq!(place.walked().defect.map(|defect| defect.kind), Some(Kind::Torn));
    place.append(4);
    let walked = place.walked();
    assert_eq!((walked.lines, walked.torn, walked.defect), (4, 0, None));
    assert!(place.bytes().starts_with(&bytes));
}

#[test]
fn zeros_after_a_power_cut_are_a_torn_line() {
    for whole in [0, 2] {
        let place = Place::with(whole + 1);
        let lines = place.lines();
        let kept = lines[..whole as usize].concat();
        place.write(&[kept, vec![0; 10_000]].concat());
        place.append(9);
        let walked = place.walked();
        assert_eq!((walked.lines, walked.torn, walked.defect), (whole + 2, 1, None));
    }
}

#[test]
fn nothing_is_appended_to_a_line_that_was_changed() {
    let place = Place::with(2);
    let mut lines = place.lines();
    lines[1] =
        String::from_utf8(lines[1].clone()).expect("text").replace("\"number\":2", "\"number\":3").into();
    place.write(&lines.concat());
    let (code, message) = refused(&place.log);
    assert_eq!(code, "audit.changed");
    assert!(message.ends_with("its hash is not that of its bytes"), "{message}");
    assert_eq!(place.bytes(), lines.concat());
    // A number that leaves no room for the next is no line either.
    let forged = seal(u64::MAX, NOTHING, SystemTime::UNIX_EPOCH, "test", Default::default()).bytes;
    place.write(&forged);
    assert_eq!(refused(&place.log).0, "audit.changed");
}

#[test]
fn the_end_is_found_behind_lines_of_any_length() {
    let place = Place::new();
    let mut head = NOTHING;
    for length in [0, 1, 3_600, 4_096, 70_000, 3, 300_000, 5] {
        let mut fields = super::Fields::new();
        fields.insert("text".to_owned(), "x".repeat(length).into());
        let hash = place.log.append(SystemTime::UNIX_EPOCH, "test", fields, true).expect("appended");
        let line = place.lines().pop().expect("a line");
        let line = parse(line.trim_ascii_end()).expect("a line");
        assert_eq!((line.prev, line.hash), (head, hash));
        head = hash;
    }
    assert_eq!(place.walked().defect, None);
}
