//! One entry after the other, each where it belongs. No symlink is followed: also what lies in the directory may be made to
//! lead out of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use unarchive_task::stays_inside;
use waft_sdk::Error;
use waft_sdk::file::{self, Stat};
use waft_tasks_archives::{Kind, Member};
use waft_tasks_common::files::{
    Attributes, Backup, Mode, Replace, child, exists, is_dir, is_file, is_symlink, parent, read_failed,
    write_failed,
};

/// Bytes that are compared and written at a time.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) struct Unpack<'a> {
    dest: &'a str,
    attributes: &'a Attributes,
    /// Directories below `dest` that are known to be none else.
    dirs: HashSet<String>,
    /// Modes of directories, set in the end: one that nobody may write to would take no files. And whether it is new.
    modes: Vec<(String, u32, bool)>,
    written: u64,
}

pub(crate) fn told(name: &str, error: &io::Error) -> Error {
    Error::new("archive.broken", format!("the archive cannot be read, at {name}: {error}"))
}

impl<'a> Unpack<'a> {
    pub(crate) fn new(dest: &'a str, attributes: &'a Attributes) -> Unpack<'a> {
        Unpack { dest, attributes, dirs: HashSet::from([dest.to_owned()]), modes: Vec::new(), written: 0 }
    }

    /// `name` is plain, and below the directory.
    pub(crate) fn put(&mut self, name: &str, member: &Member, body: &mut dyn Read) -> Result<(), Error> {
        let path = child(self.dest, name);
        self.enter(parent(&path))?;
        let stat = file::stat(&path)?;
        let changed = match &member.kind {
            Kind::Dir => {
                let missing = !self.dirs.contains(&path) && !is_dir(&stat);
                self.modes.push((path.clone(), member.mode, missing));
                self.enter(&path)?;
                missing
            }
            Kind::File => self.file(&path, &stat, member, body)?,
            Kind::Symlink(target) => self.symlink(&path, &stat, target)?,
            Kind::HardLink(to) => self.hard_link(&path, &stat, &child(self.dest, to))?,
            // The survey has refused it.
            Kind::Sparse | Kind::Other => false,
        };
        self.written += u64::from(changed);
        Ok(())
    }

    /// How many entries were written. Directories get their modes now.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        let mut written = self.written;
        for (path, mode, new) in self.modes.iter().rev() {
            let set = self.with_mode(*mode).apply(path, &file::stat(path)?)?;
            written += u64::from(set && !new);
        }
        Ok(written)
    }

    fn with_mode(&self, mode: u32) -> Attributes {
        let own = || Mode::parse(&format!("{mode:04o}")).ok();
        Attributes { mode: self.attributes.mode.clone().or_else(own), ..self.attributes.clone() }
    }

    /// Makes a directory and those above it, up to that of the archive, unless they are there. A symlink is none.
    fn enter(&mut self, dir: &str) -> Result<(), Error> {
        if self.dirs.contains(dir) {
            return Ok(());
        }
        self.enter(parent(dir))?;
        let stat = file::stat(dir)?;
        if is_symlink(&stat) {
            let text = format!("{dir} is a symlink, and the archive has files below that name");
            let hint = "nothing is written through symlinks: remove it, or unpack somewhere else";
            return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.symlink", text) });
        }
        if !is_dir(&stat) {
            if exists(&stat) {
                return Err(in_the_way(dir, &stat, "a directory"));
            }
            fs::create_dir(dir).map_err(|error| write_failed(dir, &error))?;
            self.attributes.apply(dir, &file::stat(dir)?)?;
        }
        self.dirs.insert(dir.to_owned());
        Ok(())
    }

    fn file(&self, path: &str, stat: &Stat, member: &Member, body: &mut dyn Read) -> Result<bool, Error> {
        let attributes = self.with_mode(member.mode);
        if exists(stat) && !is_file(stat) && !is_symlink(stat) {
            return Err(in_the_way(path, stat, "a file"));
        }
        let mut same = Vec::new();
        let mut next = Vec::new();
        let mut equal = 0;
        if is_file(stat) && stat.size == member.size {
            // As far as both are the same the file that is there has the bytes.
            let mut there = File::open(path).map_err(|error| read_failed(path, &error))?;
            loop {
                next.resize(PIECE_BYTES, 0);
                let count = body.read(&mut next).map_err(|error| told(path, &error))?;
                next.truncate(count);
                if count == 0 {
                    return attributes.apply(path, stat);
                }
                same.resize(count, 0);
                there.read_exact(&mut same).map_err(|error| read_failed(path, &error))?;
                if same != next {
                    break;
                }
                equal += count as u64;
            }
        }
        let replace = Replace { path, before: stat, attributes: &attributes, backup: Backup::No };
        replace.with(|file| {
            if equal > 0 {
                io::copy(&mut File::open(path)?.take(equal), file)?;
            }
            file.write_all(&next)?;
            io::copy(body, file).map(drop)
        })?;
        Ok(true)
    }

    fn symlink(&self, path: &str, stat: &Stat, target: &str) -> Result<bool, Error> {
        if is_symlink(stat) && stat.target.as_deref() == Some(target) {
            return Ok(false);
        }
        self.make_room(path, stat, "a symlink")?;
        self.in_place(path, stat, |name| file::symlink(name, target))
    }

    fn hard_link(&mut self, path: &str, stat: &Stat, to: &str) -> Result<bool, Error> {
        // Neither is anything linked to through a symlink.
        self.enter(parent(to))?;
        let other = file::stat(to)?;
        if exists(stat) && stat.inode == other.inode && stat.device == other.device {
            return Ok(false);
        }
        if let Some(target) = other.target.as_deref().filter(|_| is_symlink(&other)) {
            // One that was there before the archive: from another place it may lead somewhere else.
            let name = path.strip_prefix(self.dest).unwrap_or(path).trim_start_matches('/');
            stays_inside(name, target)?;
        }
        self.make_room(path, stat, "a hard link")?;
        if !exists(&other) {
            let text = format!("{path} is a hard link to {to}, which is neither there nor in the archive");
            let hint = "leave it out with `exclude`";
            return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.link", text) });
        }
        self.in_place(path, stat, |name| file::link(to, name))
    }

    /// Under another name first, so that what is there stays until then.
    fn in_place(
        &self,
        path: &str,
        stat: &Stat,
        make: impl FnOnce(&str) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        if !exists(stat) {
            return make(path);
        }
        let run = std::env::var("WAFT_RUN").unwrap_or_default();
        let run: String = run.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let aside = child(parent(path), &[".waft-", &run, "-link"].concat());
        make(&aside)?;
        file::rename(&aside, path).inspect_err(|_| {
            // Why it went wrong is the better word.
            let _ = fs::remove_file(&aside);
        })?;
        Ok(true)
    }

    /// What is there may be replaced.
    fn make_room(&self, path: &str, stat: &Stat, wanted: &str) -> Result<(), Error> {
        if !exists(stat) {
            return Ok(());
        }
        if !is_file(stat) && !is_symlink(stat) {
            return Err(in_the_way(path, stat, wanted));
        }
        Ok(())
    }
}

fn in_the_way(path: &str, stat: &Stat, wanted: &str) -> Error {
    let kind = stat.kind.as_deref().unwrap_or_default();
    Error::new("unarchive.in_the_way", format!("{path} is {kind}, and the archive has {wanted} of that name"))
}
