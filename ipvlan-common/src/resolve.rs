//! Address resolution: who asks for a neighbour is answered on the spot, in the neighbour's name, or asks the wire alone.
//!
//! ipvlan copies each broadcast for every slave, through a queue of 1,000 that all share (Linux 6.12, `ipvlan_multicast_enqueue`).
//! The programs know who has which address, so that a request needs no copy at all. What everybody is to hear, such as
//! announcements and the detection of duplicates, goes its usual way.

use crate::{
    DropReason, Identity, Slot, SlotEntry, Verdict, nd,
    packet::{self, Arp, ETHERNET_LEN, Frame, ICMPV6, Ipv6, Metadata, Origin, Packet, part},
    seal::{Behalf, seal_arp, seal_ipv6},
    sender,
    tables::Tables,
    types::{ASK_ALL, HOST_ACCESS, INTERNAL, L3, LEAVES_REQUESTS, Mac, PRIVATE},
};

/// Stands for the group in a request that goes to the wire alone: ipvlan hands any unicast frame to the parent. Locally administered.
pub const ASIDE: Mac = *b"\x02asked";

/// Length of either message with one option, and its headers.
const SOLICITATION_LEN: usize = Ipv6::START + MESSAGE_LEN;

/// Of solicitation and advertisement: header, target, and the one option with a MAC.
const MESSAGE_LEN: usize = 32;
/// Offsets in a frame of either: the target, and the option.
const TARGET: usize = Ipv6::START + 8;
const OPTION: usize = Ipv6::START + 24;
const SOLICITATION: [u8; 2] = [135, 0];
const ADVERTISEMENT: [u8; 2] = [136, 0];
const SOURCE_LINK_ADDRESS: [u8; 2] = [1, 1];
const TARGET_LINK_ADDRESS: [u8; 2] = [2, 1];
/// Solicited, and to override what the asker knows.
const ANSWERS: [u8; 4] = [0x60, 0, 0, 0];
/// No router forwards it, and so nobody farther away has sent it (RFC 4861).
const HOP_LIMIT: u8 = 255;

/// What the two kinds of request have in common.
trait Request {
    /// Whether an endpoint asks in its own name, by the same rules as [`sender::check`].
    fn check(&self, me: &SlotEntry, mac: &Mac) -> Result<(), DropReason>;
    /// Who has the address.
    fn holder(&self, parent: Slot, tables: &impl Tables) -> Option<Slot>;
    /// The asker's MAC.
    fn mac(&self) -> Mac;
    /// The reply's seal, in the name of `holder`.
    fn seal_reply(&self, holder: &SlotEntry, behalf: Behalf) -> u32;
    /// The request's seal, once it is for [`ASIDE`].
    fn seal_aside(&self, me: &SlotEntry) -> u32;
}

/// An ARP request for somebody else's address.
struct ArpRequest {
    mac: Mac,
    sender: [u8; 4],
    target: [u8; 4],
}

impl ArpRequest {
    /// `None` where the frame isn't one.
    #[inline(always)]
    fn parse<P: Packet + ?Sized>(frame: &Frame<'_, P>) -> Option<Self> {
        if frame.ethernet.ethertype != packet::ARP {
            return None;
        }
        let Arp { operation, sender_mac: mac, sender, target } = Arp::parse(frame.packet).ok()?;
        let asks = operation == Arp::REQUEST && sender != target && sender != [0; 4];
        (asks && is_ones_own(&mac)).then_some(Self { mac, sender, target })
    }
}

impl Request for ArpRequest {
    #[inline(always)]
    fn check(&self, me: &SlotEntry, mac: &Mac) -> Result<(), DropReason> {
        if self.mac == *mac && self.sender == me.ipv4 { Ok(()) } else { Err(DropReason::ArpSpoof) }
    }

    #[inline(always)]
    fn holder(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        tables.ipv4(parent, self.target)
    }

    #[inline(always)]
    fn mac(&self) -> Mac {
        self.mac
    }

    #[inline(always)]
    fn seal_reply(&self, holder: &SlotEntry, behalf: Behalf) -> u32 {
        seal_arp(holder, behalf, self.target, (self.mac, self.sender))
    }

