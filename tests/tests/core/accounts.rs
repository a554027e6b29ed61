use crate::whole::Whole;
use serde_json::json;
use waft_tests::{Result, need_root};

/// Encrypted, of no account anywhere.
const HASH: &str = "$6$saltsalt$fromatestofwaft";

/// The line of an account or group there.
fn line(text: &str, name: &str) -> Option<String> {
    text.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned)
}

#[test]
fn groups_come_change_and_go() -> Result<()> {
    need_root!("a target with accounts of its own");
    let whole = Whole::root()?;
    let group = |name: &str| line(&whole.read("/etc/group"), name);
    let web = json!({"name": "web", "gid": 4321});
    assert_eq!(whole.would("group", &web, true)?["msg"], "would create the group web");
    assert_eq!(group("web"), None);
    assert_eq!(whole.answer("group", &web, true)?["gid"], 4321);
    assert_eq!(group("web").as_deref(), Some("web:x:4321:"));
    assert_eq!(whole.answer("group", &web, false)?["gid"], 4321);
    whole.would("group", &web, false)?;
    whole.answer("group", &json!({"name": "web", "gid": 4322}), true)?;
    assert_eq!(group("web").as_deref(), Some("web:x:4322:"));
    // What groupadd says goes through.
    let taken = whole.failure("group", &json!({"name": "www", "gid": 4322}), &[])?;
    assert_eq!(taken["code"], "group.failed", "{taken}");
    assert!(taken["message"].as_str().is_some_and(|said| said.contains("groupadd -g 4322 www")), "{taken}");
    let refused =
        whole.result("group", &json!({"name": "x"}), &["exec:getent **:probe", "exec:id -u"], &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    assert!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("groupadd")), "{refused}");
    for bad in [json!({"name": "-r"}), json!({"name": "a b"}), json!({"name": ""})] {
        assert_eq!(whole.failure("group", &bad, &[])?["code"], "params.invalid");
    }
    whole.unsent("group", &json!({"name": "x", "gid": -1}), &["`gid`", "expected 0 to"])?;
    let away = json!({"name": "web", "state": "absent"});
    whole.answer("group", &away, true)?;
    assert_eq!(group("web"), None);
    whole.answer("group", &away, false)?;
    Ok(())
}

#[test]
fn accounts_come_change_and_go() -> Result<()> {
    need_root!("a target with accounts of its own");
    let whole = Whole::root()?;
    let user = |name: &str| line(&whole.read("/etc/passwd"), name);
    whole.write("/etc/group", &(whole.read("/etc/group") + "adm:x:4:\ndocker:x:999:\n"));
    whole.write("/etc/skel/.profile", "# of skel\n");
    let deploy = json!({"name": "deploy", "uid": 4444, "comment": "De Ploy", "shell": "/bin/bash",
        "groups": ["adm", "docker"], "password": HASH});
    assert_eq!(whole.would("user", &deploy, true)?["msg"], "would create the user deploy");
    assert_eq!(user("deploy"), None);
    let made = whole.answer("user", &deploy, true)?;
    assert_eq!(user("deploy").as_deref(), Some("deploy:x:4444:4444:De Ploy:/home/deploy:/bin/bash"));
    assert_eq!((&made["groups"], &made["uid"]), (&json!(["adm", "docker"]), &json!(4444)), "{made}");
    assert!(line(&whole.read("/etc/shadow"), "deploy").is_some_and(|line| line.contains(HASH)));
    assert_eq!(whole.read("/home/deploy/.profile"), "# of skel\n");
    whole.answer("user", &deploy, false)?;
    whole.would("user", &deploy, false)?;

    // Only what is different is changed.
    let other =
        json!({"name": "deploy", "shell": "/bin/sh", "groups": "docker", "password": format!("{HASH}2")});
    let would = whole.would("user", &other, true)?;
    assert_eq!(would["msg"], "would change, change the groups of, set the password of the user deploy");
    let made = whole.answer("user", &other, true)?;
    assert_eq!((&made["groups"], &made["shell"]), (&json!(["docker"]), &json!("/bin/sh")), "{made}");
    assert!(
        line(&whole.read("/etc/shadow"), "deploy").is_some_and(|line| line.contains(&format!("{HASH}2:")))
    );
    let kept = json!({"name": "deploy", "groups": "adm", "append": true, "password": HASH,
        "update_password": "on_create"});
    assert_eq!(whole.answer("user", &kept, true)?["groups"], json!(["adm", "docker"]));
    assert!(
        line(&whole.read("/etc/shadow"), "deploy").is_some_and(|line| line.contains(&format!("{HASH}2:")))
    );

    // Its first group is among them, and numbers are names.
    let same = json!({"name": "deploy", "groups": ["deploy", "4", "999"]});
    whole.answer("user", &same, false)?;
    let next = json!({"name": "next", "groups": ["4", "adm"], "group": "4", "password": HASH});
    whole.answer("user", &next, true)?;
    whole.answer("user", &next, false)?;
    assert!(line(&whole.read("/etc/shadow"), "next").is_some_and(|line| line.contains(HASH)));

    // A password is in no record: not in words of a program, not in a line of the log.
    let run = whole
        .run("user", &json!({"name": "deploy", "password": HASH}), &["asked"], &["-vv"])?
        .expect_code(0)?;
    assert!(!(run.stdout() + &run.stderr()).contains("fromatest"), "{run}");

    for (bad, code) in [
        (json!({"name": "a:b"}), "params.invalid"),
        (json!({"name": "x", "password": "a\nroot:b"}), "params.invalid"),
        (json!({"name": "x", "groups": ["none"]}), "user.no_group"),
        (json!({"name": "x", "shell": "a:b"}), "params.invalid"),
    ] {
        assert_eq!(whole.failure("user", &bad, &[])?["code"], code, "{bad}");
        assert_eq!(whole.failure("user", &bad, &["--check"])?["code"], code, "{bad}");
    }
    whole.unsent("user", &json!({"name": "x", "uid": "many"}), &["`uid`", "a whole number"])?;
    whole.unsent("user", &json!({"state": "absent"}), &["`name` of user is missing"])?;
    let look = ["exec:getent **:probe", "exec:id **:probe"];
    let refused = whole.result("user", &json!({"name": "x"}), &look, &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    assert!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("useradd")), "{refused}");
    assert_eq!(user("x"), None);
    let away = json!({"name": "deploy", "state": "absent", "remove": true});
    whole.answer("user", &away, true)?;
    assert!(user("deploy").is_none() && !whole.path("/home/deploy").exists());
    whole.answer("user", &away, false)?;
    Ok(())
}

