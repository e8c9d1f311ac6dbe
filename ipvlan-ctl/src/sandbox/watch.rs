//! Where a marked frame came out: every place is watched at once.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{Ipv6Addr, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use etherparse::{SlicedPacket, TransportSlice};

use super::{
    Netns,
    frame::PORT,
    packet::{ETH_ARP, ETH_IPV4, ETH_IPV6, PacketSocket},
};

/// How long a frame that must arrive is waited for. Reached only when a test fails.
pub const ARRIVAL: Duration = Duration::from_secs(20);
/// How long after the last proof a stray copy may still come: the kernel's multicast worker is the slowest path.
pub const SETTLE: Duration = Duration::from_millis(150);
const PAUSE: Duration = Duration::from_millis(2);

/// Bytes that occur in no other frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(Vec<u8>);

impl Marker {
    /// What all of them begin with.
    const PREFIX: [u8; 4] = *b"ipvl";

    /// A marker never used before.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("ipvlan-probe {} {number:08x}.", process::id()).into_bytes())
    }

    /// The marker as a payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `frame` carries it.
    #[must_use]
    pub fn is_in(&self, frame: &[u8]) -> bool {
        frame.windows(self.0.len()).any(|window| window == self.0)
    }
}

#[derive(Debug)]
enum Source {
    Packet(PacketSocket),
    Udp(UdpSocket),
}

impl Source {
    /// What has arrived next, if anything.
    fn receive(&self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Packet(socket) => socket.receive(),
            Self::Udp(socket) => {
                let mut payload = vec![0; 65_536];
                match socket.recv(&mut payload) {
                    Ok(length) => {
                        payload.truncate(length);
                        Ok(Some(payload))
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                    Err(error) => Err(error).context("receive a datagram"),
                }
            }
        }
    }
}

/// A set of named places where frames may come out.
#[derive(Debug, Default)]
pub struct Watch {
    places: Vec<(String, Vec<Source>)>,
}

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches what gets past the programs on `interface`: what the stack behind it receives.
    ///
    /// # Errors
    /// Fails if the interface isn't there.
    pub fn accepted(mut self, place: &str, netns: &Netns, interface: &str) -> Result<Self> {
        let sockets = [ETH_IPV4, ETH_IPV6, ETH_ARP]
            .into_iter()
            .map(|ethertype| PacketSocket::accepted(netns, interface, ethertype).map(Source::Packet))
            .collect::<Result<_>>()?;
        self.places.push((place.to_owned(), sockets));
        Ok(self)
    }

    /// Watches everything that comes in on `interface`, before any program.
    ///
    /// # Errors
    /// Fails if the interface isn't there.
    pub fn wire(mut self, place: &str, netns: &Netns, interface: &str) -> Result<Self> {
        self.places.push((place.to_owned(), vec![Source::Packet(PacketSocket::wiretap(netns, interface)?)]));
        Ok(self)
    }

    /// Watches an ordinary socket in `netns`, bound to [`PORT`] on every address of both families.
    ///
    /// # Errors
    /// Fails if the port is taken there.
    pub fn socket(mut self, place: &str, netns: &Netns) -> Result<Self> {
        let socket =
            netns.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("bind a UDP socket"))?;
        socket.set_nonblocking(true)?;
        self.places.push((place.to_owned(), vec![Source::Udp(socket)]));
        Ok(self)
    }

    /// Looks at nothing but markers in UDP over IPv4: a flood of other frames would fill the sockets' buffers, and a marker
    /// behind it be missed.
    ///
    /// # Errors
    /// Fails if the kernel refuses the filter.
    pub fn markers_only(self) -> Result<Self> {
        for source in self.places.iter().flat_map(|(_, sources)| sources) {
            if let Source::Packet(socket) = source {
                socket.only(Marker::PREFIX)?;
            }
        }
        Ok(self)
    }

    /// The places where `marker` came out. Returns [`SETTLE`] after it has been seen at all of `expected`, at the
    /// latest after [`ARRIVAL`].
    ///
    /// # Errors
    /// Fails if a socket does.
    pub fn seen(&self, marker: &Marker, expected: &[&str]) -> Result<BTreeSet<String>> {
        let deadline = Instant::now() + ARRIVAL;
        let mut seen = BTreeSet::new();
        while !expected.iter().all(|place| seen.contains(*place)) && Instant::now() < deadline {
            self.collect(marker, &mut seen)?;
            thread::sleep(PAUSE);
        }
        thread::sleep(SETTLE);
        self.collect(marker, &mut seen)?;
        Ok(seen)
    }

    /// Which of the named markers have come out by now, and where.
    ///
    /// # Errors
    /// Fails if a socket does.
    pub fn seen_of_many(&self, markers: &[(impl ToString, Marker)]) -> Result<BTreeSet<(String, String)>> {
        let mut seen = BTreeSet::new();
        for (place, sources) in &self.places {
            for source in sources {
                while let Some(frame) = source.receive()? {
                    let found =
                        markers.iter().find(|(_, marker)| marker.is_in(&frame) && !is_icmp_error(&frame));
                    seen.extend(found.map(|(what, _)| (what.to_string(), place.clone())));
                }
            }
        }
        Ok(seen)
    }

    fn collect(&self, marker: &Marker, seen: &mut BTreeSet<String>) -> Result<()> {
        for (place, sources) in &self.places {
            for source in sources {
                while let Some(frame) = source.receive()? {
                    if marker.is_in(&frame) && !is_icmp_error(&frame) {
                        seen.insert(place.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// ICMP errors and redirects quote the frame they are about: they are news of it, not the frame.
fn is_icmp_error(frame: &[u8]) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return false;
    };
    match packet.transport {
        Some(TransportSlice::Icmpv4(icmp)) => matches!(icmp.type_u8(), 3 | 5 | 11 | 12),
        Some(TransportSlice::Icmpv6(icmp)) => {
            icmp.type_u8() < 128 || icmp.type_u8() == 137 && quotes(icmp.payload())
        }
        _ => false,
    }
}

/// Whether a redirect has what it is about behind target and destination, as a router's has (RFC 4861, 4.6.3).
fn quotes(redirect: &[u8]) -> bool {
    const ADDRESSES: usize = 32;
    const REDIRECTED_HEADER: u8 = 4;
    redirect.get(ADDRESSES..).is_some_and(|options| {
        // Options of whole units of eight bytes; the marker of a forged one isn't one.
        let mut rest = options;
        while let [kind, units, ..] = *rest
            && units != 0
        {
            if kind == REDIRECTED_HEADER {
                return true;
            }
            rest = rest.get(usize::from(units) * 8..).unwrap_or_default();
        }
        false
    })
}
