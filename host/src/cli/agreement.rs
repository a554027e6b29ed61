//! What a task asks for and what the operator gives: what is said of it before a run, what is sent, and who lacks what
//! was refused.

use super::Failure;
use super::args::Format;
use crate::event::{Body, Event};
use crate::explain::mean;
use crate::explain::way::before;
use crate::manifest::agree::{dropped, effective, flag, missing, together};
use crate::manifest::{Manifest, refusal, suggest};
use crate::operator::{self, Echo};
use crate::report::{Terminal, escape, names, problem};
use crate::tree::{self, Shape, Target};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::Arc;
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::run::Problem;

/// Flags that are printed for pasting, bytes; of more, `--allow asked` is the better line.
const FLAGS_BYTES_MAX: usize = 512;
/// Grants that a warning names; of more, how many there are.
const GRANTS_NAMED_MAX: usize = 8;
/// Columns for the names of hosts in a warning.
const NAMES_COLUMNS: usize = 60;

pub(super) struct Agreement {
    task: String,
    /// `None`: the task asks for exactly what is given.
    asked: Option<GrantSet>,
    /// By `--allow`.
    given: GrantSet,
    /// By the inventory, on the targets for which it gives anything.
    inventory: HashMap<String, GrantSet>,
}

/// A right that is asked for and not given, and the targets where that is so; none when it is everywhere.
struct Lack {
    grant: Grant,
    targets: Vec<String>,
}

impl Agreement {
    pub(super) fn new(
        task: &str,
        asked: Option<GrantSet>,
        given: GrantSet,
        shape: &Shape,
    ) -> Result<Agreement, Vec<Problem>> {
        let mut inventory = HashMap::new();
        for node in shape.selected().filter(|node| !node.allow.is_empty()) {
            let set = GrantSet::parse_all(node.allow.iter().map(String::as_str))?;
            inventory.insert(node.endpoint.name.clone(), set);
        }
        Ok(Agreement { task: task.to_owned(), asked, given, inventory })
    }

