use crate::desk::{Desk, hint};
use serde_json::json;
use waft_tests::Result;

const GRANT: &str = "exec:/bin/sh /dev/fd/3 **";

#[test]
fn a_script_becomes_the_task() -> Result<()> {
    Desk::each(|desk| {
        let params =
            json!({"script": "cat; echo \" $1\"; id -u; exit 4", "args": ["a b"], "params": {"x": [1]}});
        let result = desk.result("script", &params, &[GRANT], &[], 3)?;
        let uid = desk.user().map_or(rustix::process::getuid().as_raw(), |user| user.uid);
        assert_eq!(result["stdout"], format!("{{\"x\":[1]}}\n a b\n{uid}\n"), "{result}");
        assert_eq!(result["exit_code"], 4);
        let params = json!({"script": "echo '{\"changed\": true, \"msg\": \"done\"}'"});
        let answer = desk.answer("script", &params, &[GRANT], true)?;
        assert_eq!(answer["msg"], "done");
        Ok(())
    })
}

#[test]
fn what_is_wrong_with_a_script_is_said() -> Result<()> {
    let desk = Desk::new()?;
    let refused = desk.result("script", &json!({"script": ":"}), &[], &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    let other = json!({"script": ":", "interpreter": ["/bin/dash", "-e"]});
    let refused = desk.result("script", &other, &[GRANT], &[], 5)?;
    assert!(hint(&refused).ends_with("--allow \"exec:/bin/dash -e /dev/fd/3\""), "{refused}");
    let dry = desk.result("script", &json!({"script": ":"}), &[GRANT], &["--check"], 5)?;
    assert_eq!(dry["error"]["code"], "grant.check", "{dry}");
    for (bad, word) in [
        (json!({"script": 1}), "`script`"),
        (json!({}), "`script`"),
        (json!({"script": ":", "interpreter": []}), "`interpreter`"),
        (json!({"script": ":", "x": 1}), "`x`"),
    ] {
        desk.unsent("script", &bad, &[GRANT], &[word])?;
    }
    Ok(())
}
