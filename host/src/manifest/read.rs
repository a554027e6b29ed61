//! From TOML to a manifest: every problem at once, each with its line.

mod examples;
mod schema;

use super::schema::Kind as Type;
use super::{Manifest, NAME_BYTES_MAX, Place, VERSION_BYTES_MAX};
use crate::run::REBOOT_PARAMS;
use crate::secret::{DESCRIPTION_BYTES_MAX, Declarations, Declared, END_TO_END, Kind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use waft_proto::grant::{GRANTS_MAX, Grant, GrantSet, nearest};
use waft_proto::run::Problem;

const KEYS: [&str; 10] = [
    "name",
    "version",
    "description",
    "grants",
    "check",
    "returns",
    "secrets",
    "params",
    "result",
    "examples",
];
/// In place of a list of grants: whatever it is given.
const GIVEN: &str = "given";
/// When a task is over, and whether that is after a reboot.
const RETURNS: [(&str, bool); 1] = [("after-reboot", true)];
/// Of one secret.
const SECRET_KEYS: [&str; 3] = ["type", "description", "require"];

pub(super) fn read(what: &str, text: &str, place: Place) -> Result<Manifest, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { what, text, problems: Vec::new(), properties: 0 };
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
        given: false,
        check: false,
        after_reboot: false,
        secrets: Declarations::new(),
        params: None,
        result: None,
        examples: Vec::new(),
        place,
    };
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let (mut examples, mut returns) = (None, 0);
    for (key, value) in entries {
        match key.get_ref().as_ref() {
            "name" => manifest.name = reader.name(value),
            "version" => manifest.version = reader.line("version", value, VERSION_BYTES_MAX),
            "description" => manifest.description = reader.paragraph(value),
            "grants" if value.get_ref().as_str() == Some(GIVEN) => manifest.given = true,
            "grants" => manifest.grants = reader.grants(value),
            "check" => manifest.check = reader.bool("check", value),
            "returns" => {
                manifest.after_reboot = reader.word("returns", value, &RETURNS).unwrap_or(false);
                returns = value.span().start;
            }
            "secrets" => manifest.secrets = reader.secrets(value),
            "params" => manifest.params = reader.object("params", value, schema::About::Params),
            "result" => manifest.result = reader.object("result", value, schema::About::Result),
            "examples" => examples = Some(value),
            other => {
                let hint = match nearest(other, KEYS) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known are {}", KEYS.join(", ")),
                };
                let message = format!("`{}` is no key of a manifest", other.escape_debug());
                reader.say(key.span().start, "manifest.key", &message, &hint);
            }
        }
    }
    if let Some(examples) = examples {
        // Of parameters that were read badly nothing can be said.
        let schema = if reader.problems.is_empty() { manifest.params.as_ref() } else { None };
        manifest.examples = reader.examples(examples, schema);
    }
    reader.unasked(&manifest);
    reader.returning(&manifest, returns);
    if reader.problems.is_empty() { Ok(manifest) } else { Err(reader.problems) }
}

struct Reader<'a> {
    what: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
    /// Of parameters and results, so far.
    properties: usize,
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
        let text = self.text("description", value, super::DESCRIPTION_BYTES_MAX)?;
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

    fn secrets(&mut self, value: &Value<'_>) -> Declarations {
        let mut secrets = Declarations::new();
        let hint = "for example `[secrets.token]`, and below it `type = \"text\"`";
        let Some(table) = value.get_ref().as_table() else {
            self.expected("secrets", value, "a table of secrets", hint);
            return secrets;
        };
        for (name, value) in table.iter() {
            let Some(table) = value.get_ref().as_table() else {
                self.expected(name.get_ref(), value, "a table", hint);
                continue;
            };
            let mut declared = Declared::default();
            for (key, value) in table.iter() {
                match key.get_ref().as_ref() {
                    "type" => declared.kind = self.word("type", value, &Kind::ALL),
                    "description" => {
                        declared.description = self.line("description", value, DESCRIPTION_BYTES_MAX);
                    }
                    "require" => {
                        declared.end_to_end =
                            self.word("require", value, &[(END_TO_END, true)]).unwrap_or(false);
                    }
                    other => {
                        let message = format!("`{}` is no key of a secret", other.escape_debug());
                        let hint = format!("known are {}", SECRET_KEYS.join(", "));
                        self.say(key.span().start, "manifest.key", &message, &hint);
                    }
                }
            }
            secrets.insert(name.get_ref().to_string(), declared);
        }
        secrets
    }

    /// What is said of a secret that `grants` does not ask for is a mistake in one of the two.
    fn unasked(&mut self, manifest: &Manifest) {
        if manifest.given {
            return;
        }
        let asked: Vec<String> = manifest.grants.iter().map(|grant| grant.to_string()).collect();
        for name in manifest.secrets.keys().filter(|name| !asked.contains(&format!("secret:{name}"))) {
            let message =
                format!("`secrets` tells of `{}`, which `grants` does not ask for", name.escape_debug());
            self.say(0, "manifest.secret", &message, &format!("add \"secret:{name}\" to `grants`"));
        }
    }

    /// The controller waits by what the task says in a dry run, and by some of its parameters.
    fn returning(&mut self, manifest: &Manifest, at: usize) {
        if !manifest.after_reboot {
            return;
        }
        if !manifest.check {
            let message = "`returns` is said of a task without `check = true`";
            let hint = "which boot lasts is asked by a dry run: support it, and say `check = true`";
            self.say(at, "manifest.returns", message, hint);
        }
        let params = manifest.params.iter().flat_map(|params| &params.properties);
        for (name, _) in params.filter(|(name, schema)| {
            REBOOT_PARAMS.contains(&name.as_str()) && schema.kinds != [Type::Integer]
        }) {
            let message = format!("`returns` waits by `params.{name}`, which is no integer");
            self.say(
                at,
                "manifest.returns",
                &message,
                "it is a number of seconds: write `type = \"integer\"`",
            );
        }
    }

    fn word<T: Copy>(&mut self, key: &str, value: &Value<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.line(key, value, NAME_BYTES_MAX)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{key}` is `{text}`, expected {}", known.join(" or "));
            self.say(
                value.span().start,
                "manifest.word",
                &message,
                &format!("write `{key} = \"{}\"`", known.first().copied().unwrap_or_default()),
            );
        }
        found
    }

    fn grants(&mut self, value: &Value<'_>) -> GrantSet {
        let Some(list) = value.get_ref().as_array() else {
            let hint = "for example `grants = [\"fs:/var/log:ro\", \"facts\"]`; `grants = \"given\"` is whatever it is given";
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
