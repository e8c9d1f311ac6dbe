//! Who asks for a neighbour's address is answered on the spot, or asks the wire alone; nobody else hears it.

use std::{thread, time::Instant};

use anyhow::{Context as _, Result, ensure};
use etherparse::{ArpOperation, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use ipvlan_tests::{
    Door, Netns, Network, Stats,
    frame::{self, Arp, BROADCAST, Link},
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN_MAC, PARENT_MAC, mac},
    watch::{ARRIVAL, SETTLE},
};
use libtest_mimic::Trial;

use crate::lab::{Lab, PARENT, eventually};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("suppress::a_peer_is_answered_for", NEEDS, peer),
        test("suppress::the_wire_alone_is_asked", NEEDS, wire),
        test("suppress::the_wire_is_answered", NEEDS, from_the_wire),
        test("suppress::everybody_is_asked_where_it_is_off", NEEDS, off),
        test("suppress::duplicates_are_still_found", NEEDS, duplicates),
        test("suppress::requests_are_no_load", NEEDS, load),
    ]
}

/// What comes in at an interface, before any program.
struct Tap(PacketSocket);

/// A request or a reply: who says it, and for whom or of whom.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    is_request: bool,
    address: String,
    to: [u8; 6],
}

impl Tap {
    fn on(netns: &Netns) -> Result<Self> {
        Ok(Self(PacketSocket::wiretap(netns, INTERFACE)?))
    }

    /// All that was said of neighbours since the last look.
    fn said(&self) -> Result<Vec<Said>> {
        thread::sleep(SETTLE);
        let mut all = Vec::new();
        while let Some(frame) = self.0.receive()? {
            all.extend(said(&frame));
        }
        Ok(all)
    }

    /// Whether somebody has asked for `address` since the last look.
    fn was_asked(&self, address: &str) -> Result<bool> {
        Ok(self.said()?.iter().any(|it| it.is_request && it.address == address))
    }
}

fn said(frame: &[u8]) -> Option<Said> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let to = frame.first_chunk().copied()?;
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Arp(arp)), _) => {
            let arp = arp.to_packet().try_eth_ipv4().ok()?;
            let is_request = arp.operation == ArpOperation::REQUEST;
            let address =
                std::net::Ipv4Addr::from(if is_request { arp.target_ipv4 } else { arp.sender_ipv4 });
            Some(Said { is_request, address: address.to_string(), to })
        }
        (_, Some(TransportSlice::Icmpv6(message))) => {
            let is_request = match message.icmp_type() {
                Icmpv6Type::NeighborSolicitation => true,
                Icmpv6Type::NeighborAdvertisement(_) => false,
                _ => return None,
            };
            let target: [u8; 16] = message.payload().first_chunk().copied()?;
            Some(Said { is_request, address: std::net::Ipv6Addr::from(target).to_string(), to })
        }
        _ => None,
    }
}

/// Pings by addresses whose MAC has to be found first.
fn finds(from: &Netns, address: &str, at: [u8; 6]) -> Result<()> {
    from.ip(&format!("neigh flush dev {INTERFACE}"))?;
    ensure!(from.pings(address, 56, 20)?, "{address} doesn't answer");
    let known = from.ip(&format!("neigh show {address} dev {INTERFACE}"))?;
    ensure!(known.contains(&mac(at)), "{address} is at {known}, not at {}", mac(at));
    Ok(())
}

fn counts(lab: &Lab, name: &str) -> Result<(u64, u64)> {
    let stats = Stats::read(&lab.sandbox)?;
    let row = stats.row(name).with_context(|| format!("no counters of {name}"))?;
    Ok((row.answered, row.aside))
}

fn peer() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b", "c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    let (bystander, receiver, lan) = (Tap::on(&c.netns)?, Tap::on(&b.netns)?, Tap::on(&lab.sandbox.lan)?);
    for address in [b.ipv4.to_string(), b.ipv6.to_string()] {
        let before = counts(&lab, "a")?;
        finds(&a.netns, &address, PARENT_MAC)?;
        ensure!(counts(&lab, "a")?.0 > before.0, "{address}: nothing was answered on the spot");
        for (who, tap) in [("c", &bystander), ("b", &receiver), ("the LAN", &lan)] {
            ensure!(!tap.was_asked(&address)?, "{who} was asked for {address}");
        }
    }
    Ok(())
}

fn wire() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "c"])])?;
    let (a, c) = (lab.endpoint("a"), lab.endpoint("c"));
    let (bystander, lan) = (Tap::on(&c.netns)?, Tap::on(&lab.sandbox.lan)?);
    for address in [NET.ipv4(1).to_string(), NET.ipv6(1).to_string()] {
        let before = counts(&lab, "a")?;
        finds(&a.netns, &address, LAN_MAC)?;
        ensure!(counts(&lab, "a")?.1 > before.1, "{address}: nothing was asked of the wire alone");
        ensure!(!bystander.was_asked(&address)?, "c was asked for {address}");
        let asked = lan.said()?;
        let request = asked.iter().find(|it| it.is_request && it.address == address);
        let to = request.with_context(|| format!("the LAN wasn't asked for {address}: {asked:?}"))?.to;
        ensure!(to[0] & 1 == 1, "asked in a frame to {}", mac(to));
    }
    Ok(())
}