#[test]
fn an_ordinary_account_is_told_that_only_root_can() -> Result<()> {
    need_root!("a target with accounts of its own");
    let whole = Whole::ordinary()?;
    for words in [&[][..], &["--check"]] {
        let denied = whole.failure("user", &json!({"name": "deploy"}), words)?;
        assert_eq!(
            (&denied["code"], &denied["message"]),
            (&json!("user.denied"), &json!("only root can change accounts"))
        );
        assert_eq!(whole.failure("group", &json!({"name": "web"}), words)?["code"], "group.denied");
    }
    // What is as it should be needs no root.
    whole.answer("group", &json!({"name": "ops"}), false)?;
    whole.answer("user", &json!({"name": "ops", "shell": "/bin/bash"}), false)?;
    Ok(())
}

/// What BusyBox has, as far as the tasks use it: the same options.
const ADDUSER: &str = r#"
home= shell=/bin/sh comment= group= uid=2000
while getopts DHSu:G:g:h:s: option; do
    case $option in
        u) uid=$OPTARG;; G) group=$OPTARG;; g) comment=$OPTARG;; h) home=$OPTARG;; s) shell=$OPTARG;;
        D|H|S) ;; *) exit 1;;
    esac
done
shift $((OPTIND - 1))
[ -n "$group" ] || { group=$1; echo "$1:x:$uid:" >>/etc/group; }
gid=$(sed -n "s/^$group:x:\([0-9]*\):.*/\1/p" /etc/group)
echo "$1:x:$uid:$gid:$comment:${home:-/home/$1}:$shell" >>/etc/passwd
echo "$1:!:1::::::" >>/etc/shadow
"#;
const ADDGROUP: &str = r#"
gid=3000
while getopts Sg: option; do case $option in g) gid=$OPTARG;; S) ;; *) exit 1;; esac; done
shift $((OPTIND - 1))
case $# in
    1) echo "$1:x:$gid:" >>/etc/group;;
    2) sed -i "/^$2:/{s/:$/:$1/;t;s/$/,$1/}" /etc/group;;
esac
"#;
const DELGROUP: &str = r#"
case $# in
    1) sed -i "/^$1:/d" /etc/group;;
    2) sed -i "/^$2:/{s/\([:,]\)$1$/\1/;s/,$//}" /etc/group;;
esac
"#;
const DELUSER: &str = r#"
[ "$1" != --remove-home ] || { rm -rf "/home/$2"; shift; }
sed -i "/^$1:/d" /etc/passwd /etc/shadow /etc/group
"#;

#[test]
fn accounts_and_groups_by_programs_that_stand_for_those_of_busybox() -> Result<()> {
    need_root!("a target with accounts of its own");
    let whole = Whole::without(
        "useradd usermod userdel groupadd groupmod groupdel adduser deluser addgroup delgroup",
    )?;
    let none = whole.failure("group", &json!({"name": "web"}), &[])?;
    assert_eq!(none["message"], "there is no program groupadd or addgroup", "{none}");
    for (name, script) in
        [("adduser", ADDUSER), ("addgroup", ADDGROUP), ("deluser", DELUSER), ("delgroup", DELGROUP)]
    {
        whole.program(&format!("/usr/local/sbin/{name}"), script);
    }
    let group = |name: &str| line(&whole.read("/etc/group"), name);
    for (name, gid) in [("web", 3001), ("docker", 3002)] {
        assert_eq!(whole.answer("group", &json!({"name": name, "gid": gid}), true)?["gid"], gid);
    }
    let deploy =
        json!({"name": "deploy", "uid": 4444, "comment": "De Ploy", "groups": "docker", "password": HASH});
    assert_eq!(whole.answer("user", &deploy, true)?["groups"], json!(["docker"]));
    assert_eq!(
        line(&whole.read("/etc/passwd"), "deploy").as_deref(),
        Some("deploy:x:4444:4444:De Ploy:/home/deploy:/bin/sh")
    );
    assert!(line(&whole.read("/etc/shadow"), "deploy").is_some_and(|line| line.contains(HASH)));
    whole.answer("user", &deploy, false)?;
    whole.answer("user", &json!({"name": "deploy", "groups": "web"}), true)?;
    assert_eq!(
        (group("web").as_deref(), group("docker").as_deref()),
        (Some("web:x:3001:deploy"), Some("docker:x:3002:"))
    );
    // What BusyBox cannot do is told.
    let cannot = whole.failure("user", &json!({"name": "deploy", "shell": "/bin/bash"}), &[])?;
    assert_eq!(cannot["message"], "there is no program usermod", "{cannot}");
    whole.answer("user", &json!({"name": "deploy", "state": "absent"}), true)?;
    whole.answer("group", &json!({"name": "docker", "state": "absent"}), true)?;
    assert!(group("docker").is_none() && !whole.read("/etc/passwd").contains("deploy"));
    Ok(())
}
