//! What this node allows: its policy, read once when the stub starts, and asked before every run and every dial.
//!
//! A file that cannot be read, or that others may write, allows nothing: to go on without it would be to obey whoever
//! broke it.

#[cfg(feature = "site")]
use crate::audit::{NodeLog, Orderer};
#[cfg(feature = "site")]
use crate::site::Site;
#[cfg(feature = "site")]
use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;
use waft_policy::{Decision, Policy, Request};
use waft_proto::envelope::{Envelope, Wall};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;
use waft_proto::msg;
use waft_proto::run::Problem;

use crate::program;

/// Where a node keeps its policy.
pub const FILE: &str = "/etc/waft/policy.toml";
/// Who sends the runs of a link on which nobody was verified: only rules for everybody match.
const UNKNOWN: &str = "";

/// The policy of this node, or that it has none.
#[derive(Clone, Debug, Default)]
pub struct NodePolicy {
    read: Option<Rc<Result<Policy, Problem>>>,
    /// Known once the parent has said welcome.
    #[cfg(feature = "site")]
    parent: Rc<OnceCell<Parent>>,
    #[cfg(feature = "site")]
    site: Option<Rc<Site>>,
    /// It binds: nobody comes in by another way.
    #[cfg(feature = "site")]
    enforced: bool,
}

/// Who is at the other end of the link.
#[cfg(feature = "site")]
#[derive(Clone, Debug)]
struct Parent {
    /// The name of the controller; empty when nobody was verified.
    who: Result<String, Problem>,
    /// What it calls this node.
    target: String,
}

/// A run as the policy leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Ruled {
    pub(crate) grants: GrantSet,
    pub(crate) withheld: Option<Withheld>,
    pub(crate) check: bool,
    pub(crate) wall: Wall,
    pub(crate) timeout_ms: u64,
}

/// Who stands for a module, and for a run of it. Only a site build can verify that; to others, nobody does.
#[derive(Default)]
pub(crate) struct Vouched {
    pub(crate) signers: Vec<String>,
    /// Each person with all names.
    pub(crate) approvers: Vec<Vec<String>>,
    /// Signatures over the module that do not count, and why.
    #[cfg(feature = "site")]
    pub(crate) bad: Vec<Problem>,
}

impl Vouched {
    /// A refusal with what is wrong with signatures, where it is for want of them.
    fn told(self, problem: Problem) -> Problem {
        #[cfg(feature = "site")]
        if let (true, Some(first)) = (problem.code == "policy.no_rule", self.bad.first()) {
            let whys: Vec<&str> = self.bad.iter().map(|bad| bad.message.as_str()).collect();
            let message =
                format!("{}; of the signatures with it do not count: {}", problem.message, whys.join("; "));
            return Problem { code: first.code.clone(), message, ..problem };
        }
        problem
    }
}

impl NodePolicy {
    /// The policy in `file`, which is root's or `owner`'s.
    pub fn read(file: &Path, owner: u32) -> NodePolicy {
        let policy = waft_policy::file::read(file, owner).transpose();
        let read = policy.map(|read| Rc::new(read.map(|policy| policy.resolved(program::look_up))));
        #[cfg(not(feature = "site"))]
        return NodePolicy { read };
        #[cfg(feature = "site")]
        {
            let node = NodePolicy { read, ..NodePolicy::default() };
            NodePolicy { site: Some(Rc::new(Site::new(node.policy(), None))), ..node }
        }
    }

    /// The same for what sshd starts as `--as NAME`: it has to be there, and to be root's.
    #[cfg(feature = "site")]
    pub fn forced(file: &Path, name: &str) -> NodePolicy {
        let missing = || {
            Problem::new("policy.missing", format!("this node has no policy: there is no {}", file.display()))
                .hint("an installed stub takes no run without one; docs/policy.md has an example")
        };
        let read = waft_policy::file::read(file, 0).and_then(|policy| policy.ok_or_else(missing));
        let read = read.map(|policy| policy.resolved(program::look_up));
        let site = Some(Rc::new(Site::new(read.as_ref().ok(), Some(name))));
        let enforced = crate::site::forced::check_program().is_ok();
        NodePolicy { read: Some(Rc::new(read)), site, enforced, ..NodePolicy::default() }
    }

