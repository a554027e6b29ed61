//! Files in memory that a program finds open, and programs that are such files.

use crate::lab::{Order, asks, pool};
use serde_json::{Value, json};
use waft_proto::id::Hash;
use waft_proto::run::Status;

/// A task that asks for these programs one after the other. Shells are granted.
fn execs(requests: &[Value]) -> Order {
    let calls: Vec<_> = requests.iter().map(|request| ("exec", request.to_string())).collect();
    asks(&calls).grant("exec:sh **")
}

fn shell(script: &str, files: Value) -> Value {
    json!({"argv": ["sh", "-c", script], "files": files})
}

#[tokio::test]
async fn a_program_finds_its_files_at_their_numbers_and_cannot_change_them() {
    let blob = vec![b'b'; 300_000];
    let hash = Hash::of(&blob).to_string();
    let files = json!([{"fd": 9, "text": "text"}, {"fd": 31, "text": "last"}, {"fd": 4, "base64": "/wA="}, {"fd": 3, "blob": hash}]);
    let script = "cat <&9; cat /dev/fd/9 /dev/fd/31; od -An -tx1 <&4; wc -c </dev/fd/3; cat <&3 | wc -c; cat <&3 | wc -c
         for fd in 3 4 9; do echo x >&$fd || echo shut; (echo x >>/dev/fd/$fd) || echo sealed; done
         ls /proc/self/fd | tr '\\n' ' '";
    let order = execs(&[shell(script, files)]).file(blob).grant(format!("blob:{hash}"));
    let ran = order.run().await;
    let answer = ran.answers().remove(0);
    let expected = [
        "texttextlast ff 00\n300000\n300000\n0\n",
        &"shut\nsealed\n".repeat(3),
        // Its standard streams, these, and the directory that is listed: nothing of ours.
        "0 1 2 3 31 4 5 9 ",
    ];
    assert_eq!(answer["stdout"], expected.concat(), "{answer}");
    assert_eq!(ran.recorded(), [("exec", "")]);
}

#[tokio::test]
async fn a_file_in_memory_is_started_only_when_that_or_every_program_is_granted() {
    let program = std::fs::read("/bin/cat").expect("a program");
    let hash = Hash::of(&program).to_string();
    let binary = json!({"argv": ["/dev/fd/7", "/dev/fd/3"],
        "files": [{"fd": 7, "blob": hash}, {"fd": 3, "text": "read by it"}]});
    let script = json!({"argv": ["/dev/fd/3", "a b"], "files": [{"fd": 3, "text": "#!/bin/sh\necho \"$1\"; exit 7\n"}]});
    let given = |grants: &[&str]| {
        let order =
            execs(&[binary.clone(), script.clone()]).file(program.clone()).grant(format!("blob:{hash}"));
        grants.iter().fold(order, |order, grant| order.grant(*grant))
    };
    let ran = given(&["exec:/dev/fd/7 /dev/fd/*", "exec:/dev/fd/3 *"]).run().await;
    let answers = ran.answers();
    assert_eq!(
        (&answers[0]["stdout"], &answers[0]["exit_code"]),
        (&json!("read by it"), &json!(0)),
        "{answers:?}"
    );
    assert_eq!(
        (&answers[1]["stdout"], &answers[1]["exit_code"]),
        (&json!("a b\n"), &json!(7)),
        "{answers:?}"
    );
    let read = Hash::of(b"read by it").to_string();
    assert_eq!(ran.calls[0]["subject"], "/dev/fd/7 /dev/fd/3");
    assert_eq!(ran.calls[0]["files"], json!([{"fd": 7, "hash": hash}, {"fd": 3, "hash": read}]));
    let every = given(&["exec:*"]).run().await;
    let told: Vec<_> = every.answers().iter().map(|answer| answer["stdout"].clone()).collect();
    assert_eq!(told, ["read by it", "a b\n"], "every program is granted: {:?}", every.answers());
    // Neither the same file by another name, nor another number, nor a name that ends so.
    let others = ["exec:/proc/self/fd/7 **", "exec:/dev/fd/4 **", "exec:/tmp/dev/fd/7 **"];
    assert_eq!(given(&others).run().await.recorded(), [("exec", "grant.missing"); 2]);
    let refused = given(&[]).run().await;
    assert_eq!(refused.recorded(), [("exec", "grant.missing"); 2]);
    assert_eq!(refused.answers()[0]["error"]["hint"], "--allow \"exec:/dev/fd/7 /dev/fd/3\"");
    let dry = given(&["exec:/dev/fd/7 **", "exec:/dev/fd/3 **:probe"]).check().run().await;
    assert_eq!(dry.recorded(), [("exec", "grant.check"), ("exec", "")]);
}

