//! The host, other networks, private and internal networks, and frames that go past tc egress.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use etherparse::ArpOperation;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Network,
    frame::{self, Arp, Link},
    harness::{Need, test},
    sandbox::{HOST, LAN, LAN_MAC, PARENT_MAC},
};
use libtest_mimic::Trial;

use crate::lab::{FROM_LAN, Lab, PARENT, SHARED, TO_LAN, datagram, static_neighbor};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const A: (&str, Door) = ("a", Door::Queue);
const A_BYPASS: (&str, Door) = ("a", Door::Bypass);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("isolation::host_filter", NEEDS, host_filter),
        test("isolation::bypass", NEEDS, bypass),
        test("isolation::bypass_with_a_strangers_source", NEEDS, bypass_stranger),
        test("isolation::networks_on_one_parent", NEEDS, networks),
        test("isolation::private_network", NEEDS, private),
        test("isolation::internal_network", NEEDS, internal),
    ]
}

fn host_filter() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let a = lab.endpoint("a");
    let filtered = (DropReason::HostFilter, "a");
    for host in [NET.ipv4(HOST).to_string(), NET.ipv6(HOST).to_string()] {
        static_neighbor(&a.netns, &host)?;
        lab.dropped(&format!("a datagram to {host}"), filtered, |marker| datagram(&a.netns, &host, marker))?;
        ensure!(!a.netns.pings(&host, 56, 1)?, "{host} answers a ping");
    }
    lab.refused("an address that nobody here has", filtered, A, |marker| {
        frame::udp4(SHARED, a.ipv4, Ipv4Addr::new(203, 0, 113, 5), marker)
    })
}

fn bypass() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let at_peer = (DropReason::Unsealed, "b");
    let at_parent = (DropReason::Unsealed, PARENT);
    lab.refused("to a peer", at_peer, A_BYPASS, |marker| frame::udp4(SHARED, a.ipv4, b.ipv4, marker))?;
    lab.refused("to a peer over IPv6", at_peer, A_BYPASS, |marker| {
        frame::udp6(SHARED, a.ipv6, b.ipv6, marker)
    })?;
    lab.refused("to a peer as the gateway", at_peer, A_BYPASS, |marker| {
        frame::udp4(SHARED, NET.ipv4(LAN), b.ipv4, marker)
    })?;
    lab.refused("to the host", at_parent, A_BYPASS, |marker| {
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker)
    })?;
    // ipvlan compares the two MACs with each other, not with the device's.
    let made_up = Link::shared(LAN_MAC);
    lab.refused("to the host with made-up MACs", at_parent, A_BYPASS, |marker| {
        frame::udp4(made_up, a.ipv4, NET.ipv4(HOST), marker)
    })?;
    lab.refused("to the wire", at_parent, A_BYPASS, |marker| {
        frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
    })?;
    lab.refused("to the wire as a peer", at_parent, A_BYPASS, |marker| {
        frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), marker)
    })?;
    lab.refused("to everybody", at_peer, A_BYPASS, |marker| {
        frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, Ipv4Addr::BROADCAST, marker)
    })
}

/// No endpoint has the source, so nothing in the frame says that it came from one.
fn bypass_stranger() -> Result<()> {
    let lab = Lab::new(&[(Network::bridge("vault_net", 3).internal(), &["a"])])?;
    let at_parent = (DropReason::Unsealed, PARENT);
    let lan = lab.endpoint("a").network.ipv4(LAN);
    lab.refused("from elsewhere", at_parent, A_BYPASS, |marker| {
        frame::udp4(TO_LAN, Ipv4Addr::new(203, 0, 113, 5), lan, marker)
    })?;
    lab.refused("as the host", at_parent, A_BYPASS, |marker| {
        frame::udp4(TO_LAN, lab.endpoint("a").network.ipv4(HOST), lan, marker)
    })?;
    lab.refused("ARP as the gateway", at_parent, A_BYPASS, |marker| {
        let claim = Arp { operation: ArpOperation::REPLY, sender_mac: PARENT_MAC, sender: lan, target: lan };
        frame::arp(TO_LAN, claim, marker)
    })?;
    lab.refused("ARP as the gateway, to all", at_parent, A_BYPASS, |marker| {
        let claim = Arp { operation: ArpOperation::REPLY, sender_mac: PARENT_MAC, sender: lan, target: lan };
        frame::arp(Link::broadcast(PARENT_MAC), claim, marker)
    })
}

