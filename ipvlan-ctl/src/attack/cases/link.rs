//! Ethernet: MAC addresses, tags, protocols that no endpoint speaks, and frames that contradict themselves.

use anyhow::{Context as _, Result};
use ipvlan_common::DropReason::{
    EtherType, GroupMismatch, GroupRate, Malformed, ProtocolMismatch, SourceMac, VlanTag,
};

use super::{BOTH, V4, not_to_host};
use crate::attack::{
    case::{Act, Capability, Case, Class, Expect},
    setting::{Family, Place, Setting},
    world::{Who, World, keep},
};
use crate::sandbox::{
    INTERFACE, LAN_MAC, PARENT_MAC, SHARED, STRANGER_MAC, TO_LAN,
    frame::{self, Link},
    packet::{ETH_IPV4, ETH_IPV6, PacketSocket},
};

/// Where bridges of the IEEE's kind speak to each other.
const BRIDGES: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
const SLOW: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x02];
const PORT_ACCESS: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x03];
const PAUSE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x01];

pub(super) const CASES: &[Case] = &[
    Class::Link.sends(
        "forged-mac",
        "to the LAN, with a stranger's MAC",
        BOTH,
        |world, family, marker| {
            let stranger = Link { source: STRANGER_MAC, destination: LAN_MAC };
            world.udp(family, stranger, Who::Attacker, Who::Gateway, marker)
        },
        |_| Expect::drop(&[SourceMac]),
    ),
    Class::Link.sends(
        "host-unicast",
        "into the host, with the parent's MAC twice",
        BOTH,
        |world, family, marker| world.udp(family, SHARED, Who::Attacker, Who::Host, marker),
        not_to_host,
    ),
    Class::Link.sends(
        "host-made-up-macs",
        "into the host, with a made-up MAC twice",
        BOTH,
        |world, family, marker| world.udp(family, Link::shared(LAN_MAC), Who::Attacker, Who::Host, marker),
        |_| Expect::drop(&[SourceMac]),
    ),
    Class::Link.sends(
        "host-broadcast",
        "into the host, in a broadcast frame",
        BOTH,
        |world, family, marker| {
            world.udp(family, Link::broadcast(PARENT_MAC), Who::Attacker, Who::Host, marker)
        },
        |_| Expect::drop(&[GroupMismatch]),
    ),
    Class::Link.sends(
        "unicast-in-broadcast",
        "to a peer, in a broadcast frame",
        BOTH,
        |world, family, marker| {
            world.udp(family, Link::broadcast(PARENT_MAC), Who::Attacker, Who::Peer, marker)
        },
        |_| Expect::drop(&[GroupMismatch]),
    ),
    Class::Link.sends(
        "vlan-tag",
        "with a VLAN tag",
        V4,
        |world, _, marker| {
            frame::vlan_udp4(TO_LAN, world.attacker.ipv4, world.attacker.network.ipv4(1), marker)
        },
        |_| Expect::drop(&[VlanTag]),
    ),
    Class::Link.sends(
        "qinq-tag",
        "with a service tag of QinQ",
        V4,
        |_, _, marker| frame::raw(TO_LAN, 0x88a8, &[&[0, 7, 0x08, 0][..], marker].concat()),
        |_| Expect::drop(&[VlanTag, EtherType]),
    ),
    Class::Link.sends(
        "stp",
        "spanning tree, as a bridge",
        V4,
        |_, _, marker| {
            // 802.3: a length for a type, then LLC.
            frame::raw(group(BRIDGES), 0x0026, &[&[0x42, 0x42, 0x03][..], marker].concat())
        },
        odd,
    ),
    Class::Link.sends(
        "lldp",
        "LLDP",
        V4,
        |_, _, marker| frame::raw(group(NEAREST_BRIDGE), 0x88cc, marker),
        odd,
    ),
    Class::Link.sends("lacp", "LACP", V4, |_, _, marker| frame::raw(group(SLOW), 0x8809, marker), odd),
    Class::Link.sends(
        "eapol",
        "802.1X",
        V4,
        |_, _, marker| frame::raw(group(PORT_ACCESS), 0x888e, marker),
        odd,
    ),
    Class::Link.sends(
        "pause",
        "flow control",
        V4,
        |_, _, marker| frame::raw(group(PAUSE), 0x8808, marker),
        odd,
    ),
    Class::Link.sends(
        "pppoe",
        "PPPoE discovery, to all",
        V4,
        |_, _, marker| frame::raw(Link::broadcast(PARENT_MAC), 0x8863, marker),
        odd,
    ),
    Class::Link.sends("mpls", "MPLS", V4, |_, _, marker| frame::raw(TO_LAN, 0x8847, marker), odd),
    Class::Link.sends(
        "profinet",
        "PROFINET, to the LAN",
        V4,
        |_, _, marker| frame::raw(TO_LAN, 0x8892, marker),
        odd,
    ),
    Class::Link.sends(
        "short-header",
        "a header length below the least",
        V4,
        |world, family, marker| {
            let mut frame = to_gateway(world, family, marker)?;
            frame[14] = 0x44;
            Ok(frame)
        },
        |_| Expect::drop(&[Malformed]),
    ),
    Class::Link.sends(
        "long-header",
        "a header length beyond the packet",
        V4,
        |world, family, marker| {
            let mut frame = to_gateway(world, family, &marker[..4.min(marker.len())])?;
            frame[14] = 0x4f;
            frame[16..18].copy_from_slice(&24u16.to_be_bytes());
            frame.extend_from_slice(marker);
            Ok(frame)
        },
        |_| Expect::drop(&[Malformed]),
    ),
    Class::Link.sends(
        "long-packet",
        "a length beyond the frame",
        BOTH,
        |world, family, marker| {
            let mut frame = to_gateway(world, family, marker)?;
            say_longer(&mut frame, family);
            Ok(frame)
        },
        |_| Expect::drop(&[Malformed]),
    ),
    Class::Link.sends(
        "long-packet-to-host",
        "a length beyond the frame, into the host",
        BOTH,
        |world, family, marker| {
            let mut frame = world.udp(family, SHARED, Who::Attacker, Who::Host, marker)?;
            say_longer(&mut frame, family);
            Ok(frame)
        },
        |_| Expect::drop(&[Malformed]),
    ),
    Class::Link.sends(
        "wrong-version",
        "a version that isn't the type's",
        BOTH,
        |world, family, marker| {
            let mut frame = to_gateway(world, family, marker)?;
            frame[14] = (frame[14] & 0x0f) | 0x50;
            Ok(frame)
        },
        |_| Expect::drop(&[Malformed]),
    ),
    Case {
        act: Act::Do(mismatch),
        ..Class::Link.sends(
            "protocol-field",
            "to a peer, by a socket that calls it the other protocol",
            BOTH,
            to_gateway,
            |_| Expect::drop(&[ProtocolMismatch]),
        )
    },
];

