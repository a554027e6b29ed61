use crate::desk::Desk;
use crate::files::{cannot_give_away, check, diffs, fails, needs_grants, no_params, no_remains, text, twice};
use serde_json::json;
use std::fs;
use waft_tests::Result;

#[test]
fn blocks_are_there_or_not() -> Result<()> {
    Desk::each(|desk| {
        let path = desk.path("hosts");
        let one = json!({"path": path, "block": "10.0.0.5 db1\n10.0.0.6 db2\n", "create": true});
        twice(desk, "blockinfile", &one)?;
        let first =
            "# BEGIN ANSIBLE MANAGED BLOCK\n10.0.0.5 db1\n10.0.0.6 db2\n# END ANSIBLE MANAGED BLOCK\n";
        assert_eq!(text(&path), first);
        let two = json!({"path": path, "block": "10.0.0.5 db1"});
        assert!(diffs(&check(desk, "blockinfile", &two, "changed")?).contains("\n-10.0.0.6 db2\n"));
        twice(desk, "blockinfile", &two)?;
        let gone = json!({"path": path, "state": "absent"});
        twice(desk, "blockinfile", &gone)?;
        assert_eq!(text(&path), "");

        needs_grants(desk, "blockinfile", &two)?;
        no_params(desk, "blockinfile", &json!({"path": path, "blocks": "x"}), "blocks")?;
        cannot_give_away(desk, "blockinfile", &two)?;
        if desk.user().is_none() {
            fs::write(&path, "# BEGIN ANSIBLE MANAGED BLOCK\n").expect("a file");
            fails(desk, "blockinfile", &two, "blockinfile.marker", &["line 1", "by hand"])?;
            fails(
                desk,
                "blockinfile",
                &json!({"path": path, "block": "x", "marker": "#"}),
                "params.marker",
                &["{mark}"],
            )?;
        }
        no_remains(desk);
        Ok(())
    })
}
