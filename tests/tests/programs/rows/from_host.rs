//! What the host sends to endpoints that may speak with it, and nobody else in the name of either.

use anyhow::Result;
use etherparse::ArpOperation as Op;
use ipvlan_common::{
    DropReason::{HostFilter, SourceIpv4, Unsealed, WireSpoof},
    Hook::{ParentEgress, ParentIngress, ParentXdp, SlaveIngress},
    Verdict,
};
use ipvlan_tests::frame::{self, Link};

use super::{
    ALL_NODES, ALL_NODES_MAC, FOREIGN, FROM_LAN, Origin, Row, SHARED, Stamp, TO_ALL, TO_LAN, UNSEALED, arp,
    by, drop_for, row, tagged, udp4, udp6,
};
use crate::{
    kernel::reply,
    world::{
        A, B, BEHIND_STACK, GRANTED, GRANTED_BEHIND_STACK, GRANTED_INNER, GRANTED_ROUTED, HOST, HOST6, LAN,
        LAN_MAC, MAC, PARENT, ROUTED, VEPA_PARENT, ip4, ip6, link_local,
    },
};

const ANSWERED: Verdict = Verdict::Answer { slot: PARENT, seal: 0 };
const TURNED: Verdict = Verdict::Turn { seal: 0 };
const FOR_HOST: Verdict = Verdict::Admit { receiver: None };

pub(super) fn rows() -> Result<Vec<Row>> {
    let parts = [asked_by_host()?, from_host()?, pretended()?];
    Ok(parts.into_iter().flatten().collect())
}

fn asked_by_host() -> Result<Vec<Row>> {
    let at = |name, frame, verdict| row(name, ParentEgress, PARENT, UNSEALED, frame, verdict);
    let asks = |name, target, verdict| -> Result<Row> {
        Ok(at(name, arp(TO_ALL, Op::REQUEST, MAC, HOST, target)?, verdict))
    };
    let asks6 =
        |name, target, verdict| -> Result<Row> { Ok(at(name, frame::who_has(MAC, HOST6, target)?, verdict)) };
    let comes_in = |name, stamp, frame, verdict| row(name, ParentIngress, PARENT, stamp, frame, verdict);
    let mut to_one = frame::who_has(MAC, HOST6, ip6(GRANTED_ROUTED))?;
    to_one[..6].copy_from_slice(&MAC);
    to_one[38..54].copy_from_slice(&ip6(GRANTED_ROUTED).octets());
    let replied = reply(&arp(TO_ALL, Op::REQUEST, MAC, HOST, ip4(GRANTED_ROUTED))?)?;
    let replied6 = reply(&frame::who_has(MAC, HOST6, ip6(GRANTED))?)?;
    Ok(vec![
        asks("the host asks for one that is granted", ip4(GRANTED), ANSWERED)?,
        asks6("the host asks for one that is granted, IPv6", ip6(GRANTED), ANSWERED)?,
        asks6("the host asks for the link-local of one that is granted", link_local(GRANTED), ANSWERED)?,
        asks("the host asks for one inside that is granted", ip4(GRANTED_INNER), ANSWERED)?,
        asks("the host asks for one in l3 that is granted", ip4(GRANTED_ROUTED), ANSWERED)?,
        asks6("the host asks for one in l3s that is granted, IPv6", ip6(GRANTED_BEHIND_STACK), ANSWERED)?,
        at(
            "the host makes sure of one that is granted",
            arp(SHARED, Op::REQUEST, MAC, HOST, ip4(GRANTED_ROUTED))?,
            ANSWERED,
        ),
        at("the host makes sure of one that is granted, IPv6", to_one, ANSWERED),
        asks("the host asks for one that isn't granted", ip4(A), Verdict::Pass)?,
        asks6("the host asks for one that isn't granted, IPv6", ip6(A), Verdict::Pass)?,
        asks("the host asks for the LAN", LAN, Verdict::Pass)?,
        at(
            "the host asks with another MAC",
            arp(TO_ALL, Op::REQUEST, LAN_MAC, HOST, ip4(GRANTED))?,
            Verdict::Pass,
        ),
        at(
            "the host asks from an address that isn't on the parent",
            arp(TO_ALL, Op::REQUEST, MAC, FOREIGN, ip4(GRANTED))?,
            Verdict::Pass,
        ),
        comes_in("granted, l3, what the host is answered", Stamp::OfHost, replied.clone(), FOR_HOST),
        comes_in("granted, what the host is answered, IPv6", Stamp::OfHost, replied6, FOR_HOST),
        comes_in(
            "granted, what the host is answered by the wire",
            UNSEALED,
            replied,
            drop_for(PARENT, Unsealed),
        ),
    ])
}

