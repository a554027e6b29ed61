use super::*;
use crate::tests::example;
use rustix::fs::CWD;
use rustix::process::geteuid;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

/// A directory of ours, by its real path, and a policy in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().canonicalize().expect("its path").join("policy.toml");
    fs::write(&path, example()).expect("written");
    mode(&path, 0o644);
    (dir, path)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn us() -> u32 {
    geteuid().as_raw()
}

fn refused(path: &Path) -> Problem {
    read(path, us()).expect_err("not obeyed")
}

#[test]
fn a_file_of_ours_is_read_and_none_is_none() {
    let (_dir, path) = place();
    assert_eq!(read(&path, us()), Ok(Policy::parse(example()).ok()));
    assert_eq!(read(&path.with_file_name("other.toml"), us()), Ok(None));
    assert_eq!(read(&path.with_file_name("no").join("policy.toml"), us()), Ok(None));
    mode(&path, 0o400);
    assert!(read(&path, us()).is_ok_and(|policy| policy.is_some()));
}

#[test]
fn what_others_can_write_is_refused_with_the_command_that_mends_it() {
    let (dir, path) = place();
    for bits in [0o664, 0o646, 0o666] {
        mode(&path, bits);
        let problem = refused(&path);
        assert_eq!(problem.code, "policy.unsafe");
        assert!(
            problem.message.contains(&format!("others can write {} (mode {bits:04o}", path.display())),
            "{problem:?}"
        );
        assert_eq!(problem.hint, Some(format!("chmod go-w {}", path.display())));
    }
    mode(&path, 0o644);
    for bits in [0o775, 0o757] {
        mode(dir.path(), bits);
        let problem = refused(&path);
        assert_eq!(problem.code, "policy.unsafe");
        assert!(problem.hint.expect("a hint").starts_with("chmod go-w /"), "the directory");
        // Nor is it "no policy" when the file is not there yet: others could put one there.
        assert!(read(&path.with_file_name("other.toml"), us()).is_err());
    }
    // As /tmp: what is there stays.
    mode(dir.path(), 0o1777);
    assert_eq!(read(&path, us()).is_ok(), us() == ROOT);
}

#[test]
fn links_and_what_is_no_file_are_refused() {
    let (dir, path) = place();
    let here = path.parent().expect("a directory");
    symlink(&path, here.join("link")).expect("a link");
    symlink(here, here.join("around")).expect("a link");
    fs::create_dir(here.join("directory")).expect("a directory");
    rustix::fs::mknodat(CWD, here.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(here.join("socket")).expect("a socket");
    for (name, code) in [
        ("link", "policy.unsafe"),
        ("around/policy.toml", "policy.unsafe"),
        ("directory", "policy.unsafe"),
        ("fifo", "policy.unsafe"),
        ("socket", "policy.unreadable"),
        ("policy.toml/below", "policy.unsafe"),
        ("directory/../policy.toml", "policy.unreadable"),
    ] {
        assert_eq!(refused(&here.join(name)).code, code, "{name}");
    }
    drop(dir);
}

#[test]
fn what_belongs_to_others_is_refused() {
    let (dir, path) = place();
    if us() != ROOT {
        // Nobody else's directory is at hand; ours is somebody else's when another owner is expected.
        let problem = read(&path, us() + 1).expect_err("not obeyed");
        assert!(problem.message.contains("belongs to user"), "{problem:?}");
        return;
    }
    const OTHER: u32 = 4242;
    chown(&path, Some(OTHER), None).expect("another owner");
    let problem = refused(&path);
    assert!(
        problem.message.contains(&format!("belongs to user {OTHER} and has to be root's")),
        "{problem:?}"
    );
    assert_eq!(problem.hint, Some(format!("chown root {}", path.display())));
    // The owner that is expected may have it.
    assert!(read(&path, OTHER).is_ok_and(|policy| policy.is_some()));
    chown(&path, Some(ROOT), None).expect("root again");
    chown(dir.path(), Some(OTHER), None).expect("another owner");
    assert!(refused(&path).message.contains("belongs to user"), "the directory counts too");
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (_dir, path) = place();
    fs::write(&path, "version = 1\nwal = 'best'\nrelay = 3\n").expect("written");
    let problem = refused(&path);
    assert_eq!(problem.code, "policy.unknown");
    assert!(problem.message.contains("line 2: `wal` is no key of a policy (and 1 more)"), "{problem:?}");
    assert!(problem.hint.expect("a hint").contains("waft policy check /"));
    fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(refused(&path).message.contains("no UTF-8"));
    fs::write(&path, vec![b'#'; POLICY_BYTES_MAX + 1]).expect("written");
    assert_eq!(refused(&path).code, "policy.long");
    fs::write(&path, vec![b'#'; POLICY_BYTES_MAX]).expect("written");
    assert_eq!(refused(&path).code, "policy.invalid", "read whole, and it has no version");
}
