//! A seal that was seen on one frame and is put on another: root in a container sees those of frames that reach an interface without our
//! programs.

use std::net::Ipv4Addr;

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason::{SourceIpv4, SourceIpv6, Unsealed},
    Hook::{LoopbackEgress, ParentEgress, ParentIngress, SlaveIngress},
    Slot, Verdict,
};
use ipvlan_tests::frame::{self, Link};

use super::{FOREIGN, FROM_LAN, Row, SHARED, Stamp, TO_ALL, TO_LAN, arp, by, drop_for, row, udp4, udp6};
use crate::world::{A, B, INNER, LAN, LAN_MAC, LAN6, PARENT, ROUTED, VEPA_PARENT, ip4, ip6, seal};

/// The seal of `frame` in the name of `slot`, for whatever frame it is put on.
fn of(slot: Slot, frame: &[u8]) -> Stamp {
    Stamp::Raw(slot, seal(slot, frame))
}

pub(super) fn rows() -> Result<Vec<Row>> {
    let to_b = |name, stamp, frame| row(name, SlaveIngress, B, stamp, frame, drop_for(B, Unsealed));
    let out = |name, stamp, frame| row(name, ParentEgress, PARENT, stamp, frame, drop_for(PARENT, Unsealed));
    let routed = |name, frame, verdict| row(name, ParentEgress, PARENT, by(ROUTED), frame, verdict);
    let (unicast, unicast6) = (udp4(SHARED, ip4(A), ip4(INNER))?, udp6(SHARED, ip6(A), ip6(INNER))?);
    let asks = |target| arp(TO_ALL, ArpOperation::REQUEST, super::MAC, ip4(A), target);
    let group = |text: &[u8]| frame::udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST, text);
    let long = |last: u8| group(&[&[0; 75][..], &[last]].concat());
    let wire = Link::broadcast(LAN_MAC);
    Ok(vec![
        to_b("replayed to another peer", of(A, &unicast), udp4(SHARED, ip4(A), ip4(B))?),
        to_b("replayed to another peer, IPv6", of(A, &unicast6), udp6(SHARED, ip6(A), ip6(B))?),
        to_b("replayed as a broadcast", of(A, &udp4(SHARED, ip4(A), ip4(B))?), udp4(TO_ALL, ip4(A), ip4(B))?),
        to_b("replayed ARP for another", of(A, &asks(LAN)?), asks(ip4(B))?),
        to_b("replayed broadcast with another text", of(A, &group(b"one")?), group(b"two")?),
        to_b("replayed broadcast with another last byte", of(A, &long(1)?), long(2)?),
        to_b("replayed broadcast with more behind it", of(A, &group(b"text")?), group(b"text, and more")?),
        to_b(
            "replayed from the wire to another endpoint",
            of(PARENT, &udp4(FROM_LAN, LAN, ip4(A))?),
            udp4(FROM_LAN, LAN, ip4(B))?,
        ),
        to_b(
            "replayed from the wire in another's name",
            of(PARENT, &udp4(FROM_LAN, LAN, ip4(B))?),
            udp4(FROM_LAN, FOREIGN, ip4(B))?,
        ),
        to_b(
            "replayed from the wire, ARP with another MAC",
            of(PARENT, &arp(wire, ArpOperation::REPLY, LAN_MAC, LAN, ip4(B))?),
            arp(wire, ArpOperation::REPLY, super::MAC, LAN, ip4(B))?,
        ),
        out("replayed from a peer to the wire", of(A, &unicast), udp4(TO_LAN, ip4(A), LAN)?),
        out(
            "l3, replayed to another address",
            of(ROUTED, &udp4(SHARED, ip4(ROUTED), FOREIGN)?),
            udp4(TO_LAN, ip4(ROUTED), LAN)?,
        ),
        row(
            "replayed to the host",
            ParentIngress,
            PARENT,
            of(A, &unicast),
            udp4(SHARED, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        row(
            "replayed to the host by way of the switch",
            ParentIngress,
            VEPA_PARENT,
            of(A, &unicast),
            udp4(SHARED, FOREIGN, LAN)?,
            drop_for(VEPA_PARENT, Unsealed),
        ),
        row(
            "l3, replayed to the host",
            LoopbackEgress,
            PARENT,
            of(ROUTED, &udp4(SHARED, ip4(ROUTED), FOREIGN)?),
            udp4(SHARED, ip4(ROUTED), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        routed("l3, with a peer's source", udp4(TO_LAN, ip4(A), LAN)?, drop_for(ROUTED, SourceIpv4)),
        routed("l3, with a peer's source, IPv6", udp6(TO_LAN, ip6(A), LAN6)?, drop_for(ROUTED, SourceIpv6)),
        routed("l3, with its own source", udp4(TO_LAN, ip4(ROUTED), LAN)?, Verdict::Open),
    ])
}
