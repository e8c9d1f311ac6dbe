//! What root inside a container sends on for a namespace of its own, and has rewritten behind our program: no socket tells whose it is.
//! A user namespace is no hindrance to any of it.

use anyhow::Result;
use ipvlan_common::{
    DropReason::{HostFilter, Internal, Unsealed},
    types::Mac,
};

use super::{
    BOTH,
    root::{SIBLING, make_sibling, root, switched, uncontained},
};
use crate::{
    attack::{
        case::{Case, Expect},
        setting::Family,
        world::{Who, World},
    },
    model::Mode,
    sandbox::{INTERFACE, LAN_MAC, Netns, frame::Link, mac, packet::PacketSocket},
};

/// The container's end of the way into the namespace inside.
const INSIDE: &str = "in0";
const INSIDE_MAC: Mac = [2, 0, 0, 0, 1, 1];
const SENDER_MAC: Mac = [2, 0, 0, 0, 1, 2];

pub(super) const CASES: &[Case] = &[
    root(
        "forwarded-to-wire",
        "to the LAN as a stranger, forwarded and rewritten behind the egress program",
        BOTH,
        |world, family, marker| forward(world, family, (Who::Stranger, Who::Gateway), marker),
        |_| Expect::drop(&[Unsealed, Internal]),
    ),
    root(
        "forwarded-to-host",
        "into the host as a stranger, forwarded and rewritten behind the egress program",
        BOTH,
        |world, family, marker| forward(world, family, (Who::Stranger, Who::Host), marker),
        |_| Expect::drop(&[Unsealed, HostFilter, Internal]),
    ),
    uncontained(
        "sibling-forwarded-to-wire",
        "to the LAN as a stranger, forwarded by a second slave, in mode l2 after switching the parent to l3",
        |world, family, marker| forward_by_sibling(world, family, (Who::Stranger, Who::Gateway), marker),
        |_| Expect::drop(&[Unsealed, Internal]).known(),
    ),
    uncontained(
        "sibling-forwarded-to-host",
        "into the host as a stranger, forwarded by a second slave, in mode l2 after switching the parent to l3",
        |world, family, marker| forward_by_sibling(world, family, (Who::Stranger, Who::Host), marker),
        |_| Expect::drop(&[Unsealed, HostFilter, Internal]).known(),
    ),
];

/// Has the container forward its own frame, which it then gives another source and another `tc_index`.
pub(super) fn forward(world: &World, family: Family, (source, to): (Who, Who), marker: &[u8]) -> Result<()> {
    let container = &world.root.netns;
    let address = world.address(family, to);
    if to == Who::Host {
        world.know_neighbor(&world.root, &address.to_string())?;
    } else if world.setting.is_l2() {
        container
            .ip(&format!("neigh replace {address} lladdr {} dev {INTERFACE} nud permanent", mac(LAN_MAC)))?;
    }
    let (protocol, header, sums) = match family {
        Family::V4 => ("ip", "ip", "ip4h and udp"),
        Family::V6 => ("ipv6", "ip6", "udp"),
    };
    let source = world.address(family, source);
    // Where there is no TCX, our programs are on it already.
    let _already_there = container.tc(&format!("qdisc add dev {INTERFACE} clsact"));
    container.tc(&format!(
        "filter add dev {INTERFACE} egress protocol {protocol} prio 60000 matchall classid 1:7777 \
         action pedit ex munge {header} src set {source} pipe action csum {sums} ok"
    ))?;
    send_inside(world, family, (Who::Root, to), marker)?;
    container.tc(&format!("filter del dev {INTERFACE} egress prio 60000")).map(drop)
}

/// Has the container forward a frame by a second slave, while the host routes what slaves send.
fn forward_by_sibling(world: &World, family: Family, (source, to): (Who, Who), marker: &[u8]) -> Result<()> {
    let (container, address) = (&world.root.netns, world.address(family, to));
    make_sibling(world)?;
    let mode = if world.setting.is_l2() { Mode::L3 } else { world.setting.mode };
    switched(world, mode, || {
        container.ip(&format!("route add {address} dev {SIBLING} metric 1"))?;
        let sent = send_inside(world, family, (source, to), marker);
        container.ip(&format!("route del {address} dev {SIBLING} metric 1"))?;
        sent
    })
}

/// Has a namespace inside the container send a frame, for it to forward.
fn send_inside(world: &World, family: Family, (source, to): (Who, Who), marker: &[u8]) -> Result<()> {
    let container = &world.root.netns;
    let inside = Netns::create(format!("{}-inside", container.name()))?;
    container.ip(&format!(
        "link add {INSIDE} address {} type veth peer name {INTERFACE} address {} netns {}",
        mac(INSIDE_MAC),
        mac(SENDER_MAC),
        inside.name()
    ))?;
    container.ip(&format!("link set {INSIDE} up"))?;
    inside.ip(&format!("link set {INTERFACE} up"))?;
    // A packet that comes in from an own address would be dropped as a martian.
    for (key, value) in [
        ("net/ipv4/ip_forward".to_owned(), "1"),
        ("net/ipv6/conf/all/forwarding".to_owned(), "1"),
        ("net/ipv4/conf/all/rp_filter".to_owned(), "0"),
        (format!("net/ipv4/conf/{INSIDE}/rp_filter"), "0"),
        (format!("net/ipv4/conf/{INSIDE}/accept_local"), "1"),
    ] {
        container.sysctl(&key, value)?;
    }
    let link = Link { source: SENDER_MAC, destination: INSIDE_MAC };
    let frame = world.udp(family, link, source, to, marker)?;
    inside.enter(|| PacketSocket::sender_here(INTERFACE)?.send(&frame))?;
    container.ip(&format!("link del {INSIDE}")).map(drop)
}
