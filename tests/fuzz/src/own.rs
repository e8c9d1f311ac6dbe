//! Whether a frame is an endpoint's own, read by etherparse and judged by the plain words of the rules.

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Slice, IpAuthHeaderSlice, IpNumber,
    Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, UdpHeaderSlice,
};
use ipvlan_common::{
    SlotEntry,
    packet::Metadata,
    types::{L3, MULTICAST_OFF},
};

use crate::world::MAC;

/// A rule that is broken, in words.
pub(crate) type Rule = Result<(), &'static str>;

/// Breaks `rule` unless `kept`.
pub(crate) fn keep(kept: bool, rule: &'static str) -> Rule {
    if kept { Ok(()) } else { Err(rule) }
}

pub(crate) fn ethernet(frame: &[u8]) -> Option<Ethernet2Slice<'_>> {
    Ethernet2Slice::from_slice_without_fcs(frame).ok()
}

pub(crate) fn is_group(ethernet: &Ethernet2Slice<'_>) -> bool {
    ethernet.destination()[0] & 1 == 1
}

/// The rules of a frame that goes on in the name of `me`.
pub(crate) fn check(frame: &[u8], metadata: &Metadata, me: &SlotEntry) -> Rule {
    let ethernet = ethernet(frame).ok_or("a whole Ethernet header")?;
    keep(ethernet.source() == MAC, "the own MAC as source")?;
    keep(metadata.vlan.is_none(), "no VLAN tag")?;
    keep(ethernet.ether_type().0 == metadata.protocol, "a protocol that agrees with the EtherType")?;
    let group = is_group(&ethernet);
    let payload = ethernet.payload_slice();
    match ethernet.ether_type() {
        EtherType::ARP => arp(payload, me),
        EtherType::IPV4 => ipv4(payload, group, me),
        EtherType::IPV6 => ipv6(payload, group, me),
        _ => Err("ARP, IPv4 or IPv6"),
    }
}

fn arp(payload: &[u8], me: &SlotEntry) -> Rule {
    keep(me.flags & L3 == 0, "no ARP in layer 3 modes")?;
    let arp = ArpPacketSlice::from_slice(payload).map_err(|_| "a whole ARP message")?;
    keep(is_ethernet(&arp), "ARP of Ethernet")?;
    keep(arp.proto_addr_type() == EtherType::IPV4, "ARP of IPv4")?;
    keep(arp.sender_hw_addr() == MAC, "the own MAC in ARP")?;
    let request = arp.operation() == ArpOperation::REQUEST;
    keep(request || arp.operation() == ArpOperation::REPLY, "ARP requests and replies")?;
    keep(me.ipv4 != [0; 4], "an IPv4 address")?;
    let speaks = arp.sender_protocol_addr() == me.ipv4;
    let probes = request && arp.sender_protocol_addr() == [0; 4] && arp.target_protocol_addr() == me.ipv4;
    keep(speaks || probes, "the own address in ARP")
}

/// Hardware type 6, of all IEEE 802 networks, is Ethernet to Linux.
pub(crate) fn is_ethernet(arp: &ArpPacketSlice<'_>) -> bool {
    [ArpHardwareId::ETHERNET, ArpHardwareId(6)].contains(&arp.hw_addr_type()) && arp.hw_addr_size() == 6
}

fn ipv4(payload: &[u8], group: bool, me: &SlotEntry) -> Rule {
    let ip = Ipv4HeaderSlice::from_slice(payload).map_err(|_| "a whole IPv4 header")?;
    let total = usize::from(ip.total_len());
    keep(total >= ip.slice().len() && total <= payload.len(), "an IPv4 packet as long as it says")?;
    let first = ip.protocol() == IpNumber::UDP && ip.fragments_offset().value() == 0;
    let udp = UdpHeaderSlice::from_slice(payload.get(ip.slice().len()..).unwrap_or_default());
    let ports = udp.ok().filter(|_| first).map(|it| (it.source_port(), it.destination_port()));
    let destination = ip.destination();
    keep(me.ipv4 != [0; 4], "an IPv4 address")?;
    if ip.source() != me.ipv4 {
        keep(ip.source() == [0; 4] && destination == [255; 4], "the own IPv4 source")?;
        // Four bytes of ports are enough for the rule, not for etherparse.
        keep(ports.is_none_or(|it| it == (68, 67)) && first, "nothing but DHCP from no address")?;
    }
    keep(ip.options().is_empty() || ip.options() == [148, 4, 0, 0], "no IPv4 option but router alert")?;
    keep(ports.is_none_or(|(from, to)| from != 67 && to != 68), "no DHCP server")?;
    let to_group = ip.destination_addr().is_multicast() || destination == [255; 4];
    keep(!group || to_group || destination == me.broadcast, "no group frame for one receiver")?;
    keep(group || !to_group, "no packet for a group in a frame for one receiver")?;
    keep(!group || me.flags & MULTICAST_OFF == 0, "no multicast")
}

