//! What it takes to attach an endpoint, beside the reference CNI plugin; and the last of a crowd beside the first.

use anyhow::{Context as _, Result, anyhow};
use indicatif::ProgressBar;
use ipvlan_tests::Netns;
use serde::Serialize;

use crate::{
    attacher::{Hosts, Tool},
    child::Usage,
    plot::{Bar, Plot, plot},
    report::Section,
    sample::{Middle, percentile},
};

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// Pairs of attach and detach of each tool.
    pairs: usize,
    /// Endpoints that each tool attaches one after the other.
    crowd: usize,
}

impl Effort {
    pub(crate) const FULL: Self = Self { pairs: 50, crowd: 300 };
    pub(crate) const QUICK: Self = Self { pairs: 2, crowd: 20 };
}

/// Of the crowd's first and last ones.
const ENDS: usize = 10;

/// What one tool was seen to take.
#[derive(Debug, Serialize)]
struct Cost {
    tool: &'static str,
    attach: Vec<Usage>,
    detach: Vec<Usage>,
}

impl Cost {
    fn new(tool: Tool) -> Self {
        Self { tool: tool.name(), attach: Vec::new(), detach: Vec::new() }
    }
}

/// Measures, and says what came of it.
pub(crate) fn sections(effort: Effort) -> Result<[Section; 2]> {
    let hosts = Hosts::new()?;
    Ok([pairs(&hosts, effort)?, crowd(&hosts, effort)?])
}

