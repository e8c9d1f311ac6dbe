//! What changes behind the controller's back: parents, pins, qdiscs and boots.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Network, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    lab::Lab,
    lifecycle::{is_enforced, leaks_nothing, spawn},
};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const CLSACT: &[Need] = &[Need::Root, Need::Ipvlan, Need::NoTcx];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("changed::parent_comes_back", NEEDS, parent_comes_back),
        test("changed::another_parent_is_left_alone", NEEDS, another_parent),
        test("changed::pins_are_lost", NEEDS, pins_are_lost),
        test("changed::killed_while_restoring", NEEDS, killed_while_restoring),
        test("changed::reboot", NEEDS, reboot),
        test("changed::reboot_and_reconcile", NEEDS, reboot_and_reconcile),
        test("changed::other_pin_dir", NEEDS, other_pin_dir),
        test("changed::foreign_pins_stay", NEEDS, foreign_pins_stay),
        test("changed::killed_while_creating", NEEDS, killed_while_creating),
        test("changed::parent_is_stripped", CLSACT, parent_is_stripped),
        test("changed::others_filters_stay", CLSACT, others_filters_stay),
    ]
}

/// The states that a list shows, in its order.
fn states(sandbox: &Sandbox, list: &str) -> Result<Vec<String>> {
    let rows: Vec<Value> = sandbox.ctl_json(list)?;
    Ok(rows.iter().filter_map(|row| row["state"].as_str().map(str::to_owned)).collect())
}

fn refused(output: &Output, part: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains(part), "not refused for '{part}': {text}");
    Ok(())
}

/// An endpoint that is attached now has a parent whose programs are on it.
fn attach_is_enforced(lab: &Lab, name: &str) -> Result<()> {
    let netns = lab.sandbox.netns(name)?;
    lab.sandbox.ctl(&format!("attach {} --netns {} --name {name}", NET.name, netns.name()))?;
    ensure!(netns.pings(&NET.ipv4(1).to_string(), 56, 20)?, "the new endpoint can't ping the gateway");
    leaks_nothing(lab, &netns)?;
    lab.sandbox.ctl(&format!("detach {name}")).map(drop)
}

fn parent_comes_back() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    lab.sandbox.host.ip(&format!("link del {INTERFACE}"))?;
    ensure!(states(&lab.sandbox, "network ls")? == ["gone"], "the network of a parent that is gone");
    ensure!(states(&lab.sandbox, "ps")? == ["gone", "gone"], "the endpoints of a parent that is gone");
    let attach =
        format!("attach {} --netns {} --name c --ifname eth9", NET.name, lab.endpoint("a").netns.name());
    refused(&lab.sandbox.try_ctl(&attach)?, "is gone")?;

    lab.sandbox.wire()?;
    lab.sandbox.addresses(&NET)?;
    ensure!(
        states(&lab.sandbox, "network ls")? == ["unenforced"],
        "the network of a parent without programs"
    );
    lab.sandbox.ctl("detach a")?;
    ensure!(states(&lab.sandbox, "network ls")? == ["up"], "the programs aren't back");
    let b = &lab.endpoint("b").netns;
    lab.sandbox.ctl("detach b")?;
    lab.sandbox.ctl(&format!("attach {} --netns {} --name b --ip {}", NET.name, b.name(), NET.ipv4(12)))?;
    attach_is_enforced(&lab, "c")?;
    lab.sandbox.ctl("detach b")?;
    lab.sandbox.ctl(&format!("network rm {}", NET.name)).map(drop)
}

/// What has the parent's name now, or its number, but not its MAC, is somebody else's.
fn another_parent() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    let host = &lab.sandbox.host;
    let index = host.ifindex(INTERFACE)?;
    host.ip(&format!("link del {INTERFACE}"))?;
    host.ip(&format!("link add {INTERFACE} index {index} type dummy"))?;
    host.tc(&format!("qdisc add dev {INTERFACE} clsact"))?;
    ensure!(states(&lab.sandbox, "network ls")? == ["gone"], "another interface is taken for the parent");
    let before = host.tc(&format!("qdisc show dev {INTERFACE}"))?;
    lab.sandbox.ctl("detach a")?;
    lab.sandbox.ctl(&format!("network rm {}", NET.name))?;
    ensure!(host.tc(&format!("qdisc show dev {INTERFACE}"))? == before, "a stranger's qdisc is removed");
    Ok(())
}

