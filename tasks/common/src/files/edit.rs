//! A text file that is changed in a few lines: what those tasks have around their own work.

use super::{Attributes, Backup, Replace, exists, resolved, text};
use waft_sdk::file::Stat;
use waft_sdk::{Error, Outcome};

/// A text file of the target.
pub struct Edit {
    pub path: String,
    pub text: String,
    before: Stat,
}

impl Edit {
    /// A file that is missing is an empty one with `create`; without, an error unless it `may_miss`.
    pub fn open(path: &str, create: bool, may_miss: bool) -> Result<Option<Edit>, Error> {
        let (path, before) = resolved(path)?;
        if exists(&before) {
            let text = text(&path, &before)?;
            return Ok(Some(Edit { path, text, before }));
        }
        if create {
            return Ok(Some(Edit { path, text: String::new(), before }));
        }
        if may_miss {
            return Ok(None);
        }
        let message = format!("{path} is not there");
        Err(Error {
            hint: Some("give create=yes to make it".into()),
            ..Error::new("files.not_found", message)
        })
    }

    /// Writes the new text, if there is one, and sets the attributes. `what` is what was done.
    pub fn finish(
        self,
        new: Option<(String, &str)>,
        attributes: &Attributes,
        backup: bool,
    ) -> Result<Outcome, Error> {
        let Edit { path, before, .. } = self;
        let Some((text, what)) = new else {
            // Also where nothing was made: a file that is missing has no attributes.
            let set = exists(&before) && attributes.apply(&path, &before)?;
            let msg = if set { "mode or owner changed" } else { "nothing to do" };
            return Ok(Outcome::changed(set).msg(msg).with("path", &path));
        };
        let keep = if backup { Backup::Keep } else { Backup::No };
        let kept =
            Replace { path: &path, before: &before, attributes, backup: keep }.with_bytes(text.as_bytes())?;
        let outcome = Outcome::changed(true).msg(what).with("path", &path);
        Ok(match kept {
            Some(backup) => outcome.with("backup", &backup),
            None => outcome,
        })
    }
}
