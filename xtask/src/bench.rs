//! `cargo xtask bench`: what enforcement costs, on this machine.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::build::{self, Executable};
use crate::dirs;
use crate::process::{Root, die_with_parent, status_code};
use crate::setup::{self, Step};

/// `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Fewer and shorter rounds, in seconds: shows that it can be measured, not how well
    #[arg(long)]
    quick: bool,
    /// This part alone: programs, traffic, drops, memory; may be given again
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
}

impl Command {
    /// Measures, and leaves the report in the target folder; returns the exit status.
    pub(crate) fn run(&self) -> Result<u8> {
        setup::ensure(Step::BUILD.into_iter().chain(Step::NATIVE))?;
        measure(&build::binaries()?.bench, self.quick, &self.only)
    }
}

/// For the test run: whether it can be measured.
pub(crate) fn briefly(built: &[Executable]) -> Result<()> {
    match measure(&build::binary(built, "bench")?, true, &[])? {
        0 => Ok(()),
        status => bail!("the benchmark ended with {status}"),
    }
}

fn measure(bench: &Path, quick: bool, only: &[String]) -> Result<u8> {
    let Some(root) = Root::get() else {
        bail!("loading programs takes root, and `sudo -n` is refused: run it as root");
    };
    let out = dirs::target().join("bench");
    let mut command = root.command(bench);
    command.arg("--out").arg(&out).args(quick.then_some("--quick"));
    for part in only {
        command.args(["--only", part]);
    }
    let status = status_code(die_with_parent(&mut command).status()?);
    if status == 0 {
        println!("All samples are in {}.", out.display());
    }
    Ok(status)
}
