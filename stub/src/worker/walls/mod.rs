//! The walls of a worker, raised before the artifact is even mapped: a guest that breaks out of wasmtime, or a hole in
//! wasmtime's own file calls, ends at the kernel.
//!
//! | wall | what it takes away |
//! |---|---|
//! | `no_environment` | variables of the stub |
//! | `no_new_privs` | set-uid programs |
//! | `mount_namespace` | every path but the granted directories, see [`root`] |
//! | `capabilities` | what root may do, but reading and writing files of others |
//! | `landlock` | files outside the granted directories again, writing in those granted `ro`, network, signals |
//! | `rlimits` | open files beyond the limit, core dumps |
//! | `seccomp` | all system calls but those in [`filter`] |
//! | `no_new_code` | machine code that is not the artifact's, from the moment it is loaded |
//!
//! Each stands alone: a test takes the first wall away (native code in a worker's place) and tries what a guest must
//! not do. What a kernel does not have is missing from the list, and so from the result; with [`Wall::Required`] the
//! worker does not start then.

mod filter;
mod overlay;
mod rights;
mod root;

pub use super::wire::{Dir, Dry, Fault, Limits};
use crate::process;
pub use overlay::Layer;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;
pub use waft_proto::envelope::Wall;

/// Descriptors of the worker itself: the standard three, channel, artifact, the runtime's, and some spare.
const OWN_FILES: u64 = 24;

const NO_ENVIRONMENT: &str = "no_environment";
const NO_NEW_PRIVS: &str = "no_new_privs";
const MOUNT_NAMESPACE: &str = "mount_namespace";
const CAPABILITIES: &str = "capabilities";
const LANDLOCK: &str = "landlock";
const RLIMITS: &str = "rlimits";
const SECCOMP: &str = "seccomp";
const NO_NEW_CODE: &str = "no_new_code";

/// All walls, in the order in which they are raised.
pub const ALL: [&str; 8] =
    [NO_ENVIRONMENT, NO_NEW_PRIVS, MOUNT_NAMESPACE, CAPABILITIES, LANDLOCK, RLIMITS, SECCOMP, NO_NEW_CODE];

/// A worker that cannot start, as it tells the stub.
type Rejected = (Fault, String);

/// The walls that stand.
#[derive(Debug)]
pub struct Walls {
    wanted: Wall,
    standing: Vec<&'static str>,
    /// In a dry run the first granted directory without an overlay, and why.
    uncovered: Option<String>,
}

impl Walls {
    /// Raises all walls but the last. `kept` are the descriptors that stay open. An error is only what must stop the worker.
    pub fn raise(wanted: Wall, dirs: &[Dir], limits: &Limits, kept: &[i32]) -> Result<Walls, Rejected> {
        Walls::raise_for(wanted, &mut dirs.to_vec(), limits, kept, None, |_| Ok(()))
    }

    /// The same for a dry run: overlays stand for the directories that are granted for writing. Each is given to `tell`
    /// while this process is still nobody's but ours; those of `dirs` that have one become writable.
    pub fn raise_for(
        wanted: Wall,
        dirs: &mut [Dir],
        limits: &Limits,
        kept: &[i32],
        dry: Option<&Dry>,
        mut tell: impl FnMut(Layer) -> io::Result<()>,
    ) -> Result<Walls, Rejected> {
        let mut walls = Walls { wanted, standing: Vec::new(), uncovered: None };
        process::close_others(kept);
        let empty = std::env::vars_os().next().is_none();
        walls.stands(NO_ENVIRONMENT, if empty { Ok(()) } else { Err("it has variables".to_owned()) })?;
        walls.stands(NO_NEW_PRIVS, told(rustix::thread::set_no_new_privs(true)))?;
        for dir in dirs.iter() {
            // In the new root the reason would be lost.
            can_open(dir).map_err(|error| (Fault::Dir, format!("{}: {error}", dir.path)))?;
        }
        if wanted != Wall::Off || dry.is_some() {
            let (entered, layers) = match root::enter(dirs, dry) {
                Ok(layers) => (Ok(()), layers),
                Err(why) => (Err(why.clone()), overlay::none(dry.map_or(0, |_| dirs.len()), &why)),
            };
            walls.stands(MOUNT_NAMESPACE, entered)?;
            for layer in layers {
                match (dirs.get_mut(layer.dir as usize), &layer.missing) {
                    (Some(dir), None) => dir.writable = true,
                    (Some(dir), Some(why)) => {
                        walls.uncovered.get_or_insert_with(|| format!("`{}`: {why}", dir.path));
                    }
                    (None, _) => {}
                }
                // Of what is granted for reading the stub need not know.
                if !dry.is_some_and(|dry| dry.writable.contains(&layer.dir)) {
                    continue;
                }
                tell(layer).map_err(|error| (Fault::Walls, format!("the stub is not told: {error}")))?;
            }
        }
        if wanted != Wall::Off {
            walls.stands(CAPABILITIES, told(rights::drop_capabilities()))?;
            walls.stands(LANDLOCK, rights::landlock(dirs))?;
        }
        walls.stands(RLIMITS, told(limit(limits)))?;
        if wanted != Wall::Off {
            // Nobody of the same user may look into this process, or follow its /proc: the stub neither, unless it has to.
            let behavior = match limits.counted {
                true => DumpableBehavior::Dumpable,
                false => DumpableBehavior::NotDumpable,
            };
            let _ = set_dumpable_behavior(behavior);
            walls.stands(SECCOMP, filter::calls())?;
        }
        Ok(walls)
    }

