//! Frames that go around the egress program come out nowhere, in every mode: past tc egress, out of an AF_XDP socket, and from a
//! second slave that root inside has made.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Endpoint, Maker, Marker, Network, Sandbox, Sender, Watch,
    frame::{self, Link},
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, LAN, LAN_MAC, PARENT_MAC},
    watch::SETTLE,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::{Lab, PARENT, SHARED, TO_LAN};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const SIBLING: &str = "eth1";
/// From which interface, and how.
const WAYS: [(&str, Door); 3] = [(INTERFACE, Door::Bypass), (INTERFACE, Door::Xdp), (SIBLING, Door::Queue)];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("around::every_door_is_one", NEEDS, doors)];
    for (name, network) in [
        ("l2", NET),
        ("private", NET.private()),
        ("internal", NET.internal()),
        ("vepa", NET.vepa()),
        ("l3", NET.mode("l3")),
        ("l3_private", NET.mode("l3").private()),
        ("l3_internal", NET.mode("l3").internal()),
        ("l3s", NET.mode("l3s")),
        ("l3s_private", NET.mode("l3s").private()),
        ("l3s_internal", NET.mode("l3s").internal()),
    ] {
        tests.push(test(&format!("around::{name}"), NEEDS, move || around(network)));
    }
    tests
}

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Peer,
    Host,
    Wire,
    All,
}

struct Attempt {
    what: &'static str,
    to: To,
    link: Link,
    source: IpAddr,
    destination: IpAddr,
}

/// What is tried in every mode.
fn attempts(a: &Endpoint, b: &Endpoint) -> Vec<Attempt> {
    let net = a.network;
    let at = |what, to, link, source, destination| Attempt { what, to, link, source, destination };
    vec![
        at("to a peer", To::Peer, SHARED, a.ipv4.into(), b.ipv4.into()),
        at("to a peer, IPv6", To::Peer, SHARED, a.ipv6.into(), b.ipv6.into()),
        at("to a peer as the gateway", To::Peer, SHARED, net.ipv4(LAN).into(), b.ipv4.into()),
        at("to a peer as a stranger", To::Peer, SHARED, STRANGER.into(), b.ipv4.into()),
        at("to the host", To::Host, SHARED, a.ipv4.into(), net.ipv4(HOST).into()),
        at("to the host, IPv6", To::Host, SHARED, a.ipv6.into(), net.ipv6(HOST).into()),
        at("to the wire", To::Wire, TO_LAN, a.ipv4.into(), net.ipv4(LAN).into()),
        at("to the wire, IPv6", To::Wire, TO_LAN, a.ipv6.into(), net.ipv6(LAN).into()),
        at("to the wire as a peer", To::Wire, TO_LAN, b.ipv4.into(), net.ipv4(LAN).into()),
        at("to the wire as a peer, IPv6", To::Wire, TO_LAN, b.ipv6.into(), net.ipv6(LAN).into()),
        // Known by its socket alone.
        at("to the host as a stranger", To::Host, SHARED, STRANGER.into(), net.ipv4(HOST).into()),
        at("to the wire as a stranger", To::Wire, TO_LAN, STRANGER.into(), net.ipv4(LAN).into()),
        at("to the wire as the host", To::Wire, TO_LAN, net.ipv4(HOST).into(), net.ipv4(LAN).into()),
    ]
}

/// What modes l3 and l3s don't send, or without these MACs.
fn attempts_in_l2(a: &Endpoint) -> Vec<Attempt> {
    let net = a.network;
    let at = |what, to, link, source: Ipv4Addr, destination: Ipv4Addr| Attempt {
        what,
        to,
        link,
        source: source.into(),
        destination: destination.into(),
    };
    let to_all = Link::broadcast(PARENT_MAC);
    vec![
        // ipvlan compares the two MACs with each other, not with the device's.
        at("to the host with made-up MACs", To::Host, Link::shared(LAN_MAC), a.ipv4, net.ipv4(HOST)),
        at("to everybody", To::All, to_all, a.ipv4, Ipv4Addr::BROADCAST),
        at("to everybody as a stranger", To::All, to_all, STRANGER, Ipv4Addr::BROADCAST),
    ]
}

