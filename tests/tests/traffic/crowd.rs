//! Many commands at once, and many after each other.

use std::{collections::BTreeSet, fs, os::fd::AsFd as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, loaded_programs},
};
use ipvlan_tests::{
    Maker, Netns, Network, Sandbox, Snapshot,
    harness::{Need, test},
    memory::of_map,
    netns::run,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::{eventually, number};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Processes at once, unless `IPVLAN_CROWD` says otherwise.
const CROWD: usize = 8;
/// Attaches and detaches after each other, unless `IPVLAN_CYCLES` says otherwise.
const CYCLES: usize = 6;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("crowd::attaches_and_detaches_at_once", NEEDS, at_once),
        test("crowd::cycles_leave_nothing", NEEDS, cycles),
    ]
}

fn at_once() -> Result<()> {
    let crowd = number("IPVLAN_CROWD", CROWD)?;
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let namespaces =
        (0..crowd).map(|number| sandbox.netns(&format!("c{number}"))).collect::<Result<Vec<_>>>()?;
    let all: Vec<&Netns> = namespaces.iter().collect();
    sandbox.network(&NET)?;
    let before = Snapshot::take(&sandbox, &all)?;
    let attach = |netns: &&Netns| format!("attach {} --netns {}", NET.name, netns.name());
    let start = std::time::Instant::now();
    together(&sandbox, all.iter().map(attach))?;
    let attached = start.elapsed();

    let rows: Vec<Value> = sandbox.ctl_json("ps")?;
    ensure!(rows.len() == crowd && rows.iter().all(|row| row["state"] == "up"), "not all are up: {rows:?}");
    for column in ["name", "slot", "ipv4", "ipv6", "link_local", "netns"] {
        let distinct: BTreeSet<String> = rows.iter().map(|row| row[column].to_string()).collect();
        ensure!(distinct.len() == crowd, "{column} is had twice: {rows:?}");
    }
    sandbox.ctl("reconcile --dry-run").context("after the attaches")?;
    let names = rows.iter().filter_map(|row| row["name"].as_str());
    let start = std::time::Instant::now();
    together(&sandbox, names.map(|name| format!("detach {name}")))?;
    println!("{crowd} at once: attached in {attached:?}, detached in {:?}", start.elapsed());
    sandbox.ctl("reconcile --dry-run").context("after the detaches")?;
    let changes = Snapshot::take(&sandbox, &all)?.changes(&before);
    ensure!(changes.is_empty(), "left: {changes:#?}");
    Ok(())
}

/// Starts all of these commands before it waits for any.
fn together(sandbox: &Sandbox, lines: impl Iterator<Item = String>) -> Result<()> {
    let start = |words: String| {
        let mut command = sandbox.ctl_command()?;
        command.args(words.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok((words, sandbox.host.spawn(&mut command)?))
    };
    let started = lines.map(start).collect::<Result<Vec<_>>>()?;
    for (words, child) in started {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && text.is_empty(), "{words}: {}, {text}", output.status);
    }
    Ok(())
}

fn cycles() -> Result<()> {
    let cycles = number("IPVLAN_CYCLES", CYCLES)?;
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let netns = sandbox.netns("a")?;
    sandbox.network(&NET)?;
    let cycle = || -> Result<()> {
        sandbox.ctl(&format!("attach {} --netns {} --name a", NET.name, netns.name()))?;
        sandbox.ctl("detach a").map(drop)
    };
    // Some files and pages come with the first one.
    cycle()?;
    let before = (Snapshot::take(&sandbox, &[&netns])?, Kept::measure(&sandbox)?);
    let start = std::time::Instant::now();
    for number in 0..cycles {
        cycle().with_context(|| format!("cycle {number}"))?;
    }
    let each = start.elapsed() / u32::try_from(cycles.max(1))?;
    // The kernel frees a program after all who may be in it have left.
    let mut after = Kept::measure(&sandbox)?;
    let settled = eventually("what it was", || {
        after = Kept::measure(&sandbox)?;
        Ok(after == before.1)
    });
    println!("{cycles} cycles, {each:?} each; before: {:?}; after: {after:?}", before.1);
    let changes = Snapshot::take(&sandbox, &[&netns])?.changes(&before.0);
    ensure!(changes.is_empty(), "left: {changes:#?}");
    settled.with_context(|| format!("{cycles} cycles: {:?} has become {after:?}", before.1))?;
    sandbox.ctl("reconcile --dry-run").map(drop)
}

/// What might grow unseen.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    /// Bytes of the state directory.
    state: u64,
    /// Files in it.
    files: usize,
    /// Pins of maps and links.
    pins: usize,
    /// Rows of the store.
    rows: usize,
    /// Programs in the kernel that use our maps.
    programs: usize,
    /// Bytes that the kernel charges for these and the maps.
    memory: u64,
}

impl Kept {
    fn measure(sandbox: &Sandbox) -> Result<Self> {
        let files = fs::read_dir(sandbox.root())?.collect::<Result<Vec<_>, _>>()?;
        let sizes = files.iter().map(|file| Ok(file.metadata()?.len())).collect::<Result<Vec<_>>>()?;
        let pins = run(std::process::Command::new("find").arg(sandbox.pins()).args(["-type", "f"]))?;
        let rows: Vec<Value> = sandbox.ctl_json("ps")?;
        let maps: BTreeSet<_> = pins
            .lines()
            .filter(|pin| pin.contains("/maps/"))
            .filter_map(|pin| Some(MapInfo::from_pin(pin).ok()?.id()))
            .collect();
        // One that is freed while we look is no error.
        let uses_ours = |program: &ProgramInfo| {
            program.map_ids().is_ok_and(|ids| ids.unwrap_or_default().iter().any(|id| maps.contains(id)))
        };
        let programs: Vec<_> = loaded_programs().flatten().filter(uses_ours).collect();
        let mut memory = 0;
        for id in &maps {
            memory += of_map(MapInfo::from_id(*id)?.fd()?.as_fd())?;
        }
        for program in &programs {
            memory += u64::from(program.memory_locked()?);
        }
        Ok(Self {
            state: sizes.iter().sum(),
            files: files.len(),
            pins: pins.lines().count(),
            rows: rows.len(),
            programs: programs.len(),
            memory,
        })
    }
}
