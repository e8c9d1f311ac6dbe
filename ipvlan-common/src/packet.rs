//! Bounded loads from a frame, and the headers a verdict looks at. A load that misses ends in an error, never in a guess.

use crate::{DropReason, types::Mac};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherTypes of VLAN tags: 802.1Q, 802.1ad and the older QinQ.
pub const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of IPv6's hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// IP protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Length of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Length of the longest headers at known places: Ethernet's and IPv6's.
pub const HEADERS_LEN: usize = Ipv6::START;
/// Length of an ARP message for IPv4 over Ethernet.
pub(crate) const ARP_LEN: usize = 28;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;

/// A frame, starting at its Ethernet header.
pub trait Packet {
    /// Length of the whole frame in bytes.
    fn len(&self) -> usize;
    /// The `N` bytes at an offset that is known at build time; `None` where the frame ends before.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Like [`Packet::load`], for an offset that the frame itself determines: the verifier wants another way there.
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    /// Whether the frame has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Packet for [u8] {
    fn len(&self) -> usize {
        self.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// Whose a frame without a seal is, asked for at the parent's and at `lo`'s egress alone: the kernel's bookkeeping, which shows it, takes
/// a while to read.
pub trait Origin {
    /// Whether it shows that a slave sent the frame.
    fn is_slave(&self) -> bool;
    /// Of a frame that isn't a slave's: whether it shows that the host made it, rather than passed it on.
    fn is_hosts(&self) -> bool;
}

/// What there is to say, where nobody has to look for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// The host made the frame.
    #[default]
    Host,
    /// A slave sent it.
    Slave,
    /// The host passes it on for somebody, or may do so.
    Forwarded,
}

impl Origin for Sender {
    fn is_slave(&self) -> bool {
        *self == Self::Slave
    }

    fn is_hosts(&self) -> bool {
        *self == Self::Host
    }
}

/// What the kernel keeps beside a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata<O = Sender> {
    /// `skb->protocol`, in host order: what ipvlan looks at to find the receiver.
    pub protocol: u16,
    /// The VLAN id of an offloaded tag.
    pub vlan: Option<u16>,
    /// `skb->hash`, the seal.
    pub hash: u32,
    /// `skb->tc_index`, the sealing slot.
    pub tc_index: u16,
    /// At an ingress: whether it is the copy that a device's own stack gets of what it sends to a group.
    pub looped_back: bool,
    /// At a slave's egress: whether a raw socket has left a checksum to be written, at a place of its choice, behind this verdict.
    pub unfinished: bool,
    /// Whose it is where it has no seal.
    pub origin: O,
}

/// A frame with its Ethernet header read. What follows is read where a rule asks for it: a value that may be either of several
/// headers is more than the verifier can follow.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'p, P: ?Sized> {
    /// The bytes.
    pub packet: &'p P,
    /// The Ethernet header.
    pub ethernet: Ethernet,
}

impl<'p, P: Packet + ?Sized> Frame<'p, P> {
    /// Reads the Ethernet header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] where the frame ends before.
    #[inline(always)]
    pub fn parse(packet: &'p P) -> Result<Self, DropReason> {
        Ok(Self { packet, ethernet: Ethernet::parse(packet)? })
    }

    /// Whether it is a broadcast or multicast that a network can do without: neither ARP nor ICMPv6, even behind a hop-by-hop
    /// header.
    #[inline(always)]
    pub(crate) fn is_dispensable_group(&self) -> bool {
        if !self.ethernet.is_group() || self.ethernet.ethertype == ARP {
            return false;
        }
        if self.ethernet.ethertype != IPV6 {
            return true;
        }
        match Ipv6::parse(self.packet) {
            Ok(Ipv6 { next_header: ICMPV6, .. }) => false,
            Ok(Ipv6 { next_header: HOP_BY_HOP, .. }) => self.packet.load_at(Ipv6::START) != Some([ICMPV6]),
            _ => true,
        }
    }
}

/// The Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Receiver.
    pub destination: Mac,
    /// Sender.
    pub source: Mac,
    /// EtherType, host order.
    pub ethertype: u16,
}

