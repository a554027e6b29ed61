//! All that one party asks for, gives or allows: rights and limits together.

use super::exec::Exec;
use super::{Access, Endpoint, GRANTS_MAX, Grant, Limits, names, quoted};
use crate::run::Problem;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A suggested grant longer than this is not worth pasting, bytes.
const SUGGESTION_BYTES_MAX: usize = 1024;

/// Rights in the order in which they were given, without repetitions, and limits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GrantSet {
    rights: Vec<Grant>,
    limits: Limits,
}

impl GrantSet {
    /// Reads all texts, or says everything that is wrong with them.
    pub fn parse_all<'a>(texts: impl Iterator<Item = &'a str>) -> Result<GrantSet, Vec<Problem>> {
        let mut set = GrantSet::default();
        let mut problems = Vec::new();
        for (at, text) in texts.enumerate() {
            if at == GRANTS_MAX {
                problems.push(too_many());
                break;
            }
            match Grant::parse(text) {
                Ok(grant) => set.add(grant),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    /// Adds a grant. Of two limits the smaller counts, of two rights to one directory the larger.
    fn add(&mut self, grant: Grant) {
        match grant {
            Grant::Limit(limit) => self.limits.add(limit),
            Grant::Fs { path, access } => {
                let known = self.rights.iter_mut().find_map(|right| match right {
                    Grant::Fs { path: known, access } if *known == path => Some(access),
                    _ => None,
                });
                match known {
                    Some(known) => *known = access.max(*known),
                    None => self.rights.push(Grant::Fs { path, access }),
                }
            }
            right if self.rights.contains(&right) => {}
            right => self.rights.push(right),
        }
    }

    /// Rights, then limits; printed, they are the canonical text of the set.
    pub fn iter(&self) -> impl Iterator<Item = Grant> {
        self.rights.iter().cloned().chain(self.limits.iter().map(Grant::Limit))
    }

    pub fn is_empty(&self) -> bool {
        self.rights.is_empty() && self.limits == Limits::default()
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The directories to preopen.
    pub fn dirs(&self) -> impl Iterator<Item = (&str, Access)> {
        self.rights.iter().filter_map(|right| match right {
            Grant::Fs { path, access } => Some((path.as_str(), *access)),
            _ => None,
        })
    }

    /// The names of variables that programs and the task may see.
    pub fn env_names(&self) -> impl Iterator<Item = &str> {
        self.rights.iter().filter_map(|right| match right {
            Grant::Env(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The granted programs, for `explain`.
    pub fn programs(&self) -> impl Iterator<Item = &Exec> {
        self.rights.iter().filter_map(|right| match right {
            Grant::Exec(exec) => Some(exec),
            _ => None,
        })
    }

    /// Whether one right of this set covers `wanted`; for a limit, whether the set leaves that much.
    pub fn check(&self, wanted: &Grant) -> Result<(), Problem> {
        let given = match wanted {
            // What is not limited is not too little.
            Grant::Limit(limit) => self.limits.iter().all(|most| {
                core::mem::discriminant(&most) != core::mem::discriminant(limit)
                    || Grant::Limit(most).covers(wanted)
            }),
            wanted => self.rights.iter().any(|right| right.covers(wanted)),
        };
        if given { Ok(()) } else { Err(missing(wanted)) }
    }

    pub fn facts(&self) -> Result<(), Problem> {
        self.check(&Grant::Facts)
    }

    /// Where a task may connect to.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.rights.iter().filter_map(|right| match right {
            Grant::Net(endpoint) => Some(endpoint),
            _ => None,
        })
    }

    /// Whether a task may connect to this port of the host that it names so. Returns what granted it.
    pub fn check_net(&self, host: &str, port: u16) -> Result<&Endpoint, Problem> {
        let wanted = Endpoint::named(host, port);
        self.endpoints().find(|endpoint| **endpoint == wanted).ok_or_else(|| missing(&Grant::Net(wanted)))
    }

    /// Whether a program may be started with these words. `resolve` looks a bare name up in the fixed PATH of
    /// the target; what it returns is what must be started.
    pub fn check_exec(&self, argv: &[&str], resolve: impl Fn(&str) -> Option<String>) -> Result<(), Problem> {
        self.check_program(argv, resolve, false)
    }

    /// The same for a program that may leave something running.
    pub fn check_daemon(
        &self,
        argv: &[&str],
        resolve: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Problem> {
        self.check_program(argv, resolve, true)
    }

    fn check_program(
        &self,
        argv: &[&str],
        resolve: impl Fn(&str) -> Option<String>,
        stays: bool,
    ) -> Result<(), Problem> {
        let Some((&program, args)) = argv.split_first() else {
            return Err(Problem::new("exec.empty", "the task asked to start a program and named none"));
        };
        let absolute = program.starts_with('/');
        if program.is_empty() || (program.contains('/') && !absolute) {
            let relative =
                format!("{} is no program: expected an absolute path or a bare name", quoted(program));
            return Err(Problem::new("exec.relative", relative).hint("relative paths are not started"));
        }
        let path = if absolute { Some(program.to_string()) } else { resolve(program) };
        let mut named = None;
        for exec in self.programs() {
            let same = match exec.program() {
                None => true,
                Some(granted) if granted == program => true,
                Some(granted) if granted.starts_with('/') => path.as_deref() == Some(granted),
                Some(granted) => absolute && resolve(granted).as_deref() == Some(program),
            };
            if same && exec.matches_args(args) && (exec.is_daemon() || !stays) {
                if path.is_some() {
                    return Ok(());
                }
                let unknown = format!(
                    "the program {} is granted, but is not in the PATH of the target",
                    quoted(program)
                );
                return Err(Problem::new("exec.not_found", unknown)
                    .hint("install it there, or grant it by its absolute path"));
            }
            if same && named.is_none() {
                named = Some(exec);
            }
        }
        let mut problem =
            missing(&Grant::Exec(Exec::literal(path.as_deref().unwrap_or(program), args, stays)));
        if let Some(exec) = named {
            let near = format!("; given for this program is {}", quoted(&exec.to_string()));
            problem.message.push_str(&near);
        }
        Err(problem)
    }

    /// Names of programs as paths, so that grants by name and by path can meet in [`GrantSet::intersect`].
    /// A program that is not there grants nothing.
    pub fn resolved(&self, resolve: impl Fn(&str) -> Option<String>) -> GrantSet {
        let mut set = GrantSet { rights: Vec::new(), limits: self.limits };
        for right in &self.rights {
            match right {
                Grant::Exec(exec) => {
                    exec.resolved(&resolve).map(Grant::Exec).into_iter().for_each(|right| set.add(right))
                }
                right => set.add(right.clone()),
            }
        }
        set
    }

    /// What is left for `--check`: programs only as probes, and no network. Files stay as they are: whoever
    /// runs the check catches what is written to them.
    pub fn for_check(&self) -> GrantSet {
        let harmless = |right: &&Grant| match right {
            Grant::Exec(exec) => exec.is_probe(),
            Grant::Net(_) => false,
            _ => true,
        };
        GrantSet { rights: self.rights.iter().filter(harmless).cloned().collect(), limits: self.limits }
    }

    /// What both sets allow. Never more; less only where one pattern cannot say what two patterns have in
    /// common (`a*` and `*b`). Fails when the result would be no set that can be sent on.
    pub fn intersect(&self, other: &GrantSet) -> Result<GrantSet, Problem> {
        let mut set = GrantSet { rights: Vec::new(), limits: self.limits };
        other.limits.iter().for_each(|limit| set.limits.add(limit));
        for ours in &self.rights {
            for common in other.rights.iter().filter_map(|theirs| common(ours, theirs)) {
                set.add(common);
                if set.rights.len() > GRANTS_MAX {
                    return Err(too_many());
                }
            }
        }
        Ok(set)
    }
}

fn common(a: &Grant, b: &Grant) -> Option<Grant> {
    match (a, b) {
        (Grant::Fs { path: a, access: may_a }, Grant::Fs { path: b, access: may_b }) => {
            let inner = if names::holds(a, b) { b } else { names::holds(b, a).then_some(a)? };
            Some(Grant::Fs { path: inner.clone(), access: *may_a.min(may_b) })
        }
        (Grant::Exec(a), Grant::Exec(b)) => a.intersect(b).map(Grant::Exec),
        (a, b) => (a == b).then(|| a.clone()),
    }
}

fn too_many() -> Problem {
    Problem::new(
        "grant.many",
        format!("there are more than {GRANTS_MAX} grants, which is the most in one set"),
    )
    .hint("grant a directory instead of its files, or a pattern instead of each command")
}

fn missing(grant: &Grant) -> Problem {
    let text = grant.to_string();
    let problem = Problem::new("grant.missing", format!("the grant {} is missing", quoted(&text)));
    if text.len() > SUGGESTION_BYTES_MAX {
        let program = match grant {
            Grant::Exec(exec) => exec.program().unwrap_or("*"),
            _ => return problem,
        };
        let suffix = if matches!(grant, Grant::Exec(exec) if exec.is_daemon()) { ":daemon" } else { "" };
        let any = format!("exec:{program} **{suffix}");
        return problem.hint(format!("if any arguments are fine: --allow {}", shell(&any)));
    }
    // A program named by a path that no grant can hold, such as `/bin/../bin/sh`, has no line to paste.
    if Grant::parse(&text).is_err() { problem } else { problem.hint(format!("--allow {}", shell(&text))) }
}

/// One word for a POSIX shell, to paste.
fn shell(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '_' | '-' | '@' | ',' | '=');
    if text.chars().all(plain) {
        text.into()
    } else if text.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", text.replace('\'', "'\\''"))
    } else {
        format!("\"{text}\"")
    }
}
