//! Requests for a neighbour's address: answered, sent to the wire alone, refused, or left as they are.

use anyhow::Result;
use etherparse::ArpOperation as Op;
use ipvlan_common::{
    DropReason::{
        self, ArpSpoof, Flood, GroupMismatch, GroupRate, HostFilter, Internal, NdSpoof, OtherNetwork,
        Private, WireSpoof,
    },
    Hook::{ParentEgress, ParentIngress, SlaveEgress, SlaveIngress},
    Slot, Verdict,
};
use ipvlan_tests::frame::{self, Link};

use super::{NONE, NONE6, Row, SEALED, SHARED, TO_ALL, UNSEALED, arp, aside, by, drop_for, row};
use crate::{
    kernel::reply,
    world::{
        A, B, BEHIND_STACK, HOST, HOST6, INNER, INNER_PEER, LAN, LAN_MAC, LAN6, LOUD, MAC, NEAR, ONLY4,
        ONLY6, OTHER, PARENT, QUIET, ROUTED, SHY, SHY_PEER, SLOW, VEPA_PARENT, ip4, ip6, link_local,
    },
};

const ASIDE: Verdict = Verdict::Aside { seal: 0 };

const fn answer(slot: Slot) -> Verdict {
    Verdict::Answer { slot, seal: 0 }
}

pub(super) fn rows() -> Result<Vec<Row>> {
    Ok([asked_by_endpoints()?, on_their_way()?, asked_by_the_wire()?].into_iter().flatten().collect())
}