fn networks() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"]), (Network::bridge("web_net", 2), &["c"])])?;
    let (a, c) = (lab.endpoint("a"), lab.endpoint("c"));
    let other = (DropReason::OtherNetwork, "a");
    for address in [c.ipv4.to_string(), c.ipv6.to_string()] {
        static_neighbor(&a.netns, &address)?;
        lab.dropped(&format!("a datagram to {address}"), other, |marker| {
            datagram(&a.netns, &address, marker)
        })?;
    }
    lab.dropped_behind("a broadcast stays in its network", &["lan"], (DropReason::Flood, "c"), |marker| {
        a.send(&frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, Ipv4Addr::BROADCAST, marker)?, Door::Queue)
    })?;
    // The LAN host routes: what comes back has an endpoint's source.
    lab.dropped_behind("by way of the gateway", &["lan"], (DropReason::WireSpoof, PARENT), |marker| {
        a.send(&frame::udp4(TO_LAN, a.ipv4, c.ipv4, marker)?, Door::Queue)
    })?;
    for endpoint in [a, c] {
        let gateway = endpoint.network.ipv4(LAN).to_string();
        ensure!(endpoint.netns.pings(&gateway, 56, 20)?, "{} can't ping {gateway}", endpoint.name);
    }
    Ok(())
}

fn private() -> Result<()> {
    let lab = Lab::new(&[(NET.private(), &["a", "b"]), (Network::bridge("web_net", 2), &["c", "d"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    lab.refused("to a peer", (DropReason::Private, "a"), A, |marker| {
        frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
    })?;
    lab.refused("to a peer over IPv6", (DropReason::Private, "a"), A, |marker| {
        frame::udp6(SHARED, a.ipv6, b.ipv6, marker)
    })?;
    lab.dropped_behind("a broadcast passes the peer by", &["lan"], (DropReason::Flood, "b"), |marker| {
        a.send(&frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, Ipv4Addr::BROADCAST, marker)?, Door::Queue)
    })?;
    lab.refused("to a peer past tc egress", (DropReason::Unsealed, "b"), A_BYPASS, |marker| {
        frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
    })?;
    lab.dropped_behind(
        "to a peer by way of the gateway",
        &["lan"],
        (DropReason::WireSpoof, PARENT),
        |marker| a.send(&frame::udp4(TO_LAN, a.ipv4, b.ipv4, marker)?, Door::Queue),
    )?;
    ensure!(!a.netns.pings(&b.ipv4.to_string(), 56, 1)?, "private endpoints ping each other");
    ensure!(a.netns.pings(&NET.ipv4(LAN).to_string(), 56, 20)?, "no answer from the gateway");
    let (c, d) = (lab.endpoint("c"), lab.endpoint("d"));
    ensure!(c.netns.pings(&d.ipv4.to_string(), 56, 20)?, "the bridge network beside it doesn't work");
    Ok(())
}

fn internal() -> Result<()> {
    let lab = Lab::new(&[(NET.internal(), &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let out = (DropReason::Internal, "a");
    lab.refused("to the LAN host", out, A, |marker| frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker))?;
    lab.refused("to the LAN host over IPv6", out, A, |marker| {
        frame::udp6(TO_LAN, a.ipv6, NET.ipv6(LAN), marker)
    })?;
    lab.refused("past tc egress", (DropReason::Unsealed, PARENT), A_BYPASS, |marker| {
        frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
    })?;
    lab.delivered("a broadcast stays here", &["b"], |marker| {
        a.send(&frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, Ipv4Addr::BROADCAST, marker)?, Door::Queue)
    })?;
    lab.dropped("from the LAN host", (DropReason::Internal, "a"), |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, NET.ipv4(LAN), a.ipv4, marker)?)
    })?;
    lab.delivered("a broadcast from the LAN host", &["host", "host socket"], |marker| {
        lab.lan_sends(&frame::udp4(Link::broadcast(LAN_MAC), NET.ipv4(LAN), Ipv4Addr::BROADCAST, marker)?)
    })?;
    lab.refused("to the host", (DropReason::HostFilter, "a"), A, |marker| {
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker)
    })?;
    for peer in [b.ipv4.to_string(), b.ipv6.to_string()] {
        ensure!(a.netns.pings(&peer, 56, 20)?, "{peer} doesn't answer its peer");
    }
    let routes = a.netns.ip("route show default")?;
    ensure!(routes.trim().is_empty(), "an internal endpoint has a default route: {routes}");
    Ok(())
}
