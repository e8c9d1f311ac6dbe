//! What endpoints that may speak with the host send to it, and what they may not.

use anyhow::Result;
use etherparse::ArpOperation as Op;
use ipvlan_common::{
    DropReason::{
        ArpSpoof, EtherType, HostFilter, Internal, NdSpoof, RouterMessage, SourceIpv4, SourceIpv6, Unsealed,
        WireSpoof,
    },
    Hook::{LoopbackEgress, ParentIngress, SlaveEgress, SlaveIngress},
    Slot, Verdict,
};
use ipvlan_tests::frame::{self};

use super::{
    FOREIGN, FROM_LAN, Origin, Row, SEALED, SHARED, Stamp, TO_ALL, UNSEALED, arp, by, drop_for, row, udp4,
    udp6,
};
use crate::{
    kernel::reply,
    world::{
        A, GRANTED, GRANTED_BEHIND_STACK, GRANTED_INNER, GRANTED_LOUD, GRANTED_ROUTED, GRANTED_ROUTED_INNER,
        HOST, HOST6, LAN, LAN6, LOUD, MAC, OTHER, PARENT, ROUTED, ip4, ip6, link_local,
    },
};

/// In the host's name, or for the host.
const ANSWERED: Verdict = Verdict::Answer { slot: PARENT, seal: 0 };
const FOR_HOST: Verdict = Verdict::Admit { receiver: None };

pub(super) fn rows() -> Result<Vec<Row>> {
    let parts = [asked_by_endpoints()?, to_host()?, by_loopback()?];
    Ok(parts.into_iter().flatten().collect())
}

fn asked_by_endpoints() -> Result<Vec<Row>> {
    let asks = |name, me, target, verdict| -> Result<Row> {
        Ok(row(name, SlaveEgress, me, UNSEALED, arp(TO_ALL, Op::REQUEST, MAC, ip4(me), target)?, verdict))
    };
    let asks6 = |name, me, target, verdict| -> Result<Row> {
        Ok(row(name, SlaveEgress, me, UNSEALED, frame::who_has(MAC, ip6(me), target)?, verdict))
    };
    let answer = |slot| Verdict::Answer { slot, seal: 0 };
    let gets = |name, stamp, frame, verdict| row(name, SlaveIngress, GRANTED, stamp, frame, verdict);
    let for_host = reply(&arp(TO_ALL, Op::REQUEST, MAC, ip4(GRANTED), HOST)?)?;
    let for_host6 = reply(&frame::who_has(MAC, ip6(GRANTED), HOST6)?)?;
    Ok(vec![
        asks("granted, asks for the host", GRANTED, HOST, ANSWERED)?,
        asks6("granted, asks for the host, IPv6", GRANTED, HOST6, ANSWERED)?,
        asks("granted inside, asks for the host", GRANTED_INNER, HOST, ANSWERED)?,
        asks("granted, asks everybody but for the host", GRANTED_LOUD, HOST, ANSWERED)?,
        asks6("granted, asks everybody but for the host, IPv6", GRANTED_LOUD, HOST6, ANSWERED)?,
        asks("granted, asks everybody", GRANTED_LOUD, ip4(LOUD), SEALED)?,
        asks6("granted, asks everybody, IPv6", GRANTED_LOUD, LAN6, SEALED)?,
        asks("granted, asks for a peer", GRANTED, ip4(A), answer(A))?,
        asks("granted, asks for the LAN", GRANTED, LAN, Verdict::Aside { seal: 0 })?,
        asks("granted inside, asks for the LAN", GRANTED_INNER, LAN, drop_for(GRANTED_INNER, Internal))?,
        asks("granted, l3, asks for the host", GRANTED_ROUTED, HOST, drop_for(GRANTED_ROUTED, EtherType))?,
        row(
            "granted, asks for the host in a peer's name",
            SlaveEgress,
            GRANTED,
            UNSEALED,
            arp(TO_ALL, Op::REQUEST, MAC, ip4(A), HOST)?,
            drop_for(GRANTED, ArpSpoof),
        ),
        row(
            "a peer of one that is granted, asks for the host",
            SlaveEgress,
            A,
            UNSEALED,
            arp(TO_ALL, Op::REQUEST, MAC, ip4(A), HOST)?,
            drop_for(A, HostFilter),
        ),
        gets("granted, the host's reply", Stamp::OfHost, for_host.clone(), Verdict::Open),
        gets("granted, the host's advertisement", Stamp::OfHost, for_host6, Verdict::Open),
        gets("granted, a peer's reply in the host's name", by(A), for_host, drop_for(A, ArpSpoof)),
    ])
}

