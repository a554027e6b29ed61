//! What a grant means, as a sentence for whoever has to decide about it.

use crate::manifest::agree::{PATH, is_name};
use waft_proto::grant::{Access, Exec, Grant, Limit, print_duration_ms, print_size_bytes};

/// With these a task may do all that its account may do, whatever the arguments are: the argument of one is a
/// program. Names are compared without a version at the end (`python3.11`).
const SHELLS_AND_INTERPRETERS: &[&str] = &[
    "ash", "awk", "bash", "bun", "busybox", "csh", "dash", "deno", "emacs", "env", "expect", "fish", "gawk",
    "gdb", "guile", "irb", "java", "ksh", "lua", "luajit", "make", "mawk", "mksh", "nawk", "node", "nodejs",
    "perl", "php", "pwsh", "python", "R", "rbash", "Rscript", "ruby", "rvim", "sed", "sh", "sqlite", "tclsh",
    "tcsh", "toybox", "vi", "vim", "wish", "yash", "zsh",
];
/// The argument of these is a program to start.
const LAUNCHERS: &[&str] = &[
    "at",
    "batch",
    "chroot",
    "chrt",
    "crontab",
    "docker",
    "flock",
    "ionice",
    "kubectl",
    "nice",
    "nohup",
    "nsenter",
    "parallel",
    "podman",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "ssh",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "tmux",
    "screen",
    "unshare",
    "watch",
    "xargs",
    "xvfb-run",
];
/// The dynamic loader starts any program; its files go on with a machine and a version.
const LOADERS: &[&str] = &["ld.so", "ld-linux", "ld-musl"];
/// These start programs as somebody else, too.
const BECOME: &[&str] = &["doas", "pkexec", "runuser", "su", "sudo", "sudoedit"];
/// Options of these start programs: they count once any options are granted.
const BY_OPTION: &[&str] = &[
    "apt", "apt-get", "dpkg", "find", "git", "less", "man", "more", "rsync", "scp", "tar", "tcpdump", "wget",
    "zip",
];

/// What whoever holds a grant of everything holds.
pub const EVERYTHING: &str = "everything this user can do";

/// One sentence, without a full stop.
pub fn sentence(grant: &Grant) -> String {
    let mut text = meaning(grant);
    if everything(grant) {
        text.push_str(": ");
        text.push_str(EVERYTHING);
        if becomes_another(grant) {
            text.push_str(", and whoever it may become");
        }
    }
    if let Grant::Exec(exec) = grant {
        if let Some(name) = exec.program().filter(|program| is_name(program)) {
            text.push_str(&format!("; {} is looked up on the target in {PATH}", word(name)));
        }
        if exec.is_probe() {
            text.push_str("; also in a dry run");
        }
        if exec.is_daemon() {
            text.push_str("; what it leaves running may stay when the task is over");
        }
    }
    text
}

/// Whether a grant is as good as the account.
pub fn everything(grant: &Grant) -> bool {
    match grant {
        Grant::Exec(exec) => match exec.program() {
            None => true,
            Some(program) => {
                let name = file_name(program);
                let any = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
                let rest = words(exec).last().is_some_and(|word| word == "**");
                let option =
                    words(exec).iter().skip(1).any(|word| word.starts_with('-') && word.contains('*'));
                // What lies there is the task's own.
                waft_policy::lint::is_brought_along(program)
                    || any(SHELLS_AND_INTERPRETERS)
                    || any(LAUNCHERS)
                    || any(BECOME)
                    || LOADERS.iter().any(|loader| name.starts_with(loader))
                    || ((rest || option) && any(BY_OPTION))
            }
        },
        // Its own start-up files, for one.
        Grant::Fs { path, access: Access::ReadWrite } => path == "/",
        _ => false,
    }
}

fn becomes_another(grant: &Grant) -> bool {
    matches!(grant, Grant::Exec(exec) if exec.program().is_some_and(|program| BECOME.contains(&file_name(program))))
}

/// The last part of a path, without a version.
fn file_name(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or(program);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    if bare.is_empty() { name } else { bare }
}

