//! What a node whose key the inventory has must have signed, so that its result counts: the order that it obeyed, all of
//! its output, and how it ended.

use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Outcome, Stream};
use waft_proto::run::{Problem, Status};
use waft_proto::seal::{OutputHash, is_signed, result_text};

/// One target with a known key, in one run.
pub(crate) struct Pinned {
    key: [u8; 32],
    /// What was sent to it: a second order only when the first fitted no engine of it.
    orders: Vec<Hash>,
    output: OutputHash,
}

impl Pinned {
    pub(crate) fn new(key: [u8; 32]) -> Pinned {
        Pinned { key, orders: Vec::new(), output: OutputHash::default() }
    }

    pub(crate) fn ordered(&mut self, envelope: Hash) {
        self.orders.push(envelope);
    }

    /// Output as it came over the link.
    pub(crate) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.add(stream, bytes);
    }

    /// The outcome, if the node has signed it. A refusal may come from a node that could not read the order, and so has
    /// no signature: then it says so.
    pub(crate) fn judge(&self, name: &str, run: RunId, outcome: Outcome, proof: &[u8]) -> Outcome {
        let output = self.output.finish();
        let is_proven =
            |order: &Hash| is_signed(&self.key, &result_text(run, *order, output, &outcome), proof);
        if self.orders.iter().any(is_proven) {
            return outcome;
        }
        let said = outcome.problem.as_ref().map(|problem| (problem.code.clone(), problem.message.clone()));
        let refusal =
            matches!(outcome.status, Status::Refused | Status::Failed) && outcome.exit_code.is_none();
        if let (true, true, Some(mut problem)) = (proof.is_empty(), refusal, outcome.problem.clone()) {
            problem.message.push_str(" (not signed by the key of the node: a hop may have said this)");
            return Outcome::without_start(outcome.status, Some(problem));
        }
        let said = match said {
            Some((code, message)) => format!("{}, {code}: {message}", outcome.status.word()),
            None => outcome.status.word().to_owned(),
        };
        let what = if proof.is_empty() { "is not signed" } else { "is not what was signed" };
        let problem = Problem::new(
            "node.proof",
            format!("the result of {name} {what} by the key of that node; it says: {said}"),
        )
        .hint(
            "a hop changed the result or the order, or the stub lies; what the task did there is not known",
        );
        Outcome { status: Status::Failed, problem: Some(problem), exit_code: None, signal: None, ..outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const RUN: RunId = RunId([7; 16]);
    const ORDER: Hash = Hash([9; 32]);

    fn outcome(status: Status) -> Outcome {
        Outcome { exit_code: (status == Status::Ok).then_some(0), ..Outcome::without_start(status, None) }
    }

    fn proof(key: &SigningKey, output: &[u8], outcome: &Outcome) -> Vec<u8> {
        let mut hash = OutputHash::default();
        hash.add(Stream::Stdout, output);
        key.sign(&result_text(RUN, ORDER, hash.finish(), outcome)).to_bytes().to_vec()
    }

    fn pinned(key: &SigningKey) -> Pinned {
        let mut pinned = Pinned::new(key.verifying_key().to_bytes());
        pinned.ordered(ORDER);
        // In other portions than those that were sent.
        pinned.output(Stream::Stdout, b"he");
        pinned.output(Stream::Stdout, b"llo");
        pinned
    }

    #[test]
    fn a_signed_result_counts_and_a_changed_one_does_not() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let ok = outcome(Status::Ok);
        let good = proof(&key, b"hello", &ok);
        assert_eq!(pinned(&key).judge("web1", RUN, ok.clone(), &good), ok);
        let changed = Outcome { ms: 5, ..ok.clone() };
        for (outcome, proof) in [
            (changed, good.clone()),
            (ok.clone(), proof(&key, b"hullo", &ok)),
            (ok.clone(), proof(&other, b"hello", &ok)),
            (ok.clone(), Vec::new()),
        ] {
            let judged = pinned(&key).judge("web1", RUN, outcome, &proof);
            let code = judged.problem.map(|problem| problem.code);
            assert_eq!((judged.status, code.as_deref()), (Status::Failed, Some("node.proof")));
        }
        assert_eq!(pinned(&key).judge("web1", RunId([8; 16]), ok, &good).status, Status::Failed);
    }

    #[test]
    fn an_unsigned_refusal_is_told_as_such_and_an_unsigned_success_never_counts() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let said = Problem::new("envelope.signature", "no");
        let refused = Outcome::without_start(Status::Refused, Some(said));
        let judged = pinned(&key).judge("web1", RUN, refused.clone(), &[]);
        assert_eq!(judged.status, Status::Refused);
        assert!(judged.problem.is_some_and(|problem| problem.message.contains("a hop may have said this")));
        // A signature that is there and wrong is not "unsigned".
        assert_eq!(pinned(&key).judge("web1", RUN, refused, &[0; 64]).status, Status::Failed);
    }
}
