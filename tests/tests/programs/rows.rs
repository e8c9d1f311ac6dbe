//! The rules as a table: a frame at a hook, and what must become of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason::{self, *},
    Hook::{self, *},
    Slot, Verdict,
    types::Mac,
};
use ipvlan_tests::frame::{self, Arp, BROADCAST, Link};

use crate::world::{
    A, B, INNER, INNER_PEER, LAN, LAN_MAC, LAN6, MAC, NOBODY, ONLY4, OTHER, PARENT, SHY, SHY_PEER, ip4, ip6,
    link_local, seal,
};

/// One row.
pub(crate) struct Row {
    /// What it shows.
    pub(crate) name: &'static str,
    /// Where the frame is.
    pub(crate) hook: Hook,
    /// Whose program looks at it.
    pub(crate) me: Slot,
    /// The frame.
    pub(crate) frame: Vec<u8>,
    /// What `tc_index` and `hash` say when it arrives.
    pub(crate) seal: (Slot, u32),
    /// What must become of it.
    pub(crate) verdict: Verdict,
}

const UNSEALED: (Slot, u32) = (0, 0);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const NONE6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const FOREIGN: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const TO_LAN: Link = Link {
    source: MAC,
    destination: LAN_MAC,
};
const FROM_LAN: Link = Link {
    source: LAN_MAC,
    destination: MAC,
};
const SHARED: Link = Link {
    source: MAC,
    destination: MAC,
};
const TO_ALL: Link = Link {
    source: MAC,
    destination: BROADCAST,
};

fn by(slot: Slot) -> (Slot, u32) {
    (slot, seal(slot))
}

fn drop_for(slot: Slot, reason: DropReason) -> Verdict {
    Verdict::Drop { slot, reason }
}

fn row(name: &'static str, hook: Hook, me: Slot, seal: (Slot, u32), frame: Vec<u8>, verdict: Verdict) -> Row {
    Row {
        name,
        hook,
        me,
        frame,
        seal,
        verdict,
    }
}

/// What A sends, at its own egress.
fn sends(name: &'static str, frame: Vec<u8>, refused: Option<DropReason>) -> Row {
    row(
        name,
        SlaveEgress,
        A,
        UNSEALED,
        frame,
        refused.map_or(Verdict::Seal, |reason| drop_for(A, reason)),
    )
}

fn udp4(link: Link, source: Ipv4Addr, destination: Ipv4Addr) -> Result<Vec<u8>> {
    frame::udp4(link, source, destination, b"payload")
}

fn udp6(link: Link, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Vec<u8>> {
    frame::udp6(link, source, destination, b"payload")
}

fn arp(
    link: Link,
    operation: ArpOperation,
    sender_mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
) -> Result<Vec<u8>> {
    frame::arp(
        link,
        Arp {
            operation,
            sender_mac,
            sender,
            target,
        },
        &[],
    )
}

/// An IPv6 frame to all nodes whose payload is `chain`, behind a header of kind `next`.
fn ipv6(source: Ipv6Addr, next: u8, chain: &[u8]) -> Result<Vec<u8>> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(chain.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[next, 255]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&ALL_NODES.octets());
    packet.extend_from_slice(chain);
    frame::raw(
        Link {
            source: MAC,
            destination: ALL_NODES_MAC,
        },
        0x86dd,
        &packet,
    )
}

/// A neighbour discovery message about `target` with link-layer address options.
fn neighbour(kind: u8, target: Ipv6Addr, options: &[(u8, Mac)]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    for (kind, mac) in options {
        message.extend_from_slice(&[*kind, 1]);
        message.extend_from_slice(mac);
    }
    message
}

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Extension header of `kind` bytes: `next`, length, and zeros.
fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; (usize::from(units) + 1) * 8];
    header[0] = next;
    header[1] = units;
    // PadN over the rest, as a real options header has.
    header[2] = 1;
    header[3] = (header.len() - 4) as u8;
    header
}

fn after(mut first: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    first.extend_from_slice(rest);
    first
}

