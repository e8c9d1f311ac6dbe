//! IPv4 and IPv6: sources, options, fragments, chains of headers, and what the wire claims.

use std::net::Ipv4Addr;

use anyhow::Result;
use etherparse::IpNumber;
use ipvlan_common::DropReason::{
    GroupMismatch, HeaderChain, Internal, IpOption, SourceIpv4, SourceIpv6, WireSpoof,
};

use super::{BOTH, V4, V6, group_or_nothing, not_to_host, not_to_loopback};
use crate::attack::{
    case::{Act, Build, Capability, Case, Class, Expect},
    setting::{Family, Setting},
    world::{Who, World, keep},
};
use crate::sandbox::{
    FROM_LAN, HOST, LAN, LAN_MAC, PARENT_MAC, SHARED, TO_LAN,
    frame::{self, Arp, Link, PORT},
};

const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

pub(super) const CASES: &[Case] = &[
    Class::Ip.sends(
        "source-peer",
        "to the LAN, from a peer's address",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Peer, Who::Gateway, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-peer-to-peer",
        "to a peer, from another peer's address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Peer, Who::Third, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-host",
        "to the LAN, from the host's address",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Host, Who::Gateway, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-host-to-peer",
        "to a peer, from the host's address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Host, Who::Peer, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-gateway-to-peer",
        "to a peer, from the gateway's address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Gateway, Who::Peer, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-stranger",
        "to the LAN, from an address far away",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Stranger, Who::Gateway, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-stranger-to-peer",
        "to a peer, from an address far away",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Stranger, Who::Peer, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-other",
        "to another network, from an address of that network",
        BOTH,
        |world, family, marker| {
            let link = SHARED;
            if family == Family::V4 {
                let network = world.other.network;
                return frame::udp4(link, network.ipv4(LAN), world.other.ipv4, marker);
            }
            frame::udp6(link, world.other.network.ipv6(LAN), world.other.ipv6, marker)
        },
        spoof,
    ),
    Class::Ip.sends(
        "source-loopback",
        "into the host, from its loopback address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Loopback, Who::Host, marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-broadcast",
        "to the LAN, from the broadcast address",
        V4,
        |world, _, marker| frame::udp4(TO_LAN, Ipv4Addr::BROADCAST, world.attacker.network.ipv4(LAN), marker),
        spoof,
    ),
    Class::Ip.sends(
        "source-unspecified",
        "to the LAN, from no address",
        BOTH,
        |world, family, marker| {
            if family == Family::V4 {
                return frame::udp4(TO_LAN, Ipv4Addr::UNSPECIFIED, world.attacker.network.ipv4(LAN), marker);
            }
            let nobody = std::net::Ipv6Addr::UNSPECIFIED;
            frame::udp6(TO_LAN, nobody, world.attacker.network.ipv6(LAN), marker)
        },
        spoof,
    ),
    Class::Ip.sends(
        "to-loopback",
        "into the host, to its loopback address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Loopback, marker),
        not_to_loopback,
    ),
    Class::Ip.sends(
        "to-stranger-at-host",
        "into the host, to an address that it hasn't",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Stranger, marker),
        |setting| {
            // Elsewhere the host routes it as it would anything.
            if setting.is_l2() || setting.internal {
                not_to_host(setting)
            } else {
                Expect::pointless("the host routes it")
            }
        },
    ),
    Case {
        act: Act::Do(host_datagram),
        needs: Capability::Nothing,
        ..Class::Ip.sends(
            "host-datagram",
            "into the host, by an ordinary socket",
            BOTH,
            |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Host, marker),
            not_to_host,
        )
    },
    Class::Ip.sends(
        "limited-broadcast",
        "a broadcast of its own to 255.255.255.255",
        V4,
        |world, _, marker| {
            frame::udp4(Link::broadcast(PARENT_MAC), world.attacker.ipv4, Ipv4Addr::BROADCAST, marker)
        },
        group_or_nothing,
    ),
    Class::Ip.sends(
        "directed-broadcast",
        "a broadcast of its own to the subnet's address",
        V4,
        |world, _, marker| {
            let all = world.attacker.network.ipv4(255);
            frame::udp4(Link::broadcast(PARENT_MAC), world.attacker.ipv4, all, marker)
        },
        group_or_nothing,
    ),
    Class::Ip.sends(
        "broadcast-of-other",
        "a broadcast to another network's address",
        V4,
        |world, _, marker| {
            frame::udp4(
                Link::broadcast(PARENT_MAC),
                world.attacker.ipv4,
                world.other.network.ipv4(255),
                marker,
            )
        },
        |_| Expect::drop(&[GroupMismatch]),
    ),
    Class::Ip.sends(
        "fragment-as-peer",
        "a later fragment from a peer's address",
        BOTH,
        |world, family, marker| {
            frame::later_fragment(
                TO_LAN,
                world.address(family, Who::Peer),
                world.address(family, Who::Gateway),
                marker,
            )
        },
        spoof,
    ),
    Class::Ip.sends(
        "tunnel-as-peer",
        "a packet in a packet, the outer one from a peer's address",
        BOTH,
        |world, family, marker| {
            let inner = world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, marker)?.split_off(14);
            let protocol = if family == Family::V4 { IpNumber::IPV4 } else { IpNumber::IPV6 };
            let (peer, to) = (world.address(family, Who::Peer), world.address(family, Who::Gateway));
            frame::ip(TO_LAN, peer, to, protocol, &inner)
        },
        spoof,
    ),
    Class::Ip.sends(
        "loose-source-route",
        "a loose source route",
        V4,
        |world, family, marker| options(world, family, &[131, 7, 4, 192, 168, 1, 12, 0], marker),
        |_| Expect::drop(&[IpOption]),
    ),
    Class::Ip.sends(
        "strict-source-route",
        "a strict source route",
        V4,
        |world, family, marker| options(world, family, &[137, 7, 4, 192, 168, 1, 12, 0], marker),
        |_| Expect::drop(&[IpOption]),
    ),
    Class::Ip.sends(
        "record-route",
        "a record of the route",
        V4,
        |world, family, marker| options(world, family, &[7, 7, 4, 0, 0, 0, 0, 0], marker),
        |_| Expect::drop(&[IpOption]),
    ),
    Class::Ip.sends(
        "routing-header-0",
        "a routing header of type 0",
        V6,
        |world, _, marker| {
            let frame = world.udp(Family::V6, TO_LAN, Who::Attacker, Who::Gateway, &[])?;
            frame::behind(frame, ROUTING, [17, 0, 0, 0, 0, 0, 0, 0], marker)
        },
        |_| Expect::drop(&[HeaderChain]),
    ),
    Class::Ip.sends(
        "long-chain",
        "more extension headers than are followed",
        V6,
        |world, _, marker| {
            let mut frame = world.udp(Family::V6, TO_LAN, Who::Attacker, Who::Gateway, &[])?;
            let mut next = 17;
            for _ in 0..12 {
                frame = frame::behind(frame, DESTINATION_OPTIONS, [next, 0, 1, 4, 0, 0, 0, 0], &[])?;
                next = DESTINATION_OPTIONS;
            }
            frame::behind(frame, DESTINATION_OPTIONS, [next, 0, 1, 4, 0, 0, 0, 0], marker)
        },
        |_| Expect::drop(&[HeaderChain]),
    ),
    Class::Ip.sends(
        "behind-as-peer",
        "behind destination options, from a peer's address",
        V6,
        |world, _, marker| {
            let frame = world.udp(Family::V6, TO_LAN, Who::Peer, Who::Gateway, &[])?;
            frame::behind(frame, DESTINATION_OPTIONS, [17, 0, 1, 4, 0, 0, 0, 0], marker)
        },
        spoof,
    ),
    wire("wire-as-peer", "from the LAN, in a peer's name", BOTH, |world, family, marker| {
        world.udp(family, FROM_LAN, Who::Peer, Who::Attacker, marker)
    }),
    wire(
        "wire-as-peer-to-host",
        "from the LAN to the host, in a peer's name",
        BOTH,
        |world, family, marker| world.udp(family, FROM_LAN, Who::Peer, Who::Host, marker),
    ),
    wire("wire-as-host", "from the LAN, in the host's name", BOTH, |world, family, marker| {
        world.udp(family, FROM_LAN, Who::Host, Who::Attacker, marker)
    }),
    wire("wire-arp", "from the LAN, \"a peer's address is mine\"", V4, |world, _, marker| {
        frame::arp(Link::broadcast(LAN_MAC), Arp::announcement(LAN_MAC, world.peer.ipv4), marker)
    }),
    Case {
        expect: |setting| {
            if setting.is_l2() {
                Expect::drop(&[WireSpoof, Internal])
            } else {
                Expect::pointless("nobody there asks for neighbours")
            }
        },
        ..wire("wire-na", "from the LAN, \"a peer's address is mine\"", V6, |world, _, marker| {
            let from = world.attacker.network.ipv6(LAN);
            let to = world.attacker.ipv6;
            frame::neighbor_advertisement_to(FROM_LAN, (from, to), world.peer.ipv6, LAN_MAC, marker)
        })
    },
    wire("wire-mac", "from the LAN, with the parent's own MAC", BOTH, |world, family, marker| {
        world.udp(family, SHARED, Who::Gateway, Who::Attacker, marker)
    }),
];

