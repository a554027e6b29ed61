//! The command line. A handful of words; no framework for them.

use crate::sections::{SECTIONS, Section};

pub(crate) struct Args {
    pub(crate) quick: bool,
    pub(crate) check: bool,
    pub(crate) write: bool,
    /// In the order of [`SECTIONS`].
    pub(crate) sections: Vec<Section>,
}

pub(crate) enum Wish {
    Run(Args),
    Help,
}

pub(crate) fn usage() -> String {
    let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    format!(
        "usage: waft-benches [--quick] [--check] [--write] [SECTION]...
  --quick   a sixth of the repetitions: to see that it works
  --check   exit with 1 when a figure exceeds its bound in benches/src/limits.rs
  --write   put the tables into docs/benchmarks.md
Sections: {}; without one, all of them. The tables go to stdout, JSON to target/bench.json.
WAFT_BIN names another waft than target/release/waft.
",
        names.join(", ")
    )
}

pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Wish, String> {
    let (mut quick, mut check, mut write) = (false, false, false);
    let mut wanted = Vec::new();
    for word in words {
        match word.as_str() {
            "--quick" => quick = true,
            "--check" => check = true,
            "--write" => write = true,
            "--help" | "-h" => return Ok(Wish::Help),
            name if SECTIONS.iter().any(|(known, _)| *known == name) => wanted.push(word),
            other => return Err(format!("`{other}` is neither an option nor a section")),
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let sections: Vec<Section> = SECTIONS.iter().filter(|(name, _)| is_wanted(name)).copied().collect();
    if write && (quick || sections.len() < SECTIONS.len()) {
        return Err(
            "--write goes with neither --quick nor single sections: the page shows one whole run".into()
        );
    }
    Ok(Wish::Run(Args { quick, check, write, sections }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn sections_are_all_or_those_named_in_their_own_order() {
        let names = |line: &str| match parsed(line) {
            Ok(Wish::Run(args)) => args.sections.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            _ => panic!("{line} is a good line"),
        };
        assert_eq!(names("--check").len(), SECTIONS.len());
        assert_eq!(names("depth cold --quick"), ["cold", "depth"]);
    }

    #[test]
    fn what_is_not_known_or_would_publish_half_a_run_is_refused() {
        for line in ["--fast", "colder", "--write --quick", "--write cold"] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(matches!(parsed("--write --check"), Ok(Wish::Run(args)) if args.write && args.check));
        assert!(matches!(parsed("-h --nonsense"), Ok(Wish::Help)));
    }
}
