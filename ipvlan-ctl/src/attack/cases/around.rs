//! Past the program on the sender's egress: by the driver's own queue, and by a checksum that is written behind every verdict.

use anyhow::Result;
use ipvlan_common::DropReason::{Malformed, Unsealed};

use super::{BOTH, ROUTED, V4, V6};
use crate::{
    attack::{
        case::{Act, Build, Capability, Case, Class, Expect},
        setting::{Family, Setting},
        world::{Who, World, keep},
    },
    model::Flag,
    sandbox::{
        Door, INTERFACE, LAN, PARENT_MAC, SHARED, TO_LAN,
        frame::{self, Arp, Link},
        offload::{self, Offload},
        packet::PacketSocket,
    },
};

pub(super) const CASES: &[Case] = &[
    inside(bypass("bypass-to-peer", "to a peer, past tc egress", to_peer)),
    inside(bypass("bypass-as-gateway", "to a peer as the gateway, past tc egress", gateway_to_peer)),
    inside(bypass("bypass-as-stranger-to-peer", "to a peer from far away, past tc egress", stranger_to_peer)),
    bypass("bypass-to-host", "into the host, past tc egress", to_host),
    inside(bypass("bypass-to-other", "to another network, past tc egress", to_other)),
    bypass("bypass-to-wire", "to the LAN, past tc egress", to_wire),
    bypass("bypass-as-peer", "to the LAN as a peer, past tc egress", peer_to_wire),
    bypass("bypass-as-stranger", "to the LAN from far away, past tc egress", stranger_to_wire),
    bypass("bypass-as-stranger-to-host", "into the host from far away, past tc egress", stranger_to_host),
    Case { families: V4, ..bypass("bypass-to-all", "a broadcast, past tc egress", broadcast) },
    Case { families: V4, ..bypass("bypass-arp", "\"the gateway's address is mine\", past tc egress", arp) },
    Case {
        families: V6,
        ..bypass("bypass-nd", "\"a peer's address is mine\", past tc egress", advertisement)
    },
    inside(xdp("xdp-to-peer", "to a peer, out of an AF_XDP socket", to_peer)),
    xdp("xdp-to-host", "into the host, out of an AF_XDP socket", to_host),
    xdp("xdp-to-wire", "to the LAN as a peer, out of an AF_XDP socket", peer_to_wire),
    xdp("xdp-as-stranger", "to the LAN from far away, out of an AF_XDP socket", stranger_to_wire),
    Class::Around.acts(
        "checksum-source",
        "a checksum asked for where the source is",
        V4,
        Act::Do(checksum_for_source),
        |_| Expect::drop(&[Malformed]),
    ),
];

pub(super) const fn bypass(id: &'static str, what: &'static str, build: Build) -> Case {
    Class::Around.acts(id, what, BOTH, Act::Send(Door::Bypass, build), unsealed)
}

const fn xdp(id: &'static str, what: &'static str, build: Build) -> Case {
    Class::Around.acts(id, what, BOTH, Act::Send(Door::Xdp, build), unsealed)
}

/// To another endpoint.
pub(super) const fn inside(case: Case) -> Case {
    let expect: fn(Setting) -> Expect = |setting| {
        let routed = setting.flag == Flag::Vepa && !setting.is_l2();
        if routed { Expect::pointless(ROUTED) } else { unsealed(setting) }
    };
    Case { expect, ..case }
}

fn unsealed(_: Setting) -> Expect {
    Expect::drop(&[Unsealed])
}

fn to_peer(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Attacker, Who::Peer, marker)
}

fn gateway_to_peer(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Gateway, Who::Peer, marker)
}

fn stranger_to_peer(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Stranger, Who::Peer, marker)
}

fn to_host(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Attacker, Who::Host, marker)
}

fn to_other(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Attacker, Who::Other, marker)
}

fn to_wire(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, marker)
}

fn peer_to_wire(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, TO_LAN, Who::Peer, Who::Gateway, marker)
}

fn stranger_to_wire(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, TO_LAN, Who::Stranger, Who::Gateway, marker)
}

fn stranger_to_host(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Stranger, Who::Host, marker)
}

fn broadcast(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    frame::udp4(Link::broadcast(PARENT_MAC), world.attacker.ipv4, std::net::Ipv4Addr::BROADCAST, marker)
}

fn advertisement(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    let (own, peer) = (world.attacker.ipv6, world.peer.ipv6);
    frame::neighbor_advertisement(PARENT_MAC, own, peer, PARENT_MAC, marker)
}

fn arp(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    let gateway = world.attacker.network.ipv4(LAN);
    frame::arp(Link::broadcast(PARENT_MAC), Arp::announcement(PARENT_MAC, gateway), marker)
}

/// A card that computes no checksums leaves that to the kernel, which writes them behind the last program. Where to is up to the
/// sender, and so is what, by what it fills the frame with: here, the source becomes a peer's.
fn checksum_for_source(world: &World, _: Family, marker: &[u8]) -> Result<()> {
    /// Where a frame has the low half of its IPv4 source.
    const SOURCE: usize = 14 + 14;
    let mut frame = frame::udp4(TO_LAN, world.attacker.ipv4, world.attacker.network.ipv4(LAN), marker)?;
    // A checksum of 0 is none.
    frame[40..42].fill(0);
    frame.resize(frame.len().next_multiple_of(2), 0);
    let [.., high, low] = world.peer.ipv4.octets();
    let filler = offload::filler(&frame[SOURCE..], u16::from_be_bytes([high, low]));
    frame.extend_from_slice(&filler);
    let host = &world.sandbox.host;
    host.enter(|| offload::switch(INTERFACE, Offload::TransmitChecksums, false))?;
    let sent = world.attacker.netns.enter(|| {
        keep(Capability::NetRaw)?;
        PacketSocket::sender_here(INTERFACE)?.send_with_checksum(&frame, SOURCE as u16, 0)
    });
    host.enter(|| offload::switch(INTERFACE, Offload::TransmitChecksums, true))?;
    sent
}
