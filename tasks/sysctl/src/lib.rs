//! Lines of files of sysctl. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
use waft_sdk::Error;
pub use waft_tasks_common::State;
use waft_tasks_common::{Scalar, Yes};

/// Where the lines go that this task makes.
pub const FILE: &str = "/etc/sysctl.d/99-waft.conf";
const DIR: &str = "/etc/sysctl.d/";
/// Ansible's default.
const MAIN: &str = "/etc/sysctl.conf";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(alias = "key")]
    pub name: String,
    #[serde(alias = "val")]
    pub value: Option<Scalar>,
    #[serde(default)]
    pub state: State,
    pub sysctl_file: Option<String>,
    #[serde(default)]
    pub sysctl_set: Yes,
    pub reload: Option<Yes>,
    #[serde(default)]
    pub ignoreerrors: Yes,
}

fn invalid(message: String, hint: &str) -> Error {
    Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) }
}

impl Params {
    /// The value that is wanted; none: the line shall not be there.
    pub fn wanted(&self) -> Result<Option<&str>, Error> {
        let is_bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | ':' | '@'));
        if self.name.is_empty() || self.name.starts_with(['-', '.', '/']) || self.name.contains(is_bad) {
            let message =
                format!("`name` is `{}`, which is no setting of the kernel", self.name.escape_debug());
            return Err(invalid(message, "for example `net.ipv4.ip_forward`"));
        }
        let file = self.file();
        let name = file.strip_prefix(DIR).unwrap_or_default();
        let is_part = name.ends_with(".conf") && !name.contains('/') && !name.contains(char::is_control);
        if file != MAIN && !is_part {
            let message = format!("`sysctl_file` is `{}`, which is no file of sysctl", file.escape_debug());
            let hint =
                "/etc/sysctl.conf, or one such as /etc/sysctl.d/60-net.conf: only names that end so are read";
            return Err(invalid(message, hint));
        }
        match (self.state, &self.value) {
            (State::Absent, _) => Ok(None),
            (_, Some(Scalar(value))) if !value.trim().is_empty() && !value.contains(char::is_control) => {
                Ok(Some(value.trim()))
            }
            (_, Some(_)) => {
                Err(invalid("`value` is empty, or holds a line end".into(), "it is one line of text"))
            }
            (_, None) => Err(invalid("expected `value`".into(), "or `state=absent`")),
        }
    }

    pub fn file(&self) -> &str {
        self.sysctl_file.as_deref().unwrap_or(FILE)
    }
}

/// Dots and slashes are the same; several blanks are one, as in what the kernel prints.
pub fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

fn key(name: &str) -> String {
    // The first sign says which of the two separates: net/ipv4/conf/eth0.1/forwarding.
    let first = name.find(['.', '/']).and_then(|at| name.get(at..=at));
    if first == Some("/") {
        name.replace('.', "\0").replace('/', ".").replace('\0', "/")
    } else {
        name.to_owned()
    }
}

/// The name and value of a line.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    // `-name` says that an error is none.
    Some((name.trim().trim_start_matches('-'), value.trim()))
}

/// A file after the change, and the value that was in it. Of several lines of one name the last counts for sysctl: only
/// that one stays.
pub fn edit(text: &str, name: &str, wanted: Option<&str>) -> (String, Option<String>) {
    let wanted_key = key(name);
    let is_it = |line: &str| setting(line).is_some_and(|(name, _)| key(name) == wanted_key);
    let all: Vec<&str> = text.split_terminator('\n').collect();
    let last = all.iter().rposition(|line| is_it(line));
    let before =
        last.and_then(|at| all.get(at)).and_then(|line| setting(line)).map(|(_, value)| value.to_owned());
    let mut after = String::new();
    let mut add = |line: &str| after.extend([line, "\n"]);
    let line = wanted.map(|value| [name, " = ", value].concat());
    for (at, old) in all.iter().enumerate() {
        match (&line, &before, wanted) {
            _ if !is_it(old) => add(old),
            (Some(_), Some(before), Some(wanted)) if Some(at) == last && same(before, wanted) => add(old),
            (Some(line), ..) if Some(at) == last => add(line),
            _ => {}
        }
    }
    if let (Some(line), None) = (&line, last) {
        add(line);
    }
    // No line is another one: then what ends the last one is not, either.
    let is_same = after.strip_suffix('\n') == Some(text);
    (if is_same { text.to_owned() } else { after }, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_any_form() {
        let old = "# net\nnet/ipv4/ip_forward=0\nkernel.x = 1\n-net.ipv4.ip_forward =  1\n";
        let (new, before) = edit(old, "net.ipv4.ip_forward", Some("1"));
        assert_eq!(
            (new.as_str(), before.as_deref()),
            ("# net\nkernel.x = 1\n-net.ipv4.ip_forward =  1\n", Some("1"))
        );
        assert_eq!(edit(&new, "net.ipv4.ip_forward", Some("1")).0, new);
        let (new, _) = edit(old, "net.ipv4.ip_forward", Some("2"));
        assert_eq!(new, "# net\nkernel.x = 1\nnet.ipv4.ip_forward = 2\n");
        assert_eq!(edit(old, "net.ipv4.ip_forward", None).0, "# net\nkernel.x = 1\n");
        assert_eq!(edit("", "a.b", Some("1 2")).0, "a.b = 1 2\n");
        assert_eq!(edit("#a.b = 1\n", "a.b", None), ("#a.b = 1\n".to_owned(), None));
        assert_eq!(edit("x = 1", "a.b", None).0, "x = 1");
        assert_eq!(edit("a.b = 1", "a.b", Some("1")).0, "a.b = 1");
        assert_eq!(edit("x = 1\r\ny = 2", "a.b", Some("1")).0, "x = 1\r\ny = 2\na.b = 1\n");
        assert!(same("32768\t60999", "32768 60999") && !same("1", "10"));
        assert_eq!(key("net/ipv4/conf/eth0.1/x"), "net.ipv4.conf.eth0/1.x");
    }

    #[test]
    fn what_is_no_setting() {
        let wanted = |json: &str| serde_json::from_str::<Params>(json).unwrap().wanted().is_ok();
        for good in [
            r#"{"name":"kernel.msgmax","value":4096}"#,
            r#"{"key":"a.b","state":"absent"}"#,
            r#"{"name":"a.b","value":"x","sysctl_file":"/etc/sysctl.d/a.conf"}"#,
            r#"{"name":"a.b","value":"x","sysctl_file":"/etc/sysctl.conf"}"#,
        ] {
            assert!(wanted(good), "{good}");
        }
        for bad in [
            r#"{"name":"a.b"}"#,
            r#"{"name":"a b","value":1}"#,
            r#"{"name":"-a","value":1}"#,
            r#"{"name":"","value":1}"#,
            r#"{"name":"a=b","value":1}"#,
            r#"{"name":"a.b","value":"1\nx=2"}"#,
            r#"{"name":"a.b","value":" "}"#,
            r#"{"name":"a.b","value":1,"sysctl_file":"/etc/passwd"}"#,
            r#"{"name":"a.b","value":1,"sysctl_file":"/etc/sysctl.d/x"}"#,
            r#"{"name":"a.b","value":1,"sysctl_file":"/etc/sysctl.d/../x.conf"}"#,
        ] {
            assert!(!wanted(bad), "{bad}");
        }
    }
}
