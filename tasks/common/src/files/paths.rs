//! Names of files, and what is behind them.

use waft_sdk::Error;
use waft_sdk::file::{self, Stat};

/// Symlinks to one file, in a row, as the kernel has it.
const LINKS_MAX: u32 = 40;

/// A path as the grants know it: absolute, without `.`, `//` and a slash at the end. `name` is the parameter.
pub fn absolute(name: &str, path: &str) -> Result<String, Error> {
    let wrong = |why: &str, hint: &str| {
        let text = format!("`{name}` is `{}`, {why}", path.escape_debug());
        Error { hint: Some(hint.into()), ..Error::new("params.path", text) }
    };
    if !path.starts_with('/') {
        return Err(wrong(
            "which is no absolute path",
            "begin with `/`: `~` and the current directory mean nothing here",
        ));
    }
    if path.contains('\0') {
        return Err(wrong("which holds a NUL character", "no name of a file holds one"));
    }
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(wrong("which holds `..`", "write where it leads to"));
        }
        clean.push('/');
        clean.push_str(part);
    }
    if clean.is_empty() {
        clean.push('/');
    }
    Ok(clean)
}

/// The directory that a path is in; `/` is in itself.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// A name in a directory.
pub fn child(dir: &str, name: &str) -> String {
    let slash = if dir.ends_with('/') { "" } else { "/" };
    [dir, slash, name].concat()
}

pub fn exists(stat: &Stat) -> bool {
    stat.kind.is_some()
}

pub fn is_file(stat: &Stat) -> bool {
    stat.kind.as_deref() == Some("file")
}

pub fn is_dir(stat: &Stat) -> bool {
    stat.kind.as_deref() == Some("dir")
}

pub fn is_symlink(stat: &Stat) -> bool {
    stat.kind.as_deref() == Some("symlink")
}

/// Where a path leads to when its last name is a symlink, and what is there. Each step has to be granted.
pub fn resolved(path: &str) -> Result<(String, Stat), Error> {
    plain(path.to_owned(), &mut Links::of(path))
}

/// The same for what a symlink in `dir` holds.
pub fn led_to(dir: &str, target: &str) -> Result<(String, Stat), Error> {
    let links = &mut Links::of(target);
    plain(joined(dir, target, links)?, links)
}

/// How many symlinks may still be followed from one path.
struct Links<'a> {
    path: &'a str,
    left: u32,
}

impl Links<'_> {
    fn of(path: &str) -> Links<'_> {
        Links { path, left: LINKS_MAX }
    }

    fn follow(&mut self) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            let text = format!("{} leads over more than {LINKS_MAX} symlinks", self.path.escape_debug());
            Error::new("files.links", text)
        })?;
        Ok(())
    }
}

/// The same file by a path whose last name is no symlink.
fn plain(mut path: String, links: &mut Links) -> Result<(String, Stat), Error> {
    loop {
        let stat = file::stat(&path)?;
        match stat.target.as_deref().filter(|_| is_symlink(&stat)) {
            None => return Ok((path, stat)),
            Some(target) => {
                links.follow()?;
                path = joined(parent(&path), target, links)?;
            }
        }
    }
}

