use crate::desk::Desk;
use crate::files::{check, fails, give, needs_grant, no_params, put};
use serde_json::{Value, json};
use std::fs::File;
use std::time::{Duration, SystemTime};
use waft_tests::Result;

fn paths(desk: &Desk, answer: &Value) -> Vec<String> {
    let files = answer["files"].as_array().expect("files").iter();
    let below = desk.dir().as_os_str().len() + 1;
    files.map(|file| file["path"].as_str().expect("a path")[below..].to_owned()).collect()
}

#[test]
fn files_are_found_by_what_they_are() -> Result<()> {
    Desk::each(|desk| {
        put(desk, "a.log", "one\nneedle\n");
        put(desk, "sub/b.log", &"x".repeat(5_000));
        put(desk, "sub/deep/c.txt", "c");
        put(desk, ".hidden/d.log", "d");
        put(desk, ".hidden/.e.log", "e");
        std::os::unix::fs::symlink("/", desk.path("root")).expect("a symlink");
        let week = SystemTime::now() - Duration::from_secs(8 * 86_400);
        File::options()
            .write(true)
            .open(desk.path("sub/b.log"))
            .expect("a file")
            .set_modified(week)
            .expect("a time");

        let found = |params: Value| {
            let mut all = json!({"paths": desk.dir(), "recurse": true});
            all.as_object_mut().expect("an object").extend(params.as_object().expect("an object").clone());
            let answer = desk.answer("find", &all, &[&format!("fs:{}", desk.dir().display())], false)?;
            assert_eq!(
                answer["matched"].as_u64(),
                answer["files"].as_array().map(|files| files.len() as u64)
            );
            Ok::<_, waft_tests::Error>((paths(desk, &answer), answer))
        };
        let (all, answer) = found(json!({}))?;
        assert_eq!(all, [".hidden/d.log", "a.log", "sub/b.log", "sub/deep/c.txt"]);
        assert_eq!(
            (answer["files"][2]["size"].as_u64(), answer["files"][2]["mode"].as_str()),
            (Some(5_000), Some("0644"))
        );
        assert_eq!(found(json!({"patterns": ["*.log"], "age": "1w"}))?.0, ["sub/b.log"]);
        let few = json!({"patterns": "*.log,*.txt", "size": "-1k", "excludes": "c*"});
        assert_eq!(found(few)?.0, [".hidden/d.log", "a.log"]);
        for (contains, names) in
            [("nee?d.e$", &["a.log"][..]), (".*dle", &["a.log"]), ("eedle", &[]), ("one\nneedle", &[])]
        {
            assert_eq!(found(json!({"contains": contains}))?.0, names, "{contains}");
        }
        assert_eq!(found(json!({"file_type": "directory"}))?.0, ["sub", "sub/deep"]);
        assert_eq!(found(json!({"file_type": "link"}))?.0, ["root"]);
        assert_eq!(
            found(json!({"hidden": true, "patterns": "d*", "file_type": "any"}))?.0,
            [".hidden/d.log", "sub/deep"]
        );

        let few = json!({"paths": desk.dir(), "recurse": true, "limit": 1});
        let told = check(desk, "find", &few, "ok")?["result"].clone();
        assert_eq!((told["truncated"].as_bool(), told["matched"].as_u64()), (Some(true), Some(4)), "{told}");
        needs_grant(desk, "find", &few)?;
        no_params(desk, "find", &json!({"paths": desk.dir(), "ages": "1d"}), "ages")?;
        fails(
            desk,
            "find",
            &json!({"paths": desk.dir(), "contains": "("}),
            "params.contains",
            &["contains"],
        )?;
        if !desk.is_root() {
            // What the account may not read is told, and the rest is found.
            give(desk, &desk.path("sub/deep"), 0o0);
            let (all, answer) = found(json!({}))?;
            assert_eq!(all, [".hidden/d.log", "a.log", "sub/b.log"]);
            assert!(
                answer["skipped_paths"][0]["path"].as_str().is_some_and(|path| path.ends_with("sub/deep")),
                "{answer}"
            );
            give(desk, &desk.path("sub/deep"), 0o755);
        }
        Ok(())
    })
}
