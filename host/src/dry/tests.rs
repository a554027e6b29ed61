use super::{CHANGES_MAX, LINE_BYTES_MAX, Reader, Text, What, unified};
use std::process::Command;

fn text(line: u64, old: &str, new: &str) -> String {
    unified("/etc/x", Some(&[Some(1), Some(1)]), &Text { line, old: old.to_owned(), new: new.to_owned() })
}

#[test]
fn a_diff_is_what_diff_prints() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines = |count: usize| (1..=count).map(|at| format!("line {at}\n")).collect::<String>();
    let ways = [
        ("a\nb\nc\n".to_owned(), "a\nB\nc\n".to_owned()),
        (String::new(), "one\ntwo\n".to_owned()),
        ("one\n".to_owned(), String::new()),
        ("no newline".to_owned(), "no newline\n".to_owned()),
        ("a\nb".to_owned(), "a\nc".to_owned()),
        (lines(30), lines(30).replace("line 10\n", "ten\n").replace("line 25\n", "")),
        (lines(30), lines(30).replace("line 10\n", "ten\n").replace("line 17\n", "line 17\nmore\n")),
        (lines(9), format!("first\n{}", lines(9))),
        ("carriage\rreturn\r\nb\n".to_owned(), "carriage\rreturn\r\nc\n".to_owned()),
    ];
    for (old, new) in ways {
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, &old).expect("a file");
        std::fs::write(&b, &new).expect("a file");
        let printed = Command::new("diff")
            .args(["-u", "--label", "a/etc/x", "--label", "b/etc/x"])
            .args([&a, &b])
            .output()
            .expect("diff is installed");
        assert_eq!(text(1, &old, &new), String::from_utf8_lossy(&printed.stdout), "{old:?} {new:?}");
    }
}

#[test]
fn numbers_count_from_the_line_that_the_text_begins_with() {
    let diff = text(41, "a\nb\nc\nd\ne\n", "a\nb\nc\nD\ne\n");
    assert_eq!(diff.lines().nth(2), Some("@@ -41,5 +41,5 @@"));
    // What was not there before has no name and no line.
    let made = unified(
        "/etc/new\n+++ b/etc/passwd",
        Some(&[None, Some(2)]),
        &Text { line: 1, old: String::new(), new: "x\n".to_owned() },
    );
    assert_eq!(made, "--- /dev/null\n+++ b/etc/new\\n+++ b/etc/passwd\n@@ -0,0 +1 @@\n+x\n");
}

#[test]
fn lines_are_read_in_any_pieces_and_wrong_ones_are_counted() {
    let good = r#"{"path":"/a","kind":"file","change":"mode","mode":["0644","0600"]}"#;
    let lines = [
        good,
        r#"{"probe":"/usr/bin/id -u"}"#,
        r#"{"cut":true}"#,
        r#"{"path":"relative","kind":"file","change":"created"}"#,
        r#"{"path":"/a","kind":"file","change":"exploded"}"#,
        r#"{"path":"/a","kind":"file","change":"mode","mode":["0644","rwx\u001b"]}"#,
        r#"{"path":"/a","kind":"file","change":"created","extra":1}"#,
        "nonsense",
        "",
        good,
    ]
    .map(|line| format!("{line}\n"))
    .concat();
    for size in [1, 7, 4096] {
        let mut reader = Reader::default();
        lines.as_bytes().chunks(size).for_each(|piece| {
            reader.push(piece);
        });
        reader.push(b"{\"path\":\"/never/ended");
        let changes = reader.finish(2);
        assert_eq!(changes.list.len(), 2);
        assert_eq!(changes.list[0].change, What::Mode);
        assert_eq!(changes.probes, ["/usr/bin/id -u"]);
        assert!(changes.cut && changes.more == 0);
        assert_eq!(changes.malformed, 7);
    }
}

#[test]
fn a_target_that_floods_costs_no_more_than_the_limits() {
    let mut reader = Reader::default();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..64 {
        reader.push(&piece);
        assert!(reader.open.len() <= LINE_BYTES_MAX);
    }
    reader.push(b"\n");
    let line = b"{\"path\":\"/a\",\"kind\":\"file\",\"change\":\"created\"}\n";
    for _ in 0..CHANGES_MAX + 10 {
        reader.push(line);
    }
    let changes = reader.finish(u32::MAX);
    assert_eq!((changes.list.len(), changes.malformed, changes.cut), (CHANGES_MAX, 1, true));
    assert_eq!(changes.more, u64::from(u32::MAX) - CHANGES_MAX as u64);
}
