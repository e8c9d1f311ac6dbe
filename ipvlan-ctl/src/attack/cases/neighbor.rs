//! ARP, neighbour discovery, DHCP, and what goes to groups: who speaks for whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::{ArpOperation, IpNumber};
use ipvlan_common::DropReason::{
    ArpSpoof, DhcpServer, EtherType, HeaderChain, HostFilter, Internal, NdFragment, NdSpoof, OtherNetwork,
    RouterMessage, SourceIpv6,
};

use super::{BOTH, V4, V6, group_or_nothing};
use crate::{
    attack::{
        case::{Build, Case, Class, Expect},
        setting::{Family, Place, Setting},
        world::{Who, World},
    },
    sandbox::{
        HOST, LAN, PARENT_MAC, STRANGER_MAC, TO_LAN,
        frame::{self, Arp, Link},
    },
};

const ALL: Link = Link { source: PARENT_MAC, destination: frame::BROADCAST };
const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;

pub(super) const CASES: &[Case] = &[
    arp("arp-gateway", "\"the gateway's address is mine\"", |world, _, marker| {
        claim(ArpOperation::REPLY, PARENT_MAC, world.attacker.network.ipv4(LAN), world.peer.ipv4, marker)
    }),
    arp("arp-peer", "gratuitous ARP for a peer's address", |world, _, marker| {
        claim(ArpOperation::REPLY, PARENT_MAC, world.peer.ipv4, world.peer.ipv4, marker)
    }),
    arp("arp-host", "gratuitous ARP for the host's address", |world, _, marker| {
        let host = world.attacker.network.ipv4(HOST);
        claim(ArpOperation::REQUEST, PARENT_MAC, host, host, marker)
    }),
    arp("arp-other", "gratuitous ARP for another network's address", |world, _, marker| {
        claim(ArpOperation::REPLY, PARENT_MAC, world.other.ipv4, world.other.ipv4, marker)
    }),
    arp("arp-mac", "its own address at a stranger's MAC", |world, _, marker| {
        claim(ArpOperation::REPLY, STRANGER_MAC, world.attacker.ipv4, world.peer.ipv4, marker)
    }),
    arp("arp-deny", "a probe that denies a peer its address", |world, _, marker| {
        claim(ArpOperation::REQUEST, PARENT_MAC, Ipv4Addr::UNSPECIFIED, world.peer.ipv4, marker)
    }),
    arp("arp-reverse", "reverse ARP", |world, _, marker| {
        claim(ArpOperation(3), PARENT_MAC, world.attacker.ipv4, world.attacker.ipv4, marker)
    }),
    arp("arp-unicast", "\"the gateway's address is mine\", to the LAN alone", |world, _, marker| {
        let gateway = world.attacker.network.ipv4(LAN);
        let message =
            Arp { operation: ArpOperation::REPLY, sender_mac: PARENT_MAC, sender: gateway, target: gateway };
        frame::arp(TO_LAN, message, marker)
    }),
    Class::Neighbor.sends(
        "arp-scan",
        "a request of its own for an address that nobody has",
        V4,
        |world, _, marker| ask(world, world.attacker.network.ipv4(200), marker),
        asks_the_wire,
    ),
    Class::Neighbor.sends(
        "arp-ask-host",
        "a request of its own for the host's address",
        V4,
        |world, _, marker| ask(world, world.attacker.network.ipv4(HOST), marker),
        |_| Expect::drop(&[HostFilter, EtherType]),
    ),
    Class::Neighbor.sends(
        "arp-ask-other",
        "a request of its own for another network's address",
        V4,
        |world, _, marker| ask(world, world.other.ipv4, marker),
        |_| Expect::drop(&[OtherNetwork, EtherType]),
    ),
    nd(
        "na-peer",
        "an advertisement that overrides a peer's",
        |world, _, marker| {
            frame::neighbor_advertisement(
                PARENT_MAC,
                world.attacker.ipv6,
                world.peer.ipv6,
                PARENT_MAC,
                marker,
            )
        },
        |_| Expect::drop(&[NdSpoof]),
    ),
    nd(
        "na-gateway",
        "an advertisement that overrides the gateway's",
        |world, _, marker| {
            frame::neighbor_advertisement(
                PARENT_MAC,
                world.attacker.ipv6,
                world.attacker.network.ipv6(LAN),
                PARENT_MAC,
                marker,
            )
        },
        |_| Expect::drop(&[NdSpoof]),
    ),
    nd(
        "na-mac",
        "an advertisement of its own address at a stranger's MAC",
        |world, _, marker| {
            let own = world.attacker.ipv6;
            frame::neighbor_advertisement(PARENT_MAC, own, own, STRANGER_MAC, marker)
        },
        |_| Expect::drop(&[NdSpoof]),
    ),
    nd(
        "na-from-peer",
        "an advertisement in a peer's name",
        |world, _, marker| {
            let peer = world.peer.ipv6;
            frame::neighbor_advertisement(PARENT_MAC, peer, peer, PARENT_MAC, marker)
        },
        |_| Expect::drop(&[NdSpoof, SourceIpv6]),
    ),
    nd(
        "dad-peer",
        "duplicate address detection that denies a peer its address",
        |world, _, marker| {
            frame::neighbor_solicitation(PARENT_MAC, Ipv6Addr::UNSPECIFIED, world.peer.ipv6, marker)
        },
        |_| Expect::drop(&[NdSpoof]),
    ),
    nd(
        "router-advertisement",
        "a router advertisement",
        |world, _, marker| frame::router_advertisement(PARENT_MAC, world.attacker.ipv6, marker),
        |_| Expect::drop(&[RouterMessage]),
    ),
    nd(
        "redirect",
        "a redirect",
        |world, _, marker| frame::redirect(PARENT_MAC, world.attacker.ipv6, world.peer.ipv6, marker),
        |_| Expect::drop(&[RouterMessage]),
    ),
    nd(
        "nd-fragment",
        "a solicitation in a fragment (RFC 6980)",
        |world, _, marker| hidden(world, FRAGMENT, [58, 0, 0, 1, 0, 0, 0, 1], marker),
        |_| Expect::drop(&[NdFragment]),
    ),
    nd(
        "ra-hidden",
        "a router advertisement behind destination options (RFC 7113)",
        |world, _, marker| {
            let frame = frame::router_advertisement(PARENT_MAC, world.attacker.ipv6, &[])?;
            frame::behind(frame, DESTINATION_OPTIONS, [58, 0, 1, 4, 0, 0, 0, 0], marker)
        },
        |_| Expect::drop(&[RouterMessage, HeaderChain, NdFragment]),
    ),
    Class::Neighbor.sends(
        "dhcp-server",
        "a DHCP server's answer",
        BOTH,
        |world, family, marker| {
            let (own, to) = (world.attacker.ipv4, world.peer.ipv4);
            if family == Family::V4 {
                return frame::udp4_with(Link::shared(PARENT_MAC), own, to, [67, 68], &[], marker);
            }
            frame::udp6_with(
                Link::shared(PARENT_MAC),
                world.attacker.ipv6,
                world.peer.ipv6,
                [547, 546],
                marker,
            )
        },
        |_| Expect::drop(&[DhcpServer]),
    ),
    Class::Neighbor.sends(
        "mdns",
        "mDNS of its own",
        BOTH,
        |world, family, marker| mdns(world, family, Who::Attacker, marker),
        may_reach_group,
    ),
    Class::Neighbor.sends(
        "ssdp",
        "SSDP of its own",
        V4,
        |world, _, marker| {
            let group = Ipv4Addr::new(239, 255, 255, 250);
            frame::udp4_with(multicast4(group), world.attacker.ipv4, group, [1900, 1900], &[], marker)
        },
        may_reach_group,
    ),
    Class::Neighbor.sends(
        "vrrp",
        "VRRP of its own",
        V4,
        |world, _, marker| routing(world, Ipv4Addr::new(224, 0, 0, 18), IpNumber::VRRP, marker),
        may_reach_group,
    ),
    Class::Neighbor.sends(
        "igmp",
        "IGMP of its own",
        V4,
        |world, _, marker| routing(world, Ipv4Addr::new(224, 0, 0, 22), IpNumber::IGMP, marker),
        may_reach_group,
    ),
    Class::Neighbor.sends(
        "group-as-peer",
        "mDNS in a peer's name",
        BOTH,
        |world, family, marker| mdns(world, family, Who::Peer, marker),
        |_| Expect::drop(&[ipvlan_common::DropReason::SourceIpv4, SourceIpv6]),
    ),
];

