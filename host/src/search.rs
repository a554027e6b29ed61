//! Where a task is found: a path names a file; a name is looked for in `WAFT_PATH`, in `./tasks`, and among those that are
//! built in, in that order. Everything that can be wrong with a task is told before a host is dialled.

use crate::compile::{MODULE_BYTES_MAX, check_imports};
use crate::manifest::{self, Manifest};
use crate::{files, stubs};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// Directories with tasks, as in `PATH`.
const VARIABLE: &str = "WAFT_PATH";
/// The directory of a project's own tasks.
const HERE: &str = "./tasks";
/// How the file of a task ends.
const ENDING: &str = "wasm";

/// Directories below one that is looked into, as in `db/backup`.
const LEVELS_MAX: usize = 1;
/// Entries of directories that are looked at, to list the tasks of one place.
const LISTED_MAX: usize = 10_000;

/// A module that can be run, as far as this side can tell.
#[derive(Clone, Debug)]
pub struct Found {
    /// By its manifest, else by its file.
    pub name: String,
    pub wasm: Arc<[u8]>,
    /// `None`: it is built in.
    pub file: Option<PathBuf>,
    pub manifest: Option<Manifest>,
}

impl Found {
    /// Where it is from, for people.
    pub fn place(&self) -> String {
        self.file.as_ref().map_or_else(|| "built into waft".to_owned(), |file| file.display().to_string())
    }
}

/// A task by the name that starts it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub found: Result<Found, Vec<Problem>>,
}

/// The directories that are looked into.
#[derive(Clone, Debug, Default)]
pub struct Search {
    dirs: Vec<PathBuf>,
}

impl Search {
    /// As the environment says. An empty entry is none: it is not the current directory.
    pub fn here() -> Search {
        let named = std::env::var_os(VARIABLE).unwrap_or_default();
        Search::of(std::env::split_paths(&named).filter(|dir| !dir.as_os_str().is_empty()))
    }

    /// These first.
    pub fn of(dirs: impl IntoIterator<Item = PathBuf>) -> Search {
        Search { dirs: dirs.into_iter().chain([PathBuf::from(HERE)]).collect() }
    }

    /// A path, or a name.
    pub fn task(&self, wanted: &str) -> Result<Found, Vec<Problem>> {
        let path = Path::new(wanted);
        let is_path = wanted.contains('/') || path.extension().is_some();
        let named = if is_path { None } else { self.named(wanted).map_err(|problem| vec![problem])? };
        if let Some(found) = named {
            return checked(found);
        }
        let name = path.file_stem().map_or_else(|| wanted.into(), |stem| stem.to_string_lossy());
        let found = match read(path) {
            Ok(wasm) => found(&name, wasm, path.to_owned()),
            Err(Unread::Io(error)) if error.kind() == ErrorKind::NotFound && !is_path => {
                let names: Vec<&str> = stubs::builtin_tasks().collect();
                let text = format!("there is no task `{wanted}`: {}", self.looked_for(wanted));
                if stubs::INTERPRETER_NAMES.contains(&wanted) {
                    return Err(vec![Problem::new("task.unknown", text).hint(format!(
                        "this waft was built without it: run `make interpreters` in its repository (which needs pip and npm) \
                         and build it again, or put {wanted}.{ENDING} into a directory that {VARIABLE} names"
                    ))]);
                }
                let near = nearest(wanted, names.iter().copied());
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                return Err(vec![Problem::new("task.unknown", text).hint(format!(
                    "{near}built in are: {}; another is given by its path, like ./{wanted}.wasm, or lies in a directory that \
                     {VARIABLE} names",
                    names.join(", ")
                ))]);
            }
            Err(why) => return Err(vec![why.told(path)]),
        };
        checked(found)
    }

