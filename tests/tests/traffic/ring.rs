//! A frame that its sender can still change once it was judged, since most of it lies in memory of the sender's own.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use ipvlan_tests::{
    Marker, Network, Ring,
    frame::{self, Link},
    harness::{Need, test},
    packet::{ETH_IPV4, PacketSocket},
    ring::SLOTS,
    sandbox::{INTERFACE, LAN, PARENT_MAC},
};
use libtest_mimic::Trial;

use crate::lab::{Lab, SHARED, TO_LAN, eventually};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Where a frame has its IPv4 source.
const SOURCE: usize = 14 + 12;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("ring::to_everybody", NEEDS, to_everybody)];
    for mode in ["l2", "l3", "l3s"] {
        tests
            .push(test(&format!("ring::{mode}_what_was_judged_is_what_leaves"), NEEDS, move || leaves(mode)));
    }
    tests
}

/// The parent's queue holds the frame back behind our programs, while its source becomes a peer's.
fn leaves(mode: &'static str) -> Result<()> {
    let net = NET.mode(mode);
    let lab = Lab::new(&[(net, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let link = if mode == "l2" { TO_LAN } else { SHARED };
    // The host knows the LAN host's MAC: what waits for that waits elsewhere.
    ensure!(lab.sandbox.host.pings(&net.ipv4(LAN).to_string(), 56, 20)?, "the host can't ping the LAN host");
    lab.sandbox.host.tc(&format!("qdisc add dev {INTERFACE} root netem delay 300ms"))?;
    let tap = PacketSocket::wiretap(&lab.sandbox.lan, INTERFACE)?;
    let mut ring = Ring::new(&a.netns, INTERFACE)?;
    let markers = [Marker::unique()];
    let slot = ring.send(&frame::udp4(link, a.ipv4, net.ipv4(LAN), markers[0].bytes())?)?;
    ring.overwrite(slot, SOURCE, &b.ipv4.octets())?;
    ensure!(sources(&tap, &markers)?.is_empty(), "the frame left before it was changed");
    let mut seen = Vec::new();
    eventually("the frame's arrival", || {
        seen.extend(sources(&tap, &markers)?);
        Ok(!seen.is_empty())
    })?;
    ensure!(seen == [a.ipv4], "left as {seen:?}");
    Ok(())
}

/// ipvlan's own queue for broadcasts gives some time too.
fn to_everybody() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let taps = [
        ("lan", PacketSocket::wiretap(&lab.sandbox.lan, INTERFACE)?),
        ("b", PacketSocket::accepted(&b.netns, INTERFACE, ETH_IPV4)?),
    ];
    let mut ring = Ring::new(&a.netns, INTERFACE)?;
    let markers: Vec<_> = (0..SLOTS).map(|_| Marker::unique()).collect();
    for marker in &markers {
        let link = Link::broadcast(PARENT_MAC);
        let slot = ring.send(&frame::udp4(link, a.ipv4, Ipv4Addr::BROADCAST, marker.bytes())?)?;
        ring.overwrite(slot, SOURCE, &b.ipv4.octets())?;
    }
    for (place, tap) in &taps {
        let mut seen = Vec::new();
        eventually(&format!("all frames' arrival at {place}"), || {
            seen.extend(sources(tap, &markers)?);
            ensure!(seen.iter().all(|source| *source == a.ipv4), "came to {place} as {seen:?}");
            Ok(seen.len() == SLOTS)
        })?;
    }
    Ok(())
}

/// From whom the marked frames are, by what they say, that have arrived since the last look.
fn sources(tap: &PacketSocket, markers: &[Marker]) -> Result<Vec<Ipv4Addr>> {
    let mut sources = Vec::new();
    while let Some(frame) = tap.receive()? {
        if markers.iter().any(|marker| marker.is_in(&frame))
            && let Some(source) = frame[SOURCE..].first_chunk::<4>()
        {
            sources.push(Ipv4Addr::from(*source));
        }
    }
    Ok(sources)
}
