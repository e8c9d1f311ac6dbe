//! Modes l3 and l3s, the flag vepa, and the multicast setting.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Network,
    frame::{self, Link},
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN, LAN_MAC, PARENT_MAC},
};
use libtest_mimic::Trial;

use crate::{
    lab::{FROM_LAN, Lab, PARENT, SHARED, TO_LAN, datagram, eventually, static_neighbor},
    shown,
};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);
const A: (&str, Door) = ("a", Door::Queue);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const A_BYPASS: (&str, Door) = ("a", Door::Bypass);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("modes::vepa", NEEDS, vepa),
        test("modes::multicast", NEEDS, multicast),
        test("modes::storm", NEEDS, storm),
        test("modes::one_mode_and_kind_of_flag_a_parent", NEEDS, one_of_each),
    ];
    for mode in ["l3", "l3s"] {
        tests.push(test(&format!("modes::{mode}_reaches"), NEEDS, move || reaches(mode)));
        tests.push(test(&format!("modes::{mode}_enforces"), NEEDS, move || enforces(mode)));
        tests.push(test(&format!("modes::{mode}_internal_and_private"), NEEDS, move || keeps_apart(mode)));
    }
    tests
}

/// The LAN host knows the way to the endpoints, as a router that uses these modes must.
fn teach_routes(lab: &Lab, names: &[&str]) -> Result<()> {
    for endpoint in names.iter().map(|name| lab.endpoint(name)) {
        let (host4, host6) = (endpoint.network.ipv4(HOST), endpoint.network.ipv6(HOST));
        lab.sandbox.lan.ip(&format!("route replace {}/32 via {host4}", endpoint.ipv4))?;
        lab.sandbox.lan.ip(&format!("-6 route replace {}/128 via {host6}", endpoint.ipv6))?;
    }
    Ok(())
}

fn reaches(mode: &'static str) -> Result<()> {
    let lab = Lab::new(&[(NET.mode(mode), &["a", "b"])])?;
    teach_routes(&lab, &["a", "b"])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    for to in [b.ipv4.to_string(), b.ipv6.to_string(), NET.ipv4(LAN).to_string(), NET.ipv6(LAN).to_string()] {
        ensure!(a.netns.pings(&to, 56, 20)?, "a can't ping {to} in {mode}");
    }
    for to in [a.ipv4.to_string(), a.ipv6.to_string()] {
        ensure!(lab.sandbox.lan.pings(&to, 56, 20)?, "the LAN host can't ping {to} in {mode}");
    }
    let routes = a.netns.ip("route show default")?;
    ensure!(!routes.contains("via"), "the default route has a gateway in {mode}: {routes}");
    Ok(())
}

fn enforces(mode: &'static str) -> Result<()> {
    let net = NET.mode(mode);
    let other = Network::bridge("web_net", 2).mode(mode);
    let lab = Lab::new(&[(net, &["a", "b"]), (other, &["c"])])?;
    teach_routes(&lab, &["a", "b", "c"])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    let (host, lan) = (net.ipv4(HOST), net.ipv4(LAN));
    for host in [host.to_string(), net.ipv6(HOST).to_string()] {
        lab.dropped(&format!("a datagram to the host, {host}"), (DropReason::HostFilter, "a"), |marker| {
            datagram(&a.netns, &host, marker)
        })?;
    }
    for other in [c.ipv4.to_string(), c.ipv6.to_string()] {
        lab.dropped(&format!("another network, {other}"), (DropReason::OtherNetwork, "a"), |marker| {
            datagram(&a.netns, &other, marker)
        })?;
    }
    for (what, source, to) in [
        ("a peer's source", b.ipv4, lan),
        ("the host's source", host, lan),
        ("127.0.0.1", Ipv4Addr::LOCALHOST, host),
    ] {
        lab.refused(what, (DropReason::SourceIpv4, "a"), A, |marker| {
            frame::udp4(SHARED, source, to, marker)
        })?;
    }
    for (what, charged, to) in
        [("to a peer", "b", b.ipv4), ("to the host", PARENT, host), ("to the wire", PARENT, lan)]
    {
        lab.refused(
            &format!("{what} past tc egress"),
            (DropReason::Unsealed, charged),
            A_BYPASS,
            |marker| frame::udp4(SHARED, a.ipv4, to, marker),
        )?;
    }
    lab.refused("a multicast in a frame for one receiver", (DropReason::GroupMismatch, "a"), A, |marker| {
        frame::udp6(SHARED, a.ipv6, ALL_NODES, marker)
    })?;
    lab.dropped("an endpoint's address from the wire", (DropReason::WireSpoof, PARENT), |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, b.ipv4, a.ipv4, marker)?)
    })
}

