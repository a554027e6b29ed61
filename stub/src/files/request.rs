//! Requests: one JSON object whose `op` says which other fields it may have.

use super::text;
use serde_json::{Map, Value};
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// A path, and what a symlink names, bytes: what the kernel takes is one less.
pub(super) const PATH_BYTES_MAX: usize = 4096;
/// Of a text in the subject of a request, characters from its beginning and from its end.
const SHOWN_CHARS_MAX: usize = 256;

struct Form {
    op: &'static str,
    fields: &'static [&'static str],
    example: &'static str,
}

const FORMS: [Form; 13] = [
    Form { op: "stat", fields: &["path", "follow"], example: r#"{"op":"stat","path":"/srv/x"}"# },
    Form {
        op: "chmod",
        fields: &["path", "mode", "follow"],
        example: r#"{"op":"chmod","path":"/srv/x","mode":"0644"}"#,
    },
    Form {
        op: "chown",
        fields: &["path", "owner", "group", "follow"],
        example: r#"{"op":"chown","path":"/srv/x","owner":"www","group":33}"#,
    },
    Form {
        op: "symlink",
        fields: &["path", "target"],
        example: r#"{"op":"symlink","path":"/srv/new","target":"x"}"#,
    },
    Form { op: "link", fields: &["path", "to"], example: r#"{"op":"link","path":"/srv/x","to":"/srv/new"}"# },
    Form {
        op: "rename",
        fields: &["path", "to", "replace", "exchange"],
        example: r#"{"op":"rename","path":"/srv/x","to":"/srv/new"}"#,
    },
    Form { op: "fsync", fields: &["path"], example: r#"{"op":"fsync","path":"/srv/x"}"# },
    Form {
        op: "utime",
        fields: &["path", "mtime", "atime", "follow"],
        example: r#"{"op":"utime","path":"/srv/x","mtime":"1767225600.5","atime":"now"}"#,
    },
    Form {
        op: "getxattr",
        fields: &["path", "name", "follow"],
        example: r#"{"op":"getxattr","path":"/srv/x","name":"user.a"}"#,
    },
    Form { op: "listxattr", fields: &["path", "follow"], example: r#"{"op":"listxattr","path":"/srv/x"}"# },
    Form {
        op: "setxattr",
        fields: &["path", "name", "value", "base64", "follow"],
        example: r#"{"op":"setxattr","path":"/srv/x","name":"user.a","value":"text"}"#,
    },
    Form {
        op: "removexattr",
        fields: &["path", "name", "follow"],
        example: r#"{"op":"removexattr","path":"/srv/x","name":"user.a"}"#,
    },
    Form { op: "statvfs", fields: &["path"], example: r#"{"op":"statvfs","path":"/srv"}"# },
];

#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: &'static str,
    example: &'static str,
    fields: Map<String, Value>,
}

impl Request {
    /// Reads a request that has an operation, a path and no field too many. Each field is read where it is used.
    pub(super) fn parse(request: &[u8]) -> Result<Request, Problem> {
        let mut fields = serde_json::from_slice::<Map<String, Value>>(request).map_err(|error| {
            let text = format!("the request of `file` is no JSON object: {error}");
            problem(text).hint("ask with {\"op\":\"stat\",\"path\":\"/srv/x\"}")
        })?;
        let op = fields.remove("op");
        let word = op.as_ref().and_then(Value::as_str).unwrap_or_default();
        let Some(form) = FORMS.iter().find(|form| form.op == word) else {
            let ops = FORMS.map(|form| form.op);
            let text = match op {
                None => "the request of `file` has no `op`".to_owned(),
                Some(_) => format!("`file` has no operation {}", text::shown(word, SHOWN_CHARS_MAX)),
            };
            return Err(problem(text).hint(suggestion("is", word, &ops)));
        };
        let request = Request { op: form.op, example: form.example, fields };
        if let Some(name) = request.fields.keys().find(|name| !form.fields.contains(&name.as_str())) {
            let unknown = format!("`{}` has no field {}", form.op, text::shown(name, SHOWN_CHARS_MAX));
            return Err(problem(unknown).hint(suggestion("has", name, form.fields)));
        }
        request.path("path")?;
        Ok(request)
    }

    fn wrong(&self, field: &str, wanted: &str) -> Problem {
        problem(format!("`{}` wants in `{field}` {wanted}", self.op))
            .hint(format!("ask with {}", self.example))
    }

    /// The field is not there, or null: as if it had not been said.
    pub(super) fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// `good` or the problem with this field.
    pub(super) fn want<T>(&self, field: &str, wanted: &str, good: Option<T>) -> Result<T, Problem> {
        good.ok_or_else(|| self.wrong(field, wanted))
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, Problem> {
        self.value(field).map(|value| self.want(field, "text", value.as_str())).transpose()
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool, Problem> {
        let value = self.value(field).map(|value| self.want(field, "true or false", value.as_bool()));
        Ok(value.transpose()?.unwrap_or(default))
    }

    /// A text as the kernel takes it in the place of a path.
    pub(super) fn name(&self, field: &str) -> Result<&str, Problem> {
        let fits = |text: &&str| !text.is_empty() && text.len() < PATH_BYTES_MAX && !text.contains('\0');
        let text = self.text(field)?.filter(fits);
        self.want(field, "a text of 1 to 4095 bytes without NUL", text)
    }

    pub(super) fn path(&self, field: &str) -> Result<&str, Problem> {
        let path = self.name(field)?;
        self.want(field, "an absolute path", path.starts_with('/').then_some(path))
    }

    /// Values of attributes stay out: nobody said that they may be seen.
    pub(super) fn subject(&self) -> String {
        let mut line = self.op.to_owned();
        for field in ["path", "to", "target", "name", "mode", "owner", "group"] {
            match self.value(field) {
                None => continue,
                // `:33` is a group, as chown(1) has it.
                Some(_) if field == "group" => line.push_str(" :"),
                Some(_) => line.push(' '),
            }
            match self.value(field) {
                Some(Value::String(text)) => line.push_str(&text::shown(text, SHOWN_CHARS_MAX)),
                Some(Value::Number(number)) => line.push_str(&number.to_string()),
                _ => line.push('?'),
            }
        }
        line
    }
}

fn suggestion(verb: &str, word: &str, known: &[&str]) -> String {
    let all = format!("it {verb} one of {}", known.join(", "));
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    }
}

fn problem(text: String) -> Problem {
    Problem::new("file.request", text)
}