    /// The task that a grant `call:NAME` means. Its manifest has to call it so: policies judge it by that name.
    pub fn callee(&self, name: &str) -> Result<Found, Vec<Problem>> {
        let named = self.named(name).map_err(|problem| vec![problem])?;
        let Some(found) = named else {
            let text =
                format!("`call:{name}` is granted, and there is no task `{name}`: {}", self.looked_for(name));
            return Err(vec![Problem::new("call.unknown", text).hint(format!(
                "put {name}.{ENDING} into {HERE} or into a directory that {VARIABLE} names, or do not give call:{name}"
            ))]);
        };
        let found = checked(found)?;
        let own = found.manifest.as_ref().and_then(|manifest| manifest.name.as_deref());
        match own.filter(|own| *own != name && Some(*own) != name.rsplit('/').next()) {
            None => Ok(Found { name: name.to_owned(), ..found }),
            Some(own) => {
                let text = format!(
                    "`call:{name}` means {}, which by its manifest is the task `{own}`",
                    found.place()
                );
                let hint = format!("give call:{own}, with the file named {own}.{ENDING}");
                Err(vec![Problem::new("call.name", text).hint(hint)])
            }
        }
    }

    /// The first of that name. A file that is there and cannot be read is not passed over.
    fn named(&self, name: &str) -> Result<Option<Found>, Problem> {
        let file = PathBuf::from(format!("{name}.{ENDING}"));
        // A name may have parts (`db/backup`), and never leads out of the directory.
        let inside = file.components().all(|part| matches!(part, Component::Normal(_)));
        for dir in self.dirs.iter().filter(|_| inside) {
            let path = dir.join(&file);
            match read(&path) {
                Ok(wasm) => {
                    // Whoever can write into a directory here would else take the place of what everybody knows.
                    match stubs::builtin_task(name) {
                        Some(_) => tracing::warn!(
                            "the task {name} is {}, not the one of that name that is built into waft",
                            path.display()
                        ),
                        None => tracing::info!("the task {name} is {}", path.display()),
                    }
                    return Ok(Some(found(name, wasm, path)));
                }
                Err(Unread::Io(error))
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(why) => return Err(why.told(&path)),
            }
        }
        let built_in = stubs::builtin_task(name);
        Ok(built_in.map(|wasm| Found {
            name: name.to_owned(),
            wasm: Arc::from(wasm),
            file: None,
            manifest: None,
        }))
    }

    /// All that a name could mean, each once, sorted by name. What is there and cannot be used is among them.
    pub fn all(&self) -> Vec<Listed> {
        let mut names: BTreeSet<String> = stubs::builtin_tasks().map(str::to_owned).collect();
        let mut unread = Vec::new();
        for dir in &self.dirs {
            let mut left = LISTED_MAX;
            gather(dir, "", LEVELS_MAX, &mut left, &mut names, &mut unread);
        }
        let listed = names.into_iter().map(|name| {
            let found = match self.named(&name) {
                Ok(Some(found)) => checked(found),
                Ok(None) => Err(vec![Problem::new("task.unknown", format!("the task {name} is gone"))]),
                Err(problem) => Err(vec![problem]),
            };
            Listed { found, name }
        });
        listed.chain(unread).collect()
    }

    fn looked_for(&self, name: &str) -> String {
        let dirs: Vec<String> = self.dirs.iter().map(|dir| dir.display().to_string()).collect();
        let why = if std::env::var_os(VARIABLE).is_some() { "" } else { " (WAFT_PATH is not set)" };
        format!("no {name}.{ENDING} in {}{why}, and none of that name is built in", dirs.join(", "))
    }
}

/// Names of the files of tasks in a directory, and in those below it.
fn gather(
    dir: &Path,
    before: &str,
    levels: usize,
    left: &mut usize,
    names: &mut BTreeSet<String>,
    unread: &mut Vec<Listed>,
) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            let text = format!("the directory {} cannot be read: {}", dir.display(), files::plain(&error));
            let problem =
                Problem::new("task.read", text).hint(format!("mend it, or leave it out of {VARIABLE}"));
            unread.push(Listed { name: format!("{}/", dir.display()), found: Err(vec![problem]) });
            return;
        }
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if file.starts_with('.') {
            continue;
        }
        match file.strip_suffix(ENDING).and_then(|stem| stem.strip_suffix('.')) {
            Some(stem) if !stem.is_empty() => drop(names.insert(format!("{before}{stem}"))),
            _ if levels > 0 && path.is_dir() && !path.is_symlink() => {
                gather(&path, &format!("{before}{file}/"), levels - 1, left, names, unread);
            }
            _ => {}
        }
    }
}

