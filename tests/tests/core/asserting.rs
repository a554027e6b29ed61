use crate::desk::Desk;
use serde_json::json;
use waft_tests::Result;

#[test]
fn assert_is_about_facts_and_values() -> Result<()> {
    Desk::each(|desk| {
        let that = [
            "facts.system == 'Linux' and facts.memtotal_mb > 1",
            "stage in ['a', 'b']",
            "not facts.none is defined",
        ];
        let params = json!({"that": that, "vars": {"stage": "b"}, "success_msg": "Fine."});
        for words in [&[][..], &["--check"]] {
            let done = desk.result("assert", &params, &["facts"], words, 0)?;
            assert_eq!((&done["status"], &done["result"]["msg"]), (&json!("ok"), &json!("Fine.")), "{done}");
            assert_eq!(done["result"]["assertions"], 3, "{done}");
        }
        let params = json!({"that": "facts.system == 'Plan 9'", "fail_msg": "Wrong system."});
        let failed = desk.result("assert", &params, &["facts"], &[], 3)?;
        let error = &failed["result"]["error"];
        assert_eq!(error["code"], "assert.failed", "{failed}");
        assert!(error["message"].as_str().is_some_and(|said| said.starts_with("Wrong system.")), "{failed}");
        // Facts are a grant, and asked for only where an expression speaks of them.
        let refused = desk.result("assert", &params, &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        desk.answer("assert", &json!({"that": "1 + 1 == 2"}), &[], false)?;
        desk.unsent("assert", &json!({"that": "true", "message": "x"}), &[], &["no parameter `message`"])?;
        desk.unsent("assert", &json!({}), &[], &["`that` of assert is missing"])?;
        for (that, code) in
            [("1 +", "params.invalid"), ("x == 1", "assert.value"), ("1 | nofilter", "assert.value")]
        {
            let bad = desk.result("assert", &json!({"that": that}), &[], &[], 3)?;
            assert_eq!(bad["result"]["error"]["code"], code, "{bad}");
        }
        Ok(())
    })
}
