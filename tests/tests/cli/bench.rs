//! `ipvlan-ctl bench`: that there are figures, not how large they are.

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::schema::PROGRAMS;
use ipvlan_tests::{Maker, Sandbox, Snapshot};
use serde_json::Value;

/// Each program has a figure, and nothing is left.
pub(crate) fn programs() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let before = Snapshot::take(&sandbox, &[])?;
    let report: Value = sandbox.ctl_json("bench --only programs --quick")?;
    let costs = report["programs"].as_array().context("no list of programs")?;
    for program in PROGRAMS {
        let of = |cost: &&Value| cost["program"] == program;
        let cost = costs.iter().find(of).with_context(|| format!("nothing of {program}"))?;
        // Of a fast program less an empty one a noisy machine can make less than nothing.
        ensure!(cost["nanoseconds"].is_f64() && cost["empty"].as_f64() > Some(0.0), "no figure: {cost}");
    }
    ensure!(report["traffic"].as_array().is_some_and(Vec::is_empty), "traffic wasn't asked for: {report}");
    let table = sandbox.ctl("bench --only programs --quick")?;
    ensure!(table.contains("NANOSECONDS"), "no table: {table}");
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "it left something: {changes:#?}");
    Ok(())
}

/// Each kind of traffic has figures, and nothing is left.
pub(crate) fn traffic() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let before = Snapshot::take(&sandbox, &[])?;
    let report: Value = sandbox.ctl_json("bench --only traffic --quick")?;
    let rates = report["traffic"].as_array().context("no list of traffic")?;
    ensure!(rates.len() == 3, "{} kinds of traffic", rates.len());
    for rate in rates {
        for field in ["stock", "enforced", "ratio"] {
            ensure!(rate[field].as_f64() > Some(0.0), "no {field}: {rate}");
        }
    }
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "it left something: {changes:#?}");
    Ok(())
}
