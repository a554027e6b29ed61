//! A dry run on the stub's side: the descriptors of its overlays, which the worker sent before any guest's code was
//! loaded, and what is read from them afterwards (see [`changes`]).

mod changes;
mod text;

pub(crate) use changes::Found;

use crate::worker::walls::Dir;
use crate::worker::wire::LAYER_FDS;
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::OwnedFd;
use waft_proto::run::Problem;

/// All that a dry run writes, without a `disk:` limit, bytes.
pub(crate) const DISK_BYTES_DEFAULT: u64 = 64 << 20;

/// One granted directory with an overlay.
struct Layer {
    path: String,
    /// What was written.
    upper: OwnedFd,
    /// The real directory.
    lower: OwnedFd,
    /// As the task sees both.
    merged: OwnedFd,
}

/// What stands for the directories that are granted for writing.
#[derive(Default)]
pub struct Overlays {
    layers: Vec<Layer>,
    /// Directories without an overlay, and why.
    missing: Vec<(String, String)>,
}

impl Overlays {
    /// One directory, as the worker tells of it.
    pub(crate) fn add(&mut self, dir: &Dir, missing: &str, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let path = dir.path.clone();
        if !missing.is_empty() {
            self.missing.push((path, missing.to_owned()));
            return Ok(());
        }
        let [upper, lower, merged] = <[OwnedFd; LAYER_FDS]>::try_from(descriptors)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.layers.push(Layer { path, upper, lower, merged });
        Ok(())
    }

    /// The granted directories as host calls may reach them in a dry run: an overlay in place of each that is granted for
    /// writing, all others for reading only. What is given opens these, and waits as long as a file server does.
    pub(crate) fn roots(
        &self,
        dirs: &[Dir],
    ) -> io::Result<impl FnOnce() -> io::Result<Vec<(Dir, OwnedFd)>> + Send + use<>> {
        let merged = |dir: &Dir| {
            let layer = self.layers.iter().find(|layer| layer.path == dir.path);
            let root = layer.map(|layer| layer.merged.try_clone()).transpose()?;
            Ok((Dir { path: dir.path.clone(), writable: root.is_some() }, root))
        };
        let dirs: Vec<_> = dirs.iter().map(merged).collect::<io::Result<_>>()?;
        let open =
            |dir: &Dir| open(&*dir.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(move || {
            let root = |(dir, root): (Dir, Option<OwnedFd>)| match root {
                Some(root) => Ok((dir, root)),
                None => open(&dir).map(|root| (dir, root)).map_err(io::Error::from),
            };
            dirs.into_iter().map(root).collect()
        })
    }

    /// Why the task was ended: WASI's number of the error that only a dry run has.
    pub(crate) fn unkept(&self, errno: u32, task: &str, target: &str) -> Problem {
        use crate::worker::dry::{OVERFLOW, XDEV};
        let why = match (i32::try_from(errno), self.missing.first()) {
            (Ok(OVERFLOW), _) => {
                "a file there belongs to a user or group that this user's overlay cannot hold".to_owned()
            }
            (Ok(XDEV), _) => "a directory that was there before cannot be renamed in an overlay".to_owned(),
            (_, Some((path, why))) => match self.missing.len() {
                1 => format!("no overlay here for `{path}`: {why}"),
                count => format!("no overlay here for `{path}` (and {} more): {why}", count - 1),
            },
            (_, None) => "no overlay here: the file system is read-only".to_owned(),
        };
        let text = format!("the dry run of task `{task}` on `{target}` was stopped where it writes: {why}");
        Problem::new("check.overlay", text)
            .hint("nothing was changed; what it would do there is not known: docs/dry-run.md says what an overlay needs")
    }
}

/// `root:adm`, or the numbers where the machine has no names.
fn owner(user: u32, group: u32) -> String {
    format!("{}:{}", crate::user_name(user), crate::files::group_name(group))
}
