//! The one place where a [`Problem`] becomes lines for people: a sentence, then what to do about it.

use waft_proto::run::{Problem, Status};

use super::escape;
use super::paint::{self, Paint};

/// Characters of one message or hint that are shown.
const MESSAGE_CHARS_MAX: usize = 4096;

/// `web1: unreachable: connection to 10.0.0.5:22 refused`, without its hint.
pub fn of_target(name: &str, status: Status, message: &str, paint: Paint) -> String {
    let mut out = escape::cell(name);
    out.push_str(": ");
    paint.push(&mut out, paint::of_status(status), status.word());
    if !message.is_empty() {
        out.push_str(": ");
        out.push_str(&body(message));
    }
    out.push('\n');
    out
}

/// `error: the inventory names no host "web9"` and the hint: what stops `waft` itself.
pub fn error(problem: &Problem, paint: Paint) -> String {
    format!("{} {}\n{}", paint.text(paint::BAD, "error:"), body(&problem.message), hint(problem))
}

/// `web1: warning: ...`, or `warning: ...` when it concerns no single target.
pub fn warning(name: Option<&str>, problem: &Problem, paint: Paint) -> String {
    let who = name.map(|name| format!("{}: ", escape::cell(name))).unwrap_or_default();
    format!("{who}{} {}\n{}", paint.text(paint::STDERR, "warning:"), body(&problem.message), hint(problem))
}

/// The hint as a line of its own, or nothing.
pub fn hint(problem: &Problem) -> String {
    problem.hint.as_ref().map(|hint| format!("  hint: {}\n", body(hint))).unwrap_or_default()
}

/// Later lines are indented, so that they cannot pass for a message of their own.
fn body(text: &str) -> String {
    let cut: String = text.trim_end().chars().take(MESSAGE_CHARS_MAX).collect();
    escape::text(&cut).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_hints() {
        let refused =
            Problem::new("ssh.connect", "connection to 10.0.0.5:22 refused").hint("is sshd running?");
        let line = of_target("web1", Status::Unreachable, &refused.message, Paint::Plain);
        assert_eq!(
            line + &hint(&refused),
            "web1: unreachable: connection to 10.0.0.5:22 refused\n  hint: is sshd running?\n"
        );
        assert_eq!(
            error(&refused, Paint::Plain),
            "error: connection to 10.0.0.5:22 refused\n  hint: is sshd running?\n"
        );
        let odd = Problem::new("x", "bad\nweb2: ok \u{1b}[31m\n");
        assert_eq!(
            warning(Some("w\u{7}"), &odd, Paint::Plain),
            "w\\x07: warning: bad\n    web2: ok \\x1b[31m\n"
        );
        assert_eq!(
            of_target("web1", Status::Failed, "", Paint::Color),
            "web1: \u{1b}[1m\u{1b}[31mfailed\u{1b}[0m\n"
        );
    }

    #[test]
    fn messages_are_bounded() {
        let long = Problem::new("x", "m".repeat(1 << 20));
        assert!(error(&long, Paint::Plain).len() < MESSAGE_CHARS_MAX + 100);
    }
}
