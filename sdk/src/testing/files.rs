//! The calls about files, done for real below the directory of a test.

use crate::Error;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Set-uid and set-gid: refused, as on a target.
const SET_ID: u32 = 0o6000;

/// What no directory of a test can keep.
#[derive(Default)]
pub(super) struct Files {
    /// The directories in which the task may do everything.
    pub(super) granted: Vec<PathBuf>,
    /// Extended attributes: not every file system that tests run on has them.
    attributes: BTreeMap<(PathBuf, String), Value>,
    /// The answer of `statvfs`.
    pub(super) space: Option<Value>,
}

impl Files {
    pub(super) fn answer(&mut self, request: &Value) -> Result<Value, Error> {
        let path = self.path(request, "path")?;
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        let follow = request["follow"].as_bool().unwrap_or(false);
        let failed = |error: io::Error| failed(&path, &error);
        let metadata = || if follow { fs::metadata(&path) } else { path.symlink_metadata() };
        let changed = |changed: bool| Ok(json!({ "changed": changed }));
        match text("op").unwrap_or_default() {
            "stat" => match metadata() {
                Ok(metadata) => Ok(stat(&path, &metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(json!({ "kind": null })),
                Err(error) => Err(failed(error)),
            },
            "chmod" => {
                let mode = text("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok());
                let mode = mode.ok_or_else(|| Error::new("file.request", "`mode` is octal digits"))?;
                let old = metadata().map_err(failed)?;
                if old.is_symlink() {
                    return Err(Error::new("file.symlink", "a symlink has no mode"));
                }
                if mode & SET_ID != 0 && !(old.is_dir() && mode & SET_ID == 0o2000) {
                    return Err(Error::new("file.setid", "set-uid and set-gid are refused"));
                }
                if old.mode() & 0o7777 == mode {
                    return changed(false);
                }
                fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
                changed(true)
            }
            "chown" => {
                let id = |name: &str, list: &str| text(name).map(|name| number(list, name)).transpose();
                let (owner, group) = (id("owner", "/etc/passwd")?, id("group", "/etc/group")?);
                let old = metadata().map_err(failed)?;
                if owner.is_none_or(|id| id == old.uid()) && group.is_none_or(|id| id == old.gid()) {
                    return changed(false);
                }
                let done = if follow { chown(&path, owner, group) } else { lchown(&path, owner, group) };
                done.map_err(failed)?;
                changed(true)
            }
            "symlink" => {
                let target = text("target").unwrap_or_default();
                if fs::read_link(&path).is_ok_and(|old| old == Path::new(target)) {
                    return changed(false);
                }
                symlink(target, &path).map_err(failed)?;
                changed(true)
            }
            "link" => {
                let to = self.path(request, "to")?;
                if same(&path, &to) {
                    return changed(false);
                }
                fs::hard_link(&path, &to).map_err(failed)?;
                changed(true)
            }
            "rename" => self.rename(request, &path),
            "fsync" => File::open(&path).and_then(|file| file.sync_all()).map(|()| json!({})).map_err(failed),
            "utime" => {
                let old = metadata().map_err(failed)?;
                if old.is_symlink() {
                    return Err(Error::new("file.symlink", "this host for tests sets no times of symlinks"));
                }
                let mut times = FileTimes::new();
                let mut is_same = true;
                if let Some(mtime) = text("mtime") {
                    let time = time(mtime)?;
                    is_same &= old.modified().is_ok_and(|old| old == time);
                    times = times.set_modified(time);
                }
                if let Some(atime) = text("atime") {
                    let time = time(atime)?;
                    is_same &= old.accessed().is_ok_and(|old| old == time);
                    times = times.set_accessed(time);
                }
                if is_same {
                    return changed(false);
                }
                File::open(&path).and_then(|file| file.set_times(times)).map_err(failed)?;
                changed(true)
            }
            "statvfs" => Ok(self.space.clone().unwrap_or_else(|| {
                panic!("the task asks how much room is left; the test says it with `Fake::space`")
            })),
            op => {
                metadata().map_err(failed)?;
                self.attribute(op, &path, request)
            }
        }
    }

    /// A path of the request, in a granted directory.
    fn path(&self, request: &Value, name: &str) -> Result<PathBuf, Error> {
        let path = PathBuf::from(request.get(name).and_then(Value::as_str).unwrap_or_default());
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::new("file.escape", "this host for tests takes no `..`"));
        }
        if !path.is_absolute() {
            return Err(Error::new("file.path", format!("`{name}` is no absolute path")));
        }
        if !self.granted.iter().any(|dir| path.starts_with(dir)) {
            let message = format!("the task has no grant for {}", path.display());
            let dir = path.parent().unwrap_or(&path).display().to_string();
            return Err(Error::new("grant.missing", message).hint(format!("--allow fs:{dir}:rw")));
        }
        Ok(path)
    }

    fn rename(&self, request: &Value, path: &Path) -> Result<Value, Error> {
        let to = self.path(request, "to")?;
        let failed = |error: io::Error| failed(path, &error);
        path.symlink_metadata().map_err(failed)?;
        if same(path, &to) {
            return Ok(json!({ "changed": false }));
        }
        if request["exchange"] == true {
            let mut aside = to.clone().into_os_string();
            aside.push(".exchanged");
            fs::rename(&to, &aside).map_err(failed)?;
            fs::rename(path, &to).map_err(failed)?;
            fs::rename(&aside, path).map_err(failed)?;
        } else {
            if request["replace"] == false && to.symlink_metadata().is_ok() {
                return Err(Error::new("file.exists", format!("{} is there already", to.display())));
            }
            fs::rename(path, &to).map_err(failed)?;
        }
        Ok(json!({ "changed": true }))
    }

    fn attribute(&mut self, op: &str, path: &Path, request: &Value) -> Result<Value, Error> {
        let name = request["name"].as_str().unwrap_or_default().to_owned();
        let key = (path.to_owned(), name);
        match op {
            "getxattr" => Ok(self.attributes.get(&key).cloned().unwrap_or_else(|| json!({ "value": null }))),
            "listxattr" => {
                let names: Vec<&str> = self
                    .attributes
                    .keys()
                    .filter(|(of, _)| of == path)
                    .map(|(_, name)| name.as_str())
                    .collect();
                Ok(json!({ "names": names }))
            }
            "setxattr" => {
                let bytes = match (request["value"].as_str(), request["base64"].as_str()) {
                    (Some(text), _) => text.as_bytes().to_vec(),
                    (None, text) => crate::base64::decode(text.unwrap_or_default())
                        .ok_or_else(|| Error::new("file.request", "`base64` is none"))?,
                };
                let value = match String::from_utf8(bytes) {
                    Ok(text) => json!({ "value": text }),
                    Err(error) => json!({ "base64": crate::base64::encode(error.as_bytes()) }),
                };
                let old = self.attributes.insert(key, value.clone());
                Ok(json!({ "changed": old != Some(value) }))
            }
            "removexattr" => Ok(json!({ "changed": self.attributes.remove(&key).is_some() })),
            other => Err(Error::new("file.request", format!("`{other}` is no operation on files"))),
        }
    }
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.symlink_metadata(), b.symlink_metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => "file.not_found",
        io::ErrorKind::PermissionDenied => "file.denied",
        io::ErrorKind::AlreadyExists => "file.exists",
        _ => "file.failed",
    };
    Error::new(code, format!("{}: {error}", path.display()))
}

