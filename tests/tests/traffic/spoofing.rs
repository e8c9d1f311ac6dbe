//! An endpoint that claims to be somebody else, and frames no endpoint may send.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Network,
    frame::{self, Arp, Link},
    harness::{Need, test},
    packet::{ETH_IPV6, PacketSocket},
    sandbox::{HOST, INTERFACE, LAN, LAN_MAC, PARENT_MAC, STRANGER_MAC},
};
use libtest_mimic::Trial;

use crate::lab::{FROM_LAN, Lab, PARENT, TO_LAN};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const A: (&str, Door) = ("a", Door::Queue);

/// What is shown of an endpoint in one mode.
type Show = fn(&'static str) -> Result<()>;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for mode in ["l2", "l3", "l3s"] {
        let all: [(&str, Show); 5] = [
            ("source_addresses", source_addresses),
            ("arp", arp),
            ("neighbor_discovery", neighbor_discovery),
            ("frames_no_endpoint_sends", odd_frames),
            ("from_the_wire", from_the_wire),
        ];
        tests.extend(
            all.map(|(name, show)| test(&format!("spoofing::{mode}_{name}"), NEEDS, move || show(mode))),
        );
    }
    tests
}

fn lab(mode: &'static str) -> Result<Lab> {
    Lab::new(&[(NET.mode(mode), &["a", "b"])])
}

fn source_addresses(mode: &'static str) -> Result<()> {
    let lab = lab(mode)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let to = NET.ipv4(LAN);
    let stranger = Link { source: STRANGER_MAC, destination: LAN_MAC };
    lab.refused("a stranger's MAC", (DropReason::SourceMac, "a"), A, |marker| {
        frame::udp4(stranger, a.ipv4, to, marker)
    })?;
    for (what, source) in [
        ("a peer's address", b.ipv4),
        ("the host's address", NET.ipv4(HOST)),
        ("the gateway's address", NET.ipv4(LAN)),
        ("an address from elsewhere", Ipv4Addr::new(203, 0, 113, 5)),
        ("127.0.0.1", Ipv4Addr::LOCALHOST),
    ] {
        lab.refused(what, (DropReason::SourceIpv4, "a"), A, |marker| {
            frame::udp4(TO_LAN, source, to, marker)
        })?;
    }
    lab.refused("the gateway's address, to a peer", (DropReason::SourceIpv4, "a"), A, |marker| {
        frame::udp4(Link::shared(PARENT_MAC), to, b.ipv4, marker)
    })?;
    for (what, source) in [("a peer's IPv6 address", b.ipv6), ("the gateway's IPv6 address", NET.ipv6(LAN))] {
        lab.refused(what, (DropReason::SourceIpv6, "a"), A, |marker| {
            frame::udp6(TO_LAN, source, NET.ipv6(LAN), marker)
        })?;
    }
    Ok(())
}

fn arp(mode: &'static str) -> Result<()> {
    let lab = lab(mode)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // In the other modes, the kernel speaks no ARP on a slave.
    let reason = if mode == "l2" { DropReason::ArpSpoof } else { DropReason::EtherType };
    for (what, operation, sender_mac, sender, target) in [
        ("reply for the gateway", ArpOperation::REPLY, PARENT_MAC, NET.ipv4(LAN), b.ipv4),
        ("gratuitous ARP for a peer", ArpOperation::REPLY, PARENT_MAC, b.ipv4, b.ipv4),
        ("gratuitous ARP for the host", ArpOperation::REQUEST, PARENT_MAC, NET.ipv4(HOST), NET.ipv4(HOST)),
        ("own address at a stranger's MAC", ArpOperation::REPLY, STRANGER_MAC, a.ipv4, b.ipv4),
        ("probe for a peer's address", ArpOperation::REQUEST, PARENT_MAC, Ipv4Addr::UNSPECIFIED, b.ipv4),
    ] {
        let message = Arp { operation, sender_mac, sender, target };
        lab.refused(what, (reason, "a"), A, |marker| {
            frame::arp(Link::broadcast(PARENT_MAC), message, marker)
        })?;
    }
    Ok(())
}

