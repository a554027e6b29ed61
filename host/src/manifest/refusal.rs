//! A target refused a grant: which of the three lacks it, manifest, operator or policy, and the line to paste.

use super::agree::{effective, flag, may_cover};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::run::Problem;

/// The code of a refusal for want of a grant.
pub const MISSING: &str = "grant.missing";
/// What the hint of such a refusal begins with.
const FLAG: &str = "--allow ";

/// The same refusal with a hint that says who lacks the grant. `given` is what the operator gave on that target, all
/// together. `None` when it is another problem, or one whose grant cannot be told: then the target's own hint stays.
pub fn explained(
    problem: &Problem,
    task: &str,
    target: &str,
    asked: Option<&GrantSet>,
    given: &GrantSet,
) -> Option<Problem> {
    if problem.code != MISSING {
        return None;
    }
    let grant = Grant::parse(&unquoted(problem.hint.as_deref()?.strip_prefix(FLAG)?)?).ok()?;
    let (text, flag) = (grant.to_string(), flag(&grant));
    let asks = asked.is_none_or(|asked| may_cover(asked, &grant));
    let gives = may_cover(given, &grant);
    let got = effective(asked, given).is_ok_and(|set| may_cover(&set, &grant));
    let line = format!("grants = [{}]", serde_json::Value::from(text));
    let hint = match (asks, gives, got) {
        (false, false, _) => format!(
            "neither does the manifest of {task} ask for it, nor is it given: add it to the manifest ({line}), and run with {flag}"
        ),
        (false, true, _) => {
            format!("it is given, but the manifest of {task} does not ask for it: add it there ({line})")
        }
        (true, false, _) | (true, true, false) => format!("the operator did not give it: {flag}"),
        (true, true, true) => format!(
            "the manifest asks for it and it is given, so the policy of {target} lacks it: who keeps that machine can allow {line}"
        ),
    };
    Some(Problem { hint: Some(hint), ..problem.clone() })
}

/// A word as the stub quotes it for a shell.
fn unquoted(word: &str) -> Option<String> {
    let within = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inside) = within('\'') {
        return Some(inside.replace(r"'\''", "'"));
    }
    Some(within('"').unwrap_or(word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::explained;
    use waft_proto::grant::{Grant, GrantSet};
    use waft_proto::run::Problem;

    fn set(texts: &[&str]) -> GrantSet {
        GrantSet::parse_all(texts.iter().copied()).expect("grants")
    }

    /// As a stub words it.
    fn refusal(grant: &str) -> Problem {
        GrantSet::default().check(&Grant::parse(grant).expect("a grant")).expect_err("nothing is given")
    }

    fn hint(grant: &str, asked: Option<&[&str]>, given: &[&str]) -> String {
        let asked = asked.map(set);
        let said = explained(&refusal(grant), "job", "web1", asked.as_ref(), &set(given));
        said.and_then(|problem| problem.hint).unwrap_or_default()
    }

    #[test]
    fn each_of_the_three_is_named() {
        let operator = hint("exec:/bin/id -u", None, &["facts"]);
        assert_eq!(operator, "the operator did not give it: --allow \"exec:/bin/id -u\"");
        assert_eq!(hint("facts", Some(&["facts"]), &[]), "the operator did not give it: --allow facts");
        let manifest = hint("facts", Some(&["env:TZ"]), &["facts"]);
        assert!(manifest.starts_with("it is given, but the manifest of job does not ask"), "{manifest}");
        assert!(manifest.contains(r#"grants = ["facts"]"#), "{manifest}");
        let both = hint("facts", Some(&[]), &[]);
        assert!(both.starts_with("neither") && both.ends_with("run with --allow facts"), "{both}");
        let policy = hint("exec:/usr/bin/id a", Some(&["exec:id *"]), &["exec:*"]);
        assert!(policy.contains("so the policy of web1 lacks it"), "{policy}");
    }

    #[test]
    fn a_path_asked_for_and_a_name_given_is_the_operators_to_mend() {
        let said = hint("exec:/usr/bin/id", Some(&["exec:/usr/bin/id"]), &["exec:id"]);
        assert_eq!(said, "the operator did not give it: --allow exec:/usr/bin/id");
    }

    #[test]
    fn quotes_of_a_shell_are_read_back() {
        let said = hint(r#"exec:/bin/echo "it's: \"x\" $HOME""#, None, &[]);
        assert!(said.ends_with(r#"--allow 'exec:/bin/echo "it'\''s: \"x\" $HOME"'"#), "{said}");
    }

    #[test]
    fn what_cannot_be_told_is_left_as_it_is() {
        let other = Problem::new("grant.check", "no").hint("--allow facts");
        assert_eq!(explained(&other, "job", "web1", None, &set(&[])), None);
        for hint in ["give it", "--allow rm -rf", "--allow facts; rm -rf /"] {
            let hostile = Problem::new("grant.missing", "no").hint(hint);
            assert_eq!(explained(&hostile, "job", "web1", None, &set(&[])), None, "{hint}");
        }
    }
}
