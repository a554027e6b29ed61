use crate::desk::Desk;
use serde_json::json;
use std::fs;
use waft_tests::Result;

#[test]
fn command_runs_one_program_without_a_shell() -> Result<()> {
    Desk::each(|desk| {
        let any = ["exec:/bin/cat", "exec:/bin/echo **", "exec:/bin/ls *", &desk.rw()];
        let cmd = json!({"cmd": "/bin/echo 'a  b' $HOME | cat *"});
        let done = desk.answer("command", &cmd, &any, true)?;
        assert_eq!(done["stdout"], "a  b $HOME | cat *", "{done}");
        assert_eq!((&done["rc"], &done["cmd"][1]), (&json!(0), &json!("a  b")), "{done}");
        let dir = desk.dir();
        let cat = json!({"argv": ["/bin/cat"], "stdin": "one\ntwo", "chdir": dir});
        assert_eq!(desk.answer("command", &cat, &any, true)?["stdout_lines"], json!(["one", "two"]));

        // What is not told in full says so.
        assert_eq!(desk.answer("command", &cat, &any, true)?["stdout_truncated"], json!(false));
        let long = json!({"argv": ["/bin/cat"], "stdin": "x".repeat((128 << 10) + 1)});
        let done = desk.answer("command", &long, &any, true)?;
        assert_eq!((&done["stdout_truncated"], &done["stderr_truncated"]), (&json!(true), &json!(false)));
        assert_eq!(done["stdout"].as_str().map(str::len), Some(128 << 10));

        // What it did before it does not do again.
        fs::write(desk.path("made"), "").expect("a file");
        let once = json!({"argv": ["/bin/echo"], "creates": desk.path("made")});
        assert!(desk.answer("command", &once, &any, false)?.get("rc").is_none());
        let gone = json!({"argv": ["/bin/echo"], "removes": desk.path("none")});
        desk.answer("command", &gone, &any, false)?;
        let both = json!({"argv": ["/bin/echo"], "removes": desk.path("made"), "creates": desk.path("none")});
        desk.answer("command", &both, &any, true)?;

        // A failure has what the program wrote.
        let failed = desk.result("command", &json!({"argv": ["/bin/ls", "/none"]}), &any, &[], 3)?;
        assert_eq!(failed["status"], "failed", "{failed}");
        assert_eq!(failed["result"]["rc"], 2, "{failed}");
        assert!(failed["result"]["stderr"].as_str().is_some_and(|said| said.contains("/none")), "{failed}");
        assert_eq!(failed["result"]["error"]["code"], "command.failed", "{failed}");

        // A dry run starts nothing, and tells which grant a run would miss.
        let touch = json!({"argv": ["/bin/touch", desk.path("new")]});
        let grants = ["exec:/bin/touch *"];
        let would = desk.result("command", &touch, &grants, &["--check"], 0)?;
        assert_eq!(would["status"], "changed", "{would}");
        assert!(!desk.path("new").exists());
        for words in [&["--check"][..], &[]] {
            let refused = desk.result("command", &touch, &["exec:/bin/touch"], words, 5)?;
            assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        }
        desk.answer("command", &touch, &grants, true)?;
        assert!(desk.path("new").exists());
        Ok(())
    })
}

#[test]
fn what_is_too_large_for_a_result_is_left_out_and_the_change_told() -> Result<()> {
    let desk = Desk::new()?;
    // Six bytes of JSON each, as text and as a line.
    for (end, code, status) in [("", 0, "changed"), ("; exit 7", 3, "failed")] {
        let script = format!("head -c {} /dev/zero{end}", 128 << 10);
        let params = json!({"argv": ["/bin/sh", "-c", script]});
        let result = desk.result("command", &params, &["exec:/bin/sh **"], &[], code)?;
        assert_eq!(
            (&result["status"], &result["result"]["changed"]),
            (&json!(status), &json!(true)),
            "{result}"
        );
        assert!(
            result["result"]["msg"].as_str().is_some_and(|msg| msg.contains("larger than 1 MiB")),
            "{result}"
        );
        assert_eq!(result["result"].get("stdout"), None);
        if code != 0 {
            assert_eq!(result["result"]["error"]["code"], "command.failed", "{result}");
        }
    }
    Ok(())
}

#[test]
fn command_refuses_what_names_no_program() -> Result<()> {
    let desk = Desk::new()?;
    for (params, words) in [
        (json!({"argv": "/bin/true"}), ["`argv`", "expected a list"]),
        (json!({"argv": []}), ["`argv`", "at least 1"]),
        (json!({"cmd": "/bin/true", "shell": true}), ["no parameter `shell`", ""]),
    ] {
        desk.unsent("command", &params, &["exec:*"], &words)?;
    }
    for params in [
        json!({}),
        json!({"cmd": "/bin/echo 'open"}),
        json!({"cmd": " "}),
        json!({"cmd": "/bin/true", "argv": ["/bin/true"]}),
    ] {
        let error = desk.failure("command", &params, &["exec:*"])?;
        assert_eq!(error["code"], "params.invalid", "{params}: {error}");
    }
    let absent = desk.result("command", &json!({"cmd": "nosuchprogram"}), &["exec:nosuchprogram"], &[], 3)?;
    assert_eq!(absent["result"]["error"]["code"], "exec.not_found", "{absent}");
    Ok(())
}