fn neighbor_discovery(mode: &'static str) -> Result<()> {
    let lab = lab(mode)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    lab.refused("advertisement for a peer", (DropReason::NdSpoof, "a"), A, |marker| {
        frame::neighbor_advertisement(PARENT_MAC, a.ipv6, b.ipv6, PARENT_MAC, marker)
    })?;
    lab.refused("own address at a stranger's MAC", (DropReason::NdSpoof, "a"), A, |marker| {
        frame::neighbor_advertisement(PARENT_MAC, a.ipv6, a.ipv6, STRANGER_MAC, marker)
    })?;
    lab.refused("duplicate address detection for a peer", (DropReason::NdSpoof, "a"), A, |marker| {
        frame::neighbor_solicitation(PARENT_MAC, Ipv6Addr::UNSPECIFIED, b.ipv6, marker)
    })?;
    lab.refused("router advertisement", (DropReason::RouterMessage, "a"), A, |marker| {
        frame::router_advertisement(PARENT_MAC, a.ipv6, marker)
    })?;
    // A whole solicitation behind a fragment header, and a routing header of type 0.
    for (what, reason, kind, extension) in [
        ("a fragmented solicitation", DropReason::NdFragment, 44, [58, 0, 0, 1, 0, 0, 0, 1]),
        ("a routing header 0", DropReason::HeaderChain, 43, [58, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        lab.refused(what, (reason, "a"), A, |marker| {
            let frame = frame::neighbor_solicitation(PARENT_MAC, a.ipv6, b.ipv6, &[])?;
            frame::behind(frame, kind, extension, marker)
        })?;
    }
    Ok(())
}

fn odd_frames(mode: &'static str) -> Result<()> {
    let lab = lab(mode)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    lab.refused("a VLAN tag", (DropReason::VlanTag, "a"), A, |marker| {
        frame::vlan_udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
    })?;
    lab.refused("LLDP", (DropReason::EtherType, "a"), A, |marker| frame::raw(TO_LAN, 0x88cc, marker))?;
    lab.refused("a header cut short", (DropReason::Malformed, "a"), A, |marker| {
        let mut frame = frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)?;
        // The total length field still counts what is gone.
        frame.truncate(14 + 20 + 4);
        Ok(frame)
    })?;
    for (what, reason, ports, options) in [
        ("a source route", DropReason::IpOption, [4242, 4242], &[131, 3, 4, 0][..]),
        ("a DHCP server's answer", DropReason::DhcpServer, [67, 68], &[]),
    ] {
        lab.refused(what, (reason, "a"), A, |marker| {
            frame::udp4_with(TO_LAN, a.ipv4, NET.ipv4(LAN), ports, options, marker)
        })?;
    }
    lab.refused("a broadcast frame for one receiver", (DropReason::GroupMismatch, "a"), A, |marker| {
        frame::udp4(Link::broadcast(PARENT_MAC), a.ipv4, b.ipv4, marker)
    })?;
    lab.dropped("IPv4 that the packet calls IPv6", (DropReason::ProtocolMismatch, "a"), |marker| {
        PacketSocket::sender(&a.netns, INTERFACE)?
            .send_as(&frame::udp4(Link::shared(PARENT_MAC), a.ipv4, b.ipv4, marker)?, ETH_IPV6)
    })
}

fn from_the_wire(mode: &'static str) -> Result<()> {
    let lab = lab(mode)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let spoof = (DropReason::WireSpoof, PARENT);
    lab.dropped("an endpoint's address", spoof, |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, a.ipv4, b.ipv4, marker)?)
    })?;
    lab.dropped("an endpoint's IPv6 address", spoof, |marker| {
        lab.lan_sends(&frame::udp6(FROM_LAN, a.ipv6, b.ipv6, marker)?)
    })?;
    lab.dropped("an endpoint's address, to the host", spoof, |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, a.ipv4, NET.ipv4(HOST), marker)?)
    })?;
    lab.dropped("gratuitous ARP for an endpoint", spoof, |marker| {
        let claim =
            Arp { operation: ArpOperation::REPLY, sender_mac: LAN_MAC, sender: a.ipv4, target: b.ipv4 };
        lab.lan_sends(&frame::arp(Link::broadcast(LAN_MAC), claim, marker)?)
    })?;
    lab.dropped("the host's address", spoof, |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, NET.ipv4(HOST), b.ipv4, marker)?)
    })?;
    lab.dropped("the host's IPv6 address", spoof, |marker| {
        lab.lan_sends(&frame::udp6(FROM_LAN, NET.ipv6(HOST), b.ipv6, marker)?)
    })?;
    // The host is to know that somebody else has it.
    lab.delivered("ARP for the host's address", &["host"], |marker| {
        let claim = Arp::announcement(LAN_MAC, NET.ipv4(HOST));
        lab.lan_sends(&frame::arp(Link::broadcast(LAN_MAC), claim, marker)?)
    })?;
    // Only a slave could send with it: without a seal it never passed our programs.
    lab.dropped("the parent's own MAC", (DropReason::Unsealed, PARENT), |marker| {
        lab.lan_sends(&frame::udp4(Link::shared(PARENT_MAC), NET.ipv4(LAN), b.ipv4, marker)?)
    })
}