fn keeps_apart(mode: &'static str) -> Result<()> {
    let inner = NET.mode(mode).internal();
    let shy = Network::bridge("shy_net", 2).mode(mode).private();
    let lab = Lab::new(&[(inner, &["a", "b"]), (shy, &["c", "d"])])?;
    teach_routes(&lab, &["a", "c"])?;
    let (a, b, c, d) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"), lab.endpoint("d"));
    ensure!(
        a.netns.pings(&b.ipv4.to_string(), 56, 20)?,
        "internal endpoints can't ping each other in {mode}"
    );
    lab.recount()?;
    lab.refused("internal, to the LAN host", (DropReason::Internal, "a"), A, |marker| {
        frame::udp4(SHARED, a.ipv4, inner.ipv4(LAN), marker)
    })?;
    lab.dropped("the LAN host to an internal endpoint", (DropReason::Internal, "a"), |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, inner.ipv4(LAN), a.ipv4, marker)?)
    })?;
    if mode == "l3s" {
        lab.dropped("the same in a broadcast frame", (DropReason::Internal, "a"), |marker| {
            lab.lan_sends(&frame::udp4(Link::broadcast(LAN_MAC), inner.ipv4(LAN), a.ipv4, marker)?)
        })?;
    }
    lab.dropped("private, to a peer", (DropReason::Private, "c"), |marker| {
        datagram(&c.netns, &d.ipv4.to_string(), marker)
    })?;
    ensure!(c.netns.pings(&shy.ipv4(LAN).to_string(), 56, 20)?, "a private endpoint can't ping the LAN host");
    Ok(())
}

/// The LAN's end becomes a switch port that sends frames back where they came from.
fn reflect(lab: &Lab) -> Result<()> {
    let lan = &lab.sandbox.lan;
    lan.ip("link add br0 type bridge")?;
    lan.ip(&format!("link set {INTERFACE} master br0"))?;
    lan.ip("link set br0 up")?;
    lan.ip(&format!("link set {INTERFACE} type bridge_slave hairpin on"))?;
    Ok(())
}

