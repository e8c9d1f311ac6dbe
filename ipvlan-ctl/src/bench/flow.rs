//! Traffic between two namespaces, as much as was asked for, all of it counted where it arrives.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::sandbox::Netns;

/// From where to where.
pub struct Way<'a> {
    /// The sender.
    pub from: &'a Netns,
    /// The receiver.
    pub to: &'a Netns,
    /// Of the receiver.
    pub address: Ipv4Addr,
}

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Bytes over one connection of TCP.
    Tcp,
    /// Small datagrams.
    Udp,
    /// One byte there and one byte back over TCP, one after the other.
    Requests,
}

const PAYLOAD: [u8; 64] = [0; 64];
/// What the last datagrams are given to arrive.
const AFTER: Duration = Duration::from_millis(20);

impl Flow {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Requests];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Requests => "request and response",
        }
    }

    /// What an amount of it is counted in.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Tcp => "bytes",
            Self::Udp => "datagrams",
            Self::Requests => "requests",
        }
    }

    /// Sends `amount` of it; returns how much of it came in a second.
    ///
    /// # Errors
    /// Fails if not all of it arrives.
    pub fn rate(self, way: &Way<'_>, amount: usize) -> Result<f64> {
        let seconds = match self {
            Self::Tcp => stream(way, amount),
            Self::Udp => datagrams(way, amount),
            Self::Requests => requests(way, amount),
        };
        Ok(amount as f64 / seconds.context(self.name())?)
    }
}

fn connected(way: &Way<'_>) -> Result<(TcpStream, TcpStream)> {
    let listener = way.to.enter(|| Ok(TcpListener::bind((way.address, 0))?))?;
    let to = listener.local_addr()?;
    let client = way.from.enter(|| Ok(TcpStream::connect_timeout(&to, Duration::from_secs(20))?))?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    }
    Ok((client, server))
}

fn stream(way: &Way<'_>, bytes: usize) -> Result<f64> {
    let (mut client, mut server) = connected(way)?;
    let chunk = vec![0; 128 * 1024];
    let begin = Instant::now();
    let arrived = thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<usize> {
            let (mut buffer, mut arrived) = (vec![0; 128 * 1024], 0);
            while let length @ 1.. = server.read(&mut buffer)? {
                arrived += length;
            }
            Ok(arrived)
        });
        let mut left = bytes;
        while left > 0 {
            left -= client.write(&chunk[..left.min(chunk.len())])?;
        }
        client.shutdown(Shutdown::Write)?;
        receiver.join().map_err(|_panic| anyhow!("the receiver panicked"))?
    })?;
    ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
    Ok(begin.elapsed().as_secs_f64())
}

fn requests(way: &Way<'_>, count: usize) -> Result<f64> {
    let (mut client, mut server) = connected(way)?;
    let begin = Instant::now();
    thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<()> {
            for _ in 0..count {
                let mut byte = [0];
                server.read_exact(&mut byte)?;
                server.write_all(&byte)?;
            }
            Ok(())
        });
        for _ in 0..count {
            client.write_all(&[1])?;
            client.read_exact(&mut [0])?;
        }
        server.join().map_err(|_panic| anyhow!("the server panicked"))?
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

fn datagrams(way: &Way<'_>, count: usize) -> Result<f64> {
    let listener = way.to.enter(|| Ok(UdpSocket::bind((way.address, 0))?))?;
    listener.set_nonblocking(true)?;
    let to = listener.local_addr()?;
    let sender = way.from.enter(|| {
        let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        sender.connect(to)?;
        Ok(sender)
    })?;
    let before = arrived(&listener, way.to)?;
    let begin = Instant::now();
    for _ in 0..count {
        sender.send(&PAYLOAD)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    thread::sleep(AFTER);
    let arrived = arrived(&listener, way.to)? - before;
    ensure!(arrived == count as u64, "{arrived} of {count} datagrams arrived");
    Ok(seconds)
}

/// How many of `count` datagrams arrive that claim to be from `source`, which the sender has as a second address.
///
/// # Errors
/// Fails if a socket can't be made.
pub fn spoofed(way: &Way<'_>, source: Ipv4Addr, count: u64) -> Result<u64> {
    let listener = way.to.enter(|| Ok(UdpSocket::bind((way.address, 0))?))?;
    listener.set_nonblocking(true)?;
    let to: SocketAddr = listener.local_addr()?;
    let sender = way.from.enter(|| Ok(UdpSocket::bind((source, 0))?))?;
    let before = arrived(&listener, way.to)?;
    for _ in 0..count {
        // It may be refused to the sender.
        let _refused = sender.send_to(&PAYLOAD, to);
    }
    thread::sleep(AFTER);
    Ok(arrived(&listener, way.to)? - before)
}

/// Datagrams that have come to the listener, whether or not it had room for them.
///
/// # Errors
/// Fails without the kernel's counters.
pub fn arrived(listener: &UdpSocket, netns: &Netns) -> Result<u64> {
    // Counted as they are read; the rest of them as errors, since there was no more room.
    while listener.recv(&mut [0; PAYLOAD.len()]).is_ok() {}
    let text = netns.enter(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut udp = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = udp.next().zip(udp.next()).context("no counters of UDP")?;
    let counters = names.split(' ').zip(values.split(' '));
    let counted = counters.filter(|(name, _)| ["InDatagrams", "InErrors"].contains(name));
    counted.map(|(_, value)| Ok(value.parse::<u64>()?)).sum()
}
