//! `waft task doc`: Markdown from manifests, and from nothing else.

use super::rows::{Row, rows};
use super::{example, first_sentence};
use crate::explain::mean;
use crate::manifest::Manifest;
use crate::report::escape;
use crate::search::Found;
use std::fmt::Write;

/// Above a list of all tasks.
const HEAD: &str = "\
# Tasks that waft has built in

<!-- Made from the manifests: UPDATE=1 cargo nextest run -p waft the_pages_of_tasks -->

`waft run NAME` starts one of these. Their names, parameters and results are those of the Ansible module of the same name, where
there is one. `waft task show NAME` says what it takes at a terminal, `--format json` prints the JSON Schema of parameters and
result, `waft task doc NAME` its page. [manifest.md](manifest.md) says how parameters are given and what is checked before a
host is dialled.

Every result has `changed` and may have `msg`. A task gets what it asks for *and* is given with `--allow`: what its page says is
the most that it could ever use, and the examples show how little it takes.

";
/// Where the list has the page of a task.
pub const PAGES: &str = "tasks";

/// Above the page of a task, in the folder of pages.
const MADE: &str = "<!-- Made from the manifest: UPDATE=1 cargo nextest run -p waft the_pages_of_tasks -->\n";

/// The page of several tasks, each a chapter.
pub fn all(tasks: &[Found]) -> String {
    let mut page = list(tasks, |name| format!("#{}", anchor(name)));
    for task in tasks {
        page.push('\n');
        page.push_str(&one(task, 2));
    }
    page
}

/// A page with one line for each of several tasks, which leads to its page in [`PAGES`].
pub fn index(tasks: &[Found]) -> String {
    list(tasks, |name| format!("{PAGES}/{}", file_name(name)))
}

/// The page of a task in [`PAGES`]: what `waft task doc NAME` prints, and how it was made.
pub fn page(task: &Found) -> String {
    let page = one(task, 1);
    let (heading, rest) = page.split_once('\n').unwrap_or((&page, ""));
    format!("{heading}\n\n{MADE}{rest}")
}

/// Names of tasks may have slashes.
pub fn file_name(name: &str) -> String {
    format!("{}.md", name.replace('/', "-"))
}

fn list(tasks: &[Found], link: impl Fn(&str) -> String) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| task | |\n|---|---|\n");
    for task in tasks {
        let description = task.manifest.as_ref().and_then(|manifest| manifest.description.as_deref());
        let description = markdown(first_sentence(description.unwrap_or_default()));
        let _ = writeln!(page, "| [{}]({}) | {description} |", markdown(&task.name), link(&task.name));
    }
    page
}

/// One task, under a heading of this level.
pub fn one(task: &Found, level: usize) -> String {
    let mut page = format!("{} {}\n", "#".repeat(level), markdown(&task.name));
    let Some(manifest) = &task.manifest else {
        page.push_str(
            "\nIt has no manifest: nothing is known of its parameters, and it gets whatever it is given.\n",
        );
        return page;
    };
    if let Some(description) = &manifest.description {
        let _ = write!(page, "\n{}\n", markdown(description));
    }
    examples(&mut page, task, manifest);
    match manifest.params.as_ref().map(rows).as_deref() {
        None => page.push_str("\nIts parameters are not said, and not checked.\n"),
        Some([]) => page.push_str("\nIt takes no parameters.\n"),
        Some(rows) => table(&mut page, "parameter", rows),
    }
    if let Some(result) = &manifest.result {
        table(&mut page, "result", &rows(result));
    }
    asks(&mut page, manifest);
    page.push_str(match manifest.check {
        true => "\nDry run (`--check`): supported.\n",
        false => "\nDry run (`--check`): not supported.\n",
    });
    if manifest.after_reboot {
        page.push_str("\nIts target boots again; `waft run` waits until it is back.\n");
    }
    page
}

fn examples(page: &mut String, task: &Found, manifest: &Manifest) {
    for example in &manifest.examples {
        page.push('\n');
        if let Some(description) = &example.description {
            let _ = writeln!(page, "{}:\n", markdown(description.trim_end_matches(['.', ':'])));
        }
        let command = example::command(&task.name, Some(manifest), example);
        // Code ends with its line.
        let _ = writeln!(page, "    {}", escape::cell(&command));
    }
}

fn table(page: &mut String, head: &str, rows: &[Row]) {
    let is_default = rows.iter().any(|row| row.required || row.default.is_some());
    let (middle, line) = if is_default { (" default |", "---|") } else { ("", "") };
    let _ = write!(page, "\n| {head} | type |{middle} |\n|---|---|{line}---|\n");
    for row in rows {
        let _ = write!(page, "| {} | {} |", code(&row.name), markdown(&row.kind));
        if is_default {
            let default = match (&row.default, row.required) {
                (_, true) => "required".to_owned(),
                (Some(default), false) => code(default),
                (None, false) => String::new(),
            };
            let _ = write!(page, " {default} |");
        }
        let mut said: Vec<String> = row.description.iter().map(|text| markdown(text)).collect();
        if !row.choices.is_empty() {
            let choices: Vec<String> = row.choices.iter().map(|choice| code(choice)).collect();
            said.push(format!("One of {}.", choices.join(", ")));
        }
        said.extend(row.limits.iter().map(|limit| match limit.strip_prefix("matches ") {
            Some(pattern) => format!("Matches {}.", code(pattern)),
            None => format!("Allowed: {}.", markdown(limit)),
        }));
        if !row.aliases.is_empty() {
            let names: Vec<String> = row.aliases.iter().map(|alias| code(alias)).collect();
            said.push(format!("Also called {}.", names.join(", ")));
        }
        if row.sensitive {
            said.push("Sensitive: never shown.".to_owned());
        }
        let _ = writeln!(page, " {} |", said.join(" "));
    }
}

fn asks(page: &mut String, manifest: &Manifest) {
    match manifest.asked() {
        None => page.push_str("\nIt asks for whatever it is given.\n"),
        Some(asked) if asked.is_empty() => page.push_str("\nIt asks for nothing.\n"),
        Some(asked) => {
            page.push_str("\n| asks for | to |\n|---|---|\n");
            for grant in asked.iter() {
                let meaning = mean::sentence(&grant);
                let _ = writeln!(page, "| {} | {} |", code(&grant.to_string()), markdown(&meaning));
            }
        }
    }
}

/// Text of a manifest, in which spans of code are Markdown's: nothing in it begins HTML, a link, a heading or a cell.
fn markdown(text: &str) -> String {
    let text = escape::cell(text);
    let mut out = String::new();
    let mut is_code = false;
    if text.starts_with(['#', '>', '-', '+', '=', '~']) {
        out.push('\\');
    }
    for c in text.chars() {
        match c {
            // Several would begin a block.
            '`' if out.ends_with('`') => continue,
            '`' => is_code = !is_code,
            '|' => out.push('\\'),
            '<' if !is_code => {
                out.push_str("&lt;");
                continue;
            }
            '[' | '*' | '_' if !is_code => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    // A span that does not end would take in what follows.
    if is_code {
        out.push('`');
    }
    out
}

/// A span of code in a table.
fn code(text: &str) -> String {
    let text = escape::cell(text).replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// As GitHub makes them of headings.
fn anchor(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    kept.collect::<String>().to_lowercase()
}
