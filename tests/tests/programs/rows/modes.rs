//! What modes l3 and l3s, the flag vepa and the multicast setting change.

use std::net::Ipv4Addr;

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason::{
        EtherType, GroupMismatch, GroupRate, HostFilter, Internal, Malformed, Multicast, OtherNetwork,
        SourceIpv4, SourceIpv6, Unsealed,
    },
    Hook::{LoopbackEgress, ParentEgress, ParentIngress, SlaveEgress, SlaveIngress},
    Slot, Verdict,
};
use ipvlan_tests::frame::Link;

use super::{
    ALL_NODES, ALL_NODES_MAC, FOREIGN, FROM_LAN, NONE, Origin, Row, SEALED, SHARED, TO_ALL, TO_LAN, UNSEALED,
    arp, by, drop_for, row, udp4, udp6,
};
use crate::world::{
    A, B, BEHIND_STACK, HOST, HOST6, INNER, INNER_PEER, LAN, LAN_MAC, LAN6, MAC, NATTED, NEAR, OTHER, PARENT,
    QUIET, ROUTED, ROUTED_INNER, ROUTED_INNER_PEER, ROUTED_QUIET, SLOW, VEPA_PARENT, ip4, ip6, link_local,
};

pub(super) fn rows() -> Result<Vec<Row>> {
    let parts = [routed()?, vepa()?, multicast()?];
    Ok(parts.into_iter().flatten().collect())
}

