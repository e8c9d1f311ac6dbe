//! What an endpoint may send: frames of its own, and none that speak for somebody else.
//!
//! Judged twice: at the sender's egress, and again where the frame comes out, since root in a container can rewrite a frame
//! behind our program (a pedit action behind TCX).

use crate::{
    DropReason, SlotEntry, nd,
    packet::{self, Arp, Frame, Ipv4, Ipv6, Metadata, Origin, Packet, UDP, udp_ports},
    types::{L3, MULTICAST_OFF, Mac},
};

const DHCP_SERVER: [u8; 2] = 67u16.to_be_bytes();
const DHCP_CLIENT: [u8; 2] = 68u16.to_be_bytes();
/// Router alert, alone (RFC 2113): IGMP carries it.
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];

/// Judges a frame that the endpoint `me` sends from a slave with `mac`.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub(crate) fn check<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &SlotEntry,
    mac: &Mac,
) -> Result<(), DropReason> {
    link(frame, metadata, mac)?;
    content(frame, me, mac)
}

/// As the rest of [`check`] behind [`link`]; `None` where there is none. Its own function, which leaves the verifier one number.
#[inline(never)]
pub(crate) fn objection<P: Packet + ?Sized>(packet: &P, me: &SlotEntry, mac: &Mac) -> Option<DropReason> {
    Frame::parse(packet).and_then(|frame| content(&frame, me, mac)).err()
}

/// Judges what the frame says.
#[inline(always)]
fn content<P: Packet + ?Sized>(frame: &Frame<'_, P>, me: &SlotEntry, mac: &Mac) -> Result<(), DropReason> {
    let ethernet = &frame.ethernet;
    // A group is known by its MAC: a packet to a group in any other frame is refused as a mismatch below.
    if me.flags & MULTICAST_OFF != 0 && frame.is_dispensable_group() {
        return Err(DropReason::Multicast);
    }
    match ethernet.ethertype {
        packet::ARP if me.flags & L3 != 0 => Err(DropReason::EtherType),
        packet::ARP => arp(&Arp::parse(frame.packet)?, me, mac),
        packet::IPV4 => ipv4(frame, &Ipv4::parse(frame.packet)?, me),
        packet::IPV6 => {
            let ip = Ipv6::parse(frame.packet)?;
            if ethernet.is_group() != (ip.destination[0] == 0xff) {
                return Err(DropReason::GroupMismatch);
            }
            nd::check(frame.packet, &ip, me, mac)
        }
        _ => Err(DropReason::EtherType),
    }
}

/// Judges what doesn't depend on the protocol.
#[inline(always)]
pub(crate) fn link<P: ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    mac: &Mac,
) -> Result<(), DropReason> {
    let ethernet = &frame.ethernet;
    if ethernet.source != *mac {
        return Err(DropReason::SourceMac);
    }
    if metadata.vlan.is_some() || packet::VLAN.contains(&ethernet.ethertype) {
        return Err(DropReason::VlanTag);
    }
    if metadata.protocol != ethernet.ethertype {
        return Err(DropReason::ProtocolMismatch);
    }
    Ok(())
}

/// Own requests, replies and announcements pass, and so does probing for the own address (RFC 5227).
#[inline(always)]
fn arp(arp: &Arp, me: &SlotEntry, mac: &Mac) -> Result<(), DropReason> {
    let from_me = arp.sender == me.ipv4;
    let probes_for_me = arp.operation == Arp::REQUEST && arp.sender == [0; 4] && arp.target == me.ipv4;
    let speaks = matches!(arp.operation, Arp::REQUEST | Arp::REPLY);
    if speaks && arp.sender_mac == *mac && me.ipv4 != [0; 4] && (from_me || probes_for_me) {
        Ok(())
    } else {
        Err(DropReason::ArpSpoof)
    }
}

#[inline(always)]
fn ipv4<P: Packet + ?Sized>(frame: &Frame<'_, P>, ip: &Ipv4, me: &SlotEntry) -> Result<(), DropReason> {
    let has_ports = ip.protocol == UDP && !ip.later_fragment;
    let ports = if has_ports { Some(udp_ports(frame.packet, ip.payload, ip.end)?) } else { None };
    let from_me = ip.source == me.ipv4;
    // A client asks for its address before it has it.
    let asks_dhcp =
        ip.source == [0; 4] && ip.destination == [255; 4] && ports == Some((DHCP_CLIENT, DHCP_SERVER));
    if me.ipv4 == [0; 4] || (!from_me && !asks_dhcp) {
        return Err(DropReason::SourceIpv4);
    }
    if ip.payload != Ipv4::OPTIONS
        && (ip.payload != Ipv4::OPTIONS + 4 || frame.packet.load(Ipv4::OPTIONS) != Some(ROUTER_ALERT))
    {
        return Err(DropReason::IpOption);
    }
    if ports.is_some_and(|(source, destination)| source == DHCP_SERVER || destination == DHCP_CLIENT) {
        return Err(DropReason::DhcpServer);
    }
    let to_group = ip.destination[0] & 0xf0 == 0xe0 || ip.destination == [255; 4];
    let fits = if frame.ethernet.is_group() { to_group || ip.destination == me.broadcast } else { !to_group };
    if fits { Ok(()) } else { Err(DropReason::GroupMismatch) }
}
