//! A relay that changes what passes between it and its children, as one can that somebody else controls. For tests:
//! `scripts/build-stub.sh liar` makes it, and a test looks that nothing which is shipped has it.

use waft_proto::node::Peer;

/// `WAY OLD NEW`: `up` or `down`, and bytes in hex digits, as many of the one as of the other.
const VARIABLE: &str = "WAFT_LIE";

/// What goes on in the place of `bytes`.
pub(crate) fn changed(peer: Peer, way: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    let said = std::env::var(VARIABLE).unwrap_or_default();
    let words: Vec<&str> = said.split(' ').collect();
    let [wanted, old, new] = words.as_slice() else { return bytes };
    if *wanted != way || matches!(peer, Peer::Parent) {
        return bytes;
    }
    let (old, new) = (unhex(old), unhex(new));
    if old.is_empty() || old.len() != new.len() {
        return bytes;
    }
    let mut at = 0;
    while let Some(window) = bytes.get_mut(at..at + old.len()) {
        if window == old.as_slice() {
            window.copy_from_slice(&new);
        }
        at += 1;
    }
    bytes
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..digits.len()).step_by(2).map_while(byte).collect()
}