fn meaning(grant: &Grant) -> String {
    match grant {
        Grant::Fs { path, access } => {
            let what = match access {
                Access::ReadOnly => "read",
                Access::ReadWrite => "read and write",
            };
            let path = word(path);
            if path == "/" {
                format!("{what} all files that this user can {what}")
            } else {
                format!("{what} files under {path}")
            }
        }
        Grant::Exec(exec) => program(exec),
        Grant::Net(endpoint) => format!("connect to {endpoint} by TCP, from the target"),
        Grant::Env(name) => {
            format!("see the variable {name} of the login on the target, and pass it to programs")
        }
        Grant::Secret(name) => format!("read the secret {name}"),
        Grant::Blob(hash) => format!("read the file with the hash {hash}, which is sent with the run"),
        Grant::Call(task) => format!("run the task {task}, with no more than is granted here"),
        Grant::Facts => "ask the stub for facts about the machine".to_owned(),
        Grant::Limit(limit) => match *limit {
            Limit::Mem(bytes) => format!("use at most {} of memory", print_size_bytes(bytes)),
            Limit::Out(bytes) => {
                format!("print at most {} to each of stdout and stderr", print_size_bytes(bytes))
            }
            Limit::Disk(bytes) => format!("write at most {} to files", print_size_bytes(bytes)),
            Limit::Time(ms) => format!("run for at most {}", print_duration_ms(ms)),
            Limit::Cpu(ms) => format!("use at most {} of processor time", print_duration_ms(ms)),
            Limit::Files(number) => format!("have at most {number} files open"),
            Limit::Procs(number) => format!("have at most {number} programs running at one time"),
        },
    }
}

fn program(exec: &Exec) -> String {
    let Some(program) = exec.program() else { return "start any program with any arguments".to_owned() };
    let words = words(exec);
    let mut parts: Vec<String> = Vec::new();
    for pattern in words.iter().skip(1) {
        let more = if parts.is_empty() { "" } else { " more" };
        parts.push(match pattern.as_str() {
            "**" => format!("any{more} arguments"),
            "*" => format!("one{more} argument (no option)"),
            text if text.starts_with('*') => format!("one{more} argument like {} (no option)", quoted(text)),
            text if text.contains('*') => format!("one{more} argument like {}", quoted(text)),
            text => quoted(text),
        });
    }
    let with = match parts.as_slice() {
        [] => "without arguments".to_owned(),
        [only] => format!("with {only}"),
        [before @ .., last] => format!("with {} and {last}", before.join(", ")),
    };
    format!("start {} {with}", word(program))
}

/// The words of a grant for a program, from its canonical text: the program, the patterns, and `**` when the rest is
/// free. One space stands between words; a word with spaces or colons is a JSON string.
fn words(exec: &Exec) -> Vec<String> {
    let text = exec.to_string();
    let text = text.strip_prefix("exec:").unwrap_or(&text);
    let suffix = match (exec.is_probe(), exec.is_daemon()) {
        (true, _) => ":probe",
        (_, true) => ":daemon",
        _ => "",
    };
    let mut rest = text.strip_suffix(suffix).unwrap_or(text);
    let mut words = Vec::new();
    while !rest.is_empty() {
        let mut json = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let (word, used) = match json.next() {
            Some(Ok(word)) if rest.starts_with('"') => (word, json.byte_offset()),
            _ => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest.get(..end).unwrap_or_default().to_owned(), end)
            }
        };
        words.push(word);
        rest = rest.get(used..).unwrap_or_default().trim_start_matches(' ');
    }
    words
}

