//! The verdict: what becomes of a frame at each hook. Pure, so that tests run the very code that the kernel runs.

use crate::{
    DropReason, Identity, Slot, SlotEntry,
    packet::{self, Arp, Ethernet, Ipv4, Ipv6, Metadata, Packet},
    sender,
    tables::Tables,
    types::{INTERNAL, L3, L3S, MULTICAST_LOCAL, MULTICAST_OFF, PRIVATE, VEPA, WIRE},
};

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Hook {
    /// tc egress of a slave, in the endpoint's netns: who is it, and is the frame its own?
    SlaveEgress = 1,
    /// tc ingress of a slave, in the endpoint's netns: may this sender reach me?
    SlaveIngress,
    /// tc ingress of the parent, in its netns: what the wire sends, and what slaves send to their host.
    ParentIngress,
    /// tc egress of the parent, in its netns: what slaves and the host send to the wire.
    ParentEgress,
    /// tc ingress of `lo`, in the parent's netns: what slaves in mode l3 or l3s send to their host.
    LoopbackIngress,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 5] = [
        Self::SlaveEgress,
        Self::SlaveIngress,
        Self::ParentIngress,
        Self::ParentEgress,
        Self::LoopbackIngress,
    ];

    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlaveEgress => "slave-egress",
            Self::SlaveIngress => "slave-ingress",
            Self::ParentIngress => "parent-ingress",
            Self::ParentEgress => "parent-egress",
            Self::LoopbackIngress => "loopback-ingress",
        }
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No endpoint is involved: it goes on untouched and uncounted.
    Pass,
    /// Accepted where it enters: it goes on under the seal of this hook's slot.
    Seal,
    /// Accepted where it comes out: it goes on with the seal taken off.
    Open,
    /// Accepted, and back from the switch: it goes on under the seal of `slot`, which sent it there.
    Reseal {
        /// The sender.
        slot: Slot,
        /// Its seal.
        seal: u32,
    },
    /// Accepted for an endpoint whose own hooks don't see it, and counted as received by it.
    Deliver {
        /// The receiver.
        slot: Slot,
    },
    /// Refused, and counted for `slot`.
    Drop {
        /// The sender where the seal names one, else the hook's own.
        slot: Slot,
        /// Why.
        reason: DropReason,
    },
}

