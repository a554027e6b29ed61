//! Modes, owners, times, fsync and free space: what a file is, or is told to be.

use super::beneath::own;
use super::{Call, names, text};
use crate::base64;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
    chmod as set_mode, chownat, fstat, fstatvfs, major, minor, open, readlinkat, utimensat,
};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use std::os::fd::OwnedFd;
use waft_proto::run::Problem;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const MODE_BITS: u32 = 0o7777;

pub(super) fn changed(changed: bool) -> Value {
    json!({"changed": changed})
}

pub(super) fn stat(call: &Call<'_>) -> Result<Value, Problem> {
    let file = match call.look()? {
        // That it is not there is what many ask for.
        Err(Errno::NOENT) => return Ok(json!({"kind": null})),
        found => found.map_err(|error| call.not_found(error))?,
    };
    let stat = fstat(&file).map_err(|error| call.failed(error))?;
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| drop(answer.insert(name.to_owned(), value));
    put("kind", kind(&stat).into());
    put("mode", format!("{:04o}", stat.st_mode & MODE_BITS).into());
    put("uid", stat.st_uid.into());
    put("gid", stat.st_gid.into());
    put("owner", names::name_in(names::PASSWD, stat.st_uid).into());
    put("group", names::name_in(names::GROUP, stat.st_gid).into());
    put("size", stat.st_size.into());
    put("mtime", text::time(stat.st_mtime, stat.st_mtime_nsec as u64).into());
    put("atime", text::time(stat.st_atime, stat.st_atime_nsec as u64).into());
    put("ctime", text::time(stat.st_ctime, stat.st_ctime_nsec as u64).into());
    put("nlink", Value::from(stat.st_nlink));
    put("inode", stat.st_ino.into());
    put("device", format!("{}:{}", major(stat.st_dev), minor(stat.st_dev)).into());
    if kind(&stat) == "symlink" {
        let target = readlinkat(&file, "", Vec::new()).map_err(|error| call.failed(error))?.into_bytes();
        match String::from_utf8(target) {
            Ok(target) => put("target", target.into()),
            Err(error) => put("target_base64", base64::encode(error.as_bytes()).into()),
        }
    }
    Ok(Value::Object(answer))
}

fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::BlockDevice => "block",
        FileType::CharacterDevice => "char",
        FileType::Unknown => "unknown",
    }
}

pub(super) fn chmod(call: &Call<'_>) -> Result<Value, Problem> {
    let wanted = call.request.text("mode")?.and_then(text::octal);
    let mode = call.request.want("mode", "octal digits as text, up to \"7777\"", wanted)?;
    let file = call.find_to_change()?;
    let stat = fstat(&file).map_err(|error| call.failed(error))?;
    let kind = kind(&stat);
    if kind == "symlink" {
        let problem = call.problem("file.symlink", "a symlink has no mode of its own");
        return Err(problem.hint("\"follow\":true changes what it leads to"));
    }
    // On a directory set-gid lends nobody's rights: it says whose group new files have.
    if mode & SET_UID != 0 || (mode & SET_GID != 0 && kind != "dir") {
        let what = "set-uid and set-gid lend the rights of the file's owner to whoever starts it, which no grant of files gives";
        let problem = call.problem("file.setid", what);
        return Err(problem.hint("leave the bits out; where they are needed, grant a program that sets them"));
    }
    if stat.st_mode & MODE_BITS == mode {
        return Ok(changed(false));
    }
    set_mode(own(&file), Mode::from_raw_mode(mode)).map_err(|error| call.by_descriptor(error))?;
    // Of a directory in a group that is not the caller's, the kernel drops set-gid and says nothing.
    let now = fstat(&file).map_err(|error| call.failed(error))?.st_mode & MODE_BITS;
    if now & SET_GID != mode & SET_GID {
        return Err(call.problem(
            "file.denied",
            "the kernel took the mode without set-gid: the group is not one of the stub's",
        ));
    }
    Ok(changed(true))
}

pub(super) fn chown(call: &Call<'_>) -> Result<Value, Problem> {
    let owner = id(call, "owner", names::PASSWD)?;
    let group = id(call, "group", names::GROUP)?;
    if owner.is_none() && group.is_none() {
        return call.request.want("owner", "a name or number, or one in `group`", None);
    }
    let file = call.find_to_change()?;
    let stat = fstat(&file).map_err(|error| call.failed(error))?;
    if owner.is_none_or(|uid| uid == stat.st_uid) && group.is_none_or(|gid| gid == stat.st_gid) {
        return Ok(changed(false));
    }
    let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
    chownat(&file, "", owner, group, AtFlags::EMPTY_PATH).map_err(|error| call.failed(error))?;
    Ok(changed(true))
}

