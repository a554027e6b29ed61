//! Which secrets a run needs, who gets them, and what stands against it: all problems, before anything is read or sent.

use super::{Declarations, END_TO_END, Flags, Kind, Source, read};
use crate::tree::{Shape, ShapeNode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use waft_proto::grant::Grant;
use waft_proto::id::NodeId;
use waft_proto::msg::Policy;
use waft_proto::run::Problem;
use waft_proto::secret::{SECRET_BYTES_MIN, SECRETS_MAX, Secret, Secrets};
use zeroize::Zeroizing;

/// The values of a run.
#[derive(Default, Debug)]
pub struct Sent {
    pub secrets: Secrets,
    /// Names of those that nobody between here and the target may be able to read.
    pub end_to_end: BTreeSet<String>,
    /// What is taken out of output beside them: sensitive parameters, which travel as any parameter does.
    pub hidden: Secrets,
    /// Names of those that are not: too short, too long, or too many.
    pub unhidden: Vec<String>,
}

impl Sent {
    /// Has values taken out of output, each with the name of its parameter.
    pub fn hide(&mut self, values: Vec<(String, String)>) {
        self.hidden = self.secrets.clone();
        for (place, value) in values {
            let usual = |c: char| if c.is_ascii_alphanumeric() || "_-./".contains(c) { c } else { '_' };
            let mut name: String = format!("param{place}").chars().map(usual).collect();
            // A secret may have that name.
            while self.hidden.get(&name).is_some() {
                name.push('_');
            }
            let secret = Secret::new(Zeroizing::new(value.into_bytes()), true);
            let kept = secret.filter(Secret::is_redacted).map(|secret| self.hidden.insert(&name, secret));
            if !matches!(kept, Some(Ok(()))) {
                self.unhidden.push(place.trim_start_matches('/').to_owned());
            }
        }
    }

    /// All that is taken out of output.
    pub fn looked_for(&self) -> &Secrets {
        if self.hidden.is_empty() { &self.secrets } else { &self.hidden }
    }

    /// Those that these grants give and that there is a value of.
    pub fn names<'a>(&self, grants: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        if self.secrets.is_empty() {
            return BTreeSet::new();
        }
        names(grants).into_iter().filter(|name| self.secrets.get(name).is_some()).collect()
    }
}

/// What is to be read.
#[derive(PartialEq, Eq, Debug)]
pub struct Plan {
    needed: BTreeMap<String, (Source, Kind)>,
    end_to_end: BTreeSet<String>,
    allow_short: bool,
    age_identity: Option<PathBuf>,
}

/// The names of the secrets that a list of grants gives.
pub fn names<'a>(grants: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    let name = |text: &String| match Grant::parse(text) {
        Ok(Grant::Secret(name)) => Some(name),
        _ => None,
    };
    grants.into_iter().filter_map(name).collect()
}

/// The hop that could read what is sealed to a node, nearest to it.
///
/// The controller's own session reaches its child, also through tunnels; a hop that logs in further tells which key
/// the node has, and starts the stub there. Of a stub that is installed and pinned the key that secrets are sealed to is
/// vouched for by the node's own, which the inventory has.
pub fn reader(shape: &Shape, node: &ShapeNode) -> Option<String> {
    relay(shape, node).filter(|_| !node.endpoint.is_pinned())
}

fn relay(shape: &Shape, node: &ShapeNode) -> Option<String> {
    shape.node(node.parent).map(|hop| hop.endpoint.name.clone())
}

/// Why a node cannot be sent what nobody on the way may read. `policy` is what its hello, which was checked, says.
pub fn exposed(
    sent: &Sent,
    names: &BTreeSet<String>,
    shape: &Shape,
    node: NodeId,
    policy: Policy,
) -> Option<Problem> {
    let name = sent.end_to_end.intersection(names).next()?;
    let node = shape.node(node)?;
    let (target, hop) = (&node.endpoint.name, relay(shape, node)?);
    match reader(shape, node) {
        Some(hop) => Some(open(name, target, &hop)),
        None if policy == Policy::Enforced => None,
        None => Some(unlocked(name, target, &hop, policy)),
    }
}