const fn wire(id: &'static str, what: &'static str, families: &'static [Family], build: Build) -> Case {
    Class::Ip.acts(id, what, families, Act::Lan(build), |_| {
        Expect::drop(&[WireSpoof, Internal, ipvlan_common::DropReason::Unsealed])
    })
}

fn spoof(_: Setting) -> Expect {
    Expect::drop(&[SourceIpv4, SourceIpv6])
}

fn options(world: &World, _: Family, options: &[u8], marker: &[u8]) -> Result<Vec<u8>> {
    let to = world.attacker.network.ipv4(LAN);
    frame::udp4_with(TO_LAN, world.attacker.ipv4, to, [PORT, PORT], options, marker)
}

/// What any program can do, given a neighbour entry where the kernel asks for one.
fn host_datagram(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let host = match family {
        Family::V4 => world.attacker.network.ipv4(HOST).to_string(),
        Family::V6 => world.attacker.network.ipv6(HOST).to_string(),
    };
    world.know_neighbor(&world.attacker, &host)?;
    world.attacker.netns.enter(|| {
        keep(Capability::Nothing)?;
        let any = if family == Family::V4 { "0.0.0.0:0" } else { "[::]:0" };
        // An internal network in modes l3 and l3s has no route there: not sent is not come through.
        let _sent = std::net::UdpSocket::bind(any)?.send_to(marker, (host.as_str(), PORT));
        Ok(())
    })
}
