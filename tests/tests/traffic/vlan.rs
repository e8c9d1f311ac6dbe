//! Networks on a parent and on a VLAN of that parent at the same time.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Maker, Network, Sandbox,
    frame::{self, Link},
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN, LAN_MAC, PARENT_MAC},
};
use libtest_mimic::Trial;

use crate::lab::{FROM_LAN, Lab, PARENT, SHARED, TO_LAN};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const VLAN: &str = "eth0.10";
const VLAN_HEADER: [u8; 4] = [0x81, 0, 0, 10];
const PLAIN: Network = Network::bridge("db_net", 1);
const TAGGED: Network = Network::bridge("web_net", 2).on(VLAN);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("vlan::overlaps_are_refused", NEEDS, overlaps)];
    for xdp in ["off", "native"] {
        tests.push(test(&format!("vlan::reaches_xdp_{xdp}"), NEEDS, move || reaches(xdp)));
        tests.push(test(&format!("vlan::keeps_apart_xdp_{xdp}"), NEEDS, move || keeps_apart(xdp)));
    }
    tests
}

/// In whichever order, over more than one step, and where the VLAN below is gone.
fn overlaps() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let host = &sandbox.host;
    host.ip(&format!("link add link {INTERFACE} name {VLAN} type vlan id 10"))?;
    host.ip(&format!("link set {VLAN} up"))?;
    host.ip(&format!("link add link {VLAN} name inner type vlan id 7"))?;
    let create = |subnet: &str, parent: &str, name: &str| {
        sandbox.try_ctl(&format!("network create --subnet {subnet} -o parent={parent} {name}"))
    };
    let refused = |subnet: &str, parent: &str, place: &str| -> Result<()> {
        let output = create(subnet, parent, "n")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains(place), "{subnet} on {parent}: {said}");
        Ok(())
    };
    ensure!(create("10.1.0.0/16", VLAN, "middle")?.status.success(), "a network on the VLAN");
    refused("10.1.2.0/24", INTERFACE, &format!("{VLAN}, which lies on {INTERFACE}"))?;
    refused("10.0.0.0/8", "inner", &format!("{VLAN}, which inner lies on"))?;
    ensure!(create("10.2.0.0/16", INTERFACE, "lowest")?.status.success(), "another subnet on the parent");
    refused("10.2.3.0/24", "inner", &format!("{INTERFACE}, which inner lies on"))?;
    // VLANs beside each other don't meet.
    ensure!(create("10.1.0.0/16", &format!("{INTERFACE}.20"), "beside")?.status.success(), "a second VLAN");
    host.ip(&format!("link del {VLAN}"))?;
    refused("10.1.2.0/24", INTERFACE, &format!("{VLAN}, which lies on {INTERFACE}"))
}

/// Endpoints `a` and `b` on the parent, `c` and `d` on its VLAN.
fn lab(xdp: &'static str) -> Result<Lab> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    for netns in [&sandbox.host, &sandbox.lan] {
        netns.ip(&format!("link add link {INTERFACE} name {VLAN} type vlan id 10"))?;
        netns.ip(&format!("link set {VLAN} up"))?;
    }
    Lab::inside(sandbox, &[(PLAIN.xdp(xdp), &["a", "b"]), (TAGGED, &["c", "d"])])
}

fn reaches(xdp: &'static str) -> Result<()> {
    let lab = lab(xdp)?;
    let Sandbox { host, lan, .. } = &lab.sandbox;
    let mut ways = Vec::new();
    for (net, names) in [(PLAIN, ["a", "b"]), (TAGGED, ["c", "d"])] {
        let [one, other] = names.map(|name| lab.endpoint(name));
        for (from, to, part) in [
            (&one.netns, &other.netns, 12),
            (&other.netns, &one.netns, 11),
            (&one.netns, lan, LAN),
            (lan, &one.netns, 11),
            (host, lan, LAN),
            (lan, host, HOST),
        ] {
            ways.push((from, to, net.ipv4(part).to_string()));
            ways.push((from, to, net.ipv6(part).to_string()));
        }
        lab.delivered("a broadcast", &["lan", &other.name], |marker| {
            let link = Link::broadcast(PARENT_MAC);
            one.send(&frame::udp4(link, one.ipv4, Ipv4Addr::BROADCAST, marker)?, Door::Queue)
        })?;
    }
    for (from, to, address) in ways {
        ensure!(from.pings(&address, 56, 20)?, "{} can't ping {address} in {}", from.name(), to.name());
    }
    let drops = lab.rises()?;
    ensure!(drops.is_empty(), "what is allowed counts as {drops:?}");
    Ok(())
}

fn keeps_apart(xdp: &'static str) -> Result<()> {
    let lab = lab(xdp)?;
    let (a, c, d) = (lab.endpoint("a"), lab.endpoint("c"), lab.endpoint("d"));
    for (from, to) in [(a, c), (c, a)] {
        let what = format!("from {} to {}", from.name, to.name);
        let filtered = (DropReason::HostFilter, from.name.as_str());
        lab.refused(&what, filtered, (&from.name, Door::Queue), |marker| {
            frame::udp4(SHARED, from.ipv4, to.ipv4, marker)
        })?;
        let spoof = (DropReason::SourceIpv4, from.name.as_str());
        lab.refused(&format!("{what} as its peer"), spoof, (&from.name, Door::Queue), |marker| {
            frame::udp4(TO_LAN, to.ipv4, to.network.ipv4(LAN), marker)
        })?;
        let unsealed = (DropReason::Unsealed, from.network.parent);
        for link in [SHARED, TO_LAN] {
            lab.refused(&format!("{what} past tc egress"), unsealed, (&from.name, Door::Bypass), |marker| {
                frame::udp4(link, from.ipv4, to.ipv4, marker)
            })?;
        }
    }
    // Into the VLAN with a tag of its own.
    for link in [SHARED, TO_LAN] {
        for (door, count) in
            [(Door::Queue, (DropReason::VlanTag, "a")), (Door::Bypass, (DropReason::Unsealed, PARENT))]
        {
            lab.refused("a tag of its own", count, ("a", door), |marker| {
                let mut frame = frame::udp4(link, c.ipv4, d.ipv4, marker)?;
                frame.splice(12..12, VLAN_HEADER);
                Ok(frame)
            })?;
        }
    }
    let lan_sends =
        |interface: &str, frame: &[u8]| PacketSocket::sender(&lab.sandbox.lan, interface)?.send(frame);
    let (plain, tagged) = (PLAIN.ipv4(LAN), TAGGED.ipv4(LAN));
    for (what, interface, source, destination, place) in [
        ("from the wire", INTERFACE, plain, a.ipv4, "a"),
        ("from the VLAN", VLAN, tagged, c.ipv4, "c"),
        ("from the wire to the VLAN's endpoint", INTERFACE, plain, c.ipv4, "host"),
        ("from the VLAN to the parent's endpoint", VLAN, tagged, a.ipv4, "host"),
    ] {
        lab.delivered(what, &[place], |marker| {
            lan_sends(interface, &frame::udp4(FROM_LAN, source, destination, marker)?)
        })?;
    }
    lab.delivered("a broadcast of the VLAN", &["c", "d", "host", "host socket"], |marker| {
        lan_sends(VLAN, &frame::udp4(Link::broadcast(LAN_MAC), tagged, Ipv4Addr::BROADCAST, marker)?)
    })?;
    lab.dropped("from the VLAN as one of its endpoints", (DropReason::WireSpoof, VLAN), |marker| {
        lan_sends(VLAN, &frame::udp4(FROM_LAN, d.ipv4, c.ipv4, marker)?)
    })
}
