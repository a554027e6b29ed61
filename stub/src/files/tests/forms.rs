//! Requests that are none, and what the audit log says of those that are.

use super::*;
use crate::base64::{decode, encode};
use crate::files::text::{shown, time};

#[test]
fn a_request_that_is_none_says_what_one_is() {
    let place = Place::new();
    for text in [
        "",
        "[",
        "[]",
        "1",
        "null",
        "{}",
        r#"{"op":1}"#,
        r#"{"op":null}"#,
        r#"{"path":"/x"}"#,
        "\u{feff}{}",
        "{}{}",
    ] {
        let problem = call(text.as_bytes(), &place.roots, "deploy", "web1").expect_err("no request");
        assert!(problem.code == "file.request" && problem.hint.is_some(), "{text}: {problem:?}");
    }
    let problem =
        call(b"{\"op\":\"stat\",\"path\":\"\xff\"}", &place.roots, "deploy", "web1").expect_err("no UTF-8");
    assert_eq!(problem.code, "file.request");
    let problem = place.bad(json!({"op": "chmd", "path": "rw/file"}));
    let hint = problem.hint.expect("one");
    assert!(problem.message.contains("chmd") && hint.contains("did you mean `chmod`?"), "{hint}");
    for op in [
        "stat",
        "chown",
        "symlink",
        "link",
        "rename",
        "fsync",
        "utime",
        "getxattr",
        "listxattr",
        "setxattr",
        "removexattr",
        "statvfs",
    ] {
        assert!(hint.contains(op), "{op}");
    }
    let problem = place.bad(json!({"op": "chmod", "path": "rw/file", "mod": "0644"}));
    assert!(problem.message.contains("`mod`") || problem.message.contains(" mod"), "{problem:?}");
    assert_eq!(problem.hint.as_deref(), Some("did you mean `mode`? it has one of path, mode, follow"));
    for gone in ["unlink", "mkdir", "rmdir", "mknod"] {
        assert_eq!(place.code(json!({"op": gone, "path": "rw/file"})), "file.request");
    }
}

#[test]
fn each_field_says_what_it_wants() {
    let place = Place::new();
    let before = place.everything();
    let long = format!("/{}", "x".repeat(4095));
    for request in [
        json!({"op": "stat"}),
        json!({"op": "stat", "path": null}),
        json!({"op": "stat", "path": 1}),
        json!({"op": "stat", "path": "rw/a\0b"}),
        json!({"op": "stat", "path": long}),
        json!({"op": "stat", "path": "rw/file", "follow": 1}),
        json!({"op": "chmod", "path": "rw/file"}),
        json!({"op": "chmod", "path": "rw/file", "mode": 420}),
        json!({"op": "chmod", "path": "rw/file", "mode": "0o644"}),
        json!({"op": "chmod", "path": "rw/file", "mode": "10000"}),
        json!({"op": "chmod", "path": "rw/file", "mode": "+644"}),
        json!({"op": "chmod", "path": "rw/file", "mode": "u+w"}),
        json!({"op": "chmod", "path": "rw/file", "mode": ""}),
        json!({"op": "symlink", "path": "rw/new"}),
        json!({"op": "symlink", "path": "rw/new", "target": ""}),
        json!({"op": "symlink", "path": "rw/new", "target": "a\0b"}),
        json!({"op": "symlink", "path": "rw/new", "target": long}),
        json!({"op": "rename", "path": "rw/file"}),
        json!({"op": "rename", "path": "rw/file", "to": "rw/new", "replace": false, "exchange": true}),
        json!({"op": "link", "path": "rw/file", "to": "rw/\0"}),
        json!({"op": "getxattr", "path": "rw/file"}),
        json!({"op": "getxattr", "path": "rw/file", "name": "user.\0"}),
        json!({"op": "setxattr", "path": "rw/file", "name": "user.x"}),
        json!({"op": "setxattr", "path": "rw/file", "name": "user.x", "value": 1}),
    ] {
        let problem = place.bad(request.clone());
        assert!(problem.code == "file.request" && problem.hint.is_some(), "{request}: {problem:?}");
    }
    // `ask` would make it absolute.
    let problem =
        call(br#"{"op":"stat","path":"etc/x"}"#, &place.roots, "deploy", "web1").expect_err("relative");
    assert_eq!(problem.message, "`stat` wants in `path` an absolute path");
    let name = format!("rw/{}", "x".repeat(256));
    assert_eq!(place.code(json!({"op": "chmod", "path": name, "mode": "0644"})), "file.name_too_long");
    assert_eq!(place.code(json!({"op": "symlink", "path": name, "target": "x"})), "file.name_too_long");
    assert_eq!(place.everything(), before);
}

#[test]
fn a_subject_is_one_short_line_without_values() {
    for (request, line) in [
        (json!({"op": "chmod", "path": "/etc/app/x", "mode": "0644"}), "chmod /etc/app/x 0644"),
        (json!({"op": "chown", "path": "/x", "owner": "web", "group": 33}), "chown /x web :33"),
        (json!({"op": "rename", "path": "/a", "to": "/b c"}), "rename /a \"/b c\""),
        (
            json!({"op": "symlink", "path": "/a", "target": "x\n\u{1b}[m\u{202e}"}),
            r#"symlink /a "x\n\u{1b}[m\u{202e}""#,
        ),
        (json!({"op": "setxattr", "path": "/a", "name": "user.x", "value": "s3cret"}), "setxattr /a user.x"),
        (json!({"op": "stat", "path": "/a", "follow": true}), "stat /a"),
        (json!({"op": "chmod", "path": "/a", "mode": [1, 2]}), "chmod /a ?"),
        (json!({"op": "nothing"}), "(no request)"),
    ] {
        assert_eq!(subject(request.to_string().as_bytes()), line);
    }
    let long = json!({"op": "rename", "path": format!("/{}", "\u{7}".repeat(4000)), "to": format!("/{}/end", "x".repeat(4000))});
    let line = subject(long.to_string().as_bytes());
    assert!(line.len() < 6000 && line.ends_with("/end\"") && !line.contains('\u{7}'), "{}", line.len());
    let many = json!({"op": "chmod", "path": "/a", "mode": "x".repeat(100_000)});
    assert!(subject(many.to_string().as_bytes()).len() < 1000);
}

#[test]
fn texts_are_what_they_were() {
    for length in 0..70_u8 {
        let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37) ^ 0xa5).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(encode(bytes.as_bytes()), text);
    }
    assert_eq!(shown("", 4), "\"\"");
    assert_eq!(shown("abcdefghi", 4), "\"abcd\"...\"fghi\"");
    assert_eq!(time(-1, 500_000_000), "-0.500000000");
    assert_eq!(time(i64::MIN, 0), "-9223372036854775808.000000000");
}
