use crate::desk::Desk;
use crate::files::{
    cannot_give_away, change, check, diffs, fails, mode, needs_grants, no_params, no_remains, owner, put,
    text, twice,
};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use waft_tests::Result;

#[test]
fn files_have_the_content_that_they_are_given() -> Result<()> {
    Desk::each(|desk| {
        let dest = desk.path("app.conf");
        let first = json!({"dest": dest, "content": "port = 1\nhost = a\n", "mode": "0640"});
        let told = check(desk, "copy", &first, "changed")?;
        assert!(diffs(&told).contains("+port = 1\n"));
        assert_eq!(change(desk, &told, "app.conf")["mode"], json!([null, "0640"]), "{told}");
        assert_eq!(
            (&told["result"]["mode"], &told["result"]["size"]),
            (&json!("0640"), &json!(18)),
            "{told}"
        );
        let answer = twice(desk, "copy", &first)?;
        assert_eq!((answer["mode"].as_str(), answer["size"].as_u64()), (Some("0640"), Some(18)), "{answer}");
        assert_eq!((text(&dest).as_str(), mode(&dest)), ("port = 1\nhost = a\n", 0o640));
        assert_eq!(check(desk, "copy", &first, "ok")?["changes"], json!([]));

        // The mode stays, and the old file when that is asked for.
        let owned = owner(&dest);
        let second = json!({"dest": dest, "content": "port = 2\nhost = a\n", "backup": true});
        let told = check(desk, "copy", &second, "changed")?;
        assert!(diffs(&told).contains("-port = 1\n+port = 2\n host = a\n"), "{told}");
        assert_eq!(change(desk, &told, "app.conf")["mode"], json!(null), "{told}");
        // It and its backup, and nothing of what was beside it for a moment.
        assert_eq!(told["changes"].as_array().map(Vec::len), Some(2), "{told}");
        let answer = twice(desk, "copy", &second)?;
        assert_eq!((text(&dest).as_str(), mode(&dest), owner(&dest)), ("port = 2\nhost = a\n", 0o640, owned));
        let backup = answer["backup_file"].as_str().expect("a name");
        assert!(backup.starts_with(dest.to_str().expect("UTF-8")) && backup.ends_with('~'), "{backup}");
        assert_eq!(text(backup.as_ref()), "port = 1\nhost = a\n");

        let other = json!({"dest": dest, "content": "", "force": false});
        desk.answer("copy", &other, &[&desk.rw()], false)?;
        let closed = json!({"dest": dest, "content": "port = 2\nhost = a\n", "mode": "0600"});
        let told = check(desk, "copy", &closed, "changed")?;
        let told = change(desk, &told, "app.conf");
        assert_eq!((&told["change"], &told["mode"]), (&json!("mode"), &json!(["0640", "0600"])), "{told}");
        if desk.is_root() {
            let given = json!({"dest": dest, "content": "x", "owner": "65534"});
            let told = check(desk, "copy", &given, "changed")?;
            let owners = &change(desk, &told, "app.conf")["owner"];
            assert!(owners[0] == "root:root" && owners[1].is_string(), "{told}");
        }
        desk.answer("copy", &closed, &[&desk.rw()], true)?;
        assert_eq!(mode(&dest), 0o600);

        needs_grants(desk, "copy", &json!({"dest": dest, "content": "x"}))?;
        no_params(desk, "copy", &json!({"dest": dest, "contents": "x"}), "contents")?;
        cannot_give_away(desk, "copy", &json!({"dest": dest, "content": "x"}))?;
        if desk.user().is_some() {
            // Granted, and yet not his.
            fs::create_dir(desk.path("locked")).expect("a directory");
            let there = json!({"dest": desk.path("locked/f"), "content": "x"});
            fails(desk, "copy", &there, "files.denied", &["locked", "the account on the target may not"])?;
        } else {
            fails(desk, "copy", &json!({"dest": desk.dir(), "content": "x"}), "files.is_dir", &[])?;
            let nowhere = json!({"dest": desk.path("no/f"), "content": "x"});
            fails(desk, "copy", &nowhere, "files.not_found", &["make the directory"])?;
            fails(desk, "copy", &json!({"dest": dest}), "params.source", &["src@FILE"])?;
        }
        no_remains(desk);
        Ok(())
    })
}

#[test]
fn set_uid_is_not_taken_from_a_file_without_a_word() -> Result<()> {
    Desk::each(|desk| {
        let path = put(desk, "tool", "old");
        let set_uid = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(&path, set_uid).expect("a mode");
        let same = json!({"dest": path, "content": "old"});
        desk.answer("copy", &same, &[&desk.rw()], false)?;
        let other = json!({"dest": path, "content": "new"});
        let line = json!({"path": path, "line": "new"});
        for (task, params) in [("copy", &other), ("template", &other), ("lineinfile", &line)] {
            fails(desk, task, params, "files.setid", &["tool", "`mode`", "0755"])?;
            let dry = desk.result(task, params, &[&desk.rw()], &["--check"], 3)?;
            assert_eq!(dry["result"]["error"]["code"], "files.setid", "{dry}");
        }
        assert_eq!((text(&path).as_str(), mode(&path)), ("old", 0o4755));
        twice(desk, "copy", &json!({"dest": path, "content": "new", "mode": "0755"}))?;
        assert_eq!((text(&path).as_str(), mode(&path)), ("new", 0o755));
        no_remains(desk);
        Ok(())
    })
}

#[test]
fn files_come_from_the_controller_and_from_the_target() -> Result<()> {
    Desk::each(|desk| {
        let here = tempfile::tempdir().expect("a directory");
        let source = here.path().join("data.bin");
        // More than one piece, and no text.
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(&source, &bytes).expect("a file");
        let flag = format!("src@{}", source.display());
        let params = json!({"dest": format!("{}/", desk.dir().display())});
        for status in ["changed", "ok"] {
            let result = desk.result("copy", &params, &[&desk.rw()], &["-p", &flag], 0)?;
            assert_eq!(result["status"], status, "{result}");
        }
        let there = desk.path("data.bin");
        assert!(fs::read(&there).expect("a file") == bytes);
        fs::set_permissions(&there, fs::Permissions::from_mode(0o604)).expect("a mode");
        // One bit, at the end.
        let mut other = bytes.clone();
        *other.last_mut().expect("bytes") ^= 1;
        fs::write(&source, &other).expect("a file");
        desk.result("copy", &params, &[&desk.rw()], &["-p", &flag], 0)?;
        assert!(fs::read(&there).expect("a file") == other);

        let copied = json!({"dest": desk.path("copy"), "remote_src": there, "mode": "preserve"});
        twice(desk, "copy", &copied)?;
        assert!(fs::read(desk.path("copy")).expect("a file") == other);
        assert_eq!(mode(&desk.path("copy")), 0o604);
        fails(
            desk,
            "copy",
            &json!({"dest": desk.path("x"), "remote_src": desk.dir()}),
            "files.kind",
            &["dir"],
        )?;
        no_remains(desk);
        Ok(())
    })
}
