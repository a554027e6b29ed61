//! A task whose artifact is at hand.

use std::time::Instant;

use waft_tests::Result;

use crate::bench::Bench;
use crate::library::{Connected, exec};
use crate::measure::take_turns;
use crate::report::{Row, Table};

pub(super) const NAME: &str = "cache";
const ABOUT: &str = "How long it takes to have the artifact of a task that was compiled before: its key is made, the \
                     file is read and hashed. The bound is absolute: 10 ms.";
const ROUNDS: usize = 100;

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let connected = Connected::to_this_machine(bench)?;
    let request = exec()?;
    // Compiled now, if it is not there.
    let artifact = connected.artifact(&request)?;
    let [hit] = take_turns(
        bench.rounds(ROUNDS),
        [&mut || {
            let started = Instant::now();
            let found = connected.artifact(&request)?;
            let took = started.elapsed();
            assert_eq!(found.len(), artifact.len());
            Ok(took)
        }],
    )?;
    connected.stop()?;
    let rows = vec![Row::time("the artifact of exec, milliseconds", &hit).bounded_ms(&hit)];
    Ok(Table { name: NAME, about: ABOUT, rows })
}
