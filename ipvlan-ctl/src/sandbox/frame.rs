//! Frames as an attacker would write them: every field is the caller's choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Icmpv6Type, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    PacketBuilder, PacketBuilderStep, VlanId, icmpv6::NeighborAdvertisementHeader,
};
use ipvlan_common::types::Mac;

/// The port that UDP frames and listeners use.
pub const PORT: u16 = 4242;
/// Everybody on the link.
pub const BROADCAST: Mac = [0xff; 6];

/// The two MAC addresses of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Who claims to have sent it.
    pub source: Mac,
    /// Whom it is for.
    pub destination: Mac,
}

impl Link {
    /// From one slave to another or to the host: they all share the parent's MAC.
    #[must_use]
    pub const fn shared(mac: Mac) -> Self {
        Self { source: mac, destination: mac }
    }

    /// To everybody.
    #[must_use]
    pub fn broadcast(source: Mac) -> Self {
        Self { source, destination: BROADCAST }
    }

    fn ethernet(self) -> PacketBuilderStep<etherparse::Ethernet2Header> {
        PacketBuilder::ethernet2(self.source, self.destination)
    }
}

/// UDP over IPv4.
///
/// # Errors
/// Fails if the payload is too long for a datagram.
pub fn udp4(link: Link, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = link.ethernet().ipv4(source.octets(), destination.octets(), 64).udp(PORT, PORT);
    let mut frame = Vec::new();
    builder.write_to_vec(&mut frame, payload)?;
    Ok(frame)
}

/// UDP over IPv4 with ports and IP options of the caller's choice.
///
/// # Errors
/// Fails if the options aren't a multiple of four bytes, or the payload is too long.
pub fn udp4_with(
    link: Link,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    [from, to]: [u16; 2],
    options: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>> {
    let header = Ipv4Header::new(0, 64, IpNumber::UDP, source.octets(), destination.octets())?;
    let header = Ipv4Header { options: options.try_into()?, ..header };
    let builder = link.ethernet().ip(IpHeaders::Ipv4(header, Ipv4Extensions::default())).udp(from, to);
    let mut frame = Vec::new();
    builder.write_to_vec(&mut frame, payload)?;
    Ok(frame)
}

/// UDP over IPv6.
///
/// # Errors
/// Fails if the payload is too long for a datagram.
pub fn udp6(link: Link, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = link.ethernet().ipv6(source.octets(), destination.octets(), 64).udp(PORT, PORT);
    let mut frame = Vec::new();
    builder.write_to_vec(&mut frame, payload)?;
    Ok(frame)
}

/// UDP over IPv6 with ports of the caller's choice.
///
/// # Errors
/// Fails if the payload is too long.
pub fn udp6_with(
    link: Link,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    [from, to]: [u16; 2],
    payload: &[u8],
) -> Result<Vec<u8>> {
    let builder = link.ethernet().ipv6(source.octets(), destination.octets(), 64).udp(from, to);
    let mut frame = Vec::new();
    builder.write_to_vec(&mut frame, payload)?;
    Ok(frame)
}

/// A packet of any protocol.
///
/// # Errors
/// Fails if the payload is too long, or the addresses are of two families.
pub fn ip(
    link: Link,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    payload: &[u8],
) -> Result<Vec<u8>> {
    let builder = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            link.ethernet().ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            link.ethernet().ipv6(source.octets(), destination.octets(), 64)
        }
        _ => bail!("{source} and {destination} are of two families"),
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, protocol, payload)?;
    Ok(frame)
}

