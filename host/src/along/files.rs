//! Files that are sent with a run: `-p NAME@FILE`. Each is read once, piece by piece, into the memory that it is sent
//! from, and hashed meanwhile. All that can be wrong with one is told before a host is dialled.

use crate::files::plain;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waft_proto::grant::Grant;
use waft_proto::id::Hash;
use waft_proto::limits::STORE_BYTES_DEFAULT;
use waft_proto::run::Problem;

/// One file, bytes: it is held in memory by the controller and by each node on the way.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// The files of one run together, bytes.
pub const FILES_BYTES_MAX: u64 = 128 << 20;
/// Files of one run: the hash of each travels in its envelope, and as a grant.
pub const FILES_MAX: usize = 32;
/// Bytes that are read and hashed at a time.
const PIECE_BYTES: usize = 1 << 20;

const _: () =
    assert!(FILES_BYTES_MAX * 2 <= STORE_BYTES_DEFAULT, "the store of a node has room for the code, too");

/// A file and its bytes.
#[derive(Clone, Debug)]
pub struct File {
    /// The parameter that names it.
    pub param: String,
    pub path: PathBuf,
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
}

impl File {
    /// The value of the parameter: what the task needs to ask for the bytes, and what it cannot learn from them.
    pub fn reference(&self) -> Value {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        json!({"hash": self.hash.to_string(), "bytes": self.bytes.len(), "name": name.unwrap_or_default()})
    }

    pub fn grant(&self) -> String {
        Grant::Blob(self.hash).to_string()
    }
}

