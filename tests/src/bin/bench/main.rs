//! What enforcement costs, measured: each figure beside what it is held against, in the same run.

mod crowd;
mod plot;
mod programs;
mod report;
mod sample;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, geteuid},
};

use crate::report::Report;

/// Measures what the programs cost a frame, and writes all samples and a table.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer and shorter rounds: shows that it can be measured, not how well
    #[arg(long)]
    quick: bool,
    /// The folder for the report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<()> {
    if !geteuid().is_root() {
        bail!("loading programs takes root: run it as root");
    }
    pin_to_a_cpu()?;
    let effort = if args.quick { programs::Effort::QUICK } else { programs::Effort::FULL };
    let report = Report::new(effort, programs::measure(effort)?);
    fs::create_dir_all(&args.out).with_context(|| format!("can't make {}", args.out.display()))?;
    for (name, text) in [
        ("programs.json", report.json()?),
        ("programs.md", report.markdown()),
        ("programs.svg", report.plot()?),
        ("programs.html", report.html()?),
    ] {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    println!("{}", report.markdown());
    Ok(())
}

/// To the last CPU, which has the least else to do.
fn pin_to_a_cpu() -> Result<()> {
    let mut last = CpuSet::new();
    last.set(std::thread::available_parallelism()?.get() - 1)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &last)?)
}
