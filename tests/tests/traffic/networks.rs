//! Networks that bring what they need: a parent that leads nowhere, a VLAN, subnets, and a part of a subnet.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Netns, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde::Deserialize;

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("networks::without_a_parent_they_lead_nowhere", NEEDS, no_parent),
        test("networks::a_vlan_is_made_and_removed", NEEDS, vlan),
        test("networks::a_vlan_of_the_users_stays", NEEDS, users_vlan),
        test("networks::addresses_come_from_all_subnets", NEEDS, subnets),
        test("networks::prune_and_force", NEEDS, prune),
    ]
}

#[derive(Debug, Deserialize)]
struct Inspected {
    parent: String,
    parent_made: Option<String>,
    internal: bool,
    subnets: Vec<Subnet>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    subnet: String,
    gateway: String,
    ip_range: Option<String>,
    aux_addresses: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Attached {
    ipv4: IpAddr,
}

fn inspect(sandbox: &Sandbox, name: &str) -> Result<Inspected> {
    let mut networks: Vec<Inspected> = sandbox.ctl_json(&format!("network inspect {name}"))?;
    networks.pop().context("nothing inspected")
}

/// Attaches an endpoint called `name`, and returns its namespace and its address.
fn attach(sandbox: &Sandbox, network: &str, name: &str, options: &str) -> Result<(Netns, String)> {
    let netns = sandbox.netns(name)?;
    let words = format!("attach {network} --netns {} --name {name} {options}", netns.name());
    let attached: Attached = sandbox.ctl_json(&words)?;
    Ok((netns, attached.ipv4.to_string()))
}

fn no_parent() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    // A subnet that the host has a route to isn't free.
    sandbox.host.ip(&format!("addr add 172.16.5.1/24 dev {INTERFACE}"))?;
    let before = Snapshot::take(&sandbox, &[])?;
    sandbox.ctl("network create one")?;
    sandbox.ctl("network create --internal --subnet 10.7.0.0/24 --subnet fd00:7::/64 two")?;
    let (one, two) = (inspect(&sandbox, "one")?, inspect(&sandbox, "two")?);
    for network in [&one, &two] {
        ensure!(network.internal && network.parent_made.as_deref() == Some("dummy"), "{network:?}");
        ensure!(network.parent.starts_with("di-"), "{network:?}");
    }
    ensure!(one.parent != two.parent, "they share {}", one.parent);
    ensure!(one.subnets[0].subnet == "172.17.0.0/16", "{one:?}");
    ensure!(one.subnets[0].gateway == "172.17.0.1", "{one:?}");
    let (a, _) = attach(&sandbox, "one", "a", "")?;
    let (b, to_b) = attach(&sandbox, "one", "b", "")?;
    let (_c, to_c) = attach(&sandbox, "two", "c", "")?;
    ensure!(a.pings(&to_b, 56, 20)?, "a can't ping b");
    ensure!(a.ip("route show default")?.is_empty(), "an internal network has a default route");
    a.ip(&format!("route add {to_c} dev {INTERFACE}"))?;
    ensure!(!a.pings(&to_c, 56, 1)?, "a pings c of another network");

    // As after a reboot, which takes all interfaces: the next command makes them again.
    sandbox.host.ip(&format!("link del {}", one.parent))?;
    let output = sandbox.try_ctl("detach a b")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && said.contains("was made again"), "{said}");
    let (a, _) = attach(&sandbox, "one", "a2", "")?;
    let (_b, to_b) = attach(&sandbox, "one", "b2", "")?;
    ensure!(a.pings(&to_b, 56, 20)?, "a can't ping b on the parent that was made again");
    drop(b);

    sandbox.ctl("network rm --force one two")?;
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "left behind: {changes:#?}");
    Ok(())
}

