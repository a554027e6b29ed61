//! What a task may ask of the stub, as JSON: parsed, and decided by the stub's own copy of the grants.

use super::job::Job;
use crate::program;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;

/// Words of an `exec`, and bytes of all of them: well inside what the kernel takes.
const ARGV_WORDS_MAX: usize = 1024;
const ARGV_BYTES_MAX: usize = 32 * 1024;

/// Of a command line that is told, bytes.
const SUBJECT_BYTES_MAX: usize = 512;

/// `{"argv": ["/bin/x", "a"], "stdin": "text", "replace": true}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecRequest {
    argv: Vec<String>,
    stdin: Option<String>,
    #[serde(default)]
    replace: bool,
}

impl ExecRequest {
    pub(super) fn parse(request: &[u8]) -> Result<ExecRequest, Problem> {
        let wrong = |what: &str| Problem::new("exec.request", format!("the request of `exec` {what}"));
        let request: ExecRequest = serde_json::from_slice(request)
            .map_err(|error| wrong(&format!("is not what it should be: {error}")).hint(EXEC_FORM))?;
        if !request.replace {
            let text = "`exec` without `\"replace\": true` is not supported yet";
            return Err(Problem::new("exec.unsupported", text).hint(EXEC_FORM));
        }
        if request.argv.first().is_none_or(String::is_empty) {
            return Err(wrong("names no program").hint(EXEC_FORM));
        }
        if request.argv.len() > ARGV_WORDS_MAX
            || request.argv.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX
        {
            return Err(wrong(&format!(
                "has more than {ARGV_WORDS_MAX} words or {ARGV_BYTES_MAX} bytes of them"
            ))
            .hint("long input belongs to `stdin`"));
        }
        if request.argv.iter().any(|word| word.contains('\0')) {
            return Err(wrong("has a word with a NUL character"));
        }
        Ok(request)
    }

    pub(super) fn argv(&self) -> Vec<&str> {
        self.argv.iter().map(String::as_str).collect()
    }

    pub(super) fn stdin(&self) -> &[u8] {
        self.stdin.as_deref().unwrap_or_default().as_bytes()
    }
}

const EXEC_FORM: &str = r#"ask with {"argv": ["/bin/x", "a"], "stdin": "text", "replace": true}"#;

/// `facts` takes an empty object, or nothing.
pub(super) fn facts_request(request: &[u8]) -> Result<(), Problem> {
    if request.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<Map<String, Value>>(request) {
        Ok(request) if request.is_empty() => Ok(()),
        _ => {
            Err(Problem::new("facts.request", "the request of `facts` is no empty object")
                .hint("ask with {}"))
        }
    }
}

/// What is missing is what the node's policy took away.
pub(super) fn withheld(job: &Job, enough: impl Fn(&GrantSet) -> bool) -> Option<Problem> {
    job.withheld.as_ref().and_then(|withheld| withheld.instead(enough))
}

/// A command line for people, bounded.
pub(super) fn subject(argv: &[&str]) -> String {
    let line = argv.join(" ");
    line.get(..line.floor_char_boundary(SUBJECT_BYTES_MAX)).unwrap_or_default().to_owned()
}

/// What is executed for `argv`, if that is granted.
pub(super) fn allowed(job: &Job, argv: &[&str]) -> Result<String, Problem> {
    let name = argv.first().copied().unwrap_or_default();
    job.grants.check_exec(argv, program::look_up).map_err(|missing| {
        let enough = |set: &GrantSet| set.check_exec(argv, program::look_up).is_ok();
        if !enough(&job.key.given) {
            return withheld(job, enough).unwrap_or(missing);
        }
        let text = format!("`{name}` was not started on `{}`: this is a dry run", job.target);
        Problem::new("grant.check", text).hint("a dry run starts only what is granted with `:probe`")
    })?;
    if name.starts_with('/') {
        return Ok(name.to_owned());
    }
    program::look_up(name).ok_or_else(|| {
        let text = format!("there is no program `{name}` on `{}`", job.target);
        Problem::new("exec.not_found", text)
            .hint(format!("a program without a path is looked for in {}", program::PATH))
    })
}

/// The answer that says that it went wrong.
pub(super) fn error(problem: &Problem) -> String {
    json!({"error": {"code": problem.code, "message": problem.message, "hint": problem.hint}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::{ARGV_WORDS_MAX, ExecRequest, error, facts_request};
    use waft_proto::run::Problem;

    fn code(request: &str) -> String {
        ExecRequest::parse(request.as_bytes()).map_or_else(|problem| problem.code, |_| "good".to_owned())
    }

    #[test]
    fn an_exec_is_taken_only_in_its_one_form() {
        assert_eq!(code(r#"{"argv":["/bin/x","a"],"stdin":"text","replace":true}"#), "good");
        assert_eq!(code(r#"{"argv":["/bin/x"]}"#), "exec.unsupported");
        assert_eq!(code(r#"{"argv":[],"replace":true}"#), "exec.request");
        assert_eq!(code(r#"{"argv":[""],"replace":true}"#), "exec.request");
        assert_eq!(code(r#"{"argv":["/bin/x","a\u0000b"],"replace":true}"#), "exec.request");
        assert_eq!(code(r#"{"argv":["/bin/x"],"replace":true,"cwd":"/"}"#), "exec.request");
        assert_eq!(code("[1"), "exec.request");
        let words = vec!["a"; ARGV_WORDS_MAX + 1];
        assert_eq!(code(&serde_json::json!({"argv": words, "replace": true}).to_string()), "exec.request");
    }

    #[test]
    fn facts_take_nothing() {
        assert!(facts_request(b"").is_ok() && facts_request(b" {} ").is_ok());
        assert!(facts_request(b"{\"a\":1}").is_err() && facts_request(b"[]").is_err());
    }

    #[test]
    fn an_error_has_all_three_parts() {
        let text = error(&Problem::new("a.b", "sentence").hint("do this"));
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            read["error"],
            serde_json::json!({"code": "a.b", "message": "sentence", "hint": "do this"})
        );
    }
}
