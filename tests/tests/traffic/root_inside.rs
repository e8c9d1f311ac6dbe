//! What root in a container can do to its own interface, and what comes of it.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, bail, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Netns, Network, Snapshot,
    frame::{self, Link},
    harness::{Need, kernel_version, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN, LAN_MAC, PARENT_MAC, mac},
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    lab::{Lab, PARENT, SHARED, TO_LAN, eventually},
    lifecycle::leaks_nothing,
};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("root_inside::rewrites_behind_the_program", NEEDS, rewrites_behind_the_program),
        test("root_inside::makes_a_sibling_slave", NEEDS, makes_a_sibling_slave),
        test("root_inside::replays_a_seal", NEEDS, replays_a_seal),
        test("root_inside::switches_the_mode", NEEDS, switches_the_mode),
        test("root_inside::moves_its_slave_away", NEEDS, moves_its_slave_away),
        test("root_inside::hides_its_slave", NEEDS, hides_its_slave),
        test("root_inside::plants_a_decoy", NEEDS, plants_a_decoy),
    ]
}

/// A classifier behind our program changes a frame that has its seal already, which is of no use on the new one. With `ok` as its
/// last word the kernel also takes the slot off (Linux 6.12, tc_run).
fn rewrites_behind_the_program() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // Where there is no TCX, ours is on it already.
    let _already_there = a.netns.tc(&format!("qdisc add dev {INTERFACE} clsact"));
    let queue = ("a", Door::Queue);
    for last_word in ["continue", "ok"] {
        a.netns.tc(&format!(
            "filter add dev {INTERFACE} egress protocol ip prio 10 matchall \
             action pedit ex munge ip src set {STRANGER} pipe action csum ip and udp {last_word}"
        ))?;
        let to_wire = (DropReason::Unsealed, PARENT);
        lab.refused(&format!("to the wire, {last_word}"), to_wire, queue, |marker| {
            frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
        })?;
        let to_peer = (DropReason::Unsealed, "b");
        lab.refused(&format!("to a peer, {last_word}"), to_peer, queue, |marker| {
            frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
        })?;
        a.netns.tc(&format!("filter del dev {INTERFACE} egress protocol ip prio 10"))?;
    }
    Ok(())
}

