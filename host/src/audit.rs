//! The audit log of the controller: who ran what, from where, on which targets, with which grants, and how it ended.
//!
//! The file and its format are those of [`waft_audit`].
//!
//! | module | what it does |
//! |---|---|
//! | [`actor`] | who runs this program, and from where |
//! | [`record`] | the events of a run as lines |
//!
pub mod actor;
pub mod record;

pub use actor::Actor;
pub use record::Recorder;
pub use waft_audit::{Defect, Kind, Line, Log, Walked, line, log, walk};

use waft_proto::run::Problem;

/// `$XDG_STATE_HOME/waft/audit/log`.
pub fn of_user() -> Result<Log, Problem> {
    let state = crate::files::state_dir().ok_or_else(|| {
        Problem::new("audit.dir", "there is no place for the audit log: this user has no home")
            .hint("set XDG_STATE_HOME to a directory of yours")
    })?;
    crate::files::guarded(&state, "audit", "XDG_STATE_HOME")?;
    Ok(at(state.join("audit")))
}

/// In a directory of its own.
pub fn at(dir: std::path::PathBuf) -> Log {
    Log::at(dir, "set XDG_STATE_HOME to another place")
}

#[cfg(test)]
mod tests;