fn pins_are_lost() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    fs::remove_dir_all(lab.sandbox.pins())?;
    ensure!(
        states(&lab.sandbox, "network ls")? == ["unenforced"],
        "a network without programs is shown as up"
    );
    ensure!(
        states(&lab.sandbox, "ps")? == ["unenforced", "unenforced"],
        "endpoints without pins are shown as up"
    );
    lab.sandbox.ctl("stats")?;
    ensure!(!lab.sandbox.pins().exists(), "looking makes pins");
    // Whatever changes something mends first.
    lab.sandbox.ctl("upgrade")?;
    ensure!(states(&lab.sandbox, "ps")? == ["up", "up"], "the endpoints aren't enforced again");
    is_enforced(&lab)?;
    attach_is_enforced(&lab, "c")
}

/// Killed once it has made the maps, a command leaves them without entries; the next one notices.
fn killed_while_restoring() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    for _ in 0..3 {
        fs::remove_dir_all(lab.sandbox.pins())?;
        let mut command = lab.sandbox.ctl_command()?;
        command.args(["network", "prune", "--force"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = lab.sandbox.host.spawn(&mut command)?;
        while !lab.sandbox.pins().exists() && child.try_wait()?.is_none() {
            thread::yield_now();
        }
        child.kill()?;
        ensure!(child.wait()?.signal().is_some(), "it ended before it was killed");
        lab.sandbox.ctl("network prune --force")?;
        lab.sandbox.ctl("reconcile --dry-run").context("what a killed command left is not mended")?;
    }
    is_enforced(&lab)
}

/// Nothing of the kernel's is left, the interface has another number, and namespaces may have the cookies of those before.
fn reboot() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    fs::remove_dir_all(lab.sandbox.pins())?;
    lab.sandbox.host.ip(&format!("link del {INTERFACE}"))?;
    lab.sandbox.wire()?;
    lab.sandbox.addresses(&NET)?;
    let id = tempfile::NamedTempFile::new()?;
    fs::write(&id, "00000000-0000-4000-8000-000000000000\n")?;
    let booted = |words: &str| after_boot(&lab.sandbox, id.path(), words);

    let shown = booted("--format json ps")?;
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).context("read ps")?;
    ensure!(
        rows.len() == 2 && rows.iter().all(|row| row["state"] == "gone"),
        "endpoints of before: {rows:?}"
    );
    let b = &lab.endpoint("b").netns;
    let attached =
        booted(&format!("attach {} --netns {} --name n --ip {}", NET.name, b.name(), NET.ipv4(13)))?;
    ensure!(attached.status.success(), "attach: {}", String::from_utf8_lossy(&attached.stderr));
    ensure!(b.pings(&NET.ipv4(1).to_string(), 56, 20)?, "the new endpoint can't ping the gateway");
    let shown = booted("--format json network ls")?;
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).context("read network ls")?;
    ensure!(rows[0]["state"] == "up", "the network is not up again: {rows:?}");
    leaks_nothing(&lab, b)?;
    for words in ["detach n", &format!("network rm {}", NET.name)] {
        let output = booted(words)?;
        ensure!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// What the unit for boot does: networks are up again before anything is attached.
fn reboot_and_reconcile() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    fs::remove_dir_all(lab.sandbox.pins())?;
    lab.sandbox.host.ip(&format!("link del {INTERFACE}"))?;
    lab.sandbox.wire()?;
    let id = tempfile::NamedTempFile::new()?;
    fs::write(&id, "00000000-0000-4000-8000-000000000000\n")?;
    for (options, status, outcome) in [("--dry-run", 1, "mendable"), ("", 0, "mended")] {
        let output = after_boot(&lab.sandbox, id.path(), &format!("--format json reconcile {options}"))?;
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).context("read reconcile")?;
        let mut kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
        kinds.sort_unstable();
        ensure!(kinds == ["maps-gone", "netns-gone", "rebooted"], "found: {rows:?}");
        ensure!(rows.iter().all(|row| row["outcome"] == outcome), "not {outcome}: {rows:?}");
        ensure!(output.status.code() == Some(status), "it ends with {}", output.status);
    }
    ensure!(states(&lab.sandbox, "network ls")? == ["up"], "the network isn't up again");
    ensure!(states(&lab.sandbox, "ps")?.is_empty(), "an endpoint of before is left");
    Ok(())
}