/// Fills the queue that all slaves share, and so comes after all that goes to groups.
pub(super) const STORM: &[Case] = &[Case {
    act: Act::Do(storm),
    ..Class::Link.sends("storm", "a storm of 300 broadcasts", V4, to_gateway, |setting| {
        if setting.is_l2() {
            // The first hundred pass.
            Expect::pass(&[]).or_at(&[Place::Peer, Place::Wire]).counted(&[GroupRate])
        } else {
            Expect::drop(&[GroupMismatch])
        }
    })
}];

const fn group(destination: [u8; 6]) -> Link {
    Link { source: PARENT_MAC, destination }
}

fn odd(_: Setting) -> Expect {
    Expect::drop(&[EtherType])
}

fn to_gateway(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, marker)
}

fn say_longer(frame: &mut [u8], family: Family) {
    let length = if family == Family::V4 { 16 } else { 18 };
    frame[length..length + 2].copy_from_slice(&1400u16.to_be_bytes());
}

/// ipvlan finds the receiver by the socket's word, not by the frame's.
fn mismatch(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let frame = world.udp(family, SHARED, Who::Attacker, Who::Peer, marker)?;
    let wrong = if family == Family::V4 { ETH_IPV6 } else { ETH_IPV4 };
    world.attacker.netns.enter(|| {
        keep(Capability::NetRaw)?;
        PacketSocket::sender_here(INTERFACE)?.send_as(&frame, wrong)
    })
}

/// All slaves of a parent share one queue for what goes to groups.
fn storm(world: &World, _: Family, marker: &[u8]) -> Result<()> {
    const FRAMES: usize = 300;
    let link = Link::broadcast(PARENT_MAC);
    let to = std::net::Ipv4Addr::BROADCAST;
    let plain = frame::udp4(link, world.attacker.ipv4, to, b"storm")?;
    let last = frame::udp4(link, world.attacker.ipv4, to, marker)?;
    world.attacker.netns.enter(|| {
        keep(Capability::NetRaw)?;
        let sender = PacketSocket::sender_here(INTERFACE).context("for a storm")?;
        (1..FRAMES).try_for_each(|_| sender.send(&plain))?;
        sender.send(&last)
    })
}
