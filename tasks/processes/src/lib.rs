//! What ps prints. A library of its own, so that its tests run on the machine that builds it.

use serde::{Deserialize, Serialize};

/// Of a command line, bytes.
const COMMAND_BYTES_MAX: usize = 1024;
/// How many are listed when nothing is said, and at most: their text stays within a result.
const LIMIT: usize = 500;
const LIMIT_MAX: usize = 2000;

/// Of procps: no titles, names of users in full.
pub const PROCPS: [&str; 5] = ["ps", "-ww", "-e", "-o", "pid=,ppid=,user:64=,pcpu=,rss=,etimes=,args="];
/// Of BusyBox, which knows fewer columns, and titles.
pub const BUSYBOX: [&str; 3] = ["ps", "-o", "pid,ppid,user,rss,args"];

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    #[default]
    Pid,
    Cpu,
    Memory,
    Age,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Params {
    pub name: Option<String>,
    pub pattern: Option<String>,
    pub user: Option<String>,
    #[serde(default)]
    pub sort: Sort,
    pub limit: Option<usize>,
}

#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Process<'a> {
    pub pid: u32,
    pub ppid: u32,
    pub user: &'a str,
    /// Tenths of a percent; told as percent.
    #[serde(serialize_with = "tenths")]
    pub cpu: Option<u32>,
    pub memory_kb: u64,
    pub seconds: Option<u64>,
    pub name: &'a str,
    pub command: &'a str,
}

/// A number of tenths as a JSON number.
fn tenths<S: serde::Serializer>(value: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_f32(f32::from(u16::try_from(*value).unwrap_or(u16::MAX)) / 10.0),
        None => to.serialize_none(),
    }
}

impl Params {
    pub fn limit(&self) -> Option<usize> {
        let limit = self.limit.unwrap_or(LIMIT);
        (1..=LIMIT_MAX).contains(&limit).then_some(limit)
    }

    fn takes(&self, process: &Process<'_>) -> bool {
        let fits = |pattern: &Option<String>, text: &str, around: &str| {
            pattern.as_ref().is_none_or(|pattern| matches(&[around, pattern, around].concat(), text))
        };
        self.user.as_ref().is_none_or(|user| user == process.user)
            && fits(&self.name, process.name, "")
            && fits(&self.pattern, process.command, "*")
    }
}

/// Each part between stars must follow the one before, the first at the beginning and the last at the end.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The processes that are wanted, in order, and how many there are without the limit. `is_busybox` says whose lines these
/// are; the listing program itself is none of them.
pub fn list<'a>(printed: &'a str, is_busybox: bool, params: &Params) -> (Vec<Process<'a>>, usize) {
    let own = if is_busybox { BUSYBOX.join(" ") } else { PROCPS.join(" ") };
    let read = |line| if is_busybox { busybox(line) } else { procps(line) };
    let mut all: Vec<Process<'_>> = printed
        .lines()
        .filter_map(read)
        .filter(|process| process.command != own && params.takes(process))
        .collect();
    match params.sort {
        Sort::Pid => all.sort_by_key(|process| process.pid),
        Sort::Cpu => all.sort_by_key(|process| std::cmp::Reverse(process.cpu)),
        Sort::Memory => all.sort_by_key(|process| std::cmp::Reverse(process.memory_kb)),
        Sort::Age => all.sort_by_key(|process| std::cmp::Reverse(process.seconds)),
    }
    let count = all.len();
    all.truncate(params.limit().unwrap_or(LIMIT));
    (all, count)
}

/// The next word, and what comes after it.
fn word<'a>(line: &mut &'a str) -> Option<&'a str> {
    let from = line.trim_start();
    let (word, rest) = from.split_at(from.find(' ').unwrap_or(from.len()));
    *line = rest;
    (!word.is_empty()).then_some(word)
}

fn procps(line: &str) -> Option<Process<'_>> {
    let mut rest = line;
    let (pid, ppid) = (word(&mut rest)?.parse().ok()?, word(&mut rest)?.parse().ok()?);
    let user = word(&mut rest)?;
    let (whole, tenth) = word(&mut rest)?.split_once('.')?;
    let cpu = whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?);
    let (memory_kb, seconds) = (word(&mut rest)?.parse().ok()?, word(&mut rest)?.parse().ok());
    let command = cut(rest.trim());
    Some(Process { pid, ppid, user, cpu, memory_kb, seconds, name: name(command), command })
}

fn busybox(line: &str) -> Option<Process<'_>> {
    let mut rest = line;
    // The titles are no numbers.
    let (pid, ppid) = (word(&mut rest)?.parse().ok()?, word(&mut rest)?.parse().ok()?);
    let (user, memory) = (word(&mut rest)?, word(&mut rest)?);
    let command = cut(rest.trim());
    Some(Process {
        pid,
        ppid,
        user,
        cpu: None,
        memory_kb: kilobytes(memory)?,
        seconds: None,
        name: name(command),
        command,
    })
}

