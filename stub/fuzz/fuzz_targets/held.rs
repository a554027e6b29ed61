//! What must hold whatever a worker said.

use std::cell::{Cell, OnceCell};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use waft_stub::pool::hostile::{Given, Heard, OUT_BYTES, grants, hear, is_done, placed};

/// After so many inputs the directory is made anew: requests fill it.
const INPUTS_MAX: u32 = 512;

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    static INPUTS: Cell<u32> = const { Cell::new(0) };
}

/// A directory that is granted, one beside it, and a port where somebody listens.
struct Place {
    top: PathBuf,
    port: u16,
    grants: Vec<String>,
    /// The directory and the file beside: each change of them moves a time of change.
    outside: [Seen; 2],
}

/// Inode, mode, owner, links, size, and when it changed.
type Seen = (u64, u32, u32, u64, u64, (i64, i64));

fn seen(path: &Path) -> Seen {
    let is = fs::symlink_metadata(path).expect("it is there");
    (is.ino(), is.mode(), is.uid(), is.nlink(), is.size(), (is.ctime(), is.ctime_nsec()))
}

impl Place {
    fn new() -> Place {
        let top = std::env::temp_dir().join(format!("waft-fuzz-{}", std::process::id()));
        fs::create_dir_all(top.join("out")).expect("a directory");
        fs::write(top.join("out/file"), "outside").expect("written");
        furnish(&top);
        // Connections are taken by the kernel; nobody reads them.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let grants = grants(top.to_str().expect("a plain path"), port);
        let outside = [seen(&top.join("out")), seen(&top.join("out/file"))];
        Place { top, port, grants, outside }
    }
}

/// What the seeds name.
fn furnish(top: &Path) {
    let granted = top.join("in");
    let _ = fs::remove_dir_all(&granted);
    for dir in ["in", "in/ro", "in/dir"] {
        let path = top.join(dir);
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    for file in ["in/file", "in/ro/file", "in/dir/file"] {
        fs::write(top.join(file), "inside").expect("written");
    }
    std::os::unix::fs::symlink("../out", granted.join("way")).expect("a link");
    std::os::unix::fs::symlink("../out/file", granted.join("link")).expect("a link");
}

static PLACE: LazyLock<Place> = LazyLock::new(Place::new);

/// Says packets to a stub, in the place of its worker. `packets` makes them, with what puts the names of the place into
/// a request.
pub fn held<P: AsRef<[u8]>>(
    packets: impl FnOnce(&dyn Fn(&[u8]) -> Vec<u8>) -> Vec<P>,
    secret: Option<&str>,
) -> Heard {
    let packets = packets(&|bytes| placed(bytes, PLACE.top.to_str().expect("a plain path"), PLACE.port));
    let packets: Vec<&[u8]> = packets.iter().map(AsRef::as_ref).collect();
    let inputs = INPUTS.get() + 1;
    INPUTS.set(inputs % INPUTS_MAX);
    if inputs == INPUTS_MAX {
        furnish(&PLACE.top);
    }
    let given = Given { grants: &PLACE.grants, secret };
    let heard = RUNTIME.with(|runtime| {
        let made = || Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.get_or_init(made).block_on(hear(&packets, &given))
    });
    // No program that is there was granted, so none was started.
    assert!(!heard.replaced && heard.outcome.signal.is_none(), "{heard:?}");
    let ended = packets.iter().any(|packet| is_done(packet));
    assert!(ended || (!heard.reused && heard.outcome.exit_code.is_none()), "{heard:?}");
    for stream in ["stdout", "stderr"] {
        assert!(heard.output.get(stream).is_none_or(|bytes| *bytes <= OUT_BYTES), "{heard:?}");
    }
    for reply in &heard.replies {
        let reply: serde_json::Value = serde_json::from_str(reply).expect("an answer is JSON");
        assert!(reply.is_object(), "{reply}");
    }
    let out = PLACE.top.join("out");
    assert_eq!([seen(&out), seen(&out.join("file"))], PLACE.outside, "{heard:?}");
    heard
}
