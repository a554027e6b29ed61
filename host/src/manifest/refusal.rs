//! A target refused a grant: which of the three lacks it, manifest, operator or policy, and the line to paste. In a dry run
//! that is the grant with `:probe`.

use super::agree::{effective, flag, may_cover};
use waft_proto::grant::{Access, Grant, GrantSet};
use waft_proto::run::Problem;

/// The code of a refusal for want of a grant.
pub const MISSING: &str = "grant.missing";
/// The code of one that a real run would not get.
pub const CHECK: &str = "grant.check";
/// What the hint of such a refusal begins with.
const FLAG: &str = "--allow ";

/// Below these a machine keeps what it runs, and what root is.
const OF_THE_SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/sbin", "/sys", "/usr",
];
/// And in these, among much else; what lies deeper is one thing.
const SHARED: [&str; 7] = ["/", "/etc", "/home", "/opt", "/run", "/var", "/var/spool"];
/// In /etc: who may log in and as whom, and what is run of itself.
const OF_RIGHTS: [&str; 7] = ["cron", "init", "pam", "profile", "ssh", "sudoers", "systemd"];

/// The same refusal with a hint that says who lacks the grant. `given` is what the operator gave on that target, all
/// together. `None` when it is another problem, or one whose grant cannot be told: then the target's own hint stays.
pub fn explained(
    problem: &Problem,
    task: &str,
    target: &str,
    asked: Option<&GrantSet>,
    given: &GrantSet,
) -> Option<Problem> {
    if problem.code != MISSING && problem.code != CHECK {
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
        (true, false, _) | (true, true, false) => {
            format!("the operator did not give it: {flag}{}", to_change(asked, &grant))
        }
        (true, true, true) => format!(
            "the manifest asks for it and it is given, so the policy of {target} lacks it: who keeps that machine can allow {line}"
        ),
    };
    Some(Problem { hint: Some(hint), ..problem.clone() })
}

/// Reading is what a task that changes files is refused first: what it will ask for next, where the manifest says so.
fn to_change(asked: Option<&GrantSet>, grant: &Grant) -> String {
    let (Some(asked), Grant::Fs { path, access: Access::ReadOnly }) = (asked, grant) else {
        return String::new();
    };
    // Whoever may write there is root: that is nothing to paste.
    if is_sensitive(path) {
        return String::new();
    }
    let written = Grant::Fs { path: path.clone(), access: Access::ReadWrite };
    if !may_cover(asked, &written) {
        return String::new();
    }
    format!(" to read it, {} to change it", flag(&written))
}

/// Whether the right to write to a directory and all below it is more than one to change some files.
fn is_sensitive(path: &str) -> bool {
    let below =
        |dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let in_etc = path.strip_prefix("/etc/").or_else(|| path.strip_prefix("/var/spool/"));
    SHARED.contains(&path)
        || OF_THE_SYSTEM.iter().any(|dir| below(dir))
        || in_etc.is_some_and(|rest| OF_RIGHTS.iter().any(|name| rest.starts_with(name)))
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
    fn in_a_dry_run_the_line_is_the_one_of_a_probe() {
        let dry = |grant: &str, asked: Option<&[&str]>, given: &[&str]| {
            let problem = Problem::new("grant.check", "a dry run").hint(format!("--allow \"{grant}\""));
            let said = explained(&problem, "job", "web1", asked.map(set).as_ref(), &set(given));
            said.and_then(|problem| problem.hint).unwrap_or_default()
        };
        let probe = "exec:/bin/id -u:probe";
        assert_eq!(
            dry(probe, None, &["exec:*"]),
            "the operator did not give it: --allow \"exec:/bin/id -u:probe\""
        );
        let both = dry(probe, Some(&["exec:/bin/id *"]), &["exec:/bin/id *"]);
        assert!(
            both.starts_with("neither does the manifest")
                && both.contains(r#"grants = ["exec:/bin/id -u:probe"]"#),
            "{both}"
        );
    }

    #[test]
    fn a_path_asked_for_and_a_name_given_is_the_operators_to_mend() {
        let said = hint("exec:/usr/bin/id", Some(&["exec:/usr/bin/id"]), &["exec:id"]);
        assert_eq!(said, "the operator did not give it: --allow exec:/usr/bin/id");
    }

    #[test]
    fn a_task_that_changes_files_is_told_what_suffices() {
        let writes: &[&str] = &["fs:/:rw"];
        let said = "the operator did not give it: ";
        assert_eq!(
            hint("fs:/srv:ro", Some(writes), &["fs:/etc"]),
            format!("{said}--allow fs:/srv:ro to read it, --allow fs:/srv:rw to change it")
        );
        for (asked, grant) in [(&["fs:/:ro"][..], "fs:/srv:ro"), (writes, "fs:/srv:rw")] {
            assert_eq!(hint(grant, Some(asked), &[]), format!("{said}--allow {grant}"), "{asked:?}");
        }
        // To write there is to be root.
        for wide in [
            "/",
            "/etc",
            "/etc/cron.d",
            "/etc/sudoers.d",
            "/usr/bin",
            "/root/.ssh",
            "/boot",
            "/var/spool/cron",
        ] {
            let read = format!("fs:{wide}:ro");
            assert_eq!(hint(&read, Some(writes), &[]), format!("{said}--allow {read}"));
        }
        let deeper = hint("fs:/etc/nginx:ro", Some(writes), &[]);
        assert!(deeper.ends_with("--allow fs:/etc/nginx:rw to change it"), "{deeper}");
        let alike = hint("fs:/usrlocal:ro", Some(writes), &[]);
        assert!(alike.ends_with("--allow fs:/usrlocal:rw to change it"), "{alike}");
        assert_eq!(hint("fs:/srv/x:ro", None, &[]), format!("{said}--allow fs:/srv/x:ro"));
    }

    #[test]
    fn quotes_of_a_shell_are_read_back() {
        let said = hint(r#"exec:/bin/echo "it's: \"x\" $HOME""#, None, &[]);
        assert!(said.ends_with(r#"--allow 'exec:/bin/echo "it'\''s: \"x\" $HOME"'"#), "{said}");
    }

    #[test]
    fn what_cannot_be_told_is_left_as_it_is() {
        let other = Problem::new("exec.not_found", "no").hint("--allow facts");
        assert_eq!(explained(&other, "job", "web1", None, &set(&[])), None);
        let dry = Problem::new("grant.check", "no").hint("a real run may, by the grant net:db:5432");
        assert_eq!(explained(&dry, "job", "web1", None, &set(&[])), None);
        for hint in ["give it", "--allow rm -rf", "--allow facts; rm -rf /"] {
            let hostile = Problem::new("grant.missing", "no").hint(hint);
            assert_eq!(explained(&hostile, "job", "web1", None, &set(&[])), None, "{hint}");
        }
    }
}