/// A fragment of UDP that isn't the first, and so has no ports.
///
/// # Errors
/// Fails if the payload is too long, or the addresses are of two families.
pub fn later_fragment(link: Link, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Result<Vec<u8>> {
    /// In units of 8 bytes.
    const OFFSET: u16 = 185;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(payload.len())?;
            let header = Ipv4Header::new(length, 64, IpNumber::UDP, source.octets(), destination.octets())?;
            let mut header = Ipv4Header { fragment_offset: OFFSET.try_into()?, ..header };
            header.header_checksum = header.calc_header_checksum();
            raw(link, EtherType::IPV4.0, &[&header.to_bytes(), payload].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = (OFFSET << 3).to_be_bytes();
            let plain = udp6(link, source, destination, &[])?;
            let frame = behind(
                plain,
                IpNumber::IPV6_FRAGMENTATION_HEADER.0,
                [17, 0, high, low, 0, 0, 0, 1],
                payload,
            )?;
            Ok(frame)
        }
        _ => bail!("{source} and {destination} are of two families"),
    }
}

/// An IPv6 `frame` with an extension header of `kind` put in front of what follows the first one, and `trailer` behind it all.
///
/// # Errors
/// Fails if it becomes too long.
pub fn behind(mut frame: Vec<u8>, kind: u8, header: [u8; 8], trailer: &[u8]) -> Result<Vec<u8>> {
    const IPV6: usize = 14;
    const PAYLOAD: usize = IPV6 + 40;
    frame[IPV6 + 6] = kind;
    frame.splice(PAYLOAD..PAYLOAD, header);
    frame.extend_from_slice(trailer);
    let length = u16::try_from(frame.len() - PAYLOAD)?;
    frame[IPV6 + 4..IPV6 + 6].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// UDP over IPv4 with a VLAN tag.
///
/// # Errors
/// Fails if the payload is too long for a datagram.
pub fn vlan_udp4(link: Link, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = link
        .ethernet()
        .single_vlan(VlanId::try_new(7)?)
        .ipv4(source.octets(), destination.octets(), 64)
        .udp(PORT, PORT);
    let mut frame = Vec::new();
    builder.write_to_vec(&mut frame, payload)?;
    Ok(frame)
}

/// Who an ARP message says has an address, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Arp {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's MAC inside the message.
    pub sender_mac: Mac,
    /// The sender's address.
    pub sender: Ipv4Addr,
    /// The address asked for, or the receiver's.
    pub target: Ipv4Addr,
}

impl Arp {
    /// "`address` is at `mac`", to everybody.
    #[must_use]
    pub const fn announcement(mac: Mac, address: Ipv4Addr) -> Self {
        Self { operation: ArpOperation::REPLY, sender_mac: mac, sender: address, target: address }
    }
}

/// An ARP message with `trailer` behind it, where short frames carry padding.
///
/// # Errors
/// Doesn't, in practice: the message has one size.
pub fn arp(link: Link, arp: Arp, trailer: &[u8]) -> Result<Vec<u8>> {
    let message = ArpEthIpv4Packet {
        operation: arp.operation,
        sender_mac: arp.sender_mac,
        sender_ipv4: arp.sender.octets(),
        target_mac: [0; 6],
        target_ipv4: arp.target.octets(),
    };
    let mut frame = Vec::new();
    link.ethernet().arp(message.into()).write_to_vec(&mut frame)?;
    frame.extend_from_slice(trailer);
    Ok(frame)
}

/// A neighbour advertisement that overrides what `target`'s link-layer address was, to all nodes.
///
/// # Errors
/// Fails if the trailer is too long.
pub fn neighbor_advertisement(
    source_mac: Mac,
    source: Ipv6Addr,
    target: Ipv6Addr,
    target_mac: Mac,
    marker: &[u8],
) -> Result<Vec<u8>> {
    let link = Link { source: source_mac, destination: [0x33, 0x33, 0, 0, 0, 1] };
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    neighbor_advertisement_to(link, (source, all_nodes), target, target_mac, marker)
}

/// The same from one address to another.
///
/// # Errors
/// Fails if the trailer is too long.
pub fn neighbor_advertisement_to(
    link: Link,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    target: Ipv6Addr,
    target_mac: Mac,
    marker: &[u8],
) -> Result<Vec<u8>> {
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let mut body = target.octets().to_vec();
    body.extend_from_slice(&TARGET_LINK_LAYER_ADDRESS);
    body.extend_from_slice(&target_mac);
    let header = NeighborAdvertisementHeader { router: false, solicited: false, r#override: true };
    let mut frame = Vec::new();
    link.ethernet()
        .ipv6(source.octets(), destination.octets(), 255)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(header))
        .write_to_vec(&mut frame, &body)?;
    frame.extend_from_slice(marker);
    Ok(frame)
}