impl Plan {
    /// `allow` goes to every target, and each has grants of its own. Nearer counts: flag, inventory, manifest.
    pub fn new(
        flags: Flags,
        inventory: &Declarations,
        manifest: &Declarations,
        allow: &[String],
        shape: &Shape,
    ) -> Result<Plan, Vec<Problem>> {
        let mut problems = Vec::new();
        let everywhere = names(allow);
        let mut wanted = everywhere.clone();
        shape.selected().for_each(|node| wanted.extend(names(&node.allow)));
        for name in flags.given.keys().filter(|name| !wanted.contains(*name)) {
            let text = format!("--secret {name} is given, and the task is not granted `secret:{name}`");
            problems.push(
                Problem::new("secret.grant", text)
                    .hint(format!("give it: --allow secret:{name}  (a manifest has to ask for it as well)")),
            );
        }
        if wanted.len() > SECRETS_MAX {
            let text = format!("this run has {} secrets; at most {SECRETS_MAX} go with one", wanted.len());
            problems.push(Problem::new("secret.size", text).hint("split the run"));
        }
        let mut needed = BTreeMap::new();
        let mut end_to_end = BTreeSet::new();
        for name in &wanted {
            let said = [flags.given.get(name), inventory.get(name), manifest.get(name)];
            let said = || said.iter().flatten();
            let kind = said().find_map(|declared| declared.kind).unwrap_or_default();
            match said().find_map(|declared| declared.source.clone()) {
                Some(source) => {
                    needed.insert(name.clone(), (source, kind));
                }
                None => problems.push(
                    Problem::new(
                        "secret.missing",
                        format!("`secret:{name}` is granted, and there is no value for it"),
                    )
                    .hint(format!(
                        "give one: --secret {name}=SOURCE (prompt, env:VARIABLE, file:PATH, cmd:.., age:FILE)"
                    )),
                ),
            }
            if said().any(|declared| declared.end_to_end) {
                end_to_end.insert(name.clone());
                let gets = |node: &&ShapeNode| everywhere.contains(name) || names(&node.allow).contains(name);
                let read = shape.selected().filter(gets);
                let read = read.filter_map(|node| Some((node, reader(shape, node)?)));
                problems
                    .extend(read.take(PLACES_MAX).map(|(node, hop)| open(name, &node.endpoint.name, &hop)));
            }
        }
        let Flags { allow_short, age_identity, .. } = flags;
        if problems.is_empty() {
            Ok(Plan { needed, end_to_end, allow_short, age_identity })
        } else {
            Err(problems)
        }
    }

    /// Reads the values, one after another: two programs may both ask at the terminal.
    pub async fn read(self) -> Result<Sent, Vec<Problem>> {
        let mut sent = Sent { end_to_end: self.end_to_end, ..Sent::default() };
        let mut problems = Vec::new();
        for (name, (source, kind)) in &self.needed {
            match read::read(name, source, *kind, self.age_identity.as_deref()).await {
                Ok(secret) if !secret.is_redacted() && !self.allow_short => {
                    let text = format!(
                        "the secret `{name}` is shorter than {SECRET_BYTES_MIN} bytes: it cannot be taken out of output without harm to what is none"
                    );
                    problems.push(
                        Problem::new("secret.short", text)
                            .hint("use a longer one; --allow-short-secrets sends it all the same, and it is not redacted"),
                    );
                }
                Ok(secret) => {
                    if let Err(problem) = sent.secrets.insert(name, secret) {
                        problems.push(problem);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sent) } else { Err(problems) }
    }
}

/// Targets that are named, each with its hop; the others are the same mistake.
const PLACES_MAX: usize = 10;

/// That a hop could read a secret that nobody may.
fn open(name: &str, target: &str, hop: &str) -> Problem {
    let text = format!(
        "the secret `{name}` requires `{END_TO_END}`, and the hop `{hop}` before `{target}` could read it: it is a relay"
    );
    Problem::new("secret.end_to_end", text).hint(format!(
        "reach `{target}` with via_mode = \"tunnel\", or directly, or give the `installed` stub and the `node_key` of a \
         node that is locked to it; nothing was sent"
    ))
}

/// That a relay may have more there than the stub, and then it has the node's key as well.
fn unlocked(name: &str, target: &str, hop: &str, policy: Policy) -> Problem {
    let text = format!(
        "the secret `{name}` requires `{END_TO_END}`, and the policy of `{target}` is `{}`, not `enforced`: the login \
         of the hop `{hop}` may reach more there than the stub, the node's key included",
        policy.word()
    );
    Problem::new("secret.end_to_end", text).hint(format!(
        "lock the key to the stub on `{target}` (docs/operators.md), or use via_mode = \"tunnel\"; nothing was sent"
    ))
}