#[tokio::test]
async fn what_was_in_them_is_recorded_whatever_else_is_said() {
    let hash = |bytes: &[u8]| Hash::of(bytes).to_string();
    let blob = hash(b"blob");
    let files = json!([{"fd": 3, "text": "text"}, {"fd": 4, "base64": "/wA="}, {"fd": 5, "blob": blob}, {"fd": 6, "text": "a geheim!"}]);
    // So long that no more fits into the subject.
    let long = json!({"argv": ["sh", "-c", "cat <&6", "x".repeat(5000)], "files": files});
    let mut refused = long.clone();
    refused["argv"][0] = "/bin/cat".into();
    let none = json!({"argv": ["sh", "-c", "true"]});
    let order = execs(&[long, refused, none]).file(*b"blob").grant(format!("blob:{blob}"));
    let ran = order.secret("word", *b"geheim!").run().await;
    let files: Vec<_> = ran.calls.iter().map(|call| call["files"].clone()).collect();
    let expected = [(3, hash(b"text")), (4, hash(b"\xff\0")), (5, blob), (6, hash(b"a [secret word]"))];
    let expected: Vec<_> = expected.iter().map(|(fd, hash)| json!({"fd": fd, "hash": hash})).collect();
    assert_eq!(files, [json!(expected), json!(expected), Value::Null], "{:?}", ran.calls);
    assert_eq!(ran.recorded(), [("exec", ""), ("exec", "grant.missing"), ("exec", "")]);
}

#[tokio::test]
async fn a_blob_is_copied_once_for_all_programs_of_a_job() {
    let blob = vec![b'b'; 100_000];
    let hash = Hash::of(&blob).to_string();
    // Each reads from the beginning, and what one does to the file is undone for the next.
    let script = "stat -Lc %i:%a /dev/fd/3 /dev/fd/4 /dev/fd/5; cat <&3 | wc -c; chmod 0 /dev/fd/3";
    let files = json!([{"fd": 3, "blob": hash}, {"fd": 4, "blob": hash}, {"fd": 5, "text": "x"}]);
    let request = shell(script, files);
    let ran = execs(&[request.clone(), request]).file(blob).grant(format!("blob:{hash}")).run().await;
    let of = |answer: &Value| -> Vec<String> {
        let text = answer["stdout"].as_str().expect("text");
        text.lines().map(str::to_owned).collect()
    };
    let (first, second) = (of(&ran.answers()[0]), of(&ran.answers()[1]));
    assert!(
        first[0].ends_with(":444") && first[0] == first[1] && first[0] == second[0],
        "{first:?} {second:?}"
    );
    assert_ne!(first[2], second[2], "text is of one request");
    assert_eq!((&*first[3], &*second[3]), ("100000", "100000"));
}

