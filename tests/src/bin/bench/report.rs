//! The report: sections, each with a table, a picture and all of its samples.

use std::{fmt::Write as _, fs, path::Path, time::SystemTime};

use anyhow::{Context as _, Result};
use ipvlan_tests::harness::kernel_release;
use maud::{DOCTYPE, PreEscaped, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const TITLE: &str = "What enforcement costs";
const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}p{max-width:60em}
table{border-collapse:collapse;font-size:13px}th,td{border:1px solid #ccc;padding:2px 8px;text-align:left}";

/// What was measured in one way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Section {
    /// Its name in file names.
    pub(crate) name: String,
    pub(crate) title: String,
    /// What the figures are.
    pub(crate) about: String,
    /// Where it was measured, if elsewhere than the others.
    pub(crate) machine: Option<String>,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// What else to know.
    pub(crate) note: String,
    /// The picture, as SVG: in a file of its own.
    #[serde(skip)]
    pub(crate) plot: String,
    /// All samples.
    pub(crate) samples: Value,
}

/// All sections, and where they were measured.
#[derive(Debug, Serialize, Deserialize)]
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

    /// Takes over the sections of the report in a folder, which was made on another kernel.
    pub(crate) fn merge(&mut self, folder: &Path) -> Result<()> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
        };
        let other: Self = serde_json::from_str(&read("report.json")?)?;
        for mut section in other.sections {
            section.plot = read(&format!("{}.svg", section.name))?;
            section.machine = Some(format!("In a VM: Linux {}, {}.", other.kernel, other.cpu));
            self.sections.push(section);
        }
        Ok(())
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
        for Section { name, title, about, machine, head, rows, note, .. } in &self.sections {
            let machine = machine.iter().map(|it| format!("{it}\n\n")).collect::<String>();
            _ = write!(text, "\n## {title}\n\n{machine}{about}\n\n![{title}]({name}.svg)\n\n");
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
                        @if let Some(machine) = &section.machine { p { (machine) } }
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