/// Judges `packet` at `hook`, for the endpoint or parent that is `me`.
#[inline(always)]
pub fn decide<P: Packet + ?Sized>(
    hook: Hook,
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Verdict {
    // It goes to whoever sent it, and has no Ethernet header yet.
    if metadata.looped_back {
        return Verdict::Pass;
    }
    let judged = match hook {
        Hook::SlaveEgress => slave_egress(packet, metadata, me, tables),
        Hook::SlaveIngress => slave_ingress(packet, metadata, me, tables),
        Hook::ParentIngress => parent_ingress(packet, metadata, me, tables),
        Hook::ParentEgress => parent_egress(packet, metadata, me, tables),
        Hook::LoopbackIngress => loopback_ingress(packet, metadata, me, tables),
    };
    match judged {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// `Err` is a drop, so that `?` leaves at the first rule broken.
type Judged = Result<Verdict, Verdict>;

#[inline(always)]
const fn refuse(slot: Slot, reason: DropReason) -> Judged {
    Err(Verdict::Drop { slot, reason })
}

/// Anti-spoofing: a frame leaves an endpoint only as its own.
#[inline(always)]
fn slave_egress<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if let Err(reason) = sender::check(packet, metadata, &me.entry, &me.mac) {
        return refuse(me.slot, reason);
    }
    if me.group_interval != 0
        && Ethernet::parse(packet).is_ok_and(|it| it.is_group())
        && !tables.afford_group(me.slot, me.group_interval)
    {
        return refuse(me.slot, DropReason::GroupRate);
    }
    // The host may route to any of its interfaces, so an internal network's frames can't wait for the parent's egress.
    if me.entry.flags & L3 != 0 && me.entry.flags & INTERNAL != 0 {
        let receiver = Claim::of(packet, metadata.protocol)
            .and_then(|claim| claim.destination_holder(me, tables))
            .and_then(|slot| tables.slot(slot));
        if receiver.is_none_or(|it| it.network != me.entry.network) {
            return refuse(me.slot, DropReason::Internal);
        }
    }
    Ok(Verdict::Seal)
}

/// Isolation between endpoints, and between an internal network and the wire.
#[inline(always)]
fn slave_ingress<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    let Some(sender) = sealed_by(metadata, tables) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    if sender.flags & WIRE != 0 {
        return from_wire(packet, me);
    }
    let reason = if sender.network != me.entry.network {
        DropReason::OtherNetwork
    } else if me.entry.flags & PRIVATE != 0 {
        DropReason::Private
    } else {
        return open(packet, metadata, sender, me);
    };
    refuse_isolated(packet, metadata.tc_index, me.slot, reason)
}

/// What an endpoint receives from the wire.
#[inline(always)]
fn from_wire<P: Packet + ?Sized>(packet: &P, me: &Identity) -> Judged {
    if me.entry.flags & INTERNAL != 0 {
        return refuse_isolated(packet, me.slot, me.slot, DropReason::Internal);
    }
    let limited = me.entry.flags & (MULTICAST_LOCAL | MULTICAST_OFF) != 0;
    if limited && Ethernet::parse(packet).is_ok_and(|it| sender::is_multicast(packet, &it)) {
        return refuse(me.slot, DropReason::Multicast);
    }
    Ok(Verdict::Open)
}

/// The host filter, and what may come in from the wire.
#[inline(always)]
fn parent_ingress<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if sealed_by(metadata, tables).is_some() {
        return refuse(metadata.tc_index, DropReason::HostFilter);
    }
    let Ok(ethernet) = Ethernet::parse(packet) else {
        return Ok(Verdict::Pass);
    };
    // ipvlan hands a slave's frame to the host only where both its MACs are the same, whatever they are; and nobody
    // but a slave or the host itself sends with the parent's MAC.
    if me.entry.flags & VEPA != 0 && ethernet.source == me.mac {
        return hairpin(packet, &ethernet, me, tables);
    }
    if ethernet.source == me.mac || ethernet.source == ethernet.destination {
        return refuse(me.slot, DropReason::Unsealed);
    }
    // Another VLAN's frame: without a seal, it reaches no endpoint.
    if metadata.vlan.is_some_and(|id| id != 0) {
        return Ok(Verdict::Pass);
    }
    let Some(claim) = Claim::of(packet, ethernet.ethertype) else {
        return Ok(if ethernet.is_group() { Verdict::Seal } else { Verdict::Pass });
    };
    if claim.source_holder(me, tables).is_some() {
        return refuse(me.slot, DropReason::WireSpoof);
    }
    if ethernet.is_group() {
        return Ok(Verdict::Seal);
    }
    let Some(receiver) = claim.destination_holder(me, tables) else {
        return Ok(Verdict::Pass);
    };
    match tables.slot(receiver) {
        Some(entry) if entry.flags & INTERNAL == 0 => {
            Ok(if entry.flags & L3S == 0 { Verdict::Seal } else { Verdict::Deliver { slot: receiver } })
        }
        _ => refuse(receiver, DropReason::Internal),
    }
}

/// A frame that an endpoint sent to the switch, and the switch sent back. On the wire it had no seal; whoever can send with the
/// parent's MAC there can pass for an endpoint here, as in every use of VEPA.
#[inline(always)]
fn hairpin<P: Packet + ?Sized>(
    packet: &P,
    ethernet: &Ethernet,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    let Some(claim) = Claim::of(packet, ethernet.ethertype) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    let Some(slot) = claim.source_holder(me, tables) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    let Some(sender) = tables.slot(slot) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    if !ethernet.is_group() && claim.destination_holder(me, tables).is_none() {
        return refuse(slot, DropReason::HostFilter);
    }
    Ok(Verdict::Reseal { slot, seal: sender.seal })
}

/// What may go out to the wire.
#[inline(always)]
fn parent_egress<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if let Some(sender) = sealed_by(metadata, tables) {
        return to_wire(packet, metadata, sender, me);
    }
    if metadata.sent_by_slave {
        return refuse(me.slot, DropReason::Unsealed);
    }
    unsealed(packet, me, tables)
}