#[tokio::test]
async fn walls_of_a_program_leave_it_its_files() {
    let confined = |mut request: Value| {
        request["confine"] = true.into();
        request
    };
    let dir = tempfile::tempdir().expect("a directory");
    let shut = dir.path().join("shut");
    std::fs::write(&shut, "shut").expect("written");
    let script = format!("cat /dev/fd/3 <&3; cat {}; echo $?", shut.display());
    let reads = shell(&script, json!([{"fd": 3, "text": "in "}]));
    let starts =
        json!({"argv": ["/dev/fd/3"], "files": [{"fd": 3, "text": format!("#!/bin/sh\n{script}\n")}]});
    let ran = execs(&[confined(reads), confined(starts)]).grant("exec:/dev/fd/3").run().await;
    let answers = ran.answers();
    assert_eq!(answers[0]["stdout"], "in 1\n", "{answers:?}");
    assert!(answers[1]["stdout"].as_str().is_some_and(|text| text.ends_with("\n1\n")), "{answers:?}");
}

/// Whether the kernel seals the mode of a file in memory, so that nobody makes it one that is started: from Linux 6.3.
fn seals_modes() -> bool {
    let seals = std::path::Path::new("/proc/sys/vm/memfd_noexec").exists();
    if !seals {
        println!("BEFORE LINUX 6.3: who owns a file in memory may start it");
    }
    seals
}

/// What a shell says that starts this, makes it a program, starts it again, and reads it.
fn tried(path: &str) -> (String, &'static str) {
    let script = format!("{path}; echo $?; chmod 755 {path} && echo changed; {path}; echo $?; sh {path}");
    (script, if seals_modes() { "126\n126\nstarted\n" } else { "126\nchanged\nstarted\n0\nstarted\n" })
}

#[tokio::test]
async fn what_is_only_to_be_read_is_not_started() {
    let (script, expected) = tried("/dev/fd/3");
    let ran = execs(&[shell(&script, json!([{"fd": 3, "text": "#!/bin/sh\necho started\n"}]))]).run().await;
    assert_eq!(ran.answers()[0]["stdout"], expected, "{:?}", ran.answers());
}

#[tokio::test]
async fn stdin_is_read_and_not_started() {
    let stdin = "#!/bin/sh\necho started\n";
    let starts = |name: &str| json!({"argv": [name, "a"], "stdin": stdin});
    let (script, expected) = tried("/dev/stdin");
    let reads =
        json!({"argv": ["sh", "-c", format!("stat -Lc %a /dev/stdin; {script}; cat")], "stdin": stdin});
    let order = execs(&[starts("/dev/stdin"), starts("/proc/self/fd/0"), reads]);
    let ran = order.grant("exec:/dev/stdin *").grant("exec:/proc/self/fd/0 *").run().await;
    assert_eq!(ran.recorded(), [("exec", "exec.start"), ("exec", "exec.start"), ("exec", "")]);
    assert_eq!(ran.answers()[2]["stdout"], ["444\n", expected, stdin].concat(), "{:?}", ran.answers());
}

#[tokio::test]
async fn another_user_reads_and_starts_them() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: starting programs as another user takes root");
        return;
    }
    let script = "#!/bin/sh\nid -u; cat /dev/fd/4\n";
    let ran = execs(&[json!({"argv": ["/dev/fd/3"], "user": "daemon",
        "files": [{"fd": 3, "text": script}, {"fd": 4, "text": "text"}]})]);
    let ran = ran.grant("exec:/dev/fd/3").run().await;
    assert_eq!(ran.answers()[0]["stdout"], "1\ntext", "{:?}", ran.answers());
}

