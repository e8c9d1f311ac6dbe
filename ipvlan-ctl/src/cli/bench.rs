//! `ipvlan-ctl bench`.

use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Format,
    render::{is_quiet, json, print_table},
};
use crate::{
    bench::{self, Options, Report},
    service::{Error, Root},
};

const HELP: &str = "\
Measures what each program costs a frame, less an empty one (BPF_PROG_TEST_RUN),
and what comes through between two endpoints in network namespaces of its own,
with stock ipvlan and enforced, in turn. It touches no network of yours, and
takes about a minute of CPU time: on a busy machine both suffer.

Examples:
  ipvlan-ctl bench
  ipvlan-ctl bench --only programs
  ipvlan-ctl bench --quick --format json";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Bench {
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Fewer and shorter rounds, in seconds
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What each program costs a frame
    Programs,
    /// What comes through between two endpoints
    Traffic,
}

impl Bench {
    pub(super) fn execute(&self, root: &Root, format: Format) -> Result<u8, Error> {
        let wanted = |part| self.only.is_none_or(|only| only == part);
        let options =
            Options { programs: wanted(Part::Programs), traffic: wanted(Part::Traffic), quick: self.quick };
        let bar = if is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(bench::steps(options)) };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        let report = bench::run(root, options, &|| bar.inc(1));
        bar.finish_and_clear();
        let report = report?;
        if format == Format::Json {
            json(&report);
        } else {
            print(&report);
        }
        Ok(0)
    }
}

fn print(report: &Report) {
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    if !report.programs.is_empty() {
        let rows = report.programs.iter().map(|it| {
            vec![
                Cell::new(it.program),
                Cell::new(it.frame),
                number(format!("{:.0}", it.nanoseconds)),
                number(format!("{:.0}", it.empty)),
            ]
        });
        print_table(&["PROGRAM", "FRAME", "NANOSECONDS", "EMPTY PROGRAM"], rows);
    }
    if !report.traffic.is_empty() {
        let rows = report.traffic.iter().map(|it| {
            let rates = [it.stock, it.enforced].map(|it| number(format!("{it:.0}")));
            let words = [it.traffic, it.unit].map(Cell::new).into_iter();
            words.chain(rates).chain([number(format!("{:.2}", it.ratio))]).collect()
        });
        print_table(&["TRAFFIC", "IN A SECOND", "STOCK IPVLAN", "ENFORCED", "RATIO"], rows);
    }
}
