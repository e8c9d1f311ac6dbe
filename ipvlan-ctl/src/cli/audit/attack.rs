//! `ipvlan-ctl audit --attack`.

use std::{fs, io, path::PathBuf};

use clap::Args;
use comfy_table::{Cell as TableCell, Color};
use indicatif::{ProgressBar, ProgressStyle};
use ipvlan_common::DropReason;
use serde::Serialize;

use super::{
    super::render::{is_quiet, print_table},
    html,
};
use crate::{
    attack::{self, Cell, Matrix, Options, Row, Summary, Verdict, names},
    cli::{Format, render::json},
    model::{Flag, Mode},
    sandbox::Maker,
    service::Error,
};

/// Exit status where an attack came through, or was stopped without a word.
const CAME_THROUGH: u8 = 5;
/// Exit status where something that must work didn't.
const BROKEN: u8 = 4;

#[derive(Debug, Args)]
#[command(next_help_heading = "Attacks")]
pub(super) struct How {
    /// Only this ipvlan mode; may be given several times
    #[arg(long = "mode", value_name = "MODE", requires = "attack", value_parser = mode)]
    modes: Vec<Mode>,
    /// Only this ipvlan flag; may be given several times
    #[arg(long = "flag", value_name = "FLAG", requires = "attack", value_parser = flag)]
    flags: Vec<Flag>,
    /// Only internal networks
    #[arg(long, requires = "attack")]
    internal: bool,
    /// Only cases whose names begin so; may be given several times
    #[arg(long = "case", value_name = "NAME", requires = "attack", value_parser = case)]
    cases: Vec<String>,
    /// Only cases that may end for this reason; may be given several times
    #[arg(long = "reason", value_name = "NAME", requires = "attack", value_parser = reason)]
    reasons: Vec<DropReason>,
    /// Switch off each rule in turn, to see that the attacks notice
    #[cfg(feature = "faulty")]
    #[arg(long, requires = "attack")]
    faults: bool,
    /// Write the whole matrix to this file, for a browser (.html) or as data
    /// (.json); may be given several times
    #[arg(long = "report", value_name = "FILE", requires = "attack", value_parser = report)]
    reports: Vec<Output>,
}

/// A file to write the matrix to.
#[derive(Debug, Clone)]
enum Output {
    Html(PathBuf),
    Json(PathBuf),
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli) struct Report {
    /// How it all came out.
    summary: Summary,
    #[serde(flatten)]
    matrix: Matrix,
}

impl How {
    pub(super) fn execute(&self, format: Format) -> Result<u8, Error> {
        #[cfg(feature = "faulty")]
        if self.faults {
            return faults(format);
        }
        let options = Options {
            modes: self.modes.clone(),
            flags: self.flags.clone(),
            internal: self.internal,
            cases: self.cases.clone(),
            reasons: self.reasons.clone(),
        };
        let matrix = run(&options)?;
        let report = Report { summary: matrix.summary(), matrix };
        if format == Format::Json {
            json(&report);
        } else {
            print(&report.matrix, &report.summary);
        }
        for output in &self.reports {
            output.write(&report)?;
        }
        Ok(status(&report.summary))
    }
}

impl Output {
    fn write(&self, report: &Report) -> Result<(), Error> {
        let (path, written) = match self {
            Self::Html(path) => (path, fs::write(path, html::page(&report.matrix))),
            Self::Json(path) => (
                path,
                serde_json::to_vec_pretty(report)
                    .map_err(io::Error::other)
                    .and_then(|text| fs::write(path, text)),
            ),
        };
        written.map_err(|source| Error::Write { path: path.clone(), source })
    }
}

/// Exit status 1 where a rule was missed.
#[cfg(feature = "faulty")]
fn faults(format: Format) -> Result<u8, Error> {
    let rules = attack::faults().map_err(Error::Attack)?;
    if format == Format::Json {
        json(&rules);
    } else {
        let cell = |rule: &attack::Noticed| {
            let noticed = if rule.cases.is_empty() { "missed".to_owned() } else { rule.cases.join(", ") };
            vec![TableCell::new(rule.reason), TableCell::new(noticed)]
        };
        super::super::render::print_wrapped_table(&["RULE", "NOTICED BY"], rules.iter().map(cell));
    }
    Ok(u8::from(rules.iter().any(|rule| rule.cases.is_empty())))
}

