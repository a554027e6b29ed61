//! Files of an ordinary account that are of a group which is not its first.

use crate::whole::Whole;
use serde_json::json;
use std::os::unix::fs::{MetadataExt, chown};
use waft_tests::machine::ORDINARY;
use waft_tests::{Result, need_root};

/// A group that the account is in beside its own.
const WEB: u32 = 61_234;

#[test]
fn a_dry_run_says_that_it_cannot_hold_a_file_of_another_group() -> Result<()> {
    need_root!("a target whose account is in two groups");
    let whole = Whole::ordinary()?;
    whole.write("/etc/group", &(whole.read("/etc/group") + &format!("web:x:{WEB}:{ORDINARY}\n")));
    let page = format!("/home/{ORDINARY}/page");
    whole.write(&page, "text\n");
    let home = std::fs::metadata(whole.path(&format!("/home/{ORDINARY}"))).expect("a home");
    chown(whole.path(&page), Some(home.uid()), Some(WEB)).expect("an owner");

    let params = json!({"path": page, "mode": "0640"});
    let grants = [format!("fs:/home/{ORDINARY}:rw")];
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    let refused = whole.result("file", &params, &grants, &["--check"], 3)?;
    let error = &refused["result"]["error"];
    assert_eq!(error["code"], "file.owner", "{refused}");
    assert!(error["message"].as_str().is_some_and(|said| said.contains("group has no number")), "{refused}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("a real run")), "{refused}");

    let done = whole.result("file", &params, &grants, &[], 0)?;
    assert_eq!(done["status"], "changed", "{done}");
    let file = std::fs::metadata(whole.path(&page)).expect("a file");
    assert_eq!((file.mode() & 0o777, file.gid()), (0o640, WEB));
    Ok(())
}
