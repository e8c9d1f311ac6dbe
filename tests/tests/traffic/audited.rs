//! What `audit` says of a machine that somebody has changed.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::Array;
use ipvlan_common::{
    SlotEntry,
    schema::{SLAVE_EGRESS, SLOT_MAP},
};
use ipvlan_tests::{
    Network,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde::Deserialize;

use crate::{
    lab::Lab,
    reconcile::{link_pin, map, open, slot_of},
};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);
const OTHER: Network = Network::bridge("web_net", 2);

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("audited::each_change_is_found", NEEDS, changes)]
}

#[derive(Debug, Deserialize)]
struct Risk {
    severity: String,
    check: String,
    object: String,
    evidence: String,
}

/// The risks that weigh more than `low`, and the exit status.
fn audit(lab: &Lab, options: &str) -> Result<(Vec<Risk>, i32)> {
    let output = lab.sandbox.try_ctl(&format!("--format json audit {options}"))?;
    let risks: Vec<Risk> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("audit: {}", String::from_utf8_lossy(&output.stdout)))?;
    // The machine's own settings are what they are.
    let is_heavy = |risk: &Risk| risk.severity != "low" && risk.object != "the host";
    Ok((risks.into_iter().filter(is_heavy).collect(), output.status.code().context("killed")?))
}

fn changes() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"]), (OTHER, &["c"])])?;
    let a = &lab.endpoint("a").netns;
    let (risks, _) = audit(&lab, "")?;
    ensure!(risks.is_empty(), "nothing has happened yet: {risks:?}");

    let link = format!("link set {INTERFACE}");
    let found = |severity: &str, check: &str, evidence: &str, status| -> Result<()> {
        let (risks, code) = audit(&lab, "--network db_net")?;
        let found = risks.iter().find(|risk| risk.check == check && risk.object == "endpoint a");
        let risk = found.with_context(|| format!("no {check} in {risks:?}"))?;
        ensure!(risk.severity == severity && risk.evidence.contains(evidence), "{risk:?}");
        ensure!(code == status, "{check}: it ends with {code}");
        let (elsewhere, _) = audit(&lab, "--network web_net")?;
        ensure!(elsewhere.iter().all(|risk| risk.object != "endpoint a"), "of web_net: {elsewhere:?}");
        Ok(())
    };
    a.ip(&format!("{link} promisc on"))?;
    found("medium", "promiscuous", "promiscuous", 3)?;
    a.ip(&format!("{link} promisc off"))?;

    let mut process = a.spawn(Command::new("sleep").arg("600").stdout(Stdio::null()))?;
    let seen = found("high", "privileged", &format!("process {} (sleep) has CAP_NET_ADMIN", process.id()), 4);
    process.kill()?;
    process.wait()?;
    seen?;

    let foreign = lab.endpoint("a").ipv4.octets();
    a.ip(&format!("addr add 10.{}.9.9/32 dev {INTERFACE}", foreign[1]))?;
    found("high", "foreign-address", ".9.9", 4)?;
    a.ip(&format!("addr del 10.{}.9.9/32 dev {INTERFACE}", foreign[1]))?;

    a.ip(&format!("{link} type ipvlan mode l3"))?;
    found("critical", "mode", "in mode l3, not l2", 5)?;
    let (risks, _) = audit(&lab, "")?;
    ensure!(
        risks.iter().filter(|risk| risk.check == "mode").count() == 3,
        "the mode is the parent's: {risks:?}"
    );
    a.ip(&format!("{link} type ipvlan mode l2"))?;
    a.ip(&format!("{link} type ipvlan mode l2 vepa"))?;
    found("critical", "flag", "has the flag vepa", 5)?;
    a.ip(&format!("{link} type ipvlan mode l2 bridge"))?;

    let slot = slot_of(&lab.sandbox, "a")?;
    let number = slot.parse()?;
    let mut slots: Array<_, SlotEntry> = open(&map(&lab.sandbox, SLOT_MAP))?;
    let entry = slots.get(&number, 0)?;
    slots.set(number, &SlotEntry { network: entry.network + 1, ..entry }, 0)?;
    found("high", "entry-missing", "another network", 4)?;
    slots.set(number, &entry, 0)?;

    a.ip(&format!("link add link {INTERFACE} name spare type ipvlan mode l2 bridge"))?;
    let (risks, code) = audit(&lab, "")?;
    let is_it = |risk: &Risk| risk.check == "foreign-slave" && risk.evidence.contains("spare");
    ensure!(code == 4 && risks.iter().any(is_it), "a foreign slave: {code}, {risks:?}");
    a.ip("link del spare")?;
    let (risks, _) = audit(&lab, "")?;
    ensure!(risks.is_empty(), "all was undone: {risks:?}");

    if Need::Tcx.missing().is_none() {
        fs::remove_file(link_pin(&lab.sandbox, &slot, SLAVE_EGRESS))?;
    } else {
        a.tc(&format!("filter del dev {INTERFACE} egress"))?;
    }
    found("critical", "slave-unenforced", "a program of its slave is missing", 5)?;
    lab.sandbox.ctl("reconcile")?;
    let (risks, _) = audit(&lab, "")?;
    ensure!(risks.is_empty(), "reconcile mends it: {risks:?}");
    Ok(())
}
