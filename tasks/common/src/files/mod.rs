//! Files of a target, in the directories that the task was granted.

mod attributes;
mod content;
mod edit;
mod glob;
mod kept;
mod lines;
mod paths;
mod place;
mod replace;
mod report;
mod source;
mod walk;

pub use attributes::{Attributes, Mode};
pub use content::Content;
pub use edit::Edit;
pub use glob::matches;
pub use lines::{TEXT_BYTES_MAX, text};
pub use paths::{absolute, child, exists, is_dir, is_file, is_symlink, led_to, parent, resolved};
pub use place::{Insert, bare, regexp, replaced};
pub use replace::{Backup, New, Replace, after, make_dirs, read, read_failed, write_failed};
pub use report::with_stat;
pub use source::{Sent, Source};
pub use walk::{ENTRIES_MAX, Entry, Kind, Skipped, Walk};
