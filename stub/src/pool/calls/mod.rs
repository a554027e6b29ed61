//! What a task may ask of the stub, as JSON: parsed, and decided by the stub's own copy of the grants.

pub(super) mod emit;
pub(super) mod exec;
pub(super) mod other;
pub(super) mod record;

use super::job::Job;
use crate::program;
use serde_json::{Map, Value, json};
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;

/// The longest beginning of `text` that takes at most `most` bytes.
pub(super) fn cut_text(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

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

/// What is executed for `argv`, if that is granted; `stays`: and what it leaves running may stay.
pub(super) fn allowed(job: &Job, argv: &[&str], stays: bool) -> Result<String, Problem> {
    let name = argv.first().copied().unwrap_or_default();
    if stays && job.key.check {
        let text = format!(
            "`{name}` was not started on `{}`: in a dry run nothing that it starts may stay",
            job.target
        );
        return Err(Problem::new("grant.check", text).hint("a dry run asks for programs without `daemon`"));
    }
    let check = |set: &GrantSet| match stays {
        true => set.check_daemon(argv, program::look_up),
        false => set.check_exec(argv, program::look_up),
    };
    check(&job.grants).map_err(|missing| {
        let enough = |set: &GrantSet| check(set).is_ok();
        if stays || !enough(&job.key.given) {
            return withheld(job, enough).unwrap_or(missing);
        }
        let text = format!(
            "`{name}` was not started on `{}`: a dry run starts only what is granted with `:probe`",
            job.target
        );
        Problem::new("grant.check", text).hint(probe(missing.hint.as_deref().unwrap_or_default()))
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

/// The flag that gives a program, for dry runs as well: the word stays in its quotes.
fn probe(flag: &str) -> String {
    let is_quoted = flag.starts_with("--allow '") || flag.starts_with("--allow \"");
    let end = flag.len().saturating_sub(usize::from(is_quoted));
    let (line, quote) = flag.split_at_checked(end).unwrap_or((flag, ""));
    format!("{line}:probe{quote}")
}

/// The answer that says that it went wrong.
pub(super) fn error(problem: &Problem) -> String {
    json!({"error": {"code": problem.code, "message": problem.message, "hint": problem.hint}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::{error, facts_request, probe};
    use waft_proto::grant::Grant;
    use waft_proto::run::Problem;

    #[test]
    fn the_flag_for_a_dry_run_is_one_word_of_a_shell() {
        assert_eq!(probe("--allow exec:/bin/id"), "--allow exec:/bin/id:probe");
        assert_eq!(probe("--allow \"exec:/bin/id -u\""), "--allow \"exec:/bin/id -u:probe\"");
        let json = r#"--allow 'exec:/bin/echo "a b"'"#;
        assert_eq!(probe(json), r#"--allow 'exec:/bin/echo "a b":probe'"#);
        let grant = Grant::parse(r#"exec:/bin/echo "a b":probe"#).expect("it is read as what it says");
        assert_eq!(grant.to_string(), r#"exec:/bin/echo "a b":probe"#);
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
