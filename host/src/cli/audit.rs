//! `waft audit`, and what `waft run` and `waft exec` do so that nothing runs which is not recorded.

mod recorded;
mod rows;

pub(super) use recorded::Recorded;

use super::{Done, Failure, print};
use crate::audit::{self, Defect, Line, Walked, line, log, walk};
use crate::report::{Terminal, is_closed_pipe, json, problem};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// Exit code of a log that does not fit together.
const REFUSED: u8 = 5;

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Print the log: who ran what, from where, on which targets, and how it ended
    Show(Show),
    /// Say whether the log is still what was written
    Verify(Verify),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft audit show --since 30m
  waft audit show --target web1 --since 2026-11-21T09:00:00Z
  waft audit show --run 019a5d3f-1c2e --format json

Every `waft run` and `waft exec` is recorded, without parameters and output. A log that does not fit together is shown all \
the same, with a warning; `waft audit verify` says what is wrong with it.")]
pub(crate) struct Show {
    /// Only the run whose id begins so
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Only what concerns this target, by its name
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only from that time on: 30m, 2h, 7d, 2026-11-21, 2026-11-21T09:00:00Z (UTC)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: ShowFormat,
    /// The log [default: the one of this user, ~/.local/state/waft/audit/log]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft audit verify                                      # prints the head: keep it somewhere else
  waft audit verify --head 3f0c...                       # also: is that line still there?
  waft audit verify --format json /srv/collected/ctl1.log

The exit code is 0 when every line names the one before it, 5 when one does not (changed, removed, inserted, moved, torn, cut), \
2 when the log cannot be read. Who can write the log can write all of it anew, or cut its tail: only a head that was kept \
elsewhere shows that.")]
pub(crate) struct Verify {
    /// The hash of a line, as `verify` printed it before: it must be in the log
    #[arg(long, value_name = "HASH", value_parser = head)]
    head: Option<Hash>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: VerifyFormat,
    /// The log [default: the one of this user, ~/.local/state/waft/audit/log]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ShowFormat {
    /// For people
    #[default]
    Human,
    /// One array of lines
    Json,
    /// The lines as they are in the log
    Jsonl,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum VerifyFormat {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(Duration),
    Time(SystemTime),
}

impl Since {
    fn time(self) -> SystemTime {
        match self {
            Since::Ago(ago) => SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Since::Time(time) => time,
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    let at = |text: &str| humantime::parse_rfc3339_weak(text).ok().map(Since::Time);
    let midnight = || at(&format!("{text}T00:00:00"));
    let ago = || humantime::parse_duration(text).ok().map(Since::Ago);
    at(text)
        .or_else(midnight)
        .or_else(ago)
        .ok_or_else(|| format!("`{text}` is no time; write 30m, 2h, 7d, 2026-11-21 or 2026-11-21T09:00:00Z"))
}

fn head(text: &str) -> Result<Hash, String> {
    line::parse_hash(text).ok_or_else(|| format!("`{text}` is no hash: 64 lower-case hex digits"))
}

pub(super) async fn audit(command: Audit) -> Done {
    match command {
        Audit::Show(args) => show(&args),
        Audit::Verify(args) => verify(&args),
    }
}

fn file(named: Option<&PathBuf>) -> Result<PathBuf, Problem> {
    named.map_or_else(|| audit::of_user().map(|log| log.file()), |file| Ok(file.clone()))
}

fn read(
    file: &Path,
    wanted: Option<Hash>,
    each: &mut dyn FnMut(&Line) -> io::Result<()>,
) -> Result<Walked, Problem> {
    log::read(file).and_then(|log| walk(log, wanted, each)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Problem::new("audit.none", format!("there is no audit log {}", file.display()))
                .hint("the first `waft run` or `waft exec` begins it")
        }
        _ => Problem::new(
            "audit.read",
            format!("the audit log {} cannot be read: {}", file.display(), crate::files::plain(&error)),
        ),
    })
}

fn verify(args: &Verify) -> Done {
    let file = file(args.file.as_ref())?;
    let walked = read(&file, args.head, &mut |_| Ok(()))?;
    match args.format {
        VerifyFormat::Json => print::json(&verdict(&file, &walked))?,
        VerifyFormat::Human => match &walked.defect {
            Some(defect) => print::error(&misfit(&file, defect)),
            None => print::out(&format!("{}\n", praise(&walked)))?,
        },
    }
    Ok(if walked.defect.is_none() { 0 } else { REFUSED })
}

fn praise(walked: &Walked) -> String {
    let count = |count: u64, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
    let mut text =
        format!("{}, each naming the one before it; head {}", count(walked.lines, "line"), walked.head);
    if walked.torn > 0 {
        text.push_str(&format!("\n{} torn by a crash, and recorded as such", count(walked.torn, "line")));
    }
    if let Some(since) = walked.since {
        text.push_str(&format!("\n{} after the given head", count(since, "line")));
    }
    text
}

fn verdict(file: &Path, walked: &Walked) -> Value {
    let defect = walked.defect.as_ref();
    json!({
        "file": file.to_string_lossy(),
        "good": defect.is_none(),
        "lines": walked.lines,
        "torn": walked.torn,
        "head": walked.head.to_string(),
        "lines_after_head": walked.since,
        "defect": defect.map(|defect| json!({
            "line": defect.line,
            "kind": defect.kind.word(),
            "message": misfit(file, defect).message,
        })),
    })
}

fn misfit(file: &Path, defect: &Defect) -> Problem {
    let text =
        format!("{}:{}: {}: this line {}", file.display(), defect.line, defect.kind.word(), defect.what);
    Problem::new(&format!("audit.{}", defect.kind.word()), text)
}

/// Which lines are wanted.
struct Filter<'a> {
    args: &'a Show,
    since: Option<SystemTime>,
    /// Runs that have the wanted target.
    runs: HashSet<String>,
}

impl Filter<'_> {
    fn takes(&mut self, line: &Line) -> bool {
        let run = line.text("run");
        let concerns = self.args.target.as_deref().is_none_or(|target| {
            let here = line.text("target") == Some(target);
            if rows::names(line).any(|name| name == target) {
                self.runs.extend(run.map(str::to_owned));
            }
            let of_run = !matches!(line.event.as_str(), "result" | "call")
                && run.is_some_and(|run| self.runs.contains(run));
            here || of_run
        });
        concerns
            && self.args.run.as_deref().is_none_or(|id| run.is_some_and(|run| run.starts_with(id)))
            && self.since.is_none_or(|since| line.time().is_some_and(|time| time >= since))
    }
}