fn routed() -> Result<Vec<Row>> {
    let sends = |name, me: Slot, frame, verdict| row(name, SlaveEgress, me, UNSEALED, frame, verdict);
    let loopback = |name, seal, frame, verdict| row(name, LoopbackEgress, PARENT, seal, frame, verdict);
    let out = |name, seal, frame, verdict| row(name, ParentEgress, PARENT, seal, frame, verdict);
    let inner_out = drop_for(ROUTED_INNER, Internal);
    let mut cut = udp4(TO_LAN, ip4(ROUTED), LAN)?;
    cut.truncate(20);
    Ok(vec![
        sends("l3, own", ROUTED, udp4(SHARED, ip4(ROUTED), FOREIGN)?, SEALED),
        sends("l3, a peer's source", ROUTED, udp4(SHARED, ip4(A), FOREIGN)?, drop_for(ROUTED, SourceIpv4)),
        sends(
            "l3, a multicast for the host to route",
            ROUTED,
            udp4(SHARED, ip4(ROUTED), Ipv4Addr::new(224, 0, 0, 251))?,
            drop_for(ROUTED, GroupMismatch),
        ),
        sends(
            "l3, a multicast for the host to route, IPv6",
            ROUTED,
            udp6(SHARED, ip6(ROUTED), ALL_NODES)?,
            drop_for(ROUTED, GroupMismatch),
        ),
        sends(
            "l3s, a multicast for the host to route, IPv6",
            BEHIND_STACK,
            udp6(SHARED, ip6(BEHIND_STACK), ALL_NODES)?,
            drop_for(BEHIND_STACK, GroupMismatch),
        ),
        sends(
            "l3, ARP",
            ROUTED,
            arp(TO_ALL, ArpOperation::REQUEST, MAC, ip4(ROUTED), LAN)?,
            drop_for(ROUTED, EtherType),
        ),
        sends(
            "l3 internal, to its peer",
            ROUTED_INNER,
            udp4(SHARED, ip4(ROUTED_INNER), ip4(ROUTED_INNER_PEER))?,
            SEALED,
        ),
        sends(
            "l3 internal, to its peer, IPv6",
            ROUTED_INNER,
            udp6(SHARED, ip6(ROUTED_INNER), ip6(ROUTED_INNER_PEER))?,
            SEALED,
        ),
        sends("l3 internal, out", ROUTED_INNER, udp4(SHARED, ip4(ROUTED_INNER), FOREIGN)?, inner_out),
        sends("l3 internal, out, IPv6", ROUTED_INNER, udp6(SHARED, ip6(ROUTED_INNER), LAN6)?, inner_out),
        sends(
            "l3 internal, to another network",
            ROUTED_INNER,
            udp4(SHARED, ip4(ROUTED_INNER), ip4(A))?,
            inner_out,
        ),
        out("l3, to the wire", by(ROUTED), udp4(TO_LAN, ip4(ROUTED), LAN)?, Verdict::Open),
        out("l3, to the wire, IPv6", by(ROUTED), udp6(TO_LAN, ip6(ROUTED), LAN6)?, Verdict::Open),
        out(
            "l3, to the wire as the host",
            by(ROUTED),
            udp4(TO_LAN, HOST, LAN)?,
            drop_for(ROUTED, SourceIpv4),
        ),
        out(
            "l3, to the wire as the host, IPv6",
            by(ROUTED),
            udp6(TO_LAN, HOST6, LAN6)?,
            drop_for(ROUTED, SourceIpv6),
        ),
        out(
            "l3, to the wire as a peer",
            by(ROUTED),
            udp4(TO_LAN, ip4(A), LAN)?,
            drop_for(ROUTED, SourceIpv4),
        ),
        out("l3, to the wire as nobody", by(ROUTED), udp4(TO_LAN, NONE, LAN)?, drop_for(ROUTED, SourceIpv4)),
        out("l3 with NAT, as the host", by(NATTED), udp4(TO_LAN, HOST, LAN)?, Verdict::Open),
        out("l3 with NAT, as the host, IPv6", by(NATTED), udp6(TO_LAN, HOST6, LAN6)?, Verdict::Open),
        out("l3 with NAT, as itself", by(NATTED), udp4(TO_LAN, ip4(NATTED), LAN)?, Verdict::Open),
        out("l3 with NAT, as a peer", by(NATTED), udp4(TO_LAN, ip4(A), LAN)?, drop_for(NATTED, SourceIpv4)),
        out(
            "l3 with NAT, as a stranger",
            by(NATTED),
            udp4(TO_LAN, FOREIGN, LAN)?,
            drop_for(NATTED, SourceIpv4),
        ),
        out("l3, cut short behind the sender's egress", by(ROUTED), cut, drop_for(ROUTED, Malformed)),
        row(
            "l3s, from the wire",
            ParentIngress,
            PARENT,
            UNSEALED,
            udp4(FROM_LAN, LAN, ip4(BEHIND_STACK))?,
            Verdict::Deliver { slot: BEHIND_STACK },
        ),
        loopback(
            "l3, to the host",
            by(ROUTED),
            udp4(SHARED, ip4(ROUTED), HOST)?,
            drop_for(ROUTED, HostFilter),
        ),
        loopback(
            "l3, to the host, IPv6",
            by(ROUTED),
            udp6(SHARED, ip6(ROUTED), LAN6)?,
            drop_for(ROUTED, HostFilter),
        ),
        loopback(
            "l3, to the host past the sender's egress",
            UNSEALED,
            udp4(SHARED, ip4(ROUTED), HOST)?,
            drop_for(PARENT, Unsealed),
        ),
        Row {
            origin: Origin::Elsewhere,
            ..loopback(
                "l3, to the host past the sender's egress, as a stranger",
                UNSEALED,
                udp4(SHARED, FOREIGN, HOST)?,
                drop_for(PARENT, Unsealed),
            )
        },
        Row {
            origin: Origin::Elsewhere,
            ..loopback(
                "l3, to the host past the sender's egress, as the host",
                UNSEALED,
                udp6(SHARED, LAN6, LAN6)?,
                drop_for(PARENT, Unsealed),
            )
        },
        loopback(
            "the host to itself",
            UNSEALED,
            udp4(SHARED, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)?,
            Verdict::Pass,
        ),
    ])
}