/// Runs `ipvlan-ctl` as if this were another boot.
fn after_boot(sandbox: &Sandbox, id: &Path, words: &str) -> Result<Output> {
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    let ctl = sandbox.ctl_command()?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(id)
        .arg(ctl.get_program())
        .args(words.split_whitespace());
    command.envs(ctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    sandbox.host.output(&mut command)
}

fn other_pin_dir() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let elsewhere = lab.sandbox.pins().with_extension("elsewhere");
    for words in ["ps".to_owned(), format!("network rm {}", NET.name), "upgrade".to_owned()] {
        let output = lab.sandbox.try_ctl(&format!("--pin-dir {} {words}", elsewhere.display()))?;
        refused(&output, &lab.sandbox.pins().display().to_string())?;
    }
    ensure!(!elsewhere.exists(), "pins are made elsewhere");
    is_enforced(&lab)
}

fn foreign_pins_stay() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let foreign = sandbox.pins().join("foreign");
    fs::create_dir_all(&foreign)?;
    sandbox.network(&NET)?;
    sandbox.ctl(&format!("network rm {}", NET.name))?;
    ensure!(foreign.exists(), "a foreign directory is removed");
    let left: Vec<_> = fs::read_dir(sandbox.pins())?.flatten().map(|entry| entry.path()).collect();
    ensure!(left == [foreign], "left of ours: {left:?}");
    Ok(())
}

/// At whatever instruction creation dies, the next command takes back what it made, the qdisc too.
fn killed_while_creating() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let before = Snapshot::take(&sandbox, &[])?;
    let create = format!("network create --subnet 10.0.0.0/24 -o parent={INTERFACE} -o ipvlan_mode=l3 n");
    let start = Instant::now();
    sandbox.ctl(&create)?;
    let whole = start.elapsed();
    sandbox.ctl("network rm n")?;
    for sixteenths in 1..16 {
        let mut child = spawn(&sandbox, &create)?;
        thread::sleep(whole * sixteenths / 16);
        child.kill()?;
        child.wait()?;
        // It may have been complete.
        sandbox.try_ctl("network rm n")?;
        let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
        ensure!(changes.is_empty(), "killed after {sixteenths}/16, it leaves: {changes:#?}");
    }
    Ok(())
}

fn parent_is_stripped() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    lab.sandbox.host.tc(&format!("qdisc del dev {INTERFACE} clsact"))?;
    ensure!(states(&lab.sandbox, "network ls")? == ["unenforced"], "a stripped parent is shown as up");
    attach_is_enforced(&lab, "c")?;
    is_enforced(&lab)
}

fn others_filters_stay() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let host = &sandbox.host;
    host.tc("qdisc add dev lo clsact")?;
    sandbox.network(&NET.mode("l3"))?;
    host.tc(&format!("filter add dev {INTERFACE} ingress prio 10 matchall action continue"))?;
    sandbox.ctl(&format!("network rm {}", NET.name))?;
    let filters = host.tc(&format!("filter show dev {INTERFACE} ingress"))?;
    ensure!(filters.contains("matchall") && !filters.contains("bpf"), "left on the parent: {filters}");
    let qdiscs = host.tc("qdisc show dev lo")?;
    ensure!(qdiscs.contains("clsact"), "a foreign clsact qdisc on lo is removed: {qdiscs}");
    Ok(())
}
