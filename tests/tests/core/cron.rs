//! The program crontab is a small one that keeps its files where cron's does: cron is not on every machine that tests.

use crate::whole::Whole;
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use waft_tests::{Result, need_root};

pub(crate) const CRONTAB: &str = r#"
user=$(id -un)
while [ $# -gt 0 ]; do
    case $1 in -u) user=$2; shift;; -l) list=1;; -) list=0;; *) exit 2;; esac
    shift
done
[ "$user" = "$(id -un)" ] || [ "$(id -u)" = 0 ] || { echo 'must be privileged to use -u' >&2; exit 1; }
file=/var/spool/cron/$user
if [ "$list" = 0 ]; then cat >$file; exit; fi
[ -e $file ] || { echo "no crontab for $user" >&2; exit 1; }
cat $file
"#;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn jobs_come_and_go_by_a_program_that_stands_for_crontab() -> Result<()> {
    need_root!("a target with crontabs of its own");
    let whole = Whole::root()?;
    whole.program("/usr/local/bin/crontab", CRONTAB);
    // As on Alpine: what is asked for and not needed need not be there.
    fs::remove_dir(whole.path("/etc/cron.d")).expect("an empty directory");
    let tab = |user: &str| whole.read(&format!("/var/spool/cron/{user}"));
    whole.write("/var/spool/cron/root", "# mine\n0 1 * * * keep\n");
    let job = json!({"name": "back up", "minute": 30, "hour": "2", "job": "/bin/backup"});
    let would = whole.would("cron", &job, true)?;
    assert_eq!(
        (&would["msg"], &would["after"]),
        (&json!("would add the job back up"), &json!("30 2 * * * /bin/backup"))
    );
    assert_eq!(tab("root"), "# mine\n0 1 * * * keep\n");
    let done = whole.answer("cron", &job, true)?;
    assert_eq!(tab("root"), "# mine\n0 1 * * * keep\n#Ansible: back up\n30 2 * * * /bin/backup\n");
    assert_eq!((&done["jobs"], &done["before"]), (&json!(["back up"]), &json!(null)), "{done}");
    whole.answer("cron", &job, false)?;
    whole.would("cron", &job, false)?;
    let other = json!({"name": "back up", "special_time": "daily", "job": "/bin/backup"});
    assert_eq!(whole.answer("cron", &other, true)?["before"], "30 2 * * * /bin/backup");
    whole.answer("cron", &json!({"name": "MAILTO", "value": "ops", "env": true}), true)?;
    let all = "MAILTO=\"ops\"\n# mine\n0 1 * * * keep\n#Ansible: back up\n@daily /bin/backup\n";
    assert_eq!(tab("root"), all);
    let away = json!({"name": "back up", "state": "absent"});
    whole.answer("cron", &away, true)?;
    whole.answer("cron", &away, false)?;
    assert_eq!(tab("root"), "MAILTO=\"ops\"\n# mine\n0 1 * * * keep\n");
    whole.answer("cron", &json!({"name": "a", "job": "x", "user": "ops"}), true)?;
    assert_eq!(tab("ops"), "#Ansible: a\n* * * * * x\n");

    // A job in another encoding stays what it is.
    let latin = b"0 1 * * * echo caf\xe9\n";
    fs::write(whole.path("/var/spool/cron/ops"), latin).expect("a crontab");
    let refused = whole.failure("cron", &json!({"name": "b", "job": "x", "user": "ops"}), &[])?;
    assert_eq!(refused["code"], "cron.utf8", "{refused}");
    assert_eq!(fs::read(whole.path("/var/spool/cron/ops")).expect("a crontab"), latin);

    for bad in [
        json!({"name": "a"}),
        json!({"name": "a", "job": "x\ny"}),
        json!({"name": "a", "job": "x", "minute": "1 2"}),
        json!({"name": "a", "job": "x", "cron_file": "../passwd"}),
    ] {
        assert_eq!(whole.failure("cron", &bad, &[])?["code"], "params.invalid", "{bad}");
    }
    let refused = whole.result("cron", &job, &["exec:crontab -l:probe"], &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    let hint = refused["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("--allow \"exec:") && hint.contains("crontab -\""), "{refused}");
    whole.unsent("cron", &json!({"name": "a", "job": "x", "minutes": "5"}), &["did you mean `minute`?"])?;
    Ok(())
}

#[test]
fn jobs_in_a_file_of_the_system_and_of_an_ordinary_account() -> Result<()> {
    need_root!("a target with crontabs of its own");
    let whole = Whole::root()?;
    let job = json!({"name": "clean", "cron_file": "web", "user": "ops", "hour": "*/2", "job": "/bin/clean"});
    let would = whole.result("cron", &job, &["asked"], &["--check", "--diff"], 0)?;
    let change = &would["changes"][0];
    assert_eq!(
        (&change["path"], &change["change"]),
        (&json!("/etc/cron.d/web"), &json!("created")),
        "{would}"
    );
    assert!(
        change["diff"].as_str().is_some_and(|diff| diff.contains("\n+* */2 * * * ops /bin/clean\n")),
        "{would}"
    );
    assert_eq!(whole.read("/etc/cron.d/web"), "");
    whole.answer("cron", &job, true)?;
    assert_eq!(whole.read("/etc/cron.d/web"), "#Ansible: clean\n* */2 * * * ops /bin/clean\n");
    whole.answer("cron", &job, false)?;
    whole.would("cron", &job, false)?;
    whole.answer("cron", &json!({"name": "clean", "cron_file": "web", "state": "absent"}), true)?;
    assert_eq!(whole.read("/etc/cron.d/web"), "");
    // Nothing of the making is left.
    let names: Vec<_> = fs::read_dir(whole.path("/etc/cron.d")).expect("a directory").flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // A file behind a symlink is changed where it is, and stays as open as it was.
    whole.write("/etc/shared", "1 1 * * * root keep\n");
    fs::set_permissions(whole.path("/etc/shared"), Permissions::from_mode(0o640)).expect("a mode");
    symlink("../shared", whole.path("/etc/cron.d/linked")).expect("a symlink");
    let linked = json!({"name": "clean", "cron_file": "linked", "job": "/bin/clean"});
    whole.would("cron", &linked, true)?;
    whole.answer("cron", &linked, true)?;
    whole.answer("cron", &linked, false)?;
    let (text, mode) = (whole.read("/etc/shared"), mode(&whole.path("/etc/shared")));
    assert_eq!(text, "1 1 * * * root keep\n#Ansible: clean\n* * * * * root /bin/clean\n");
    assert_eq!(mode, 0o640, "{mode:o}");
    assert!(whole.path("/etc/cron.d/linked").is_symlink());
    drop(whole);

    let whole = Whole::ordinary()?;
    let denied = whole.failure("cron", &job, &[])?;
    assert!(denied["message"].as_str().is_some_and(|said| said.contains("/etc/cron.d")), "{denied}");
    whole.program("/usr/local/bin/crontab", CRONTAB);
    fs::set_permissions(whole.path("/var/spool/cron"), Permissions::from_mode(0o777)).expect("a mode");
    whole.answer("cron", &json!({"name": "a", "job": "x"}), true)?;
    assert_eq!(whole.read("/var/spool/cron/ops"), "#Ansible: a\n* * * * * x\n");
    let denied = whole.failure("cron", &json!({"name": "a", "job": "x", "user": "root"}), &["--check"])?;
    assert!(denied["message"].as_str().is_some_and(|said| said.contains("must be privileged")), "{denied}");
    Ok(())
}
