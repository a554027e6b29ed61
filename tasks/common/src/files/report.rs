//! What a task says of a file in the end.

use super::exists;
use waft_sdk::Outcome;
use waft_sdk::file::Stat;

/// Mode, owner, group and size, named as Ansible's modules do.
pub fn with_stat(outcome: Outcome, stat: &Stat) -> Outcome {
    if !exists(stat) {
        return outcome;
    }
    outcome
        .with("mode", &stat.mode)
        .with("owner", &stat.owner)
        .with("group", &stat.group)
        .with("uid", &stat.uid)
        .with("gid", &stat.gid)
        .with("size", &stat.size)
}
