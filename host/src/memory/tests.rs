//! A cache of hints: whatever happens to its file, the worst that follows is one question more.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const X86: Remembered = Remembered { arch: Arch::X86_64, exact: true };
const ARM: Remembered = Remembered { arch: Arch::Aarch64, exact: false };

fn home() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("waft/hosts");
    (dir, file)
}

fn kept(file: &Path) -> String {
    std::fs::read_to_string(file).expect("the file")
}

#[test]
fn what_was_learned_is_recalled_by_the_next_command() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    memory.learn("web-1", X86);
    memory.learn("[fe80::1]:2222", ARM);
    memory.save();
    assert_eq!(kept(&file), "[fe80::1]:2222 aarch64 0\nweb-1 x86_64 1\n");

    let memory = Memory::load(file);
    assert_eq!((memory.recall("web-1"), memory.recall("[fe80::1]:2222")), (Some(X86), Some(ARM)));
    assert_eq!(memory.recall("web-2"), None);
}

#[test]
fn the_last_word_on_a_host_counts() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    memory.learn("web-1", X86);
    memory.learn("web-1", ARM);
    memory.save();
    assert_eq!(kept(&file), "web-1 aarch64 0\n");
}

#[test]
fn what_was_forgotten_stays_forgotten() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    memory.learn("web-1", X86);
    memory.learn("web-2", X86);
    memory.save();
    memory.forget("web-1");
    memory.save();
    assert_eq!(kept(&file), "web-2 x86_64 1\n");
}

#[test]
fn lines_that_cannot_be_read_are_left_out() {
    let (_dir, file) = home();
    let text = "web-1 x86_64 1\n\nweb-2\nweb-3 sparc 1\nweb-4 aarch64\n\0\nweb-5 aarch64 0 and more\n";
    crate::files::write_private(&file, text.as_bytes()).expect("a file");
    let memory = Memory::load(file);
    assert_eq!(memory.hosts.keys().collect::<Vec<_>>(), ["web-1", "web-5"]);
}

#[test]
fn a_file_that_is_no_text_is_as_good_as_none() {
    let (_dir, file) = home();
    crate::files::write_private(&file, b"web-1 x86_64 1\n\xff\xfe\n").expect("a file");
    let mut memory = Memory::load(file.clone());
    memory.learn("web-2", ARM);
    memory.save();
    assert_eq!(kept(&file).lines().last(), Some("web-2 aarch64 0"));
}

#[test]
fn a_name_that_would_not_be_one_word_is_not_kept() {
    let mut memory = Memory::none();
    for name in ["", "a b", "a\nroot x86_64 1", "a\t", "a\u{a0}b"] {
        memory.learn(name, X86);
        assert_eq!(memory.recall(name), None, "{name:?}");
    }
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    memory.learn("web-1", X86);
    memory.save();
    std::fs::remove_file(&file).expect("the file was there");
    memory.learn("web-1", X86);
    memory.forget("web-2");
    memory.save();
    assert!(!file.exists());
}

#[test]
fn the_file_is_for_its_user_only() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    memory.learn("web-1", X86);
    memory.save();
    for path in [file.as_path(), file.parent().expect("its directory")] {
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn a_file_that_cannot_be_written_costs_nothing_else() {
    let (dir, _) = home();
    let blocked = dir.path().join("a file");
    std::fs::write(&blocked, "").expect("a file");
    let mut memory = Memory::load(blocked.join("hosts"));
    memory.learn("web-1", X86);
    memory.save();
    assert_eq!(memory.recall("web-1"), Some(X86));
}

#[test]
fn too_many_hosts_start_the_file_anew() {
    let (_dir, file) = home();
    let mut memory = Memory::load(file.clone());
    for host in 0..HOSTS_MAX {
        memory.learn(&format!("web-{host}"), X86);
    }
    memory.save();
    assert_eq!(kept(&file).lines().count(), HOSTS_MAX);
    memory.learn("one-more", X86);
    memory.save();
    assert_eq!(kept(&file), "");
}

#[test]
fn without_a_file_it_lasts_as_long_as_the_command() {
    let mut memory = Memory::none();
    memory.learn("web-1", X86);
    memory.save();
    assert_eq!(memory.recall("web-1"), Some(X86));
}
