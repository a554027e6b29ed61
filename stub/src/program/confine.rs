//! A confined program: behind landlock, without new privileges, without sockets.
//!
//! It reads and writes beneath the granted directories as the task may, reads and executes what programs are made of
//! ([`SYSTEM`]) and its own file, and has `/dev/null` and the like. What landlock has no word for stays open, wherever
//! files are: chmod, chown, utime and xattr as far as the rights of its user go.

use super::memory;
use crate::worker::wire::Dir;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Below it landlock cannot keep a program from truncating files elsewhere.
const LEAST: ABI = ABI::V3;
const NEWEST: ABI = ABI::V6;
/// The same as the kernel counts.
const LEAST_NUMBER: i64 = 3;

/// What programs are made of.
const SYSTEM: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// Where a kernel for x86-64 takes calls of the x32 kind, each has a second number.
const X32: i64 = if cfg!(target_arch = "x86_64") { 0x4000_0000 } else { 0 };

/// What root keeps: it works on other users' files in granted directories. Not FOWNER, as a worker has it: chmod and utime
/// take no part in landlock, so with it they would be for everybody's files everywhere.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// What a confined program may reach.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Confined {
    pub(crate) dirs: Vec<Dir>,
    pub(crate) network: bool,
}

/// Why a program cannot be confined here, if so.
pub(crate) fn lacking() -> Option<String> {
    const VERSION: u32 = 1;
    // SAFETY: asks for a number; reads no memory.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) };
    too_old(abi)
}

fn too_old(abi: i64) -> Option<String> {
    match abi {
        LEAST_NUMBER.. => None,
        ..=0 => Some("this kernel has no landlock, or it is switched off".to_owned()),
        old => Some(format!("landlock has version {old} in this kernel, and it takes {LEAST_NUMBER}")),
    }
}

/// Rules, made before the fork.
pub(super) struct Rules {
    ruleset: Option<RulesetCreated>,
    filter: BpfProgram,
}

impl Rules {
    pub(super) fn new(confined: &Confined, program: &str) -> io::Result<Rules> {
        let ruleset = ruleset(confined, program).map_err(io::Error::other)?;
        let filter = filter(confined.network).map_err(io::Error::other)?;
        Ok(Rules { ruleset: Some(ruleset), filter })
    }

    /// In the program's process, before it is executed; once.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        if rustix::process::getuid().is_root() {
            drop_capabilities()?;
        }
        rustix::thread::set_no_new_privs(true)?;
        let ruleset = self.ruleset.take().ok_or(io::ErrorKind::InvalidInput)?;
        let status = ruleset.restrict_self().map_err(|_| io::ErrorKind::PermissionDenied)?;
        if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
            return Err(io::ErrorKind::Unsupported.into());
        }
        seccompiler::apply_filter(&self.filter).map_err(|_| io::ErrorKind::PermissionDenied.into())
    }
}

fn ruleset(confined: &Confined, program: &str) -> Result<RulesetCreated, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))
        .map_err(|error| words(&error))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)));
    let rules = match confined.network {
        true => rules,
        false => rules.and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST))),
    };
    let mut rules = rules.and_then(Ruleset::create).map_err(|error| words(&error))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let system = SYSTEM.map(|path| (path, read | AccessFs::Execute));
    let devices = DEVICES.map(|path| (path, AccessFs::ReadFile | AccessFs::WriteFile));
    for (path, rights) in system.into_iter().chain(devices) {
        // What this system does not have is not missed.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, rights)).map_err(|error| words(&error))?;
        }
    }
    // What lies in memory landlock keeps nobody from, and has no rules for.
    if !memory::names(program) {
        let own = PathFd::new(program).map_err(|error| words(&error))?;
        let own = PathBeneath::new(own, AccessFs::ReadFile | AccessFs::Execute);
        rules = rules.add_rule(own).map_err(|error| words(&error))?;
    }
    for dir in &confined.dirs {
        let path = PathFd::new(&dir.path).map_err(|error| words(&error))?;
        let rights = if dir.writable { writable() } else { read };
        rules = rules.add_rule(PathBeneath::new(path, rights)).map_err(|error| words(&error))?;
    }
    Ok(rules)
}

fn writable() -> BitFlags<AccessFs> {
    let never = AccessFs::Execute
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeSock
        | AccessFs::MakeFifo
        | AccessFs::IoctlDev;
    AccessFs::from_all(NEWEST) & !never
}

/// Root that executes gets all that is in its bounding set back: so it is taken out of that, too.
fn drop_capabilities() -> rustix::io::Result<()> {
    for capability in CapabilitySet::all() & !KEPT {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    let kept = KEPT & rustix::thread::capabilities(None)?.permitted;
    let _ = rustix::thread::clear_ambient_capability_set();
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

/// Landlock knows of sockets TCP only. Behind a UNIX socket whoever listens there does what he is asked (a bus, a
/// container service), outside of all rules: those are refused also where the network is not.
fn filter(network: bool) -> Result<BpfProgram, String> {
    let words = |error: seccompiler::BackendError| error.to_string();
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    let refused = match network {
        true => SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, unix)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map(|rule| vec![rule])
            .map_err(words)?,
        false => Vec::new(),
    };
    // Through rings sockets are made as well, unseen by filters.
    let rules = [(libc::SYS_socket, refused), (libc::SYS_io_uring_setup, Vec::new())];
    let again = rules.clone().map(|(number, rule)| (number | X32, rule));
    let rules: BTreeMap<_, _> = rules.into_iter().chain(again).collect();
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).and_then(TryInto::try_into).map_err(words)
}

#[cfg(test)]
mod tests {
    use super::{filter, too_old};

    /// The kernel of this machine need not have such calls: that the filter answers is told by the error.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_second_number_of_a_call_is_refused_too() {
        let program = filter(false).expect("a filter");
        let asked = std::thread::spawn(move || {
            seccompiler::apply_filter(&program).expect("applied");
            [libc::SYS_socket, libc::SYS_io_uring_setup].map(|number| {
                // SAFETY: it is refused; if not, there is no such family, and the ring has no parameters.
                let done = unsafe { libc::syscall(number | super::X32, u64::MAX, 0, 0) };
                (done, std::io::Error::last_os_error().raw_os_error())
            })
        });
        assert_eq!(asked.join().expect("it asked"), [(-1, Some(libc::EPERM)); 2]);
    }

    #[test]
    fn a_kernel_that_cannot_is_told() {
        assert!(too_old(3).is_none() && too_old(7).is_none());
        assert!(too_old(-1).is_some_and(|text| text.contains("no landlock")));
        assert!(too_old(0).is_some());
        assert!(too_old(2).is_some_and(|text| text.contains("version 2")));
    }
}