/// A user or group by number, by name, or by digits that are no name, as chown(1) reads them.
fn id(call: &Call<'_>, field: &str, file: &str) -> Result<Option<u32>, Problem> {
    let request = call.request;
    let number = match request.value(field) {
        None => return Ok(None),
        Some(Value::String(name)) => {
            let known = names::id_of(&names::read(file), name).or_else(|| name.parse().ok());
            known.ok_or_else(|| {
                let what = format!("{file} there has no {}", text::shown(name, 64));
                let hint = "the stub asks no other name service: give the number, or grant a program that knows the name";
                call.problem("file.no_name", &what).hint(hint)
            })?
        }
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            request.want(field, "a name, or a number of 32 bits", number)?
        }
    };
    // To the kernel the last number means "leave it as it is".
    request.want(field, "a number below 4294967295", (number != u32::MAX).then_some(Some(number)))
}

pub(super) fn utime(call: &Call<'_>) -> Result<Value, Problem> {
    let (atime, mtime) = (instant(call, "atime")?, instant(call, "mtime")?);
    if atime.tv_nsec == UTIME_OMIT && mtime.tv_nsec == UTIME_OMIT {
        return call.request.want("mtime", "a time, or one in `atime`", None);
    }
    let file = call.find_to_change()?;
    let stat = fstat(&file).map_err(|error| call.failed(error))?;
    let same = |wanted: Timespec, seconds: i64, nanoseconds: u64| {
        wanted.tv_nsec == UTIME_OMIT || (wanted.tv_sec == seconds && wanted.tv_nsec as u64 == nanoseconds)
    };
    if same(atime, stat.st_atime, stat.st_atime_nsec as u64)
        && same(mtime, stat.st_mtime, stat.st_mtime_nsec as u64)
    {
        return Ok(changed(false));
    }
    let times = Timestamps { last_access: atime, last_modification: mtime };
    utimensat(CWD, own(&file), &times, AtFlags::empty()).map_err(|error| call.by_descriptor(error))?;
    Ok(changed(true))
}

fn instant(call: &Call<'_>, field: &str) -> Result<Timespec, Problem> {
    let time = match call.request.value(field) {
        None => Some((0, UTIME_OMIT as u64)),
        Some(Value::String(word)) if word == "now" => Some((0, UTIME_NOW as u64)),
        Some(Value::String(text)) => text::parse_time(text),
        Some(value) => value.as_i64().map(|seconds| (seconds, 0)),
    };
    let wanted = "\"now\", whole seconds since 1970, or those as text with up to nine decimals";
    let (seconds, nanoseconds) = call.request.want(field, wanted, time)?;
    Ok(Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ })
}

pub(super) fn fsync(call: &Call<'_>) -> Result<Value, Problem> {
    let found = call.find()?;
    let stat = fstat(&found).map_err(|error| call.failed(error))?;
    if !matches!(kind(&stat), "file" | "dir") {
        return Err(
            call.problem("file.kind", "only regular files and directories are opened, and this is neither")
        );
    }
    let file = reopen(&found, OFlags::RDONLY).or_else(|error| match error {
        Errno::ACCESS => reopen(&found, OFlags::WRONLY),
        error => Err(error),
    });
    let file = file.map_err(|error| call.by_descriptor(error))?;
    rustix::fs::fsync(&file).map_err(|error| call.failed(error))?;
    Ok(json!({}))
}

/// What was found, and was seen to be no FIFO and no device.
fn reopen(found: &OwnedFd, access: OFlags) -> Result<OwnedFd, Errno> {
    open(own(found), access | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

pub(super) fn statvfs(call: &Call<'_>) -> Result<Value, Problem> {
    let found = call.find()?;
    let space = fstatvfs(&found).map_err(|error| call.failed(error))?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Ok(json!({
        "total_bytes": bytes(space.f_blocks),
        "free_bytes": bytes(space.f_bfree),
        "available_bytes": bytes(space.f_bavail),
        "total_inodes": space.f_files,
        "free_inodes": space.f_ffree,
    }))
}
