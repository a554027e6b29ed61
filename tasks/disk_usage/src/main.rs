//! Room on file systems, and what is in directories. The manifest says what the parameters are.

use disk_usage_task::{Largest, Part, Sums, used_percent};
use serde::{Deserialize, Serialize};
use waft_sdk::{Error, Outcome, file};
use waft_tasks_common::files::{Entry, Kind, Skipped, Walk, absolute, exists, is_dir};
use waft_tasks_common::{Words, Yes};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Directories and files of each path that are listed.
const LARGEST_MAX: usize = 1_000;
const LARGEST_DEFAULT: usize = 10;
/// Paths that could not be looked at, of which it is told.
const SKIPPED_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "paths", alias = "name")]
    path: Words,
    #[serde(default)]
    sums: Yes,
    one_file_system: Option<Yes>,
    largest: Option<usize>,
    max_used_percent: Option<f64>,
}

#[derive(Serialize)]
struct Usage {
    path: String,
    size_total: u64,
    size_available: u64,
    size_used: u64,
    used_percent: f64,
    inode_total: u64,
    inode_available: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directories: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest: Option<Vec<Part>>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    if params.path.0.is_empty() {
        return Err(Error::new("params.path", "`path` names nothing"));
    }
    let most = params.largest.unwrap_or(LARGEST_DEFAULT).min(LARGEST_MAX);
    let (mut usages, mut skipped) = (Vec::new(), Vec::new());
    for path in &params.path.0 {
        let path = absolute("path", path)?;
        let stat = file::stat(&path)?;
        if !exists(&stat) {
            return Err(Error::new("disk_usage.not_found", format!("{path} is not there")));
        }
        let space = file::statvfs(&path)?;
        let mut usage = Usage {
            size_total: space.total_bytes,
            size_available: space.available_bytes,
            size_used: space.total_bytes.saturating_sub(space.free_bytes),
            used_percent: used_percent(space.total_bytes, space.free_bytes, space.available_bytes),
            inode_total: space.total_inodes,
            inode_available: space.free_inodes,
            bytes: None,
            files: None,
            directories: None,
            largest: None,
            path,
        };
        let inodes = used_percent(space.total_inodes, space.free_inodes, space.free_inodes);
        let fullest = usage.used_percent.max(inodes);
        if params.max_used_percent.is_some_and(|most| fullest > most) {
            let (used, what) =
                if inodes > usage.used_percent { (inodes, "inodes") } else { (usage.used_percent, "room") };
            let most = params.max_used_percent.unwrap_or_default();
            let text = format!(
                "{used} % of the {what} on the file system of {} are used, at most {most} % shall be",
                usage.path
            );
            return Err(Error::new("disk_usage.full", text));
        }
        if params.sums.0 && is_dir(&stat) {
            let device = params.one_file_system.unwrap_or(Yes(true)).0.then_some(stat.device.as_str());
            skipped.append(&mut add_up(&mut usage, device, most)?);
        } else if params.sums.0 {
            (usage.bytes, usage.files, usage.directories) = (Some(stat.size), Some(1), Some(0));
        }
        usages.push(usage);
    }
    skipped.truncate(SKIPPED_MAX);
    let told: Vec<String> =
        usages.iter().map(|usage| format!("{} {} %", usage.path, usage.used_percent)).collect();
    Ok(Outcome::ok().msg(told.join(", ")).with("paths", &usages).with("skipped_paths", &skipped))
}

/// What is in the directory and below it, on its file system when that is given.
fn add_up(usage: &mut Usage, device: Option<&str>, most: usize) -> Result<Vec<Skipped>, Error> {
    let (mut bytes, mut files, mut directories) = (0_u64, 0_u64, 0_u64);
    let (mut sums, mut largest) = (Sums::default(), Largest::new(most));
    let mut take = |entry: &Entry| {
        sums.at(entry.depth, &mut |path, bytes| largest.add(path, bytes));
        if entry.kind == Kind::Dir {
            if let Some(device) = device
                && file::stat(&entry.path)?.device != device
            {
                return Ok(false);
            }
            directories += 1;
            sums.open(&entry.path, entry.depth);
            return Ok(true);
        }
        files += 1;
        bytes += entry.size;
        sums.add(entry.size);
        largest.add(&entry.path, entry.size);
        Ok(true)
    };
    let mut walk = Walk::new(None, &mut take);
    walk.run(&usage.path)?;
    let skipped = walk.skipped;
    sums.at(0, &mut |path, bytes| largest.add(path, bytes));
    (usage.bytes, usage.files, usage.directories) = (Some(bytes), Some(files), Some(directories));
    usage.largest = Some(largest.parts());
    Ok(skipped)
}
