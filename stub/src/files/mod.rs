//! What WASI lacks about files, done by the stub for its workers: modes, owners, symlinks, hard links, renames, times,
//! extended attributes, fsync, free space. One request as JSON text in, one answer as JSON text out.
//!
//! ```text
//!   request -> fields checked -> granted directory -> openat2 beneath it -> the call, on that descriptor
//! ```
//!
//! What it may not do: walk a path by itself, walk it twice, open what is no regular file or directory. Whatever other
//! processes do to the path meanwhile, a call changes what was found beneath the granted directory, or nothing. Names
//! that are made or moved are given to the kernel with the descriptor of their directory, and are never followed.
//!
//! Blocks as long as the file system does; the caller has the deadline. Bounds are bytes.

mod beneath;
mod failure;
mod links;
mod meta;
mod names;
mod request;
mod text;
mod xattr;

#[cfg(test)]
mod tests;

use crate::worker::walls::Dir;
use beneath::Root;
use request::Request;
use std::os::fd::OwnedFd;
use waft_proto::run::Problem;

pub use names::user_name;
#[cfg(feature = "site")]
pub(crate) use names::user_number;
pub(crate) use names::{entries, group_name};

/// The granted directories of one execution, each held open by a descriptor that can only be walked from.
#[derive(Debug)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// Opens each directory by its path, as the machine has it.
    pub fn open(dirs: &[Dir]) -> Result<Roots, Problem> {
        dirs.iter().map(Root::open).collect::<Result<_, _>>().map(Roots)
    }

    /// Directories that somebody else opened: in a dry run they are not what their paths name here.
    pub fn of(dirs: Vec<(Dir, OwnedFd)>) -> Roots {
        Roots(dirs.into_iter().map(|(dir, descriptor)| Root { dir, descriptor }).collect())
    }
}

/// What a request came to.
#[derive(Debug)]
pub struct Answer {
    /// One JSON object.
    pub text: String,
}

/// Does one request, which the caller has capped. `task` and `target` are for the sentences of problems.
pub fn call(request: &[u8], roots: &Roots, task: &str, target: &str) -> Result<Answer, Problem> {
    let request = Request::parse(request)?;
    let call = Call { request: &request, roots, task, target };
    let value = match request.op {
        "stat" => meta::stat(&call),
        "chmod" => meta::chmod(&call),
        "chown" => meta::chown(&call),
        "utime" => meta::utime(&call),
        "fsync" => meta::fsync(&call),
        "statvfs" => meta::statvfs(&call),
        "symlink" => links::symlink(&call),
        "link" => links::link(&call),
        "rename" => links::rename(&call),
        "getxattr" => xattr::get(&call),
        "listxattr" => xattr::list(&call),
        "setxattr" => xattr::set(&call),
        // The last one that a request can have.
        _ => xattr::remove(&call),
    }?;
    Ok(Answer { text: value.to_string() })
}

/// What a request is about, for the audit log: one line of bounded length, `chmod /etc/app/x 0644`.
pub fn subject(request: &[u8]) -> String {
    Request::parse(request).map_or_else(|_| "(no request)".to_owned(), |request| request.subject())
}

/// One request on its way.
struct Call<'a> {
    request: &'a Request,
    roots: &'a Roots,
    task: &'a str,
    target: &'a str,
}
