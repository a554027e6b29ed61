use crate::desk::Desk;
use serde_json::json;
use waft_tests::Result;

#[test]
fn facts_are_those_that_were_asked_for() -> Result<()> {
    Desk::each(|desk| {
        let facts = desk.answer("facts", &json!({"filter": ["kernel", "user_id"]}), &["facts"], false)?;
        assert_eq!(facts["facts"].as_object().map(|facts| facts.len()), Some(2), "{facts}");
        let user = match (desk.user(), desk.is_root()) {
            (Some(user), _) => user.name.clone(),
            (None, true) => "root".to_owned(),
            (None, false) => std::env::var("USER").expect("a name"),
        };
        assert_eq!(facts["facts"]["user_id"], json!(user));
        let dry = desk.result("facts", &json!({"filter": "kernel"}), &["facts"], &["--check"], 0)?;
        assert_eq!(
            (&dry["status"], &dry["result"]["facts"]["kernel"]),
            (&json!("ok"), &facts["facts"]["kernel"])
        );
        desk.unsent("facts", &json!({"filter": 1}), &["facts"], &["`filter`"])?;
        desk.unsent("facts", &json!({"fliter": "kernel"}), &["facts"], &["did you mean `filter`?"])?;
        let refused = desk.result("facts", &json!({}), &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        Ok(())
    })
}
