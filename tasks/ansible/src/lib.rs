//! What an Ansible module wants to be given, and what it answers.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::is_readable;

/// A module that is no binary, bytes: one with placeholders goes to the host as text.
pub const TEXT_BYTES_MAX: usize = 700 * 1024;
/// Of a module that may be one or the other, bytes that are looked at.
const HEAD_BYTES: usize = 1024;
/// In the place of which a module wants its arguments.
const JSON_ARGS: &str = "<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>";

/// How a module is started, and where it finds its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// An executable; a file with JSON is its one argument.
    Binary,
    /// It says WANT_JSON: the same by an interpreter.
    WantJson,
    /// Arguments stand in its text.
    JsonArgs,
    /// Python that imports ansible.module_utils.
    Utils,
    PowerShell,
    /// Arguments are a file of `k=v`.
    KeyValue,
}

/// Whether the beginning of a file is that of no text.
pub fn is_binary(bytes: &[u8]) -> bool {
    let text = |byte: &u8| matches!(byte, 7..=10 | 12 | 13 | 27 | 0x20..=0x7e | 0x80..);
    !bytes.iter().take(HEAD_BYTES).all(text)
}

pub fn style(text: &str) -> Style {
    let imports = |line: &str| {
        let words =
            ["from ansible.", "import ansible.", "from ansible_collections.", "import ansible_collections."];
        words.iter().any(|word| line.trim_start().starts_with(word))
    };
    if text.contains("#<<INCLUDE_ANSIBLE_MODULE_COMMON>>") || text.lines().any(imports) {
        Style::Utils
    } else if text.contains("#Requires -Module") || text.contains("#AnsibleRequires") {
        Style::PowerShell
    } else if text.contains(JSON_ARGS) {
        Style::JsonArgs
    } else if text.contains("WANT_JSON") {
        Style::WantJson
    } else {
        Style::KeyValue
    }
}

/// The text of such a module with its arguments.
pub fn with_args(text: &str, args: &str) -> String {
    text.replace(JSON_ARGS, args)
}

/// The words that start a script: those of its first line, and for Python the interpreter that is wanted.
pub fn interpreter(text: &str, python: &str) -> Option<Vec<String>> {
    let line = text.strip_prefix("#!")?.lines().next()?;
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.first().is_some_and(|word| word.ends_with("/env")) {
        words.remove(0);
    }
    let program = words.first_mut()?;
    if program.rsplit('/').next().is_some_and(|name| name.starts_with("python")) {
        *program = python;
    }
    Some(words.into_iter().map(str::to_owned).collect())
}

/// The arguments as a module gets them: its own, and what Ansible tells each.
pub fn arguments(own: &str, name: &str, check: bool, diff: bool) -> Option<String> {
    let members = own.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let comma = if members.is_empty() { "" } else { "," };
    // Last: nothing in the arguments of a module says that a dry run is none.
    Some(format!(
        "{{{members}{comma}\"_ansible_check_mode\":{check},\"_ansible_diff\":{diff},\"_ansible_no_log\":false,\
         \"_ansible_debug\":false,\"_ansible_verbosity\":0,\"_ansible_module_name\":{name:?},\
         \"_ansible_syslog_facility\":\"LOG_USER\",\"_ansible_keep_remote_files\":false,\"_ansible_socket\":null,\
         \"_ansible_shell_executable\":\"/bin/sh\",\
         \"_ansible_remote_tmp\":\"~/.ansible/tmp\",\"_ansible_tmpdir\":null,\"_ansible_selinux_special_fs\":[]}}"
    ))
}

/// The name of a module by that of its file: of what no name holds nothing is left.
pub fn module_name(file: &str) -> String {
    let stem = file.strip_suffix(".py").unwrap_or(file);
    stem.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).collect()
}

/// What a module answered.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

fn is_true(value: &str) -> bool {
    matches!(value.trim_matches('"').to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1")
}

/// Reads it. Modules may write other lines before and after their object.
pub fn answer(stdout: &str) -> Option<Answer> {
    let mut at = 0;
    let start = stdout.split_inclusive('\n').find_map(|line| {
        let here = at + line.len() - line.trim_start().len();
        at += line.len();
        line.trim_start().starts_with('{').then_some(here)
    })?;
    let end = stdout.rfind('}')? + 1;
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(stdout.get(start..end)?).ok()?;
    let mut flag = |name: &str| fields.remove(name).map(|value| is_true(value.get()));
    let changed = flag("changed").unwrap_or(false);
    let failed = flag("failed");
    let failed = failed.unwrap_or_else(|| {
        fields.get("rc").is_some_and(|code| !matches!(code.get(), "0" | "\"0\"" | "null"))
    });
    let msg = fields.remove("msg");
    // What it was asked, all over again.
    fields.remove("invocation");
    let mut outcome = Outcome::changed(changed);
    let text = msg.map(|msg| serde_json::from_str(msg.get()).unwrap_or_else(|_| msg.get().to_owned()));
    let text = text.filter(|text| !text.is_empty());
    let (fields, left_out): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(_, value)| is_readable(value.get()));
    let left_out = (!left_out.is_empty()).then(|| {
        let names: Vec<String> = left_out.into_iter().map(|(name, _)| name).collect();
        format!("left out, because waft could not read it: {}", names.join(", "))
    });
    let said: Vec<&str> = [&text, &left_out].into_iter().flatten().map(String::as_str).collect();
    if !said.is_empty() {
        outcome = outcome.msg(said.join("; "));
    }
    if failed {
        outcome = outcome.with("failed", &true);
    }
    for (name, value) in fields {
        outcome = outcome.with_json(&name, Box::<str>::from(value).into());
    }
    let failed = failed.then(|| text.unwrap_or_else(|| "the module failed and does not say why".to_owned()));
    Some(Answer { outcome, failed })
}