fn from_host() -> Result<Vec<Row>> {
    let at = |name, frame, verdict| row(name, ParentEgress, PARENT, UNSEALED, frame, verdict);
    let comes_in = |name, frame, verdict| row(name, ParentIngress, PARENT, Stamp::OfHost, frame, verdict);
    let arrives = |name, me, frame, verdict| row(name, SlaveIngress, me, Stamp::OfHost, frame, verdict);
    let to = |slot| udp4(SHARED, HOST, ip4(slot));
    let to6 = |slot| udp6(SHARED, HOST6, ip6(slot));
    let by_stack = Verdict::Admit { receiver: Some(GRANTED_BEHIND_STACK) };
    Ok(vec![
        at("the host, to one that is granted", to(GRANTED)?, TURNED),
        at("the host, to one that is granted, IPv6", to6(GRANTED)?, TURNED),
        at(
            "the host, to the link-local of one that is granted",
            udp6(SHARED, HOST6, link_local(GRANTED))?,
            TURNED,
        ),
        at("the host, to one inside that is granted", to(GRANTED_INNER)?, TURNED),
        at("the host, to one in l3 that is granted", to(GRANTED_ROUTED)?, TURNED),
        at("the host, to one in l3s that is granted, IPv6", to6(GRANTED_BEHIND_STACK)?, TURNED),
        at("the host answers one that is granted", arp(SHARED, Op::REPLY, MAC, HOST, ip4(GRANTED))?, TURNED),
        at("the host, to one that isn't granted", to(A)?, drop_for(A, HostFilter)),
        at("the host, to one that isn't granted, IPv6", to6(A)?, drop_for(A, HostFilter)),
        at(
            "the host, to one in l3s that isn't granted",
            to(BEHIND_STACK)?,
            drop_for(BEHIND_STACK, HostFilter),
        ),
        at(
            "the host, to one that is granted by another MAC",
            udp4(TO_LAN, HOST, ip4(GRANTED))?,
            Verdict::Pass,
        ),
        at("the host, to all, for one that is granted", udp4(TO_ALL, HOST, ip4(GRANTED))?, Verdict::Pass),
        at(
            "the host, to a group",
            udp6(Link { destination: ALL_NODES_MAC, ..TO_LAN }, HOST6, ALL_NODES)?,
            Verdict::Pass,
        ),
        at("the host announces itself", arp(TO_ALL, Op::REQUEST, MAC, HOST, HOST)?, Verdict::Pass),
        at(
            "the host, as somebody else, to one that is granted",
            udp4(SHARED, FOREIGN, ip4(GRANTED))?,
            drop_for(GRANTED, HostFilter),
        ),
        at(
            "the host, tells one that is granted another MAC",
            arp(SHARED, Op::REPLY, LAN_MAC, HOST, ip4(GRANTED))?,
            drop_for(GRANTED, HostFilter),
        ),
        tagged(7, at("a VLAN on the parent, to one that is granted", to(GRANTED)?, Verdict::Pass)),
        comes_in("granted, from the host", to(GRANTED)?, Verdict::Pass),
        comes_in("granted, l3, from the host, IPv6", to6(GRANTED_ROUTED)?, Verdict::Pass),
        comes_in("granted, l3s, from the host", to(GRANTED_BEHIND_STACK)?, by_stack),
        comes_in("granted, l3s, from the host, IPv6", to6(GRANTED_BEHIND_STACK)?, by_stack),
        comes_in("no longer granted, from the host", to(A)?, drop_for(A, HostFilter)),
        comes_in(
            "no longer granted, l3s, from the host",
            to(BEHIND_STACK)?,
            drop_for(BEHIND_STACK, HostFilter),
        ),
        arrives("granted, reached by the host", GRANTED, to(GRANTED)?, Verdict::Open),
        arrives("granted, reached by the host, IPv6", GRANTED, to6(GRANTED)?, Verdict::Open),
        arrives("granted inside, reached by the host", GRANTED_INNER, to(GRANTED_INNER)?, Verdict::Open),
        arrives("granted, l3, reached by the host", GRANTED_ROUTED, to(GRANTED_ROUTED)?, Verdict::Open),
        arrives("not granted, reached by the host", A, to(A)?, drop_for(A, Unsealed)),
    ])
}