/// Every row.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut rows = sender_rows()?;
    rows.extend(neighbour_rows()?);
    rows.extend(receiver_rows()?);
    rows.extend(parent_ingress_rows()?);
    rows.extend(parent_egress_rows()?);
    Ok(rows)
}

fn sender_rows() -> Result<Vec<Row>> {
    use ArpOperation as Op;
    // The kernel's test run itself refuses short IP frames, so the short ones here are ARP.
    let mut short = arp(TO_ALL, Op::REQUEST, MAC, ip4(A), LAN)?;
    short.truncate(30);
    let mut long = udp4(TO_LAN, ip4(A), LAN)?;
    long[16..18].copy_from_slice(&2000u16.to_be_bytes());
    let mut no_header = udp4(TO_LAN, ip4(A), LAN)?;
    no_header[14] = 0x44;
    let mut six_in_four = udp4(TO_LAN, ip4(A), LAN)?;
    six_in_four[14] = 0x65;
    let mut stp = vec![0x42, 0x42, 3];
    stp.resize(50, 0);
    Ok(vec![
        sends("own IPv4", udp4(TO_LAN, ip4(A), LAN)?, None),
        sends("own IPv6", udp6(TO_LAN, ip6(A), LAN6)?, None),
        sends("own link-local", udp6(TO_LAN, link_local(A), LAN6)?, None),
        sends("own broadcast", udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?, None),
        sends("peer's IPv4 source", udp4(TO_LAN, ip4(B), LAN)?, Some(SourceIpv4)),
        sends(
            "off-net IPv4 source",
            udp4(TO_LAN, FOREIGN, LAN)?,
            Some(SourceIpv4),
        ),
        sends(
            "loopback source",
            udp4(SHARED, Ipv4Addr::LOCALHOST, LAN)?,
            Some(SourceIpv4),
        ),
        sends(
            "no IPv4 source",
            udp4(TO_ALL, NONE, Ipv4Addr::BROADCAST)?,
            Some(SourceIpv4),
        ),
        sends(
            "peer's IPv6 source",
            udp6(TO_LAN, ip6(B), LAN6)?,
            Some(SourceIpv6),
        ),
        sends(
            "peer's link-local source",
            udp6(TO_LAN, link_local(B), LAN6)?,
            Some(SourceIpv6),
        ),
        sends("no IPv6 source", udp6(TO_LAN, NONE6, LAN6)?, Some(SourceIpv6)),
        sends("forged MAC", udp4(FROM_LAN, ip4(A), ip4(B))?, Some(SourceMac)),
        sends(
            "VLAN tag",
            frame::vlan_udp4(TO_LAN, ip4(A), LAN, b"x")?,
            Some(VlanTag),
        ),
        sends("QinQ tag", frame::raw(TO_LAN, 0x88a8, &[0; 46])?, Some(VlanTag)),
        sends("LLDP", frame::raw(TO_LAN, 0x88cc, &[0; 46])?, Some(EtherType)),
        sends("EAPOL", frame::raw(TO_LAN, 0x888e, &[0; 46])?, Some(EtherType)),
        sends("LACP", frame::raw(TO_LAN, 0x8809, &[0; 46])?, Some(EtherType)),
        sends("PAUSE", frame::raw(TO_LAN, 0x8808, &[0; 46])?, Some(EtherType)),
        sends("STP", frame::raw(TO_LAN, 50, &stp)?, Some(ProtocolMismatch)),
        sends("cut in the ARP message", short, Some(Malformed)),
        sends("IPv4 longer than the frame", long, Some(Malformed)),
        sends("IPv4 header of 16 bytes", no_header, Some(Malformed)),
        sends("version 6 under IPv4's EtherType", six_in_four, Some(Malformed)),
        sends(
            "own ARP request",
            arp(TO_ALL, Op::REQUEST, MAC, ip4(A), LAN)?,
            None,
        ),
        sends("own ARP reply", arp(TO_LAN, Op::REPLY, MAC, ip4(A), LAN)?, None),
        sends(
            "own gratuitous ARP",
            arp(TO_ALL, Op::REQUEST, MAC, ip4(A), ip4(A))?,
            None,
        ),
        sends(
            "own ARP probe",
            arp(TO_ALL, Op::REQUEST, MAC, NONE, ip4(A))?,
            None,
        ),
        sends(
            "ARP for the gateway",
            arp(TO_ALL, Op::REPLY, MAC, LAN, LAN)?,
            Some(ArpSpoof),
        ),
        sends(
            "ARP from a peer",
            arp(TO_ALL, Op::REQUEST, MAC, ip4(B), ip4(B))?,
            Some(ArpSpoof),
        ),
        sends(
            "ARP with another MAC inside",
            arp(TO_ALL, Op::REPLY, LAN_MAC, ip4(A), LAN)?,
            Some(ArpSpoof),
        ),
        sends(
            "ARP probe that denies a peer",
            arp(TO_ALL, Op::REQUEST, MAC, NONE, ip4(B))?,
            Some(ArpSpoof),
        ),
        sends(
            "ARP reply from nobody",
            arp(TO_ALL, Op::REPLY, MAC, NONE, ip4(A))?,
            Some(ArpSpoof),
        ),
        sends(
            "RARP inside ARP",
            arp(TO_ALL, Op(3), MAC, ip4(A), ip4(A))?,
            Some(ArpSpoof),
        ),
        sends(
            "ARP for another hardware",
            frame::raw(
                TO_ALL,
                0x0806,
                &[
                    0, 6, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            )?,
            Some(Malformed),
        ),
        row(
            "IPv6 without an address of that kind",
            SlaveEgress,
            ONLY4,
            UNSEALED,
            udp6(TO_LAN, ip6(ONLY4), LAN6)?,
            drop_for(ONLY4, SourceIpv6),
        ),
        row(
            "IPv6 from nobody without an address of that kind",
            SlaveEgress,
            ONLY4,
            UNSEALED,
            udp6(TO_LAN, NONE6, LAN6)?,
            drop_for(ONLY4, SourceIpv6),
        ),
    ])
}

fn neighbour_rows() -> Result<Vec<Row>> {
    let ask = |target, options: &[(u8, Mac)]| neighbour(SOLICITATION, target, options);
    let tell = |target, options: &[(u8, Mac)]| neighbour(ADVERTISEMENT, target, options);
    let own = |message: &[u8]| ipv6(ip6(A), ICMPV6, message);
    let nobody = |message: &[u8]| ipv6(NONE6, ICMPV6, message);
    let fragment = |offset: u16, more: u16| {
        let [high, low] = ((offset << 3) | more).to_be_bytes();
        vec![ICMPV6, 0, high, low, 0, 0, 0, 1]
    };
    let advert = tell(ip6(B), &[(2, MAC)]);
    let chain = |length: usize, last: &[u8]| {
        let mut bytes = Vec::new();
        for index in 0..length {
            bytes.extend(extension(if index + 1 == length { ICMPV6 } else { 60 }, 0));
        }
        after(bytes, last)
    };
    let routing = |kind: u8| vec![17, 0, kind, 0, 0, 0, 0, 0];
    let udp = [0x10, 0x92, 0x10, 0x92, 0, 8, 0, 0];
    let report = [143, 0, 0, 0, 0, 0, 0, 0];
    let mut zero_option = ask(ip6(B), &[(1, MAC)]);
    zero_option[25] = 0;
    Ok(vec![
        sends("asks for a peer", own(&ask(ip6(B), &[(1, MAC)]))?, None),
        sends(
            "asks with another's MAC",
            own(&ask(ip6(B), &[(1, LAN_MAC)]))?,
            Some(NdSpoof),
        ),
        sends(
            "asks with another's MAC in the second option",
            own(&ask(ip6(B), &[(1, MAC), (1, LAN_MAC)]))?,
            Some(NdSpoof),
        ),
        sends(
            "asks with a nonce",
            own(&ask(ip6(B), &[(14, LAN_MAC), (1, MAC)]))?,
            None,
        ),
        sends("option of no length", own(&zero_option)?, Some(Malformed)),
        sends(
            "more options than are read",
            own(&ask(ip6(B), &[(14, MAC); 5]))?,
            Some(HeaderChain),
        ),
        sends("detects a duplicate of its own", nobody(&ask(ip6(A), &[]))?, None),
        sends(
            "detects a duplicate of its own link-local",
            nobody(&ask(link_local(A), &[]))?,
            None,
        ),
        sends(
            "denies a peer its address",
            nobody(&ask(ip6(B), &[]))?,
            Some(NdSpoof),
        ),
        sends("announces itself", own(&tell(ip6(A), &[(2, MAC)]))?, None),
        sends("announces a peer", own(&advert)?, Some(NdSpoof)),
        sends(
            "announces itself with another's MAC",
            own(&tell(ip6(A), &[(2, LAN_MAC)]))?,
            Some(NdSpoof),
        ),
        sends(
            "announces itself from nobody",
            nobody(&tell(ip6(A), &[(2, MAC)]))?,
            None,
        ),
        sends(
            "solicits routers",
            own(&after(vec![133, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 2, 0, 0, 0, 0, 1]))?,
            None,
        ),
        sends(
            "solicits routers with another's MAC",
            own(&after(vec![133, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 2, 0, 0, 0, 0, 9]))?,
            Some(NdSpoof),
        ),
        sends(
            "advertises a router",
            own(&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])?,
            Some(RouterMessage),
        ),
        sends("redirects", own(&[137; 40])?, Some(RouterMessage)),
        sends(
            "advert behind a destination header",
            ipv6(ip6(A), 60, &chain(1, &advert))?,
            Some(NdSpoof),
        ),
        sends(
            "advert behind five headers",
            ipv6(ip6(A), 60, &chain(5, &advert))?,
            Some(NdSpoof),
        ),
        sends(
            "advert behind six headers",
            ipv6(ip6(A), 60, &chain(6, &advert))?,
            Some(HeaderChain),
        ),
        sends(
            "own solicitation in a first fragment",
            ipv6(ip6(A), 44, &after(fragment(0, 1), &ask(ip6(B), &[(1, MAC)])))?,
            Some(NdFragment),
        ),
        sends(
            "own solicitation in an atomic fragment",
            ipv6(ip6(A), 44, &after(fragment(0, 0), &ask(ip6(B), &[(1, MAC)])))?,
            Some(NdFragment),
        ),
        sends(
            "fragment too short for its message",
            ipv6(ip6(A), 44, &fragment(0, 1))?,
            Some(Malformed),
        ),
        sends(
            "fragmented echo",
            ipv6(ip6(A), 44, &after(fragment(0, 1), &[128, 0, 0, 0, 0, 0, 0, 0]))?,
            None,
        ),
        sends(
            "later fragment",
            ipv6(ip6(A), 44, &after(fragment(5, 0), &[1; 8]))?,
            None,
        ),
        sends(
            "later fragment from nobody",
            ipv6(NONE6, 44, &after(fragment(5, 0), &[1; 8]))?,
            Some(SourceIpv6),
        ),
        sends(
            "routing header 0",
            ipv6(ip6(A), 43, &after(routing(0), &udp))?,
            Some(HeaderChain),
        ),
        sends(
            "routing header 2",
            ipv6(ip6(A), 43, &after(routing(2), &udp))?,
            None,
        ),
        sends(
            "listener report before an address",
            ipv6(NONE6, 0, &after(extension(ICMPV6, 0), &report))?,
            None,
        ),
        sends(
            "echo from nobody",
            nobody(&[128, 0, 0, 0, 0, 0, 0, 0])?,
            Some(SourceIpv6),
        ),
        sends(
            "solicitation cut short",
            own(&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0, 1])?,
            Some(Malformed),
        ),
    ])
}

