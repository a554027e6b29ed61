//! Lines of crontabs. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
use waft_sdk::Error;
pub use waft_tasks_common::State;
use waft_tasks_common::{Scalar, Yes};

/// Ansible's, so that either finds the other's jobs.
const MARK: &str = "#Ansible: ";

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Special {
    Reboot,
    Yearly,
    Annually,
    Monthly,
    Weekly,
    Daily,
    Hourly,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    pub name: String,
    #[serde(alias = "value")]
    pub job: Option<String>,
    #[serde(default)]
    pub state: State,
    pub user: Option<String>,
    pub cron_file: Option<String>,
    pub minute: Option<Scalar>,
    pub hour: Option<Scalar>,
    #[serde(alias = "dom")]
    pub day: Option<Scalar>,
    pub month: Option<Scalar>,
    #[serde(alias = "dow")]
    pub weekday: Option<Scalar>,
    pub special_time: Option<Special>,
    #[serde(default)]
    pub disabled: Yes,
    #[serde(default)]
    pub env: Yes,
}

fn invalid(message: String, hint: &str) -> Error {
    Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) }
}

impl Params {
    /// The line that is wanted; none: it shall not be there.
    pub fn line(&self) -> Result<Option<String>, Error> {
        let has_control = |text: &&&String| text.contains(char::is_control);
        if let Some(text) =
            [Some(&self.name), self.job.as_ref(), self.user.as_ref()].iter().flatten().find(has_control)
        {
            let message = format!("`{}` holds a line end or another control character", text.escape_debug());
            return Err(invalid(message, "a job is one line: put more into a script of its own"));
        }
        if self.name.trim().is_empty() {
            return Err(invalid("`name` is empty".into(), "it is by its name that the job is found again"));
        }
        if let Some(file) = &self.cron_file {
            let is_bad = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if file.is_empty() || file.contains(is_bad) {
                let hint = "cron reads only names of letters, digits, `-` and `_` there";
                return Err(invalid(
                    format!("`cron_file` is `{file}`, which is no name for /etc/cron.d"),
                    hint,
                ));
            }
        }
        if let Some(user) = &self.user
            && (user.is_empty() || user.starts_with('-') || user.contains(char::is_whitespace))
        {
            return Err(invalid(
                format!("`user` is `{user}`, which is no name of an account"),
                "for example `www-data`",
            ));
        }
        if self.state == State::Absent {
            return Ok(None);
        }
        let Some(job) = self.job.as_deref().filter(|job| !job.trim().is_empty()) else {
            return Err(invalid(
                "expected `job`".into(),
                "the command, or with `env=true` the value of the variable",
            ));
        };
        if self.env.0 {
            let is_bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            if self.name.contains(is_bad) || job.contains('"') {
                let hint =
                    "a name is letters, digits and `_`; the value stands in double quotes and holds none";
                return Err(invalid(format!("`{}` can be no variable of a crontab", self.name), hint));
            }
            return Ok(Some([&self.name, "=\"", job, "\""].concat()));
        }
        let mut words = vec![if self.disabled.0 { format!("#{}", self.time()?) } else { self.time()? }];
        if self.cron_file.is_some() {
            words.push(self.user.clone().unwrap_or_else(|| "root".to_owned()));
        }
        words.push(job.to_owned());
        Ok(Some(words.join(" ")))
    }

