//! What waft costs, beside the system's `ssh` in the same run.
//!
//! ```text
//! cargo run --release -p waft-benches -- [--quick] [--check] [--write] [SECTION]...
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the command line |
//! | [`sections`] | what is measured, one file per table |
//! | [`mod@bench`] | the programs that are compared, with an environment of their own |
//! | [`library`] | the controller inside this process, connected once and used many times |
//! | [`measure`] | how long a process takes; taking turns; medians |
//! | [`report`] | tables and JSON |
//! | [`limits`] | the bounds that `--check` holds figures against |
//! | [`document`] | the part of docs/benchmarks.md that `--write` makes |
//!
//! A figure of one machine says little about another, a ratio says more: what is compared takes turns within one
//! run, so that both meet the same neighbours. Everything is on loopback; a far link is the harness's delaying
//! proxy. What that leaves out is told in docs/benchmarks.md.

mod args;
mod bench;
mod document;
mod library;
mod limits;
mod measure;
mod report;
mod sections;
mod wan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::{Args, Wish};
use bench::Bench;
use report::{Machine, Report};
use waft_tests::{Context, Error, Result};

/// Bounds were exceeded, or something could not be measured.
const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut args = match args::parse(std::env::args().skip(1)) {
        Ok(Wish::Run(args)) => args,
        Ok(Wish::Help) => {
            print!("{}", args::usage());
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprint!("{problem}\n\n{}", args::usage());
            return ExitCode::from(BAD_USAGE);
        }
    };
    match run(&mut args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Measures, prints, writes. False when a bound was exceeded.
fn run(args: &mut Args) -> Result<bool> {
    // While there is one thread.
    if let Err(problem) = wan::enter() {
        args.sections.retain(|(name, _)| *name != sections::FAR);
        eprintln!("note: the section {} is left out: {problem}", sections::FAR);
    }
    if let Err(problem) = sections::chunks::tool() {
        args.sections.retain(|(name, _)| *name != sections::chunks::NAME);
        eprintln!("note: the section {} is left out: {problem}", sections::chunks::NAME);
    }
    let bench = Bench::new(args.quick)?;
    let machine = Machine::here(&bench);
    for warning in &machine.warnings {
        eprintln!("note: {warning}");
    }
    if args.write && !machine.is_fit_to_publish {
        return Err(Error::new("--write wants all sections, all repetitions and release builds"));
    }
    let mut sections = Vec::new();
    for (name, measure) in &args.sections {
        eprintln!("measuring: {name}");
        sections.push(measure(&bench).context(|| format!("section {name}"))?);
    }
    let report = Report { machine, sections };
    println!("{}", report.markdown());
    let json = repository().join("target/bench.json");
    std::fs::write(&json, report.json()).context(|| format!("cannot write {}", json.display()))?;
    if args.write {
        document::write(&repository().join("docs/benchmarks.md"), &report.markdown())?;
    }
    if !args.check {
        return Ok(true);
    }
    let faults = limits::faults(&report.sections, limits::LIMITS);
    match faults.is_empty() {
        true => println!("All figures are within their bounds."),
        false => println!("{}", limits::table(&faults)),
    }
    Ok(faults.is_empty())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}
