//! What must go on working.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use etherparse::IpNumber;
use ipvlan_common::DropReason::{Internal, Private};

use super::{BOTH, ROUTED, V4, V6, group_or_nothing};
use crate::{
    attack::{
        case::{Act, Capability, Case, Class, Expect},
        setting::{Family, Place, Setting},
        world::{Who, World, keep},
    },
    model::{Flag, Mode},
    sandbox::{
        FROM_LAN, Netns, PARENT_MAC, SHARED, TO_LAN,
        frame::{self, Arp, Link, PORT},
    },
};

pub(super) const CASES: &[Case] = &[
    Class::Control.sends("own-to-peer", "a datagram of its own to a peer", BOTH, own_to_peer, peer),
    Class::Control.sends("own-to-wire", "a datagram of its own to the LAN", BOTH, own_to_wire, wire),
    Class::Control.acts("from-wire", "a datagram from the LAN", BOTH, Act::Lan(from_wire), inward),
    Class::Control.sends("own-fragment", "a later fragment of its own", BOTH, own_fragment, wire),
    Class::Control.sends("own-atomic", "all of its own in one fragment (RFC 6946)", V6, own_atomic, wire),
    Class::Control.sends("own-gre", "GRE of its own, whatever is inside", BOTH, own_gre, wire),
    Class::Control.sends("own-arp", "an announcement of its own address", V4, own_arp, group_or_nothing),
    Class::Control.sends(
        "own-dad",
        "duplicate address detection for its own address",
        V6,
        own_dad,
        own_detection,
    ),
    Class::Control.acts(
        "tcp",
        "a megabyte by TCP, in segments as large as can be",
        BOTH,
        Act::Try(tcp),
        reachable,
    ),
];

fn own_to_peer(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Attacker, Who::Peer, marker)
}

fn own_to_wire(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, marker)
}

fn from_wire(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, FROM_LAN, Who::Gateway, Who::Attacker, marker)
}

fn own_fragment(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    frame::later_fragment(
        TO_LAN,
        world.address(family, Who::Attacker),
        world.address(family, Who::Gateway),
        marker,
    )
}

fn own_atomic(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    let frame = world.udp(family, TO_LAN, Who::Attacker, Who::Gateway, &[])?;
    frame::behind(frame, IpNumber::IPV6_FRAGMENTATION_HEADER.0, [17, 0, 0, 0, 0, 0, 0, 1], marker)
}

/// What a tunnel carries is between its two ends.
fn own_gre(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    let (own, to) = (world.address(family, Who::Attacker), world.address(family, Who::Gateway));
    frame::ip(TO_LAN, own, to, IpNumber::GRE, &[&[0, 0, 8, 0], marker].concat())
}

fn own_arp(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    let own = world.attacker.ipv4;
    frame::arp(Link::broadcast(PARENT_MAC), Arp::announcement(PARENT_MAC, own), marker)
}

fn own_dad(world: &World, _: Family, marker: &[u8]) -> Result<Vec<u8>> {
    frame::neighbor_solicitation(PARENT_MAC, std::net::Ipv6Addr::UNSPECIFIED, world.attacker.ipv6, marker)
}

fn peer(setting: Setting) -> Expect {
    match setting {
        Setting { flag: Flag::Bridge, .. } => Expect::pass(&[Place::Peer]),
        Setting { flag: Flag::Private, .. } => Expect::drop(&[Private]),
        Setting { flag: Flag::Vepa, .. } if !setting.is_l2() => Expect::pointless(ROUTED),
        Setting { flag: Flag::Vepa, internal: true, .. } => Expect::drop(&[Internal]),
        Setting { flag: Flag::Vepa, .. } => Expect::pass(&[Place::Wire, Place::Peer]),
    }
}

fn wire(setting: Setting) -> Expect {
    if setting.internal { Expect::drop(&[Internal]) } else { Expect::pass(&[Place::Wire]) }
}

fn inward(setting: Setting) -> Expect {
    // In mode l3s it comes by way of the host's stack.
    let by_host = if setting.mode == Mode::L3s { &[Place::Host][..] } else { &[] };
    if setting.internal { Expect::drop(&[Internal]) } else { Expect::pass(&[Place::Attacker]).or_at(by_host) }
}

/// A slave's filter for groups is a hash: who isn't asked may get it or not.
fn own_detection(setting: Setting) -> Expect {
    if !setting.is_l2() {
        return Expect::pointless("slaves discover no neighbours");
    }
    let expect = group_or_nothing(setting);
    if !setting.internal {
        return Expect::pass(&[Place::Wire]).or_at(if setting.flag == Flag::Private {
            &[]
        } else {
            &[Place::Peer]
        });
    }
    Expect::pass(&[]).or_at(expect.must)
}

/// What can answer: the LAN, or a peer.
fn reachable(setting: Setting) -> Expect {
    match setting {
        Setting { internal: true, flag: Flag::Private | Flag::Vepa, .. } => {
            Expect::pointless("nobody may answer")
        }
        _ => Expect::pass(&[]),
    }
}

fn tcp(world: &World, family: Family) -> Result<bool> {
    let (to, who) = if world.setting.internal {
        (&world.peer.netns, Who::Peer)
    } else {
        (&world.sandbox.lan, Who::Gateway)
    };
    let address = SocketAddr::from((world.address(family, who), PORT));
    // A cut connection is what is looked for, not a failure.
    Ok(stream(&world.attacker.netns, to, address).is_ok())
}

fn stream(from: &Netns, to: &Netns, address: SocketAddr) -> Result<()> {
    const CHUNK: usize = 65_536;
    const CHUNKS: usize = 16;
    const PATIENCE: Duration = Duration::from_secs(5);
    let listener = to.enter(|| TcpListener::bind(address).context("listen"))?;
    let mut sender = from.enter(|| {
        keep(Capability::Nothing)?;
        TcpStream::connect_timeout(&address, PATIENCE).context("connect")
    })?;
    sender.set_write_timeout(Some(PATIENCE))?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let writer = thread::spawn(move || (0..CHUNKS).try_for_each(|_| sender.write_all(&[0x5a; CHUNK])));
    let mut received = Vec::new();
    receiver.read_to_end(&mut received)?;
    writer.join().map_err(|_panic| anyhow!("the sender panicked"))??;
    anyhow::ensure!(received.len() == CHUNK * CHUNKS, "{} bytes arrived", received.len());
    Ok(())
}