/// On a second slave, frames arrive with their seals on. A classifier there makes others of them and sends them on.
fn replays_a_seal() -> Result<()> {
    const SIBLING: &str = "eth1";
    let lab = Lab::new(&[(NET, &["a", "b"]), (Network::bridge("web_net", 2), &["c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    let (gateway, own) = (NET.ipv4(LAN), mac(PARENT_MAC));
    let bait = NET.ipv4(99);
    a.netns.ip(&format!("link add link {INTERFACE} name {SIBLING} type ipvlan mode l2"))?;
    a.netns.ip(&format!("addr add {bait}/32 dev {SIBLING}"))?;
    a.netns.ip(&format!("link set {SIBLING} up"))?;
    a.netns.tc(&format!("qdisc add dev {SIBLING} clsact"))?;
    let resend = |changes: &str| {
        let _none_yet = a.netns.tc(&format!("filter del dev {SIBLING} ingress protocol ip prio 10"));
        a.netns.tc(&format!(
            "filter add dev {SIBLING} ingress protocol ip prio 10 matchall \
             action pedit ex {changes} pipe action csum ip and udp pipe action mirred egress redirect dev {SIBLING}"
        ))
    };
    for (what, changes, charged) in [
        ("to a peer", format!("munge ip dst set {}", a.ipv4), "a"),
        ("to another network", format!("munge ip dst set {}", c.ipv4), "c"),
        ("to the wire", format!("munge eth dst set {} munge ip dst set {gateway}", mac(LAN_MAC)), PARENT),
        ("to the host", format!("munge ip dst set {}", NET.ipv4(HOST)), PARENT),
    ] {
        resend(&changes)?;
        lab.refused(what, (DropReason::Unsealed, charged), ("b", Door::Queue), |marker| {
            frame::udp4(SHARED, b.ipv4, bait, marker)
        })?;
    }
    // A broadcast of the wire becomes a frame to somebody in particular.
    resend(&format!("munge eth dst set {own} munge eth src set {own} munge ip dst set {}", c.ipv4))?;
    let everywhere = ["host", "host socket", "a", "b", "c"];
    lab.dropped_behind("from the wire", &everywhere, (DropReason::Unsealed, "c"), |marker| {
        let link = Link::broadcast(LAN_MAC);
        lab.lan_sends(&frame::udp4(link, gateway, Ipv4Addr::BROADCAST, marker)?)
    })
}

/// The mode is the parent's, and any slave can switch it. The frames then take ways that they should not, on which no seal holds.
fn switches_the_mode() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let a = lab.endpoint("a");
    for mode in ["l3", "l3s"] {
        a.netns.ip(&format!("link set {INTERFACE} type ipvlan mode {mode}"))?;
        for door in [Door::Queue, Door::Bypass] {
            let to_host = (DropReason::Unsealed, PARENT);
            lab.refused(
                &format!("to the host, switched to {mode}, {door:?}"),
                to_host,
                ("a", door),
                |marker| frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker),
            )?;
            lab.refused(
                &format!("to the host, switched to {mode}, IPv6, {door:?}"),
                to_host,
                ("a", door),
                |marker| frame::udp6(SHARED, a.ipv6, NET.ipv6(HOST), marker),
            )?;
        }
    }
    Ok(())
}

/// A second slave on the same parent, with no program of ours.
fn makes_a_sibling_slave() -> Result<()> {
    const SIBLING: &str = "eth1";
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    a.netns.ip(&format!("link add link {INTERFACE} name {SIBLING} type ipvlan mode l2"))?;
    a.netns.ip(&format!("link set {SIBLING} up"))?;
    let host = NET.ipv4(HOST);
    for (what, charged, link, source, destination) in [
        ("to a peer", "b", SHARED, a.ipv4, b.ipv4),
        ("to a peer as a stranger", "b", SHARED, STRANGER, b.ipv4),
        ("to the host", PARENT, SHARED, a.ipv4, host),
        ("to the wire", PARENT, TO_LAN, a.ipv4, NET.ipv4(LAN)),
        ("to the wire as a stranger", PARENT, TO_LAN, STRANGER, NET.ipv4(LAN)),
        ("to the wire as the host", PARENT, TO_LAN, host, NET.ipv4(LAN)),
    ] {
        lab.dropped(what, (DropReason::Unsealed, charged), |marker| {
            let frame = frame::udp4(link, source, destination, marker)?;
            PacketSocket::sender(&a.netns, SIBLING)?.send(&frame)
        })?;
    }
    Ok(())
}

/// Moves the slave of `a` into a namespace of its owner's own.
fn move_away(lab: &Lab) -> Result<Netns> {
    let nested = lab.sandbox.netns("nested")?;
    lab.endpoint("a").netns.ip(&format!("link set {INTERFACE} netns {}", nested.name()))?;
    nested.ip(&format!("link set {INTERFACE} up"))?;
    Ok(nested)
}

/// Detach takes the slave away wherever it is.
fn moves_its_slave_away() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let nested = move_away(&lab)?;
    lab.sandbox.ctl("detach a")?;
    ensure!(nested.ifindex(INTERFACE).is_err(), "the slave lives on in the nested namespace");
    lab.sandbox.ctl("detach b")?;
    lab.sandbox.ctl(&format!("network rm {}", NET.name)).map(drop)
}

/// A slave in a namespace that only a socket holds, which nobody can find: it stays enforced, and detach says so.
fn hides_its_slave() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let nested = move_away(&lab)?;
    let socket = PacketSocket::sender(&nested, INTERFACE)?;
    drop(nested);
    let spoof = |why| {
        lab.dropped("a spoof from the hidden slave", why, |marker| {
            socket.send(&frame::udp4(SHARED, STRANGER, b.ipv4, marker)?)
        })
    };
    let before = Snapshot::take(&lab.sandbox, &[])?;
    let detached = lab.sandbox.try_ctl("detach a")?;
    if kernel_version() < (6, 6) {
        // Its programs are gone with the move, so that it has no seal, and nobody can say whether it still exists.
        ensure!(detached.status.success(), "detach fails");
        return spoof((DropReason::Unsealed, "b"));
    }
    let text = String::from_utf8_lossy(&detached.stderr);
    ensure!(detached.status.code() == Some(1), "detach ends with {}: {text}", detached.status);
    for part in ["endpoint 'a'", a.netns.name(), "ipvlan-ctl detach a"] {
        ensure!(text.contains(part), "the error doesn't name {part}: {text}");
    }
    let changes = Snapshot::take(&lab.sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "detach of a slave that it can't find: {changes:#?}");
    spoof((DropReason::SourceIpv4, "a"))?;
    let kept = lab.sandbox.try_ctl(&format!("network rm {}", NET.name))?;
    ensure!(!kept.status.success(), "the network of the hidden slave is removed");

    drop(socket);
    // The kernel takes a namespace apart after its last user has gone.
    eventually("detach of the endpoint", || Ok(lab.sandbox.try_ctl("detach a")?.status.success()))
}