const fn arp(id: &'static str, what: &'static str, build: Build) -> Case {
    // In modes l3 and l3s an endpoint speaks no ARP at all.
    Class::Neighbor.sends(id, what, V4, build, |_| Expect::drop(&[ArpSpoof, EtherType]))
}

/// In modes l3 and l3s the kernel sends nothing to groups, so the reason is another one or none.
const fn nd(id: &'static str, what: &'static str, build: Build, expect: fn(Setting) -> Expect) -> Case {
    Class::Neighbor.sends(id, what, V6, build, expect)
}

fn claim(
    operation: ArpOperation,
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target: Ipv4Addr,
    marker: &[u8],
) -> Result<Vec<u8>> {
    frame::arp(ALL, Arp { operation, sender_mac, sender, target }, marker)
}

fn ask(world: &World, target: Ipv4Addr, marker: &[u8]) -> Result<Vec<u8>> {
    claim(ArpOperation::REQUEST, PARENT_MAC, world.attacker.ipv4, target, marker)
}

/// A request that nobody here can answer spares them: the wire alone hears it.
fn asks_the_wire(setting: Setting) -> Expect {
    if setting.is_l2() && !setting.internal {
        Expect::pass(&[Place::Wire])
    } else {
        Expect::drop(&[Internal, EtherType])
    }
}