#[tokio::test]
async fn a_request_for_files_that_is_wrong_starts_nothing() {
    let text = |fd: i32| json!({"fd": fd, "text": "x"});
    let wrong = [
        json!([text(2)]),
        json!([text(32)]),
        json!([text(-1)]),
        json!([text(3), text(3)]),
        json!((3..12).map(text).collect::<Vec<_>>()),
        json!([{"fd": 3}]),
        json!([{"fd": 3, "text": "x", "base64": "eA=="}]),
        json!([{"fd": 3, "base64": "x"}]),
        json!([{"fd": 3, "text": "x", "name": "y"}]),
        json!({"3": "x"}),
    ];
    let requests: Vec<_> = wrong.into_iter().map(|files| shell("echo started", files)).collect();
    let ran = execs(&requests).run().await;
    let codes: Vec<_> = ran.answers().iter().map(|answer| answer["error"]["code"].clone()).collect();
    assert_eq!(codes, vec![json!("exec.request"); requests.len()]);

    // A number that has no file, though every program is granted.
    let none = json!({"argv": ["/dev/fd/0"], "stdin": "#!/bin/sh\necho started\n"});
    let other = json!({"argv": ["/dev/fd/5"], "files": [text(3)]});
    let ran = asks(&[("exec", none.to_string()), ("exec", other.to_string())]).grant("exec:*").run().await;
    assert_eq!(ran.recorded(), [("exec", "exec.request"); 2]);

    let (known, unsent) = (Hash::of(b"known").to_string(), Hash::of(b"unsent").to_string());
    let blobs = [&known, &unsent].map(|hash| shell("echo started", json!([{"fd": 3, "blob": hash}])));
    let ran = execs(&blobs).file(*b"known").grant(format!("blob:{unsent}")).run().await;
    assert_eq!(ran.recorded(), [("exec", "grant.missing"), ("exec", "blob.missing")]);
    assert_eq!(ran.answers()[0]["error"]["hint"], format!("--allow blob:{known}"));
}

#[tokio::test]
async fn what_is_no_program_says_so() {
    let ran =
        execs(&[json!({"argv": ["/dev/fd/3"], "files": [{"fd": 3, "text": "#!/no/such/interpreter\n"}]})]);
    let ran = ran.grant("exec:/dev/fd/3").run().await;
    let error = &ran.answers()[0]["error"];
    assert_eq!(error["code"], "exec.start");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("memfd_noexec")), "{error}");
}

#[tokio::test]
async fn the_task_can_become_a_program_in_memory() {
    let request = json!({"argv": ["/dev/fd/3"], "replace": true, "files": [{"fd": 3, "text": "#!/bin/sh\necho out; exit 5\n"}]});
    let ran = execs(&[request]).grant("exec:/dev/fd/3").run().await;
    assert_eq!((ran.outcome.status, ran.outcome.exit_code), (Status::Failed, Some(5)));
    assert_eq!(ran.stdout(), "out\n");
}

/// Set for the same test in a process namespace that refuses programs in memory.
const REFUSING: &str = "WAFT_TEST_REFUSING";

#[tokio::test]
async fn where_programs_in_memory_are_forbidden_data_is_not() {
    const NAME: &str = "memory::where_programs_in_memory_are_forbidden_data_is_not";
    if std::env::var_os(REFUSING).is_none() {
        let setting = "echo 2 > /proc/sys/vm/memfd_noexec";
        let within = |script: &str| {
            let mut command = std::process::Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", script]);
            command
        };
        if !within(setting).output().is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: it takes root, namespaces and vm.memfd_noexec (Linux 6.3)");
            return;
        }
        let this = std::env::current_exe().expect("this test");
        let again = format!("{setting}; exec \"$0\" --exact --nocapture {NAME}");
        let output = within(&again).arg(this).env(REFUSING, "1").output().expect("it is started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let script = json!([{"fd": 3, "text": "#!/bin/sh\necho started\n"}]);
    let starts = json!({"argv": ["/dev/fd/3"], "files": script});
    let pool = pool();
    let ran = execs(&[shell("sh /dev/fd/3", script), starts]).grant("exec:/dev/fd/3").run_in(&pool).await;
    pool.shutdown().await;
    let answers = ran.answers();
    assert_eq!(answers[0]["stdout"], "started\n", "{answers:?}");
    assert_eq!(answers[1]["error"]["code"], "exec.files", "{answers:?}");
    assert!(answers[1]["error"]["hint"].as_str().is_some_and(|hint| hint.contains("vm.memfd_noexec")));
}