/// While an endpoint is made, root inside renames whatever appears, and puts something else in its place.
fn plants_a_decoy() -> Result<()> {
    let lab = Lab::new(&[(NET, &["b"])])?;
    let netns = lab.sandbox.netns("a")?;
    let done = AtomicBool::new(false);
    let attached = thread::scope(|scope| {
        let thief = scope.spawn(|| steal_names(&netns, &done));
        let words = format!("attach {} --netns {} --name a --ip {}", NET.name, netns.name(), NET.ipv4(12));
        let attached = lab.sandbox.try_ctl(&words);
        done.store(true, Ordering::Relaxed);
        let stolen = thief.join().unwrap_or_else(|_panic| bail!("the thief panicked"));
        attached.and_then(|attached| Ok((attached, stolen?)))
    });
    let (attached, stolen) = attached?;
    for name in &stolen {
        for (side, attach_type) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            let filters = netns.tc(&format!("filter show dev {name} {side}"))?;
            let ifindex = netns.ifindex(name)?;
            let programs = netns.enter(|| Ok(SchedClassifier::query_tcx(ifindex, attach_type)))?;
            let programs = programs.map(|(_, programs)| programs.len()).unwrap_or_default();
            ensure!(filters.is_empty() && programs == 0, "the decoy {name} has our programs");
        }
    }
    if attached.status.success() {
        return leaks_nothing(&lab, &netns);
    }
    ensure!(
        !stolen.is_empty(),
        "attach fails without a reason: {}",
        String::from_utf8_lossy(&attached.stderr)
    );
    let slaves = netns.ip("link show type ipvlan")?;
    ensure!(slaves.trim().is_empty(), "a failed attach leaves {slaves}");
    Ok(())
}

/// Renames each slave that isn't complete yet, and gives its name to something else; returns the names.
fn steal_names(netns: &Netns, done: &AtomicBool) -> Result<Vec<String>> {
    let mut stolen = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let links: Vec<Value> = serde_json::from_str(&netns.ip("-json link show type ipvlan")?)?;
        for name in links.iter().filter_map(|link| link["ifname"].as_str()) {
            if name != INTERFACE
                && name != "stolen"
                && netns.ip(&format!("link set {name} name stolen")).is_ok()
            {
                netns.ip(&format!("link add {name} type dummy"))?;
                stolen.push(name.to_owned());
            }
        }
    }
    Ok(stolen)
}