    /// Says what is asked for and not given at all, and what is given in vain. At a terminal the operator may give what is
    /// proposed.
    pub(super) async fn settle(
        &mut self,
        shape: &Shape,
        format: Format,
        manifest: Option<&Manifest>,
        params: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let Some(asked) = &self.asked else { return Ok(()) };
        let useless = dropped(asked, &self.given);
        if !useless.is_empty() {
            let flags: Vec<String> = useless.iter().map(flag).collect();
            let text = format!("{} does not ask for what is given by {}", self.task, flags.join(" "));
            warn(
                &Problem::new("grant.dropped", text)
                    .hint("it is not sent: leave it out, or add it to the manifest"),
            );
        }
        let examples = manifest.map(|manifest| manifest.examples.as_slice()).unwrap_or_default();
        let schema = manifest.and_then(|manifest| manifest.params.as_ref());
        let is_enough = |missing: &[Grant]| suggest::is_enough(examples, schema, params, asked, missing);
        let lacks = self.lacks(asked, shape, is_enough)?;
        if lacks.is_empty() {
            return Ok(());
        }
        let wide: Vec<Grant> = lacks.iter().map(|lack| lack.grant.clone()).collect();
        let narrow = suggest::narrower(examples, schema, params, &wide, &self.given);
        warn(&self.lacking(&lacks, narrow.as_deref()));
        if format != Format::Human || !operator::is_there() {
            return Ok(());
        }
        let meaning = |grant: &Grant| escape::cell(&format!("  {grant}: {}", mean::sentence(grant))) + "\n";
        let proposed = narrow.unwrap_or(wide);
        let question = proposed.iter().map(meaning).collect::<String>() + "Give them for this run? [y/N] ";
        let answer = operator::ask(&question, Echo::Shown).await.unwrap_or_default();
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            let texts: Vec<String> = proposed.iter().map(ToString::to_string).collect();
            let rest = GrantSet::parse_all(texts.iter().map(String::as_str))?;
            self.given = together([&self.given, &rest])?;
        }
        Ok(())
    }

    /// `is_enough`: what is not given is not needed for what this run does.
    fn lacks(
        &self,
        asked: &GrantSet,
        shape: &Shape,
        is_enough: impl Fn(&[Grant]) -> bool,
    ) -> Result<Vec<Lack>, Problem> {
        let mut count = 0;
        let mut places: BTreeMap<String, (GrantSet, Vec<String>)> = BTreeMap::new();
        for node in shape.selected() {
            count += 1;
            let name = &node.endpoint.name;
            let group = places.entry(node.allow.join("\n"));
            group
                .or_insert_with(|| (self.inventory.get(name).cloned().unwrap_or_default(), Vec::new()))
                .1
                .push(name.clone());
        }
        let mut lacks: Vec<Lack> = Vec::new();
        for (inventory, targets) in places.into_values() {
            let given = together([&self.given, &inventory])?;
            // Of what a part is given that part was given on purpose.
            let missing: Vec<Grant> = missing(asked, &given)
                .into_iter()
                .filter(|grant| !suggest::is_partly(grant, &given))
                .collect();
            if is_enough(&missing) {
                continue;
            }
            for grant in missing {
                match lacks.iter_mut().find(|lack| lack.grant == grant) {
                    Some(lack) => lack.targets.extend(targets.iter().cloned()),
                    None => lacks.push(Lack { grant, targets: targets.clone() }),
                }
            }
        }
        lacks.sort_by_cached_key(|lack| lack.grant.to_string());
        for lack in &mut lacks {
            if lack.targets.len() == count {
                lack.targets.clear();
            }
        }
        Ok(lacks)
    }

    fn lacking(&self, lacks: &[Lack], narrow: Option<&[Grant]>) -> Problem {
        let mut named: Vec<String> = lacks
            .iter()
            .take(GRANTS_NAMED_MAX)
            .map(|lack| match lack.targets.as_slice() {
                [] => format!("`{}`", lack.grant),
                on => format!("`{}` (on {})", lack.grant, names::joined(on, NAMES_COLUMNS, "...")),
            })
            .collect();
        if lacks.len() > named.len() {
            named.push(format!("and {} more", lacks.len() - named.len()));
        }
        let text =
            format!("{} asks for what is not given, and is refused it: {}", self.task, named.join(", "));
        let flags = |grants: &[Grant]| {
            let flags = grants.iter().map(flag).collect::<Vec<_>>().join(" ");
            if flags.len() > FLAGS_BYTES_MAX { "--allow asked".to_owned() } else { flags }
        };
        let wide: Vec<Grant> = lacks.iter().map(|lack| lack.grant.clone()).collect();
        let hint = match narrow {
            Some(narrow) => format!(
                "to give what this needs, as in the examples of {}: {}; to give all: {}  (`waft explain` says what that means)",
                self.task,
                flags(narrow),
                flags(&wide)
            ),
            None => format!("to give it: {}  (`waft explain` says what that means)", flags(&wide)),
        };
        Problem::new("grant.asked", text).hint(hint)
    }

    /// The grants for all targets, in canonical text.
    pub(super) fn allow(&self) -> Result<Vec<String>, Problem> {
        let sent = effective(self.asked.as_ref(), &self.given)?;
        Ok(sent.iter().map(|grant| grant.to_string()).collect())
    }

    /// The shape with what of the inventory's grants the task asks for. What is sent to a target is this and
    /// [`Agreement::allow`] together, which is the same as what of both together is asked for.
    pub(super) fn narrowed(&self, shape: Arc<Shape>) -> Result<Arc<Shape>, Vec<Problem>> {
        if self.asked.is_none() || self.inventory.is_empty() {
            return Ok(shape);
        }
        let mut targets = Vec::new();
        for node in shape.selected() {
            let allow = match self.inventory.get(&node.endpoint.name) {
                None => Vec::new(),
                Some(set) => {
                    let sent = effective(self.asked.as_ref(), set).map_err(|problem| vec![problem])?;
                    sent.iter().map(|grant| grant.to_string()).collect()
                }
            };
            let via = before(&shape, node).into_iter().map(|(hop, _)| hop.clone()).collect();
            targets.push(Target { endpoint: node.endpoint.clone(), via, allow });
        }
        Ok(Arc::new(tree::shape(&targets)?))
    }

    /// An event as it is to be shown: a refusal for want of a grant says who lacks it.
    pub(super) fn told<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        let (Body::Result(result), Some(target)) = (&event.body, &event.target) else {
            return Cow::Borrowed(event);
        };
        let Some(problem) = &result.problem else { return Cow::Borrowed(event) };
        let nothing = GrantSet::default();
        let inventory = self.inventory.get(&**target).unwrap_or(&nothing);
        let Ok(given) = together([&self.given, inventory]) else { return Cow::Borrowed(event) };
        match refusal::explained(problem, &self.task, target, self.asked.as_ref(), &given) {
            None => Cow::Borrowed(event),
            Some(problem) => {
                let mut result = result.clone();
                result.problem = Some(problem);
                Cow::Owned(Event { body: Body::Result(result), ..event.clone() })
            }
        }
    }
}

