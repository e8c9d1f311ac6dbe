//! `audit --attack`: it finds nothing under enforcement, a lot on stock ipvlan, and what it prints is what it writes.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Sandbox,
    harness::{Need, test},
};
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("attacked::interrupted", NEEDS, interrupted)];
    let whole = [
        ("l2_bridge", "--mode l2 --flag bridge"),
        ("l3s_private_internal", "--mode l3s --flag private --internal"),
    ];
    tests.extend(
        whole.map(|(name, options)| test(&format!("attacked::{name}"), NEEDS, move || holds(options))),
    );
    tests
}

/// Whoever interrupts it finds nothing left.
fn interrupted() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let there = || -> Result<BTreeSet<_>> {
        let entries = ["/run/netns", "/sys/fs/bpf"].map(fs::read_dir);
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let before = there()?;
    let mut command = sandbox.ctl_command()?;
    command.args(["audit", "--attack", "--mode=l2", "--flag=bridge"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = sandbox.host.spawn(&mut command)?;
    let mut said = BufReader::new(child.stderr.take().context("stderr is piped")?);
    let mut line = String::new();
    while !line.starts_with("2 of ") {
        line.clear();
        ensure!(said.read_line(&mut line)? > 0, "it ended before the second part");
    }
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGINT)?;
    line.clear();
    said.read_to_string(&mut line)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(1) && line.contains("interrupted"), "it ends with {status}: {line}");
    let left: Vec<_> = there()?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn holds(options: &str) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let file = |name: &str| sandbox.root().join(name).display().to_string();
    let (page, data) = (file("report.html"), file("report.json"));
    let words = format!("--format json audit --attack {options} --report {page} --report {data}");
    let output = sandbox.try_ctl(&words)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
    let verdicts = &report["summary"]["verdicts"];
    let count = |verdict: &str| verdicts[verdict].as_u64().unwrap_or(0);
    for bad in ["came through", "uncounted", "missing", "failed"] {
        ensure!(count(bad) == 0, "{bad}: {}", bad_cells(&report, bad));
    }
    ensure!(output.status.success(), "it ends with {}", output.status);
    ensure!(count("passed") > 0 && count("blocked") > 20, "too few were tried: {verdicts}");
    let through = report["summary"]["through_stock"].as_u64().unwrap_or(0);
    ensure!(through > 20, "{through} attacks on stock ipvlan came through: what was tried?");

    ensure!(fs::read_to_string(&data)?.trim() == text.trim(), "the file isn't what is printed");
    let html = fs::read_to_string(&page)?;
    ensure!(html.contains("source-peer") && !html.contains("http"), "a page that isn't whole by itself");
    Ok(())
}

fn bad_cells(report: &Value, verdict: &str) -> String {
    let rows = report["rows"].as_array().into_iter().flatten();
    let cells = rows.flat_map(|row| {
        let cells = row["cells"].as_array().into_iter().flatten();
        cells.filter(|cell| cell["verdict"] == verdict).map(move |cell| format!("{} {cell}", row["case"]))
    });
    cells.collect::<Vec<_>>().join("; ")
}
