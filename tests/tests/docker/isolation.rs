//! What a container on the built-in driver gets through, and on ours doesn't.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Door, Marker, Netns, Sender, Stats, Watch,
    frame::{self, Arp, Link},
    sandbox::{INTERFACE, PARENT_MAC, SHARED, TO_LAN},
};
use libtest_mimic::Trial;

use crate::{
    engine::{Engine, IMAGE},
    inside, test,
};

const HOST: [u8; 4] = [192, 168, 1, 250];
const LAN: [u8; 4] = [192, 168, 1, 1];
const A: [u8; 4] = [192, 168, 1, 11];
const B: [u8; 4] = [192, 168, 1, 12];
const FORGED: [u8; 6] = [2, 0, 0, 0, 0, 0xf0];

/// A frame that no container may send: what it is, how it leaves, where it comes out if nobody minds, and the reason that is counted.
struct Attempt {
    what: &'static str,
    door: Door,
    frame: fn(&[u8]) -> Result<Vec<u8>>,
    place: &'static str,
    reason: &'static str,
}

const ATTEMPTS: [Attempt; 8] = [
    Attempt {
        what: "UDP into a socket of the host, whose MAC is one's own",
        door: Door::Queue,
        frame: |marker| frame::udp4(SHARED, A.into(), HOST.into(), marker),
        place: "host socket",
        reason: "host-filter",
    },
    Attempt {
        what: "UDP into a socket of the host, past tc egress",
        door: Door::Bypass,
        frame: |marker| frame::udp4(SHARED, A.into(), HOST.into(), marker),
        place: "host socket",
        reason: "unsealed",
    },
    Attempt {
        what: "UDP to the LAN from a peer's address",
        door: Door::Queue,
        frame: |marker| frame::udp4(TO_LAN, B.into(), LAN.into(), marker),
        place: "lan",
        reason: "source-ipv4",
    },
    Attempt {
        what: "UDP to the LAN from a peer's address, past tc egress",
        door: Door::Bypass,
        frame: |marker| frame::udp4(TO_LAN, B.into(), LAN.into(), marker),
        place: "lan",
        reason: "unsealed",
    },
    Attempt {
        what: "UDP to the LAN from another MAC",
        door: Door::Queue,
        frame: |marker| frame::udp4(Link { source: FORGED, ..TO_LAN }, A.into(), LAN.into(), marker),
        place: "lan",
        reason: "source-mac",
    },
    Attempt {
        what: "a peer's address claimed by ARP",
        door: Door::Queue,
        frame: |marker| {
            frame::arp(Link::broadcast(PARENT_MAC), Arp::announcement(PARENT_MAC, B.into()), marker)
        },
        place: "lan",
        reason: "arp-spoof",
    },
    Attempt {
        what: "UDP to a peer, past tc egress",
        door: Door::Bypass,
        frame: |marker| frame::udp4(SHARED, A.into(), B.into(), marker),
        place: "b",
        reason: "unsealed",
    },
    Attempt {
        what: "UDP to a peer out of AF_XDP",
        door: Door::Xdp,
        frame: |marker| frame::udp4(SHARED, A.into(), B.into(), marker),
        place: "b",
        reason: "unsealed",
    },
];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("isolation::what_the_built_in_driver_delivers_is_dropped", beside_the_built_in),
        test("isolation::networks_on_one_parent_are_apart", apart),
    ]
}

/// Two containers on a network of `driver`.
fn pair(engine: &Engine, driver: &str) -> Result<[Netns; 2]> {
    engine.docker(&format!(
        "network create -d {driver} --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 pair"
    ))?;
    let container = |name: &str, address: [u8; 4]| {
        let address = address.map(|byte| byte.to_string()).join(".");
        let mounts = inside::mounts()?;
        engine.docker(&format!(
            "run -d --network=pair --ip={address} --name={name} {mounts} {IMAGE} sleep 9999"
        ))?;
        engine.netns(name)
    };
    Ok([container("one", A)?, container("two", B)?])
}

fn watch(engine: &Engine, b: &Netns) -> Result<Watch> {
    Watch::new()
        .wire("lan", &engine.sandbox.lan, INTERFACE)?
        .socket("host socket", &engine.sandbox.host)?
        .accepted("b", b, INTERFACE)
}

/// Has container `one` itself make an attempt, with the capabilities that Docker gives.
fn send(engine: &Engine, b: &Netns, attempt: &Attempt, expected: &[&str]) -> Result<BTreeSet<String>> {
    let watch = watch(engine, b)?;
    let marker = Marker::unique();
    inside::send(engine, "one", attempt.door, &(attempt.frame)(marker.bytes())?)?;
    watch.seen(&marker, expected)
}

fn beside_the_built_in(engine: &mut Engine) -> Result<()> {
    let [_, peer] = pair(engine, "ipvlan")?;
    for attempt in &ATTEMPTS {
        let seen = send(engine, &peer, attempt, &[attempt.place])?;
        ensure!(seen.contains(attempt.place), "built in: {} came out at {seen:?}", attempt.what);
        println!("{}: built in: {}; ours: {}", attempt.what, attempt.place, attempt.reason);
    }
    drop(peer);
    engine.clear()?;

    let [own, peer] = pair(engine, "ipvlan-ebpf")?;
    ensure!(own.pings("192.168.1.12", 56, 10)?, "containers of one network can't ping each other");
    ensure!(own.pings("192.168.1.1", 56, 10)?, "a container can't ping the gateway");
    for attempt in &ATTEMPTS {
        let before = Stats::read(&engine.sandbox)?;
        let seen = send(engine, &peer, attempt, &[])?;
        ensure!(seen.is_empty(), "ours: {} came out at {seen:?}", attempt.what);
        let rises = Stats::read(&engine.sandbox)?.since(&before);
        let counted = rises.iter().any(|rise| rise.reason == attempt.reason);
        ensure!(counted, "{}: {} did not rise: {rises:?}", attempt.what, attempt.reason);
    }
    Ok(())
}

/// Which the built-in driver avoids by allowing one network a parent.
fn apart(engine: &mut Engine) -> Result<()> {
    for (name, number) in [("one", 1), ("two", 2)] {
        engine.docker(&format!(
            "network create -d ipvlan-ebpf --subnet=192.168.{number}.0/24 -o parent=eth0 {name}"
        ))?;
        engine.docker(&format!("run -d --network={name} --name=in-{name} {IMAGE} sleep 9999"))?;
    }
    let (one, two) = (engine.netns("in-one")?, engine.netns("in-two")?);
    let watch = watch(engine, &two)?;
    let before = Stats::read(&engine.sandbox)?;
    let marker = Marker::unique();
    let frame = frame::udp4(SHARED, [192, 168, 1, 2].into(), [192, 168, 2, 2].into(), marker.bytes())?;
    Sender::new(&one, INTERFACE, Door::Queue)?.send(&frame)?;
    let seen = watch.seen(&marker, &[])?;
    ensure!(seen.is_empty(), "it came out at {seen:?}");
    let rises = Stats::read(&engine.sandbox)?.since(&before);
    let row = engine.row("192.168.1.2")?;
    let name = row["name"].as_str().context("an endpoint has a name")?;
    ensure!(rises.iter().any(|rise| rise.reason == "other-network" && rise.charged == name), "{rises:?}");
    Ok(())
}
