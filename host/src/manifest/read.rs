//! From TOML to a manifest: every problem at once, each with its line.

use super::{DESCRIPTION_BYTES_MAX, Manifest, NAME_BYTES_MAX, Place, VERSION_BYTES_MAX};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use waft_proto::grant::{GRANTS_MAX, Grant, GrantSet, nearest};
use waft_proto::run::Problem;

const KEYS: [&str; 5] = ["name", "version", "description", "grants", "check"];
/// Read by a later release.
const RESERVED: [&str; 3] = ["params", "result", "examples"];

pub(super) fn read(what: &str, text: &str, place: Place) -> Result<Manifest, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { what, text, problems: Vec::new() };
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.say(at, "manifest.syntax", error.message(), "a manifest is TOML: `key = value`, a line each");
    }
    if !errors.is_empty() {
        return Err(reader.problems);
    }
    let mut manifest = Manifest {
        name: None,
        version: None,
        description: None,
        grants: GrantSet::default(),
        check: false,
        place,
    };
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        match key.get_ref().as_ref() {
            "name" => manifest.name = reader.name(value),
            "version" => manifest.version = reader.line("version", value, VERSION_BYTES_MAX),
            "description" => manifest.description = reader.paragraph(value),
            "grants" => manifest.grants = reader.grants(value),
            "check" => manifest.check = reader.bool("check", value),
            other if RESERVED.contains(&other) => {}
            other => {
                let hint = match nearest(other, KEYS.into_iter().chain(RESERVED)) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known are {}", KEYS.join(", ")),
                };
                let message = format!("`{}` is no key of a manifest", other.escape_debug());
                reader.say(key.span().start, "manifest.key", &message, &hint);
            }
        }
    }
    if reader.problems.is_empty() { Ok(manifest) } else { Err(reader.problems) }
}

struct Reader<'a> {
    what: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn say(&mut self, at: usize, code: &str, message: &str, hint: &str) {
        let message = format!("{}: {message}", self.place(at));
        self.problems.push(Problem::new(code, message).hint(hint));
    }

    fn place(&self, at: usize) -> String {
        let line = self.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        format!("{}, line {line}", self.what)
    }

    fn expected(&mut self, key: &str, value: &Value<'_>, what: &str, hint: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` is {what}, and here is {found}");
        self.say(value.span().start, "manifest.type", &message, hint);
    }

    fn text(&mut self, key: &str, value: &Value<'_>, bytes_max: usize) -> Option<String> {
        let Some(text) = value.get_ref().as_str() else {
            self.expected(key, value, "a text", &format!("for example `{key} = \"..\"`"));
            return None;
        };
        if text.is_empty() || text.len() > bytes_max {
            let message = format!("`{key}` has {} bytes, expected 1 to {bytes_max}", text.len());
            self.say(
                value.span().start,
                "manifest.length",
                &message,
                "leave it out, or say it in fewer words",
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// A text without controls.
    fn line(&mut self, key: &str, value: &Value<'_>, bytes_max: usize) -> Option<String> {
        let text = self.text(key, value, bytes_max)?;
        if text.chars().any(char::is_control) {
            let message = format!("`{key}` holds control characters");
            self.say(value.span().start, "manifest.text", &message, "write it in one line of plain text");
            return None;
        }
        Some(text)
    }

    fn paragraph(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.text("description", value, DESCRIPTION_BYTES_MAX)?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// What `call:` can name, so that every task can be called.
    fn name(&mut self, value: &Value<'_>) -> Option<String> {
        let name = self.text("name", value, NAME_BYTES_MAX)?;
        if Grant::parse(&format!("call:{name}")).is_err() {
            let message = format!("`{}` is no name of a task", name.escape_debug());
            let hint = "a name is letters, digits and `_` `-` `.` `/` `@`, and does not begin with `-`";
            self.say(value.span().start, "manifest.name", &message, hint);
            return None;
        }
        Some(name)
    }

    fn bool(&mut self, key: &str, value: &Value<'_>) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.expected(key, value, "true or false", &format!("write `{key} = true`, without quotes"));
            false
        })
    }

    fn grants(&mut self, value: &Value<'_>) -> GrantSet {
        let Some(list) = value.get_ref().as_array() else {
            let hint = "for example `grants = [\"fs:/var/log:ro\", \"facts\"]`";
            self.expected("grants", value, "a list of texts", hint);
            return GrantSet::default();
        };
        if list.len() > GRANTS_MAX {
            let message = format!("`grants` has {} entries, at most {GRANTS_MAX} are read", list.len());
            self.say(value.span().start, "grant.many", &message, "ask for a directory instead of its files");
            return GrantSet::default();
        }
        let mut texts = Vec::new();
        for item in list.iter() {
            let Some(text) = item.get_ref().as_str() else {
                self.expected("grants", item, "a list of texts", "write each grant in quotes");
                continue;
            };
            match Grant::parse(text) {
                Ok(_) => texts.push(text),
                Err(mut problem) => {
                    problem.message = format!("{}: {}", self.place(item.span().start), problem.message);
                    self.problems.push(problem);
                }
            }
        }
        match GrantSet::parse_all(texts.into_iter()) {
            Ok(set) => set,
            Err(problems) => {
                self.problems.extend(problems);
                GrantSet::default()
            }
        }
    }
}