/// What comes to the host by its parent, in mode l2.
fn to_host() -> Result<Vec<Row>> {
    let at = |name, stamp, frame, verdict| row(name, ParentIngress, PARENT, stamp, frame, verdict);
    let spoof = |reason| drop_for(GRANTED, reason);
    let past = |name, frame| at(name, UNSEALED, frame, drop_for(PARENT, Unsealed));
    Ok(vec![
        row(
            "granted, to the host",
            SlaveEgress,
            GRANTED,
            UNSEALED,
            udp4(SHARED, ip4(GRANTED), HOST)?,
            SEALED,
        ),
        at("granted, at the host", by(GRANTED), udp4(SHARED, ip4(GRANTED), HOST)?, FOR_HOST),
        at("granted, at the host, IPv6", by(GRANTED), udp6(SHARED, ip6(GRANTED), HOST6)?, FOR_HOST),
        at(
            "granted, at the host from its link-local",
            by(GRANTED),
            udp6(SHARED, link_local(GRANTED), HOST6)?,
            FOR_HOST,
        ),
        at(
            "granted inside, at the host",
            by(GRANTED_INNER),
            udp4(SHARED, ip4(GRANTED_INNER), HOST)?,
            FOR_HOST,
        ),
        at(
            "granted, makes sure of the host",
            by(GRANTED),
            arp(SHARED, Op::REQUEST, MAC, ip4(GRANTED), HOST)?,
            FOR_HOST,
        ),
        at(
            "granted, answers the host, IPv6",
            by(GRANTED),
            reply(&frame::who_has(MAC, HOST6, ip6(GRANTED))?)?,
            FOR_HOST,
        ),
        at(
            "granted, to what the host would pass on",
            by(GRANTED),
            udp4(SHARED, ip4(GRANTED), LAN)?,
            spoof(HostFilter),
        ),
        at(
            "granted, to what the host would pass on, IPv6",
            by(GRANTED),
            udp6(SHARED, ip6(GRANTED), LAN6)?,
            spoof(HostFilter),
        ),
        at(
            "granted, to a peer by its host",
            by(GRANTED),
            udp4(SHARED, ip4(GRANTED), ip4(A))?,
            spoof(HostFilter),
        ),
        at("granted, to the host as a peer", by(GRANTED), udp4(SHARED, ip4(A), HOST)?, spoof(SourceIpv4)),
        at(
            "granted, to the host as a peer, IPv6",
            by(GRANTED),
            udp6(SHARED, ip6(A), HOST6)?,
            spoof(SourceIpv6),
        ),
        at(
            "granted, to the host as another network's",
            by(GRANTED),
            udp4(SHARED, ip4(OTHER), HOST)?,
            spoof(SourceIpv4),
        ),
        at("granted, to the host as itself", by(GRANTED), udp4(SHARED, HOST, HOST)?, spoof(SourceIpv4)),
        at(
            "granted, tells the host of a peer's MAC",
            by(GRANTED),
            arp(SHARED, Op::REPLY, MAC, ip4(A), HOST)?,
            spoof(ArpSpoof),
        ),
        at(
            "granted, tells the host of a peer's MAC, IPv6",
            by(GRANTED),
            {
                let mut frame = reply(&frame::who_has(MAC, HOST6, ip6(A))?)?;
                frame[22..38].copy_from_slice(&ip6(GRANTED).octets());
                frame
            },
            spoof(NdSpoof),
        ),
        at(
            "a peer of one that is granted, to the host",
            by(A),
            udp4(SHARED, ip4(A), HOST)?,
            drop_for(A, HostFilter),
        ),
        at(
            "a peer of one that is granted, to the host as that",
            by(A),
            udp4(SHARED, ip4(GRANTED), HOST)?,
            drop_for(A, HostFilter),
        ),
        past("granted, past its egress", udp4(SHARED, ip4(GRANTED), HOST)?),
        past("granted, past its egress, IPv6", udp6(SHARED, ip6(GRANTED), HOST6)?),
        past("past its egress, as the host to one that is granted", udp4(SHARED, HOST, ip4(GRANTED))?),
        at(
            "wire, as one that is granted",
            UNSEALED,
            udp4(FROM_LAN, ip4(GRANTED), HOST)?,
            drop_for(PARENT, WireSpoof),
        ),
    ])
}

