use crate::desk::Desk;
use crate::files::{change, check, fails, give, mode, needs_grants, no_params, no_remains, put, text, twice};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use waft_tests::Result;
use waft_tests::process::run_tool;

/// A tree of files, a symlink and modes.
fn tree(desk: &Desk) {
    put(desk, "app/bin/run", "#!/bin/sh\n");
    give(desk, &desk.path("app/bin/run"), 0o755);
    put(desk, "app/etc/app.conf", &"key = value\n".repeat(20_000));
    put(desk, "app/run.log", "log\n");
    std::os::unix::fs::symlink("bin/run", desk.path("app/current")).expect("a symlink");
}

fn empty(desk: &Desk, name: &str) -> std::path::PathBuf {
    let dir = desk.path(name);
    fs::create_dir(&dir).expect("a directory");
    give(desk, &dir, 0o755);
    dir
}

fn same(desk: &Desk, dir: &Path) {
    for name in ["bin/run", "etc/app.conf"] {
        assert_eq!(text(&dir.join(name)), text(&desk.path("app").join(name)));
        assert_eq!(mode(&dir.join(name)), mode(&desk.path("app").join(name)), "{name}");
    }
    assert_eq!(fs::read_link(dir.join("current")).expect("a symlink").to_str(), Some("bin/run"));
    assert!(!dir.join("run.log").exists());
}

#[test]
fn what_is_packed_is_unpacked_and_others_read_it() -> Result<()> {
    Desk::each(|desk| {
        tree(desk);
        let formats = ["tar.gz", "tar", "tar.zst", "zip"];
        // Who packs makes no difference to the formats.
        for format in formats.into_iter().take(if desk.user().is_none() { 4 } else { 1 }) {
            let archive = desk.path(&format!("app.{format}"));
            let pack = json!({"path": desk.path("app"), "dest": archive, "exclude": "*.log", "mode": "0640"});
            if format == "tar.gz" {
                check(desk, "archive", &pack, "changed")?;
            }
            assert_eq!(twice(desk, "archive", &pack)?["count"], 6, "{format}");
            assert_eq!(mode(&archive), 0o640);
            let dir = empty(desk, &format!("out-{format}"));
            let unpack = json!({"remote_src": archive, "dest": dir, "strip_components": 1});
            if format == "tar.gz" {
                let told = check(desk, "unarchive", &unpack, "changed")?;
                assert_eq!(told["result"]["written"], 5, "{told}");
                let run = change(desk, &told, "out-tar.gz/bin/run");
                assert_eq!(run["mode"], json!([null, "0755"]), "{told}");
                let current = change(desk, &told, "out-tar.gz/current");
                assert_eq!(
                    (&current["kind"], &current["target"]),
                    (&json!("symlink"), &json!([null, "bin/run"]))
                );
            }
            assert_eq!(twice(desk, "unarchive", &unpack)?["written"], 5, "{format}");
            same(desk, &dir);
        }
        // tar(1) reads what was packed here.
        let dir = empty(desk, "out-gnu");
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(desk.path("app.tar.gz")).arg("-C").arg(&dir).arg("--strip-components=1");
        run_tool(tar, b"")?;
        same(desk, &dir);

        // A changed file, and only that, is written.
        put(desk, "out-tar.gz/etc/app.conf", &"key = other\n".repeat(20_000));
        let again = json!({"remote_src": desk.path("app.tar.gz"), "dest": desk.path("out-tar.gz"), "strip_components": 1});
        assert_eq!(twice(desk, "unarchive", &again)?["written"], 1);
        same(desk, &desk.path("out-tar.gz"));

        // Of two directories each keeps what the other has not, also when they have one name.
        put(desk, "srv/a/conf/x", "a");
        put(desk, "srv/b/conf/x", "b");
        let both = desk.path("both.tar.gz");
        let paths = [desk.path("srv/a/conf"), desk.path("srv/b/conf"), desk.path("srv/b/conf/x")];
        assert_eq!(twice(desk, "archive", &json!({"path": paths, "dest": both}))?["count"], 4);
        let mut tar = Command::new("tar");
        tar.arg("-tzf").arg(&both);
        let listed = run_tool(tar, b"")?;
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["a/conf/", "a/conf/x", "b/conf/", "b/conf/x"]);
        // A single file is compressed as gzip(1) does it, and put into a tar where the name says so.
        for (name, words) in [("one.gz", "-dc"), ("one.tgz", "-xzOf")] {
            let one = desk.path(name);
            twice(desk, "archive", &json!({"path": desk.path("app/etc/app.conf"), "dest": one}))?;
            let mut tool = Command::new(if name == "one.gz" { "gzip" } else { "tar" });
            tool.arg(words).arg(&one);
            assert_eq!(run_tool(tool, b"")?, text(&desk.path("app/etc/app.conf")), "{name}");
        }

        needs_grants(desk, "archive", &json!({"path": desk.path("app"), "dest": desk.path("new.tar")}))?;
        needs_grants(
            desk,
            "unarchive",
            &json!({"remote_src": desk.path("app.tar.gz"), "dest": empty(desk, "none")}),
        )?;
        no_params(
            desk,
            "archive",
            &json!({"path": desk.dir(), "dest": "x", "exclude_path": "y"}),
            "exclude_path",
        )?;
        no_params(desk, "unarchive", &json!({"dest": desk.dir(), "source": "x"}), "source")?;
        if desk.user().is_none() {
            let gone = json!({"path": desk.path("gone"), "dest": desk.path("gone.tar")});
            fails(desk, "archive", &gone, "archive.empty", &["gone"])?;
        }
        no_remains(desk);
        Ok(())
    })
}

