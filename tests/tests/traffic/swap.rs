//! Programs are swapped while traffic goes on: nothing that may pass is lost, and nothing else gets through.

use std::{
    collections::BTreeSet,
    env,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvlan_tests::{
    Door, Endpoint, Marker, Network, Watch,
    frame::{self, Link, PORT},
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{HOST, INTERFACE, LAN, PARENT_MAC},
};
use libtest_mimic::Trial;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::lab::{Lab, TO_LAN, static_neighbor};

const NET: Network = Network::bridge("db_net", 1);
const SHARED: Link = Link { source: PARENT_MAC, destination: PARENT_MAC };
/// Swaps, and as many that are killed half way, unless `IPVLAN_SWAPS` says otherwise.
const SWAPS: u32 = 4;

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("swap::loses_nothing_and_lets_nothing_through", &[Need::Root, Need::Ipvlan], swaps)]
}

fn swaps() -> Result<()> {
    let swaps = env::var("IPVLAN_SWAPS").ok().map(|text| text.parse()).transpose()?.unwrap_or(SWAPS);
    let lab = Lab::new(&[(NET, &["a", "b"]), (Network::bridge("web_net", 2), &["c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    static_neighbor(&a.netns, &b.ipv4.to_string())?;
    let socket = b.netns.enter(|| Ok(UdpSocket::bind((b.ipv4, PORT))?))?;
    // Room for what comes while the receiver doesn't run, so that what is missing at the end was lost on its way.
    setsockopt(&socket, RcvBufForce, &(64 << 20))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let bad = Marker::unique();
    let watch = Watch::new()
        .wire("lan", &lab.sandbox.lan, INTERFACE)?
        .accepted("host", &lab.sandbox.host, INTERFACE)?
        .accepted("b", &b.netns, INTERFACE)?
        .accepted("c", &c.netns, INTERFACE)?;

    let stop = AtomicBool::new(false);
    let (sent, attacks, received) = thread::scope(|scope| -> Result<_> {
        let receiver = scope.spawn(|| receive_numbers(&stop, &socket));
        let good = scope.spawn(|| a.netns.enter(|| send_numbers(&stop, (b.ipv4, PORT).into())));
        let evil = scope.spawn(|| attack(&stop, [a, b, c], &bad));
        let swapped = swap(&lab, swaps);
        stop.store(true, Ordering::Relaxed);
        let join = |_| anyhow!("a sender panicked");
        let results =
            (good.join().map_err(join)?, evil.join().map_err(join)?, receiver.join().map_err(join)?);
        swapped?;
        Ok((results.0?, results.1?, results.2))
    })?;
    ensure!(sent > 100 && attacks > 100, "too little traffic to mean anything: {sent} and {attacks} frames");
    ensure!(received.len() as u64 == sent, "{} of {sent} datagrams arrived", received.len());
    let leaked = watch.seen(&bad, &[])?;
    ensure!(leaked.is_empty(), "of {attacks} attacks, some came out at {leaked:?}");
    println!("{swaps} swaps and {swaps} killed ones: {sent} datagrams arrived, {attacks} attacks did not");
    Ok(())
}

/// Numbered datagrams, paced so that nothing but a drop loses one.
fn send_numbers(stop: &AtomicBool, to: std::net::SocketAddr) -> Result<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        socket.send_to(&number.to_be_bytes(), to).context("send a datagram")?;
        number += 1;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(number)
}

/// The numbers that arrive, until none does any more once the sender has stopped.
fn receive_numbers(stop: &AtomicBool, socket: &UdpSocket) -> BTreeSet<u64> {
    let mut received = BTreeSet::new();
    let mut payload = [0; 8];
    loop {
        match socket.recv(&mut payload) {
            Ok(8) => drop(received.insert(u64::from_be_bytes(payload))),
            Err(_) if stop.load(Ordering::Relaxed) => return received,
            _ => {}
        }
    }
}

/// What `a` must not send, by both doors, over and over.
fn attack(stop: &AtomicBool, [a, b, c]: [&Endpoint; 3], marker: &Marker) -> Result<u64> {
    let bytes = marker.bytes();
    let frames = [
        frame::udp4(SHARED, c.ipv4, b.ipv4, bytes)?,
        frame::udp4(SHARED, a.ipv4, c.ipv4, bytes)?,
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), bytes)?,
        frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), bytes)?,
    ];
    let doors = [Door::Queue, Door::Bypass].map(|door| PacketSocket::sender(&a.netns, INTERFACE, door));
    let doors = doors.into_iter().collect::<Result<Vec<_>>>()?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for door in &doors {
            for frame in &frames {
                door.send(frame)?;
                count += 1;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(count)
}

fn swap(lab: &Lab, swaps: u32) -> Result<()> {
    let start = Instant::now();
    lab.sandbox.ctl("upgrade")?;
    let whole = start.elapsed();
    for round in 0..swaps {
        lab.sandbox.ctl("upgrade")?;
        let mut command = lab.sandbox.ctl_command()?;
        command.arg("upgrade").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = lab.sandbox.host.spawn(&mut command)?;
        thread::sleep(whole * round / swaps);
        child.kill()?;
        child.wait()?;
    }
    lab.sandbox.ctl("upgrade").map(drop)
}
