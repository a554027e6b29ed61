//! A file that has a given content: all of `copy`, and of what makes its content itself.

use super::{
    Attributes, Backup, Replace, Source, after, child, exists, is_dir, is_file, is_symlink, resolved,
    with_stat,
};
use waft_sdk::file::{self, Stat};
use waft_sdk::{Error, Outcome};

pub struct Content<'a> {
    pub source: &'a Source,
    pub attributes: &'a Attributes,
    /// Also where a file is there already.
    pub force: bool,
    pub backup: bool,
}

impl Content<'_> {
    /// Makes the file `dest` have it; `slash`: that is a directory, in which the source has its name.
    pub fn put(&self, dest: String, slash: bool) -> Result<Outcome, Error> {
        let (dest, before) = place(dest, slash, self.source)?;
        if !self.force && exists(&before) {
            return Ok(told(false, &dest, &before, None).msg("it is there already, and force is off"));
        }
        if self.source.is_in(&dest, &before)? {
            let changed = self.attributes.apply(&dest, &before)?;
            return Ok(told(changed, &dest, &after(&dest, changed, before)?, None));
        }
        let backup = if self.backup { Backup::Keep } else { Backup::No };
        let replace = Replace { path: &dest, before: &before, attributes: self.attributes, backup };
        let backup = replace.with(|file| self.source.write(file))?;
        Ok(told(true, &dest, &after(&dest, true, before)?, backup))
    }
}

/// The file that is meant, and what is there.
fn place(dest: String, slash: bool, source: &Source) -> Result<(String, Stat), Error> {
    let mut stat = file::stat(&dest)?;
    let mut dest = dest;
    let leads_to_dir = is_symlink(&stat) && resolved(&dest).is_ok_and(|(_, stat)| is_dir(&stat));
    if slash || is_dir(&stat) || leads_to_dir {
        let Some(name) = source.name() else {
            let text = format!("{dest} is a directory, and a text has no name");
            return Err(Error {
                hint: Some("give `dest` with the name of the file".into()),
                ..Error::new("files.is_dir", text)
            });
        };
        if name.contains('/') || matches!(name, "" | "." | "..") {
            let text = format!("`{}` is no name of a file", name.escape_debug());
            return Err(Error {
                hint: Some("give `dest` with the name of the file".into()),
                ..Error::new("params.src", text)
            });
        }
        dest = child(&dest, name);
        stat = file::stat(&dest)?;
    }
    // A symlink is replaced, as Ansible does.
    if !exists(&stat) || is_file(&stat) || is_symlink(&stat) {
        return Ok((dest, stat));
    }
    let kind = stat.kind.as_deref().unwrap_or_default();
    Err(Error::new("files.in_the_way", format!("{dest} is there already, and no regular file but {kind}")))
}

fn told(changed: bool, dest: &str, stat: &Stat, backup: Option<String>) -> Outcome {
    let outcome = with_stat(Outcome::changed(changed).with("dest", dest), stat);
    match backup {
        Some(backup) => outcome.with("backup_file", &backup),
        None => outcome,
    }
}
