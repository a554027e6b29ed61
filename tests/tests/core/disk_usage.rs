use crate::desk::Desk;
use crate::files::{check, fails, needs_grant, no_params, put};
use serde_json::json;
use waft_tests::Result;

#[test]
fn room_and_sums_are_told() -> Result<()> {
    Desk::each(|desk| {
        put(desk, "a/big", &"x".repeat(10_000));
        put(desk, "a/b/small", "x");
        put(desk, "c", &"x".repeat(500));
        let params = json!({"path": desk.dir(), "sums": true, "largest": 3});
        let answer = check(desk, "disk_usage", &params, "ok")?["result"]["paths"][0].clone();
        assert_eq!((answer["bytes"].as_u64(), answer["files"].as_u64()), (Some(10_501), Some(3)), "{answer}");
        assert_eq!(answer["directories"], 2);
        let below = |at: usize| {
            answer["largest"][at]["path"].as_str().map(|path| path[desk.dir().as_os_str().len()..].to_owned())
        };
        assert_eq!([below(0), below(1), below(2)].map(Option::unwrap_or_default), ["/a", "/a/big", "/c"]);
        let space = rustix::fs::statvfs(desk.dir()).expect("a file system");
        assert_eq!(answer["size_total"].as_u64(), Some(space.f_blocks * space.f_frsize), "{answer}");
        assert!(answer["used_percent"].as_f64().is_some_and(|used| (0.0..=100.0).contains(&used)));
        needs_grant(desk, "disk_usage", &params)?;
        no_params(desk, "disk_usage", &json!({"path": desk.dir(), "sum": true}), "sum")?;
        if answer["used_percent"].as_f64().is_some_and(|used| used > 0.1) {
            fails(
                desk,
                "disk_usage",
                &json!({"path": desk.dir(), "max_used_percent": 0}),
                "disk_usage.full",
                &["0 %"],
            )?;
        }
        Ok(())
    })
}