/// Those who pretend to be the host, or to be from there.
fn pretended() -> Result<Vec<Row>> {
    let to = |slot| udp4(SHARED, HOST, ip4(slot));
    let out = |name, stamp, origin, frame, verdict| Row {
        origin,
        ..row(name, ParentEgress, PARENT, stamp, frame, verdict)
    };
    let arrives = |name, stamp, frame, verdict| row(name, SlaveIngress, GRANTED, stamp, frame, verdict);
    let unsealed = drop_for(PARENT, Unsealed);
    let spoofed = drop_for(PARENT, WireSpoof);
    let from_wire = udp4(FROM_LAN, HOST, ip4(GRANTED))?;
    let from_wire6 = udp6(FROM_LAN, HOST6, ip6(GRANTED))?;
    let seal_of_wire = super::seal(PARENT, &to(GRANTED)?);
    let replayed = Stamp::Raw(PARENT, super::seal_of_host(&to(GRANTED_INNER)?));
    Ok(vec![
        out(
            "a slave past its egress, as the host to one that is granted",
            UNSEALED,
            Origin::Elsewhere,
            to(GRANTED)?,
            unsealed,
        ),
        out(
            "a slave past its egress, asks as the host",
            UNSEALED,
            Origin::Queue,
            arp(TO_ALL, Op::REQUEST, MAC, HOST, ip4(GRANTED))?,
            unsealed,
        ),
        out(
            "a peer, as the host to one that is granted",
            by(A),
            Origin::Elsewhere,
            to(GRANTED)?,
            drop_for(A, SourceIpv4),
        ),
        out(
            "l3, a peer, as the host to one that is granted",
            by(ROUTED),
            Origin::Elsewhere,
            to(GRANTED_ROUTED)?,
            drop_for(ROUTED, SourceIpv4),
        ),
        out(
            "what the host passes on in its own name, to one that is granted",
            UNSEALED,
            Origin::Forwarded,
            to(GRANTED)?,
            drop_for(GRANTED, HostFilter),
        ),
        out(
            "what the host passes on in its own name, asks",
            UNSEALED,
            Origin::Forwarded,
            arp(SHARED, Op::REQUEST, MAC, HOST, ip4(GRANTED))?,
            drop_for(GRANTED, HostFilter),
        ),
        out(
            "as one that is granted, to another",
            UNSEALED,
            Origin::Here,
            udp4(SHARED, ip4(GRANTED), ip4(B))?,
            unsealed,
        ),
        row(
            "wire, as the host to one that is granted",
            ParentIngress,
            PARENT,
            UNSEALED,
            from_wire.clone(),
            spoofed,
        ),
        row(
            "wire, as the host to one that is granted, IPv6",
            ParentIngress,
            PARENT,
            UNSEALED,
            from_wire6.clone(),
            spoofed,
        ),
        row("wire, as the host to one that is granted", ParentXdp, PARENT, UNSEALED, from_wire, spoofed),
        row(
            "wire, as the host to one that is granted, IPv6",
            ParentXdp,
            PARENT,
            UNSEALED,
            from_wire6,
            spoofed,
        ),
        row("from the host, before the kernel", ParentXdp, PARENT, UNSEALED, to(GRANTED)?, Verdict::Pass),
        row(
            "wire, as the host with its MAC to one that is granted",
            ParentIngress,
            PARENT,
            UNSEALED,
            to(GRANTED)?,
            unsealed,
        ),
        row(
            "vepa, as the host back from the switch to one that is granted",
            ParentIngress,
            VEPA_PARENT,
            UNSEALED,
            to(GRANTED)?,
            drop_for(VEPA_PARENT, Unsealed),
        ),
        row(
            "the wire's seal on a frame of the host's",
            ParentIngress,
            PARENT,
            Stamp::Raw(PARENT, seal_of_wire),
            to(GRANTED)?,
            unsealed,
        ),
        row("the host's seal of another frame", ParentIngress, PARENT, replayed, to(GRANTED)?, unsealed),
        arrives("granted, a peer as the host", by(A), to(GRANTED)?, drop_for(A, SourceIpv4)),
        arrives("granted, unsealed as the host", UNSEALED, to(GRANTED)?, drop_for(GRANTED, Unsealed)),
        arrives(
            "granted, the host's seal of another frame",
            replayed,
            to(GRANTED)?,
            drop_for(GRANTED, Unsealed),
        ),
        arrives(
            "granted, the host's seal in another's slot",
            Stamp::Raw(A, super::seal_of_host(&to(GRANTED)?)),
            to(GRANTED)?,
            drop_for(GRANTED, Unsealed),
        ),
        row(
            "the host's seal, to the wire",
            ParentEgress,
            PARENT,
            Stamp::OfHost,
            udp4(TO_LAN, ip4(GRANTED), LAN)?,
            unsealed,
        ),
    ])
}
