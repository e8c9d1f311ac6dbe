//! What enforcement costs, measured: each figure beside what it is held against, in the same run.

mod attach;
mod attacher;
mod child;
mod costs;
mod crowd;
mod drops;
mod ipvlan;
mod kind;
mod memory;
mod plot;
mod policy;
mod programs;
mod report;
mod sample;
mod traffic;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use indicatif::ProgressStyle;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, geteuid},
};

use crate::report::Report;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What each program costs a frame
    Programs,
    /// What they cost real frames, beside other filters
    Traffic,
    /// What it takes to refuse a frame from the wire
    Drops,
    /// What an endpoint takes of the kernel's memory
    Memory,
    /// What it takes to attach an endpoint, beside the reference CNI plugin; takes ipvlan
    Attach,
    /// What comes through with ipvlan, a bridge and macvlan; takes ipvlan
    Ipvlan,
}

/// Measures what enforcement costs, and writes all samples, tables and pictures.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer and shorter rounds: shows that it can be measured, not how well
    #[arg(long)]
    quick: bool,
    /// A part; may be given again
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The folder of a report from another kernel, to take over
    #[arg(long, value_name = "DIR")]
    merge: Vec<PathBuf>,
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
    let (programs, traffic, attach, ipvlan) = if args.quick {
        (programs::Effort::QUICK, traffic::Effort::QUICK, attach::Effort::QUICK, ipvlan::Effort::QUICK)
    } else {
        (programs::Effort::FULL, traffic::Effort::FULL, attach::Effort::FULL, ipvlan::Effort::FULL)
    };
    let wanted = |part: Part| args.only.contains(&part);
    let mut sections = Vec::new();
    if wanted(Part::Programs) {
        sections.push(costs::section(programs)?);
    }
    if wanted(Part::Traffic) {
        sections.push(traffic::section(traffic)?);
    }
    if wanted(Part::Drops) {
        sections.push(drops::section(traffic)?);
    }
    if wanted(Part::Memory) {
        sections.push(memory::section()?);
    }
    if wanted(Part::Attach) {
        sections.extend(attach::sections(attach)?);
    }
    if wanted(Part::Ipvlan) {
        sections.extend(ipvlan::sections(ipvlan)?);
    }
    let mut report = Report::new(sections);
    args.merge.iter().try_for_each(|folder| report.merge(folder))?;
    fs::create_dir_all(&args.out).with_context(|| format!("can't make {}", args.out.display()))?;
    let pictures = report.sections.iter().map(|it| (format!("{}.svg", it.name), it.plot.clone()));
    let texts =
        [("report.json", report.json()?), ("report.md", report.markdown()), ("report.html", report.html())];
    for (name, text) in texts.map(|(name, text)| (name.to_owned(), text)).into_iter().chain(pictures) {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// How far a section has come.
fn progress() -> Result<ProgressStyle> {
    Ok(ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len}")?)
}

/// To the last CPU, which has the least else to do.
fn pin_to_a_cpu() -> Result<()> {
    let mut last = CpuSet::new();
    last.set(std::thread::available_parallelism()?.get() - 1)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &last)?)
}