/// One that is built in, whatever lies in any directory.
pub fn builtin(name: &str) -> Result<Found, Vec<Problem>> {
    Search::default().named(name).map_err(|problem| vec![problem])?.map_or_else(
        || Err(vec![Problem::new("task.unknown", format!("no task `{name}` is built into this waft"))]),
        checked,
    )
}

fn found(name: &str, wasm: Vec<u8>, file: PathBuf) -> Found {
    Found { name: name.to_owned(), wasm: wasm.into(), file: Some(file), manifest: None }
}

/// With its manifest, by which it has its name.
fn checked(mut found: Found) -> Result<Found, Vec<Problem>> {
    check_imports(&found.name, &found.wasm)?;
    found.manifest = manifest::of_module(&found.name, &found.wasm, found.file.as_deref())?;
    if let Some(name) = found.manifest.as_ref().and_then(|manifest| manifest.name.clone()) {
        found.name = name;
    }
    Ok(found)
}

/// Why a file is not read as a task.
enum Unread {
    Io(io::Error),
    /// What it is instead of a regular file.
    Irregular(&'static str),
    /// Its bytes.
    Long(u64),
}

impl Unread {
    fn told(self, path: &Path) -> Problem {
        let path = path.display();
        match self {
            Unread::Io(error) => {
                Problem::new("task.read", format!("the task {path} cannot be read: {}", files::plain(&error)))
            }
            Unread::Irregular(kind) => Problem::new(
                "task.read",
                format!("the task {path} cannot be read: it is no regular file but {kind}"),
            )
            .hint("a task is a .wasm file: put the module into one"),
            Unread::Long(bytes) => Problem::new(
                "task.size",
                format!("the task {path} has {bytes} bytes; a module has at most {MODULE_BYTES_MAX}"),
            ),
        }
    }
}

/// The bytes of a file that can be a module, whatever they are.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    read(path).map_err(|why| why.told(path))
}

/// The bytes of a regular file that can be a module. A FIFO is not waited for, and nothing is read of what is too long.
fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::NXIO => Unread::Irregular("a socket or a device"),
        error => Unread::Io(error.into()),
    })?;
    let file = File::from(file);
    let about = file.metadata().map_err(Unread::Io)?;
    let kind = about.file_type();
    if !kind.is_file() {
        let fifo = if kind.is_fifo() { "a FIFO" } else { "a device" };
        return Err(Unread::Irregular(if kind.is_dir() { "a directory" } else { fifo }));
    }
    if about.len() > MODULE_BYTES_MAX as u64 {
        return Err(Unread::Long(about.len()));
    }
    let mut wasm = Vec::new();
    // It may grow meanwhile: one byte too many is enough to refuse it.
    file.take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut wasm).map_err(Unread::Io)?;
    Ok(wasm)
}

#[cfg(test)]
mod tests {
    use super::{Found, Search, builtin};
    use std::fs;
    use std::path::Path;
    use waft_proto::run::Problem;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn put(dir: &Path, name: &str, manifest: Option<&str>) {
        let file = dir.join(format!("{name}.wasm"));
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(&file, EMPTY).expect("a module");
        if let Some(text) = manifest {
            fs::write(file.with_extension("toml"), text).expect("a manifest");
        }
    }

    fn code(found: Result<Found, Vec<Problem>>) -> String {
        found.map_or_else(|problems| problems[0].code.clone(), |found| found.place())
    }