fn vepa() -> Result<Vec<Row>> {
    let at = |name, frame, verdict| row(name, ParentIngress, VEPA_PARENT, UNSEALED, frame, verdict);
    let back = Link { source: MAC, destination: MAC };
    let from = |slot| Verdict::Seal { slot, seal: 0 };
    Ok(vec![
        at("vepa, back from the switch", udp4(back, ip4(A), ip4(B))?, from(A)),
        at("vepa, back from the switch, IPv6", udp6(back, link_local(A), ip6(B))?, from(A)),
        // The peers had theirs when it was sent: only the host would get it now.
        at("vepa, a broadcast back", udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?, drop_for(A, HostFilter)),
        at(
            "vepa, a multicast back, IPv6",
            udp6(Link { destination: ALL_NODES_MAC, ..TO_LAN }, ip6(A), ALL_NODES)?,
            drop_for(A, HostFilter),
        ),
        at(
            "vepa, ARP back",
            arp(TO_ALL, ArpOperation::REQUEST, MAC, ip4(A), ip4(B))?,
            drop_for(A, HostFilter),
        ),
        at("vepa, ARP for one receiver back", arp(back, ArpOperation::REPLY, MAC, ip4(A), ip4(B))?, from(A)),
        at(
            "vepa, back from the switch for another network",
            udp4(back, ip4(OTHER), ip4(BEHIND_STACK))?,
            drop_for(OTHER, OtherNetwork),
        ),
        at(
            "vepa, an internal endpoint's address back",
            udp4(back, ip4(INNER), ip4(INNER_PEER))?,
            drop_for(INNER, Internal),
        ),
        at(
            "vepa, an internal endpoint's address back, IPv6",
            udp6(back, ip6(INNER), ip6(B))?,
            drop_for(INNER, Internal),
        ),
        at("vepa, to the host by way of the switch", udp4(back, ip4(A), HOST)?, drop_for(A, HostFilter)),
        at(
            "vepa, the parent's MAC from nobody here",
            udp4(back, FOREIGN, ip4(B))?,
            drop_for(VEPA_PARENT, Unsealed),
        ),
        at("vepa, from the wire", udp4(FROM_LAN, LAN, ip4(B))?, SEALED),
        row(
            "vepa, back from the switch to another network",
            SlaveIngress,
            B,
            by(OTHER),
            udp4(back, ip4(OTHER), ip4(B))?,
            drop_for(OTHER, OtherNetwork),
        ),
    ])
}

fn multicast() -> Result<Vec<Row>> {
    let flood = |slot| udp4(TO_ALL, ip4(slot), Ipv4Addr::BROADCAST);
    let wire = udp4(Link::broadcast(LAN_MAC), LAN, Ipv4Addr::BROADCAST)?;
    let wire_arp = arp(Link::broadcast(LAN_MAC), ArpOperation::REQUEST, LAN_MAC, LAN, ip4(QUIET))?;
    let ask = |slot| arp(TO_ALL, ArpOperation::REQUEST, MAC, ip4(slot), LAN);
    Ok(vec![
        row("no multicast, sent", SlaveEgress, QUIET, UNSEALED, flood(QUIET)?, drop_for(QUIET, Multicast)),
        row("no multicast, but ARP", SlaveEgress, QUIET, UNSEALED, ask(QUIET)?, Verdict::Aside { seal: 0 }),
        row(
            "no multicast, but unicast",
            SlaveEgress,
            QUIET,
            UNSEALED,
            udp4(TO_LAN, ip4(QUIET), LAN)?,
            SEALED,
        ),
        row(
            "no multicast, received",
            SlaveIngress,
            QUIET,
            by(PARENT),
            wire.clone(),
            drop_for(QUIET, Multicast),
        ),
        row("no multicast, but ARP received", SlaveIngress, QUIET, by(PARENT), wire_arp, Verdict::Open),
        row(
            "beyond its rate, a broadcast",
            SlaveEgress,
            SLOW,
            UNSEALED,
            flood(SLOW)?,
            drop_for(SLOW, GroupRate),
        ),
        row("beyond its rate, ARP", SlaveEgress, SLOW, UNSEALED, ask(SLOW)?, drop_for(SLOW, GroupRate)),
        row(
            "beyond its rate, but unicast",
            SlaveEgress,
            SLOW,
            UNSEALED,
            udp4(TO_LAN, ip4(SLOW), LAN)?,
            SEALED,
        ),
        row("local multicast, sent", SlaveEgress, NEAR, UNSEALED, flood(NEAR)?, SEALED),
        row(
            "local multicast, to the wire",
            ParentEgress,
            PARENT,
            by(NEAR),
            flood(NEAR)?,
            drop_for(NEAR, Multicast),
        ),
        row("local multicast, ARP to the wire", ParentEgress, PARENT, by(NEAR), ask(NEAR)?, Verdict::Open),
        row(
            "l3, no multicast, to the wire",
            ParentEgress,
            PARENT,
            by(ROUTED_QUIET),
            udp6(Link { destination: ALL_NODES_MAC, ..TO_LAN }, ip6(ROUTED_QUIET), ALL_NODES)?,
            drop_for(ROUTED_QUIET, Multicast),
        ),
        row(
            "beyond its rate, a broadcast in a frame for one receiver",
            SlaveEgress,
            SLOW,
            UNSEALED,
            udp4(TO_LAN, ip4(SLOW), Ipv4Addr::BROADCAST)?,
            drop_for(SLOW, GroupMismatch),
        ),
        row(
            "local multicast, from the wire",
            SlaveIngress,
            NEAR,
            by(PARENT),
            wire,
            drop_for(NEAR, Multicast),
        ),
    ])
}
