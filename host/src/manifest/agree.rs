//! Asked and given: what of it goes to a target.
//!
//! Effective is what the task asks for (manifest) and the operator gives (`--allow`, and the inventory for its
//! hosts); the policy of the node then takes away more. A task without a manifest asks for exactly what is given.
//!
//! **Names and paths of programs.** A bare name is looked up on the target, in [`PATH`], so this side cannot tell
//! which file it is. Where the task asks for a name and the operator gives a path in `PATH` that ends in that name, the
//! path is what both mean. The other way round the name may turn out to be another file than the one that the task asks
//! for: then nothing is in common, and [`missing`] names the path.

use super::Manifest;
use std::collections::BTreeSet;
use waft_proto::grant::{Exec, Grant, GrantSet};
use waft_proto::run::Problem;

/// Where bare names of programs are looked up on targets: the stub's own constant of that name.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For `--allow`: all that the manifest asks for.
pub const ASKED: &str = "asked";

/// What `--allow` gives a task. `name` is the task's, for the sentences.
pub fn given<S: AsRef<str>>(
    flags: &[S],
    manifest: Option<&Manifest>,
    name: &str,
) -> Result<GrantSet, Vec<Problem>> {
    let mut texts: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    for flag in flags.iter().map(AsRef::as_ref) {
        match (flag == ASKED, manifest) {
            (false, _) => texts.push(flag.to_owned()),
            (true, Some(manifest)) if manifest.given => problems.push(
                Problem::new(
                    "grant.asked",
                    format!("`--allow {ASKED}` gives what the manifest asks for, and {name} asks for whatever it is given"),
                )
                .hint("name each grant with an --allow of its own"),
            ),
            (true, Some(manifest)) => texts.extend(manifest.grants.iter().map(|grant| grant.to_string())),
            (true, None) => problems.push(
                Problem::new(
                    "grant.asked",
                    format!(
                        "`--allow {ASKED}` gives what the manifest asks for, and the task {name} has no manifest"
                    ),
                )
                .hint("name each grant with an --allow of its own"),
            ),
        }
    }
    match GrantSet::parse_all(texts.iter().map(String::as_str)) {
        Ok(set) if problems.is_empty() => Ok(set),
        Ok(_) => Err(problems),
        Err(more) => Err(problems.into_iter().chain(more).collect()),
    }
}

/// What is sent to a target: rights that both have, and of two limits the smaller.
pub fn effective(asked: Option<&GrantSet>, given: &GrantSet) -> Result<GrantSet, Problem> {
    match asked {
        None => Ok(given.clone()),
        Some(asked) => with_paths(asked, given)?.intersect(given),
    }
}

/// The rights that are asked for and not wholly given, in the order of the manifest. Limits are no rights.
pub fn missing(asked: &GrantSet, given: &GrantSet) -> Vec<Grant> {
    rights(asked).filter(|right| !covers(given, right)).collect()
}

/// The rights that are given and of which the task asks for no part.
pub fn dropped(asked: &GrantSet, given: &GrantSet) -> Vec<Grant> {
    let useless = |right: &Grant| {
        let alone = single(right);
        effective(Some(asked), &alone).is_ok_and(|both| rights(&both).next().is_none())
    };
    rights(given).filter(useless).collect()
}

/// Whether a set gives a right: also a program asked for by name that is given by its path.
pub fn covers(set: &GrantSet, right: &Grant) -> bool {
    if set.check(right).is_ok() {
        return true;
    }
    let Grant::Exec(exec) = right else { return false };
    exec.program().is_some_and(is_name)
        && paths(set, exec).iter().any(|path| {
            let named = single(right).resolved(|_| Some(path.clone()));
            named.iter().all(|right| set.check(&right).is_ok())
        })
}

/// Whether a set may give a right, as far as this side can tell: also a path to a program that the set names.
pub fn may_cover(set: &GrantSet, right: &Grant) -> bool {
    let path = match right {
        Grant::Exec(exec) => exec.program().filter(|path| in_path(path).is_some()),
        _ => None,
    };
    let named = |path: &str| {
        set.resolved(|name| (in_path(path) == Some(name)).then(|| path.to_owned())).check(right).is_ok()
    };
    covers(set, right) || path.is_some_and(named)
}

/// Rights without limits.
pub fn rights(set: &GrantSet) -> impl Iterator<Item = Grant> {
    set.iter().filter(|grant| !matches!(grant, Grant::Limit(_)))
}

/// The flag that gives a right, to paste into a shell.
pub fn flag(grant: &Grant) -> String {
    format!("--allow {}", shell_word(&grant.to_string()))
}

/// One set of several, as if all had been given together.
pub fn together<'a>(sets: impl IntoIterator<Item = &'a GrantSet>) -> Result<GrantSet, Problem> {
    let texts: Vec<String> =
        sets.into_iter().flat_map(GrantSet::iter).map(|grant| grant.to_string()).collect();
    GrantSet::parse_all(texts.iter().map(String::as_str)).map_err(first)
}

pub(crate) fn is_name(program: &str) -> bool {
    !program.starts_with('/')
}

/// The paths under which `set` gives the program that `exec` names.
fn paths(set: &GrantSet, exec: &Exec) -> BTreeSet<String> {
    let Some(name) = exec.program().filter(|program| is_name(program)) else { return BTreeSet::new() };
    set.programs()
        .filter_map(Exec::program)
        .filter(|path| in_path(path) == Some(name))
        .map(str::to_owned)
        .collect()
}

/// The name under which a path is found in [`PATH`], if it lies there.
fn in_path(path: &str) -> Option<&str> {
    let (dir, file) = path.rsplit_once('/')?;
    PATH.split(':').any(|known| known == dir).then_some(file)
}

/// The set, and for each program that it names also the paths under which `other` knows it.
fn with_paths(set: &GrantSet, other: &GrantSet) -> Result<GrantSet, Problem> {
    let mut sets = vec![set.clone()];
    for exec in set.programs() {
        let alone = single(&Grant::Exec(exec.clone()));
        sets.extend(paths(other, exec).into_iter().map(|path| alone.resolved(|_| Some(path.clone()))));
    }
    if sets.len() == 1 { Ok(set.clone()) } else { together(&sets) }
}

pub(super) fn single(right: &Grant) -> GrantSet {
    // What is printed of a grant is read as that grant.
    GrantSet::parse_all(std::iter::once(right.to_string().as_str())).unwrap_or_default()
}

/// Of several problems one, where only one can be told.
pub(crate) fn first(problems: Vec<Problem>) -> Problem {
    problems
        .into_iter()
        .next()
        .unwrap_or_else(|| Problem::new("grant.malformed", "the grants cannot be read"))
}

/// One word for a POSIX shell. The same form as the hints of waft-proto.
pub(crate) fn shell_word(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '_' | '-' | '@' | ',' | '=');
    if text.chars().all(plain) {
        text.to_owned()
    } else if text.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        format!("\"{text}\"")
    }
}
