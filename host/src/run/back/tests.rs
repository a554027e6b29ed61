use super::*;
use serde_json::json;

fn result(status: Status, said: Value, problem: Option<Problem>) -> TargetResult {
    TargetResult { result: Some(said), ..TargetResult::without_start(status, problem) }
}

fn look(said: Value, before: Option<&str>, since: u64) -> Look {
    look_at(&result(Status::Changed, said, None), before, Duration::from_secs(since))
}

#[test]
fn it_is_back_by_another_boot_only() {
    let up = json!({"boot_id": "new", "uptime_seconds": 20});
    assert!(matches!(look(up.clone(), Some("old"), 5), Look::Ready(boot) if boot == "new"));
    assert!(matches!(look(up.clone(), Some("new"), 500), Look::SameBoot));
    // Whose answer was lost: by how long it is up.
    assert!(matches!(look(up.clone(), None, 21), Look::Ready(_)));
    assert!(matches!(look(up, None, 20), Look::SameBoot));
    assert!(matches!(look(json!({"boot_id": "new"}), None, 500), Look::SameBoot));
    assert!(matches!(look(json!({"changed": true}), Some("old"), 5), Look::Unknown(Status::Failed, _)));
}

#[test]
fn it_is_ready_when_the_task_does_not_say_otherwise() {
    let unready = json!({"boot_id": "new", "not_ready": "`x` ended with code 1"});
    match look(unready.clone(), Some("old"), 5) {
        Look::Unready(boot, why) => assert_eq!((&*boot, &*why), ("new", "`x` ended with code 1")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(look(unready, Some("new"), 5), Look::SameBoot));
    // Targets may say anything.
    let long = look(json!({"boot_id": "new", "not_ready": "\u{e9}".repeat(100_000)}), Some("old"), 5);
    assert!(matches!(long, Look::Unready(_, why) if why.len() == WHY_BYTES_MAX));
    assert!(matches!(look(json!({"boot_id": "x".repeat(65)}), Some("old"), 5), Look::Unknown(..)));
    assert!(matches!(look(json!({"boot_id": "new", "not_ready": null}), Some("old"), 5), Look::Ready(_)));
}

#[test]
fn a_dry_run_that_ends_badly_says_why() {
    let gone = result(Status::Unreachable, json!({}), Some(Problem::new("ssh.connect", "refused")));
    assert!(
        matches!(look_at(&gone, Some("old"), Duration::ZERO), Look::Unreachable(why) if why.message == "refused")
    );
    let denied = result(Status::Refused, json!({}), Some(Problem::new("policy.deny", "no")));
    let denied = look_at(&denied, Some("old"), Duration::ZERO);
    assert!(matches!(denied, Look::Unknown(Status::Refused, why) if why.message == "no"));
    // The task's own words, where it failed by itself.
    let failed = result(Status::Failed, json!({"msg": "no boot id"}), None);
    let failed = look_at(&failed, Some("old"), Duration::ZERO);
    assert!(matches!(failed, Look::Unknown(Status::Failed, why) if why.message == "no boot id"));
}

#[test]
fn parameters_say_how_it_is_waited_for() {
    let of = |params: Value| AfterReboot::of(params.as_object().expect("an object"));
    let nothing = of(json!({}));
    assert_eq!((nothing.timeout.as_secs(), nothing.connect), (600, None));
    let all =
        json!({"reboot_timeout": 5, "pre_reboot_delay": 60, "post_reboot_delay": 2, "connect_timeout": 3});
    let all = of(all);
    let seconds = [all.timeout, all.before, all.after].map(|time| time.as_secs());
    assert_eq!((seconds, all.connect), ([5, 60, 2], Some(Duration::from_secs(3))));
    // By a task that has no schema.
    let odd = of(json!({"reboot_timeout": u64::MAX, "pre_reboot_delay": -1, "connect_timeout": 0}));
    assert_eq!((odd.timeout.as_secs(), odd.before.as_secs(), odd.connect), (SECONDS_MAX, 0, None));
}

#[test]
fn what_was_waited_for_completes_the_answer() {
    let mut answer = json!({"changed": true, "msg": "reboots now", "boot_id": "old", "delay": 0});
    let answer = answer.as_object_mut().expect("an object");
    let elapsed = Duration::from_millis(41_900);
    let problem = Problem::new("reboot.not_back", "no");
    complete(
        answer,
        Some("old"),
        &Waited { elapsed, boot: Boot::Same, bad: Some((Status::Lost, problem.clone())) },
    );
    let expected = json!({"changed": true, "msg": "reboots now", "boot_id": "old", "delay": 0, "rebooted": false, "elapsed": 41});
    assert_eq!(Value::Object(answer.clone()), expected);
    // Nobody knows.
    complete(answer, None, &Waited { elapsed, boot: Boot::Unknown, bad: Some((Status::Lost, problem)) });
    assert_eq!((&answer["rebooted"], &answer["boot_id"]), (&Value::Null, &json!("old")));
    complete(answer, Some("old"), &Waited { elapsed, boot: Boot::Other("new".to_owned()), bad: None });
    let expected = json!({"changed": true, "msg": "rebooted in 41 s", "boot_id": "new", "boot_id_before": "old", "delay": 0,
        "rebooted": true, "elapsed": 41});
    assert_eq!(Value::Object(answer.clone()), expected);
}
