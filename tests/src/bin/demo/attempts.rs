//! What endpoints try, and what must come of it.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context as _, Result};
use etherparse::ArpOperation;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Endpoint, Marker, Network, Watch,
    frame::{self, Arp, Link, PORT},
    sandbox::{HOST, INTERFACE, LAN, PARENT_MAC, TO_LAN, mac, static_neighbor},
};

use crate::world::{DB, LAB, VAULT, WEB, World};

/// Whether what was sent arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    Stopped,
}

use Outcome::{Delivered, Stopped};

/// One act, the same on stock ipvlan and with enforcement.
pub(crate) struct Attempt {
    pub(crate) what: &'static str,
    /// The network it happens in.
    pub(crate) network: &'static Network,
    /// What stock ipvlan makes of it.
    pub(crate) stock: Outcome,
    /// Which counter of whose must rise with enforcement; `None` if it must pass.
    pub(crate) dropped: Option<(DropReason, &'static str)>,
    /// Acts. Told what to expect, so that it waits only for what should come.
    pub(crate) act: fn(&World, Outcome) -> Result<Outcome>,
}

/// Every attempt, in the order of the table.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        what: "ping a peer",
        network: &WEB,
        stock: Delivered,
        dropped: None,
        act: |world, _| ping(&world.web, &world.api.ipv4.to_string()),
    },
    Attempt {
        what: "ping a peer over IPv6",
        network: &WEB,
        stock: Delivered,
        dropped: None,
        act: |world, _| ping(&world.web, &world.api.ipv6.to_string()),
    },
    Attempt {
        what: "ping the gateway",
        network: &WEB,
        stock: Delivered,
        dropped: None,
        act: |world, _| ping(&world.web, &WEB.ipv4(LAN).to_string()),
    },
    Attempt {
        what: "UDP into a host socket, by a static neighbour entry",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::HostFilter, "web")),
        act: host_socket,
    },
    Attempt {
        what: "a frame to a peer past tc egress (PACKET_QDISC_BYPASS)",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::Unsealed, "api")),
        act: |world, hope| {
            let (web, api) = (&world.web, &world.api);
            to_endpoint(web, api, Door::Bypass, hope, |marker| {
                frame::udp4(Link::shared(PARENT_MAC), web.ipv4, api.ipv4, marker)
            })
        },
    },
    Attempt {
        what: "UDP to the LAN host from a peer's address",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::SourceIpv4, "web")),
        act: |world, hope| {
            to_lan(world, &world.web, hope, |marker| {
                frame::udp4(TO_LAN, world.api.ipv4, WEB.ipv4(LAN), marker)
            })
        },
    },
    Attempt {
        what: "the same over IPv6",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::SourceIpv6, "web")),
        act: |world, hope| {
            to_lan(world, &world.web, hope, |marker| {
                frame::udp6(TO_LAN, world.api.ipv6, WEB.ipv6(LAN), marker)
            })
        },
    },
    Attempt {
        what: "ARP: \"the gateway's address is mine\"",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::ArpSpoof, "web")),
        act: |world, hope| {
            to_endpoint(&world.web, &world.api, Door::Queue, hope, |marker| {
                let claim = Arp {
                    operation: ArpOperation::REPLY,
                    sender_mac: PARENT_MAC,
                    sender: WEB.ipv4(LAN),
                    target: world.api.ipv4,
                };
                frame::arp(Link::broadcast(PARENT_MAC), claim, marker)
            })
        },
    },
    Attempt {
        what: "UDP to a socket in another network on the parent",
        network: &WEB,
        stock: Delivered,
        dropped: Some((DropReason::OtherNetwork, "web")),
        act: other_network,
    },
    Attempt {
        what: "internal network: UDP to the LAN host",
        network: &VAULT,
        stock: Delivered,
        dropped: Some((DropReason::Internal, "vault")),
        act: |world, hope| {
            to_lan(world, &world.vault, hope, |marker| {
                frame::udp4(TO_LAN, world.vault.ipv4, VAULT.ipv4(LAN), marker)
            })
        },
    },
    Attempt {
        what: "private network: UDP to a peer",
        network: &LAB,
        stock: Stopped,
        dropped: Some((DropReason::Private, "lab1")),
        act: |world, hope| private_peer(world, Link::shared(PARENT_MAC), world.lab2.ipv4, hope),
    },
    Attempt {
        what: "private network: a broadcast to its peers",
        network: &LAB,
        stock: Delivered,
        dropped: Some((DropReason::Flood, "lab2")),
        act: |world, hope| private_peer(world, Link::broadcast(PARENT_MAC), Ipv4Addr::BROADCAST, hope),
    },
];

fn ping(from: &Endpoint, address: &str) -> Result<Outcome> {
    Ok(if from.netns.pings(address, 56, 5)? { Delivered } else { Stopped })
}

/// A plain datagram: what any program in a container can send, given the neighbour entry.
fn host_socket(world: &World, hope: Outcome) -> Result<Outcome> {
    let host = WEB.ipv4(HOST);
    world
        .web
        .netns
        .ip(&format!("neigh replace {host} lladdr {} dev {INTERFACE} nud permanent", mac(PARENT_MAC)))?;
    let watch = Watch::new().socket("host", &world.sandbox.host)?;
    observe(&watch, "host", hope, |marker| datagram(&world.web, &host.to_string(), marker))
}

fn other_network(world: &World, hope: Outcome) -> Result<Outcome> {
    let db = DB.ipv4(11).to_string();
    static_neighbor(&world.web.netns, &db)?;
    let watch = Watch::new().socket("db", &world.db.netns)?;
    observe(&watch, "db", hope, |marker| datagram(&world.web, &db, marker))
}

fn private_peer(world: &World, link: Link, destination: Ipv4Addr, hope: Outcome) -> Result<Outcome> {
    let (lab1, lab2) = (&world.lab1, &world.lab2);
    to_endpoint(lab1, lab2, Door::Queue, hope, |marker| frame::udp4(link, lab1.ipv4, destination, marker))
}

fn datagram(from: &Endpoint, address: &str, payload: &[u8]) -> Result<()> {
    from.netns.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").context("bind a UDP socket")?;
        socket.send_to(payload, (address, PORT)).with_context(|| format!("send to {address}"))?;
        Ok(())
    })
}

fn to_endpoint(
    from: &Endpoint,
    to: &Endpoint,
    door: Door,
    hope: Outcome,
    build: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<Outcome> {
    let watch = Watch::new().accepted(&to.name, &to.netns, INTERFACE)?;
    observe(&watch, &to.name, hope, |marker| from.send(&build(marker)?, door))
}

fn to_lan(
    world: &World,
    from: &Endpoint,
    hope: Outcome,
    build: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<Outcome> {
    let watch = Watch::new().wire("lan", &world.sandbox.lan, INTERFACE)?;
    observe(&watch, "lan", hope, |marker| from.send(&build(marker)?, Door::Queue))
}

fn observe(
    watch: &Watch,
    place: &str,
    hope: Outcome,
    send: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<Outcome> {
    let marker = Marker::unique();
    send(marker.bytes())?;
    let expected: &[&str] = if hope == Delivered { &[place] } else { &[] };
    let seen = watch.seen(&marker, expected)?;
    Ok(if seen.contains(place) { Delivered } else { Stopped })
}