/// A neighbour solicitation for `target` to its solicited-node group; from `::` it is duplicate address detection.
///
/// # Errors
/// Fails if the trailer is too long.
pub fn neighbor_solicitation(
    source_mac: Mac,
    source: Ipv6Addr,
    target: Ipv6Addr,
    marker: &[u8],
) -> Result<Vec<u8>> {
    let [.., x, y, z] = target.octets();
    let link = Link { source: source_mac, destination: [0x33, 0x33, 0xff, x, y, z] };
    let group = Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let mut frame = Vec::new();
    link.ethernet()
        .ipv6(source.octets(), group.octets(), 255)
        .icmpv6(Icmpv6Type::NeighborSolicitation)
        .write_to_vec(&mut frame, &target.octets())?;
    frame.extend_from_slice(marker);
    Ok(frame)
}

/// A solicitation as resolvers send it, with the sender's MAC: who has `target`?
///
/// # Errors
/// Doesn't, in practice: the message has one size.
pub fn who_has(source_mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Result<Vec<u8>> {
    const SOURCE_LINK_LAYER_ADDRESS: [u8; 2] = [1, 1];
    let [.., x, y, z] = target.octets();
    let link = Link { source: source_mac, destination: [0x33, 0x33, 0xff, x, y, z] };
    let group = Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let body = [&target.octets()[..], &SOURCE_LINK_LAYER_ADDRESS, &source_mac].concat();
    let mut frame = Vec::new();
    link.ethernet()
        .ipv6(source.octets(), group.octets(), 255)
        .icmpv6(Icmpv6Type::NeighborSolicitation)
        .write_to_vec(&mut frame, &body)?;
    Ok(frame)
}

/// A router advertisement to all nodes, with a marker behind it.
///
/// # Errors
/// Fails if the trailer is too long.
pub fn router_advertisement(source_mac: Mac, source: Ipv6Addr, marker: &[u8]) -> Result<Vec<u8>> {
    let link = Link { source: source_mac, destination: [0x33, 0x33, 0, 0, 0, 1] };
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let lifetime_30_minutes = [64, 0, 0x07, 0x08];
    let mut frame = Vec::new();
    link.ethernet()
        .ipv6(source.octets(), all_nodes.octets(), 255)
        .icmpv6_raw(134, 0, lifetime_30_minutes)
        .write_to_vec(&mut frame, &[0; 8])?;
    frame.extend_from_slice(marker);
    Ok(frame)
}

/// A redirect to all nodes: `target` is reached by way of the sender.
///
/// # Errors
/// Fails if the trailer is too long.
pub fn redirect(source_mac: Mac, source: Ipv6Addr, target: Ipv6Addr, marker: &[u8]) -> Result<Vec<u8>> {
    let link = Link { source: source_mac, destination: [0x33, 0x33, 0, 0, 0, 1] };
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut frame = Vec::new();
    link.ethernet()
        .ipv6(source.octets(), all_nodes.octets(), 255)
        .icmpv6_raw(137, 0, [0; 4])
        .write_to_vec(&mut frame, &[source.octets(), target.octets()].concat())?;
    frame.extend_from_slice(marker);
    Ok(frame)
}

/// A frame of any type, e.g. one no endpoint may send.
///
/// # Errors
/// Doesn't, in practice.
pub fn raw(link: Link, ethertype: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let header = etherparse::Ethernet2Header {
        source: link.source,
        destination: link.destination,
        ether_type: EtherType(ethertype),
    };
    let mut frame = header.to_bytes().to_vec();
    frame.extend_from_slice(payload);
    Ok(frame)
}
