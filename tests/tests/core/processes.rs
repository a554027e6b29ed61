use crate::desk::Desk;
use serde_json::json;
use std::process::{Child, Command, Stdio};
use waft_tests::Result;
use waft_tests::process::{kill_trees, spawn_bound};

/// A process to look for; gone when dropped.
struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.0]);
    }
}

#[test]
fn processes_are_those_that_ps_tells() -> Result<()> {
    Desk::each(|desk| {
        let mut sleep = Command::new("sleep");
        sleep.arg("987.25").stdin(Stdio::null());
        let sleep = Sleep(spawn_bound(sleep).expect("a process"));
        let ps = ["exec:ps **:probe"];
        let params = json!({"name": "sleep", "pattern": " 987.25"});
        for words in [&[][..], &["--check"]] {
            let found = desk.result("processes", &params, &ps, words, 0)?;
            assert_eq!(
                (&found["status"], &found["result"]["pids"]),
                (&json!("ok"), &json!([sleep.0.id()])),
                "{found}"
            );
            let one = &found["result"]["processes"][0];
            assert_eq!(
                (&one["ppid"], &one["command"]),
                (&json!(std::process::id()), &json!("sleep 987.25")),
                "{one}"
            );
            assert!(
                one["memory_kb"].as_u64().is_some_and(|size| size > 0) && one["cpu"].is_number(),
                "{one}"
            );
        }
        drop(sleep);
        assert_eq!(desk.answer("processes", &params, &ps, false)?["count"], 0);
        let first = desk.answer("processes", &json!({"limit": 1}), &ps, false)?;
        assert_eq!((&first["pids"], &first["truncated"]), (&json!([1]), &json!(false)), "{first}");
        assert!(first["count"].as_u64().is_some_and(|count| count > 1), "{first}");
        desk.unsent("processes", &json!({"limit": 0}), &ps, &["`limit`", "expected 1 to 2000"])?;
        desk.unsent("processes", &json!({"sort": "age", "reverse": true}), &ps, &["no parameter `reverse`"])?;
        let refused = desk.result("processes", &json!({}), &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        Ok(())
    })
}