/// What a symlink in `dir` means. `..` is the directory that a directory is in; of a symlink to one, that is where it leads.
fn joined(dir: &str, target: &str, links: &mut Links) -> Result<String, Error> {
    let mut path = if target.starts_with('/') { "/" } else { dir }.to_owned();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if path == "/" => {}
            ".." => {
                let (dir, _) = plain(path, links)?;
                path = parent(&dir).to_owned();
            }
            part => path = child(&path, part),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use waft_sdk::testing::{Fake, with_host};

    #[test]
    fn paths_are_made_plain_or_refused() {
        for (path, plain) in [("/", "/"), ("/a//b/", "/a/b"), ("/a/./b", "/a/b"), ("/a..b", "/a..b")] {
            assert_eq!(absolute("path", path).as_deref(), Ok(plain));
        }
        for path in ["", "a", "~/a", "./a", "/a/../b", "/..", "/a\0b"] {
            let error = absolute("dest", path).unwrap_err();
            assert_eq!(error.code, "params.path");
            assert!(error.message.contains("`dest`"), "{error}");
        }
    }

    #[test]
    fn parents_and_children() {
        assert_eq!((parent("/a/b"), parent("/a"), parent("/")), ("/a", "/", "/"));
        assert_eq!((child("/", "a"), child("/a", "b")), ("/a".into(), "/a/b".into()));
    }

    /// Where it leads to, by the names below the directory of the test.
    fn leads(host: &Fake, path: &str) -> Result<String, Error> {
        let dir = host.dir();
        let dir = dir.to_str().unwrap();
        with_host(host.clone(), || resolved(&child(dir, path)))
            .map(|(path, _)| path.strip_prefix(dir).unwrap_or(&path).to_owned())
    }

    #[test]
    fn symlinks_lead_from_where_they_are() {
        let host = Fake::new();
        let dir = host.dir();
        fs::create_dir_all(dir.join("a/b")).unwrap();
        for (number, (target, path)) in
            [("c", "/a/b/c"), ("../c", "/a/c"), (".././c//d", "/a/c/d"), ("../../c", "/c"), ("", "/a/b")]
                .into_iter()
                .enumerate()
        {
            let to = with_host(host.clone(), || led_to(dir.join("a/b").to_str().unwrap(), target));
            assert_eq!(to.unwrap().0, [dir.to_str().unwrap(), path].concat(), "{target}");
            if !target.is_empty() {
                let link = format!("a/b/l{number}");
                symlink(target, dir.join(&link)).unwrap();
                assert_eq!(leads(&host, &link).as_deref(), Ok(path), "{target}");
            }
        }
        symlink(dir.join("a/b"), dir.join("absolute")).unwrap();
        assert_eq!(leads(&host, "absolute").as_deref(), Ok("/a/b"));
        assert_eq!(joined("/", "../../a", &mut Links::of("")).as_deref(), Ok("/a"));
    }

    #[test]
    fn the_directory_above_is_that_of_where_a_symlink_leads() {
        let host = Fake::new();
        let dir = host.dir();
        for made in ["app/releases/42", "app/shared", "shared", "elsewhere/deep"] {
            fs::create_dir_all(dir.join(made)).unwrap();
        }
        // The same name one directory above: what `..` by name would lead to.
        fs::write(dir.join("shared/config"), "").unwrap();
        fs::write(dir.join("app/shared/config"), "").unwrap();
        symlink("releases/42", dir.join("app/current")).unwrap();
        symlink("../../shared/config", dir.join("app/releases/42/config")).unwrap();
        assert_eq!(leads(&host, "app/current/config").as_deref(), Ok("/app/shared/config"));
        // Also in the middle of what a symlink holds, and over several.
        symlink(dir.join("elsewhere/deep"), dir.join("app/out")).unwrap();
        symlink("out", dir.join("app/further")).unwrap();
        symlink("further/../file", dir.join("app/l")).unwrap();
        assert_eq!(leads(&host, "app/l").as_deref(), Ok("/elsewhere/file"));
    }

    #[test]
    fn symlinks_without_an_end_are_refused() {
        let host = Fake::new();
        let dir = host.dir();
        symlink("b", dir.join("a")).unwrap();
        symlink("a", dir.join("b")).unwrap();
        symlink("a/../c", dir.join("c")).unwrap();
        for name in ["a", "c"] {
            let error = leads(&host, name).unwrap_err();
            assert!(error.code == "files.links" && error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn a_directory_that_nobody_may_look_at_is_not_guessed() {
        let host = Fake::new();
        symlink("../../c", host.dir().join("l")).unwrap();
        assert_eq!(leads(&host, "l").unwrap_err().code, "grant.missing");
    }
}
