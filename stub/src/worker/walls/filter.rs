//! The system calls of a worker, by seccomp: those that running a guest takes, and no others.
//!
//! What is refused answers with `EPERM`. Absent on purpose are the families of chmod, chown, utime, xattr, mknod and mount
//! (the stub does such work, beneath a granted directory), socket, ptrace, kill, clone and execve, and everything that a
//! newer kernel adds.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// Calls that are allowed whatever their arguments.
const CALLS: &[i64] = &[
    // The channel, files, and what reads and writes them.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Time and waiting.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_futex,
    libc::SYS_ppoll,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Of the process itself.
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Those that only the older architecture has.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

/// What may be asked of a descriptor: flags and copies. Not who gets its signals.
const FCNTL: [i32; 6] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD, libc::F_DUPFD_CLOEXEC];

/// Raises the filter of calls.
pub(super) fn calls() -> Result<(), String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().chain(OLD_CALLS).map(|call| (*call, Vec::new())).collect();
    let fcntl = FCNTL.map(|command| rule(1, SeccompCmpOp::Eq, u64::from(command.unsigned_abs())));
    rules.insert(libc::SYS_fcntl, fcntl.into_iter().collect::<Result<_, _>>()?);
    // A panic ends this process and hits no other.
    let ourselves = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, ourselves)?]);
    // What the last filter takes, which then refuses it.
    let no_new_privs = u64::from(libc::PR_SET_NO_NEW_PRIVS.unsigned_abs());
    rules.insert(libc::SYS_prctl, vec![rule(0, SeccompCmpOp::Eq, no_new_privs)?]);
    let filter = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    rules.insert(libc::SYS_seccomp, vec![rule(0, SeccompCmpOp::Eq, filter)?]);
    // Limits can be asked for, not set.
    rules.insert(libc::SYS_prlimit64, vec![rule_of(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?]);
    install(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

/// Raises the filter that refuses memory with code, new or changed.
pub(super) fn new_code() -> Result<(), String> {
    let code = u64::from(libc::PROT_EXEC.unsigned_abs());
    let executable = || rule(2, SeccompCmpOp::MaskedEq(code), code).map(|rule| vec![rule]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect]
            .into_iter()
            .map(|call| Ok((call, executable()?)))
            .collect::<Result<_, String>>()?;
    rules.extend([libc::SYS_prctl, libc::SYS_seccomp].map(|call| (call, Vec::new())));
    install(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()))
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    rule_of(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn rule_of(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, String> {
    SeccompCondition::new(argument, length, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| error.to_string())
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
