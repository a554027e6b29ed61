//! An [`Explanation`] for people: a line for each thing, indented by what it belongs to. No column is aligned and no
//! line is wrapped, so that one more host or grant is one more line of a diff.

use super::secrets::Told;
use super::way::{At, Group, Stub};
use super::{Calls, ExampleLine, Explanation, FileLine, Gets, Line};
use crate::report::names::compress;
use crate::report::page::Page;
use crate::report::paint::Paint;
use crate::task::text::lines;

/// What every task may do, whatever is granted.
const ALWAYS: &str =
    "read clocks, random numbers and its parameters, and use processor time within the limits";

/// All of it, with a line end.
pub fn text(explanation: &Explanation, paint: Paint) -> String {
    let mut page = Page::new(paint);
    page.task(explanation);
    page.parameters(explanation);
    page.asked(explanation);
    page.given(explanation);
    for gets in &explanation.gets {
        page.gets(explanation, gets);
    }
    if let Some(groups) = &explanation.hosts {
        page.head("hosts");
        groups.iter().for_each(|group| page.group(group));
    }
    if !explanation.files.is_empty() {
        page.head("files sent with it");
        explanation.files.iter().for_each(|file| page.file(file));
    }
    if !explanation.secrets.is_empty() {
        page.head("secrets");
        explanation.secrets.iter().for_each(|told| page.secret(told));
    }
    if !explanation.examples.is_empty() {
        page.head("examples");
        explanation.examples.iter().for_each(|example| page.example(example));
    }
    page.text()
}

/// The line below a grant that opens more than it seems.
pub fn wider(warning: &str) -> String {
    format!("more than it seems: {warning}")
}

impl Page {
    fn task(&mut self, explanation: &Explanation) {
        let task = &explanation.task;
        self.head(&format!("task {}", task.name));
        self.field("from", task.file.as_deref().unwrap_or("built into waft"));
        self.field("blake3", &task.hash);
        if let Some(version) = &task.version {
            self.field("version", version);
        }
        if let Some(description) = &task.description {
            self.field("description", description);
        }
        self.field(
            "manifest",
            match task.manifest.as_deref() {
                Some("section") => "in the module",
                Some(file) => file,
                None => "none",
            },
        );
        let supports = if task.check {
            "the task says that it supports one"
        } else {
            "the task does not say that it supports one; what it writes is kept apart all the same"
        };
        self.field("dry run", supports);
        if task.after_reboot {
            self.field("afterwards", "the target boots again; a run waits until it is back");
        }
        for (module, functions) in &task.imports {
            self.field(&format!("imports of {module}"), &functions.join(", "));
        }
        if task.imports.is_empty() {
            self.field("imports", "none");
        }
    }

    fn parameters(&mut self, explanation: &Explanation) {
        let Some(rows) = &explanation.parameters else { return };
        self.head("parameters");
        if rows.is_empty() {
            self.line(1, "none");
        }
        for (depth, text) in rows.iter().flat_map(lines) {
            self.line(1 + depth, &text);
        }
    }

    fn example(&mut self, example: &ExampleLine) {
        if let Some(description) = &example.description {
            self.line(1, &format!("# {description}"));
        }
        self.line(1, &example.command);
    }

    fn asked(&mut self, explanation: &Explanation) {
        self.head("asks for");
        match explanation.asks_for.as_deref() {
            None if explanation.task.manifest.is_some() => {
                self.line(1, "whatever it is given, by its manifest");
            }
            None => self.line(1, "exactly what is given: it has no manifest"),
            Some([]) => self.line(1, "nothing"),
            Some(lines) => lines.iter().for_each(|line| self.grant(1, line)),
        }
    }

    fn given(&mut self, explanation: &Explanation) {
        self.head("given by --allow");
        if explanation.given.is_empty() {
            self.line(1, "nothing");
        }
        for grant in &explanation.given {
            self.line(1, grant);
            if explanation.dropped.contains(grant) {
                self.line(2, "dropped: the task does not ask for it");
            }
        }
    }

    fn gets(&mut self, explanation: &Explanation, gets: &Gets) {
        let dry = if explanation.check { " in a dry run" } else { "" };
        let on = match (gets.targets.is_empty(), explanation.gets.len()) {
            (true, _) => String::new(),
            (false, 1) => " on each host".to_owned(),
            (false, _) => format!(" on {}", compress(&gets.targets).join(", ")),
        };
        self.head(&format!("would get{on}{dry}"));
        if !gets.inventory.is_empty() {
            self.line(1, &format!("given by the inventory: {}", gets.inventory.join(", ")));
        }
        if gets.rights.is_empty() {
            self.line(1, &format!("no right; every task may {ALWAYS}"));
        }
        gets.rights.iter().for_each(|line| self.grant(1, line));
        for limit in &gets.limits {
            self.line(1, &format!("{} ({})", limit.grant, limit.from.word()));
            self.line(2, &limit.means);
        }
        if explanation.check && gets.rights.iter().any(|line| line.grant.ends_with(":rw")) {
            self.line(1, "what is written in a dry run does not stay");
        }
        for grant in &gets.withheld {
            self.line(1, &format!("not in a dry run: {grant}"));
        }
        self.line(1, "the policy of a target may take away more");
        for missing in &gets.missing {
            self.line(1, &format!("asked for and not given: {}", missing.grant));
            self.line(2, &format!("to give it: {}", missing.flag));
        }
        gets.calls.iter().for_each(|calls| self.calls(calls));
    }