/// What an endpoint sends to the wire.
#[inline(always)]
fn to_wire<P: Packet + ?Sized>(packet: &P, metadata: &Metadata, sender: &SlotEntry, me: &Identity) -> Judged {
    if sender.flags & INTERNAL != 0 {
        return refuse_isolated(packet, metadata.tc_index, metadata.tc_index, DropReason::Internal);
    }
    if sender.flags & MULTICAST_LOCAL != 0
        && Ethernet::parse(packet).is_ok_and(|it| sender::is_multicast(packet, &it))
    {
        return refuse(metadata.tc_index, DropReason::Multicast);
    }
    // The host's NAT may have given it another source.
    if sender.flags & L3 != 0 { Ok(Verdict::Open) } else { open(packet, metadata, sender, me) }
}

/// The host filter of modes l3 and l3s, whose frames for the host don't pass the parent.
#[inline(always)]
fn loopback_ingress<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if sealed_by(metadata, tables).is_some() {
        return refuse(metadata.tc_index, DropReason::HostFilter);
    }
    unsealed(packet, me, tables)
}

/// The sender that the seal proves.
#[inline(always)]
fn sealed_by<'a>(metadata: &Metadata, tables: &'a impl Tables) -> Option<&'a SlotEntry> {
    tables.slot(metadata.tc_index).filter(|entry| entry.seal != 0 && entry.seal == metadata.hash)
}

/// A frame without a seal is the host's own, unless it claims an endpoint's address.
#[inline(always)]
fn unsealed<P: Packet + ?Sized>(packet: &P, me: &Identity, tables: &impl Tables) -> Judged {
    let claim = Ethernet::parse(packet).ok().and_then(|it| Claim::of(packet, it.ethertype));
    match claim.and_then(|it| it.source_holder(me, tables)) {
        Some(_) => refuse(me.slot, DropReason::Unsealed),
        None => Ok(Verdict::Pass),
    }
}

/// Accepts an endpoint's frame where it comes out, if it still is the sender's own.
#[inline(always)]
fn open<P: Packet + ?Sized>(packet: &P, metadata: &Metadata, sender: &SlotEntry, me: &Identity) -> Judged {
    match sender::check(packet, metadata, sender, &me.mac) {
        Ok(()) => Ok(Verdict::Open),
        Err(reason) => refuse(metadata.tc_index, reason),
    }
}

/// An attempt counts for `charged`, its sender where that is an endpoint; a flood that merely came by, as broadcasts do, counts as
/// such where it was cut.
#[inline(always)]
fn refuse_isolated<P: Packet + ?Sized>(packet: &P, charged: Slot, here: Slot, reason: DropReason) -> Judged {
    match Ethernet::parse(packet) {
        Ok(ethernet) if ethernet.is_group() => refuse(here, DropReason::Flood),
        _ => refuse(charged, reason),
    }
}

/// The addresses that a frame claims to come from and to be for. Who holds them is looked up only where it is asked.
#[derive(Clone, Copy)]
enum Claim {
    Ipv4 { source: [u8; 4], destination: [u8; 4] },
    Ipv6 { source: [u8; 16], destination: [u8; 16] },
}

impl Claim {
    /// `None` where the frame has no such addresses, or is malformed.
    #[inline(always)]
    fn of<P: Packet + ?Sized>(packet: &P, ethertype: u16) -> Option<Self> {
        Some(match ethertype {
            packet::ARP => {
                let Arp { sender, target, .. } = Arp::parse(packet).ok()?;
                Self::Ipv4 { source: sender, destination: target }
            }
            packet::IPV4 => {
                let Ipv4 { source, destination, .. } = Ipv4::parse(packet).ok()?;
                Self::Ipv4 { source, destination }
            }
            packet::IPV6 => {
                let Ipv6 { source, destination, .. } = Ipv6::parse(packet).ok()?;
                Self::Ipv6 { source, destination }
            }
            _ => return None,
        })
    }

    /// Which endpoint here holds the source.
    #[inline(always)]
    fn source_holder(&self, me: &Identity, tables: &impl Tables) -> Option<Slot> {
        match *self {
            Self::Ipv4 { source, .. } => tables.ipv4(me.parent, source),
            Self::Ipv6 { source, .. } => tables.ipv6(me.parent, source),
        }
    }

    /// Which endpoint here holds the destination.
    #[inline(always)]
    fn destination_holder(&self, me: &Identity, tables: &impl Tables) -> Option<Slot> {
        match *self {
            Self::Ipv4 { destination, .. } => tables.ipv4(me.parent, destination),
            Self::Ipv6 { destination, .. } => tables.ipv6(me.parent, destination),
        }
    }
}
