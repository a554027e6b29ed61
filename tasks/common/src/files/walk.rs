//! What is in a directory, and in those below it. No symlink is followed, and nothing is opened but directories.

use super::child;
use std::fs;
use std::time::UNIX_EPOCH;
use waft_sdk::Error;

/// Names that one walk looks at: beyond it a task would be at it for minutes.
pub const ENTRIES_MAX: u64 = 500_000;
/// Directories in each other.
const DEPTH_MAX: u32 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub path: String,
    pub name: String,
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: u64,
    /// 1 for what is in the directory itself.
    pub depth: u32,
}

/// What could not be looked at, and why.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Skipped {
    pub path: String,
    pub why: String,
}

pub struct Walk<'a> {
    left: u64,
    depth: u32,
    take: &'a mut dyn FnMut(&Entry) -> Result<bool, Error>,
    pub skipped: Vec<Skipped>,
}

impl<'a> Walk<'a> {
    /// `take` says of a directory whether it is gone into. `depth` is how deep at most.
    pub fn new(depth: Option<u32>, take: &'a mut dyn FnMut(&Entry) -> Result<bool, Error>) -> Walk<'a> {
        Walk {
            left: ENTRIES_MAX,
            depth: depth.unwrap_or(DEPTH_MAX).min(DEPTH_MAX),
            take,
            skipped: Vec::new(),
        }
    }

    /// All that is in `dir`, by name, each directory before what is in it.
    pub fn run(&mut self, dir: &str) -> Result<(), Error> {
        self.within(dir, 1)
    }

    /// How many names it looked at.
    pub fn seen(&self) -> u64 {
        ENTRIES_MAX - self.left
    }

    fn skip(&mut self, path: String, why: &dyn std::fmt::Display) {
        self.skipped.push(Skipped { path, why: why.to_string() });
    }

    fn within(&mut self, dir: &str, depth: u32) -> Result<(), Error> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.skip(dir.to_owned(), &error);
                return Ok(());
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => {
                    self.skip(dir.to_owned(), &error);
                    break;
                }
            }
        }
        names.sort_unstable();
        for name in names {
            let Ok(name) = name.into_string() else {
                self.skip(dir.to_owned(), &"it holds a name that is no UTF-8");
                continue;
            };
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                let text = format!("{dir} is beyond the {ENTRIES_MAX} names that are looked at in one run");
                Error { hint: Some("give a smaller directory".into()), ..Error::new("files.many", text) }
            })?;
            let path = child(dir, &name);
            let entry = match fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    let kind = metadata.file_type();
                    let modified =
                        metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                    Entry {
                        name,
                        kind: match (kind.is_file(), kind.is_dir(), kind.is_symlink()) {
                            (true, ..) => Kind::File,
                            (_, true, _) => Kind::Dir,
                            (.., true) => Kind::Symlink,
                            _ => Kind::Other,
                        },
                        size: metadata.len(),
                        modified: modified.map_or(0, |since| since.as_secs()),
                        depth,
                        path,
                    }
                }
                Err(error) => {
                    self.skip(path, &error);
                    continue;
                }
            };
            if (self.take)(&entry)? && entry.kind == Kind::Dir && depth < self.depth {
                self.within(&entry.path, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_by_name() {
        let dir = std::env::temp_dir().join(format!("waft-walk-{}", std::process::id()));
        fs::create_dir_all(dir.join("b/c")).unwrap();
        fs::write(dir.join("b/c/d"), "1234").unwrap();
        fs::write(dir.join("a"), "").unwrap();
        std::os::unix::fs::symlink("/", dir.join("l")).unwrap();
        let root = dir.to_str().unwrap();
        let walked = |depth| {
            let mut seen = Vec::new();
            let mut take = |entry: &Entry| {
                seen.push((entry.path[root.len()..].to_owned(), entry.kind, entry.size, entry.depth));
                Ok(true)
            };
            Walk::new(depth, &mut take).run(root).unwrap();
            seen
        };
        let all = walked(None);
        let names: Vec<_> = all.iter().map(|(name, kind, ..)| (name.as_str(), *kind)).collect();
        let expected = [
            ("/a", Kind::File),
            ("/b", Kind::Dir),
            ("/b/c", Kind::Dir),
            ("/b/c/d", Kind::File),
            ("/l", Kind::Symlink),
        ];
        assert_eq!(names, expected);
        assert_eq!((all[3].2, all[3].3), (4, 3));
        assert_eq!(walked(Some(1)).len(), 3);
        fs::remove_dir_all(&dir).unwrap();
    }
}
