use super::*;
use alloc::format;

/// Whether `value` has that form. Those here were made by the programs that they are named after.
fn has(value: &str, form: &str) -> bool {
    of(value.as_bytes()).iter().any(|known| known.as_slice() == form.as_bytes())
}

#[test]
fn json_of_several_writers() {
    let value = "p\"a\\s/é\n\u{1b}😀";
    assert!(has(value, r#"p\"a\\s/é\n\u001b😀"#), "serde_json");
    assert!(has(value, r#"p\"a\\s/\u00e9\n\u001b\ud83d\ude00"#), "python json.dumps");
    assert!(has(value, r#"p\"a\\s\/\u00e9\n\u001b\ud83d\ude00"#), "php json_encode");
    assert!(has(value, r#"p\"a\\s/\u00E9\n\u001B\uD83D\uDE00"#), "upper case");
}

#[test]
fn urls_of_several_writers() {
    let value = "a b/c'd~é";
    assert!(has(value, "a%20b%2Fc%27d~%C3%A9"), "RFC 3986");
    assert!(has(value, "a%20b%2fc%27d~%c3%a9"), "the same in lower case");
    assert!(has(value, "a%20b/c%27d~%C3%A9"), "python urllib.parse.quote");
    assert!(has(value, "a%20b%2Fc'd~%C3%A9"), "encodeURIComponent");
    assert!(has(value, "a%20b/c'd~%C3%A9"), "encodeURI");
    assert!(has(value, "a+b%2Fc%27d%7E%C3%A9"), "a form");
}

#[test]
fn shells_of_several_writers() {
    let value = "a'b$c \"d\\e!";
    assert!(has(value, r#"a'\''b$c "d\e!"#), "single quotes");
    assert!(has(value, r#"a'"'"'b$c "d\e!"#), "python shlex.quote");
    assert!(has(value, r#"a'b\$c \"d\\e!"#), "double quotes");
    assert!(has(value, r#"a'b\$c \"d\\e\!"#), "double quotes, interactive");
    assert!(has(value, r#"a\'b\$c\ \"d\\e\!"#), "bash printf %q");
    assert!(has("tab\there\u{1}é", r"tab\there\001é"), "bash printf %q in UTF-8");
    assert!(has("tab\there\u{1}é", r"tab\there\001\303\251"), "bash printf %q in C");
}

#[test]
fn one_escaping_inside_of_another() {
    let value = "a'b\"c\\\n";
    assert!(has(value, r#"a'b\\\"c\\\\\\n"#), "JSON in JSON");
    assert!(has(value, r#"a'\\''b\"c\\\n"#), "shell in JSON");
    assert!(has(value, r#"a'\''b\"c\\\n"#), "JSON in shell");
}

#[test]
fn base64_alone_and_in_something_longer() {
    // printf %s 'hunter2?>' | base64
    assert!(has("hunter2?>", "aHVudGVyMj8+") && has("hunter2?>", "aHVudGVyMj8-"));
    assert!(has("hunter22", "aHVudGVyMjI=") && has("hunter22", "aHVudGVyMjI"));
    // In `xhunter22y` and `xyhunter22z`, without the characters that hold bits of the others.
    assert!("eGh1bnRlcjIyeQ".contains("h1bnRlcjIy") && has("hunter22", "h1bnRlcjIy"));
    assert!("eHlodW50ZXIyMno=".contains("odW50ZXIyM") && has("hunter22", "odW50ZXIyM"));
    let long = "0123456789".repeat(10);
    let lines = of(long.as_bytes());
    let text = base64(long.as_bytes(), STANDARD);
    for columns in BASE64_COLUMNS {
        let broken = format!("{}\n", core::str::from_utf8(&text[..columns]).expect("ASCII"));
        assert!(lines.iter().any(|form| form.starts_with(broken.as_bytes())), "{columns} columns");
    }
}

#[test]
fn base64_is_that_of_the_standard() {
    // RFC 4648, section 10, without padding.
    for (value, text) in
        [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]
    {
        assert_eq!(base64(value.as_bytes(), STANDARD), text.as_bytes());
    }
}

#[test]
fn hex_lines_and_bytes_that_are_no_text() {
    assert!(has("hunter2\u{fd}", "68756e74657232c3bd") && has("hunter2\u{fd}", "68756E74657232C3BD"));
    let forms = of(b"first line\n  second line\r\nshort\n");
    for line in ["first line", "second line"] {
        assert!(forms.iter().any(|form| form.as_slice() == line.as_bytes()));
    }
    assert!(!forms.iter().any(|form| form.as_slice() == b"short"));
    assert!(of(b"bytes\xff\xfe!").iter().any(|form| form.as_slice() == "bytes\u{fffd}\u{fffd}!".as_bytes()));
}

#[test]
fn no_form_is_shorter_than_what_is_looked_for() {
    for value in ["hunter", "hunter2", "\n\n\n\n\n\n", "ééé"] {
        assert!(of(value.as_bytes()).iter().all(|form| form.len() >= SECRET_BYTES_MIN));
    }
}