    fn time(&self) -> Result<String, Error> {
        let fields = [
            ("minute", &self.minute),
            ("hour", &self.hour),
            ("day", &self.day),
            ("month", &self.month),
            ("weekday", &self.weekday),
        ];
        let mut words = Vec::new();
        for (name, field) in fields {
            let field = field.as_ref().map_or("*", |field| &field.0);
            let is_bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | ',' | '-' | '~'));
            if field.is_empty() || field.contains(is_bad) {
                let message = format!("`{name}` is `{field}`, which is no time of cron");
                return Err(invalid(message, "for example `*`, `*/5`, `1,31`, `10-20` or `mon`"));
            }
            words.push(field);
        }
        let Some(special) = self.special_time else { return Ok(words.join(" ")) };
        if words.iter().any(|word| *word != "*") {
            return Err(invalid(
                "expected `special_time` or the five times, and here are both".into(),
                "leave one of them out",
            ));
        }
        let word = match special {
            Special::Reboot => "@reboot",
            Special::Yearly => "@yearly",
            Special::Annually => "@annually",
            Special::Monthly => "@monthly",
            Special::Weekly => "@weekly",
            Special::Daily => "@daily",
            Special::Hourly => "@hourly",
        };
        Ok(word.to_owned())
    }
}

/// A crontab after the change, and the line that was there.
pub fn edit(text: &str, name: &str, is_env: bool, wanted: Option<&str>) -> (String, Option<String>) {
    // Blanks at its end are none in the file either.
    let name = name.trim_end();
    // Other lines keep what ends them.
    let old: Vec<&str> = text.split_terminator('\n').collect();
    let mut lines = old.clone();
    let mark = [MARK, name].concat();
    let at = lines
        .iter()
        .position(|line| if is_env { variable(line) == Some(name) } else { line.trim_end() == mark });
    let first = at.map(|at| if is_env { at } else { at + 1 });
    let before = first.and_then(|at| lines.get(at).copied());
    // A mark at the end of the file, or right before another one, has lost its job.
    let before = before.filter(|line| is_env || !line.starts_with(MARK));
    match (at, first, wanted) {
        (Some(_), Some(first), Some(wanted)) if before.is_some() => lines[first] = wanted,
        (Some(_), Some(first), Some(wanted)) => lines.insert(first, wanted),
        (Some(at), Some(first), None) => {
            let end = if before.is_some() { first + 1 } else { first };
            lines.drain(at..end.min(lines.len()));
        }
        (_, _, Some(wanted)) if is_env => lines.insert(0, wanted),
        (_, _, Some(wanted)) => lines.extend([mark.as_str(), wanted]),
        _ => {}
    }
    // Without a line end at its end cron does not take a file: one that shall hold a job gets it.
    let is_kept = wanted.is_none() && lines == old;
    let after = if is_kept { text.to_owned() } else { lines.iter().flat_map(|line| [*line, "\n"]).collect() };
    (after, before.map(str::to_owned))
}

/// The name of a line `NAME=value`.
fn variable(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let is_other = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    (!name.is_empty() && !name.contains(is_other)).then_some(name)
}

/// Names of the jobs and of the variables in a crontab.
pub fn names(text: &str) -> (Vec<&str>, Vec<&str>) {
    let jobs = text.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
    (jobs, text.lines().filter_map(variable).collect())
}