fn around(network: Network) -> Result<()> {
    let lab = Lab::new(&[(network, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // The kernel's flag is the parent's, and whoever makes a slave last sets it.
    let flag = if network.flag == "vepa" { "vepa" } else { "bridge" };
    let mode = network.mode;
    a.netns.ip(&format!("link add link {INTERFACE} name {SIBLING} type ipvlan mode {mode} {flag}"))?;
    // What it says of itself on IPv6 would count as well.
    a.netns.sysctl(&format!("net/ipv6/conf/{SIBLING}/disable_ipv6"), "1")?;
    a.netns.ip(&format!("link set {SIBLING} up"))?;
    let l2 = mode == "l2";
    let mut attempts = attempts(a, b);
    if l2 {
        attempts.extend(attempts_in_l2(a));
    }
    attempts.retain(|attempt| attempt.source.is_ipv4() || network.has_ipv6());
    for (interface, door) in WAYS {
        let mut sender = Sender::new(&a.netns, interface, door)?;
        let mut send = |attempt: &Attempt, marker: &[u8]| {
            sender.send(&udp(attempt.link, attempt.source, attempt.destination, marker)?)
        };
        if door == Door::Xdp && !l2 {
            sent_by_none(&lab, a, &attempts, &mut send)?;
            continue;
        }
        let expected: Vec<_> = attempts
            .iter()
            .map(|attempt| {
                let what = format!("{} by {door:?} of {interface}", attempt.what);
                (what, (DropReason::Unsealed, attempt.charged(door, network)))
            })
            .collect();
        lab.all_dropped(&expected, |index, marker| send(&attempts[index], marker))?;
    }
    Ok(())
}

impl Attempt {
    /// At whose hook it ends.
    fn charged(&self, door: Door, network: Network) -> &'static str {
        match self.to {
            // Without a protocol, ipvlan finds no peer in it, and gives it to the host; vepa gives it to the wire.
            To::Peer if door == Door::Xdp || network.flag == "vepa" => PARENT,
            To::Peer | To::All => "b",
            To::Host | To::Wire => PARENT,
        }
    }
}

/// In modes l3 and l3s ipvlan itself drops a frame without a protocol, before it comes to any hook.
fn sent_by_none(
    lab: &Lab,
    from: &Endpoint,
    attempts: &[Attempt],
    send: &mut impl FnMut(&Attempt, &[u8]) -> Result<()>,
) -> Result<()> {
    let watch = lab.watch()?;
    let before = driver_drops(from)?;
    let mut markers = Vec::new();
    for attempt in attempts {
        let marker = Marker::unique();
        send(attempt, marker.bytes())?;
        markers.push((attempt.what, marker));
    }
    thread::sleep(SETTLE);
    let seen = watch.seen_of_many(&markers)?;
    ensure!(seen.is_empty(), "came out of AF_XDP: {seen:?}");
    let dropped = driver_drops(from)? - before;
    // What the stack sends by itself may count as well.
    ensure!(dropped >= attempts.len() as u64, "ipvlan dropped {dropped} of {}", attempts.len());
    Ok(())
}

/// What the slave's driver has dropped of what it was to send.
fn driver_drops(endpoint: &Endpoint) -> Result<u64> {
    let links: Value = serde_json::from_str(&endpoint.netns.ip(&format!("-s -json link show {INTERFACE}"))?)?;
    links[0]["stats64"]["tx"]["dropped"].as_u64().context("no statistics of the slave")
}

fn udp(link: Link, source: IpAddr, destination: IpAddr, marker: &[u8]) -> Result<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => frame::udp4(link, source, destination, marker),
        (IpAddr::V6(source), IpAddr::V6(destination)) => frame::udp6(link, source, destination, marker),
        _ => anyhow::bail!("{source} and {destination} are of two families"),
    }
}

/// Without our programs, what each of the doors sends does come out: a door that sends nothing would pass every other test.
fn doors() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Stock)?;
    sandbox.network(&NET)?;
    let a = sandbox.endpoint(&NET, "a", 11)?;
    for door in Door::ALL {
        let watch = Watch::new().wire("lan", &sandbox.lan, INTERFACE)?;
        let marker = Marker::unique();
        a.send(&frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker.bytes())?, door)?;
        ensure!(watch.seen(&marker, &["lan"])?.contains("lan"), "{door:?} sends nothing");
    }
    Ok(())
}