    fn policy(&self) -> Option<&Policy> {
        self.read.as_ref()?.as_ref().as_ref().ok()
    }

    /// What it is worth, for the hello. Whoever brought a stub here can log in, so he could do without it.
    pub fn word(&self) -> msg::Policy {
        match self.read {
            #[cfg(feature = "site")]
            Some(_) if self.enforced => msg::Policy::Enforced,
            Some(_) => msg::Policy::Advisory,
            None => msg::Policy::None,
        }
    }

    /// Whether this node takes modules, and compiles them, instead of artifacts.
    pub fn compiles(&self) -> bool {
        cfg!(feature = "site") && self.policy().is_some_and(|policy| !policy.precompiled)
    }

    #[cfg(feature = "site")]
    pub fn site(&self) -> Option<&Site> {
        self.site.as_deref()
    }

    /// The parent has said by whose key runs are signed.
    #[cfg(feature = "site")]
    pub fn welcomed(&self, welcome: &msg::Welcome) {
        let known = self.policy().map(|policy| policy.check_controller(&welcome.controller));
        let who = known.unwrap_or(Ok(None)).map(|name| name.unwrap_or(UNKNOWN).to_owned());
        let name = self.policy().map_or(Ok(()), |policy| policy.site.check_name(&welcome.name));
        let who = name.and(who);
        let who = who.and_then(|who| match self.site.as_deref().and_then(Site::name) {
            Some(name) if who.is_empty() => Ok(name.to_owned()),
            Some(name) if who != name => Err(Problem::new(
                "policy.controller",
                format!("this login is for the controller `{name}`, and the runs are signed by `{who}`"),
            )
            .hint("each controller logs in with its own key: see `--as` in authorized_keys there")),
            _ => Ok(who),
        });
        let parent = Parent { who, target: welcome.name.clone() };
        // There is one welcome on a link.
        let _ = self.parent.set(parent);
    }

    /// What is left of a run.
    pub(crate) fn rule(&self, envelope: &Envelope, given: GrantSet, now_unix: u64) -> Result<Ruled, Problem> {
        let Some(policy) = &self.read else {
            return Ok(Ruled {
                grants: given,
                withheld: None,
                check: envelope.check,
                wall: envelope.wall,
                timeout_ms: envelope.timeout_ms,
            });
        };
        let policy = policy.as_ref().as_ref().map_err(Clone::clone)?;
        let who = self.who()?;
        let vouched = self.vouched(envelope, envelope.module, now_unix)?;
        let request = Request {
            who,
            task: &envelope.task,
            hash: envelope.module,
            signers: &vouched.signers,
            approvers: &vouched.approvers,
            grants: &given.resolved(program::look_up),
            check: envelope.check,
            now_unix,
            precompiled: !self.compiles(),
        };
        let allowed = match policy.decide(&request) {
            Decision::Refused(problem) => return Err(vouched.told(problem)),
            Decision::Allowed(allowed) => allowed,
        };
        Ok(Ruled {
            withheld: Some(Withheld {
                #[cfg(feature = "site")]
                confines: (self.is_forced() && !allowed.unconfined).then(|| allowed.rule.name.clone()),
                cut: allowed.cut,
                rule: allowed.rule.name.clone(),
            }),
            grants: allowed.grants,
            check: envelope.check || allowed.check_forced,
            wall: envelope.wall.max(allowed.wall),
            timeout_ms: allowed.timeout_ms.map_or(envelope.timeout_ms, |most| envelope.timeout_ms.min(most)),
        })
    }

    /// sshd started this, as a site's key.
    #[cfg(feature = "site")]
    fn is_forced(&self) -> bool {
        self.site.as_deref().is_some_and(|site| site.name().is_some())
    }

    #[cfg(not(feature = "site"))]
    fn who(&self) -> Result<&str, Problem> {
        Ok(UNKNOWN)
    }

    #[cfg(feature = "site")]
    fn who(&self) -> Result<&str, Problem> {
        self.parent.get().map_or(Ok(UNKNOWN), |parent| parent.who.as_deref().map_err(Clone::clone))
    }

    #[cfg(not(feature = "site"))]
    fn vouched(&self, _: &Envelope, _: Hash, _: u64) -> Result<Vouched, Problem> {
        Ok(Vouched::default())
    }

