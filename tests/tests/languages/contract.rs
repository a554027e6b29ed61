//! What a binding does with parameters that waft would not send, and with a stdout that takes nothing: the task runs on this
//! machine, without a host.

use crate::project::Project;
use waft_tests::Result;

/// A program of the project's that takes `path` only, or `path` and `name`.
pub(crate) fn holds(project: &Project, program: &str) -> Result<()> {
    for (given, code, said) in [
        // 2 MB: more than a task reads.
        ("head -c 2000000 /dev/zero | tr '\\0' ' '", 2, "params.size"),
        ("printf '{\"path\": '", 2, "params.invalid"),
        ("printf '{\"path\": \"/\\377\"}'", 2, "params.invalid"),
        ("printf '[]'", 2, "params.invalid"),
        ("printf '{\"paht\": \"/\"}'", 2, "there is no `paht`"),
        ("head -c 200000 /dev/zero | tr '\\0' '['", 2, "params.invalid"),
    ] {
        let line = format!("{given} | {program}");
        let done = project.program("sh", &["-c", &line])?;
        let text = done.stdout_text();
        assert_eq!(done.status.code(), Some(code), "{line}: {text}{}", done.stderr_text());
        assert!(text.contains(said), "{line}: {text}");
        assert!(text.starts_with("{\"changed\":false,\"msg\":") && text.ends_with("}}\n"), "{line}: {text}");
    }
    // Nobody can be told, so it is no success.
    let done = project.program("sh", &["-c", &format!("printf '[]' | {program} >/dev/full")])?;
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.stderr_text());
    Ok(())
}