/// An archive that tar(1) made here, sent to the target.
fn sent(desk: &Desk, archive: &Path, params: Value, code: i32) -> Result<Value> {
    let flag = format!("src@{}", archive.display());
    desk.result("unarchive", &params, &[&desk.rw()], &["-p", &flag], code)
}

#[test]
fn nothing_is_unpacked_outside_of_the_directory() -> Result<()> {
    Desk::each(nothing_outside)
}

fn nothing_outside(desk: &Desk) -> Result<()> {
    let here = tempfile::tempdir().expect("a directory");
    let source = here.path().join("source");
    fs::create_dir_all(source.join("sub")).expect("a directory");
    fs::write(source.join("sub/f"), "text\n").expect("a file");
    fs::hard_link(source.join("sub/f"), source.join("sub/g")).expect("a link");
    let pack = |name: &str, words: &[&str]| {
        let archive = here.path().join(name);
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(&source).args(words);
        run_tool(tar, b"").map(|_| archive)
    };
    let dest = empty(desk, "dest");
    let params = json!({"dest": dest});
    let good = pack("good.tar", &["sub"])?;
    let owner = desk.user().map_or(rustix::process::getuid().as_raw(), |user| user.uid).to_string();
    let result = sent(desk, &good, json!({"dest": dest, "list_files": true, "owner": owner}), 0)?;
    assert_eq!(result["result"]["files"], json!(["sub", "sub/f", "sub/g"]), "{result}");
    assert_eq!(text(&dest.join("sub/g")), "text\n");
    assert_eq!(sent(desk, &good, params.clone(), 0)?["status"], "ok");
    fs::remove_dir_all(dest.join("sub")).expect("a directory");

    std::os::unix::fs::symlink("/etc", source.join("abs")).expect("a symlink");
    std::os::unix::fs::symlink("../..", source.join("sub/up")).expect("a symlink");
    // Each for itself stays inside: `s` is the directory, and so what is above `s` is not; `h` is `s`, and nearer to it.
    fs::create_dir_all(source.join("deep/er")).expect("a directory");
    std::os::unix::fs::symlink("../..", source.join("deep/er/s")).expect("a symlink");
    std::os::unix::fs::symlink("deep/er/s/../../../etc", source.join("m")).expect("a symlink");
    fs::hard_link(source.join("deep/er/s"), source.join("h")).expect("a link");
    fs::File::create(source.join("hole")).and_then(|file| file.set_len(1 << 20)).expect("a file");
    for (name, words, code) in [
        ("sparse.tar", &["--sparse", "--format=posix", "hole"][..], "unarchive.kind"),
        ("sparse-gnu.tar", &["--sparse", "--format=gnu", "hole"], "unarchive.kind"),
        ("up.tar", &["--transform=s,^sub,../out,", "sub/f"], "unarchive.escape"),
        ("absolute.tar", &["-P", "--transform=s,^sub,/tmp/out,", "sub/f"], "unarchive.escape"),
        ("link.tar", &["sub/f", "abs"], "unarchive.escape"),
        ("link-up.tar", &["sub/f", "sub/up"], "unarchive.escape"),
        ("link-through.tar", &["sub/f", "deep", "m"], "unarchive.escape"),
        ("link-linked.tar", &["sub/f", "deep", "h"], "unarchive.escape"),
    ] {
        let result = sent(desk, &pack(name, words)?, params.clone(), 3)?;
        assert_eq!(result["result"]["error"]["code"], code, "{name}: {result}");
        assert_eq!(fs::read_dir(&dest).expect("a directory").count(), 0, "{name}");
    }
    // A hard link to what is not there: what has its name stays.
    let alone = pack("alone.tar", &["sub/f", "sub/g"])?;
    let mut tar = Command::new("tar");
    tar.arg("--delete").arg("-f").arg(&alone).arg("sub/f");
    run_tool(tar, b"")?;
    put(desk, "dest/sub/g", "old");
    let lost = sent(desk, &alone, params.clone(), 3)?;
    assert_eq!(lost["result"]["error"]["code"], "unarchive.link", "{lost}");
    assert_eq!(text(&dest.join("sub/g")), "old");
    // And makes way for one that can be made.
    assert_eq!(sent(desk, &good, params.clone(), 0)?["status"], "changed");
    assert_eq!(text(&dest.join("sub/g")), "text\n");
    assert_eq!(fs::read_dir(dest.join("sub")).expect("a directory").count(), 2, "nothing else is left");
    fs::remove_dir_all(dest.join("sub")).expect("a directory");
    let large = sent(desk, &good, json!({"dest": dest, "max_bytes": 4}), 3)?;
    assert_eq!(large["result"]["error"]["code"], "unarchive.size", "{large}");
    // Nor through a symlink that is there already.
    std::os::unix::fs::symlink("../outside", dest.join("sub")).expect("a symlink");
    let outside = empty(desk, "outside");
    let through = sent(desk, &good, params.clone(), 3)?;
    assert_eq!(through["result"]["error"]["code"], "unarchive.symlink", "{through}");
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);
    fs::write(here.path().join("garbage"), [7; 5_000]).expect("a file");
    let garbage = sent(desk, &here.path().join("garbage"), params, 3)?;
    assert_eq!(garbage["result"]["error"]["code"], "archive.broken", "{garbage}");
    Ok(())
}