    #[test]
    fn directories_are_tried_in_order_and_then_what_is_built_in() {
        let (first, second) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let search = Search::of([first.path().join("missing"), first.path().into(), second.path().into()]);
        put(second.path(), "job", None);
        put(second.path(), "db/backup", None);
        assert_eq!(code(search.callee("job")), second.path().join("job.wasm").display().to_string());
        put(first.path(), "job", None);
        put(first.path(), "facts", None);
        for found in [search.task("job"), search.callee("job")] {
            assert_eq!(code(found), first.path().join("job.wasm").display().to_string());
        }
        assert_eq!(search.callee("db/backup").expect("it is there").name, "db/backup");
        assert!(
            code(search.task("facts")).ends_with("facts.wasm"),
            "a directory goes before what is built in"
        );
        assert_eq!(code(builtin("facts")), "built into waft");
        assert_eq!(code(Search::of([]).callee("facts")), "built into waft");
    }

    #[test]
    fn what_is_not_found_is_told_with_the_places_and_the_grant() {
        let dir = tempfile::tempdir().expect("a directory");
        let search = Search::of([dir.path().into()]);
        let problem = search.callee("backup").expect_err("there is none").remove(0);
        assert_eq!(problem.code, "call.unknown");
        for word in ["`call:backup`", &dir.path().display().to_string(), "./tasks", "built in"] {
            assert!(problem.message.contains(word), "{word} in {problem}");
        }
        assert!(problem.hint.expect("a hint").contains("do not give call:backup"));
        assert_eq!(code(search.task("backup")), "task.unknown");
        assert_eq!(code(search.task("./backup.wasm")), "task.read");
    }

    #[test]
    fn what_is_no_regular_file_or_too_long_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(format!("{name}.wasm"));
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a FIFO");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
        fs::create_dir(path("dir")).expect("a directory");
        std::os::unix::fs::symlink("/dev/zero", path("zero")).expect("a link");
        // It has no byte on the disk.
        let long = fs::File::create(path("long")).expect("a file");
        long.set_len(1 << 40).expect("a length");
        let search = Search::of([dir.path().into()]);
        for (name, code, words) in [
            ("fifo", "task.read", "no regular file but a FIFO"),
            ("socket", "task.read", "no regular file but a socket"),
            ("dir", "task.read", "no regular file but a directory"),
            ("zero", "task.read", "no regular file but a device"),
            ("long", "task.size", "has 1099511627776 bytes"),
        ] {
            for found in
                [search.task(&path(name).display().to_string()), search.task(name), search.callee(name)]
            {
                let problem = found.expect_err("no task").remove(0);
                assert_eq!(problem.code, code, "{problem}");
                assert!(problem.message.contains(words), "{words} in {problem}");
            }
        }
    }

    #[test]
    fn no_name_leads_out_of_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        put(dir.path(), "outside", None);
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).expect("a directory");
        let search = Search::of([inner.clone()]);
        for name in ["../outside", "a/../../outside", &inner.join("../outside").display().to_string()] {
            assert_eq!(code(search.callee(name)), "call.unknown", "{name}");
        }
    }

    #[test]
    fn what_is_there_and_wrong_is_not_passed_over() {
        let (first, second) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let search = Search::of([first.path().into(), second.path().into()]);
        put(second.path(), "job", None);
        fs::create_dir(first.path().join("job.wasm")).expect("a directory");
        assert_eq!(code(search.callee("job")), "task.read");
        fs::remove_dir(first.path().join("job.wasm")).expect("removed");
        fs::write(first.path().join("job.wasm"), "no module").expect("a file");
        assert_eq!(code(search.callee("job")), "task.not_wasm");
        put(first.path(), "job", Some("name = 'other'"));
        assert_eq!(code(search.callee("job")), "call.name");
        assert_eq!(
            search.task("job").expect("a task").name,
            "other",
            "started, it has the name it gives itself"
        );
        put(first.path(), "x/job", Some("name = 'job'"));
        assert_eq!(search.callee("x/job").expect("a task").name, "x/job");
        put(first.path(), "job", Some("nme = 'job'"));
        assert!(
            code(search.callee("job")).starts_with("manifest."),
            "its manifest is read as that of any task"
        );
    }
}