fn asked_by_endpoints() -> Result<Vec<Row>> {
    let asks = |name, me, target, verdict| -> Result<Row> {
        let frame = arp(TO_ALL, Op::REQUEST, MAC, ip4(me), target)?;
        Ok(row(name, SlaveEgress, me, UNSEALED, frame, verdict))
    };
    let asks6 = |name, me, target, verdict| -> Result<Row> {
        Ok(row(name, SlaveEgress, me, UNSEALED, frame::who_has(MAC, ip6(me), target)?, verdict))
    };
    let refused = |me, reason: DropReason| drop_for(me, reason);
    let by_a = |name, frame, verdict| row(name, SlaveEgress, A, UNSEALED, frame, verdict);
    let mut nonce = frame::who_has(MAC, ip6(A), ip6(B))?;
    nonce.extend([14, 1, 1, 2, 3, 4, 5, 6]);
    nonce[19] += 8;
    let mut near = frame::who_has(MAC, ip6(A), ip6(B))?;
    near[21] = 254;
    let mut padded = arp(TO_ALL, Op::REQUEST, MAC, ip4(A), ip4(B))?;
    padded.resize(60, 0);
    Ok(vec![
        asks("asks for a peer", A, ip4(B), answer(B))?,
        asks6("asks for a peer, IPv6", A, ip6(B), answer(B))?,
        asks6("asks for a peer's link-local", A, link_local(B), answer(B))?,
        asks("asks for a peer without IPv6", A, ip4(ONLY4), answer(ONLY4))?,
        asks6("asks for a peer without IPv4", A, ip6(ONLY6), answer(ONLY6))?,
        asks("asks for a peer inside", INNER, ip4(INNER_PEER), answer(INNER_PEER))?,
        asks6("asks for a peer inside, IPv6", INNER, ip6(INNER_PEER), answer(INNER_PEER))?,
        by_a("asks for a peer, padded", padded, answer(B)),
        by_a("asks for a peer, from its link-local", frame::who_has(MAC, link_local(A), ip6(B))?, answer(B)),
        asks("asks for the LAN", A, LAN, ASIDE)?,
        asks6("asks for the LAN, IPv6", A, LAN6, ASIDE)?,
        asks("asks for the LAN without multicast", QUIET, LAN, ASIDE)?,
        asks6("asks for the LAN without multicast, IPv6", QUIET, LAN6, ASIDE)?,
        asks("asks for the LAN, local multicast", NEAR, LAN, ASIDE)?,
        asks("asks for the LAN beyond its rate", SLOW, LAN, refused(SLOW, GroupRate))?,
        asks("asks for the host", A, HOST, refused(A, HostFilter))?,
        asks6("asks for the host, IPv6", A, HOST6, refused(A, HostFilter))?,
        asks("asks for another network's", A, ip4(OTHER), refused(A, OtherNetwork))?,
        asks6("asks for another network's, IPv6", A, ip6(OTHER), refused(A, OtherNetwork))?,
        asks("asks for a peer, private", SHY, ip4(SHY_PEER), refused(SHY, Private))?,
        asks6("asks for a peer, private, IPv6", SHY, ip6(SHY_PEER), refused(SHY, Private))?,
        asks("asks for the LAN, private", SHY, LAN, ASIDE)?,
        asks("asks for the LAN from inside", INNER, LAN, refused(INNER, Internal))?,
        asks6("asks for the LAN from inside, IPv6", INNER, LAN6, refused(INNER, Internal))?,
        asks("asks everybody", LOUD, LAN, SEALED)?,
        asks6("asks everybody, IPv6", LOUD, LAN6, SEALED)?,
        asks("asks for itself", A, ip4(A), SEALED)?,
        asks6("asks for itself, IPv6", A, ip6(A), SEALED)?,
        by_a("probes for itself", arp(TO_ALL, Op::REQUEST, MAC, NONE, ip4(A))?, SEALED),
        by_a("detects duplicates", frame::neighbor_solicitation(MAC, NONE6, ip6(A), &[])?, SEALED),
        by_a("asks for a peer in its own frame", arp(SHARED, Op::REQUEST, MAC, ip4(A), ip4(B))?, SEALED),
        by_a("replies to all", arp(TO_ALL, Op::REPLY, MAC, ip4(A), ip4(B))?, SEALED),
        by_a("asks with a nonce beside it, IPv6", nonce, SEALED),
        by_a("asks from farther away, IPv6", near, SEALED),
        by_a("asks without its MAC, IPv6", frame::neighbor_solicitation(MAC, ip6(A), ip6(B), &[])?, SEALED),
        by_a(
            "asks where requests go, past the rate",
            aside(&arp(TO_ALL, Op::REQUEST, MAC, ip4(A), LAN)?),
            refused(A, GroupMismatch),
        ),
        by_a(
            "asks in a peer's name",
            arp(TO_ALL, Op::REQUEST, MAC, ip4(B), ip4(ONLY4))?,
            refused(A, ArpSpoof),
        ),
        by_a(
            "asks with another MAC, IPv6",
            {
                let mut frame = frame::who_has(LAN_MAC, ip6(A), ip6(B))?;
                frame[6..12].copy_from_slice(&MAC);
                frame
            },
            refused(A, NdSpoof),
        ),
    ])
}

/// Replies and requests, judged as any other frame where they come out.
fn on_their_way() -> Result<Vec<Row>> {
    let request = arp(TO_ALL, Op::REQUEST, MAC, ip4(A), LAN)?;
    let request6 = frame::who_has(MAC, ip6(A), LAN6)?;
    let for_peer = arp(TO_ALL, Op::REQUEST, MAC, ip4(A), ip4(B))?;
    let for_peer6 = frame::who_has(MAC, ip6(A), ip6(B))?;
    let from_wire = arp(Link::broadcast(LAN_MAC), Op::REQUEST, LAN_MAC, LAN, ip4(A))?;
    let from_wire6 = frame::who_has(LAN_MAC, LAN6, ip6(A))?;
    let arrives = |name, frame| row(name, SlaveIngress, A, by(B), frame, Verdict::Open);
    let leaves = |name, slot, frame, verdict| row(name, ParentEgress, PARENT, by(slot), frame, verdict);
    let as_peer = aside(&arp(TO_ALL, Op::REQUEST, MAC, ip4(B), LAN)?);
    let inner = aside(&arp(TO_ALL, Op::REQUEST, MAC, ip4(INNER), LAN)?);
    let data = aside(&super::udp4(SHARED, ip4(A), LAN)?);
    Ok(vec![
        arrives("a peer's reply", reply(&for_peer)?),
        arrives("a peer's advertisement", reply(&for_peer6)?),
        leaves("a reply for the LAN", A, reply(&from_wire)?, Verdict::Open),
        leaves("an advertisement for the LAN", A, reply(&from_wire6)?, Verdict::Open),
        leaves("a request for the LAN", A, aside(&request), Verdict::Restore),
        leaves("a request for the LAN, IPv6", A, aside(&request6), Verdict::Restore),
        leaves("no request, to where requests go", A, data, Verdict::Open),
        leaves("a request in a peer's name", A, as_peer, drop_for(A, ArpSpoof)),
        leaves("a request from inside", INNER, inner, drop_for(INNER, Flood)),
    ])
}

