//! Dry runs by real modules on the real kernel, as root and as an ordinary user: what a task writes it sees, the report has
//! it, and the real directory is what it was. Where no overlay can be, a write ends the task.

mod guest;
mod place;
mod refused;

use crate::lab::{Order, asks, task};
use guest::{Op, guest, guest_in};
use place::{Place, changes};
use serde_json::json;
use waft_proto::run::Status;

#[tokio::test]
async fn what_a_task_writes_is_seen_by_it_and_told_and_nowhere_else() {
    let place = Place::new();
    let order = guest(&[
        Op::Write("a", "one\n2\nthree\n"),
        Op::Reads("a", "one\n2\n"),
        Op::Write("new", "hello\n"),
        Op::Unlink("gone"),
        Op::Mkdir("dir"),
        Op::Write("dir/in", "in"),
        Op::Unlink("old/file"),
        Op::Rmdir("old"),
        Op::Rename("b", "c"),
        Op::Symlink("b", "to"),
        Op::Unlink("link"),
        Op::Symlink("new", "link"),
        Op::Write("deep/er/file", "deep\n"),
        Op::Say("{\"changed\":false}"),
    ])
    .grant(place.grant("real", "rw"))
    .diff();
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let told: Vec<_> = all
            .iter()
            .map(|(path, line)| {
                format!(
                    "{path} {} {}",
                    line["kind"].as_str().unwrap_or(""),
                    line["change"].as_str().unwrap_or("")
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "a file modified",
                "b file deleted",
                "c file created",
                "dir dir created",
                "dir/in file created",
                "gone file deleted",
                "link symlink modified",
                "new file created",
                "old dir deleted",
                "to symlink created",
            ],
            "{user}"
        );
        assert_eq!(
            all["a"]["text"],
            json!({"line": 1, "old": "one\ntwo\nthree\n", "new": "one\n2\nthree\n"})
        );
        assert_eq!(all["a"]["bytes"], json!([14, 12]));
        assert_eq!(all["new"]["text"], json!({"line": 1, "old": "", "new": "hello\n"}));
        assert_eq!(all["link"]["target"], json!(["a", "new"]));
    }
}

#[tokio::test]
async fn a_directory_that_is_made_anew_shows_only_what_is_different() {
    let place = Place::new();
    let order = guest(&[
        Op::Unlink("deep/er/file"),
        Op::Rmdir("deep/er"),
        Op::Mkdir("deep/er"),
        Op::Write("deep/er/file", "deep\n"),
        Op::Write("deep/er/more", "more"),
        Op::Unlink("old/file"),
        Op::Rmdir("old"),
        Op::Mkdir("old"),
        Op::Unlink("b"),
        Op::Mkdir("b"),
    ])
    .grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let told: Vec<_> = all
            .iter()
            .map(|(path, line)| format!("{path} {}", line["change"].as_str().unwrap_or("")))
            .collect();
        // What is made anew is its maker's.
        let told: Vec<_> = told.into_iter().filter(|line| !line.ends_with(" owner")).collect();
        assert_eq!(told, ["b replaced", "deep/er/more created", "old/file deleted"], "{user}");
    }
}

#[tokio::test]
async fn nothing_is_told_when_nothing_would_change_and_all_when_the_task_fails() {
    let place = Place::new();
    let same =
        guest(&[Op::Write("b", "b"), Op::Write("a", "one\ntwo\nthree\n"), Op::Say("{\"changed\":true}")])
            .grant(place.grant("real", "rw"));
    let fails = guest(&[Op::Write("new", "x"), Op::Trap]).grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&same, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.changes),
            (Status::Ok, 0),
            "{user}: {:?}",
            ran.outcome.problem
        );
        let ran = place.run(&fails, &program).await;
        assert_eq!((ran.outcome.status, ran.outcome.changes), (Status::Failed, 1), "{user}");
        assert_eq!(ran.code(), "task.trap");
    }
}

