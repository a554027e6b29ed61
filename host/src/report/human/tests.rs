use waft_proto::run::TargetState;

use super::*;
use crate::event::Stream;
use crate::report::Format;
use crate::report::terminal::Color;
use crate::report::testing::{Show, ended, unreachable};

fn pipes() -> Show {
    Show::new(Format::Human, Terminal::none(), 0)
}

/// A terminal without live lines, so that bytes are the same each time.
fn terminal() -> Terminal {
    Terminal {
        stdout_tty: true,
        stderr_tty: true,
        dumb: true,
        color: Color::Never,
        width: 60,
        ..Terminal::none()
    }
}

fn on_terminal() -> Show {
    Show::new(Format::Human, terminal(), 0)
}

#[test]
fn calls_are_shown_from_vv_on_and_cannot_reach_the_terminal() {
    let call = |call: &str, left_out| crate::event::Call {
        call: call.into(),
        subject: "/bin/\u{1b}[2Jid".into(),
        code: Some("grant.missing".into()),
        ms: 3,
        left_out,
        ..crate::event::Call::default()
    };
    for (verbosity, shown) in [(1, false), (2, true)] {
        let mut show = Show::new(Format::Human, Terminal::none(), verbosity);
        show.start(&["web1"]);
        show.event("web1", Body::Call(call("exec", None)));
        show.event("web1", Body::Call(call("more", Some(7))));
        let text = show.err.text();
        assert_eq!(
            text.contains("grant.missing in 3 ms") && text.contains("web1: exec /bin/"),
            shown,
            "{text}"
        );
        assert_eq!(text.contains("7 more calls"), shown, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn a_call_says_what_stays_of_its_program() {
    let stays = |count: u64| {
        (0..count).map(|pid| crate::event::Stayed { pid, name: "web\u{1b}[2J".into() }).collect()
    };
    for (named, count, said) in [
        (0, None, None),
        (1, Some(1), Some("; stays: web\\x1b[2J (pid 0)\n")),
        (2, Some(9), Some("(pid 0), web\\x1b[2J (pid 1), and 7 more\n")),
        (50, None, Some("(pid 7), and 42 more\n")),
    ] {
        let mut show = Show::new(Format::Human, Terminal::none(), 2);
        show.start(&["web1"]);
        let call =
            crate::event::Call { stays: stays(named), stay_count: count, ..crate::event::Call::default() };
        show.event("web1", Body::Call(crate::event::Call { call: "exec".into(), ..call }));
        let text = show.err.text();
        assert_eq!(text.contains("stays"), said.is_some(), "{text}");
        assert!(text.contains(said.unwrap_or("exec: ok in")) && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn what_a_task_says_of_its_failure_is_the_reason_and_its_hint_is_shown_once() {
    let error =
        r#"{"changed":false,"error":{"code":"file.denied","message":"no \u001b[2J way","hint":"be root"}}"#;
    let mut show = pipes();
    show.start(&["web1", "web2", "web3"]);
    show.result("web1", ended(Status::Failed, error));
    show.result("web2", ended(Status::Failed, error));
    // One that ended well has no reason, whatever it prints.
    show.result("web3", ended(Status::Ok, error));
    show.finish();
    let text = show.err.text();
    assert_eq!(text.matches("hint: be root").count(), 1, "{text}");
    for name in ["web1", "web2"] {
        assert!(text.contains(&format!("{name}: failed: no \\x1b[2J way (exit code 3)\n")), "{text}");
    }
    assert!(!text.contains("web3:"), "{text}");
    // Its `msg` goes first; what is no text is nothing.
    for (stdout, said) in [
        (r#"{"msg":"short","error":{"message":"long"}}"#, "short (exit code 3)"),
        (r#"{"error":{"message":7,"hint":"x"}}"#, "exit code 3\n"),
        (r#"{"error":"text"}"#, "exit code 3\n"),
    ] {
        let mut show = pipes();
        show.start(&["web1"]);
        show.result("web1", ended(Status::Failed, stdout));
        show.finish();
        let text = show.err.text();
        assert!(text.contains(&format!("web1: failed: {said}")) && !text.contains("hint"), "{text}");
    }
}

#[test]
fn one_target_in_a_pipe_is_its_bytes_and_nothing_else() {
    let raw = b"\x1b[31mred\x1b[0m \xff\x00\r\n no newline";
    let mut show = pipes();
    show.start(&["web1"]);
    show.state("web1", TargetState::Running);
    raw.chunks(3).for_each(|chunk| show.output("web1", Stream::Stdout, chunk));
    show.output("web1", Stream::Stderr, b"\x1b\xff");
    show.result("web1", ended(Status::Ok, ""));
    show.finished();
    assert_eq!(show.out.bytes(), raw);
    assert_eq!(show.err.bytes(), b"\x1b\xff");

    let object = r#"{"changed":false,"msg":"as it came"}"#;
    let mut show = pipes();
    show.start(&["web1"]);
    show.prints("web1", Status::Ok, object);
    show.finished();
    assert_eq!((show.out.text().as_str(), show.err.text().as_str()), (object, ""));
}

#[test]
fn one_target_on_a_terminal_is_escaped() {
    let mut show = on_terminal();
    show.start(&["web1"]);
    let raw = "\u{1b}]0;owned\u{7} é €\u{202e}\n".as_bytes();
    raw.chunks(1).for_each(|chunk| show.output("web1", Stream::Stdout, chunk));
    show.output("web1", Stream::Stdout, b"open \xe2\x82");
    show.output("web1", Stream::Stderr, b"\x9b31m");
    show.result("web1", ended(Status::Ok, ""));
    show.finished();
    assert_eq!(show.out.text(), "\\x1b]0;owned\\x07 é €\\u{202e}\nopen \\xe2\\x82");
    assert_eq!(show.err.text(), "\\x9b31m");
}

#[test]
fn one_object_on_a_terminal_is_laid_out() {
    let mut show = on_terminal();
    show.start(&["web1"]);
    show.output("web1", Stream::Stdout, r#"{"os":"Debian","#);
    show.output("web1", Stream::Stdout, r#""cpus":4}"#);
    assert_eq!(show.out.text(), "");
    show.result("web1", ended(Status::Ok, r#"{"os":"Debian","cpus":4}"#));
    show.finished();
    assert_eq!(
        (show.out.text().as_str(), show.err.text().as_str()),
        ("{\"cpus\": 4, \"os\": \"Debian\"}\n", "")
    );
}

#[test]
fn an_object_that_never_ended_is_shown_as_it_came() {
    let mut show = on_terminal();
    show.start(&["web1"]);
    show.prints("web1", Status::Failed, "{\"os\":\u{1b}");
    show.finished();
    assert_eq!(show.out.text(), "{\"os\":\\x1b");
    // The message stands on a line of its own.
    assert_eq!(show.err.text(), "\nweb1: failed: exit code 3\n");
}

#[test]
fn errors_of_one_target_name_it_and_help() {
    let mut show = pipes();
    show.start(&["web1"]);
    show.result("web1", unreachable("connection to 10.0.0.5:22 refused", "is sshd running there?"));
    show.finished();
    assert_eq!(show.out.text(), "");
    let expected = "web1: unreachable: connection to 10.0.0.5:22 refused\n  hint: is sshd running there?\n";
    assert_eq!(show.err.text(), expected);
}

#[test]
fn many_targets_speak_in_whole_lines() {
    let mut show = pipes();
    show.start(&["web1", "web2"]);
    show.output("web1", Stream::Stdout, "first ha");
    show.output("web2", Stream::Stdout, "other\nun");
    show.output("web1", Stream::Stderr, "oops\n");
    show.output("web1", Stream::Stdout, "lf\n");
    show.output("web1", Stream::Log, "noted\n");
    show.result("web1", ended(Status::Ok, "first half\n"));
    show.result("web2", ended(Status::Ok, "other\nended"));
    show.finished();
    let expected = "web2 | other\nweb1 | first half\nweb2 | un\n\n\
                    HOST  STATUS   TIME  MESSAGE\n\
                    web1  ok      1.2 s  first half\n\
                    web2  ok      1.2 s  other (+1 line)\n";
    assert_eq!(show.out.text(), expected);
    let expected = "web1 ! oops\nweb1 # noted\n2 targets: 2 ok in 1.2 s, 12.3 kB up, 8.1 kB down\n";
    assert_eq!(show.err.text(), expected);
}

#[test]
fn equal_results_are_one_row_and_bad_ones_stand_last() {
    let mut show = pipes();
    let names = ["db1", "web01", "web02", "web03", "web04", "web05"];
    show.start(&names);
    show.result("db1", unreachable("connection to 10.0.0.5:22 refused", "look"));
    for (name, text) in [("web03", "same\n"), ("web01", "same\n"), ("web05", "same\n"), ("web02", "other\n")]
    {
        show.prints(name, Status::Ok, text);
    }
    show.prints("web04", Status::Failed, "same\n");
    show.finished();
    let shown = show.out.text();
    let lines: Vec<&str> = shown.lines().collect();
    let expected = [
        "web03 | same",
        "web01 | same",
        "web05 | same",
        "web02 | other",
        "web04 | same",
        "",
        "HOST           STATUS        TIME  MESSAGE",
        "web[01,03,05]  ok           1.2 s  same",
        "web02          ok           1.2 s  other",
        "db1            unreachable   0 ms  connection to 10.0.0.5:22 refused",
        "web04          failed       1.2 s  exit code 3",
    ];
    assert_eq!(lines, expected);
    assert!(
        show.err
            .text()
            .ends_with("6 targets: 4 ok, 1 failed, 1 unreachable in 1.2 s, 12.3 kB up, 8.1 kB down\n")
    );
}

#[test]
fn returned_objects_are_folded_and_not_repeated() {
    let mut show = pipes();
    show.start(&["a1", "a2", "a3", "b"]);
    for name in ["a1", "a2", "a3"] {
        show.prints(name, Status::Ok, r#"{"msg":"seen","cpus":4}"#);
    }
    show.prints("b", Status::Changed, r#"{"changed":true,"msg":"only this"}"#);
    show.finished();
    let expected = "a[1-3] = {\"cpus\": 4, \"msg\": \"seen\"}\n\n\
                    HOST    STATUS    TIME  MESSAGE\n\
                    a[1-3]  ok       1.2 s  seen\n\
                    b       changed  1.2 s  only this\n";
    assert_eq!(show.out.text(), expected);

    // Too large to wait for: shown as it came, and not again.
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000));
    let mut show = pipes();
    show.start(&["a", "b"]);
    show.prints("a", Status::Ok, &large);
    show.prints("b", Status::Ok, &large);
    show.finished();
    let text = show.out.text();
    assert!(text.starts_with("a | {\"text\":\"xxx") && text.contains("more bytes)\nb | {"), "{}", text.len());
    assert!(!text.contains(" = "));
    assert!(text.ends_with("\n\nHOST  STATUS   TIME  MESSAGE\na,b   ok      1.2 s\n"));
}

#[test]
fn long_objects_begin_below_each_other() {
    let long = format!(r#"{{"first":"{}","second":"{}"}}"#, "x".repeat(30), "y".repeat(30));
    let mut show = on_terminal();
    show.start(&["a", "b"]);
    show.prints("a", Status::Ok, &long);
    show.prints("b", Status::Ok, &long);
    show.finished();
    let view = format!(
        "a,b = {{\n  \"first\": \"{}\",\n  \"second\": \"{}\"\n}}\n\nHOST",
        "x".repeat(30),
        "y".repeat(30)
    );
    assert!(show.out.text().starts_with(&view), "{}", show.out.text());
}

#[test]
fn nothing_hostile_passes_with_many_targets_not_even_into_a_pipe() {
    let mut show = pipes();
    show.start(&["a\u{1b}", "b"]);
    let raw: Vec<u8> = (0..=255).filter(|&byte| byte != b'\n').chain("\u{202e}\u{9b}".bytes()).collect();
    for stream in [Stream::Stdout, Stream::Stderr, Stream::Log] {
        show.output("a\u{1b}", stream, &raw);
    }
    let mut result = ended(Status::Failed, "");
    result.stdout = raw.clone();
    result.stderr = raw.clone();
    result.problem = Some(Problem::new("x", "said \u{1b}[2J").hint("\u{9d}"));
    show.result("a\u{1b}", result.clone());
    result.problem = None;
    show.result("b", result);
    show.event("b", Body::Note(Problem::new("x", "\u{1b}c").hint("\u{202e}")));
    show.finished();
    for text in [show.out.text(), show.err.text()] {
        let bad = text.chars().find(|&c| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}');
        assert_eq!(bad, None, "{text}");
    }
    assert!(show.err.text().contains("a\\x1b: failed: said \\x1b[2J\n  hint: \\x9d\n"));
}

#[test]
fn a_hint_is_given_once() {
    let mut show = pipes();
    show.start(&["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        show.result(name, unreachable(&format!("{name} refused the connection"), "is sshd running?"));
    }
    show.finished();
    assert_eq!(show.err.text().matches("hint: is sshd running?").count(), 1);
    assert_eq!(show.err.text().matches(": unreachable: ").count(), 3);
}

#[test]
fn names_are_aligned_and_coloured_on_a_terminal() {
    let mut show = Show::new(Format::Human, Terminal { color: Color::Auto, ..terminal() }, 0);
    show.start(&["a", "long"]);
    show.output("a", Stream::Stdout, "text\n");
    show.output("a", Stream::Stderr, "text\n");
    assert_eq!(show.out.text(), "\u{1b}[36ma    |\u{1b}[0m text\n");
    assert_eq!(show.err.text(), "\u{1b}[33ma    !\u{1b}[0m text\n");
}

#[test]
fn more_is_said_when_asked() {
    let mut show = Show::new(Format::Human, Terminal::none(), 1);
    show.start(&["web1"]);
    show.state("web1", TargetState::Connecting);
    show.result("web1", ended(Status::Ok, ""));
    show.finished();
    let expected = "run 01900000-0000-7000-8000-000000000001: uptime on 1 target\n\
                    web1: connecting\n\
                    web1: ok in 1.2 s, exit code 0, 1.0 kB up, 20 B down, policy advisory, walls without no_environment no_new_privs mount_namespace capabilities rlimits no_new_code\n\
                    1 target: 1 ok in 1.2 s, 12.3 kB up, 8.1 kB down\n";
    assert_eq!(show.err.text(), expected);

    let mut show = Show::new(Format::Human, Terminal::none(), 2);
    show.start(&["web1"]);
    show.state("web1", TargetState::Running);
    assert!(show.err.text().ends_with("\n2023-11-14T22:13:20.123Z web1: running\n"), "{}", show.err.text());
}

#[test]
fn without_live_lines_v_says_what_is_waited_for_once() {
    for (verbosity, said) in [(0, ""), (1, "web1: waits: its link ended\nweb1: waits: it is there\n")] {
        let mut show = Show::new(Format::Human, Terminal::none(), verbosity);
        for (done, text) in
            [(0, "waits: its link ended"), (1, "waits: its link ended"), (2, "waits: it is there")]
        {
            let text = Some(text.to_owned());
            show.event("web1", Body::Progress(Progress { done, total: Some(600), text }));
        }
        show.event("web1", Body::Progress(Progress { done: 3, total: None, text: None }));
        assert_eq!(show.err.text(), said);
    }
}

#[test]
fn a_run_that_broke_off_shows_what_it_has_and_only_once() {
    let mut show = pipes();
    show.start(&["a", "b"]);
    show.output("b", Stream::Stdout, "half a line");
    show.prints("a", Status::Ok, "done\n");
    show.finish();
    let expected = "a | done\nb | half a line\n\nHOST  STATUS   TIME  MESSAGE\na     ok      1.2 s  done\n";
    assert_eq!(show.out.text(), expected);
    show.finish();
    assert_eq!(show.out.text(), expected);
}

#[test]
fn cut_output_is_said() {
    let mut show = pipes();
    show.start(&["a"]);
    show.result("a", TargetResult { stdout_truncated: true, stdout_cut: true, ..ended(Status::Ok, "") });
    show.finished();
    let expected = "a: warning: stdout was cut at the limit of this run\n  hint: raise the limit with --allow out:SIZE\n";
    assert_eq!(show.err.text(), expected);
}