/// A solicitation for a peer, behind an extension header.
fn hidden(world: &World, kind: u8, header: [u8; 8], marker: &[u8]) -> Result<Vec<u8>> {
    let frame = frame::neighbor_solicitation(PARENT_MAC, world.attacker.ipv6, world.peer.ipv6, &[])?;
    frame::behind(frame, kind, header, marker)
}

fn mdns(world: &World, family: Family, from: Who, marker: &[u8]) -> Result<Vec<u8>> {
    const PORTS: [u16; 2] = [5353; 2];
    match world.address(family, from) {
        IpAddr::V4(from) => {
            let group = Ipv4Addr::new(224, 0, 0, 251);
            frame::udp4_with(multicast4(group), from, group, PORTS, &[], marker)
        }
        IpAddr::V6(from) => {
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
            frame::udp6_with(multicast6(group), from, group, PORTS, marker)
        }
    }
}

fn routing(world: &World, group: Ipv4Addr, protocol: IpNumber, marker: &[u8]) -> Result<Vec<u8>> {
    frame::ip(multicast4(group), world.attacker.ipv4.into(), group.into(), protocol, marker)
}

fn multicast4(group: Ipv4Addr) -> Link {
    let [_, x, y, z] = group.octets();
    Link { source: PARENT_MAC, destination: [0x01, 0, 0x5e, x & 0x7f, y, z] }
}

fn multicast6(group: Ipv6Addr) -> Link {
    let [.., w, x, y, z] = group.octets();
    Link { source: PARENT_MAC, destination: [0x33, 0x33, w, x, y, z] }
}

/// Who hasn't joined a group may get its frames or not: a slave's filter is a hash.
fn may_reach_group(setting: Setting) -> Expect {
    let expect = group_or_nothing(setting);
    if setting.is_l2() { Expect::pass(&[]).or_at(expect.must) } else { expect }
}
