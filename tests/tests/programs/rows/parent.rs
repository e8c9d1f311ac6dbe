//! What passes the parent.

use std::net::Ipv4Addr;

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason::{ArpSpoof, Flood, HostFilter, Internal, SourceIpv4, Unsealed, WireSpoof},
    Hook::{ParentEgress, ParentIngress},
    Verdict,
};
use ipvlan_tests::frame::{self, Link};

use super::{
    ALL_NODES_MAC, FOREIGN, FROM_LAN, Origin, Row, SEALED, SHARED, Stamp, TO_ALL, TO_LAN, UNSEALED, arp, by,
    drop_for, row, tagged, udp4, udp6,
};
use crate::world::{
    A, B, BEHIND_STACK, BEHIND_STACK_INNER, HOST, HOST6, INNER, LAN, LAN_MAC, LAN6, MAC, NOBODY, PARENT, SHY,
    ip4, ip6, link_local,
};

pub(super) fn ingress() -> Result<Vec<Row>> {
    use ArpOperation as Op;
    let at = |name, seal, frame, verdict| row(name, ParentIngress, PARENT, seal, frame, verdict);
    let mut cut = arp(FROM_LAN, Op::REPLY, LAN_MAC, ip4(A), ip4(A))?;
    cut.truncate(33);
    let flood = Link::broadcast(LAN_MAC);
    let mut ieee802 = arp(flood, Op::REPLY, LAN_MAC, ip4(A), ip4(A))?;
    ieee802[15] = 6;
    Ok(vec![
        at("wire to an endpoint", UNSEALED, udp4(FROM_LAN, LAN, ip4(A))?, SEALED),
        at("wire to an endpoint, IPv6", UNSEALED, udp6(FROM_LAN, LAN6, ip6(A))?, SEALED),
        at("wire to an endpoint's link-local", UNSEALED, udp6(FROM_LAN, LAN6, link_local(A))?, SEALED),
        at("wire to the host", UNSEALED, udp4(FROM_LAN, LAN, HOST)?, Verdict::Pass),
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
        at("wire broadcast", UNSEALED, arp(flood, Op::REPLY, LAN_MAC, LAN, ip4(A))?, SEALED),
        at("wire broadcast frame for one receiver", UNSEALED, udp4(flood, LAN, ip4(A))?, SEALED),
        at("wire broadcast frame for an internal receiver", UNSEALED, udp4(flood, LAN, ip4(INNER))?, SEALED),
        at(
            "wire broadcast frame for one receiver behind the stack",
            UNSEALED,
            udp4(flood, LAN, ip4(BEHIND_STACK))?,
            Verdict::Deliver { slot: BEHIND_STACK },
        ),
        at(
            "wire broadcast frame for an internal receiver behind the stack",
            UNSEALED,
            udp4(flood, LAN, ip4(BEHIND_STACK_INNER))?,
            drop_for(BEHIND_STACK_INNER, Internal),
        ),
        at(
            "wire multicast frame for an internal receiver behind the stack, IPv6",
            UNSEALED,
            udp6(Link { destination: ALL_NODES_MAC, ..FROM_LAN }, LAN6, ip6(BEHIND_STACK_INNER))?,
            drop_for(BEHIND_STACK_INNER, Internal),
        ),
        at("wire LLDP", UNSEALED, frame::raw(flood, 0x88cc, &[0; 46])?, SEALED),
        at(
            "wire ARP reply to an endpoint",
            UNSEALED,
            arp(FROM_LAN, Op::REPLY, LAN_MAC, LAN, ip4(A))?,
            SEALED,
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
            "wire claims the host's address",
            UNSEALED,
            udp4(FROM_LAN, HOST, ip4(A))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims the host's address, IPv6",
            UNSEALED,
            udp6(FROM_LAN, HOST6, ip6(A))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims the host's address to a receiver behind the stack",
            UNSEALED,
            udp4(FROM_LAN, HOST, ip4(BEHIND_STACK))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims the host's address in a broadcast frame for one receiver",
            UNSEALED,
            udp4(flood, HOST, ip4(A))?,
            drop_for(PARENT, WireSpoof),
        ),
        at(
            "wire claims the host's address to the host",
            UNSEALED,
            udp4(FROM_LAN, HOST, HOST)?,
            Verdict::Pass,
        ),
        at(
            "wire ARP claims the host's address: the host alone is to know",
            UNSEALED,
            arp(flood, Op::REPLY, LAN_MAC, HOST, HOST)?,
            Verdict::Pass,
        ),
        at("the same as IEEE 802 has it", UNSEALED, ieee802, drop_for(PARENT, WireSpoof)),
        at("wire claims the parent's MAC", UNSEALED, udp4(TO_LAN, LAN, ip4(A))?, drop_for(PARENT, Unsealed)),
        at("another VLAN", UNSEALED, frame::vlan_udp4(FROM_LAN, LAN, ip4(A), b"x")?, Verdict::Pass),
        tagged(7, at("another VLAN, offloaded", UNSEALED, udp4(FROM_LAN, LAN, ip4(A))?, Verdict::Pass)),
        tagged(0, at("a priority tag, offloaded", UNSEALED, udp4(FROM_LAN, LAN, ip4(A))?, SEALED)),
        at("wire frame that ends early", UNSEALED, cut, Verdict::Pass),
        at("endpoint to its host", by(A), udp4(SHARED, ip4(A), LAN)?, drop_for(A, HostFilter)),
        at(
            "endpoint to its host, whatever MAC",
            by(A),
            udp4(Link::shared(LAN_MAC), ip4(A), LAN)?,
            drop_for(A, HostFilter),
        ),
        at("bypassed egress to the host", UNSEALED, udp4(SHARED, ip4(A), LAN)?, drop_for(PARENT, Unsealed)),
        at(
            "bypassed egress to the host, whatever MAC",
            UNSEALED,
            udp4(Link::shared(LAN_MAC), FOREIGN, LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        at(
            "stale seal to the host",
            Stamp::Sealed(A, B),
            udp4(SHARED, ip4(A), LAN)?,
            drop_for(PARENT, Unsealed),
        ),
    ])
}

pub(super) fn egress() -> Result<Vec<Row>> {
    use ArpOperation as Op;
    let host = HOST;
    let at = |name, seal, frame, verdict| row(name, ParentEgress, PARENT, seal, frame, verdict);
    let elsewhere =
        |name, seal, frame, verdict| Row { origin: Origin::Elsewhere, ..at(name, seal, frame, verdict) };
    let queued = |name, seal, frame, verdict| Row { origin: Origin::Queue, ..at(name, seal, frame, verdict) };
    Ok(vec![
        at("endpoint to the wire", by(A), udp4(TO_LAN, ip4(A), LAN)?, Verdict::Open),
        at("endpoint's broadcast", by(A), udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?, Verdict::Open),
        at(
            "rewritten behind the sender's egress",
            by(A),
            udp4(TO_LAN, FOREIGN, LAN)?,
            drop_for(A, SourceIpv4),
        ),
        at(
            "rewritten ARP behind the sender's egress",
            by(A),
            arp(TO_ALL, Op::REPLY, MAC, LAN, LAN)?,
            drop_for(A, ArpSpoof),
        ),
        at("private endpoint to the wire", by(SHY), udp4(TO_LAN, ip4(SHY), LAN)?, Verdict::Open),
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
        at("host to the wire", UNSEALED, udp4(TO_LAN, host, LAN)?, Verdict::Pass),
        at("host's ARP", UNSEALED, arp(TO_ALL, Op::REQUEST, MAC, host, LAN)?, Verdict::Pass),
        at("host's LLDP", UNSEALED, frame::raw(TO_LAN, 0x88cc, &[0; 46])?, Verdict::Pass),
        at("bypassed egress to the wire", UNSEALED, udp4(TO_LAN, ip4(A), LAN)?, drop_for(PARENT, Unsealed)),
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
        elsewhere(
            "a stranger's address past the sender's egress",
            UNSEALED,
            udp4(TO_LAN, FOREIGN, LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        elsewhere(
            "the host's address past the sender's egress",
            UNSEALED,
            udp4(TO_LAN, host, LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        tagged(
            7,
            elsewhere(
                "from a VLAN device on the parent",
                UNSEALED,
                udp4(TO_LAN, FOREIGN, LAN)?,
                Verdict::Pass,
            ),
        ),
        elsewhere("a sealed frame has a socket elsewhere", by(A), udp4(TO_LAN, ip4(A), LAN)?, Verdict::Open),
        queued(
            "the gateway's ARP past the sender's egress",
            UNSEALED,
            arp(TO_ALL, Op::REPLY, MAC, LAN, LAN)?,
            drop_for(PARENT, Unsealed),
        ),
        queued(
            "a sealed broadcast from the queue",
            by(A),
            udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?,
            Verdict::Open,
        ),
        at("seal of nobody to the wire", by(NOBODY), udp4(TO_LAN, ip4(A), LAN)?, drop_for(PARENT, Unsealed)),
    ])
}