/// As it is printed in a grant.
fn word(text: &str) -> String {
    match text.chars().any(|c| c == ' ' || c == '"' || c.is_control()) {
        true => serde_json::Value::from(text).to_string(),
        false => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Grant {
        Grant::parse(text).expect("a grant")
    }

    fn said(text: &str) -> String {
        sentence(&read(text))
    }

    #[test]
    fn every_kind_has_its_sentence() {
        let looked_up = format!("; systemctl is looked up on the target in {PATH}");
        for (grant, sentence) in [
            ("fs:/var/log", "read files under /var/log"),
            ("fs:/srv/www:rw", "read and write files under /srv/www"),
            ("fs:/", "read all files that this user can read"),
            ("fs:\"/a b\"", "read files under \"/a b\""),
            ("facts", "ask the stub for facts about the machine"),
            ("net:[::1]:443", "connect to [::1]:443 by TCP, from the target"),
            ("env:TZ", "see the variable TZ of the login on the target, and pass it to programs"),
            ("secret:db/password", "read the secret db/password"),
            ("call:facts", "run the task facts, with no more than is granted here"),
            ("mem:64M", "use at most 64M of memory"),
            ("out:1M", "print at most 1M to each of stdout and stderr"),
            ("disk:1G", "write at most 1G to files"),
            ("time:90s", "run for at most 90s"),
            ("cpu:10s", "use at most 10s of processor time"),
            ("files:64", "have at most 64 files open"),
            ("procs:4", "have at most 4 programs running at one time"),
            ("exec:/usr/bin/id", "start /usr/bin/id without arguments"),
            ("exec:/usr/bin/id -u", "start /usr/bin/id with `-u`"),
            ("exec:/usr/bin/id -u:probe", "start /usr/bin/id with `-u`; also in a dry run"),
            (
                "exec:/etc/init.d/web start:daemon",
                "start /etc/init.d/web with `start`; what it leaves running may stay when the task is over",
            ),
            ("exec:/usr/bin/id **", "start /usr/bin/id with any arguments"),
            (
                "exec:/usr/bin/systemctl restart *",
                "start /usr/bin/systemctl with `restart` and one more argument (no option)",
            ),
            (
                "exec:/opt/x \"a b\" web* --n=* **",
                "start /opt/x with `a b`, one more argument like `web*`, one more argument like `--n=*` and any more arguments",
            ),
        ] {
            assert_eq!(said(grant), sentence, "{grant}");
        }
        let named = said("exec:systemctl restart *");
        assert_eq!(
            named,
            format!("start systemctl with `restart` and one more argument (no option){looked_up}")
        );
    }

    #[test]
    fn what_is_as_good_as_the_account_is_said_to_be() {
        for grant in [
            "exec:*",
            "exec:sh /opt/fixed.sh",
            "exec:/bin/bash -c *",
            "exec:/usr/bin/python3.11 /opt/x.py",
            "exec:/usr/local/bin/perl5.36 x",
            "exec:ruby3.1",
            "exec:node",
            "exec:/dev/fd/3 x",
            "exec:/dev/stdin *",
            "exec:/proc/self/fd/0",
            "exec:/usr/bin/env ls",
            "exec:sudo systemctl restart *",
            "exec:xargs rm",
            "exec:find /var **",
            "exec:tar --to-command=* x",
            "fs:/:rw",
        ] {
            assert!(everything(&read(grant)) && said(grant).contains(EVERYTHING), "{grant}: {}", said(grant));
        }
        assert!(said("exec:/bin/su x").ends_with(": everything this user can do, and whoever it may become"));
        assert!(said("exec:sh -c *").starts_with("start sh with `-c` and one more argument (no option): everything this user can do; sh is looked up"));
        for grant in [
            "exec:/usr/bin/systemctl restart *",
            "exec:/usr/bin/id **",
            "exec:find /var -name *",
            "exec:/usr/bin/shutdown **",
            "exec:pythonic x",
            "fs:/",
            "fs:/etc:rw",
            "facts",
        ] {
            assert!(
                !everything(&read(grant)) && !said(grant).contains(EVERYTHING),
                "{grant}: {}",
                said(grant)
            );
        }
    }

    #[test]
    fn a_hostile_word_stays_in_its_sentence() {
        let text = said(r#"exec:"/opt/a\u001b[2J" "x\ny""#);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.contains(r"\u001b[2J") && text.contains(r"x\ny"), "{text}");
    }
}
