//! The report: all samples as data, and a table.

use std::{fmt::Write as _, fs, time::SystemTime};

use anyhow::{Context as _, Result};
use ipvlan_tests::harness::kernel_release;
use maud::{DOCTYPE, PreEscaped, html};
use serde::Serialize;

use crate::{
    plot::{Bar, plot},
    programs::{CROWDS, Cost, Effort, REFERENCE},
};

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}p{max-width:60em}
table{border-collapse:collapse;font-size:13px}th,td{border:1px solid #ccc;padding:2px 8px;text-align:left}";

fn name(cost: &Cost) -> String {
    format!("{}: {}", cost.program.replace('_', " "), cost.frame)
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    kernel: String,
    cpu: String,
    date: String,
    #[serde(flatten)]
    effort: Effort,
    costs: Vec<Cost>,
}

impl Report {
    pub(crate) fn new(effort: Effort, costs: Vec<Cost>) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            kernel: kernel_release(),
            cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            effort,
            costs,
        }
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The costs with the fewest and with the most endpoints.
    pub(crate) fn plot(&self) -> Result<String> {
        let bar = |cost: &Cost| {
            let middle =
                |endpoints| self.cost(cost.program, cost.frame, endpoints).map(|it| it.samples.cost());
            let most = middle(CROWDS[CROWDS.len() - 1]);
            Some(Bar { name: name(cost), few: middle(CROWDS[0])?, most: most? })
        };
        let few = self.costs.iter().filter(|it| it.endpoints == CROWDS[0]);
        plot(&few.filter_map(bar).collect::<Vec<_>>())
    }

    /// The table and the picture as a page that needs nothing else.
    pub(crate) fn html(&self) -> Result<String> {
        let markdown = self.markdown();
        let mut lines = markdown.lines().skip(2);
        let about = lines.next().unwrap_or_default().replace(['*', '`'], "");
        let rows: Vec<Vec<&str>> = lines
            .filter(|line| line.starts_with('|') && !line.starts_with("|--"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let (head, body) = rows.split_first().context("a table has a header")?;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { "What a program costs a frame" } style { (PreEscaped(STYLE)) } }
                body {
                    h1 { "What a program costs a frame" }
                    p { (about) }
                    (PreEscaped(self.plot()?))
                    table {
                        tr { @for cell in head { th { (cell) } } }
                        @for row in body { tr { @for cell in row { td { (cell) } } } }
                    }
                }
            }
        };
        Ok(page.into_string())
    }

    fn cost(&self, program: &str, frame: &str, endpoints: u16) -> Option<&Cost> {
        let same = |it: &&Cost| it.program == program && it.frame == frame && it.endpoints == endpoints;
        self.costs.iter().find(same)
    }

    /// Nanoseconds a frame, less what the same takes with an empty program.
    pub(crate) fn markdown(&self) -> String {
        let Self { kernel, cpu, date, effort: Effort { rounds, runs }, .. } = self;
        let mut text = format!(
            "# What a program costs a frame\n\n\
             Linux {kernel}, {cpu}, {date}. Nanoseconds by `BPF_PROG_TEST_RUN`, less those of an empty program on the same frame: \
             median of {rounds} rounds of {runs} runs (first and third quartile). *Ratio*: to one hash lookup and one count, both with \
             {few} endpoints. *Growth*: {most} endpoints to {few}.\n\n| program | frame |",
            few = CROWDS[0],
            most = CROWDS[CROWDS.len() - 1],
        );
        for crowd in CROWDS {
            _ = write!(text, " {crowd} endpoints |");
        }
        text.push_str(" ratio | growth |\n|---|---|");
        text.push_str(&"---:|".repeat(CROWDS.len() + 2));
        text.push('\n');
        let few =
            |cost: &Cost| self.cost(cost.program, cost.frame, CROWDS[0]).map(|it| it.samples.cost().median);
        let reference = self.costs.iter().find(|it| it.program == REFERENCE).and_then(few);
        for cost in self.costs.iter().filter(|it| it.endpoints == CROWDS[0]) {
            _ = write!(text, "| {} | {} |", cost.program.replace('_', " "), cost.frame);
            for crowd in CROWDS {
                let middle = self.cost(cost.program, cost.frame, crowd).map(|it| it.samples.cost());
                let Some(middle) = middle else { continue };
                _ = write!(text, " {:.0} ({:.0}–{:.0}) |", middle.median, middle.low, middle.high);
            }
            let most = self.cost(cost.program, cost.frame, CROWDS[CROWDS.len() - 1]);
            let most = most.map(|it| it.samples.cost().median);
            let ratio = |of: Option<f64>, to: Option<f64>| of.zip(to).map_or(f64::NAN, |(of, to)| of / to);
            _ = writeln!(text, " {:.2} | {:.2} |", ratio(few(cost), reference), ratio(most, few(cost)));
        }
        let base = self.costs.first().map_or(f64::NAN, |it| it.samples.base().median);
        _ = writeln!(text, "\nAn empty classifier takes {base:.0} ns in the same loop.");
        text
    }
}