impl Ethernet {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`].
    #[inline(always)]
    pub fn parse(packet: &(impl Packet + ?Sized)) -> Result<Self, DropReason> {
        let bytes: [u8; ETHERNET_LEN] = packet.load(0).ok_or(DropReason::Malformed)?;
        Ok(Self {
            destination: part(&bytes, 0),
            source: part(&bytes, 6),
            ethertype: u16::from_be_bytes(part(&bytes, 12)),
        })
    }

    /// Whether it is a broadcast or a multicast.
    #[must_use]
    #[inline(always)]
    pub const fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

/// An ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender's MAC.
    pub sender_mac: Mac,
    /// Sender's address.
    pub sender: [u8; 4],
    /// The address asked for or answered to.
    pub target: [u8; 4],
}

impl Arp {
    /// A request.
    pub const REQUEST: u16 = 1;
    /// A reply.
    pub const REPLY: u16 = 2;
    /// Offset of the sender's address.
    pub const SENDER: usize = ETHERNET_LEN + 14;
    /// Offset of the target's address.
    pub const TARGET: usize = ETHERNET_LEN + 24;

    /// Reads the message behind the Ethernet header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] also where it is not ARP for IPv4 over Ethernet.
    #[inline(always)]
    pub fn parse(packet: &(impl Packet + ?Sized)) -> Result<Self, DropReason> {
        let bytes: [u8; ARP_LEN] = packet.load(ETHERNET_LEN).ok_or(DropReason::Malformed)?;
        // Hardware type Ethernet, or IEEE 802, which Linux takes for the same (arp_process); protocol IPv4, lengths 6 and 4.
        if !matches!(part::<6>(&bytes, 0), [0, 1 | 6, 8, 0, 6, 4]) {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            operation: u16::from_be_bytes(part(&bytes, 6)),
            sender_mac: part(&bytes, 8),
            sender: part(&bytes, 14),
            target: part(&bytes, 24),
        })
    }
}

/// An IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// Kind of the payload.
    pub protocol: u8,
    /// Whether it is a fragment other than the first, which has no ports.
    pub later_fragment: bool,
    /// Offset at which the payload starts.
    pub payload: usize,
    /// Offset at which it ends.
    pub end: usize,
}

impl Ipv4 {
    /// Offset of the source, and behind it the destination.
    pub const ADDRESSES: usize = ETHERNET_LEN + 12;
    /// Offset of the options, where there are any.
    pub const OPTIONS: usize = ETHERNET_LEN + IPV4_LEN;

    /// Reads the header behind the Ethernet header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] where version, header length or total length don't hold.
    #[inline(always)]
    pub fn parse(packet: &(impl Packet + ?Sized)) -> Result<Self, DropReason> {
        let bytes: [u8; IPV4_LEN] = packet.load(ETHERNET_LEN).ok_or(DropReason::Malformed)?;
        let header_len = usize::from(bytes[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes(part(&bytes, 2)));
        let available = packet.len() - ETHERNET_LEN;
        // A total length of 0 stands for more than 65,535 bytes since Linux 6.3 (BIG TCP for IPv4, b1a78b9b9886).
        let total_len = if total_len == 0 && available > 0xffff { available } else { total_len };
        if bytes[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len || total_len > available {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            source: part(&bytes, 12),
            destination: part(&bytes, 16),
            protocol: bytes[9],
            later_fragment: u16::from_be_bytes(part(&bytes, 6)) & 0x1fff != 0,
            payload: ETHERNET_LEN + header_len,
            end: ETHERNET_LEN + total_len,
        })
    }
}

/// The fixed IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Kind of the header that follows.
    pub next_header: u8,
    /// Offset at which the payload ends.
    pub end: usize,
}

impl Ipv6 {
    /// Offset of the source, and behind it the destination.
    pub const ADDRESSES: usize = ETHERNET_LEN + 8;
    /// Offset at which the payload starts.
    pub const START: usize = ETHERNET_LEN + IPV6_LEN;

    /// Reads the header behind the Ethernet header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] where version or payload length don't hold.
    #[inline(always)]
    pub fn parse(packet: &(impl Packet + ?Sized)) -> Result<Self, DropReason> {
        let bytes: [u8; IPV6_LEN] = packet.load(ETHERNET_LEN).ok_or(DropReason::Malformed)?;
        let payload_len = usize::from(u16::from_be_bytes(part(&bytes, 4)));
        let available = packet.len() - Self::START;
        if bytes[0] >> 4 != 6 || payload_len > available {
            return Err(DropReason::Malformed);
        }
        // A length of 0 with more behind it is a jumbogram's: the local stack's BIG TCP makes them since Linux 5.19.
        let end = Self::START + if payload_len == 0 { available } else { payload_len };
        Ok(Self { source: part(&bytes, 8), destination: part(&bytes, 24), next_header: bytes[6], end })
    }
}

/// `N` bytes of a payload that ends at `end`: what a frame carries behind that is nobody's.
///
/// # Errors
/// [`DropReason::Malformed`] where the payload ends before.
#[inline(always)]
pub(crate) fn load_before<const N: usize>(
    packet: &(impl Packet + ?Sized),
    offset: usize,
    end: usize,
) -> Result<[u8; N], DropReason> {
    if offset + N > end {
        return Err(DropReason::Malformed);
    }
    packet.load_at(offset).ok_or(DropReason::Malformed)
}

/// Source and destination port, as they are in the header.
#[inline(always)]
pub(crate) fn udp_ports<P: Packet + ?Sized>(
    packet: &P,
    offset: usize,
    end: usize,
) -> Result<([u8; 2], [u8; 2]), DropReason> {
    let ports = if offset == Ipv4::OPTIONS && offset + 4 <= end {
        packet.load(Ipv4::OPTIONS).ok_or(DropReason::Malformed)?
    } else {
        load_before(packet, offset, end)?
    };
    let [a, b, c, d] = ports;
    Ok(([a, b], [c, d]))
}

/// `N` of the bytes, from a constant offset inside them: LLVM drops the check.
#[inline(always)]
pub(crate) fn part<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[offset..offset + N]);
    out
}