fn vlan() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.lan.ip(&format!("link add link {INTERFACE} name {INTERFACE}.10 type vlan id 10"))?;
    sandbox.lan.ip(&format!("addr add 10.3.0.1/24 dev {INTERFACE}.10"))?;
    sandbox.lan.ip(&format!("link set {INTERFACE}.10 up"))?;
    let before = Snapshot::take(&sandbox, &[])?;
    sandbox.ctl(&format!("network create --subnet 10.3.0.0/24 -o parent={INTERFACE}.10 one"))?;
    sandbox.ctl(&format!("network create --subnet 10.4.0.0/24 -o parent={INTERFACE}.10 two"))?;
    ensure!(inspect(&sandbox, "one")?.parent_made.as_deref() == Some("vlan"), "not noted as ours");
    let (a, to_a) = attach(&sandbox, "one", "a", "")?;
    ensure!(a.pings("10.3.0.1", 56, 20)?, "a can't ping the LAN over the VLAN");
    ensure!(sandbox.lan.pings(&to_a, 56, 20)?, "the LAN can't ping a over the VLAN");
    sandbox.ctl("detach a")?;
    sandbox.ctl("network rm one")?;
    sandbox.host.ip(&format!("link show {INTERFACE}.10")).context("the VLAN went with its first network")?;
    sandbox.ctl("network rm two")?;
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "left behind: {changes:#?}");

    sandbox.host.ip(&format!("link set {INTERFACE} down"))?;
    let refused = sandbox.try_ctl(&format!("network create -o parent={INTERFACE}.10 one"))?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("below it is down"), "{said}");
    sandbox.host.ip(&format!("link set {INTERFACE} up"))?;
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "a refused network leaves: {changes:#?}");
    Ok(())
}

fn users_vlan() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.host.ip(&format!("link add link {INTERFACE} name {INTERFACE}.10 type vlan id 10"))?;
    sandbox.host.ip(&format!("link set {INTERFACE}.10 up"))?;
    sandbox.ctl(&format!("network create -o parent={INTERFACE}.10 one"))?;
    ensure!(inspect(&sandbox, "one")?.parent_made.is_none(), "taken for ours");
    sandbox.ctl("network rm one")?;
    sandbox.host.ip(&format!("link show {INTERFACE}.10")).context("the user's VLAN was removed")?;
    Ok(())
}

fn subnets() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.ctl(&format!(
        "network create --subnet 10.5.0.0/29 --subnet 10.6.0.0/24 --gateway 10.6.0.254 --ip-range 10.5.0.4/30 \
         --aux-address nas=10.5.0.5 --label team=db --label quiet -o parent={INTERFACE} -o ipvlan_mode=l3 n"
    ))?;
    let network = inspect(&sandbox, "n")?;
    let [first, second] = &network.subnets[..] else { anyhow::bail!("{network:?}") };
    ensure!(first.ip_range.as_deref() == Some("10.5.0.4/30") && first.aux_addresses["nas"] == "10.5.0.5");
    ensure!(second.ip_range.is_none() && second.gateway == "10.6.0.254", "{network:?}");
    ensure!(network.labels["team"] == "db" && network.labels["quiet"].is_empty(), "{network:?}");

    let mut held = Vec::new();
    for (name, options, expected) in [
        ("a", "", "10.5.0.4"),
        ("b", "", "10.5.0.6"),
        ("c", "", "10.6.0.1"),
        ("d", "--ip 10.5.0.2", "10.5.0.2"),
        ("e", "--ip 10.6.0.9", "10.6.0.9"),
        ("f", "", "10.6.0.10"),
    ] {
        let (netns, address) = attach(&sandbox, "n", name, options)?;
        ensure!(address == expected, "{name} has {address}, not {expected}");
        held.push(netns);
    }
    for address in ["10.5.0.6", "10.6.0.1", "10.5.0.2", "10.6.0.9"] {
        ensure!(held[0].pings(address, 56, 20)?, "a can't ping {address}");
    }
    for (address, why) in [("10.5.0.5", "auxiliary"), ("10.7.0.5", "10.5.0.0/29, 10.6.0.0/24")] {
        let spare = held[0].name();
        let output = sandbox.try_ctl(&format!("attach n --netns {spare} --ifname x --ip {address}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && said.contains(why), "{said}");
    }
    Ok(())
}

fn prune() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    for name in ["one", "two", "three"] {
        sandbox.ctl(&format!("network create {name}"))?;
    }
    let _held = attach(&sandbox, "two", "a", "")?;
    // Nobody answers: standard input is empty.
    ensure!(sandbox.ctl("network prune")?.is_empty(), "pruned without an answer");
    ensure!(sandbox.ctl("network prune --force")? == "one\nthree\n");
    ensure!(sandbox.ctl("network prune --force")?.is_empty());
    ensure!(!sandbox.try_ctl("network rm two")?.status.success(), "removed with an endpoint");
    ensure!(sandbox.ctl("network rm --force two")? == "two\n");
    ensure!(sandbox.ctl_json::<Vec<serde_json::Value>>("ps")?.is_empty(), "endpoints are left");
    Ok(())
}