/// `1234`; from 10000 on in four characters: `9.8m`, `54m`, `1.5g`.
fn kilobytes(text: &str) -> Option<u64> {
    let units = [('m', 1 << 10), ('g', 1 << 20), ('t', 1 << 30)];
    let scaled = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = scaled.unwrap_or((text, 1));
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let tenth = tenth.parse::<u64>().ok().filter(|tenth| *tenth < 10)?;
    let tenths = whole.parse::<u64>().ok()?.checked_mul(10)?.checked_add(tenth)?;
    Some(tenths.checked_mul(factor)? / 10)
}

/// The last part of the path of a program; of a thread of the kernel `[its name]`, of a login shell without its dash.
fn name(command: &str) -> &str {
    if command.starts_with('[') {
        return command;
    }
    let program = command.split(' ').next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    name.strip_prefix('-').unwrap_or(name).trim_end_matches(':')
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(COMMAND_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "      1       0 root                                                              0.0 12000  9000 /sbin/init splash\n\
        \x20     2       0 root                                                              0.0     0  9000 [kthreadd]\n\
        \x20    70       1 www-data                                                         12.5 54000   100 nginx: worker process\n\
        \x20   700       1 a-user-with-a-long-name                                         150.0  4000    10 /usr/bin/python3 -m http.server\n\
        \x20   701     700 ops                                                               0.0   800     0 -bash\n\
        \x20   702     701 ops                                                               0.0   800     0 ps -ww -e -o pid=,ppid=,user:64=,pcpu=,rss=,etimes=,args=\n";

    fn pids(params: &str) -> Vec<u32> {
        let params = serde_json::from_str(params).unwrap();
        list(PRINTED, false, &params).0.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn what_procps_prints() {
        let (all, count) = list(PRINTED, false, &Params::default());
        assert_eq!((all.len(), count), (5, 5));
        assert_eq!(all[2].name, "nginx");
        assert_eq!(
            (all[3].user, all[3].cpu, all[3].seconds),
            ("a-user-with-a-long-name", Some(1500), Some(10))
        );
        assert_eq!((all[1].name, all[4].name, all[0].command), ("[kthreadd]", "bash", "/sbin/init splash"));
        let json = serde_json::to_string(&all[2]).unwrap();
        assert!(json.contains(r#""cpu":12.5,"memory_kb":54000"#), "{json}");
        assert_eq!(pids(r#"{"name":"python*"}"#), [700]);
        assert_eq!(pids(r#"{"pattern":"http"}"#), [700]);
        assert_eq!(pids(r#"{"pattern":"py*server"}"#), [700]);
        assert_eq!(pids(r#"{"user":"root"}"#), [1, 2]);
        assert_eq!(pids(r#"{"sort":"memory","limit":2}"#), [70, 1]);
        assert_eq!(pids(r#"{"sort":"cpu","limit":2}"#), [700, 70]);
        assert_eq!(pids(r#"{"name":"ngin"}"#), [0; 0]);
    }

    #[test]
    fn what_busybox_prints() {
        let printed = "PID   PPID  USER     RSS  COMMAND\n    1     0 root      54m /sbin/init\n   20     1 ops      2000 {sh} -sh\n";
        let (all, _) = list(printed, true, &Params::default());
        assert_eq!(all.iter().map(|process| process.memory_kb).collect::<Vec<_>>(), [54 * 1024, 2000]);
        assert_eq!((all[0].cpu, all[1].command), (None, "{sh} -sh"));
        for (printed, kilobytes) in [
            ("0", 0),
            ("9999", 9999),
            ("9.8m", 10_035),
            ("123m", 125_952),
            ("1.5g", 1_572_864),
            ("2.0t", 2 << 30),
        ] {
            let line = format!("    1     0 root      {printed} /sbin/init\n");
            let sizes: Vec<u64> =
                list(&line, true, &Params::default()).0.iter().map(|process| process.memory_kb).collect();
            assert_eq!(sizes, [kilobytes], "{printed}");
        }
    }

    #[test]
    fn limits_are_kept() {
        for (limit, expected) in
            [(None, Some(LIMIT)), (Some(0), None), (Some(2001), None), (Some(2000), Some(2000))]
        {
            assert_eq!(Params { limit, ..Params::default() }.limit(), expected, "{limit:?}");
        }
        let long = format!("1 0 root 0.0 1 1 {}\n", "é".repeat(COMMAND_BYTES_MAX));
        assert_eq!(list(&long, false, &Params::default()).0[0].command.len(), COMMAND_BYTES_MAX);
    }
}
