//! A stub that is installed, and what it has that none which is pushed has: a key of its own, a memory of what it has
//! done, the keys of signers, a compiler.
//!
//! | module | what it does |
//! |---|---|
//! | [`forced`] | finds out whether sshd started it as it should, and by whose files |
//! | [`key`] | the node's key: made once, kept, printed |
//! | [`state`] | the account's directory, in which both are |
//! | `seen` | orders and approvals that were taken: each counts once |
//! | `vouch` | who has signed a module, who has approved a run |
//! | [`compile`] | from a module to an artifact, in a process behind walls |

pub mod compile;
pub mod forced;
pub mod key;
mod seen;
pub mod state;
mod vouch;

use crate::policy::Vouched;
use key::NodeKey;
use seen::{Kind, Seen};
use std::cell::RefCell;
use vouch::Keys;
use waft_policy::Policy;
use waft_proto::envelope::Envelope;
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Hello, Identity, Outcome};
use waft_proto::run::Problem;
use waft_proto::seal;

/// What an installed stub has beside its policy.
pub struct Site {
    /// The name in `--as`; `None` when sshd did not start it as a forced command.
    name: Option<String>,
    key: Option<NodeKey>,
    /// Who may sign, or what is wrong with the files that say it.
    keys: Result<Keys, Problem>,
    /// Only what sshd started can count on being the only way in, and needs to remember.
    seen: Option<Result<RefCell<Seen>, Problem>>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Site {
    /// With `name` everything has to be there, and what is not refuses runs. Without, what is there is used.
    pub fn new(policy: Option<&Policy>, name: Option<&str>) -> Site {
        let settings = policy.map(|policy| policy.site.clone()).unwrap_or_default();
        let dir = match name {
            Some(_) => state::open(&settings, state::Make::IfMissing),
            None => state::open(&settings, state::Make::No),
        };
        let key = dir.as_ref().map_err(Clone::clone).and_then(|dir| {
            NodeKey::load(
                dir,
                &settings,
                if name.is_some() { state::Make::IfMissing } else { state::Make::No },
            )
        });
        let (key, seen) = match (name, key, dir) {
            (Some(_), Ok(key), Ok(dir)) => (Some(key), Some(Ok(RefCell::new(Seen::new(dir))))),
            (Some(_), Err(problem), _) | (Some(_), Ok(_), Err(problem)) => (None, Some(Err(problem))),
            (None, key, _) => (key.ok(), None),
        };
        Site { name: name.map(str::to_owned), key, keys: Keys::read(&settings), seen }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Says in the hello whose node this is.
    pub fn identify(&self, hello: &mut Hello) {
        hello.identity = self.key.as_ref().map(|key| Identity {
            key: key.public(),
            signature: key.sign(&seal::identity_text(&hello.seal_key)),
        });
    }

    /// The proof of a result; empty without a key.
    pub fn prove(&self, run: RunId, order: Hash, output: Hash, outcome: &Outcome) -> Vec<u8> {
        let text = || seal::result_text(run, order, output, outcome);
        self.key.as_ref().map(|key| key.sign(&text())).unwrap_or_default()
    }

    /// Who stands for a module and for this run of it.
    pub(crate) fn vouched(
        &self,
        envelope: &Envelope,
        module: Hash,
        target: &str,
        now_unix: u64,
    ) -> Result<Vouched, Problem> {
        self.keys.as_ref().map_err(Clone::clone)?.vouched(envelope, module, target, now_unix)
    }

    /// Takes an order, and the approval in it, once and for all.
    pub(crate) fn take(&self, envelope: &Envelope, order: Hash, now_unix: u64) -> Result<(), Problem> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let mut seen = seen.as_ref().map_err(Clone::clone)?.borrow_mut();
        let mut new = vec![(Kind::Order, order, envelope.expires)];
        if let Some(approval) = &envelope.approval {
            let (nonce, until) = vouch::nonce(&approval.document)?;
            new.push((Kind::Approval, nonce, until));
        }
        seen.take(&new, now_unix)
    }
}
