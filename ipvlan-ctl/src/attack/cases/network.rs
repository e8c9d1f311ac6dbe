//! What is to stay inside a network, or out of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use ipvlan_common::DropReason::{Flood, Internal, Multicast, OtherNetwork, Private, SourceIpv6, WireSpoof};

use super::{BOTH, V4, V6};
use crate::{
    attack::{
        case::{Act, Capability, Case, Class, Expect},
        setting::{Family, Place, Setting},
        world::{Who, World, keep},
    },
    model::Flag,
    sandbox::{
        INTERFACE, LAN_MAC, PARENT_MAC, SHARED, TO_LAN,
        frame::{self, Link},
        packet::PacketSocket,
    },
};

pub(super) const CASES: &[Case] = &[
    Class::Network.sends(
        "other-network",
        "to another network",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Other, marker),
        |setting| match setting {
            // It takes the way over the wire, as its gateway would have it.
            Setting { flag: Flag::Vepa, internal: false, .. } => {
                Expect::drop(&[OtherNetwork, Internal, WireSpoof]).or_at(&[Place::Wire])
            }
            _ => Expect::drop(&[OtherNetwork, Internal]),
        },
    ),
    Class::Network.sends(
        "other-by-gateway",
        "to another network, by way of the gateway",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Attacker, Who::Other, marker),
        by_gateway,
    ),
    Class::Network.sends(
        "peer-by-gateway",
        "to a peer, by way of the gateway",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Attacker, Who::Peer, marker),
        |setting| {
            if setting.is_l2() {
                by_gateway(setting)
            } else {
                Expect::pointless("ipvlan finds the peer by its address")
            }
        },
    ),
    Class::Network.sends(
        "internal-out",
        "out of an internal network, far away",
        BOTH,
        |world, family, marker| world.udp(family, TO_LAN, Who::Attacker, Who::Stranger, marker),
        |setting| {
            if setting.internal { Expect::drop(&[Internal]) } else { Expect::pass(&[Place::Wire]) }
        },
    ),
    Class::Network.acts(
        "internal-in",
        "into an internal network, from the LAN, to all",
        V4,
        Act::Lan(|world, _, marker| {
            frame::udp4(Link::broadcast(LAN_MAC), world.attacker.network.ipv4(1), Ipv4Addr::BROADCAST, marker)
        }),
        |setting| {
            if !setting.internal {
                return Expect::pointless("the network isn't internal");
            }
            // The host and the other networks are its neighbours.
            Expect::drop(&[Internal, Flood]).or_at(&[Place::Host, Place::Other])
        },
    ),
    Case {
        act: Act::Do(old_network),
        ..Class::Network.sends(
            "not-its-family",
            "IPv6 in a network without it",
            V6,
            |world, family, marker| world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, marker),
            |_| Expect::drop(&[SourceIpv6]),
        )
    },
    Case {
        act: Act::Do(old_broadcast),
        ..Class::Network.sends(
            "multicast-off",
            "a broadcast in a network that has none",
            V4,
            own_broadcast,
            |setting| {
                if setting.is_l2() {
                    Expect::drop(&[Multicast])
                } else {
                    Expect::pointless("slaves send no broadcasts")
                }
            },
        )
    },
    Class::Network.sends(
        "private-peer",
        "to a peer in a private network, past its own address",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Third, marker),
        |setting| {
            if setting.flag == Flag::Private {
                Expect::drop(&[Private])
            } else {
                Expect::pointless("the network isn't private")
            }
        },
    ),
];

/// A router that sends it back to this parent: on the wire is where it belongs, if anywhere.
fn by_gateway(setting: Setting) -> Expect {
    let reasons = &[WireSpoof, Internal, OtherNetwork, ipvlan_common::DropReason::HostFilter];
    if setting.internal { Expect::drop(reasons) } else { Expect::drop(reasons).or_at(&[Place::Wire]) }
}

fn own_broadcast(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    frame::udp4(Link::broadcast(PARENT_MAC), world.old.ipv4, Ipv4Addr::BROADCAST, marker)
}

fn old_broadcast(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let frame = own_broadcast(world, family, marker)?;
    world.old.netns.enter(|| {
        keep(Capability::NetRaw)?;
        PacketSocket::sender_here(INTERFACE)?.send(&frame)
    })
}

fn old_network(world: &World, _: Family, marker: &[u8]) -> Result<()> {
    let own = Ipv6Addr::new(0xfd00, 3, 0, 0, 0, 0, 0, 0x11);
    let frame = frame::udp6(TO_LAN, own, world.attacker.network.ipv6(1), marker)?;
    world.old.netns.enter(|| {
        keep(Capability::NetRaw)?;
        PacketSocket::sender_here(INTERFACE)?.send(&frame)
    })
}
