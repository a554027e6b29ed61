use super::*;

#[test]
fn what_moves_hides_or_turns_text_becomes_visible() {
    for (raw, shown) in [
        ("plain äöü 日本 😀", "plain äöü 日本 😀"),
        ("a\tb\nc", "a\tb\nc"),
        ("\u{1b}[2J", "\\x1b[2J"),
        ("\u{1b}]0;title\u{7}", "\\x1b]0;title\\x07"),
        ("50%\r100%", "50%\\x0d100%"),
        ("\u{0}\u{7f}", "\\x00\\x7f"),
        ("\u{80}\u{9b}31m\u{9f}", "\\x80\\x9b31m\\x9f"),
        ("a\u{202e}b\u{2066}c\u{2069}", "a\\u{202e}b\\u{2066}c\\u{2069}"),
        ("a\u{200b}b\u{200d}c\u{feff}", "a\\u{200b}b\\u{200d}c\\u{feff}"),
        ("line\u{2028}para\u{2029}", "line\\u{2028}para\\u{2029}"),
        ("tag\u{e0041}", "tag\\u{e0041}"),
    ] {
        assert_eq!(text(raw), shown);
        assert_eq!(bytes(raw.as_bytes()), shown);
    }
    assert_eq!(bytes(b"a\xff\xc3(\xe2\x82"), "a\\xff\\xc3(\\xe2\\x82");
    assert_eq!(cell("two\nlines\tand \u{1b}c\n\n"), "two lines and \\x1bc");
}

#[test]
fn no_single_byte_reaches_the_terminal_as_a_control() {
    for byte in 0..=255u8 {
        let shown = bytes(&[b'a', byte, b'b']);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{byte:02x}: {shown:?}");
    }
}

#[test]
fn a_stream_reads_the_same_however_it_is_cut() {
    let raw = "é \u{1b}[1m € \u{9b} 😀\u{202e}\n".as_bytes();
    let whole = bytes(raw);
    for size in 1..=raw.len() {
        let mut escaper = Escaper::default();
        let mut shown: String = raw.chunks(size).map(|chunk| escaper.push(chunk)).collect();
        shown.push_str(&escaper.finish());
        assert_eq!(shown, whole, "in chunks of {size}");
    }
}

#[test]
fn lines_are_cut_and_say_how_much_is_missing() {
    assert_eq!(line(b"short", 0, "…"), "short");
    assert_eq!(line(b"short", 7, "…"), "short… (7 more bytes)");
    let exact = vec![b'x'; LINE_CHARS_MAX];
    assert_eq!(line(&exact, 0, "…").len(), LINE_CHARS_MAX);
    let over = vec![b'x'; LINE_CHARS_MAX + 10];
    assert!(line(&over, 5, "...").ends_with("x... (15 more bytes)"));
    // Escapes count with the characters they take: 1024 of four fill a line.
    let escapes = vec![0x1b; LINE_CHARS_MAX];
    let shown = line(&escapes, 0, "…");
    assert!(shown.ends_with(&format!("\\x1b… ({} more bytes)", LINE_CHARS_MAX - LINE_CHARS_MAX / 4)));
}

#[test]
fn cutting_counts_columns_and_not_characters() {
    assert_eq!(fit("abcdef", 6, "…"), "abcdef");
    assert_eq!(fit("abcdef", 5, "…"), "abcd…");
    assert_eq!(fit("日本語", 5, "…"), "日本…");
    assert_eq!(fit("日本語", 4, "…"), "日…");
    assert_eq!(fit("abcdef", 5, "..."), "ab...");
}