    #[cfg(feature = "site")]
    fn vouched(&self, envelope: &Envelope, module: Hash, now_unix: u64) -> Result<Vouched, Problem> {
        let target = self.parent.get().map_or("", |parent| parent.target.as_str());
        match self.site.as_deref() {
            Some(site) => site.vouched(envelope, module, target, now_unix),
            None => Ok(Vouched::default()),
        }
    }

    /// Where this node records what is done to it, as its policy says: below the named directory each account has its own.
    #[cfg(feature = "site")]
    pub fn log(&self) -> Result<NodeLog, Problem> {
        let settings = self.policy().map(|policy| policy.site.clone()).unwrap_or_default();
        let account = crate::user_name(rustix::process::getuid().as_raw());
        let dir = settings.audit.map(|dir| Path::new(&dir).join(account));
        NodeLog::open(dir.as_deref(), settings.syslog.then_some(Path::new(crate::audit::SYSLOG)))
    }

    /// Writes down an order, whatever becomes of it.
    #[cfg(feature = "site")]
    pub fn record(&self, log: &NodeLog, envelope: &Envelope, now_unix: u64) -> Result<(), Problem> {
        let parent = self.parent.get();
        let who = parent.and_then(|parent| parent.who.as_deref().ok()).unwrap_or(UNKNOWN);
        let vouched = self.vouched(envelope, envelope.module, now_unix).unwrap_or_default();
        let from = std::env::var("SSH_CONNECTION").unwrap_or_default();
        let by = Orderer { who, from: &from, signers: &vouched.signers };
        log.ordered(envelope, parent.map_or("", |parent| parent.target.as_str()), &by)
    }

    /// Whether an order may be prepared for at all, with the walls that it then has; it is used up by that. Asked
    /// before anything of it is compiled; [`NodePolicy::rule`] decides what it may.
    #[cfg(feature = "site")]
    pub fn admit(&self, envelope: &Envelope, order: Hash, now_unix: u64) -> Result<Wall, Problem> {
        // What is wrong with a grant is told by whoever prepares the job.
        let given = GrantSet::parse_all(envelope.grants.iter().map(String::as_str)).unwrap_or_default();
        let ruled = self.rule(envelope, given, now_unix)?;
        if let Some(site) = &self.site {
            site.take(envelope, order, now_unix)?;
        }
        Ok(ruled.wall)
    }

    /// Whether this node may dial others.
    pub fn check_relay(&self) -> Result<(), Problem> {
        match &self.read {
            Some(policy) => policy.as_ref().as_ref().map_err(Clone::clone)?.check_relay(),
            None => Ok(()),
        }
    }
}

/// What the policy of this node took away from a run, and the rule that did.
#[derive(Clone, Debug)]
pub(crate) struct Withheld {
    cut: GrantSet,
    rule: String,
    /// In site mode: the rule that starts no program without walls of its own.
    #[cfg(feature = "site")]
    confines: Option<String>,
}

impl Withheld {
    /// The problem to report when the policy is what lacks a grant that would have been enough.
    pub(crate) fn instead(&self, enough: impl Fn(&GrantSet) -> bool) -> Option<Problem> {
        let alone = |grant: &Grant| GrantSet::parse_all([grant.to_string().as_str()].into_iter());
        let grant = self.cut.iter().find(|grant| alone(grant).is_ok_and(|set| enough(&set)))?;
        Some(waft_policy::lacks(&self.rule, &grant.to_string()))
    }

    /// The same for a task that was called by one of which this was withheld: what binds the one binds the other.
    pub(crate) fn below(self, caller: Option<&Withheld>) -> Withheld {
        #[cfg(feature = "site")]
        let confines = self.confines.or_else(|| caller?.confines.clone());
        #[cfg(not(feature = "site"))]
        let _ = caller;
        Withheld {
            #[cfg(feature = "site")]
            confines,
            ..self
        }
    }

    /// Whether a program may be started without walls of its own.
    #[cfg(feature = "site")]
    pub(crate) fn check_unconfined(&self, program: &str) -> Result<(), Problem> {
        match &self.confines {
            Some(rule) => Err(waft_policy::unconfined(rule, program)),
            None => Ok(()),
        }
    }
}
