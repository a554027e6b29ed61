//! The controller's side of every login: known hosts, keys and agents, and the decision to sign for a
//! session that a relay dials. Private keys are read and used here, and nowhere else in the tree.

pub mod keys;
pub mod known_hosts;
pub mod login;
pub mod resolver;
pub mod settings;
pub mod signer;
