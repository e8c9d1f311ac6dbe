//! What a program costs a frame, as a section of the report.

use anyhow::Result;

use crate::{
    plot::{Bar, Plot, plot},
    programs::{CROWDS, Cost, Effort, REFERENCE, measure},
    report::Section,
};

const FEW: u16 = CROWDS[0];
const MOST: u16 = CROWDS[CROWDS.len() - 1];

/// Measures, and says what came of it.
pub(crate) fn section(effort: Effort) -> Result<Section> {
    let costs = measure(effort)?;
    let table = Table { costs: &costs };
    let base = costs.first().map_or(f64::NAN, |it| it.samples.base().median);
    Ok(Section {
        name: "programs".to_owned(),
        title: "What a program costs a frame".to_owned(),
        about: format!(
            "Nanoseconds by `BPF_PROG_TEST_RUN`, less those of an empty program on the same frame: median of {} rounds of {} runs \
             (first and third quartile). *Ratio*: to one hash lookup and one count, both with {FEW} endpoints. *Growth*: {MOST} \
             endpoints to {FEW}.",
            effort.rounds, effort.runs
        ),
        head: head(),
        rows: table.rows(),
        note: format!("An empty classifier takes {base:.0} ns in the same loop."),
        plot: table.plot()?,
        samples: serde_json::to_value(&costs)?,
        machine: None,
    })
}

fn head() -> Vec<String> {
    let crowds = CROWDS.map(|crowd| format!("{crowd} endpoints"));
    let words = ["program", "frame"].map(str::to_owned).into_iter();
    words.chain(crowds).chain(["ratio", "growth"].map(str::to_owned)).collect()
}

struct Table<'a> {
    costs: &'a [Cost],
}

impl Table<'_> {
    fn cost(&self, like: &Cost, endpoints: u16) -> Option<&Cost> {
        let same =
            |it: &&Cost| it.program == like.program && it.frame == like.frame && it.endpoints == endpoints;
        self.costs.iter().find(same)
    }

    fn median(&self, like: &Cost, endpoints: u16) -> f64 {
        self.cost(like, endpoints).map_or(f64::NAN, |it| it.samples.cost().median)
    }

    /// Each case once.
    fn cases(&self) -> impl Iterator<Item = &Cost> {
        self.costs.iter().filter(|it| it.endpoints == FEW)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let reference = self.cases().find(|it| it.program == REFERENCE);
        let reference = reference.map_or(f64::NAN, |it| self.median(it, FEW));
        let row = |case: &Cost| {
            let middle = |crowd| self.cost(case, crowd).map(|it| it.samples.cost().to_string());
            let few = self.median(case, FEW);
            let ratios = [few / reference, self.median(case, MOST) / few].map(|it| format!("{it:.2}"));
            let words = [case.program.replace('_', " "), case.frame.to_owned()].into_iter();
            words.chain(CROWDS.map(|crowd| middle(crowd).unwrap_or_default())).chain(ratios).collect()
        };
        self.cases().map(row).collect()
    }

    /// With the fewest and with the most endpoints.
    fn plot(&self) -> Result<String> {
        let bar = |case: &Cost| {
            let middles = [FEW, MOST].map(|crowd| Some(self.cost(case, crowd)?.samples.cost()));
            let name = format!("{}: {}", case.program.replace('_', " "), case.frame);
            Bar { name, middles: middles.into_iter().flatten().collect() }
        };
        plot(&Plot {
            unit: "nanoseconds a frame, less those of an empty program",
            series: &[FEW, MOST].map(|crowd| format!("{crowd} endpoints")),
            bars: &self.cases().map(bar).collect::<Vec<_>>(),
        })
    }
}