    #[inline(always)]
    fn seal_aside(&self, me: &SlotEntry) -> u32 {
        seal_arp(me, Behalf::Slot, self.sender, (ASIDE, self.target))
    }
}

/// A neighbour solicitation for somebody else's address, as resolvers send it: with their own MAC and no other option.
struct Solicitation {
    mac: Mac,
    source: [u8; 16],
    group: [u8; 16],
    target: [u8; 16],
}

impl Solicitation {
    /// `None` where the frame isn't one.
    #[inline(always)]
    fn parse<P: Packet + ?Sized>(frame: &Frame<'_, P>) -> Option<Self> {
        if frame.ethernet.ethertype != packet::IPV6 || frame.packet.len() != SOLICITATION_LEN {
            return None;
        }
        let Ipv6 { source, destination: group, end, .. } = Ipv6::parse(frame.packet).ok()?;
        let kind: [u8; 2] = frame.packet.load(ETHERNET_LEN + 6)?;
        let message: [u8; MESSAGE_LEN] = frame.packet.load_at(Ipv6::START)?;
        let (target, mac) = (part(&message, 8), part(&message, 26));
        let fits = (kind, end) == ([ICMPV6, HOP_LIMIT], SOLICITATION_LEN)
            && part(&message, 0) == SOLICITATION
            && part(&message, 24) == SOURCE_LINK_ADDRESS;
        // From no address it detects duplicates.
        let asks = frame.ethernet.is_group() == (group[0] == 0xff) && source != [0; 16] && source != target;
        (fits && asks && is_ones_own(&mac)).then_some(Self { mac, source, group, target })
    }
}

impl Request for Solicitation {
    #[inline(always)]
    fn check(&self, me: &SlotEntry, mac: &Mac) -> Result<(), DropReason> {
        if !nd::owns(me, &self.source) {
            Err(DropReason::SourceIpv6)
        } else if self.mac != *mac {
            Err(DropReason::NdSpoof)
        } else {
            Ok(())
        }
    }

    #[inline(always)]
    fn holder(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        tables.ipv6(parent, self.target)
    }

    #[inline(always)]
    fn mac(&self) -> Mac {
        self.mac
    }

    #[inline(always)]
    fn seal_reply(&self, holder: &SlotEntry, behalf: Behalf) -> u32 {
        seal_ipv6(holder, behalf, self.target, (self.mac, self.source))
    }

    #[inline(always)]
    fn seal_aside(&self, me: &SlotEntry) -> u32 {
        seal_ipv6(me, Behalf::Slot, self.source, (ASIDE, self.group))
    }
}