fn pairs(hosts: &Hosts, effort: Effort) -> Result<Section> {
    let ends = Tool::ALL.into_iter().enumerate();
    let ends = ends.map(|(number, tool)| hosts.netns(tool, &format!("pair{number}")));
    let ends = ends.collect::<Result<Vec<_>>>()?;
    // Stays, so that nobody's is the first endpoint, for which programs are loaded.
    let residents = [Tool::Reference, Tool::Unprobed].map(|tool| (tool, hosts.netns(tool, "resident")));
    for (tool, netns) in &residents {
        hosts.attach(*tool, netns.as_ref().map_err(|error| anyhow!("{error:#}"))?)?;
    }
    let mut costs = Tool::ALL.map(Cost::new);
    for (tool, netns) in Tool::ALL.into_iter().zip(&ends) {
        hosts.attach(tool, netns)?;
        hosts.check_and_detach(tool, netns)?;
    }
    let progress = ProgressBar::new((effort.pairs * costs.len()) as u64).with_style(crate::progress()?);
    for round in 0..effort.pairs {
        let mut order: Vec<_> = Tool::ALL.into_iter().zip(&ends).zip(&mut costs).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for ((tool, netns), cost) in order {
            cost.attach.push(hosts.attach(tool, netns)?);
            cost.detach.push(hosts.detach(tool, netns)?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let reference = costs.first().context("nothing was measured")?;
    let rows = costs.iter().flat_map(|cost| {
        [("attach", &cost.attach, &reference.attach), ("detach", &cost.detach, &reference.detach)]
            .map(|(what, samples, base)| row(cost.tool, what, samples, base))
    });
    let bar = |cost: &Cost| Bar {
        name: cost.tool.to_owned(),
        middles: vec![
            over(&cost.attach, &reference.attach, wall),
            over(&cost.attach, &reference.attach, cpu),
        ],
    };
    Ok(Section {
        name: "attach".to_owned(),
        title: "What it takes to attach an endpoint".to_owned(),
        about: format!(
            "{} times each, in turn, with one address out of a subnet and a default route: `ipvlan-ctl attach` and `detach`, and \
             ADD and DEL of the reference CNI plugin. Ratios to the latter: time from start to end and CPU time of all processes, \
             median and 99th percentile each, by a clock that counts instructions; and the memory of the largest process. By default \
             ours asks the LAN for 0.1 s whether somebody has the address, which the plugin doesn't.",
            effort.pairs
        ),
        head: ["tool", "step", "time, p50", "time, p99", "CPU, p50", "CPU, p99", "peak, MiB"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        note: "Each time the address was seen on the interface, and the interface seen to be gone; once each, the LAN answered."
            .to_owned(),
        plot: plot(&Plot {
            unit: "attaching, to CNI ipvlan",
            series: &["time".to_owned(), "CPU".to_owned()],
            bars: &costs.iter().map(bar).collect::<Vec<_>>(),
        })?,
        samples: serde_json::to_value(&costs)?,
        machine: None,
    })
}

fn row(tool: &str, what: &str, samples: &[Usage], base: &[Usage]) -> Vec<String> {
    let ratio = |of: fn(&Usage) -> f64, part: f64| {
        let at = |usages: &[Usage]| percentile(usages.iter().map(of).collect(), part);
        format!("{:.2}", at(samples) / at(base))
    };
    let peak = samples.iter().map(|it| it.peak).max().unwrap_or_default() as f64 / 1024.0;
    let ratios = [ratio(wall, 0.5), ratio(wall, 0.99), ratio(cpu, 0.5), ratio(cpu, 0.99)];
    [tool.to_owned(), what.to_owned()].into_iter().chain(ratios).chain([format!("{peak:.1}")]).collect()
}

fn crowd(hosts: &Hosts, effort: Effort) -> Result<Section> {
    let tools = [Tool::Reference, Tool::Unprobed];
    let mut costs = tools.map(Cost::new);
    let mut endpoints: Vec<(Tool, Netns)> = Vec::new();
    let progress = ProgressBar::new((effort.crowd * tools.len()) as u64).with_style(crate::progress()?);
    for number in 0..effort.crowd {
        for (tool, cost) in tools.into_iter().zip(&mut costs) {
            let netns = hosts.netns(tool, &format!("crowd{number}"))?;
            cost.attach.push(hosts.attach(tool, &netns)?);
            endpoints.push((tool, netns));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    for (tool, netns) in endpoints.iter().rev().take(ENDS * tools.len()) {
        hosts.check_and_detach(*tool, netns)?;
    }
    let growth = |cost: &Cost, of| {
        let (first, last) = cost.attach.split_at(cost.attach.len() / 2);
        over(last.last_chunk::<ENDS>().map_or(last, |it| it), &first[..ENDS.min(first.len())], of)
    };
    let row =
        |cost: &Cost| vec![cost.tool.to_owned(), growth(cost, wall).as_ratio(), growth(cost, cpu).as_ratio()];
    let bar = |cost: &Cost| Bar {
        name: cost.tool.to_owned(),
        middles: vec![growth(cost, wall), growth(cost, cpu)],
    };
    Ok(Section {
        name: "crowd".to_owned(),
        title: "What the last of a crowd takes".to_owned(),
        about: format!(
            "{} endpoints attached one after the other by each tool: the median of the last {ENDS} to that of the first {ENDS} \
             (first and third quartile of the last).",
            effort.crowd
        ),
        head: ["tool", "time", "CPU"].map(str::to_owned).to_vec(),
        rows: costs.iter().map(row).collect(),
        note: "The last ones got an answer from the LAN.".to_owned(),
        plot: plot(&Plot {
            unit: "the last ones to the first ones",
            series: &["time".to_owned(), "CPU".to_owned()],
            bars: &costs.iter().map(bar).collect::<Vec<_>>(),
        })?,
        samples: serde_json::to_value(&costs)?,
        machine: None,
    })
}

fn wall(usage: &Usage) -> f64 {
    usage.wall
}

fn cpu(usage: &Usage) -> f64 {
    usage.cpu
}

/// Samples to the median of others.
fn over(samples: &[Usage], base: &[Usage], of: fn(&Usage) -> f64) -> Middle {
    let base = Middle::of(base.iter().map(of).collect()).median;
    Middle::of(samples.iter().map(|it| of(it) / base).collect())
}