fn receiver_rows() -> Result<Vec<Row>> {
    let unicast = |source| udp4(SHARED, ip4(source), ip4(B));
    let flood = |source| udp4(TO_ALL, ip4(source), Ipv4Addr::BROADCAST);
    let wire = udp4(FROM_LAN, LAN, ip4(B))?;
    let wire_flood = udp4(Link::broadcast(LAN_MAC), LAN, Ipv4Addr::BROADCAST)?;
    let at = |name, me, seal, frame, verdict| row(name, SlaveIngress, me, seal, frame, verdict);
    Ok(vec![
        at("peer of the network", B, by(A), unicast(A)?, Verdict::Open),
        at("flood of the network", B, by(A), flood(A)?, Verdict::Open),
        at("wire", B, by(PARENT), wire.clone(), Verdict::Open),
        at("bypassed egress", B, UNSEALED, unicast(A)?, drop_for(B, Unsealed)),
        at(
            "somebody's slot without a seal",
            B,
            (A, 0),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "somebody's slot with another's seal",
            B,
            (A, seal(OTHER)),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "the wire's slot with another's seal",
            B,
            (PARENT, seal(OTHER)),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "slot of nobody",
            B,
            (NOBODY, 0),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "slot of nobody with a seal",
            B,
            by(NOBODY),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "slot beyond the table",
            B,
            (0xffff, seal(A)),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "another network",
            B,
            by(OTHER),
            unicast(OTHER)?,
            drop_for(OTHER, OtherNetwork),
        ),
        at(
            "flood of another network",
            B,
            by(OTHER),
            flood(OTHER)?,
            drop_for(B, Flood),
        ),
        at(
            "private peer",
            SHY,
            by(SHY_PEER),
            unicast(SHY_PEER)?,
            drop_for(SHY_PEER, Private),
        ),
        at(
            "flood of a private peer",
            SHY,
            by(SHY_PEER),
            flood(SHY_PEER)?,
            drop_for(SHY, Flood),
        ),
        at(
            "wire to a private endpoint",
            SHY,
            by(PARENT),
            wire.clone(),
            Verdict::Open,
        ),
        at(
            "internal peer",
            INNER,
            by(INNER_PEER),
            unicast(INNER_PEER)?,
            Verdict::Open,
        ),
        at(
            "wire to an internal endpoint",
            INNER,
            by(PARENT),
            wire,
            drop_for(INNER, Internal),
        ),
        at(
            "flood of the wire to an internal endpoint",
            INNER,
            by(PARENT),
            wire_flood,
            drop_for(INNER, Flood),
        ),
    ])
}

