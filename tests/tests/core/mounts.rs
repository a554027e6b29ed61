use crate::desk::Desk;
use serde_json::json;
use waft_tests::Result;

#[test]
fn mounts_are_told() -> Result<()> {
    Desk::each(|desk| {
        let all = desk.answer("mounts", &json!({}), &["facts"], false)?;
        let all = all["mounts"].as_array().cloned().unwrap_or_default();
        let root = all.iter().find(|mount| mount["mount"] == "/").expect("the root of all");
        let one = desk.answer("mounts", &json!({"path": "/"}), &["facts"], false)?;
        let one = one["mounts"].as_array().cloned().unwrap_or_default();
        assert_eq!(one.len(), 1, "{one:?}");
        // How much room there is, is another figure each time.
        for field in ["mount", "device", "fstype", "size_total"] {
            assert_eq!(one[0][field], root[field], "{field}");
        }
        let none = desk.answer("mounts", &json!({"fstype": ["no-such-type"]}), &["facts"], false)?;
        assert_eq!(none["mounts"], json!([]));
        let refused = desk.result("mounts", &json!({}), &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        let wrong = desk.result("mounts", &json!({"path": "srv"}), &["facts"], &[], 3)?;
        assert_eq!(wrong["result"]["error"]["code"], "params.path", "{wrong}");
        let unknown = desk.run("mounts", &json!({"paths": "/"}), &["facts"], &[])?.expect_code(2)?;
        assert!(unknown.stderr().contains("`paths`"), "{unknown}");
        assert_eq!(desk.result("mounts", &json!({}), &["facts"], &["--check"], 0)?["status"], "ok");
        Ok(())
    })
}