fn show(args: &Show) -> Done {
    let file = file(args.file.as_ref())?;
    let mut filter = Filter { args, since: args.since.map(Since::time), runs: HashSet::new() };
    let mut table = Vec::new();
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut between = "[\n";
    let walked = read(&file, None, &mut |line| {
        if !filter.takes(line) {
            return Ok(());
        }
        let whole = || json::without_hostile(Value::Object(line.fields.clone()).to_string());
        match args.format {
            ShowFormat::Human => table.push(rows::row(line)),
            ShowFormat::Jsonl => return ignore_closed(writeln!(stdout, "{}", whole())),
            ShowFormat::Json => {
                let before = std::mem::replace(&mut between, ",\n");
                return ignore_closed(write!(stdout, "{before}{}", whole()));
            }
        }
        Ok(())
    })?;
    if args.format == ShowFormat::Json {
        let end = if between == "[\n" { "[]\n" } else { "\n]\n" };
        ignore_closed(write!(stdout, "{end}")).map_err(unprintable)?;
    }
    ignore_closed(stdout.flush()).map_err(unprintable)?;
    drop(stdout);
    if args.format == ShowFormat::Human {
        print::table(&["time", "run", "target", "what"], &table)?;
    }
    if let Some(defect) = &walked.defect {
        let text = problem::warning(None, &misfit(&file, defect), Terminal::detect().stderr_paint());
        // Nobody is left to tell when stderr is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }
    Ok(0)
}

fn ignore_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if is_closed_pipe(&error) { Ok(()) } else { Err(error) })
}

fn unprintable(error: io::Error) -> Failure {
    Failure::Own(Problem::new("report.write", format!("cannot print: {}", crate::files::plain(&error))))
}

#[cfg(test)]
mod tests {
    use super::{Since, head, since};
    use std::time::{Duration, SystemTime};

    #[test]
    fn times_are_said_in_three_ways() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
        for (text, expected) in [
            ("2026-11-21", day),
            ("2026-11-21T00:00:30Z", day + Duration::from_secs(30)),
            ("2026-11-21 00:00:30", day + Duration::from_secs(30)),
        ] {
            assert!(matches!(since(text), Ok(Since::Time(time)) if time == expected), "{text}");
        }
        for (text, seconds) in [("30m", 1800), ("2h", 7200), ("7d", 604_800), ("90s", 90)] {
            assert!(matches!(since(text), Ok(Since::Ago(ago)) if ago.as_secs() == seconds), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "-5m", "30"] {
            assert!(since(bad).is_err_and(|why| why.contains("30m")), "{bad:?}");
        }
        assert!(Since::Ago(Duration::MAX).time() == SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_head_is_64_digits() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(head(&good).map(|hash| hash.to_string()), Ok(good.clone()));
        for bad in ["", "0123", &good.to_uppercase(), &format!("{good}00"), &"g".repeat(64)] {
            assert!(head(bad).is_err(), "{bad}");
        }
    }
}