/// With a bar on a terminal, and a line for each part elsewhere.
fn run(options: &Options) -> Result<Matrix, Error> {
    let parts = 2 * options.settings().len() as u64;
    let bar = ProgressBar::new(parts);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    let mut begun = 0;
    let matrix = attack::run(options, |setting, maker| {
        let part = format!("{setting}, {}", if maker == Maker::Stock { "stock" } else { "enforced" });
        if bar.is_hidden() && !is_quiet() {
            eprintln!("{} of {parts}: {part}", begun + 1);
        }
        bar.set_position(begun);
        bar.set_message(part);
        begun += 1;
    });
    bar.finish_and_clear();
    matrix
}

fn status(summary: &Summary) -> u8 {
    if summary.count(Verdict::CameThrough) + summary.count(Verdict::Uncounted) > 0 {
        CAME_THROUGH
    } else if summary.count(Verdict::Missing) + summary.count(Verdict::Failed) > 0 {
        BROKEN
    } else {
        0
    }
}

/// For each case the outcomes that there are, with the number of settings where there are several.
fn print(matrix: &Matrix, summary: &Summary) {
    let header = ["CASE", "", "STOCK", "ENFORCED"];
    print_table(
        &header,
        matrix.rows.iter().map(|row| {
            let cells = || row.cells.iter().filter(|cell| cell.verdict != Verdict::Pointless);
            let worst = cells().map(|cell| cell.verdict).max().unwrap_or(Verdict::Pointless);
            vec![
                TableCell::new(row.case),
                TableCell::new(row.family),
                TableCell::new(tally(cells().map(html::stock))),
                TableCell::new(tally(cells().map(html::enforced))).fg(color(worst)),
            ]
        }),
    );
    let odd = |(_, cell): &(&Row, &Cell)| cell.verdict.is_bad() || cell.verdict == Verdict::NotContained;
    let mut advised: Vec<&str> = Vec::new();
    for (row, cell) in matrix.cells().filter(odd) {
        if cell.verdict == Verdict::NotContained {
            // Once is enough.
            if !advised.contains(&row.case) {
                advised.push(row.case);
                println!("\n{} isn't contained, {}: {}", row.case, row.what, row.advice.unwrap_or_default());
            }
            continue;
        }
        let note = cell.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
        println!("\n{} {}, {}: {}{note}", row.case, row.family, cell.setting, html::enforced(cell));
    }
    println!("\nLinux {}: {summary}", matrix.kernel);
}

/// Texts with their numbers, the most frequent first.
fn tally(texts: impl Iterator<Item = String>) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for text in texts {
        match counts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let alone = counts.len() == 1;
    let lines =
        counts.iter().map(|(text, count)| if alone { text.clone() } else { format!("{text} ×{count}") });
    let text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() { "-".to_owned() } else { text }
}

const fn color(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Passed | Verdict::Blocked | Verdict::Stopped => Color::Green,
        Verdict::Pointless => Color::Grey,
        Verdict::NotContained => Color::Yellow,
        Verdict::Uncounted | Verdict::Missing | Verdict::Failed | Verdict::CameThrough => Color::Red,
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::from_text(text).ok_or_else(|| "not l2, l3 or l3s".to_owned())
}

fn flag(text: &str) -> Result<Flag, String> {
    Flag::from_text(text).ok_or_else(|| "not bridge, private or vepa".to_owned())
}

fn case(text: &str) -> Result<String, String> {
    if names().any(|name| name.starts_with(text)) {
        return Ok(text.to_owned());
    }
    let all: Vec<_> = names().collect();
    Err(format!("no case's name begins so; there are {}", all.join(", ")))
}

fn reason(text: &str) -> Result<DropReason, String> {
    DropReason::ALL.iter().copied().find(|reason| reason.name() == text).ok_or_else(|| {
        let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        format!("not one of {}", names.join(", "))
    })
}

fn report(text: &str) -> Result<Output, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => Ok(Output::Html(path)),
        Some("json") => Ok(Output::Json(path)),
        _ => Err("its name ends neither in .html nor in .json".to_owned()),
    }
}
