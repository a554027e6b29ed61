//! The walls around the compiler, raised before it has read a byte of the module.
//!
//! | wall | what it takes away |
//! |---|---|
//! | `no_new_privs` | set-uid programs |
//! | `descriptors` | what the controller may have left open: only the three pipes stay |
//! | `landlock` | every file, TCP, signals to others, abstract sockets |
//! | `rlimits` | memory, CPU time, written files, more descriptors, core dumps |
//! | `seccomp` | all system calls but those that reading, computing in threads and writing takes |
//!
//! What a kernel cannot do is told and never stops a compilation: the controller of a site is its own operator's, and the
//! process border and the limits of the parent stand in any case. Each is tried alone in host/tests/compiler.rs.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;
use std::io;

const NO_NEW_PRIVS: &str = "no_new_privs";
const DESCRIPTORS: &str = "descriptors";
const LANDLOCK: &str = "landlock";
const RLIMITS: &str = "rlimits";
const SECCOMP: &str = "seccomp";

/// All walls, in the order in which they are raised.
pub const ALL: [&str; 5] = [NO_NEW_PRIVS, DESCRIPTORS, LANDLOCK, RLIMITS, SECCOMP];

/// Open descriptors: the three pipes and some spare.
const FILES_MAX: u64 = 8;
/// From the signal that ends the compiler, which the parent can tell from others, to the one that cannot be caught, seconds.
const CPU_GRACE_SECONDS: u64 = 2;
/// The newest rules that are asked for. An older kernel enforces what it knows.
const NEWEST: ABI = ABI::V6;

/// What the compiler may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
}

/// Raises those that are named, and says which could not be raised, and why. Must be called while there is one thread.
pub fn raise(wanted: &[&str], limits: &Limits) -> Vec<(&'static str, String)> {
    let raised = |wall: &str| match wall {
        NO_NEW_PRIVS => rustix::thread::set_no_new_privs(true).map_err(|error| words(error.into())),
        DESCRIPTORS => close_others(),
        LANDLOCK => no_files(),
        RLIMITS => limit(limits),
        _ => calls(),
    };
    let all = ALL.into_iter().filter(|wall| wanted.contains(wall));
    all.filter_map(|wall| raised(wall).err().map(|why| (wall, why))).collect()
}

fn words(error: io::Error) -> String {
    crate::files::plain(&error)
}

/// All but the standard three.
fn close_others() -> Result<(), String> {
    // SAFETY: nothing in this process, which has just begun, uses a descriptor beyond the standard three.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(words(io::Error::last_os_error())),
    }
}

/// No file, no network, no signals to others, no abstract sockets: there is no rule that gives any.
fn no_files() -> Result<(), String> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.restrict_self())
        .map_err(|error| error.to_string())?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("this kernel has none, or it is switched off".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Never above what the login allows. Pipes are no files to `Fsize`.
fn limit(limits: &Limits) -> Result<(), String> {
    let cpu = limits.cpu_seconds;
    for (resource, soft, hard) in [
        (Resource::As, limits.memory_bytes, limits.memory_bytes),
        (Resource::Cpu, cpu, cpu.saturating_add(CPU_GRACE_SECONDS)),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Nofile, FILES_MAX, FILES_MAX),
    ] {
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(allowed)), maximum: Some(hard.min(allowed)) };
        setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {}", words(error.into())))?;
    }
    Ok(())
}

/// Calls that are allowed whatever their arguments. What is refused answers with `EPERM`.
const CALLS: &[i64] = &[
    // The pipes.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_lseek,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Time and threads.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_restart_syscall,
    // Of the process itself.
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn calls() -> Result<(), String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // The compiler writes code and never runs it.
    let code = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, SeccompCmpOp::MaskedEq(code), 0)?]);
    }
    // Threads, no processes. The flags of clone3 lie in memory, where no filter can look: it is as if there were none,
    // which the C library answers by asking for clone.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    rules.insert(libc::SYS_clone3, Vec::new());
    // A panic ends this process and hits no other.
    rules.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?]);
    // Limits can be asked for, not set.
    let asked = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    rules.insert(libc::SYS_prlimit64, vec![whole(asked)?]);
    let none = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    // Filters are all asked, and the strictest answer counts. The second takes away the call that installs them.
    install(none, SeccompAction::Allow, errno(libc::ENOSYS))?;
    install(rules, errno(libc::EPERM), SeccompAction::Allow)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    whole(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value))
}

fn whole(condition: Result<SeccompCondition, seccompiler::BackendError>) -> Result<SeccompRule, String> {
    condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(|error| error.to_string())
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<(), String> {
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, matching, arch)
        .and_then(TryInto::try_into)
        .map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}
