//! What others on the wire say: whether an address is in use there.

mod frame;
mod socket;

use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use socket::PacketSocket;
pub use socket::link_address;

/// Somebody on the wire who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub mac: [u8; 6],
}

/// How often an address is asked for: a frame may get lost.
const PROBES: u32 = 2;
/// How long after a probe an answer is waited for. A host that is awake answers in well under a millisecond; RFC 5227 waits for
/// seconds, for those that are not, and no container's start can.
const PATIENCE: Duration = Duration::from_millis(50);

const PAUSE: Duration = Duration::from_millis(1);
/// How many frames are looked at in one go, however many come: the patience has an end.
const BATCH: u32 = 256;

/// Asks on an interface of this namespace who has one of `addresses`, as a host does before it uses an address (RFC 5227, RFC 4862):
/// without claiming it. Returns who answers within a tenth of a second; returns at once where all are answered for.
///
/// # Errors
/// Fails without CAP_NET_RAW, or where the interface is gone or down.
pub fn holders(ifindex: u32, mac: [u8; 6], addresses: &[IpAddr]) -> io::Result<Vec<Holder>> {
    let mut probes = Vec::new();
    for ipv4 in [true, false] {
        let asked: Vec<_> = addresses.iter().copied().filter(|address| address.is_ipv4() == ipv4).collect();
        if !asked.is_empty() {
            probes.push((PacketSocket::open(ifindex, ipv4)?, asked));
        }
    }
    let mut holders: Vec<Holder> = Vec::new();
    for _ in 0..PROBES {
        for (socket, asked) in &probes {
            for address in asked {
                socket.send(&frame::probe(mac, *address)?)?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && holders.len() < addresses.len() {
            thread::sleep(PAUSE);
            for (socket, asked) in &probes {
                for _ in 0..BATCH {
                    let Some(frame) = socket.receive()? else { break };
                    let is_new =
                        |holder: &Holder| holders.iter().all(|known| known.address != holder.address);
                    let is_asked = |holder: &Holder| asked.contains(&holder.address) && holder.mac != mac;
                    holders.extend(frame::answer(&frame).filter(|holder| is_asked(holder) && is_new(holder)));
                }
            }
        }
    }
    Ok(holders)
}