    fn calls(&mut self, calls: &Calls) {
        self.line(1, &format!("may call {}, which then gets", calls.name));
        self.line(2, &format!("from: {}", calls.file.as_deref().unwrap_or("built into waft")));
        self.line(2, &format!("blake3: {}", calls.hash));
        if !calls.manifest {
            self.line(2, "all that its caller has: it has no manifest");
        }
        if calls.rights.is_empty() {
            self.line(2, "no right");
        }
        calls.rights.iter().for_each(|line| self.grant(2, line));
        if !calls.limits.is_empty() {
            self.line(2, &format!("within {}, and the limits of its caller", calls.limits.join(", ")));
        }
        for grant in &calls.missing {
            self.line(2, &format!("asked for by it, and not its caller's to give: {grant}"));
        }
    }

    fn file(&mut self, file: &FileLine) {
        self.line(1, &format!("{}: {} ({} bytes)", file.param, file.file, file.bytes));
        self.line(2, &format!("as blob:{}; whoever carries the run could read it", file.hash));
    }

    fn grant(&mut self, depth: usize, line: &Line) {
        self.line(depth, &line.grant);
        if line.everything {
            self.bad(depth + 1, &line.means);
        } else {
            self.line(depth + 1, &line.means);
        }
        if let Some(warning) = line.warning {
            self.bad(depth + 1, &wider(warning));
        }
    }

    fn secret(&mut self, told: &Told) {
        let require = told.require.map(|word| format!(", requires {word}")).unwrap_or_default();
        self.line(1, &format!("{} ({}{require})", told.name, told.kind));
        if let Some(description) = &told.description {
            self.line(2, description);
        }
        for place in &told.places {
            self.line(2, &format!("on {} it could be read by", compress(&place.targets).join(", ")));
            for reader in &place.readers {
                self.line(3, &format!("{}: {}", reader.who, reader.what));
            }
            if let Some(refused) = &place.refused {
                self.line(3, refused);
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let names: Vec<&str> = group.targets.iter().map(|target| target.name.as_str()).collect();
        self.line(1, &compress(&names).join(", "));
        let places: Vec<String> = group
            .targets
            .iter()
            .filter(|target| target.problem.is_none())
            .map(|target| place(&target.at, "this machine"))
            .collect();
        if !places.is_empty() {
            self.line(2, &format!("at: {}", compress(&places).join(", ")));
        }
        for target in &group.targets {
            if let Some(problem) = &target.problem {
                self.line(2, &format!("{} would not be reached: {problem}", target.name));
            }
        }
        let way: Vec<String> = group
            .way
            .iter()
            .map(|hop| format!("{} ({}, {})", hop.name, place(&hop.at, "address not known"), hop.mode.word()))
            .collect();
        self.line(
            2,
            &match (way.is_empty(), group.transport) {
                (true, "local") => "way: none, it is this machine".to_owned(),
                (true, _) => "way: direct".to_owned(),
                (false, _) => format!("way: through {}", way.join(", then ")),
            },
        );
        if group.transport == "openssh" {
            self.line(2, "carried by the system's ssh, with its own settings");
        }
        self.line(2, &format!("stub: {}", stub(&group.stub)));
        let walls = match group.wall {
            "required" => "all, or the task is refused",
            "off" => "none",
            _ => "those that its kernel can raise",
        };
        self.line(2, &format!("kernel walls: {walls} (wall = \"{}\")", group.wall));
        if group.exposed_to.is_empty() && group.nobody.is_none() {
            return;
        }
        self.line(2, "who between here and there could read or change it:");
        let mut exposures = group.exposed_to.as_slice();
        while let Some(first) = exposures.first() {
            // Relays all hold what is behind them: said once.
            let same = exposures.iter().take_while(|other| other.what == first.what).count();
            let (these, others) = exposures.split_at(same);
            let who: Vec<&str> = these.iter().map(|exposure| exposure.who.as_str()).collect();
            self.line(3, &format!("{}: {}", who.join(" and "), first.what));
            exposures = others;
        }
        if let Some(nobody) = &group.nobody {
            self.line(3, nobody);
        }
    }
}

/// `user@host:port`, and brackets around what has colons itself; `otherwise` when that is not known.
fn place(at: &At, otherwise: &str) -> String {
    let At { user: Some(user), host: Some(host), port: Some(port) } = at else {
        return otherwise.to_owned();
    };
    if host.contains(':') { format!("{user}@[{host}]:{port}") } else { format!("{user}@{host}:{port}") }
}

fn stub(stub: &Stub) -> String {
    if let Some(path) = &stub.installed {
        let key = if stub.pinned { "; it has to show the node key of the inventory" } else { "" };
        return format!("installed there as {path}, nothing is pushed{key}");
    }
    let disk = match (stub.no_disk, &stub.dir) {
        (true, _) => ", from memory or not at all",
        (false, Some(dir)) => {
            return format!("pushed; where it cannot run from memory, from a file in {dir}");
        }
        (false, None) => "",
    };
    format!("pushed{disk}")
}