fn from_the_wire() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "c"])])?;
    let (a, c) = (lab.endpoint("a"), lab.endpoint("c"));
    let taps = [("a", Tap::on(&a.netns)?), ("c", Tap::on(&c.netns)?)];
    for address in [a.ipv4.to_string(), a.ipv6.to_string()] {
        let before = counts(&lab, PARENT)?;
        finds(&lab.sandbox.lan, &address, PARENT_MAC)?;
        ensure!(counts(&lab, PARENT)?.0 > before.0, "{address}: nothing was answered on the spot");
        for (who, tap) in &taps {
            ensure!(!tap.was_asked(&address)?, "{who} was asked for {address}");
        }
    }
    Ok(())
}

fn off() -> Result<()> {
    let lab = Lab::new(&[(NET.asking_all(), &["a", "b", "c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    // Broadcasts reach every slave; of a solicitation's group, only who is in it.
    let (bystander, receiver) = (Tap::on(&c.netns)?, Tap::on(&b.netns)?);
    finds(&a.netns, &b.ipv4.to_string(), PARENT_MAC)?;
    ensure!(bystander.was_asked(&b.ipv4.to_string())?, "c wasn't asked");
    finds(&a.netns, &b.ipv6.to_string(), PARENT_MAC)?;
    ensure!(receiver.was_asked(&b.ipv6.to_string())?, "b wasn't asked");
    finds(&lab.sandbox.lan, &a.ipv4.to_string(), PARENT_MAC)?;
    ensure!(bystander.was_asked(&a.ipv4.to_string())?, "c wasn't asked by the LAN");
    ensure!(counts(&lab, "a")? == (0, 0), "something was answered on the spot");
    Ok(())
}

/// Of the wire's by endpoints, and of endpoints' by the wire.
fn duplicates() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    let a = lab.endpoint("a");
    // As arping -D does (RFC 5227).
    let lan = Tap::on(&lab.sandbox.lan)?;
    let probe =
        Arp { operation: ArpOperation::REQUEST, sender_mac: LAN_MAC, sender: [0; 4].into(), target: a.ipv4 };
    lab.lan_sends(&frame::arp(Link { source: LAN_MAC, destination: BROADCAST }, probe, &[])?)?;
    let begin = Instant::now();
    let mut heard = Vec::new();
    while !heard.iter().any(|it: &Said| !it.is_request && it.address == a.ipv4.to_string()) {
        ensure!(begin.elapsed() < ARRIVAL, "nobody denies the LAN {}: {heard:?}", a.ipv4);
        heard.extend(lan.said()?);
    }
    let (lan, address) = (&lab.sandbox.lan, a.ipv6);
    lan.sysctl(&format!("net/ipv6/conf/{INTERFACE}/accept_dad"), "1")?;
    lan.ip(&format!("addr add {address}/64 dev {INTERFACE}"))?;
    eventually(&format!("{address} being found taken"), || {
        Ok(lan.ip(&format!("addr show dev {INTERFACE}"))?.contains("dadfailed"))
    })?;
    let taken = lab.sandbox.netns("late")?;
    let output =
        lab.sandbox.try_ctl(&format!("attach {} --netns {} --ip {}", NET.name, taken.name(), NET.ipv4(1)))?;
    ensure!(!output.status.success(), "the LAN's own address is given away");
    Ok(())
}

/// A flood of requests costs neither peers nor the queue that all share.
fn load() -> Result<()> {
    const REQUESTS: usize = 2_000;
    let lab = Lab::new(&[(NET, &["a", "b", "c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    let bystander = Tap::on(&c.netns)?;
    let request =
        Arp { operation: ArpOperation::REQUEST, sender_mac: PARENT_MAC, sender: a.ipv4, target: b.ipv4 };
    let request = frame::arp(Link { source: PARENT_MAC, destination: BROADCAST }, request, &[])?;
    let before = counts(&lab, "a")?;
    for _ in 0..REQUESTS {
        a.send(&request, Door::Queue)?;
    }
    let answered = counts(&lab, "a")?.0 - before.0;
    ensure!(answered >= REQUESTS as u64, "{answered} of {REQUESTS} were answered");
    ensure!(!bystander.was_asked(&b.ipv4.to_string())?, "c was asked");
    // The host stays out of it, and is not reached by a question either.
    let before = counts(&lab, "a")?;
    let pings = a.netns.pings(&NET.ipv4(HOST).to_string(), 56, 1)?;
    ensure!(!pings && counts(&lab, "a")? == before, "the host is answered for");
    Ok(())
}
