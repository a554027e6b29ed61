//! A guest that looks for a way out of its directories through WASI: wasmtime's own wall alone (`off`), and both.
//! `stub/tests/walls.rs` tries the kernel's walls alone.

use crate::lab::{command, task};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use waft_proto::envelope::Wall;

/// `path_open` flags.
const CREATE: i32 = 1;
const RIGHT_READ: i64 = 1 << 1;
const RIGHT_WRITE: i64 = 1 << 6;
/// Of the first granted directory.
const FIRST_DIRECTORY: i32 = 3;

/// Opens `path` below the first granted directory, following symlinks, and exits with WASI's error number.
fn opens(path: &str, flags: i32, rights: i64) -> String {
    command(
        path,
        &format!(
            "(call $proc_exit (call $open (i32.const {FIRST_DIRECTORY}) (i32.const 1) (i32.const 1024) (i32.const {})
               (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 16)))",
            path.len()
        ),
    )
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        for name in ["granted", "granted/inner", "outside"] {
            fs::create_dir(place.path(name)).expect("a directory");
            fs::write(place.path(name).join("file"), name).expect("a file");
        }
        symlink(place.path("outside/file"), place.path("granted/absolute")).expect("a link");
        symlink("../outside/file", place.path("granted/relative")).expect("a link");
        symlink("inner/../../outside", place.path("granted/dir")).expect("a link");
        symlink("inner/file", place.path("granted/fine")).expect("a link");
        symlink("loop", place.path("granted/loop")).expect("a link");
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

async fn errno(place: &Place, access: &str, wall: Wall, path: &str, flags: i32, rights: i64) -> Option<u32> {
    let grant = format!("fs:{}:{access}", place.path("granted").display());
    let ran = task(opens(path, flags, rights)).grant(grant).wall(wall).run().await;
    assert!(ran.outcome.exit_code.is_some(), "{path}: {:?}", ran.outcome.problem);
    ran.outcome.exit_code
}

#[tokio::test]
async fn no_path_leads_out_of_a_granted_directory() {
    let place = Place::new();
    let outside = place.path("outside/file");
    let absolute = outside.to_str().expect("a plain path");
    let ways = [
        "../outside/file",
        "inner/../../outside/file",
        "./../outside/file",
        "..//outside/file",
        "../granted/../outside/file",
        absolute,
        "absolute",
        "relative",
        "dir/file",
        "loop",
        "file/",
        "inner/../../../../../../../../etc/passwd",
        "..",
        "",
    ];
    for wall in [Wall::Off, Wall::Required] {
        for good in ["file", "inner/file", "fine", "inner/../file"] {
            assert_eq!(errno(&place, "ro", wall, good, 0, RIGHT_READ).await, Some(0), "{good}, {wall:?}");
        }
        for way in ways {
            assert_ne!(errno(&place, "rw", wall, way, 0, RIGHT_READ).await, Some(0), "{way}, {wall:?}");
        }
        for way in ["../new", "dir/new", "../outside/new", "absolute"] {
            let opened = errno(&place, "rw", wall, way, CREATE, RIGHT_READ | RIGHT_WRITE).await;
            assert_ne!(opened, Some(0), "{way}, {wall:?}");
        }
    }
    let names = |dir: &Path| fs::read_dir(dir).expect("a directory").count();
    assert_eq!((names(place.0.path()), names(&place.path("outside"))), (2, 1), "nothing was made outside");
    assert_eq!(fs::read_to_string(outside).expect("a file"), "outside");
}

#[tokio::test]
async fn a_directory_granted_for_reading_is_not_written_to() {
    let place = Place::new();
    for wall in [Wall::Off, Wall::Required] {
        for (path, flags) in [("file", 0), ("inner/file", 0), ("new", CREATE)] {
            assert_ne!(
                errno(&place, "ro", wall, path, flags, RIGHT_WRITE).await,
                Some(0),
                "{path}, {wall:?}"
            );
        }
        assert_eq!(errno(&place, "rw", wall, "file", 0, RIGHT_WRITE).await, Some(0), "{wall:?}");
    }
    assert!(!place.path("granted/new").exists());
}