fn ipv6(payload: &[u8], group: bool, me: &SlotEntry) -> Rule {
    let ip = Ipv6HeaderSlice::from_slice(payload).map_err(|_| "a whole IPv6 header")?;
    let behind = payload.get(40..).unwrap_or_default();
    let length = usize::from(ip.payload_length());
    keep(length <= behind.len(), "an IPv6 packet as long as it says")?;
    let inside = if length == 0 { behind } else { &behind[..length] };
    let (source, multicast) = (ip.source(), ip.destination()[0] == 0xff);
    keep(!group || multicast, "no group frame for one receiver")?;
    let own = is_own(me, source);
    keep(group || !multicast, "no packet for a group in a frame for one receiver")?;
    keep(own || (source == [0; 16] && multicast), "an own IPv6 source, or none towards a group")?;
    keep([me.ipv6, me.link_local] != [[0; 16]; 2], "an IPv6 address")?;
    let (mut next, mut rest, mut fragmented) = (ip.next_header(), behind, false);
    let quiet = group && me.flags & MULTICAST_OFF != 0;
    keep(!quiet || matches!(next, IpNumber::IPV6_ICMP | IpNumber::IPV6_HEADER_HOP_BY_HOP), "no multicast")?;
    loop {
        let (length, following) = match next {
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_DESTINATION_OPTIONS
            | IpNumber::IPV6_ROUTE_HEADER => {
                let header = Ipv6RawExtHeaderSlice::from_slice(rest);
                let zero = next == IpNumber::IPV6_ROUTE_HEADER && rest.get(2) == Some(&0);
                keep(!zero, "no routing header 0")?;
                // Beyond the frame there is nothing that could be said.
                let Ok(header) = header else { return keep(own, "an own source") };
                (header.slice().len(), header.next_header())
            }
            IpNumber::AUTHENTICATION_HEADER => {
                let Ok(header) = IpAuthHeaderSlice::from_slice(rest) else { return Ok(()) };
                (header.slice().len(), header.next_header())
            }
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(rest) else {
                    return keep(own, "an own source of a cut fragment");
                };
                fragmented = true;
                if header.fragment_offset().value() != 0 {
                    return keep(own, "an own source of a later fragment");
                }
                (8, header.next_header())
            }
            _ => break,
        };
        rest = rest.get(length..).unwrap_or_default();
        next = following;
    }
    let end = rest.len().saturating_sub(behind.len() - inside.len());
    match next {
        IpNumber::IPV6_ICMP => icmpv6(rest, end, fragmented, own, me),
        IpNumber::UDP => {
            keep(own, "an own source of UDP")?;
            let ports =
                UdpHeaderSlice::from_slice(rest).ok().map(|it| (it.source_port(), it.destination_port()));
            keep(ports.is_none_or(|(from, to)| from != 547 && to != 546), "no DHCPv6 server")
        }
        _ => keep(own, "an own source"),
    }
}

fn icmpv6(message: &[u8], end: usize, fragmented: bool, own: bool, me: &SlotEntry) -> Rule {
    let kind = *message.first().ok_or("an ICMPv6 type")?;
    keep(!matches!(kind, 134 | 137), "no router's message")?;
    keep(own || matches!(kind, 131..=133 | 135 | 136 | 143), "no echo from nobody")?;
    let options = match kind {
        133 => 8,
        135 | 136 => {
            let target = message.get(8..24).and_then(|it| it.first_chunk()).ok_or("a target")?;
            keep((kind == 135 && own) || is_own(me, *target), "an own target")?;
            24
        }
        _ => return Ok(()),
    };
    keep(!fragmented, "no fragmented neighbour discovery")?;
    let mut rest = message.get(options..end).unwrap_or_default();
    while let [kind, units, body @ ..] = rest {
        keep(*units != 0, "options of some length")?;
        keep(!matches!(kind, 1 | 2) || body.get(..6).is_none_or(|mac| mac == MAC), "the own MAC in options")?;
        rest = rest.get(usize::from(*units) * 8..).unwrap_or_default();
    }
    Ok(())
}

fn is_own(me: &SlotEntry, address: [u8; 16]) -> bool {
    address != [0; 16] && [me.ipv6, me.link_local].contains(&address)
}
