//! Whatever is done to a line shows, with the line and how.

use super::super::chain::Kind;
use super::super::line::{CONTEXT, NOTHING, parse, seal};
use super::{Place, of_bytes};
use serde_json::Value;
use std::time::SystemTime;
use waft_proto::id::Hash;

/// Line and kind of the first defect.
fn found(lines: &[Vec<u8>]) -> Option<(u64, Kind)> {
    of_bytes(&lines.concat(), None).defect.map(|defect| (defect.line, defect.kind))
}

fn object(line: &[u8]) -> serde_json::Map<String, Value> {
    match serde_json::from_slice(line).expect("JSON") {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

fn written(object: serde_json::Map<String, Value>) -> Vec<u8> {
    format!("{}\n", Value::Object(object)).into_bytes()
}

#[test]
fn a_line_is_sorted_json_and_its_hash_is_as_the_page_says() {
    let place = Place::with(2);
    let lines = place.lines();
    let text = String::from_utf8(lines[0].clone()).expect("UTF-8");
    assert!(text.starts_with(r#"{"event":"test","hash":""#), "{text}");
    let rest = r#""number":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1,"text":"a \"b\" \u001b[2J é "#;
    assert!(text.contains(rest), "{text}");
    assert!(text.ends_with("\\n\",\"time\":\"2026-11-21T00:00:01.000Z\",\"v\":1}\n"), "{text}");
    // By hand: what is hashed is the text of the line without the member `hash` and without the line end.
    let mut prev = "0".repeat(64);
    for line in &lines {
        let text = std::str::from_utf8(line).expect("UTF-8").trim_end();
        let (before, after) = text.split_once("\"hash\":\"").expect("a hash");
        let (hash, after) = after.split_at(64);
        let hashed = format!("{before}{}", after.strip_prefix("\",").expect("more members"));
        assert_eq!(Hash(blake3::derive_key(CONTEXT, hashed.as_bytes())).to_string(), hash);
        assert_eq!(object(line)["prev"], prev.as_str());
        prev = hash.to_owned();
    }
    assert_eq!(place.walked().head.to_string(), prev);
}

#[test]
fn each_field_of_each_line_counts() {
    let lines = Place::with(3).lines();
    assert_eq!(found(&lines), None);
    for at in 0..lines.len() {
        let whole = object(&lines[at]);
        assert_eq!(whole.len(), 8, "{whole:?}");
        for name in whole.keys() {
            for value in [None, Some(Value::from(7)), Some(Value::from("other")), Some(Value::Null)] {
                let mut changed = whole.clone();
                match value {
                    None => changed.remove(name),
                    Some(value) => changed.insert(name.clone(), value),
                };
                let mut lines = lines.clone();
                lines[at] = written(changed);
                let line = at as u64 + 1;
                assert_eq!(found(&lines), Some((line, Kind::Changed)), "{name} of line {line}");
            }
        }
        let mut more = whole.clone();
        more.insert("more".to_owned(), true.into());
        let mut lines = lines.clone();
        lines[at] = written(more);
        assert_eq!(found(&lines), Some((at as u64 + 1, Kind::Changed)));
    }
}

#[test]
fn each_byte_counts() {
    let whole = Place::with(3).bytes();
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let walked = of_bytes(&bytes, None);
            let before = whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            let defect = walked.defect.unwrap_or_else(|| panic!("byte {at} with {flip:#x} is not seen"));
            assert_eq!((defect.line, walked.lines), (before + 1, before), "byte {at}");
        }
    }
}

#[test]
fn the_same_object_in_other_words_is_another_line() {
    let lines = Place::with(2).lines();
    let text = String::from_utf8(lines[1].clone()).expect("UTF-8");
    for (from, to) in [
        ("{\"event\"", "{ \"event\""),
        ("\"seq\":2", "\"seq\":2.0"),
        ("\"v\":1}", "\"v\":1 }"),
        ("{\"event\":\"test\"", "{\"event\":\"x\",\"event\":\"test\""),
        ("\"test\"", "\"\\u0074est\""),
        ("}\n", "}\r\n"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert_eq!(found(&[lines[0].clone(), other.into_bytes()]), Some((2, Kind::Changed)), "{to}");
    }
}

#[test]
fn lines_that_are_gone_come_twice_or_changed_places_are_told_apart() {
    let lines = Place::with(6).lines();
    let without = |gone: std::ops::Range<usize>| {
        let mut lines = lines.clone();
        lines.drain(gone);
        lines
    };
    assert_eq!(found(&without(0..1)), Some((1, Kind::Removed)));
    assert_eq!(found(&without(2..4)), Some((3, Kind::Removed)));
    let said = of_bytes(&without(2..4).concat(), None).defect.expect("a defect").what;
    assert_eq!(said, "has seq 5: 2 lines are missing before it, from seq 3 on");
    for (a, b) in [(0, 1), (1, 4), (4, 5), (0, 5)] {
        let mut swapped = lines.clone();
        swapped.swap(a, b);
        assert_eq!(found(&swapped), Some((a as u64 + 1, Kind::Moved)), "{a} and {b}");
    }
    let mut twice = lines.clone();
    twice.insert(3, lines[2].clone());
    assert_eq!(found(&twice), Some((4, Kind::Inserted)));
    for noise in ["\n", "# a comment\n", "{\"v\":1}\n", "\u{0}\u{0}\n"] {
        let mut noisy = lines.clone();
        noisy.insert(3, noise.as_bytes().to_vec());
        assert_eq!(found(&noisy), Some((4, Kind::Inserted)), "{noise:?}");
    }
}

#[test]
fn a_line_that_is_forged_with_its_hash_does_not_fit_to_the_next() {
    let lines = Place::with(4).lines();
    let of = |at: usize| parse(lines[at].trim_ascii_end()).expect("a line");
    let forge = |seq: u64, prev: Hash| {
        let mut fields = of(1).fields;
        fields.insert("number".to_owned(), 99.into());
        seal(seq, prev, SystemTime::UNIX_EPOCH, "test", fields).bytes
    };
    let mut replaced = lines.clone();
    replaced[1] = forge(2, of(0).hash);
    assert_eq!(found(&replaced), Some((3, Kind::Changed)));
    let mut inserted = lines.clone();
    inserted.insert(2, forge(3, of(1).hash));
    assert_eq!(found(&inserted), Some((4, Kind::Inserted)));
    let mut first = lines.clone();
    first.insert(0, forge(1, NOTHING));
    assert_eq!(found(&first), Some((2, Kind::Inserted)));
}

#[test]
fn a_cut_tail_shows_by_a_head_that_was_kept() {
    let place = Place::with(5);
    let (lines, head) = (place.lines(), place.walked().head);
    let (all, four, none) = (lines.concat(), lines[..4].concat(), Vec::new());
    assert_eq!(of_bytes(&all, Some(head)).since, Some(0));
    let older = of_bytes(&four, None).head;
    assert_eq!(of_bytes(&all, Some(older)).since, Some(1));
    assert_eq!(of_bytes(&all, Some(NOTHING)).since, Some(5));
    // Without it, a log that ends early is a log.
    assert_eq!(of_bytes(&four, None).defect, None);
    for (cut, line) in [(&four, 5), (&none, 1)] {
        let walked = of_bytes(cut, Some(head));
        let defect = walked.defect.expect("a defect");
        assert_eq!((defect.line, defect.kind, walked.since), (line, Kind::Cut, None));
    }
    // What does not fit at all comes first.
    let mut changed = lines.clone();
    changed[1] = b"{}\n".to_vec();
    assert_eq!(of_bytes(&changed.concat(), Some(head)).defect.map(|defect| defect.kind), Some(Kind::Changed));
}

#[test]
fn cut_at_any_byte_it_is_torn_or_ends_early() {
    let place = Place::with(3);
    let (whole, head) = (place.bytes(), place.walked().head);
    for at in 0..whole.len() {
        let (cut, _) = whole.split_at(at);
        let lines = cut.iter().filter(|byte| **byte == b'\n').count() as u64;
        let kind = if cut.last().is_none_or(|last| *last == b'\n') { Kind::Cut } else { Kind::Torn };
        let walked = of_bytes(cut, Some(head));
        assert_eq!(walked.lines, lines);
        assert_eq!(
            walked.defect.map(|defect| (defect.line, defect.kind)),
            Some((lines + 1, kind)),
            "at {at}"
        );
    }
}
