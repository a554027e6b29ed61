use serde_json::json;
use waft_proto::run::TargetState;

use super::*;
use crate::event::{Progress, Stream};
use crate::report::testing::{ClosedPipe, Show, ended, run, unreachable, when};
use crate::report::{Format, Terminal, Verbosity, is_closed_pipe, reporter_to};

const HEAD: &str = r#""run":"01900000-0000-7000-8000-000000000001""#;

fn show(format: Format) -> Show {
    Show::new(format, Terminal::none(), 0)
}

#[test]
fn every_event_is_one_line_with_the_fields_of_the_interface() {
    let mut show = show(Format::JsonLines);
    show.start(&["web1", "web2"]);
    show.state("web1", TargetState::Connecting);
    show.output("web1", Stream::Stdout, "hé\n");
    show.output("web1", Stream::Stderr, b"\xff\x00");
    show.event("web1", Body::Note(Problem::new("x", "careful")));
    show.result("web1", ended(Status::Changed, r#"{"changed":true,"msg":"done"}"#));
    show.result("web2", unreachable("connection to 10.0.0.5:22 refused", "is sshd running?"));
    show.finished();
    let time = "2023-11-14T22:13:20.123Z";
    let expected = [
        format!(
            r#"{{"v":1,"event":"run_started",{HEAD},"seq":1,"time":"{time}","task":"uptime","hash":"{}","targets":["web1","web2"]}}"#,
            "ab".repeat(32)
        ),
        format!(
            r#"{{"v":1,"event":"target_state",{HEAD},"seq":2,"time":"{time}","target":"web1","state":"connecting"}}"#
        ),
        format!(
            r#"{{"v":1,"event":"output",{HEAD},"seq":3,"time":"{time}","target":"web1","stream":"stdout","text":"hé\n"}}"#
        ),
        format!(
            r#"{{"v":1,"event":"output",{HEAD},"seq":4,"time":"{time}","target":"web1","stream":"stderr","base64":"/wA="}}"#
        ),
        format!(
            r#"{{"v":1,"event":"result",{HEAD},"seq":5,"time":"{time}","target":"web1","status":"changed","exit_code":0,"signal":null,"result":{{"changed":true,"msg":"done"}},"stdout":"{{\"changed\":true,\"msg\":\"done\"}}","stderr":"","stdout_truncated":false,"stderr_truncated":false,"ms":1200,"bytes":{{"up":1000,"down":20}},"walls":["seccomp","landlock"],"policy":"advisory","error":null}}"#
        ),
        format!(
            r#"{{"v":1,"event":"result",{HEAD},"seq":6,"time":"{time}","target":"web2","status":"unreachable","exit_code":null,"signal":null,"result":null,"stdout":"","stderr":"","stdout_truncated":false,"stderr_truncated":false,"ms":0,"bytes":{{"up":0,"down":0}},"walls":[],"policy":"none","error":{{"code":"ssh.connect","message":"connection to 10.0.0.5:22 refused","hint":"is sshd running?"}}}}"#
        ),
        format!(
            r#"{{"v":1,"event":"run_finished",{HEAD},"seq":7,"time":"{time}","counts":{{"ok":0,"changed":1,"skipped":0,"failed":0,"timed_out":0,"unreachable":1,"lost":0,"refused":0,"cancelled":0}},"ms":1234,"bytes":{{"up":12345,"down":8100}}}}"#
        ),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(show.out.text().lines().collect::<Vec<_>>(), expected);
    assert!(show.out.text().ends_with("}\n"));
    assert_eq!(show.err.text(), "web1: warning: careful\n");
}

#[test]
fn calls_and_progress_are_events_of_their_own() {
    let mut show = show(Format::JsonLines);
    show.event("web1", Body::Progress(Progress { done: 1, total: Some(4), text: Some("step".into()) }));
    let call = Call {
        call: "exec".into(),
        subject: "/bin/\u{1b}id".into(),
        ok: false,
        code: Some("grant.missing".into()),
        ms: 3,
        ..Call::default()
    };
    show.event("web1", Body::Call(call));
    let text = show.out.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("progress"), &json!("call")));
    assert_eq!(
        (&lines[0]["done"], &lines[0]["total"], &lines[0]["text"]),
        (&1.into(), &4.into(), &json!("step"))
    );
    assert!(
        text.contains(r#""call":"exec","subject":"/bin/\u001bid","ok":false,"code":"grant.missing","ms":3}"#),
        "{text}"
    );
}

#[test]
fn bytes_that_are_no_text_are_kept_beside_the_text() {
    let mut result = ended(Status::Ok, "");
    result.stdout = b"a\xffb".to_vec();
    let event =
        Event { run: run(), seq: 1, time: when(), target: None, body: Body::Result(Box::new(result)) };
    let line = line(&event).unwrap().unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["stdout"], json!("a\u{fffd}b"));
    assert_eq!(value["stdout_base64"], json!("Yf9i"));
    assert!(value.get("stderr_base64").is_none());
}

#[test]
fn lines_are_harmless_in_a_terminal_and_lose_nothing() {
    let hostile = "\u{1b}[2J \u{7f} \u{9b}1m \u{202e} \u{feff} \u{e0041} ü 日 \" \\ \n";
    let mut show = show(Format::JsonLines);
    show.output("web\u{9d}1", Stream::Stdout, hostile);
    let text = show.out.text();
    assert!(
        text.trim_end()
            .chars()
            .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{feff}' && c != '\u{e0041}')
    );
    assert!(text.contains(r"\u001b[2J \u007f \u009b1m \u202e \ufeff \udb40\udc41 ü 日"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["text"], json!(hostile));
    assert_eq!(value["target"], json!("web\u{9d}1"));
}

#[test]
fn json_is_one_array_of_results_however_the_run_ends() {
    let mut whole = show(Format::Json);
    whole.start(&["a", "b"]);
    whole.prints("a", Status::Ok, "x");
    whole.prints("b", Status::Failed, "y");
    whole.finished();
    let mut broken = show(Format::Json);
    broken.start(&["a", "b"]);
    broken.prints("a", Status::Ok, "x");
    broken.finish();
    broken.finish();
    let mut empty = show(Format::Json);
    empty.start(&["a"]);
    empty.finish();
    for (show, targets) in [(&whole, &["a", "b"][..]), (&broken, &["a"]), (&empty, &[])] {
        let array: Vec<Value> = serde_json::from_str(&show.out.text()).unwrap();
        let named: Vec<&str> = array.iter().filter_map(|value| value["target"].as_str()).collect();
        assert_eq!(named, targets);
        assert!(array.iter().all(|value| value["event"] == "result"));
    }
    assert_eq!(empty.out.text(), "[]\n");
    let text = whole.out.text();
    let shape: Vec<&str> = text.lines().map(|line| line.get(..1).unwrap_or("")).collect();
    assert_eq!(shape, ["[", "{", "{", "]"]);
    assert!(text.starts_with("[\n{\"v\":1,") && text.contains("},\n{\"v\":1,") && text.ends_with("}\n]\n"));
}

#[test]
fn a_closed_pipe_is_told_to_the_caller() {
    for format in Format::ALL {
        let mut reporter =
            reporter_to(format, Terminal::none(), Verbosity(0), Box::new(ClosedPipe), Box::new(ClosedPipe));
        let output = Body::Output { stream: Stream::Stdout, bytes: b"x\n".to_vec() };
        let result = Body::Result(Box::new(ended(Status::Ok, "x")));
        let failed = [output, result].into_iter().any(|body| {
            let event = Event { run: run(), seq: 1, time: when(), target: Some("a".into()), body };
            reporter.event(&event).is_err_and(|e| is_closed_pipe(&e))
        });
        assert!(failed, "{}", format.word());
        // A warning to a stderr that is gone stops nothing.
        let note = Body::Note(Problem::new("x", "careful"));
        let event = Event { run: run(), seq: 1, time: when(), target: None, body: note };
        assert!(reporter.event(&event).is_ok());
    }
}
