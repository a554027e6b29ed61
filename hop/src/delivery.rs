//! Bringing the stub over: one POSIX shell line, then a header, then the stub, all over one channel.
//!
//! ```text
//!   us                                             the target's login shell
//!   exec 'sh -c ...'  ------------------------->   looks around, says
//!                     <-------------------------   WAFT1 Linux x86_64 perl 1 1
//!   x86_64 1183321 1 any 5e0f9a31 - <\n> stub    ->  takes exactly these bytes, starts the stub on the same pipes
//!   frames ...                                     preamble, frames ...
//! ```
//!
//! Nothing waits for the answer when the machine is remembered: header and stub follow the line at once,
//! and the line checks that they are right. Frames follow the stub at once when its reader takes exactly
//! the stub's bytes; behind any other reader they wait for the preamble.
//!
//! The line is given to whatever login shell there is (csh and fish too): one pair of single quotes, and
//! in it no single quote, no `!`, no line break.

use crate::intro::Probe;
use std::hash::{BuildHasher, Hasher, RandomState};
use waft_proto::msg::{Arch, Delivery, StubKind};
use waft_proto::run::Problem;

/// The shell line. `perl` and `python3` read exactly what they are told and can make a memfd; a `head` or
/// `dd` is used only if it was seen to leave the rest of a pipe alone (or as the last resort, which the
/// probe line then says).
///
/// What its parts do not say themselves, because every comment would cross every wire:
///
/// * `set -C`, O_EXCL: /dev/shm is everybody's, and a file or link that somebody laid there under our name
///   must not be written through.
/// * `$i`, a number from us: several containers may have one /dev/shm, and in each the shell has the same process number.
/// * `room`: perl and python3 hold the stub in memory and try the next directory when one is full; a shell has
///   one attempt, so it looks first whether three times the gzip bytes fit (a stub is 2.3 times as large).
/// * The memfd is close-on-exec (flags 17 = MFD_EXEC and that, 1 for older kernels): whoever inherits it could
///   change the running stub. perl sets that flag itself for files it opens.
/// * `PERL_BADLANG`: fish exports locales that a host need not have, and perl would complain of each on stderr.
/// * The `trap` removes the file when `exec` fails; a successful one leaves that to the stub.
pub fn shell_line() -> String {
    let perl = one_line(include_str!("delivery/stub.pl")).replace('$', "\\$");
    let python = for_printf(include_str!("delivery/stub.py"));
    let script =
        one_line(include_str!("delivery/line.sh")).replace("@PERL@", &perl).replace("@PYTHON@", &python);
    format!("exec sh -c '{script}'")
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// As a format of the shell's `printf`, in double quotes: Python needs its line breaks.
fn for_printf(text: &str) -> String {
    text.trim().replace('\\', "\\\\").replace('%', "%%").replace('"', "\\042").replace('\n', "\\n")
}

/// The header: what comes, and what may be done with it.
pub fn header(arch: Arch, bytes: u64, gzip: bool, delivery: &Delivery) -> Result<Vec<u8>, Problem> {
    let dir = delivery.dir.as_deref().unwrap_or("-");
    if dir.is_empty()
        || dir.chars().any(|c| c.is_whitespace() || c.is_control())
        || !(dir == "-" || dir.starts_with('/'))
    {
        return Err(Problem::new(
            "delivery.dir",
            format!("`dir` must be an absolute path without blanks, not `{dir}`"),
        ));
    }
    let mode = if delivery.no_disk { "mem" } else { "any" };
    let (arch, gzip, name) = (arch.word(), u8::from(gzip), name());
    Ok(format!("{arch} {bytes} {gzip} {mode} {name:08x} {dir}\n").into_bytes())
}

/// For the name of a stub in a directory. Whoever guesses it gains nothing.
fn name() -> u32 {
    // Each of these has keys of its own, from the system's randomness.
    let mixed = RandomState::new().build_hasher().finish();
    u32::try_from(mixed >> u32::BITS).unwrap_or_default()
}

/// The command line of a preinstalled stub.
pub fn installed_line(path: &str) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(Problem::new(
            "delivery.installed",
            format!("`installed` must be a plain absolute path, not `{path}`"),
        ));
    }
    Ok(format!("exec {path} --link installed"))
}

/// The code of "this is another machine than was thought".
pub const OTHER_ARCH: &str = "delivery.arch";

/// Why no stub fits a target.
pub fn no_stub(host: &str, probe: &Probe, kind: StubKind) -> Problem {
    Problem::new(
        OTHER_ARCH,
        format!(
            "{host} is a {} {}, and there is no {} stub for that",
            probe.system,
            probe.machine,
            kind.word()
        ),
    )
    .hint("`waft stub list` shows what is there; `waft stub build` or WAFT_STUB_DIR adds more")
}

#[cfg(test)]
mod tests;
