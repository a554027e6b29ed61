use crate::desk::{Desk, hint};
use serde_json::json;
use std::fs;
use waft_tests::Result;

#[test]
fn a_program_becomes_the_task() -> Result<()> {
    Desk::each(|desk| {
        let cat = json!({"argv": ["/bin/cat", "-"], "stdin": "a\u{e9}\n"});
        let done = desk.result("exec", &cat, &["exec:/bin/cat -"], &[], 0)?;
        assert_eq!((&done["status"], &done["stdout"]), (&json!("ok"), &json!("a\u{e9}\n")), "{done}");
        // What it prints is a result where it is one.
        let told = json!({"argv": ["/bin/echo", "{\"changed\": true, \"n\": 1}"]});
        assert_eq!(desk.answer("exec", &told, &["exec:/bin/echo *"], true)?["n"], 1);
        let failed =
            desk.result("exec", &json!({"argv": ["/bin/ls", "/none"]}), &["exec:/bin/ls *"], &[], 3)?;
        assert_eq!((&failed["status"], &failed["exit_code"]), (&json!("failed"), &json!(2)), "{failed}");
        assert!(failed["stderr"].as_str().is_some_and(|said| said.contains("/none")), "{failed}");
        let uid = desk.user().map_or(rustix::process::getuid().as_raw(), |user| user.uid);
        let id = desk.result("exec", &json!({"argv": ["id", "-u"]}), &["exec:id -u"], &[], 0)?;
        assert_eq!(id["stdout"], format!("{uid}\n"));

        // A dry run starts nothing that was not granted as a probe.
        let touch = json!({"argv": ["/bin/touch", desk.path("new")]});
        let grant = "exec:/bin/touch *";
        let dry = desk.result("exec", &touch, &[grant], &["--check"], 5)?;
        assert_eq!(
            (&dry["status"], &dry["error"]["code"]),
            (&json!("refused"), &json!("grant.check")),
            "{dry}"
        );
        let refused = desk.result("exec", &touch, &["exec:/bin/touch"], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        assert!(hint(&refused).contains("--allow \"exec:/bin/touch "), "{refused}");
        assert_eq!(fs::read_dir(desk.dir()).expect("a directory").count(), 0);

        for (bad, word) in [
            (json!({}), "`argv` of exec is missing"),
            (json!({"argv": []}), "`argv`"),
            (json!({"argv": "/bin/true"}), "`argv`"),
            (json!({"argv": ["/bin/true"], "shell": true}), "no parameter `shell`"),
        ] {
            desk.unsent("exec", &bad, &["exec:*"], &[word])?;
        }
        Ok(())
    })
}
