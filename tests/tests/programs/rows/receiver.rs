//! What reaches an endpoint.

use std::net::Ipv4Addr;

use anyhow::Result;
use ipvlan_common::{
    DropReason::{Flood, Internal, OtherNetwork, Private, SourceIpv4, SourceMac, Unsealed, WireSpoof},
    Hook::SlaveIngress,
    Verdict,
};
use ipvlan_tests::frame::{self, Link};

use super::{FROM_LAN, Row, SHARED, Stamp, TO_ALL, UNSEALED, by, drop_for, row, udp4};
use crate::world::{
    A, B, HOST6, INNER, INNER_PEER, LAN, LAN_MAC, LAN6, NOBODY, OTHER, PARENT, SHY, SHY_PEER, ip4, ip6,
    link_local,
};

const DESTINATION_OPTIONS: u8 = 60;
const ICMPV6: u8 = 58;

pub(super) fn rows() -> Result<Vec<Row>> {
    let unicast = |source| udp4(SHARED, ip4(source), ip4(B));
    let flood = |source| udp4(TO_ALL, ip4(source), Ipv4Addr::BROADCAST);
    let wire = udp4(FROM_LAN, LAN, ip4(B))?;
    let wire_flood = udp4(Link::broadcast(LAN_MAC), LAN, Ipv4Addr::BROADCAST)?;
    let at = |name, me, seal, frame, verdict| row(name, SlaveIngress, me, seal, frame, verdict);
    let tells = |target| frame::neighbor_advertisement(LAN_MAC, LAN6, target, LAN_MAC, b"");
    let hidden = frame::behind(tells(ip6(A))?, DESTINATION_OPTIONS, [ICMPV6, 0, 1, 4, 0, 0, 0, 0], b"")?;
    Ok(vec![
        at("peer of the network", B, by(A), unicast(A)?, Verdict::Open),
        at("flood of the network", B, by(A), flood(A)?, Verdict::Open),
        at("wire", B, by(PARENT), wire.clone(), Verdict::Open),
        at("rewritten behind the sender's egress", B, by(A), unicast(SHY)?, drop_for(A, SourceIpv4)),
        at(
            "another MAC behind the sender's egress",
            B,
            by(A),
            udp4(FROM_LAN, ip4(A), ip4(B))?,
            drop_for(A, SourceMac),
        ),
        at("bypassed egress", B, UNSEALED, unicast(A)?, drop_for(B, Unsealed)),
        at("somebody's slot without a seal", B, Stamp::Raw(A, 0), unicast(A)?, drop_for(B, Unsealed)),
        at(
            "somebody's slot with another's seal",
            B,
            Stamp::Sealed(A, OTHER),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at(
            "the wire's slot with another's seal",
            B,
            Stamp::Sealed(PARENT, OTHER),
            unicast(A)?,
            drop_for(B, Unsealed),
        ),
        at("slot of nobody", B, Stamp::Raw(NOBODY, 0), unicast(A)?, drop_for(B, Unsealed)),
        at("slot of nobody with a seal", B, by(NOBODY), unicast(A)?, drop_for(B, Unsealed)),
        at("slot beyond the table", B, Stamp::Sealed(0xffff, A), unicast(A)?, drop_for(B, Unsealed)),
        at("another network", B, by(OTHER), unicast(OTHER)?, drop_for(OTHER, OtherNetwork)),
        at("flood of another network", B, by(OTHER), flood(OTHER)?, drop_for(B, Flood)),
        at("private peer", SHY, by(SHY_PEER), unicast(SHY_PEER)?, drop_for(SHY_PEER, Private)),
        at("flood of a private peer", SHY, by(SHY_PEER), flood(SHY_PEER)?, drop_for(SHY, Flood)),
        at("wire: I have my own", B, by(PARENT), tells(LAN6)?, Verdict::Open),
        // As the answer to its duplicate address detection.
        at("wire: I have yours", B, by(PARENT), tells(ip6(B))?, Verdict::Open),
        at("wire: I have a peer's", B, by(PARENT), tells(ip6(A))?, drop_for(B, WireSpoof)),
        at("wire: I have a peer's link-local", B, by(PARENT), tells(link_local(A))?, drop_for(B, WireSpoof)),
        at("wire: I have the host's", B, by(PARENT), tells(HOST6)?, drop_for(B, WireSpoof)),
        at("wire: I have a peer's, behind options", B, by(PARENT), hidden, drop_for(B, WireSpoof)),
        at("wire to a private endpoint", SHY, by(PARENT), wire.clone(), Verdict::Open),
        at("internal peer", INNER, by(INNER_PEER), unicast(INNER_PEER)?, Verdict::Open),
        at("wire to an internal endpoint", INNER, by(PARENT), wire, drop_for(INNER, Internal)),
        at(
            "flood of the wire to an internal endpoint",
            INNER,
            by(PARENT),
            wire_flood,
            drop_for(INNER, Flood),
        ),
    ])
}
