//! The side-by-side table, for people and for programs.

use comfy_table::{ContentArrangement, Table, presets};
use ipvlan_tests::stats::Rise;
use serde::Serialize;

use crate::attempts::{Attempt, Outcome};

/// What came of one attempt on both sides.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    attempt: &'static str,
    network: &'static str,
    expected: &'static str,
    stock: &'static str,
    enforced: &'static str,
    /// The drop counters that rose, as `reason +n (whose)`.
    counted: Vec<String>,
    /// What differs from what had to happen; empty if nothing does.
    unexpected: Vec<String>,
}

impl Row {
    /// Compares what happened with what had to.
    pub(crate) fn new(attempt: &Attempt, stock: Outcome, enforced: Outcome, rises: &[Rise]) -> Self {
        let mut unexpected = Vec::new();
        if stock != attempt.stock {
            unexpected.push(format!("stock ipvlan: {}, not {}", word(stock), word(attempt.stock)));
        }
        let expected = if attempt.dropped.is_some() { Outcome::Stopped } else { Outcome::Delivered };
        if enforced != expected {
            unexpected.push(format!("with enforcement: {}, not {}", word(enforced), word(expected)));
        }
        if let Some((reason, charged)) = attempt.dropped
            && !rises.iter().any(|rise| rise.reason == reason.name() && rise.charged == charged)
        {
            unexpected.push(format!("the counter {} of {charged} did not rise", reason.name()));
        }
        // Others may count the same flood, or traffic of their own: shown is what this attempt is about.
        let counted = rises
            .iter()
            .filter(|rise| {
                attempt
                    .dropped
                    .is_some_and(|(reason, charged)| rise.reason == reason.name() && rise.charged == charged)
            })
            .map(|rise| format!("{} +{} ({})", rise.reason, rise.count, rise.charged))
            .collect();
        Self {
            attempt: attempt.what,
            network: attempt.network.name,
            expected: if attempt.dropped.is_some() { "drop" } else { "pass" },
            stock: word(stock),
            enforced: word(enforced),
            counted,
            unexpected,
        }
    }

    /// One line per thing that came out otherwise than expected.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        self.unexpected.iter().map(|what| format!("{}: {what}", self.attempt))
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Stopped => "stopped",
    }
}

/// The table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["attempt", "must", "stock ipvlan", "enforced"]);
    for row in rows {
        let enforced = if row.counted.is_empty() {
            row.enforced.to_owned()
        } else {
            format!("dropped: {}", row.counted.join(", "))
        };
        let mark = if row.unexpected.is_empty() { "" } else { "  <- UNEXPECTED" };
        table.add_row([row.attempt, row.expected, row.stock, &format!("{enforced}{mark}")]);
    }
    table.to_string()
}
