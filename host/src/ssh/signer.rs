//! The decision to sign for a session that a relay dials.
//!
//! A relay never gets a signature over bytes it made up: the controller rebuilds the request from what it
//! ordered and from the session's identity, compares, and only then signs. What is demanded, in this order,
//! is in [`Orders::check`]; each line of it has a test.

use crate::ssh::known_hosts::Known;
use russh::keys::signature::Verifier;
use russh::keys::ssh_encoding::Decode;
use russh::keys::ssh_key::Signature;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use waft_proto::id::NodeId;
use waft_proto::limits::SIGN_ORDER_MS;
use waft_proto::msg::SignRequest;
use waft_proto::run::Problem;

/// A login that the controller ordered a relay to make.
#[derive(Clone, Debug)]
pub struct Order {
    pub relay: NodeId,
    pub name: String,
    /// The name under which the host is known, for certificates.
    pub host: String,
    pub user: String,
    pub known: Known,
    pub identities: Vec<Vec<u8>>,
}

struct Entry {
    order: Order,
    /// When the relay could first act on it.
    since: Instant,
    used: bool,
}

/// All orders of a run: one signature each.
#[derive(Default)]
pub struct Orders(HashMap<NodeId, Entry>);

/// What may be signed: these bytes by this identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToSign {
    pub identity: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Orders {
    pub fn give(&mut self, node: NodeId, order: Order, now: Instant) {
        self.0.insert(node, Entry { order, since: now, used: false });
    }

    /// The order leaves only now.
    pub fn restart(&mut self, node: NodeId, now: Instant) {
        if let Some(entry) = self.0.get_mut(&node) {
            entry.since = now;
        }
    }

    /// A relay has joined only now: its time to act on orders begins.
    pub fn relay_joined(&mut self, relay: NodeId, now: Instant) {
        for entry in self.0.values_mut().filter(|entry| entry.order.relay == relay && !entry.used) {
            entry.since = now;
        }
    }

    /// Names of hosts that share a host key with another: to this check they are one host.
    pub fn shared_host_keys(&self) -> Vec<(String, String)> {
        let mut first: HashMap<&[u8], &str> = HashMap::new();
        let mut shared = Vec::new();
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(node, _)| **node);
        for (_, entry) in entries {
            for key in &entry.order.known.keys {
                let name = entry.order.name.as_str();
                match first.get(key.as_slice()) {
                    Some(other) if *other != name => shared.push(((*other).to_owned(), name.to_owned())),
                    Some(_) => {}
                    None => {
                        first.insert(key, name);
                    }
                }
            }
        }
        shared
    }

    /// Whether `relay` may have the signature it asks for. Uses the order up when it may.
    pub fn check(&mut self, relay: NodeId, request: &SignRequest, now: Instant) -> Result<ToSign, Problem> {
        let refuse = |why: &str| Problem::new("relay.sign", format!("the controller refuses to sign: {why}"));
        let entry = self
            .0
            .get_mut(&request.node)
            .filter(|entry| entry.order.relay == relay)
            .ok_or_else(|| refuse("it gave this hop no order to log in there"))?;
        let order = &entry.order;
        let name = &order.name;
        if entry.used {
            return Err(refuse(&format!("its one signature for the login to {name} is used up")));
        }
        if now.saturating_duration_since(entry.since) > Duration::from_millis(SIGN_ORDER_MS) {
            return Err(refuse(&format!(
                "the order to log in to {name} is older than {} s",
                SIGN_ORDER_MS / 1000
            )));
        }
        if request.user != order.user {
            return Err(refuse(&format!("the order for {name} names the user {}", order.user)));
        }
        // Before anything decodes it.
        if waft_trust::is_deep(&request.host_key) {
            return Err(refuse("the session's host key has certificates within certificates"));
        }
        let host_key = accepted_host_key(order, &request.host_key).ok_or_else(|| {
            refuse(&format!(
                "the session's host key is not known for {name}: {}",
                waft_hop::ssh::fingerprint(&request.host_key)
            ))
        })?;
        let signature = Signature::decode(&mut request.host_signature.as_slice())
            .map_err(|_| refuse("the host's signature cannot be read"))?;
        Verifier::verify(&host_key, &request.session_id, &signature)
            .map_err(|_| refuse(&format!("{name} did not sign that session")))?;
        if !order.identities.contains(&request.public_key) {
            return Err(refuse(&format!("the key is none that was offered for {name}")));
        }
        let bytes = rebuild(&request.session_id, &order.user, &request.public_key)
            .ok_or_else(|| refuse("the key cannot be read"))?;
        if bytes != request.to_sign {
            return Err(refuse(&format!("the request is not the login to {name} that was ordered")));
        }
        entry.used = true;
        Ok(ToSign { identity: request.public_key.clone(), bytes })
    }
}

fn accepted_host_key(order: &Order, shown: &[u8]) -> Option<PublicKey> {
    let known = &order.known;
    if known.is_revoked(shown) {
        return None;
    }
    if known.keys.iter().any(|key| key == shown) {
        return PublicKey::from_bytes(shown).ok();
    }
    if waft_hop::ssh::is_host_certificate(shown, &order.host, &known.authorities) {
        let certificate = Certificate::from_bytes(shown).ok()?;
        return Some(PublicKey::from(certificate.public_key().clone()));
    }
    None
}

/// RFC 4252, section 7: what a client signs to log in with a public key.
fn rebuild(session_id: &[u8], user: &str, identity: &[u8]) -> Option<Vec<u8>> {
    const USERAUTH_REQUEST: u8 = 50;
    let certificate = Certificate::from_bytes(identity).ok();
    let algorithm = match &certificate {
        Some(certificate) => certificate.algorithm(),
        None => PublicKey::from_bytes(identity).ok()?.algorithm(),
    };
    let algorithm = match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        other => other,
    };
    let name = match certificate {
        Some(_) => algorithm.to_certificate_type(),
        None => algorithm.to_string(),
    };
    let mut bytes = Vec::new();
    string(&mut bytes, session_id)?;
    bytes.push(USERAUTH_REQUEST);
    string(&mut bytes, user.as_bytes())?;
    string(&mut bytes, b"ssh-connection")?;
    string(&mut bytes, b"publickey")?;
    bytes.push(1);
    string(&mut bytes, name.as_bytes())?;
    string(&mut bytes, identity)?;
    Some(bytes)
}

/// SSH's string: length and bytes.
fn string(to: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    to.extend_from_slice(&u32::try_from(text.len()).ok()?.to_be_bytes());
    to.extend_from_slice(text);
    Some(())
}

#[cfg(test)]
mod tests;
