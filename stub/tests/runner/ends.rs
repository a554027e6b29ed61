//! The ways in which a task ends.

use crate::lab::{collect, command, pool, task};
use tokio::sync::{mpsc, oneshot};
use waft_proto::run::Status;

fn hello() -> String {
    command(
        "hello\nworld\n",
        "(call $write (i32.const 1) (i32.const 1024) (i32.const 6))
                               (call $write (i32.const 2) (i32.const 1030) (i32.const 6))",
    )
}

#[tokio::test]
async fn a_task_says_hello_on_both_streams() {
    let ran = task(hello()).run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "{:?}", ran.outcome.problem);
    assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"hello\n"[..], &b"world\n"[..]));
    assert_eq!(ran.states, ["ready", "running"]);
    assert_eq!((ran.outcome.exit_code, ran.outcome.signal), (Some(0), None));
    assert_eq!((ran.outcome.stdout_bytes, ran.outcome.stderr_bytes), (6, 6));
    assert_eq!(ran.outcome.walls, waft_proto::envelope::WALLS);
}

#[tokio::test]
async fn parameters_of_any_length_arrive_on_stdin() {
    let echo = command(
        "",
        "(local $got i32)
         (loop $more
           (i32.store (i32.const 0) (i32.const 70000))
           (i32.store (i32.const 4) (i32.const 30000))
           (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
           (local.set $got (i32.load (i32.const 8)))
           (if (local.get $got)
             (then (call $write (i32.const 1) (i32.const 70000) (local.get $got)) (br $more))))",
    );
    let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for params in [&b""[..], b"{}", &long] {
        let ran = task(echo.clone()).params(params).run().await;
        assert_eq!(ran.outcome.status, Status::Ok);
        assert!(ran.stdout == params, "{} of {} bytes came back", ran.stdout.len(), params.len());
    }
}

#[tokio::test]
async fn a_task_sees_its_name_and_its_run_and_nothing_else() {
    let words = command(
        "",
        "(drop (call $args_get (i32.const 2000) (i32.const 3000)))
         (call $write (i32.const 1) (i32.const 3000) (i32.const 6))
         (drop (call $environ_sizes_get (i32.const 12) (i32.const 16)))
         (drop (call $environ_get (i32.const 2000) (i32.const 4000)))
         (call $write (i32.const 1) (i32.const 4000) (i32.load (i32.const 16)))",
    );
    let run = "WAFT_RUN=07070707-0707-0707-0707-070707070707";
    let expected = format!("probe\0WAFT_TASK=probe\0{run}\0WAFT_TARGET=web1\0");
    assert_eq!(task(words.clone()).run().await.stdout(), expected);
    assert_eq!(task(words).check().run().await.stdout(), expected + "WAFT_CHECK=1\0");
}

#[tokio::test]
async fn exit_codes_arrive_as_numbers() {
    let pool = pool();
    for code in [0_u32, 1, 3, 125, 126, 256, u32::MAX] {
        let body = format!("(call $proc_exit (i32.const {}))", code.cast_signed());
        let ran = task(command("", &body)).run_in(&pool).await;
        assert_eq!(ran.outcome.exit_code, Some(code));
        let status = if code == 0 { Status::Ok } else { Status::Failed };
        assert_eq!(ran.outcome.status, status, "{code}");
        // The foreign ones get a sentence with the number.
        assert_eq!(ran.message().contains(&code.to_string()), code > 125, "{}", ran.message());
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn a_trap_names_what_and_where() {
    let ran = task(command("", "unreachable")).run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "task.trap"));
    assert!(ran.message().contains("`unreachable`"), "{}", ran.message());
    assert!(ran.message().contains("`main`"), "{}", ran.message());
    assert_eq!(ran.outcome.exit_code, None);
}

#[tokio::test]
async fn recursion_without_end_is_a_trap() {
    let ran = task(command("", "(call $main)")).run().await;
    assert_eq!(ran.code(), "task.trap");
    assert!(ran.message().contains("stack"), "{}", ran.message());
}

/// A module that spins before `_start` is even called.
const SPINS_IN_START: &str = r#"(module (memory (export "memory") 1)
  (func $spin (loop $again (br $again))) (start $spin) (func (export "_start")))"#;

fn sleeps_for_an_hour() -> String {
    // One relative subscription to the monotonic clock: tag 0 at 2008, clock 1 at 2016, timeout at 2024.
    command(
        "",
        "(i32.store (i32.const 2016) (i32.const 1))
         (i64.store (i32.const 2024) (i64.const 3600000000000))
         (drop (call $poll_oneoff (i32.const 2000) (i32.const 3000) (i32.const 1) (i32.const 8)))",
    )
}

#[tokio::test]
async fn whatever_does_not_end_is_killed_at_the_deadline() {
    let spins = command("", "(loop $again (br $again))");
    for wat in [spins, SPINS_IN_START.to_owned(), sleeps_for_an_hour()] {
        let ran = task(wat).timeout_ms(300).run().await;
        assert_eq!((ran.outcome.status, ran.code()), (Status::TimedOut, "task.timeout"));
        assert!((300..5000).contains(&ran.outcome.ms), "{} ms", ran.outcome.ms);
        assert_eq!((ran.outcome.exit_code, ran.outcome.signal), (None, None));
    }
}

#[tokio::test]
async fn what_was_said_before_the_deadline_is_not_lost() {
    let body = "(call $write (i32.const 1) (i32.const 1024) (i32.const 6)) (loop $again (br $again))";
    let ran = task(command("hello\n", body)).timeout_ms(300).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert_eq!(ran.stdout(), "hello\n");
}

#[tokio::test]
async fn a_short_sleep_ends_by_itself() {
    let short = sleeps_for_an_hour().replace("3600000000000", "5000000");
    // Two subscriptions take another way through the host than one.
    let two = short.replace("(i32.const 3000) (i32.const 1)", "(i32.const 3000) (i32.const 2)").replace(
        "(i32.store (i32.const 2016)",
        "(i64.store (i32.const 2072) (i64.const 9000000)) (i32.store (i32.const 2016)",
    );
    for wat in [short, two] {
        let ran = task(wat).run().await;
        assert_eq!(ran.outcome.status, Status::Ok, "{:?}", ran.outcome.problem);
    }
}

#[tokio::test]
async fn cancelling_ends_a_run_at_once() {
    let pool = pool();
    let order = task(command("", "(loop $again (br $again))"));
    let (events, mut receiver) = mpsc::channel(1);
    let (cancel, cancelled) = oneshot::channel();
    let run = pool.run(order.job().expect("a good order"), events, cancelled);
    let stop = async {
        // Ready, Running: it spins now.
        receiver.recv().await.expect("ready");
        receiver.recv().await.expect("running");
        cancel.send(()).expect("the run listens");
        collect(&mut receiver).await
    };
    let (ran, ()) = tokio::join!(stop, run);
    assert_eq!((ran.outcome.status, ran.code()), (Status::Cancelled, "task.cancelled"));
    assert!(pool.idle().is_empty());
}

#[tokio::test]
async fn modules_that_cannot_run_are_named_before_they_do() {
    let library = r#"(module (func (export "other")))"#;
    let foreign = r#"(module (import "env" "magic" (func)) (func (export "_start")))"#;
    for (wat, code, word) in [(library, "task.start", "_start"), (foreign, "task.import", "env.magic")] {
        let ran = task(wat).run().await;
        assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, code));
        assert!(ran.message().contains(word), "{}", ran.message());
        assert!(ran.states.is_empty());
    }
}
