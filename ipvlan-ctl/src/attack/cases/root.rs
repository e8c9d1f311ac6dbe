//! What root inside a container, without a user namespace, can do to its own interface.

use std::{thread, time::Duration};

use anyhow::Result;
use ipvlan_common::DropReason::{HostFilter, Internal, SourceIpv4, SourceIpv6, Unsealed};

use super::BOTH;
use crate::attack::{
    case::{Act, Capability, Case, Class, Expect},
    setting::{Family, Place, Setting},
    world::{Who, World, keep},
};
use crate::{
    model::{Flag, Mode},
    sandbox::{FROM_LAN, INTERFACE, SHARED, TO_LAN, packet::PacketSocket},
};

/// A second slave, without programs of ours.
pub(super) const SIBLING: &str = "eth1";
const NO_ADMIN: &str =
    "don't give containers CAP_NET_ADMIN, or give them a user namespace; `audit` shows it when it happens";

pub(super) const CASES: &[Case] = &[
    root(
        "sibling-to-peer",
        "to a peer, by a second slave",
        BOTH,
        |world, family, marker| sibling(world, &world.udp(family, SHARED, Who::Stranger, Who::Peer, marker)?),
        |_| Expect::drop(&[Unsealed]),
    ),
    root(
        "sibling-to-host",
        "into the host, by a second slave",
        BOTH,
        |world, family, marker| sibling(world, &world.udp(family, SHARED, Who::Peer, Who::Host, marker)?),
        |_| Expect::drop(&[Unsealed]),
    ),
    root(
        "sibling-to-wire",
        "to the LAN as a peer, by a second slave",
        BOTH,
        |world, family, marker| sibling(world, &world.udp(family, TO_LAN, Who::Peer, Who::Gateway, marker)?),
        |_| Expect::drop(&[Unsealed]),
    ),
    uncontained(
        "steal-host",
        "taking the host's address: does the LAN still reach the host?",
        steal_host,
        |_| Expect::pass(&[Place::Host]).known(),
    ),
    uncontained(
        "steal-far",
        "taking an address far away: does a peer still reach it?",
        steal_far,
        |setting| {
            if setting.internal {
                Expect::pointless("nobody there reaches it")
            } else if setting.is_l2() {
                Expect::pass(&[Place::Wire])
            } else {
                // There, ipvlan finds the thief before the host's routes are asked.
                Expect::pass(&[Place::Wire]).known()
            }
        },
    ),
    root(
        "stripped",
        "to the LAN as a peer, after 'tc qdisc del dev eth0 clsact'",
        BOTH,
        |world, family, marker| {
            let netns = &world.root.netns;
            let _nothing_there = netns.tc(&format!("qdisc del dev {INTERFACE} clsact"));
            let frame = world.udp(family, TO_LAN, Who::Peer, Who::Gateway, marker)?;
            send(world, INTERFACE, &frame)
        },
        |_| Expect::drop(&[SourceIpv4, SourceIpv6, Unsealed]),
    ),
    root("flip-mode", "into the host, after switching the parent's mode", BOTH, flip, |_| {
        Expect::drop(&[HostFilter, Internal, Unsealed])
    }),
];

pub(super) const fn root(
    id: &'static str,
    what: &'static str,
    families: &'static [Family],
    act: fn(&World, Family, &[u8]) -> Result<()>,
    expect: fn(Setting) -> Expect,
) -> Case {
    let needs = Capability::NetAdmin;
    Case { id, what, class: Class::Root, families, needs, act: Act::Do(act), expect, advice: None }
}

/// What isn't contained in each setting where `expect` knows of it.
pub(super) const fn uncontained(
    id: &'static str,
    what: &'static str,
    act: fn(&World, Family, &[u8]) -> Result<()>,
    expect: fn(Setting) -> Expect,
) -> Case {
    Case { advice: Some(NO_ADMIN), ..root(id, what, BOTH, act, expect) }
}

fn send(world: &World, interface: &str, frame: &[u8]) -> Result<()> {
    world.root.netns.enter(|| {
        keep(Capability::NetAdmin)?;
        PacketSocket::sender_here(interface)?.send(frame)
    })
}

pub(super) fn sibling(world: &World, frame: &[u8]) -> Result<()> {
    make_sibling(world)?;
    send(world, SIBLING, frame)
}

pub(super) fn make_sibling(world: &World) -> Result<()> {
    let netns = &world.root.netns;
    if netns.ifindex(SIBLING).is_err() {
        netns.ip(&format!(
            "link add link {INTERFACE} name {SIBLING} type ipvlan mode {} {}",
            world.setting.mode,
            flag(world)
        ))?;
        netns.ip(&format!("link set {SIBLING} up"))?;
    }
    Ok(())
}

/// The parent's flag, which every word on it says again. A private network's parent is in bridge mode with enforcement.
fn flag(world: &World) -> Flag {
    let Setting { flag, .. } = world.setting;
    if world.is_enforced() && flag == Flag::Private { Flag::Bridge } else { flag }
}

/// Frames from the wire take a moment, in which the address has to stay.
fn while_having(world: &World, address: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    const MOMENT: Duration = Duration::from_millis(100);
    let netns = &world.root.netns;
    netns.ip(&format!("addr add {address} dev {INTERFACE}"))?;
    let done = act();
    thread::sleep(MOMENT);
    netns.ip(&format!("addr del {address} dev {INTERFACE}"))?;
    done
}

fn single(world: &World, family: Family, who: Who) -> String {
    let prefix = if family == Family::V4 { "/32" } else { "/128" };
    format!("{}{prefix}", world.address(family, who))
}

fn steal_host(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let frame = world.udp(family, FROM_LAN, Who::Gateway, Who::Host, marker)?;
    while_having(world, &single(world, family, Who::Host), || world.lan_sends(&frame))
}

fn steal_far(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let frame = world.udp(family, TO_LAN, Who::Peer, Who::Stranger, marker)?;
    while_having(world, &single(world, family, Who::Stranger), || {
        world.peer.netns.enter(|| {
            keep(Capability::NetRaw)?;
            PacketSocket::sender_here(INTERFACE)?.send(&frame)
        })
    })
}

fn flip(world: &World, family: Family, marker: &[u8]) -> Result<()> {
    let frame = world.udp(family, SHARED, Who::Attacker, Who::Host, marker)?;
    let other = if world.setting.is_l2() { Mode::L3 } else { Mode::L2 };
    switched(world, other, || world.send(crate::sandbox::Door::Queue, &frame))
}

/// The mode is the parent's, and any slave can switch it.
pub(super) fn switched(world: &World, mode: Mode, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let switch = |mode: Mode| {
        let words = format!("link set {INTERFACE} type ipvlan mode {mode} {}", flag(world));
        world.root.netns.ip(&words).map(drop)
    };
    switch(mode)?;
    let done = act();
    switch(world.setting.mode)?;
    done
}
