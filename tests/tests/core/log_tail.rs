use crate::desk::Desk;
use crate::files::{check, fails, needs_grant, no_params, put};
use serde_json::json;
use std::fs;
use std::io::Write;
use waft_tests::Result;

#[test]
fn last_lines_are_told_and_none_twice() -> Result<()> {
    Desk::each(|desk| {
        let path = put(desk, "app.log", &("fine\n".repeat(1_000) + "an ERROR\nlast\npart"));
        let read = |params| {
            let answer =
                desk.answer("log_tail", &params, &[&format!("fs:{}", desk.dir().display())], false)?;
            Ok::<_, waft_tests::Error>(answer["files"][0].clone())
        };
        let first = read(json!({"path": path, "lines": 2}))?;
        assert_eq!(
            (&first["lines"], &first["truncated"]),
            (&json!(["an ERROR", "last"]), &json!(true)),
            "{first}"
        );
        assert_eq!(read(json!({"path": path, "pattern": "ERROR"}))?["lines"], json!(["an ERROR"]));
        let mut file = fs::File::options().append(true).open(&path).expect("a file");
        file.write_all(b"ly\nnew\n").expect("more");
        let since = json!({"path": path, "since": first["offset"], "inode": first["inode"]});
        let second = read(since.clone())?;
        assert_eq!(
            (&second["lines"], &second["rotated"]),
            (&json!(["partly", "new"]), &json!(false)),
            "{second}"
        );
        fs::rename(&path, desk.path("app.log.1")).expect("a rename");
        put(desk, "app.log", "again\n");
        let third = check(desk, "log_tail", &since, "ok")?["result"]["files"][0].clone();
        assert_eq!((&third["lines"], &third["rotated"]), (&json!(["again"]), &json!(true)), "{third}");
        needs_grant(desk, "log_tail", &since)?;
        no_params(desk, "log_tail", &json!({"path": path, "line": 1}), "line")?;
        fails(desk, "log_tail", &json!({"path": desk.dir()}), "files.kind", &["dir"])
    })
}
