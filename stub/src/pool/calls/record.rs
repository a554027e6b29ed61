//! What a task asked, as one JSON line each: for the audit.

use super::cut_text;
use crate::program::Staying;
use crate::worker::wire::Function;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::os::fd::RawFd;
use std::time::Duration;

/// The subject of a record, bytes.
pub(in crate::pool) const SUBJECT_BYTES_MAX: usize = 512;
/// Records of one execution; what comes after them is only counted.
const RECORDS_MAX: u32 = 10_000;

/// A file in memory that a program was to find: beside the words of the program, which may be too long to be told whole.
#[derive(Debug, Serialize)]
pub(in crate::pool) struct Placed {
    pub(in crate::pool) fd: RawFd,
    /// Of what is in it; none of a blob that no hash names.
    pub(in crate::pool) hash: Option<String>,
}

/// The records of one execution.
#[derive(Debug, Default)]
pub(in crate::pool) struct Records {
    written: u32,
    left_out: u64,
}

impl Records {
    /// The line for one call; none when there are too many. `code` says why it was refused or failed.
    pub(in crate::pool) fn line(
        &mut self,
        call: &str,
        subject: &str,
        files: &[Placed],
        staying: Option<&Staying>,
        code: Option<&str>,
        took: Duration,
    ) -> Option<Vec<u8>> {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let subject = cut_text(subject, SUBJECT_BYTES_MAX);
        let mut line =
            json!({"call": call, "subject": subject, "ok": code.is_none(), "code": code, "ms": ms});
        if let Value::Object(fields) = &mut line {
            if !files.is_empty() {
                fields.insert("files".to_owned(), json!(files));
            }
            if let Some(Staying { count: count @ 1.., processes }) = staying {
                fields.insert("stays".to_owned(), json!(processes));
                fields.insert("stay_count".to_owned(), json!(count));
            }
        }
        self.room().then(|| ended(&line))
    }

    /// Whether one more may be passed on; counts it in any case.
    pub(in crate::pool) fn room(&mut self) -> bool {
        let room = self.written < RECORDS_MAX;
        if room {
            self.written += 1
        } else {
            self.left_out += 1
        }
        room
    }

    /// At the end: how many there were beyond the limit.
    pub(in crate::pool) fn rest(&mut self) -> Option<Vec<u8>> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then(|| ended(&json!({"call": "more", "left_out": left_out})))
    }
}

fn ended(line: &Value) -> Vec<u8> {
    let mut line = line.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What a request is about, in few words. Nothing when it cannot be read: then the code of the record says so.
pub(in crate::pool) fn subject(function: Function, request: &[u8]) -> String {
    #[derive(Deserialize)]
    struct About {
        argv: Option<Vec<String>>,
        name: Option<String>,
        hash: Option<String>,
    }
    match function {
        Function::Exec | Function::Task | Function::Secret | Function::Blob => {}
        Function::File => return crate::files::subject(request),
        Function::Net => return crate::net::subject(request),
        Function::Facts | Function::Emit => return String::new(),
    }
    let Ok(about) = serde_json::from_slice::<About>(request) else { return String::new() };
    let words = about.argv.unwrap_or_default().join(" ");
    let text = [words, about.name.unwrap_or_default(), about.hash.unwrap_or_default()].concat();
    cut_text(&text, SUBJECT_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{RECORDS_MAX, Records, SUBJECT_BYTES_MAX, subject};
    use crate::worker::wire::Function;
    use std::time::Duration;

    #[test]
    fn a_record_is_one_bounded_line() {
        let mut records = Records::default();
        let line =
            records.line("exec", "/usr/bin/id -u", &[], None, None, Duration::from_millis(3)).expect("room");
        let text = std::str::from_utf8(&line).expect("text");
        assert_eq!(
            text,
            "{\"call\":\"exec\",\"code\":null,\"ms\":3,\"ok\":true,\"subject\":\"/usr/bin/id -u\"}\n"
        );
        let long = "\u{e9}\n".repeat(1000);
        let line =
            records.line("file", &long, &[], None, Some("grant.missing"), Duration::ZERO).expect("room");
        let read: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(read["subject"].as_str().is_some_and(|text| text.len() <= SUBJECT_BYTES_MAX));
        assert_eq!((&read["ok"], &read["code"]), (&false.into(), &"grant.missing".into()));
    }

    #[test]
    fn beyond_the_limit_records_are_counted() {
        let mut records = Records::default();
        assert!(records.rest().is_none());
        let written =
            (0..RECORDS_MAX + 7).filter_map(|_| records.line("facts", "", &[], None, None, Duration::ZERO));
        assert_eq!(written.count(), RECORDS_MAX as usize);
        assert_eq!(records.rest().as_deref(), Some(b"{\"call\":\"more\",\"left_out\":7}\n".as_slice()));
    }

    #[test]
    fn a_subject_says_what_it_is_about() {
        let of = |function, request: &str| subject(function, request.as_bytes());
        assert_eq!(of(Function::Exec, r#"{"argv":["/bin/x","a b"],"stdin":"secret"}"#), "/bin/x a b");
        assert_eq!(of(Function::Secret, r#"{"name":"db/password"}"#), "db/password");
        assert_eq!(of(Function::Exec, "{"), "");
        assert!(of(Function::Task, &format!("{{\"name\":\"{}\"}}", "x".repeat(2000))).len() <= 512);
    }
}