fn vepa() -> Result<()> {
    let lab = Lab::new(&[(NET.vepa(), &["a", "b"]), (Network::bridge("web_net", 2).vepa(), &["c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    ensure!(!a.netns.pings(&b.ipv4.to_string(), 56, 1)?, "without a switch that reflects, a reaches b");
    reflect(&lab)?;
    for to in [b.ipv4.to_string(), b.ipv6.to_string()] {
        // The neighbour entry that got no answer may have to fail first.
        eventually(&format!("a pings {to} by way of the switch"), || a.netns.pings(&to, 56, 1))?;
    }
    lab.recount()?;
    lab.dropped_behind("another network", &["lan"], (DropReason::OtherNetwork, "a"), |marker| {
        a.send(&frame::udp4(SHARED, a.ipv4, c.ipv4, marker)?, Door::Queue)
    })?;
    lab.dropped_behind("the host", &["lan"], (DropReason::HostFilter, "a"), |marker| {
        a.send(&frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker)?, Door::Queue)
    })?;
    // The peer gets it when it is sent, and the host nothing when it is back.
    lab.dropped_behind("a broadcast back", &["b", "lan"], (DropReason::HostFilter, "a"), |marker| {
        let link = Link::broadcast(PARENT_MAC);
        a.send(&frame::udp4(link, a.ipv4, Ipv4Addr::BROADCAST, marker)?, Door::Queue)
    })?;
    lab.dropped("the parent's MAC and a stranger's address", (DropReason::Unsealed, PARENT), |marker| {
        lab.lan_sends(&frame::udp4(SHARED, Ipv4Addr::new(203, 0, 113, 5), a.ipv4, marker)?)
    })?;
    lab.refused("a spoof", (DropReason::SourceIpv4, "a"), A, |marker| {
        frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), marker)
    })
}

fn multicast() -> Result<()> {
    let quiet = Network::bridge("quiet_net", 2).multicast("off");
    let near = Network::bridge("near_net", 3).multicast("local");
    let lab = Lab::new(&[(quiet, &["a", "b"]), (near, &["c", "d"])])?;
    let (a, b, c, d) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"), lab.endpoint("d"));
    let flood =
        |source, marker: &[u8]| frame::udp4(Link::broadcast(PARENT_MAC), source, Ipv4Addr::BROADCAST, marker);
    for (from, to) in [(a, &b.ipv4), (a, &quiet.ipv4(LAN)), (c, &d.ipv4), (c, &near.ipv4(LAN))] {
        ensure!(from.netns.pings(&to.to_string(), 56, 20)?, "{} can't ping {to}", from.name);
    }
    for (from, to) in [(a, &b.ipv6), (c, &near.ipv6(LAN))] {
        ensure!(from.netns.pings(&to.to_string(), 56, 20)?, "{} can't ping {to}", from.name);
    }
    lab.recount()?;
    lab.refused("off", (DropReason::Multicast, "a"), A, |marker| flood(a.ipv4, marker))?;
    lab.dropped_behind("local", &["d"], (DropReason::Multicast, "c"), |marker| {
        c.send(&flood(c.ipv4, marker)?, Door::Queue)
    })?;
    lab.dropped_behind("from the wire", &["host", "host socket"], (DropReason::Multicast, "a"), |marker| {
        lab.lan_sends(&frame::udp4(Link::broadcast(LAN_MAC), quiet.ipv4(LAN), Ipv4Addr::BROADCAST, marker)?)
    })
}

/// A storm fills the queue that all share; beyond a burst of 100, it is cut at its source.
fn storm() -> Result<()> {
    const FRAMES: usize = 300;
    let lab = Lab::new(&[(NET.multicast_rate(1), &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // Its own ARP requests count too.
    static_neighbor(&a.netns, &b.ipv4.to_string())?;
    let sender = PacketSocket::sender(&a.netns, INTERFACE)?;
    let frame = frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, Ipv4Addr::BROADCAST, b"storm")?;
    for _ in 0..FRAMES {
        sender.send(&frame)?;
    }
    let rises = lab.rises()?;
    let cut = rises.iter().find(|rise| rise.reason == DropReason::GroupRate.name() && rise.charged == "a");
    let cut = cut.map_or(0, |rise| rise.count);
    // 100 pass, less what the endpoint's own stack sent before, and one more for each second that this takes.
    ensure!((150..=230).contains(&cut), "{cut} of {FRAMES} were cut: {rises:?}");
    shown::add(DropReason::GroupRate);
    ensure!(a.netns.pings(&b.ipv4.to_string(), 56, 20)?, "unicast suffers from the limit");
    Ok(())
}

fn one_of_each() -> Result<()> {
    let lab = Lab::new(&[(NET, &[])])?;
    for (options, message) in [
        ("-o ipvlan_mode=l3", "parent eth0 is in mode l2 for network 'db_net'"),
        ("-o ipvlan_flag=vepa", "parent eth0 carries network 'db_net' with ipvlan_flag=bridge"),
    ] {
        let words = format!("network create --subnet 10.7.0.0/24 -o parent={INTERFACE} {options} second");
        let refused = lab.sandbox.try_ctl(&words)?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(!refused.status.success() && said.contains(message), "{options}: {said}");
    }
    Ok(())
}