/// The group that a request was for before it was set [`ASIDE`]; `None` where it is no request.
#[inline(always)]
pub fn group<P: Packet + ?Sized>(frame: &Frame<'_, P>) -> Option<Mac> {
    match frame.ethernet.ethertype {
        packet::ARP => Some([0xff; 6]),
        packet::IPV6 => {
            let Ipv6 { destination, .. } = Ipv6::parse(frame.packet).ok()?;
            let [a, b, c, d] = part(&destination, 12);
            (destination[0] == 0xff).then_some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}

/// A reply goes to one receiver.
#[inline(always)]
const fn is_ones_own(mac: &Mac) -> bool {
    mac[0] & 1 == 0
}

/// A frame that can be written to.
pub trait Edit {
    /// The `N` bytes at `offset`; `None` if the frame ends before.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
    /// Writes `bytes` at `offset`, where the frame has as many.
    fn store(&mut self, offset: usize, bytes: &[u8]);
}

/// Makes the reply of a request, in the name of whoever has `mac`. In place: a copy of the longer one is more than the stack of a
/// program has room for.
#[inline(always)]
pub fn answer(frame: &mut impl Edit, mac: &Mac) -> Option<()> {
    if frame.load(ETHERNET_LEN - 2)? == packet::ARP.to_be_bytes() {
        let (sender_mac, target_mac) = (Arp::SENDER - mac.len(), Arp::TARGET - mac.len());
        let asker: [u8; 10] = frame.load(sender_mac)?;
        let target: [u8; 4] = frame.load(Arp::TARGET)?;
        frame.store(0, &asker[..mac.len()]);
        let [high, low] = Arp::REPLY.to_be_bytes();
        frame.store(ETHERNET_LEN, &[0, 1, 8, 0, 6, 4, high, low]);
        frame.store(Arp::SENDER, &target);
        frame.store(target_mac, &asker);
        frame.store(sender_mac, mac);
    } else {
        let asker: Mac = frame.load(OPTION + 2)?;
        frame.store(0, &asker);
        frame.store(ETHERNET_LEN, &[0x60, 0, 0, 0, 0, MESSAGE_LEN as u8, ICMPV6, HOP_LIMIT]);
        let source: [u8; 16] = frame.load(Ipv6::ADDRESSES)?;
        frame.store(Ipv6::ADDRESSES + 16, &source);
        let target: [u8; 16] = frame.load(TARGET)?;
        frame.store(Ipv6::ADDRESSES, &target);
        let ([kind, code], [high, low], [a, b, c, d]) =
            (ADVERTISEMENT, checksum(&source, &target, mac), ANSWERS);
        frame.store(Ipv6::START, &[kind, code, high, low, a, b, c, d]);
        frame.store(OPTION, &TARGET_LINK_ADDRESS);
        frame.store(OPTION + 2, mac);
    }
    frame.store(mac.len(), mac);
    Some(())
}

/// Of an advertisement: its pseudo-header and the message, in which the target stands twice.
#[inline(always)]
fn checksum(asker: &[u8; 16], target: &[u8; 16], mac: &Mac) -> [u8; 2] {
    let constants = MESSAGE_LEN as u32
        + u32::from(ICMPV6)
        + halves(&ADVERTISEMENT)
        + halves(&ANSWERS)
        + halves(&TARGET_LINK_ADDRESS);
    let sum = constants + 2 * halves(target) + halves(asker) + halves(mac);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

/// The sum of the bytes by two.
#[inline(always)]
fn halves<const N: usize>(bytes: &[u8; N]) -> u32 {
    bytes.as_chunks().0.iter().map(|&pair| u32::from(u16::from_be_bytes(pair))).sum()
}

/// Whether [`crate::decide_request`] is for the frame, which `me` sends.
#[inline(always)]
pub fn asks<P: Packet + ?Sized>(packet: &P, me: &Identity, tables: &impl Tables) -> bool {
    // Most frames are for one receiver: those are spared the call.
    let is_group = || packet.load::<2>(0).is_some_and(|it| it[0] & 1 != 0);
    me.entry.flags & (L3 | LEAVES_REQUESTS) == 0
        && is_group()
        && is_group_request(packet)
        // Where everybody is asked, nobody else answers for the host.
        && (me.entry.flags & ASK_ALL == 0
            || me.entry.flags & HOST_ACCESS != 0 && is_for_host(packet, me.parent, tables))
}

/// Whether a request is for an address of the host's. Its own function, as [`is_group_request`].
#[inline(never)]
fn is_for_host<P: Packet + ?Sized>(packet: &P, parent: Slot, tables: &impl Tables) -> bool {
    let Ok(frame) = Frame::parse(packet) else { return false };
    let holder = match ArpRequest::parse(&frame) {
        Some(request) => request.holder(parent, tables),
        None => Solicitation::parse(&frame).and_then(|request| request.holder(parent, tables)),
    };
    holder == Some(parent)
}

/// Whether the frame is a request for somebody else's address, to a group. Its own function, which leaves the verifier one bit: it would
/// otherwise walk through all that follows for each way of not being one.
#[inline(never)]
fn is_group_request<P: Packet + ?Sized>(packet: &P) -> bool {
    let request =
        |frame: &Frame<'_, P>| ArpRequest::parse(frame).is_some() || Solicitation::parse(frame).is_some();
    Frame::parse(packet).is_ok_and(|frame| frame.ethernet.is_group() && request(&frame))
}

/// Judges what [`asks`], of an endpoint; `None` where it is no request. Whom it may not reach does not answer it.
#[inline(always)]
pub(crate) fn by_endpoint<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Option<Result<Verdict, Verdict>> {
    let judged = if let Some(request) = ArpRequest::parse(frame) {
        judge(&request, frame, metadata, me, tables)
    } else {
        judge(&Solicitation::parse(frame)?, frame, metadata, me, tables)
    };
    Some(judged.map_err(|reason| Verdict::Drop { slot: me.slot, reason }))
}

#[inline(always)]
fn judge<P: Packet + ?Sized>(
    request: &impl Request,
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Result<Verdict, DropReason> {
    sender::link(frame, metadata, &me.mac)?;
    request.check(&me.entry, &me.mac)?;
    let Some(slot) = request.holder(me.parent, tables) else {
        if me.entry.flags & INTERNAL != 0 {
            return Err(DropReason::Internal);
        }
        if me.group_interval != 0 && !tables.afford_group(me.slot, me.group_interval) {
            return Err(DropReason::GroupRate);
        }
        return Ok(Verdict::Aside { seal: request.seal_aside(&me.entry) });
    };
    let holder = tables.slot(slot);
    let behalf = if slot == me.parent {
        if me.entry.flags & HOST_ACCESS == 0 {
            return Err(DropReason::HostFilter);
        }
        Behalf::Host
    } else {
        if holder.is_none_or(|entry| entry.network != me.entry.network) {
            return Err(DropReason::OtherNetwork);
        }
        if me.entry.flags & PRIVATE != 0 {
            return Err(DropReason::Private);
        }
        Behalf::Slot
    };
    let holder = holder.ok_or(DropReason::HostFilter)?;
    Ok(Verdict::Answer { slot, seal: request.seal_reply(holder, behalf) })
}

/// In whose name, and under which seal, a request from the wire is answered; `None` where it isn't.
#[inline(always)]
pub(crate) fn by_wire<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    me: &Identity,
    tables: &impl Tables,
) -> Option<(Slot, u32)> {
    if !is_group_request(frame.packet) {
        return None;
    }
    if let Some(request) = ArpRequest::parse(frame) {
        return endpoint(&request, me, tables);
    }
    endpoint(&Solicitation::parse(frame)?, me, tables)
}

#[inline(always)]
fn endpoint(request: &impl Request, me: &Identity, tables: &impl Tables) -> Option<(Slot, u32)> {
    let slot = request.holder(me.parent, tables).filter(|&slot| slot != me.parent)?;
    let entry = tables.slot(slot)?;
    (entry.flags & (INTERNAL | L3 | ASK_ALL) == 0).then(|| (slot, request.seal_reply(entry, Behalf::Slot)))
}

/// Whether an ARP message tells the sender's own `mac`, if it is one: nobody but its bytes says whose it is.
#[inline(always)]
pub(crate) fn is_where_it_says<P: Packet + ?Sized>(frame: &Frame<'_, P>, mac: &Mac) -> bool {
    frame.ethernet.ethertype != packet::ARP
        || Arp::parse(frame.packet).is_ok_and(|arp| arp.sender_mac == *mac)
}

/// The seal of what the host, whose frame it is, is answered for an endpoint; `None` where it isn't. Whether to one receiver or to a
/// group: in modes l3 and l3s nobody else answers either.
#[inline(always)]
pub(crate) fn by_host<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    me: &Identity,
    tables: &impl Tables,
) -> Option<u32> {
    if let Some(request) = ArpRequest::parse(frame) {
        return reply_to_host(&request, me, tables);
    }
    reply_to_host(&Solicitation::parse(frame)?, me, tables)
}

#[inline(always)]
fn reply_to_host(request: &impl Request, me: &Identity, tables: &impl Tables) -> Option<u32> {
    let slot = request.holder(me.parent, tables).filter(|&slot| slot != me.parent)?;
    let granted = tables.slot(slot)?.flags & HOST_ACCESS != 0 && request.mac() == me.mac;
    granted.then(|| request.seal_reply(&me.entry, Behalf::Host))
}
