//! Positive controls: without these, a data path that drops everything would pass the other tests.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use etherparse::ArpOperation;
use ipvlan_tests::{
    Door, Netns, Network,
    frame::{self, Arp, Link, PORT},
    harness::{Need, test},
    sandbox::{INTERFACE, LAN, PARENT_MAC},
};
use libtest_mimic::Trial;

use crate::lab::{FROM_LAN, Lab, TO_LAN, datagram};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("allowed::pings_and_fragments", NEEDS, pings_and_fragments),
        test("allowed::datagrams_are_counted", NEEDS, datagrams_are_counted),
        test("allowed::own_announcements", NEEDS, own_announcements),
        test("allowed::own_copies_of_what_goes_to_a_group", NEEDS, own_copies),
        test("allowed::tcp_with_segmentation_offload", NEEDS, tcp),
    ]
}

fn lab() -> Result<Lab> {
    Lab::new(&[(NET, &["a", "b"])])
}

fn pings_and_fragments() -> Result<()> {
    let lab = lab()?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let gateway = (NET.ipv4(LAN), NET.ipv6(LAN));
    // 3,000 bytes are fragments both ways.
    for size in [56, 3_000] {
        for (from, to) in [
            (&a.netns, b.ipv4.to_string()),
            (&b.netns, a.ipv6.to_string()),
            (&a.netns, gateway.0.to_string()),
            (&a.netns, gateway.1.to_string()),
            (&lab.sandbox.lan, b.ipv4.to_string()),
            (&lab.sandbox.lan, b.ipv6.to_string()),
        ] {
            ensure!(from.pings(&to, size, 20)?, "{size} bytes from {} to {to}: no answer", from.name());
        }
    }
    Ok(())
}

fn datagrams_are_counted() -> Result<()> {
    let lab = lab()?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    // Neighbours are learnt first, so that only the datagram is counted.
    ensure!(a.netns.pings(&b.ipv4.to_string(), 56, 20)?, "no answer to the first ping");
    lab.recount()?;
    let before = ipvlan_tests::Stats::read(&lab.sandbox)?;
    lab.delivered("IPv4 to a peer", &["b"], |marker| datagram(&a.netns, &b.ipv4.to_string(), marker))?;
    lab.delivered("IPv4 from the LAN", &["a"], |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, NET.ipv4(LAN), a.ipv4, marker)?)
    })?;
    lab.delivered("IPv6 to the LAN", &["lan"], |marker| {
        a.send(&frame::udp6(TO_LAN, a.ipv6, NET.ipv6(LAN), marker)?, Door::Queue)
    })?;
    let after = ipvlan_tests::Stats::read(&lab.sandbox)?;
    let rise = |name: &str| -> Result<(u64, u64)> {
        let (now, then) = (after.row(name).context("no row")?, before.row(name).context("no row")?);
        Ok((now.tx_packets - then.tx_packets, now.rx_packets - then.rx_packets))
    };
    // At least: the kernel's own neighbour upkeep is counted too.
    let ((a_tx, a_rx), (_, b_rx)) = (rise("a")?, rise("b")?);
    ensure!(a_tx >= 2 && a_rx >= 1 && b_rx >= 1, "counted: a sent {a_tx}, got {a_rx}; b got {b_rx}");
    Ok(())
}

fn own_announcements() -> Result<()> {
    let lab = lab()?;
    let a = lab.endpoint("a");
    let arp = |operation, sender, marker: &[u8]| {
        let message = Arp { operation, sender_mac: PARENT_MAC, sender, target: a.ipv4 };
        frame::arp(Link::broadcast(PARENT_MAC), message, marker)
    };
    for (what, operation, sender) in [
        ("gratuitous ARP", ArpOperation::REPLY, a.ipv4),
        ("ARP announcement", ArpOperation::REQUEST, a.ipv4),
        ("ARP probe for the own address", ArpOperation::REQUEST, Ipv4Addr::UNSPECIFIED),
    ] {
        lab.delivered(what, &["b", "lan"], |marker| a.send(&arp(operation, sender, marker)?, Door::Queue))?;
    }
    // A slave's multicast filter is a hash with a seed of each boot: what isn't for b may still match. With all of it, it does.
    lab.endpoint("b").netns.ip(&format!("link set {INTERFACE} allmulticast on"))?;
    lab.delivered("duplicate address detection", &["b", "lan"], |marker| {
        a.send(&frame::neighbor_solicitation(PARENT_MAC, Ipv6Addr::UNSPECIFIED, a.ipv6, marker)?, Door::Queue)
    })?;
    lab.delivered("own neighbour advertisement", &["b", "lan"], |marker| {
        a.send(&frame::neighbor_advertisement(PARENT_MAC, a.ipv6, a.ipv6, PARENT_MAC, marker)?, Door::Queue)
    })
}

/// The stack gives a copy of what goes to a group to the sender's own sockets.
fn own_copies() -> Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    let lab = lab()?;
    let a = lab.endpoint("a");
    let (from, broadcast) = (a.ipv4, NET.ipv4(255));
    for (what, to) in [("multicast", GROUP), ("broadcast", broadcast)] {
        lab.recount()?;
        a.netns.enter(|| {
            let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            receiver.join_multicast_v4(&GROUP, &from)?;
            receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
            let sender = UdpSocket::bind((from, 0))?;
            sender.set_broadcast(true)?;
            sender.send_to(b"own copy", (to, PORT))?;
            let mut payload = [0; 16];
            let length = receiver.recv(&mut payload).with_context(|| format!("no own copy of a {what}"))?;
            ensure!(&payload[..length] == b"own copy", "something else arrived");
            Ok(())
        })?;
        let rises = lab.rises()?;
        ensure!(rises.iter().all(|rise| rise.charged != "a"), "{what} counts as a drop: {rises:?}");
    }
    Ok(())
}

/// Large writes leave the stack as frames of up to 64 KiB, which programs must judge like any other.
fn tcp() -> Result<()> {
    let lab = lab()?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    stream(&a.netns, &b.netns, SocketAddr::from((b.ipv4, PORT)))?;
    stream(&a.netns, &b.netns, SocketAddr::from((b.ipv6, PORT)))?;
    stream(&a.netns, &lab.sandbox.lan, SocketAddr::from((NET.ipv4(LAN), PORT)))
}

fn stream(from: &Netns, to: &Netns, address: SocketAddr) -> Result<()> {
    static CHUNK: [u8; 65_536] = [0x5a; 65_536];
    const CHUNKS: usize = 64;
    let listener = to.enter(|| TcpListener::bind(address).context("listen"))?;
    let mut sender =
        from.enter(|| TcpStream::connect(address).with_context(|| format!("connect to {address}")))?;
    let (mut receiver, _) = listener.accept()?;
    let writer = thread::spawn(move || (0..CHUNKS).try_for_each(|_| sender.write_all(&CHUNK)));
    let mut received = Vec::new();
    receiver.read_to_end(&mut received)?;
    writer.join().map_err(|_panic| anyhow!("the sender panicked"))??;
    ensure!(received.len() == CHUNK.len() * CHUNKS, "{} bytes to {address}", received.len());
    ensure!(received.iter().all(|byte| *byte == 0x5a), "bytes changed on the way to {address}");
    Ok(())
}
