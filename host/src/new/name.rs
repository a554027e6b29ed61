//! What a project may be called: a name that a manifest takes, and that every language takes for a package.

use waft_proto::run::Problem;

/// Longer than any that somebody types twice, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Names that cargo, Go or a binding needs itself, and those of the folders that tools make in a project.
const TAKEN: [&str; 15] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "internal",
    "main",
    "node_modules",
    "proc_macro",
    "std",
    "target",
    "test",
    "vendor",
    "waft",
];

pub(super) fn check(name: &str) -> Result<(), Problem> {
    let shown = name.escape_debug();
    let is_rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_rest) {
        let text = format!("`{shown}` is no name for a task's project");
        let hint = "a name is letters, digits, `_` and `-`, and begins with a letter; another directory is given with --dir";
        return Err(Problem::new("new.name", text).hint(hint));
    }
    if name.len() > NAME_BYTES_MAX {
        let text = format!("the name has {} bytes, at most {NAME_BYTES_MAX} are taken", name.len());
        return Err(Problem::new("new.name", text).hint("say it in fewer words"));
    }
    if TAKEN.contains(&name) {
        let text = format!("`{shown}` is taken: a project of that name could not be built");
        return Err(Problem::new("new.name", text).hint(format!("for example `{name}-task`")));
    }
    Ok(())
}