/// Reads each, or gives all problems.
pub fn read_all(wanted: Vec<(String, PathBuf)>) -> Result<Vec<File>, Vec<Problem>> {
    if wanted.len() > FILES_MAX {
        let text = format!("{} files are named by -p; at most {FILES_MAX} go with a run", wanted.len());
        return Err(vec![Problem::new("params.files", text).hint("put them into an archive")]);
    }
    let (mut files, mut problems): (Vec<File>, Vec<Problem>) = (Vec::new(), Vec::new());
    let mut room = FILES_BYTES_MAX;
    for (param, path) in wanted {
        match read(&path, room) {
            Ok((hash, bytes)) => match files.iter().find(|file| file.hash == hash) {
                // The same bytes are held once.
                Some(same) => files.push(File { param, path, bytes: Arc::clone(&same.bytes), hash }),
                None => {
                    room = room.saturating_sub(bytes.len() as u64);
                    files.push(File { param, path, hash, bytes });
                }
            },
            Err(wrong) => problems.push(wrong.told(&param, &path)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// What is wrong with a file: the end of a sentence, and what to do.
struct Wrong {
    code: &'static str,
    text: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(text: impl Into<String>) -> Wrong {
        Wrong { code: "params.file", text: text.into(), hint: None }
    }

    fn told(self, param: &str, path: &Path) -> Problem {
        let text = format!("the file {} of `-p {param}@` {}", path.display(), self.text);
        let problem = Problem::new(self.code, text);
        match self.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

fn read(path: &Path, room: u64) -> Result<(Hash, Arc<[u8]>), Wrong> {
    let unreadable = |error: &std::io::Error| Wrong::new(format!("cannot be read: {}", plain(error)));
    // Opening a FIFO would wait for a writer, and a terminal could become ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NXIO => Wrong::new("is no regular file but a socket or a device"),
        rustix::io::Errno::NOENT if path == Path::new("-") => {
            let hint = "standard input is for `--params -` alone: put what it gives into a file first";
            Wrong { hint: Some(hint.to_owned()), ..unreadable(&ErrorKind::NotFound.into()) }
        }
        error => unreadable(&error.into()),
    })?;
    let stat = |file: &fs::File| rustix::fs::fstat(file).map_err(|error| unreadable(&error.into()));
    let mut file = fs::File::from(file);
    let before = stat(&file)?;
    let kind = match FileType::from_raw_mode(before.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        _ => Some("something else"),
    };
    if let Some(kind) = kind {
        let wrong = Wrong::new(format!("is no regular file but {kind}"));
        let hint = match kind {
            "a directory" => "send an archive of it",
            _ => "put what it gives into a file first: it has to be known in whole before it is sent",
        };
        return Err(Wrong { hint: Some(hint.to_owned()), ..wrong });
    }
    let size = u64::try_from(before.st_size).unwrap_or(u64::MAX);
    let long =
        |text: String, hint: &str| Wrong { code: "params.file_size", text, hint: Some(hint.to_owned()) };
    if size > FILE_BYTES_MAX {
        let text = format!(
            "has {size} bytes; at most {FILE_BYTES_MAX} ({} MiB) go with a run",
            FILE_BYTES_MAX >> 20
        );
        return Err(long(text, "split it, or let the target fetch it"));
    }
    if size > room {
        let text = format!(
            "has {size} bytes, {} more than are left of the {FILES_BYTES_MAX} ({} MiB) that the files of a run have together",
            size - room,
            FILES_BYTES_MAX >> 20
        );
        return Err(long(text, "send fewer files with one run"));
    }
    let changed = |text: &str| Wrong {
        code: "params.file_changed",
        text: format!("changed while it was read: {text}"),
        hint: Some("wait until whoever writes it is done, or send a copy".to_owned()),
    };
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let mut hasher = blake3::Hasher::new();
    for piece in Arc::get_mut(&mut bytes).unwrap_or_default().chunks_mut(PIECE_BYTES) {
        file.read_exact(piece).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => changed(&format!("it ended before its {size} bytes")),
            _ => unreadable(&error),
        })?;
        hasher.update(piece);
    }
    if file.read(&mut [0]).map_err(|error| unreadable(&error))? != 0 {
        return Err(changed(&format!("it has more than its {size} bytes")));
    }
    let times = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    if times(&stat(&file)?) != times(&before) {
        return Err(changed("its time of change is another one than before"));
    }
    Ok((Hash(*hasher.finalize().as_bytes()), bytes))
}

#[cfg(test)]
mod tests {
    use super::{FILE_BYTES_MAX, FILES_BYTES_MAX, FILES_MAX, File, read_all};
    use std::fs::{self, OpenOptions, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use waft_proto::id::Hash;
    use waft_proto::run::Problem;

    fn one(path: &Path) -> Result<File, Problem> {
        let read = read_all(vec![("config".to_owned(), path.to_owned())]);
        read.map(|mut files| files.remove(0)).map_err(|mut problems| problems.remove(0))
    }

    #[track_caller]
    fn wrong(path: &Path, code: &str, words: &str) {
        let problem = one(path).expect_err("it cannot be sent");
        assert_eq!(problem.code, code, "{problem}");
        let named = format!("the file {} of `-p config@` ", path.display());
        assert!(problem.message.starts_with(&named) && problem.message.contains(words), "{problem}");
    }

    #[test]
    fn a_file_is_known_by_its_bytes_and_told_by_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("app.conf");
        // Longer than one piece, and no multiple of it.
        let text: Vec<u8> = (0..3_000_001_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        fs::write(&path, &text).expect("written");
        let file = one(&path).expect("it can be read");
        assert_eq!((&*file.bytes, file.hash), (&*text, Hash::of(&text)));
        let reference =
            serde_json::json!({"hash": Hash::of(&text).to_string(), "bytes": 3_000_001, "name": "app.conf"});
        assert_eq!(file.reference(), reference);
        assert_eq!(file.grant(), format!("blob:{}", Hash::of(&text)));
        fs::write(&path, "").expect("written");
        assert_eq!(one(&path).expect("an empty file is one").hash, Hash::of(b""));
        let twice = read_all(vec![("a".to_owned(), path.clone()), ("b".to_owned(), path)]).expect("both");
        assert!(Arc::ptr_eq(&twice[0].bytes, &twice[1].bytes), "the same bytes are held once");
    }

    #[test]
    fn what_cannot_be_sent_is_told_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        wrong(&path("missing"), "params.file", "cannot be read: No such file or directory");
        let problem = one(Path::new("-")).expect_err("no file");
        assert!(problem.hint.is_some_and(|hint| hint.contains("`--params -`")), "{}", problem.message);
        wrong(dir.path(), "params.file", "is no regular file but a directory");
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a FIFO");
        wrong(&path("fifo"), "params.file", "is no regular file but a FIFO");
        let _socket = UnixListener::bind(path("socket")).expect("a socket");
        wrong(&path("socket"), "params.file", "is no regular file but a socket");
        wrong(Path::new("/dev/null"), "params.file", "is no regular file but a device");
        fs::write(path("closed"), "x").expect("written");
        fs::set_permissions(path("closed"), Permissions::from_mode(0o000)).expect("closed");
        if rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED (root may read everything): a file that may not be read");
        } else {
            wrong(&path("closed"), "params.file", "cannot be read: Permission denied");
        }
        // Says that it is empty, and is not.
        wrong(Path::new("/proc/self/status"), "params.file_changed", "it has more than its 0 bytes");
    }

    #[test]
    fn sizes_are_looked_at_before_anything_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let sparse = |name: &str, bytes: u64| {
            let path = dir.path().join(name);
            fs::File::create(&path).and_then(|file| file.set_len(bytes)).expect("a sparse file");
            path
        };
        wrong(&sparse("long", FILE_BYTES_MAX + 1), "params.file_size", "at most 67108864 (64 MiB)");
        let each = FILE_BYTES_MAX;
        let files: Vec<(String, PathBuf)> = (0..=FILES_BYTES_MAX / each)
            .map(|at| {
                let path = sparse(&at.to_string(), each - at);
                (at.to_string(), path)
            })
            .collect();
        let problems = read_all(files).expect_err("too much together");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("134217728 (128 MiB)"), "{}", problems[0]);
        let many = (0..=FILES_MAX).map(|at| (at.to_string(), PathBuf::from("/nonexistent"))).collect();
        assert_eq!(read_all(many).expect_err("too many")[0].code, "params.files");
    }

    #[test]
    fn a_file_that_is_written_meanwhile_is_not_sent() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        fs::write(&path, vec![b'x'; 4 << 20]).expect("written");
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, writer) = (Arc::clone(&stop), path.clone());
        let writes = std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(writer).expect("the file");
            while !theirs.load(Ordering::Relaxed) && file.metadata().is_ok_and(|meta| meta.len() < 16 << 20) {
                file.write_all(b"y").expect("written");
            }
        });
        // Each try is a chance: somebody writes all the time, and a read of megabytes takes longer than that.
        let noticed = (0..50).find_map(|_| one(&path).err());
        stop.store(true, Ordering::Relaxed);
        writes.join().expect("the writer ends");
        assert_eq!(noticed.expect("a change is noticed").code, "params.file_changed");
        one(&path).expect("nobody writes any more");
    }
}