/// Whether the program said that there is no crontab yet.
pub fn is_none(stderr: &str) -> bool {
    let has = |words: &str| stderr.contains(words);
    // The second is BusyBox's.
    has("no crontab for") || (has("can't open") && has("No such file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> Result<Option<String>, String> {
        serde_json::from_str::<Params>(json).unwrap().line().map_err(|error| error.message)
    }

    #[test]
    fn lines_as_ansible_writes_them() {
        for (json, expected) in [
            (
                r#"{"name":"a","job":"x -y","minute":5,"hour":"*/2","dow":"mon-fri"}"#,
                "5 */2 * * mon-fri x -y",
            ),
            (r#"{"name":"a","job":"x","special_time":"daily","disabled":"yes"}"#, "#@daily x"),
            (r#"{"name":"a","job":"x","cron_file":"web"}"#, "* * * * * root x"),
            (r#"{"name":"a","job":"x","cron_file":"web","user":"www"}"#, "* * * * * www x"),
            (r#"{"name":"MAILTO","value":"a@b","env":true}"#, "MAILTO=\"a@b\""),
        ] {
            assert_eq!(line(json).unwrap().as_deref(), Some(expected), "{json}");
        }
        assert_eq!(line(r#"{"name":"a","state":"absent"}"#), Ok(None));
        for (json, said) in [
            (r#"{"name":"a"}"#, "expected `job`"),
            (r#"{"name":" ","job":"x"}"#, "`name` is empty"),
            (r#"{"name":"a","job":"x\n* * * * * y"}"#, "control"),
            (r#"{"name":"a","job":"x","minute":"1 2"}"#, "`minute`"),
            (r#"{"name":"a","job":"x","hour":1,"special_time":"daily"}"#, "both"),
            (r#"{"name":"a","job":"x","cron_file":"../x"}"#, "`cron_file`"),
            (r#"{"name":"a","job":"x","user":"-r"}"#, "`user`"),
            (r#"{"name":"A B","job":"x","env":true}"#, "no variable"),
        ] {
            assert!(line(json).is_err_and(|message| message.contains(said)), "{json}");
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let old = "PATH=/bin\n# mine\n0 1 * * * keep\n#Ansible: a\n1 1 * * * old\n#Ansible: b\n2 2 * * * b\n";
        let (new, before) = edit(old, "a", false, Some("3 3 * * * new"));
        assert_eq!(new, old.replace("1 1 * * * old", "3 3 * * * new"));
        assert_eq!(before.as_deref(), Some("1 1 * * * old"));
        assert_eq!(edit(&new, "a", false, Some("3 3 * * * new")).0, new);
        let (gone, _) = edit(old, "a", false, None);
        assert_eq!(gone, "PATH=/bin\n# mine\n0 1 * * * keep\n#Ansible: b\n2 2 * * * b\n");
        assert_eq!(edit(&gone, "a", false, None).0, gone);
        assert_eq!(edit("", "a", false, Some("x")).0, "#Ansible: a\nx\n");
        assert_eq!(edit("no end", "a", false, Some("x")).0, "no end\n#Ansible: a\nx\n");
        assert_eq!(edit("no end", "a", false, None).0, "no end");
        assert_eq!(edit("a\r\n\n", "a", false, Some("x")).0, "a\r\n\n#Ansible: a\nx\n");
        let (new, _) = edit("", "a  ", false, Some("x"));
        assert_eq!(
            (new.as_str(), edit(&new, "a  ", false, Some("x")).0.as_str()),
            ("#Ansible: a\nx\n", new.as_str())
        );
        assert_eq!(edit(&new, "a  ", false, None).0, "");
        // A mark whose job somebody removed.
        assert_eq!(
            edit("#Ansible: a\n#Ansible: b\ny\n", "a", false, Some("x")).0,
            "#Ansible: a\nx\n#Ansible: b\ny\n"
        );
        assert_eq!(edit("#Ansible: a\n", "a", false, Some("x")).0, "#Ansible: a\nx\n");
        assert_eq!(edit("#Ansible: a\n", "a", false, None).0, "");
    }

    #[test]
    fn variables_come_first() {
        let old = "#Ansible: a\n* * * * * x=1\n";
        let (new, _) = edit(old, "MAILTO", true, Some("MAILTO=\"a\""));
        assert_eq!(new, format!("MAILTO=\"a\"\n{old}"));
        assert_eq!(edit(&new, "MAILTO", true, None), (old.to_owned(), Some("MAILTO=\"a\"".to_owned())));
        assert_eq!(names(&new), (vec!["a"], vec!["MAILTO"]));
        for none in ["no crontab for root\n", "crontab: can't open 'root': No such file or directory\n"] {
            assert!(is_none(none), "{none}");
        }
        for other in [
            "must be privileged to use -u\n",
            "crontab: can't open 'root': Permission denied\n",
            "error while loading shared libraries: libpam.so.0: No such file or directory\n",
        ] {
            assert!(!is_none(other), "{other}");
        }
    }
}