fn stat(path: &Path, metadata: &Metadata) -> Value {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block",
        () => "char",
    };
    let time = |seconds: i64, nanos: i64| format!("{seconds}.{nanos:09}");
    let dev = metadata.dev();
    let (major, minor) = ((dev >> 8) & 0xfff | (dev >> 32) & !0xfff, dev & 0xff | (dev >> 12) & !0xff);
    let mut reply = json!({
        "kind": kind,
        "mode": format!("{:04o}", metadata.mode() & 0o7777),
        "uid": metadata.uid(),
        "gid": metadata.gid(),
        "owner": name("/etc/passwd", metadata.uid()),
        "group": name("/etc/group", metadata.gid()),
        "size": metadata.size(),
        "mtime": time(metadata.mtime(), metadata.mtime_nsec()),
        "atime": time(metadata.atime(), metadata.atime_nsec()),
        "ctime": time(metadata.ctime(), metadata.ctime_nsec()),
        "nlink": metadata.nlink(),
        "inode": metadata.ino(),
        "device": format!("{major}:{minor}"),
    });
    if let Ok(target) = fs::read_link(path).map(PathBuf::into_os_string)
        && metadata.is_symlink()
    {
        match target.into_string() {
            Ok(target) => reply["target"] = json!(target),
            Err(target) => reply["target_base64"] = json!(crate::base64::encode(target.as_encoded_bytes())),
        }
    }
    reply
}

/// The lines of /etc/passwd or /etc/group: name and number.
fn entries(list: &str) -> Vec<(String, u32)> {
    let text = fs::read_to_string(list).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

fn name(list: &str, id: u32) -> Option<String> {
    entries(list).into_iter().find(|(_, known)| *known == id).map(|(name, _)| name)
}

fn number(list: &str, name: &str) -> Result<u32, Error> {
    let known = entries(list).into_iter().find(|(known, _)| known == name).map(|(_, id)| id);
    known
        .or_else(|| name.parse().ok())
        .ok_or_else(|| Error::new("file.no_name", format!("{list} has no `{name}`")))
}

fn time(text: &str) -> Result<SystemTime, Error> {
    if text == "now" {
        return Ok(SystemTime::now());
    }
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, ""));
    let parsed = seconds.parse::<u64>().ok().zip(format!("{nanos:0<9}").parse::<u32>().ok());
    match parsed.filter(|_| nanos.len() <= 9) {
        Some((seconds, nanos)) => Ok(UNIX_EPOCH + Duration::new(seconds, nanos)),
        None => Err(Error::new("file.request", format!("`{text}` is no time"))),
    }
}