/// Why a module of that style is not started.
pub fn unsupported(style: Style, name: &str) -> Option<Error> {
    let (what, hint) = match style {
        Style::PowerShell => ("is one for Windows", "a target of waft runs Linux"),
        Style::KeyValue => (
            "does not say that it takes JSON",
            "a script that reads a file of JSON, whose path is its argument, has the word WANT_JSON in a comment",
        ),
        _ => return None,
    };
    let text = format!("the module {name} {what}");
    Some(Error { hint: Some(hint.to_owned()), ..Error::new("params.module", text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_of_a_module_is_seen() {
        assert!(is_binary(b"\x7fELF\0") && !is_binary("#!/bin/sh\n\u{e9}\t\x1b".as_bytes()));
        for (text, expected) in [
            (
                "import json\n  from ansible.module_utils.basic import AnsibleModule\n# WANT_JSON",
                Style::Utils,
            ),
            ("import sys # not from ansible.\n# WANT_JSON", Style::WantJson),
            ("x = '''<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>'''", Style::JsonArgs),
            ("#Requires -Module Ansible.ModuleUtils.Legacy", Style::PowerShell),
            ("#!/bin/sh\n. $1", Style::KeyValue),
        ] {
            assert_eq!(style(text), expected, "{text}");
            assert_eq!(
                unsupported(expected, "m").is_some(),
                matches!(expected, Style::PowerShell | Style::KeyValue)
            );
        }
    }

    #[test]
    fn python_is_the_one_that_is_wanted() {
        let words = |text: &str| interpreter(text, "/opt/python").map(|words| words.join("|"));
        assert_eq!(words("#!/usr/bin/python\n").as_deref(), Some("/opt/python"));
        assert_eq!(words("#!/usr/bin/env python3\n").as_deref(), Some("/opt/python"));
        assert_eq!(words("#!/usr/bin/perl -w\nx").as_deref(), Some("/usr/bin/perl|-w"));
        assert_eq!((words("#!\n"), words("import x")), (None, None));
    }

    #[test]
    fn arguments_are_json_and_the_last_word_is_ours() {
        for own in ["{}", " { \"a\": {\"b\": \"}\"} } ", r#"{"_ansible_check_mode": false}"#] {
            let args = arguments(own, "m", true, false).expect("an object");
            let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&args).expect("JSON");
            assert_eq!(read["_ansible_check_mode"], true, "{args}");
            assert_eq!(read["_ansible_module_name"], "m");
            assert_eq!(read.contains_key("a"), own.contains("\"a\""));
        }
        assert_eq!(arguments("[1]", "m", false, false), None);
        assert_eq!(module_name("a b'\".x.py"), "ab.x");
    }

    #[test]
    fn an_answer_is_mapped() {
        let said = |text: &str| {
            let answer = answer(text).expect("an answer");
            (answer.outcome.to_json(), answer.failed)
        };
        assert_eq!(
            said(
                "warning: x\n  {\"changed\": true, \"msg\": \"m\", \"invocation\": {}, \"a\": [1,\n 2]}\nbye\n"
            ),
            ("{\"changed\":true,\"msg\":\"m\",\"a\":[1,\n 2]}".to_owned(), None)
        );
        assert_eq!(
            said(r#"{"failed": true, "msg": "no"}"#),
            (r#"{"changed":false,"msg":"no","failed":true}"#.to_owned(), Some("no".to_owned()))
        );
        assert!(said(r#"{"rc": 2}"#).1.is_some() && said(r#"{"rc": 2, "failed": "False"}"#).1.is_none());
        assert!(said(r#"{"rc": 0, "changed": "yes"}"#).0.contains("\"changed\":true"));
        assert_eq!(
            said(r#"{"changed": true, "a": "\ud83d", "b": [1e400], "c": 1}"#).0,
            r#"{"changed":true,"msg":"left out, because waft could not read it: a, b","c":1}"#
        );
        assert!(said(r#"{"msg": "m", "a": "\ud83d"}"#).0.contains("\"m; left out, "));
        for text in ["", "x", "{", "}{", "[{}]", "{\"a\": 1}}"] {
            assert!(answer(text).is_none(), "{text}");
        }
    }
}