/// The same in modes l3 and l3s.
fn by_loopback() -> Result<Vec<Row>> {
    let at = |name, slot: Slot, frame, verdict| row(name, LoopbackEgress, PARENT, by(slot), frame, verdict);
    let refused = |reason| drop_for(GRANTED_ROUTED, reason);
    let elsewhere = |name, frame| Row {
        origin: Origin::Elsewhere,
        ..row(name, LoopbackEgress, PARENT, UNSEALED, frame, drop_for(PARENT, Unsealed))
    };
    // Its seal is of who it is for, and not of what it says.
    let mut advertised = frame::router_advertisement(MAC, link_local(GRANTED_ROUTED), &[])?;
    advertised[..6].copy_from_slice(&MAC);
    advertised[38..54].copy_from_slice(&HOST6.octets());
    Ok(vec![
        at(
            "l3, granted, to the host",
            GRANTED_ROUTED,
            udp4(SHARED, ip4(GRANTED_ROUTED), HOST)?,
            Verdict::Pass,
        ),
        at(
            "l3, granted, to the host, IPv6",
            GRANTED_ROUTED,
            udp6(SHARED, ip6(GRANTED_ROUTED), HOST6)?,
            Verdict::Pass,
        ),
        at(
            "l3s, granted, to the host",
            GRANTED_BEHIND_STACK,
            udp4(SHARED, ip4(GRANTED_BEHIND_STACK), HOST)?,
            Verdict::Pass,
        ),
        at(
            "l3, granted, to another address of the host's",
            GRANTED_ROUTED,
            udp6(SHARED, ip6(GRANTED_ROUTED), LAN6)?,
            refused(HostFilter),
        ),
        at("l3, granted, a router's advertisement", GRANTED_ROUTED, advertised, refused(RouterMessage)),
        at("l3, granted, as a peer", GRANTED_ROUTED, udp4(SHARED, ip4(ROUTED), HOST)?, refused(SourceIpv4)),
        at(
            "l3, granted, as a peer, IPv6",
            GRANTED_ROUTED,
            udp6(SHARED, ip6(ROUTED), HOST6)?,
            refused(SourceIpv6),
        ),
        at("l3, granted, as a stranger", GRANTED_ROUTED, udp4(SHARED, FOREIGN, HOST)?, refused(SourceIpv4)),
        at("l3, granted, as the host", GRANTED_ROUTED, udp4(SHARED, HOST, HOST)?, refused(SourceIpv4)),
        at(
            "l3, a peer of one that is granted, as that",
            ROUTED,
            udp4(SHARED, ip4(GRANTED_ROUTED), HOST)?,
            drop_for(ROUTED, HostFilter),
        ),
        at(
            "granted in mode l2, by the loopback",
            GRANTED,
            udp4(SHARED, ip4(GRANTED), HOST)?,
            drop_for(GRANTED, HostFilter),
        ),
        elsewhere("l3, granted, past its egress", udp4(SHARED, ip4(GRANTED_ROUTED), HOST)?),
        row(
            "l3 internal, granted, to the host",
            SlaveEgress,
            GRANTED_ROUTED_INNER,
            UNSEALED,
            udp4(SHARED, ip4(GRANTED_ROUTED_INNER), HOST)?,
            drop_for(GRANTED_ROUTED_INNER, Internal),
        ),
        row(
            "l3 internal, granted, out",
            SlaveEgress,
            GRANTED_ROUTED_INNER,
            UNSEALED,
            udp4(SHARED, ip4(GRANTED_ROUTED_INNER), FOREIGN)?,
            drop_for(GRANTED_ROUTED_INNER, Internal),
        ),
    ])
}