fn parent_ingress_rows() -> Result<Vec<Row>> {
    use ArpOperation as Op;
    let at = |name, seal, frame, verdict| row(name, ParentIngress, PARENT, seal, frame, verdict);
    let mut cut = arp(FROM_LAN, Op::REPLY, LAN_MAC, ip4(A), ip4(A))?;
    cut.truncate(33);
    let flood = Link::broadcast(LAN_MAC);
    Ok(vec![
        at(
            "wire to an endpoint",
            UNSEALED,
            udp4(FROM_LAN, LAN, ip4(A))?,
            Verdict::Seal,
        ),
        at(
            "wire to an endpoint, IPv6",
            UNSEALED,
            udp6(FROM_LAN, LAN6, ip6(A))?,
            Verdict::Seal,
        ),
        at(
            "wire to an endpoint's link-local",
            UNSEALED,
            udp6(FROM_LAN, LAN6, link_local(A))?,
            Verdict::Seal,
        ),
        at(
            "wire to the host",
            UNSEALED,
            udp4(FROM_LAN, LAN, Ipv4Addr::new(192, 168, 1, 250))?,
            Verdict::Pass,
        ),
        at(
            "wire to an internal endpoint",
            UNSEALED,
            udp4(FROM_LAN, LAN, ip4(INNER))?,
            drop_for(INNER, Internal),
        ),
        at(
            "wire to an internal endpoint, IPv6",
            UNSEALED,
            udp6(FROM_LAN, LAN6, ip6(INNER))?,
            drop_for(INNER, Internal),
        ),
        at(
            "wire broadcast",
            UNSEALED,
            arp(flood, Op::REQUEST, LAN_MAC, LAN, ip4(A))?,
            Verdict::Seal,
        ),
        at(
            "wire LLDP",
            UNSEALED,
            frame::raw(flood, 0x88cc, &[0; 46])?,
            Verdict::Seal,
        ),
        at(
            "wire ARP reply to an endpoint",
            UNSEALED,
            arp(FROM_LAN, Op::REPLY, LAN_MAC, LAN, ip4(A))?,
            Verdict::Seal,
        ),
        at(
            "wire ARP reply to an internal endpoint",
            UNSEALED,
            arp(FROM_LAN, Op::REPLY, LAN_MAC, LAN, ip4(INNER))?,
            drop_for(INNER, Internal),
        ),
        at(
            "wire claims an endpoint's address",
            UNSEALED,
            udp4(FROM_LAN, ip4(A), ip4(B))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims an endpoint's address to the host",
            UNSEALED,
            udp4(FROM_LAN, ip4(A), LAN)?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims an endpoint's address, IPv6",
            UNSEALED,
            udp6(FROM_LAN, ip6(A), ip6(B))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire ARP claims an endpoint's address",
            UNSEALED,
            arp(flood, Op::REPLY, LAN_MAC, ip4(A), ip4(A))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims the parent's MAC",
            UNSEALED,
            udp4(TO_LAN, LAN, ip4(A))?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "another VLAN",
            UNSEALED,
            frame::vlan_udp4(FROM_LAN, LAN, ip4(A), b"x")?,
            Verdict::Pass,
        ),
        at("wire frame that ends early", UNSEALED, cut, Verdict::Pass),
        at(
            "endpoint to its host",
            by(A),
            udp4(SHARED, ip4(A), LAN)?,
            drop_for(A, HostFilter),
        ),
        at(
            "endpoint to its host, whatever MAC",
            by(A),
            udp4(Link::shared(LAN_MAC), ip4(A), LAN)?,
            drop_for(A, HostFilter),
        ),
        at(
            "bypassed egress to the host",
            UNSEALED,
            udp4(SHARED, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "bypassed egress to the host, whatever MAC",
            UNSEALED,
            udp4(Link::shared(LAN_MAC), FOREIGN, LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "stale seal to the host",
            (A, seal(B)),
            udp4(SHARED, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
    ])
}

fn parent_egress_rows() -> Result<Vec<Row>> {
    use ArpOperation as Op;
    let host = Ipv4Addr::new(192, 168, 1, 250);
    let at = |name, seal, frame, verdict| row(name, ParentEgress, PARENT, seal, frame, verdict);
    Ok(vec![
        at(
            "endpoint to the wire",
            by(A),
            udp4(TO_LAN, ip4(A), LAN)?,
            Verdict::Open,
        ),
        at(
            "endpoint's broadcast",
            by(A),
            udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?,
            Verdict::Open,
        ),
        at(
            "private endpoint to the wire",
            by(SHY),
            udp4(TO_LAN, ip4(SHY), LAN)?,
            Verdict::Open,
        ),
        at(
            "internal endpoint to the wire",
            by(INNER),
            udp4(TO_LAN, ip4(INNER), LAN)?,
            drop_for(INNER, Internal),
        ),
        at(
            "internal endpoint to the wire, IPv6",
            by(INNER),
            udp6(TO_LAN, ip6(INNER), LAN6)?,
            drop_for(INNER, Internal),
        ),
        at(
            "internal endpoint's broadcast",
            by(INNER),
            arp(TO_ALL, Op::REQUEST, MAC, ip4(INNER), LAN)?,
            drop_for(INNER, Flood),
        ),
        at(
            "host to the wire",
            UNSEALED,
            udp4(TO_LAN, host, LAN)?,
            Verdict::Pass,
        ),
        at(
            "host's ARP",
            UNSEALED,
            arp(TO_ALL, Op::REQUEST, MAC, host, LAN)?,
            Verdict::Pass,
        ),
        at(
            "host's LLDP",
            UNSEALED,
            frame::raw(TO_LAN, 0x88cc, &[0; 46])?,
            Verdict::Pass,
        ),
        at(
            "bypassed egress to the wire",
            UNSEALED,
            udp4(TO_LAN, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "bypassed egress to the wire, IPv6",
            UNSEALED,
            udp6(TO_LAN, ip6(A), LAN6)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "bypassed ARP to the wire",
            UNSEALED,
            arp(TO_ALL, Op::REPLY, MAC, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "seal of nobody to the wire",
            by(NOBODY),
            udp4(TO_LAN, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
    ])
}