#[tokio::test]
async fn each_granted_directory_has_its_own_overlay_also_in_another() {
    let place = Place::new();
    let grants = |order: Order| {
        order
            .grant(place.grant("real", "rw"))
            .grant(place.grant("real/deep", "ro"))
            .grant(place.grant("other", "rw"))
    };
    // The order of preopened directories is that of the grants.
    let ways: [(Order, Option<u32>, &[&str]); 4] = [
        (task(guest_in(0, &[Op::Write("new", "x")])), Some(0), &["real/new"]),
        (
            task(guest_in(2, &[Op::Write("new", "x"), Op::Unlink("file")])),
            Some(0),
            &["other/file", "other/new"],
        ),
        // What is granted for reading within another stays so.
        (task(guest_in(0, &[Op::Write("deep/new", "x")])), None, &[]),
        (task(guest_in(1, &[Op::Write("new", "x")])), None, &[]),
    ];
    for (user, program) in place.users() {
        for (order, code, told) in &ways {
            let order = grants(task(order.wat.clone())).check();
            let ran = place.run(&order, &program).await;
            let all = changes(&ran, place.top.path());
            assert_eq!(
                all.keys().map(String::as_str).collect::<Vec<_>>(),
                *told,
                "{user}: {:?}",
                ran.outcome.problem
            );
            match code {
                Some(code) => assert_eq!(ran.outcome.exit_code, Some(*code), "{user}"),
                None => assert_ne!(ran.outcome.status, Status::Ok, "{user}"),
            }
        }
    }
}

#[tokio::test]
async fn a_task_that_fills_the_overlay_has_no_space_left() {
    let place = Place::new();
    // 64 blocks of 64 KiB are 4 MiB. 51: no space left.
    let floods = guest(&[Op::Fill("big", 64)]).grant(place.grant("real", "rw")).grant("disk:1M");
    let fits = guest(&[Op::Fill("big", 8)]).grant(place.grant("real", "rw")).grant("disk:1M");
    for (user, program) in place.users() {
        let ran = place.run(&floods, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.exit_code),
            (Status::Failed, Some(51)),
            "{user}: {:?}",
            ran.outcome.problem
        );
        let all = changes(&ran, &place.path("real"));
        let bytes = all["big"]["bytes"][1].as_u64().expect("a size");
        assert!(bytes > 0 && bytes <= 1 << 20, "{user}: {bytes}");
        let ran = place.run(&fits, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.changes),
            (Status::Ok, 1),
            "{user}: {:?}",
            ran.outcome.problem
        );
    }
}

#[tokio::test]
async fn a_hard_link_leads_into_the_overlay() {
    let place = Place::new();
    let order = guest(&[Op::Link("a", "twin"), Op::Write("twin", "mine"), Op::Reads("a", "mine")])
        .grant(place.grant("real", "rw"));
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            ran.outcome.status,
            Status::Ok,
            "{user}: {:?} {:?}",
            ran.outcome.exit_code,
            ran.outcome.problem
        );
        assert_eq!(changes(&ran, &place.path("real")).keys().collect::<Vec<_>>(), ["a", "twin"], "{user}");
    }
}

#[tokio::test]
async fn what_a_called_task_would_change_its_caller_would() {
    let place = Place::new();
    let (real, other) = (place.grant("real", "rw"), place.grant("other", "rw"));
    let call = |name: &str| ("task", json!({ "name": name }).to_string());
    let writes = guest_in(0, &[Op::Write("new", "x"), Op::Unlink("gone")]);
    let denies = guest_in(0, &[Op::Unlink("file"), Op::Say("{\"changed\":false}")]);
    let mut order = asks(&[call("middle"), call("denies"), call("idle")])
        .callee("middle", asks(&[call("writes")]).wat, &["call:writes", &real])
        .callee("writes", writes, &[&real])
        .callee("denies", denies, &[&other])
        .callee("idle", guest_in(0, &[]), &[&other])
        .grant(real)
        .grant(other)
        .check();
    for name in ["middle", "writes", "denies", "idle"] {
        order = order.grant(format!("call:{name}"));
    }
    for (user, program) in place.users() {
        let ran = place.run(&order, &program).await;
        assert_eq!(
            (ran.outcome.status, ran.outcome.changes),
            (Status::Ok, 3),
            "{user}: {:?}",
            ran.outcome.problem
        );
        let told: Vec<_> = ran.answers().iter().map(|answer| answer["status"].clone()).collect();
        assert_eq!(told, ["changed", "changed", "ok"], "{user}");
        assert_eq!(ran.answers()[0]["result"]["status"], "changed", "{user}");
        let all = changes(&ran, place.top.path());
        assert_eq!(all.keys().collect::<Vec<_>>(), ["other/file", "real/gone", "real/new"], "{user}");
    }
}