fn asked_by_the_wire() -> Result<Vec<Row>> {
    let flood = Link::broadcast(LAN_MAC);
    let asks = |name, target, verdict| -> Result<Row> {
        let frame = arp(flood, Op::REQUEST, LAN_MAC, LAN, target)?;
        Ok(row(name, ParentIngress, PARENT, UNSEALED, frame, verdict))
    };
    let asks6 = |name, target, verdict| -> Result<Row> {
        Ok(row(name, ParentIngress, PARENT, UNSEALED, frame::who_has(LAN_MAC, LAN6, target)?, verdict))
    };
    let other = |name, me, frame, verdict| row(name, ParentIngress, me, UNSEALED, frame, verdict);
    Ok(vec![
        asks("the wire asks for an endpoint", ip4(A), answer(A))?,
        asks6("the wire asks for an endpoint, IPv6", ip6(A), answer(A))?,
        asks6("the wire asks for an endpoint's link-local", link_local(A), answer(A))?,
        asks("the wire asks for a private one", ip4(SHY), answer(SHY))?,
        asks("the wire asks for one without multicast", ip4(QUIET), answer(QUIET))?,
        asks("the wire asks for an internal one", ip4(INNER), SEALED)?,
        asks6("the wire asks for an internal one, IPv6", ip6(INNER), SEALED)?,
        asks("the wire asks for one that asks everybody", ip4(LOUD), SEALED)?,
        asks6("the wire asks for one that asks everybody, IPv6", ip6(LOUD), SEALED)?,
        asks("the wire asks for a routed one", ip4(ROUTED), SEALED)?,
        asks6("the wire asks for a routed one, IPv6", ip6(ROUTED), SEALED)?,
        asks(
            "the wire asks for one behind the stack",
            ip4(BEHIND_STACK),
            Verdict::Deliver { slot: BEHIND_STACK },
        )?,
        asks6("the wire asks for one behind the stack, IPv6", ip6(BEHIND_STACK), SEALED)?,
        asks("the wire asks for the host", HOST, SEALED)?,
        asks6("the wire asks for the host, IPv6", HOST6, SEALED)?,
        other(
            "the wire probes for an endpoint's address",
            PARENT,
            arp(flood, Op::REQUEST, LAN_MAC, NONE, ip4(A))?,
            SEALED,
        ),
        other(
            "the wire detects duplicates of an endpoint's address",
            PARENT,
            frame::neighbor_solicitation(LAN_MAC, NONE6, ip6(A), &[])?,
            SEALED,
        ),
        other(
            "the wire asks in an endpoint's name",
            PARENT,
            arp(flood, Op::REQUEST, LAN_MAC, ip4(B), ip4(A))?,
            drop_for(PARENT, WireSpoof),
        ),
        other(
            "the wire asks with a group's MAC",
            PARENT,
            arp(flood, Op::REQUEST, [0x01, 0, 0x5e, 0, 0, 1], LAN, ip4(A))?,
            SEALED,
        ),
        super::tagged(
            0,
            other(
                "the wire asks by priority",
                PARENT,
                arp(flood, Op::REQUEST, LAN_MAC, LAN, ip4(A))?,
                SEALED,
            ),
        ),
        other("the wire asks, vepa", VEPA_PARENT, arp(flood, Op::REQUEST, LAN_MAC, LAN, ip4(A))?, answer(A)),
    ])
}
