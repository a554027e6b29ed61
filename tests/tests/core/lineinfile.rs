use crate::desk::Desk;
use crate::files::{
    cannot_give_away, check, diffs, fails, has_acl, mode, needs_grants, no_params, no_remains, put, set_acl,
    text, twice,
};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use waft_tests::Result;

#[test]
fn lines_are_there_or_not() -> Result<()> {
    Desk::each(|desk| {
        let path = desk.path("sshd_config");
        let new = json!({"path": path, "line": "Port 1", "create": true, "mode": "0600"});
        fails(
            desk,
            "lineinfile",
            &json!({"path": path, "line": "Port 1"}),
            "files.not_found",
            &["create=yes"],
        )?;
        assert!(diffs(&check(desk, "lineinfile", &new, "changed")?).contains("+Port 1\n"));
        twice(desk, "lineinfile", &new)?;
        assert_eq!((text(&path).as_str(), mode(&path)), ("Port 1\n", 0o600));

        // The mode stays; a symlink is followed, and stays one.
        symlink("sshd_config", desk.path("link")).expect("a symlink");
        let other =
            json!({"path": desk.path("link"), "regexp": "^#?Port ", "line": "Port 22", "backup": true});
        let told = diffs(&check(desk, "lineinfile", &other, "changed")?);
        assert!(told.contains("-Port 1\n+Port 22\n"), "{told}");
        let answer = twice(desk, "lineinfile", &other)?;
        assert_eq!((text(&path).as_str(), mode(&path)), ("Port 22\n", 0o600));
        assert_eq!(text(answer["backup"].as_str().expect("a backup").as_ref()), "Port 1\n");
        assert!(fs::symlink_metadata(desk.path("link")).expect("a link").is_symlink());
        assert_eq!(check(desk, "lineinfile", &other, "ok")?["changes"], json!([]));
        twice(desk, "lineinfile", &json!({"path": path, "line": "# first", "insertbefore": "BOF"}))?;
        assert_eq!(text(&path), "# first\nPort 22\n");

        needs_grants(desk, "lineinfile", &json!({"path": path, "line": "x"}))?;
        no_params(desk, "lineinfile", &json!({"path": path, "lines": "x"}), "lines")?;
        cannot_give_away(desk, "lineinfile", &json!({"path": path, "line": "x"}))?;
        if desk.user().is_none() {
            fails(desk, "lineinfile", &json!({"path": path}), "params.line", &["`line`"])?;
            fails(
                desk,
                "lineinfile",
                &json!({"path": path, "line": "x", "regexp": "("}),
                "params.regexp",
                &["RE2"],
            )?;
            fails(desk, "lineinfile", &json!({"path": desk.dir(), "line": "x"}), "files.kind", &["dir"])?;
            fs::write(desk.path("latin1"), b"\xe4\n").expect("a file");
            fails(
                desk,
                "lineinfile",
                &json!({"path": desk.path("latin1"), "line": "x"}),
                "files.utf8",
                &["byte 0"],
            )?;
        }
        let gone = json!({"path": path, "regexp": "^Port", "state": "absent"});
        assert_eq!(twice(desk, "lineinfile", &gone)?["found"], 1);
        assert_eq!(text(&path), "# first\n");
        no_remains(desk);
        Ok(())
    })
}

#[test]
fn a_file_is_edited_where_the_kernel_finds_it() -> Result<()> {
    Desk::each(|desk| {
        // As deployments have it: `..` by name would lead to the other `shared`.
        put(desk, "app/shared/config", "port 1\n");
        put(desk, "shared/config", "port 1\n");
        put(desk, "app/releases/42/README", "");
        symlink("releases/42", desk.path("app/current")).expect("a symlink");
        symlink("../../shared/config", desk.path("app/releases/42/config")).expect("a symlink");
        let path = desk.path("app/current/config");
        assert_eq!(fs::canonicalize(&path).expect("a file"), desk.path("app/shared/config"));
        let edit = json!({"path": path, "regexp": "^port", "line": "port 2"});
        check(desk, "lineinfile", &edit, "changed")?;
        twice(desk, "lineinfile", &edit)?;
        assert_eq!(text(&desk.path("app/shared/config")), "port 2\n");
        assert_eq!(text(&desk.path("shared/config")), "port 1\n");
        assert_eq!(text(&path), "port 2\n");
        Ok(())
    })
}

#[test]
fn an_acl_and_attributes_are_still_there_afterwards() -> Result<()> {
    let desk = Desk::new()?;
    let path = put(&desk, "config", "port 1\n");
    if !set_acl(&path) {
        eprintln!("SKIPPED (no attributes on this file system): ACLs of files that are replaced");
        return Ok(());
    }
    let edit = json!({"path": path, "regexp": "^port", "line": "port 2"});
    check(&desk, "lineinfile", &edit, "changed")?;
    twice(&desk, "lineinfile", &edit)?;
    assert_eq!(text(&path), "port 2\n");
    has_acl(&path);
    Ok(())
}
