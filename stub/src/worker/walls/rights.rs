//! Capabilities and landlock: less of what this process may do, by name.

use super::super::wire::Dir;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// The newest rules that are asked for. An older kernel enforces what it knows.
const NEWEST: ABI = ABI::V6;

/// What root keeps: a task of root's with a granted directory works on other users' files there, as root's programs do.
const KEPT: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::FOWNER);

/// An ordinary user keeps none: those of its own user namespace were only for mounting.
pub(super) fn drop_capabilities() -> rustix::io::Result<()> {
    let kept = match rustix::process::getuid().is_root() {
        true => KEPT & capabilities(None)?.permitted,
        false => CapabilitySet::empty(),
    };
    // Before Linux 4.3 there are none of these.
    let _ = rustix::thread::clear_ambient_capability_set();
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

/// Files below granted directories, and nothing else: no network, no signals to others, no abstract sockets.
pub(super) fn landlock(dirs: &[Dir]) -> Result<(), String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(|error| words(&error))?;
    for dir in dirs {
        let path = PathFd::new(&dir.path).map_err(|error| words(&error))?;
        rules =
            rules.add_rule(PathBeneath::new(path, rights(dir.writable))).map_err(|error| words(&error))?;
    }
    match rules.restrict_self().map_err(|error| words(&error))?.ruleset {
        RulesetStatus::NotEnforced => Err("this kernel has none, or it is switched off".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

fn rights(writable: bool) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    if !writable {
        return read;
    }
    let never = AccessFs::Execute
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeSock
        | AccessFs::MakeFifo
        | AccessFs::IoctlDev;
    AccessFs::from_all(NEWEST) & !never
}
