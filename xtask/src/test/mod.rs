//! `cargo xtask test`: every suite, wherever it has to run, and one tally.

mod skips;
mod suite;
mod tally;

use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use crate::build::{self, Executable};
use crate::setup::{self, Step};
use crate::vm::Echo;
use suite::Suite;
use tally::Tally;

/// `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Run only these suites
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SUITE,…")]
    only: Vec<Suite>,
    /// Name the suites and run none
    #[arg(long)]
    list: bool,
    /// Arguments for the test executables, such as a part of a test's name
    #[arg(last = true)]
    args: Vec<String>,
}

impl Command {
    /// Runs the suites; the last line is the tally over all of them.
    pub(crate) fn run(&self) -> Result<u8> {
        if self.list {
            for suite in Suite::value_variants() {
                println!("{:<14} {}", suite.name(), suite.about());
            }
            return Ok(0);
        }
        let suites = if self.only.is_empty() { Suite::value_variants() } else { &self.only };
        setup::ensure(Step::BUILD)?;
        for suite in suites {
            setup::ensure(suite.steps())?;
        }
        let built = build::tests()?;

        let (in_vms, on_host): (Vec<_>, Vec<_>) = suites.iter().partition(|suite| suite.is_in_vm());
        let run = |suite: Suite, echo| self.timed(suite, &built, echo);
        let mut results: Vec<_> = on_host.into_iter().map(|suite| run(suite, Echo::Raw)).collect();
        // A VM keeps one CPU busy.
        let workers = available_parallelism()?.get().min(in_vms.len());
        if workers > 1 {
            results.extend(side_by_side(workers, &in_vms, |suite| run(suite, Echo::Lines(suite.name())))?);
        } else {
            results.extend(in_vms.into_iter().map(|suite| run(suite, Echo::Raw)));
        }
        println!("──");
        let mut total = Tally::default();
        for (line, tally) in results {
            println!("{line}");
            total += tally;
        }
        println!("{total}");
        Ok(u8::from(total.failed > 0))
    }

    /// Runs one suite; returns its line of the summary and its numbers.
    fn timed(&self, suite: Suite, built: &[Executable], echo: Echo) -> (String, Tally) {
        println!("── {}: {}", suite.name(), suite.about());
        let begin = Instant::now();
        let tally = suite.run(built, &self.args, echo).unwrap_or_else(|error| {
            println!("FAILED {}: {error:#}", suite.name());
            Tally::failure()
        });
        (format!("{:<14} {tally} in {:.1} s", suite.name(), begin.elapsed().as_secs_f32()), tally)
    }
}

/// Runs all suites, as many at once as there are workers; the results come in the suites' order.
fn side_by_side<T: Send>(
    workers: usize,
    suites: &[Suite],
    run: impl Fn(Suite) -> T + Copy + Send + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = iter::from_fn(|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            Some((index, *suites.get(index)?))
        });
        taken.map(|(index, suite)| (index, run(suite))).collect::<Vec<_>>()
    };
    let results: Vec<Vec<_>> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let results = running.into_iter().map(|it| it.join().map_err(|_panic| anyhow!("a suite panicked")));
        results.collect::<Result<_>>()
    })?;
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
