//! `cargo xtask test`: every suite, wherever it has to run, and one tally.

mod skips;
mod suite;
mod tally;

use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::build;
use crate::setup::{self, Step};
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

        let mut total = Tally::default();
        let mut lines = Vec::new();
        for suite in suites {
            println!("── {}: {}", suite.name(), suite.about());
            let begin = Instant::now();
            let tally = suite.run(&built, &self.args).unwrap_or_else(|error| {
                println!("FAILED {}: {error:#}", suite.name());
                Tally::failure()
            });
            lines.push(format!("{:<14} {tally} in {:.1} s", suite.name(), begin.elapsed().as_secs_f32()));
            total += tally;
        }
        println!("──");
        for line in lines {
            println!("{line}");
        }
        println!("{total}");
        Ok(u8::from(total.failed > 0))
    }
}
