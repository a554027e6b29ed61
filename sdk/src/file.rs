//! What WASI lacks about files, in granted directories. Paths are absolute; docs/waft-v1.md says what is refused.
//!
//! Whatever changes something answers whether it was a change: false when it already was as asked.
//!
//! ```
//! # use waft_sdk::{Error, Outcome, testing::Fake, serde_json::{Value, json}};
//! use waft_sdk::file;
//! # let host = Fake::new();
//! # let dir = host.dir();
//! # let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
//! # let (a, b, c) = (a.to_str().unwrap(), b.to_str().unwrap(), c.to_str().unwrap());
//! # host.run(|_: Value| -> Result<Outcome, Error> {
//!
//! std::fs::write(a, "text")?;
//! assert!(file::chmod(a, 0o600)? && !file::chmod(a, 0o600)?);
//! let stat = file::stat(a)?;
//! assert_eq!((stat.kind.as_deref(), stat.mode.as_str(), stat.size), (Some("file"), "0600", 4));
//! file::chown(a, stat.owner.as_deref(), None)?;
//! file::utime(a, Some("now"), None)?;
//! file::fsync(a)?;
//!
//! file::symlink(b, "a")?;
//! assert_eq!(file::stat(b)?.target.as_deref(), Some("a"));
//! assert_eq!(file::stat_followed(b)?.size, 4);
//! file::link(a, c)?;
//! assert!(file::rename_new(a, b).is_err());
//! file::exchange(a, b)?;
//! file::rename(b, a)?;
//!
//! file::set_xattr(a, "user.note", b"n")?;
//! assert_eq!(file::list_xattr(a)?, ["user.note"]);
//! assert_eq!(file::get_xattr(a, "user.note")?.as_deref(), Some(&b"n"[..]));
//! file::remove_xattr(a, "user.note")?;
//! # Ok(Outcome::ok()) }, json!({})).unwrap();
//! ```

use crate::Error;
use crate::call::{Host, ask};
use serde::{Deserialize, Serialize};

mod more;

pub use more::{exchange, list_xattr, rename_new, stat_followed};

/// One request; what is not set is not sent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Request<'a> {
    pub op: &'a str,
    pub path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// Octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// Seconds since 1970, or `now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atime: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<bool>,
}

/// What is there under a name; `kind` is none when nothing is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Stat {
    pub kind: Option<String>,
    #[serde(default)]
    pub mode: String,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    pub owner: Option<String>,
    pub group: Option<String>,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub mtime: String,
    #[serde(default)]
    pub atime: String,
    #[serde(default)]
    pub nlink: u64,
    #[serde(default)]
    pub inode: u64,
    /// `MAJOR:MINOR` of the file system.
    #[serde(default)]
    pub device: String,
    /// Of a symlink, where that is text.
    pub target: Option<String>,
    /// Of a symlink, where that is no text.
    pub target_base64: Option<String>,
    /// Of the last change of the file or of what is known of it.
    #[serde(default)]
    pub ctime: String,
}

/// Room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Space {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// To others than root.
    pub available_bytes: u64,
    pub total_inodes: u64,
    pub free_inodes: u64,
}

/// Whether a change was one.
#[derive(Deserialize)]
struct Changed {
    #[serde(default)]
    changed: bool,
}

#[derive(Deserialize)]
struct Value {
    value: Option<String>,
    base64: Option<String>,
}

fn change(host: &mut impl Host, request: &Request<'_>) -> Result<bool, Error> {
    ask::<_, Changed>(host, "file", Host::file, request).map(|reply| reply.changed)
}

fn attribute(host: &mut impl Host, request: &Request<'_>) -> Result<Option<Vec<u8>>, Error> {
    let Value { value, base64 } = ask(host, "file", Host::file, request)?;
    if value.is_none() && base64.is_none() { Ok(None) } else { crate::exec::bytes(value, base64).map(Some) }
}

mod guest {
    use super::{Request, Space, Stat, attribute, change};
    use crate::Error;
    use crate::call::{Host, Imports, ask};

    /// Does one change; true when something was changed. For what has no function of its own.
    pub fn request(request: &Request<'_>) -> Result<bool, Error> {
        change(&mut Imports, request)
    }

    pub fn stat(path: &str) -> Result<Stat, Error> {
        ask(&mut Imports, "file", Host::file, &Request { op: "stat", path, ..Request::default() })
    }

    /// Of the file system that it is on.
    pub fn statvfs(path: &str) -> Result<Space, Error> {
        ask(&mut Imports, "file", Host::file, &Request { op: "statvfs", path, ..Request::default() })
    }

    pub fn chmod(path: &str, mode: u32) -> Result<bool, Error> {
        let mode = format!("{mode:04o}");
        request(&Request { op: "chmod", path, mode: Some(&mode), ..Request::default() })
    }

    pub fn chown(path: &str, owner: Option<&str>, group: Option<&str>) -> Result<bool, Error> {
        request(&Request { op: "chown", path, owner, group, ..Request::default() })
    }

    pub fn symlink(path: &str, target: &str) -> Result<bool, Error> {
        request(&Request { op: "symlink", path, target: Some(target), ..Request::default() })
    }

    pub fn link(path: &str, to: &str) -> Result<bool, Error> {
        request(&Request { op: "link", path, to: Some(to), ..Request::default() })
    }

    pub fn rename(path: &str, to: &str) -> Result<bool, Error> {
        request(&Request { op: "rename", path, to: Some(to), ..Request::default() })
    }

    pub fn fsync(path: &str) -> Result<(), Error> {
        request(&Request { op: "fsync", path, ..Request::default() }).map(drop)
    }

    pub fn utime(path: &str, mtime: Option<&str>, atime: Option<&str>) -> Result<bool, Error> {
        request(&Request { op: "utime", path, mtime, atime, ..Request::default() })
    }

    pub fn get_xattr(path: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
        attribute(&mut Imports, &Request { op: "getxattr", path, name: Some(name), ..Request::default() })
    }

    pub fn set_xattr(path: &str, name: &str, value: &[u8]) -> Result<bool, Error> {
        let base64 = Some(crate::base64::encode(value));
        request(&Request { op: "setxattr", path, name: Some(name), base64, ..Request::default() })
    }

    pub fn remove_xattr(path: &str, name: &str) -> Result<bool, Error> {
        request(&Request { op: "removexattr", path, name: Some(name), ..Request::default() })
    }
}

pub use guest::{
    chmod, chown, fsync, get_xattr, link, remove_xattr, rename, request, set_xattr, stat, statvfs, symlink,
    utime,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn only_what_is_set_is_sent() {
        let mut host = Script::replying(r#"{"changed":true}"#);
        let request = Request { op: "chmod", path: "/srv/x", mode: Some("0640"), ..Request::default() };
        assert!(change(&mut host, &request).unwrap());
        assert_eq!(host.asked(), r#"{"op":"chmod","path":"/srv/x","mode":"0640"}"#);
        assert!(!change(&mut Script::replying("{}"), &request).unwrap());
    }

    #[test]
    fn attributes_are_bytes_or_missing() {
        let get = |reply: &str| attribute(&mut Script::replying(reply), &Request::default());
        assert_eq!(get(r#"{"value":"a"}"#).unwrap(), Some(b"a".to_vec()));
        assert_eq!(get(r#"{"base64":"/w=="}"#).unwrap(), Some(vec![0xff]));
        assert_eq!(get(r#"{"value":null}"#).unwrap(), None);
        let stat: Stat =
            ask(&mut Script::replying(r#"{"kind":null}"#), "file", Host::file, &Request::default()).unwrap();
        assert_eq!(stat.kind, None);
    }
}