fn warn(problem: &Problem) {
    let text = problem::warning(None, problem, Terminal::detect().stderr_paint());
    // Nobody is left to tell when stderr is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Endpoint, ViaMode};

    fn set(texts: &[&str]) -> GrantSet {
        GrantSet::parse_all(texts.iter().copied()).expect("grants")
    }

    fn target(name: &str, via: &[(&str, ViaMode)], allow: &[&str]) -> Target {
        let hop =
            |(name, via_mode): &(&str, ViaMode)| Endpoint { via_mode: *via_mode, ..Endpoint::named(name) };
        let allow = allow.iter().map(|text| (*text).to_owned()).collect();
        Target { endpoint: Endpoint::named(name), via: via.iter().map(hop).collect(), allow }
    }

    fn without_grants(shape: &Shape) -> Vec<crate::tree::ShapeNode> {
        let node =
            |node: &crate::tree::ShapeNode| crate::tree::ShapeNode { allow: Vec::new(), ..node.clone() };
        shape.nodes().iter().map(node).collect()
    }

    #[test]
    fn what_the_inventory_gives_is_narrowed_and_the_tree_stays_as_it_is() {
        use ViaMode::{Relay, Tunnel};
        let shape = Arc::new(
            tree::shape(&[
                target("deep", &[("a", Relay), ("b", Tunnel), ("c", Relay)], &["fs:/var:rw", "mem:1M"]),
                target("web2", &[("a", Relay)], &["env:TZ"]),
                target("web1", &[("a", Relay)], &["facts"]),
                target("a", &[], &["facts", "env:TZ"]),
                target("solo", &[], &[]),
            ])
            .expect("a tree"),
        );
        let asked = set(&["fs:/var/log:ro", "facts", "mem:2M"]);
        let agreement = Agreement::new("t", Some(asked), set(&["out:1M"]), &shape).expect("grants");
        let narrowed = agreement.narrowed(shape.clone()).expect("a tree");
        assert_eq!(without_grants(&narrowed), without_grants(&shape));
        let allow: BTreeMap<&str, String> =
            narrowed.selected().map(|node| (node.endpoint.name.as_str(), node.allow.join(" "))).collect();
        assert_eq!(allow["deep"], "fs:/var/log:ro mem:1M");
        assert_eq!((allow["web1"].as_str(), allow["web2"].as_str()), ("facts mem:2M", "mem:2M"));
        assert_eq!((allow["a"].as_str(), allow["solo"].as_str()), ("facts mem:2M", ""));
        assert_eq!(agreement.allow().expect("grants"), ["mem:2M", "out:1M"]);
        // Nothing is narrowed for a task that asks for exactly what is given.
        let free = Agreement::new("t", None, set(&[]), &shape).expect("grants");
        assert_eq!(free.narrowed(shape.clone()), Ok(shape));
    }

    #[test]
    fn what_is_lacking_is_told_with_the_flags_and_the_hosts() {
        let shape = tree::shape(&[
            target("web1", &[], &["facts"]),
            target("web2", &[], &["facts"]),
            target("db1", &[], &[]),
        ])
        .expect("a tree");
        let asked = set(&["facts", "exec:systemctl restart *", "mem:1M"]);
        let agreement = Agreement::new("t", Some(asked.clone()), set(&[]), &shape).expect("grants");
        let lacks = agreement.lacks(&asked, &shape, |_| false).expect("grants");
        let said = agreement.lacking(&lacks, None);
        assert_eq!(
            said.message,
            "t asks for what is not given, and is refused it: `exec:systemctl restart *`, `facts` (on db1)"
        );
        let hint = said.hint.expect("a hint");
        assert!(
            hint.starts_with("to give it: --allow 'exec:systemctl restart *' --allow facts ")
                || hint.starts_with("to give it: --allow \"exec:systemctl restart *\" --allow facts "),
            "{hint}"
        );
        let narrow = [Grant::parse("exec:systemctl restart nginx").expect("a grant")];
        let hint = agreement.lacking(&lacks, Some(&narrow)).hint.expect("a hint");
        assert!(
            hint.contains("as in the examples of t: --allow \"exec:systemctl restart nginx\"; to give all: "),
            "{hint}"
        );
        for given in [&["facts", "exec:*"][..], &["facts", "exec:systemctl restart nginx"]] {
            let enough = Agreement::new("t", None, set(given), &shape).expect("grants");
            assert!(enough.lacks(&asked, &shape, |_| false).expect("grants").is_empty());
        }
    }
}
