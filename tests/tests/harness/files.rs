//! Snapshots and watches of file systems.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use waft_tests::snapshot::Snapshot;
use waft_tests::watch::{Change, Watch};
use waft_tests::{Result, process};

fn lines_about(lines: &[String], path: &Path, what: &str) -> usize {
    lines.iter().filter(|line| line.contains(&path.display().to_string()) && line.contains(what)).count()
}

#[test]
fn each_kind_of_change_is_seen_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["same", "content", "size", "mode", "time", "owner", "removed", "kind"] {
        fs::write(path(name), "text").unwrap();
    }
    std::os::unix::fs::symlink("here", path("link")).unwrap();
    fs::create_dir(path("skipped")).unwrap();
    let skipped = path("skipped");
    let take = || Snapshot::take(&[dir.path()], &[&skipped]);
    let before = take()?;
    assert!(before.diff(&take()?).is_empty());

    let keep_time = |name: &str, change: &dyn Fn()| {
        let modified = fs::metadata(path(name)).unwrap().modified().unwrap();
        change();
        fs::File::open(path(name)).unwrap().set_modified(modified).unwrap();
    };
    keep_time("content", &|| fs::write(path("content"), "tixt").unwrap());
    keep_time("size", &|| fs::write(path("size"), "longer text").unwrap());
    fs::set_permissions(path("mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::File::open(path("time")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(path("removed")).unwrap();
    fs::remove_file(path("kind")).unwrap();
    fs::create_dir(path("kind")).unwrap();
    fs::remove_file(path("link")).unwrap();
    std::os::unix::fs::symlink("there", path("link")).unwrap();
    fs::write(path("added"), "").unwrap();
    fs::write(path("skipped/file"), "").unwrap();
    // Reading changes only the access time.
    fs::read(path("same")).unwrap();
    if process::is_root() {
        std::os::unix::fs::chown(path("owner"), Some(12_345), None).unwrap();
    }

    let diff = before.diff(&take()?);
    let expected = [
        ("content", "content "),
        ("size", "size 4 -> 11 bytes"),
        ("mode", "-> 4755"),
        ("time", "-> 0.000000000"),
        ("removed", "(file, 4 bytes)"),
        ("kind", "file, 4 bytes -> directory"),
        ("link", "link to here -> link to there"),
        ("added", "(file, 0 bytes)"),
    ];
    for (name, what) in expected {
        assert_eq!(lines_about(&diff.lines, &path(name), what), 1, "{name}: {what}\n{diff}");
    }
    assert_eq!(lines_about(&diff.lines, &path("same"), ""), 0, "{diff}");
    assert_eq!(lines_about(&diff.lines, &path("skipped"), ""), 0, "{diff}");
    let owner = usize::from(process::is_root());
    assert_eq!(lines_about(&diff.lines, &path("owner"), "12345"), owner, "{diff}");
    // The directory's own time, beside one line for each change.
    assert_eq!(diff.lines.len(), expected.len() + owner + 1, "{diff}");
    Ok(())
}

#[test]
fn a_file_that_came_and_went_is_seen() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let (old, skipped) = (dir.path().join("old"), dir.path().join("skipped"));
    fs::create_dir_all(old.join("deep")).unwrap();
    fs::create_dir(&skipped).unwrap();
    let watch = Watch::start(&[dir.path()], &[&skipped])?;
    let brief = old.join("deep/brief");
    fs::write(&brief, "x").unwrap();
    fs::remove_file(&brief).unwrap();
    fs::write(skipped.join("quiet"), "").unwrap();
    let stays = dir.path().join("new/deeper/stays");
    fs::create_dir_all(stays.parent().unwrap()).unwrap();
    fs::write(&stays, "x").unwrap();
    let seen = watch.finish()?;
    assert_eq!(seen.came_and_went(), [brief.as_path()], "{seen}");
    assert!(seen.has(Change::Written, &brief), "{seen}");
    assert!(seen.has(Change::Created, &stays), "{seen}");
    assert!(!seen.to_string().contains("quiet"), "{seen}");
    Ok(())
}

#[test]
fn a_watch_of_nothing_is_an_error() {
    let error = Watch::start(&[Path::new("/no/such/directory")], &[]).err().unwrap();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
}