    /// Paths lead to what was mounted for this process, and no others do.
    pub(crate) fn has_own_root(&self) -> bool {
        self.standing.contains(&MOUNT_NAMESPACE)
    }

    /// In a dry run: the granted directory in which FIFOs, sockets and perhaps devices are the real ones, and why.
    pub fn uncovered(&self) -> Option<&str> {
        self.uncovered.as_deref()
    }

    /// Raises the last one, when the artifact is loaded, and says which stand.
    pub fn close(mut self) -> Result<Vec<&'static str>, Rejected> {
        if self.wanted != Wall::Off {
            self.stands(NO_NEW_CODE, filter::new_code())?;
        }
        Ok(self.standing)
    }

    fn stands(&mut self, wall: &'static str, raised: Result<(), String>) -> Result<(), Rejected> {
        match raised {
            Ok(()) => self.standing.push(wall),
            Err(reason) if self.wanted == Wall::Required => {
                return Err((Fault::Walls, format!("the wall `{wall}` cannot be raised: {reason}")));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// What the kernel said, as text.
fn told(done: rustix::io::Result<()>) -> Result<(), String> {
    done.map_err(|error| io::Error::from(error).to_string())
}

/// As wasmtime-wasi will open it.
fn can_open(dir: &Dir) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    open(dir.path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

fn limit(limits: &Limits) -> rustix::io::Result<()> {
    let exactly = |number| Rlimit { current: Some(number), maximum: Some(number) };
    setrlimit(Resource::Core, exactly(0))?;
    // Never above what the login allows: only root may raise it, and nobody needs to.
    let allowed = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, exactly(limits.files.saturating_add(OWN_FILES).min(allowed)))
}

/// What [`Walls::raise`] puts up here, tried out in a process of its own: what a kernel has and what it allows are two
/// things. Takes about a millisecond.
///
/// Must be called before the process has a second thread.
pub fn expected() -> Vec<&'static str> {
    let Ok((reader, writer)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else {
        return Vec::new();
    };
    // SAFETY: there is one thread, so the child is whole: no lock can be held by a thread that it lacks.
    match unsafe { libc::fork() } {
        -1 => Vec::new(),
        0 => {
            drop(reader);
            let limits = Limits { memory_bytes: 0, out_bytes: 0, files: 0, counted: false };
            // A worker's environment is empty; this one's is not, and is not the point.
            let walls = Walls { wanted: Wall::Best, standing: vec![NO_ENVIRONMENT], uncovered: None };
            let standing = walls.try_all(&limits);
            let bits = ALL.iter().enumerate().filter(|(_, wall)| standing.contains(*wall));
            let byte = bits.fold(0u8, |byte, (at, _)| byte | 1 << at);
            let _ = rustix::io::write(&writer, &[byte]);
            // SAFETY: ends this process at once, without running what belongs to the other one.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let mut byte = [0];
            while let Err(rustix::io::Errno::INTR) = rustix::io::read(&reader, &mut byte) {}
            let child = rustix::process::Pid::from_raw(child);
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitpid(child, rustix::process::WaitOptions::empty())
            {}
            ALL.iter().enumerate().filter(|(at, _)| byte[0] & (1 << at) != 0).map(|(_, wall)| *wall).collect()
        }
    }
}

impl Walls {
    fn try_all(mut self, limits: &Limits) -> Vec<&'static str> {
        let tried = [
            (NO_NEW_PRIVS, told(rustix::thread::set_no_new_privs(true))),
            (MOUNT_NAMESPACE, root::enter(&[], None).map(drop)),
            (CAPABILITIES, told(rights::drop_capabilities())),
            (LANDLOCK, rights::landlock(&[])),
            (RLIMITS, told(limit(limits))),
            (SECCOMP, filter::calls()),
            (NO_NEW_CODE, filter::new_code()),
        ];
        for (wall, raised) in tried {
            let _ = self.stands(wall, raised);
        }
        self.standing
    }
}
