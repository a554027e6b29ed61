use crate::desk::Desk;
use crate::files::{check, fails, give, needs_grant, no_params, put};
use serde_json::json;
use std::fs;
use waft_tests::Result;

#[test]
fn trees_have_the_hash_of_what_is_in_them() -> Result<()> {
    Desk::each(|desk| {
        for tree in ["one", "two"] {
            put(desk, &format!("{tree}/a"), "abc");
            put(desk, &format!("{tree}/sub/b"), &"x".repeat(300_000));
            put(desk, &format!("{tree}/n.log"), tree);
            std::os::unix::fs::symlink("a", desk.path(tree).join("l")).expect("a symlink");
        }
        let answer =
            |params| desk.answer("hash_tree", &params, &[&format!("fs:{}", desk.dir().display())], false);
        let [one, two] =
            ["one", "two"].map(|tree| answer(json!({"path": desk.path(tree), "excludes": "*.log"})));
        let (one, two) = (one?, two?);
        assert_eq!(one["hash"], two["hash"]);
        assert_eq!((one["count"].as_u64(), one["bytes"].as_u64()), (Some(4), Some(300_003)), "{one}");
        // As sha256sum(1) has it.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            (one["files"][0]["path"].as_str(), one["files"][0]["sha256"].as_str()),
            (Some("a"), Some(sum))
        );
        assert_eq!(one["files"][1]["target"], "a", "{one}");

        let hash = one["hash"].as_str().expect("a hash");
        let same = json!({"path": desk.path("two"), "excludes": ["*.log"], "expected": hash});
        check(desk, "hash_tree", &same, "ok")?;
        give(desk, &desk.path("two/a"), 0o600);
        fails(desk, "hash_tree", &same, "hash_tree.other", &[hash])?;
        let modeless =
            |tree| answer(json!({"path": desk.path(tree), "excludes": "*.log", "modes": false, "limit": 1}));
        let (one, two) = (modeless("one")?, modeless("two")?);
        assert!(one["hash"] == two["hash"] && one["hash"] != hash && one["truncated"] == true, "{one}");
        fs::remove_file(desk.path("two/l")).expect("a symlink");
        assert_ne!(modeless("two")?["hash"], one["hash"]);
        needs_grant(desk, "hash_tree", &same)?;
        no_params(desk, "hash_tree", &json!({"path": desk.dir(), "hash": "x"}), "hash")?;
        if desk.user().is_none() {
            fails(desk, "hash_tree", &json!({"path": desk.path("gone")}), "hash_tree.not_found", &[])?;
        } else {
            give(desk, &desk.path("two/sub"), 0o0);
            fails(desk, "hash_tree", &same, "hash_tree.unread", &["sub", "excludes"])?;
            give(desk, &desk.path("two/sub"), 0o755);
        }
        Ok(())
    })
}
