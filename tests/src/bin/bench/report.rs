//! The report: sections, each with a table, a picture and all of its samples.

use std::{fmt::Write as _, fs, time::SystemTime};

use anyhow::Result;
use ipvlan_tests::harness::kernel_release;
use maud::{DOCTYPE, PreEscaped, html};
use serde::Serialize;
use serde_json::Value;

const TITLE: &str = "What enforcement costs";
const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}p{max-width:60em}
table{border-collapse:collapse;font-size:13px}th,td{border:1px solid #ccc;padding:2px 8px;text-align:left}";

/// What was measured in one way.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// Its name in file names.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the figures are.
    pub(crate) about: String,
    #[serde(skip)]
    pub(crate) head: Vec<String>,
    #[serde(skip)]
    pub(crate) rows: Vec<Vec<String>>,
    /// What else to know.
    #[serde(skip)]
    pub(crate) note: String,
    /// The picture, as SVG.
    #[serde(skip)]
    pub(crate) plot: String,
    /// All samples.
    pub(crate) samples: Value,
}

/// All sections, and where they were measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    kernel: String,
    cpu: String,
    date: String,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    pub(crate) fn new(sections: Vec<Section>) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            kernel: kernel_release(),
            cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            sections,
        }
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    fn place(&self) -> String {
        let Self { kernel, cpu, date, .. } = self;
        format!("Linux {kernel}, {cpu}, {date}, by `cargo xtask bench`.")
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {TITLE}\n\n{}\n", self.place());
        for Section { name, title, about, head, rows, note, .. } in &self.sections {
            _ = write!(text, "\n## {title}\n\n{about}\n\n![{title}]({name}.svg)\n\n");
            let mut line = |cells: &[String]| _ = writeln!(text, "| {} |", cells.join(" | "));
            line(head);
            line(&vec!["---".to_owned(); head.len()]);
            rows.iter().for_each(|row| line(row));
            _ = write!(text, "\n{note}\n");
        }
        text
    }

    /// Tables and pictures as a page that needs nothing else.
    pub(crate) fn html(&self) -> String {
        let plain = |text: &str| text.replace(['*', '`'], "");
        html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (TITLE) } style { (PreEscaped(STYLE)) } }
                body {
                    h1 { (TITLE) }
                    p { (plain(&self.place())) }
                    @for section in &self.sections {
                        h2 { (section.title) }
                        p { (plain(&section.about)) }
                        (PreEscaped(&section.plot))
                        table {
                            tr { @for cell in &section.head { th { (cell) } } }
                            @for row in &section.rows { tr { @for cell in row { td { (cell) } } } }
                        }
                        p { (plain(&section.note)) }
                    }
                }
            }
        }
        .into_string()
    }
}
