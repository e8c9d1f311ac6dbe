//! What an endpoint sends: ARP, IPv4 and the link layer.

use std::net::Ipv4Addr;

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason::{
        ArpSpoof, DhcpServer, EtherType, GroupMismatch, IpOption, Malformed, ProtocolMismatch, SourceIpv4,
        SourceIpv6, SourceMac, VlanTag,
    },
    Hook::SlaveEgress,
    types::Mac,
};
use ipvlan_tests::frame::{self, Link};

use super::{
    ALL_NODES, FOREIGN, FROM_LAN, NONE, NONE6, Row, SHARED, TO_ALL, TO_LAN, UNSEALED, arp, drop_for, row,
    sends, tagged, udp4, udp4_with, udp6,
};
use crate::world::{A, B, LAN, LAN_MAC, LAN6, MAC, ONLY4, ONLY6, ip4, ip6, link_local};

const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_MAC: Mac = [1, 0, 0x5e, 0, 0, 0xfb];
const SUBNET_BROADCAST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 255);

pub(super) fn rows() -> Result<Vec<Row>> {
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
    let option = |option: &[u8]| udp4_with(TO_LAN, ip4(A), LAN, [4242, 4242], option);
    let ports = |source, ports| udp4_with(TO_ALL, source, Ipv4Addr::BROADCAST, ports, &[]);
    let fragment = |offset: u16, protocol: u8| -> Result<Vec<u8>> {
        let mut frame = udp4_with(TO_LAN, ip4(A), LAN, [67, 68], &[])?;
        frame[20..22].copy_from_slice(&offset.to_be_bytes());
        frame[23] = protocol;
        Ok(frame)
    };
    let mut no_ports = udp4(TO_LAN, ip4(A), LAN)?;
    no_ports.truncate(36);
    no_ports[16..18].copy_from_slice(&22u16.to_be_bytes());
    Ok(vec![
        sends("router alert, as IGMP has", option(&[148, 4, 0, 0])?, None),
        sends("loose source route", option(&[131, 7, 4, 8, 8, 8, 8, 0])?, Some(IpOption)),
        sends("strict source route", option(&[137, 3, 4, 0])?, Some(IpOption)),
        sends("record route", option(&[7, 3, 4, 0])?, Some(IpOption)),
        sends("options of nothing", option(&[1, 1, 1, 1])?, Some(IpOption)),
        sends("source route behind a router alert", option(&[148, 4, 0, 0, 131, 3, 4, 0])?, Some(IpOption)),
        sends("asks for a DHCP lease", ports(NONE, [68, 67])?, None),
        sends("renews a DHCP lease", udp4_with(TO_LAN, ip4(A), LAN, [68, 67], &[])?, None),
        sends("asks no DHCP server from nobody", ports(NONE, [68, 68])?, Some(SourceIpv4)),
        sends(
            "DHCP from nobody to one receiver",
            udp4_with(TO_LAN, NONE, LAN, [68, 67], &[])?,
            Some(SourceIpv4),
        ),
        sends("answers as a DHCP server", ports(ip4(A), [67, 68])?, Some(DhcpServer)),
        sends("answers a DHCP client from another port", ports(ip4(A), [4242, 68])?, Some(DhcpServer)),
        sends("relays DHCP", udp4_with(TO_LAN, ip4(A), LAN, [67, 67], &[])?, Some(DhcpServer)),
        sends("DHCP server's ports in a first fragment", fragment(0x2000, 17)?, Some(DhcpServer)),
        sends("later fragment, whose payload is no port", fragment(2, 17)?, None),
        sends("another protocol with a DHCP server's ports", fragment(0, 6)?, None),
        sends("UDP cut in its ports", no_ports, Some(Malformed)),
        sends("broadcast of the subnet", udp4(TO_ALL, ip4(A), SUBNET_BROADCAST)?, None),
        sends("multicast", udp4(Link { destination: MDNS_MAC, ..TO_LAN }, ip4(A), MDNS)?, None),
        sends("broadcast frame for one receiver", udp4(TO_ALL, ip4(A), ip4(B))?, Some(GroupMismatch)),
        sends("broadcast frame for one receiver, IPv6", udp6(TO_ALL, ip6(A), ip6(B))?, Some(GroupMismatch)),
        sends("multicast in a frame for one receiver", udp4(TO_LAN, ip4(A), MDNS)?, Some(GroupMismatch)),
        sends(
            "broadcast in a frame for one receiver",
            udp4(TO_LAN, ip4(A), Ipv4Addr::BROADCAST)?,
            Some(GroupMismatch),
        ),
        sends(
            "multicast in a frame for one receiver, IPv6",
            udp6(TO_LAN, ip6(A), ALL_NODES)?,
            Some(GroupMismatch),
        ),
        sends("multicast in a frame for the host", udp4(SHARED, ip4(A), MDNS)?, Some(GroupMismatch)),
        sends("own IPv4", udp4(TO_LAN, ip4(A), LAN)?, None),
        sends("own IPv6", udp6(TO_LAN, ip6(A), LAN6)?, None),
        sends("own link-local", udp6(TO_LAN, link_local(A), LAN6)?, None),
        sends("own broadcast", udp4(TO_ALL, ip4(A), Ipv4Addr::BROADCAST)?, None),
        sends("peer's IPv4 source", udp4(TO_LAN, ip4(B), LAN)?, Some(SourceIpv4)),
        sends("off-net IPv4 source", udp4(TO_LAN, FOREIGN, LAN)?, Some(SourceIpv4)),
        sends("loopback source", udp4(SHARED, Ipv4Addr::LOCALHOST, LAN)?, Some(SourceIpv4)),
        sends("no IPv4 source", udp4(TO_ALL, NONE, Ipv4Addr::BROADCAST)?, Some(SourceIpv4)),
        sends("peer's IPv6 source", udp6(TO_LAN, ip6(B), LAN6)?, Some(SourceIpv6)),
        sends("peer's link-local source", udp6(TO_LAN, link_local(B), LAN6)?, Some(SourceIpv6)),
        sends("no IPv6 source", udp6(TO_LAN, NONE6, LAN6)?, Some(SourceIpv6)),
        sends("forged MAC", udp4(FROM_LAN, ip4(A), ip4(B))?, Some(SourceMac)),
        sends("VLAN tag", frame::vlan_udp4(TO_LAN, ip4(A), LAN, b"x")?, Some(VlanTag)),
        tagged(7, sends("offloaded VLAN tag", udp4(TO_LAN, ip4(A), LAN)?, Some(VlanTag))),
        tagged(0, sends("offloaded priority tag", udp4(TO_LAN, ip4(A), LAN)?, Some(VlanTag))),
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
        sends("own ARP reply", arp(TO_LAN, Op::REPLY, MAC, ip4(A), LAN)?, None),
        sends("own gratuitous ARP", arp(TO_ALL, Op::REQUEST, MAC, ip4(A), ip4(A))?, None),
        sends("own ARP probe", arp(TO_ALL, Op::REQUEST, MAC, NONE, ip4(A))?, None),
        sends("ARP for the gateway", arp(TO_ALL, Op::REPLY, MAC, LAN, LAN)?, Some(ArpSpoof)),
        sends("ARP from a peer", arp(TO_ALL, Op::REQUEST, MAC, ip4(B), ip4(B))?, Some(ArpSpoof)),
        sends("ARP with another MAC inside", arp(TO_ALL, Op::REPLY, LAN_MAC, ip4(A), LAN)?, Some(ArpSpoof)),
        sends("ARP probe that denies a peer", arp(TO_ALL, Op::REQUEST, MAC, NONE, ip4(B))?, Some(ArpSpoof)),
        sends("ARP reply from nobody", arp(TO_ALL, Op::REPLY, MAC, NONE, ip4(A))?, Some(ArpSpoof)),
        sends("RARP inside ARP", arp(TO_ALL, Op(3), MAC, ip4(A), ip4(A))?, Some(ArpSpoof)),
        sends(
            "ARP for another hardware",
            frame::raw(
                TO_ALL,
                0x0806,
                &[0, 7, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            )?,
            Some(Malformed),
        ),
        row(
            "IPv4 without an address of that kind",
            SlaveEgress,
            ONLY6,
            UNSEALED,
            udp4(TO_LAN, ip4(ONLY6), LAN)?,
            drop_for(ONLY6, SourceIpv4),
        ),
        row(
            "asks for a DHCP lease without an address of that kind",
            SlaveEgress,
            ONLY6,
            UNSEALED,
            ports(NONE, [68, 67])?,
            drop_for(ONLY6, SourceIpv4),
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
