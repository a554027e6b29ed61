use crate::desk::Desk;
use crate::files::{
    cannot_give_away, change, check, fails, give, mode, needs_grants, no_params, no_remains, owner, put,
    twice,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use waft_tests::Result;
use waft_tests::snapshot::Snapshot;

#[test]
fn files_and_directories_are_as_asked() -> Result<()> {
    Desk::each(|desk| {
        let dir = desk.path("srv/app/tmp");
        let made = json!({"path": dir, "state": "directory", "mode": "0750"});
        let told = check(desk, "file", &made, "changed")?;
        assert_eq!(told["changes"].as_array().map(Vec::len), Some(3), "{told}");
        assert_eq!(change(desk, &told, "srv/app/tmp")["mode"], json!([null, "0750"]), "{told}");
        assert_eq!(told["result"]["mode"], "0750", "{told}");
        let answer = twice(desk, "file", &made)?;
        assert_eq!((answer["state"].as_str(), answer["mode"].as_str()), (Some("directory"), Some("0750")));
        assert_eq!((mode(&dir), mode(&desk.path("srv"))), (0o750, 0o750));
        assert_eq!(check(desk, "file", &made, "ok")?["changes"], json!([]));

        let file = dir.join("f");
        put(desk, "srv/app/tmp/f", "");
        give(desk, &file, 0o640);
        // Only what is other than asked is changed, in all of the directory.
        symlink("/nonexistent", dir.join("l")).expect("a symlink");
        let all = json!({"path": desk.path("srv"), "state": "directory", "recurse": true, "mode": "u=rwX,g=rX,o=rX"});
        let told = check(desk, "file", &all, "changed")?;
        assert_eq!(told["changes"].as_array().map(Vec::len), Some(4), "{told}");
        for (name, before, after) in [("srv", "0750", "0755"), ("srv/app/tmp/f", "0640", "0644")] {
            let told = change(desk, &told, name);
            assert_eq!((&told["change"], &told["mode"]), (&json!("mode"), &json!([before, after])), "{told}");
        }
        twice(desk, "file", &all)?;
        assert_eq!((mode(&dir), mode(&file)), (0o755, 0o644));

        needs_grants(desk, "file", &json!({"path": file, "mode": "0600"}))?;
        no_params(desk, "file", &json!({"path": file, "mod": "0644"}), "mod")?;
        cannot_give_away(desk, "file", &json!({"path": file}))?;
        if desk.user().is_none() {
            fails(desk, "file", &json!({"path": dir, "state": "file"}), "file.is_dir", &[])?;
            fails(desk, "file", &json!({"path": file, "mode": "rw"}), "params.mode", &["0644"])?;
            fails(desk, "file", &json!({"path": file, "mode": "4755"}), "file.setid", &[])?;
            fails(desk, "file", &json!({"path": file, "owner": "nobody-of-that-name"}), "file.no_name", &[])?;
        }

        let gone = json!({"path": desk.path("srv"), "state": "absent"});
        let told = check(desk, "file", &gone, "changed")?;
        assert_eq!(told["changes"][0]["change"], "deleted", "{told}");
        assert_eq!(twice(desk, "file", &gone)?["state"], "absent");
        assert!(!desk.path("srv").exists());
        no_remains(desk);
        Ok(())
    })
}

#[test]
fn empty_files_are_made_and_times_set() -> Result<()> {
    Desk::each(|desk| {
        let file = desk.path("f");
        fails(desk, "file", &json!({"path": file}), "file.absent", &["state=touch"])?;
        let new = json!({"path": file, "state": "touch", "mode": "u=rw,g=r,o="});
        let told = check(desk, "file", &new, "changed")?;
        assert_eq!(change(desk, &told, "f")["mode"], json!([null, "0640"]), "{told}");
        desk.answer("file", &new, &[&desk.rw()], true)?;
        assert_eq!((mode(&file), fs::read(&file).expect("a file").len()), (0o640, 0));
        let kept = json!({"path": file, "state": "touch", "modification_time": "preserve", "access_time": "preserve"});
        desk.answer("file", &kept, &[&desk.rw()], false)?;
        let dated =
            json!({"path": file, "state": "touch", "modification_time": "86400", "access_time": "preserve"});
        // Times are the task's own word, and set where it looks at them again.
        assert_eq!(check(desk, "file", &dated, "changed")?["changes"], json!([]));
        twice(desk, "file", &dated)?;
        check(desk, "file", &dated, "ok")?;
        assert_eq!(fs::metadata(&file).expect("a file").mtime(), 86_400);
        // As Ansible has it, and in UTC.
        let dated = json!({"path": file, "state": "touch", "modification_time": "202611211530.01", "access_time": "preserve"});
        twice(desk, "file", &dated)?;
        assert_eq!(fs::metadata(&file).expect("a file").mtime(), 1_795_275_001);
        let beyond = json!({"path": file, "state": "touch", "modification_time": "253402300800"});
        fails(desk, "file", &beyond, "params.time", &["9999"])?;
        desk.answer("file", &json!({"path": file, "state": "touch"}), &[&desk.rw()], true)?;
        assert!(fs::metadata(&file).expect("a file").mtime() > 86_400);
        Ok(())
    })
}

#[test]
fn links_lead_where_asked() -> Result<()> {
    Desk::each(|desk| {
        put(desk, "a", "a\n");
        let link = desk.path("l");
        let to_a = json!({"path": link, "state": "link", "src": "a"});
        let told = check(desk, "file", &to_a, "changed")?;
        let told = change(desk, &told, "l");
        assert_eq!((&told["kind"], &told["change"]), (&json!("symlink"), &json!("created")), "{told}");
        assert_eq!(told["target"], json!([null, "a"]), "{told}");
        assert_eq!(twice(desk, "file", &to_a)?["src"], "a");
        // The mode is that of what it leads to.
        desk.answer("file", &json!({"path": link, "mode": "0600"}), &[&desk.rw()], true)?;
        assert_eq!(mode(&desk.path("a")), 0o600);

        let to_b = json!({"path": link, "state": "link", "src": "b"});
        fails(desk, "file", &to_b, "file.src", &["force=yes"])?;
        let to_b = json!({"path": link, "state": "link", "src": "b", "force": true});
        let told = check(desk, "file", &to_b, "changed")?;
        assert_eq!(change(desk, &told, "l")["target"], json!(["a", "b"]), "{told}");
        assert_eq!(told["changes"].as_array().map(Vec::len), Some(1), "{told}");
        twice(desk, "file", &to_b)?;
        assert_eq!(fs::read_link(&link).expect("a symlink").to_str(), Some("b"));

        let hard = json!({"path": link, "state": "hard", "src": desk.path("a")});
        let told = check(desk, "file", &hard, "changed")?;
        let told = change(desk, &told, "l");
        assert_eq!((&told["kind"], &told["change"]), (&json!("file"), &json!("replaced")), "{told}");
        twice(desk, "file", &hard)?;
        check(desk, "file", &hard, "ok")?;
        assert_eq!(fs::metadata(&link).expect("a file").nlink(), 2);
        fs::create_dir(desk.path("empty")).expect("a directory");
        give(desk, &desk.path("empty"), 0o755);
        let over = json!({"path": desk.path("empty"), "state": "hard", "src": desk.path("a"), "force": true});
        check(desk, "file", &over, "changed")?;
        twice(desk, "file", &over)?;
        put(desk, "c", "c\n");
        let over = json!({"path": desk.path("c"), "state": "link", "src": "a"});
        fails(desk, "file", &over, "file.in_the_way", &["force=yes"])?;
        let over = json!({"path": desk.path("c"), "state": "link", "src": "a", "force": true});
        twice(desk, "file", &over)?;
        // What is in a directory stays, and a dry run says no other than the run.
        put(desk, "full/f", "");
        for (state, src) in [("link", json!("a")), ("hard", json!(desk.path("a")))] {
            let over = json!({"path": desk.path("full"), "state": state, "src": src, "force": true});
            let told = desk.result("file", &over, &[&desk.rw()], &["--check"], 3)?;
            let run = desk.result("file", &over, &[&desk.rw()], &[], 3)?;
            for result in [&told, &run] {
                assert_eq!(result["result"]["error"]["code"], "files.write", "{result}");
            }
            assert!(desk.path("full/f").exists());
        }
        needs_grants(desk, "file", &json!({"path": desk.path("n"), "state": "link", "src": "a"}))?;
        // Only the link goes.
        twice(desk, "file", &json!({"path": desk.path("c"), "state": "absent"}))?;
        assert!(desk.path("a").exists());
        no_remains(desk);
        Ok(())
    })
}

#[test]
fn a_hard_link_that_cannot_be_made_costs_nobody_the_old_file() -> Result<()> {
    let desk = Desk::new()?;
    let old = put(&desk, "old", "old\n");
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let src = elsewhere.path().join("src");
    fs::write(&src, "").expect("a file");
    let device = |path: &std::path::Path| fs::metadata(path).expect("a file").dev();
    assert_ne!(device(&old), device(&src), "the temporary directory is on the same file system as /dev/shm");
    let over = json!({"path": old, "state": "hard", "src": src, "force": true});
    let both = format!("fs:{}:rw", elsewhere.path().display());
    let result = desk.result("file", &over, &[&desk.rw(), &both], &[], 3)?;
    assert_eq!(result["result"]["error"]["code"], "file.cross_device", "{result}");
    assert_eq!(fs::read_to_string(&old).expect("the old file"), "old\n");
    no_remains(&desk);
    Ok(())
}

#[test]
fn root_gives_files_away() -> Result<()> {
    waft_tests::need_root!("files that are given away");
    let desk = Desk::new()?;
    put(&desk, "f", "f\n");
    let given = json!({"path": desk.path("f"), "owner": "65534", "group": "daemon", "mode": "0640"});
    let told = check(&desk, "file", &given, "changed")?;
    let told = change(&desk, &told, "f");
    assert_eq!(told["mode"], json!(["0644", "0640"]), "{told}");
    let owners = told["owner"].as_array().map(|owners| owners.iter().filter_map(Value::as_str).collect());
    let [before, after]: [&str; 2] =
        owners.and_then(|owners: Vec<_>| owners.try_into().ok()).expect("two owners");
    assert!(before == "root:root" && after.ends_with(":daemon"), "{told}");
    assert!(["owner", "mode"].iter().any(|change| told["change"] == *change), "{told}");
    let answer = twice(&desk, "file", &given)?;
    assert_eq!(
        (answer["uid"].as_u64(), answer["group"].as_str()),
        (Some(65_534), Some("daemon")),
        "{answer}"
    );
    assert_eq!((owner(&desk.path("f")), mode(&desk.path("f"))), ((65_534, 1), 0o640));
    Ok(())
}

#[test]
fn where_a_dry_run_has_no_overlay_the_host_says_so() -> Result<()> {
    waft_tests::need_root!("a directory of another group");
    let desk = Desk::ordinary()?;
    put(&desk, "f", "f\n");
    // What an ordinary user's overlay cannot hold.
    std::os::unix::fs::chown(desk.dir(), None, Some(0)).expect("a group");
    let before = Snapshot::take(&[desk.dir()], &[])?;
    let refused = |task: &str, params: Value, code: &str| -> Result<()> {
        let told = desk.result(task, &params, &[&desk.rw()], &["--check"], 5)?;
        assert_eq!((&told["status"], &told["error"]["code"]), (&json!("refused"), &json!(code)), "{told}");
        Ok(())
    };
    refused("file", json!({"path": desk.path("f"), "mode": "0600"}), "grant.check")?;
    refused("file", json!({"path": desk.path("l"), "state": "link", "src": "f"}), "grant.check")?;
    refused("file", json!({"path": desk.path("d"), "state": "directory"}), "check.overlay")?;
    refused("copy", json!({"dest": desk.path("f"), "content": "x"}), "check.overlay")?;
    // Nothing is to be done, so nothing is asked for.
    let told = desk.result(
        "file",
        &json!({"path": desk.path("f"), "mode": "0644"}),
        &[&desk.rw()],
        &["--check"],
        0,
    )?;
    assert_eq!(told["status"], "ok", "{told}");
    let changes = before.diff(&Snapshot::take(&[desk.dir()], &[])?);
    assert!(changes.is_empty(), "a dry run changed:\n{changes}");
    Ok(())
}
