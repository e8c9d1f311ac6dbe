//! What root in a container can do to its own interface, and what comes of it.

use std::net::Ipv4Addr;

use anyhow::Result;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Network, frame,
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN},
};
use libtest_mimic::Trial;

use crate::lab::{Lab, PARENT, SHARED, TO_LAN};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("root_inside::rewrites_behind_the_program", NEEDS, rewrites_behind_the_program),
        test("root_inside::makes_a_sibling_slave", NEEDS, makes_a_sibling_slave),
    ]
}

/// A classifier behind our program changes a frame that has its seal already, which is of no use on the new one. With `ok` as its
/// last word the kernel also takes the slot off (Linux 6.12, tc_run).
fn rewrites_behind_the_program() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // Where there is no TCX, ours is on it already.
    let _already_there = a.netns.tc(&format!("qdisc add dev {INTERFACE} clsact"));
    let queue = ("a", Door::Queue);
    for last_word in ["continue", "ok"] {
        a.netns.tc(&format!(
            "filter add dev {INTERFACE} egress protocol ip prio 10 matchall \
             action pedit ex munge ip src set {STRANGER} pipe action csum ip and udp {last_word}"
        ))?;
        let to_wire = (DropReason::Unsealed, PARENT);
        lab.refused(&format!("to the wire, {last_word}"), to_wire, queue, |marker| {
            frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
        })?;
        let to_peer = (DropReason::Unsealed, "b");
        lab.refused(&format!("to a peer, {last_word}"), to_peer, queue, |marker| {
            frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
        })?;
        a.netns.tc(&format!("filter del dev {INTERFACE} egress protocol ip prio 10"))?;
    }
    Ok(())
}

/// A second slave on the same parent, with no program of ours.
fn makes_a_sibling_slave() -> Result<()> {
    const SIBLING: &str = "eth1";
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    a.netns.ip(&format!("link add link {INTERFACE} name {SIBLING} type ipvlan mode l2"))?;
    a.netns.ip(&format!("link set {SIBLING} up"))?;
    let host = NET.ipv4(HOST);
    for (what, charged, link, source, destination) in [
        ("to a peer", "b", SHARED, a.ipv4, b.ipv4),
        ("to a peer as a stranger", "b", SHARED, STRANGER, b.ipv4),
        ("to the host", PARENT, SHARED, a.ipv4, host),
        ("to the wire", PARENT, TO_LAN, a.ipv4, NET.ipv4(LAN)),
        ("to the wire as a stranger", PARENT, TO_LAN, STRANGER, NET.ipv4(LAN)),
        ("to the wire as the host", PARENT, TO_LAN, host, NET.ipv4(LAN)),
    ] {
        lab.dropped(what, (DropReason::Unsealed, charged), |marker| {
            let frame = frame::udp4(link, source, destination, marker)?;
            PacketSocket::sender(&a.netns, SIBLING, Door::Queue)?.send(&frame)
        })?;
    }
    Ok(())
}
