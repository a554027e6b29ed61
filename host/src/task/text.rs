//! `waft task show` for people: the lines of `waft explain`, of the task alone.

use super::example;
use super::rows::{Row, rows};
use crate::explain::mean;
use crate::manifest::Manifest;
use crate::report::page::Page;
use crate::report::paint::Paint;
use crate::search::Found;
use waft_proto::id::Hash;

/// All of it, with a line end. `wanted` is what starts it: its name, or its file.
pub fn show(found: &Found, wanted: &str, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let manifest = found.manifest.as_ref();
    page.head(&format!("task {}", found.name));
    page.line(1, &format!("from: {}", found.place()));
    page.line(1, &format!("blake3: {}, {} bytes", Hash::of(&found.wasm), found.wasm.len()));
    let Some(manifest) = manifest else {
        page.line(1, "manifest: none; it takes whatever parameters it is given, and gets what it is given");
        return page.text();
    };
    page.about(manifest);
    page.properties("parameters", manifest.params.as_ref().map(rows), "not said: they are not checked");
    page.asks(manifest);
    if manifest.result.is_some() {
        page.properties("result, beside changed and msg", manifest.result.as_ref().map(rows), "");
    }
    if !manifest.examples.is_empty() {
        page.head("examples");
        for example in &manifest.examples {
            if let Some(description) = &example.description {
                page.line(1, &format!("# {description}"));
            }
            page.line(1, &example::command(wanted, Some(manifest), example));
        }
    }
    page.text()
}

/// The lines that tell one property, each with its depth.
pub fn lines(row: &Row) -> Vec<(usize, String)> {
    let mut first = format!("{}: {}", row.name, row.kind);
    if row.required {
        first.push_str(", required");
    }
    if let Some(default) = &row.default {
        first.push_str(&format!(", default {default}"));
    }
    if row.sensitive {
        first.push_str(", sensitive");
    }
    let mut lines = vec![(0, first)];
    if !row.choices.is_empty() {
        lines.push((1, format!("one of {}", row.choices.join(", "))));
    }
    lines.extend(row.limits.iter().map(|limit| (1, limit.clone())));
    if !row.aliases.is_empty() {
        lines.push((1, format!("also called {}", row.aliases.join(", "))));
    }
    lines.extend(row.description.iter().map(|text| (1, text.clone())));
    lines
}

impl Page {
    fn about(&mut self, manifest: &Manifest) {
        if let Some(version) = &manifest.version {
            self.field("version", version);
        }
        if let Some(description) = &manifest.description {
            self.field("description", description);
        }
        let check = if manifest.check {
            "supported, as the task says"
        } else {
            "the task does not say that it supports one"
        };
        self.field("dry run", check);
        if manifest.after_reboot {
            self.field("afterwards", "the target boots again; a run waits until it is back");
        }
    }

    fn properties(&mut self, head: &str, rows: Option<Vec<Row>>, otherwise: &str) {
        self.head(head);
        match rows.as_deref() {
            None => self.line(1, otherwise),
            Some([]) => self.line(1, "none"),
            Some(rows) => {
                for (depth, text) in rows.iter().flat_map(lines) {
                    self.line(1 + depth, &text);
                }
            }
        }
    }

    fn asks(&mut self, manifest: &Manifest) {
        self.head("asks for");
        match manifest.asked() {
            None => self.line(1, "whatever it is given"),
            Some(asked) if asked.is_empty() => self.line(1, "nothing"),
            Some(asked) => {
                for grant in asked.iter() {
                    self.line(1, &grant.to_string());
                    self.line(2, &mean::sentence(&grant));
                }
            }
        }
        for (name, said) in &manifest.secrets {
            let what = said.description.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            self.line(1, &format!("secret {name} ({}){what}", said.kind.unwrap_or_default().word()));
        }
    }
}
