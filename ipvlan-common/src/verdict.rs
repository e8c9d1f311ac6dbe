//! The verdict: what becomes of a frame at each hook. Pure, so that tests run the very code that the kernel runs.

use crate::{
    DropReason, Hook, Identity, Slot, SlotEntry, claim, nd,
    packet::{self, Frame, Metadata, Origin, Packet},
    parent::{loopback_egress, parent_egress, parent_ingress, parent_xdp},
    resolve,
    seal::{Behalf, behalf, seal, seal_for},
    sender,
    tables::Tables,
    types::{HOST_ACCESS, INTERNAL, L3, MULTICAST_LOCAL, MULTICAST_OFF, PRIVATE, ROUTES, WIRE},
};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No endpoint is involved: it goes on untouched and uncounted.
    Pass,
    /// Accepted where it enters, or back from the switch: it goes on under a seal.
    Seal {
        /// In whose name: the sender's, or the parent's for what the wire sends.
        slot: Slot,
        /// The seal.
        seal: u32,
    },
    /// Accepted where it comes out: it goes on with the seal taken off.
    Open,
    /// Accepted for an endpoint whose own hooks don't see it, and counted as received by it.
    Deliver {
        /// The receiver.
        slot: Slot,
    },
    /// What the host sends to an endpoint: it turns round at the parent, and comes in there under a seal of the host's.
    Turn {
        /// The seal.
        seal: u32,
    },
    /// Accepted where it comes out between the host and an endpoint: it goes on with the seal taken off, and doesn't count as the wire's.
    Admit {
        /// The endpoint that is to receive it, whose own hooks don't see it.
        receiver: Option<Slot>,
    },
    /// A request for a neighbour's address: it becomes the reply, and goes back to where it came from under a seal.
    Answer {
        /// In whose name.
        slot: Slot,
        /// The reply's seal.
        seal: u32,
    },
    /// Such a request of an endpoint that nobody here can answer: it goes to the wire alone, under a seal, for [`resolve::ASIDE`].
    Aside {
        /// The seal.
        seal: u32,
    },
    /// As [`Self::Open`], for such a request, which is to its [`resolve::group`] again.
    Restore,
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
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Verdict {
    // The copy of a multicast goes back to whoever sent it, and has no Ethernet header yet. In modes l3 and l3s the host sends
    // endpoints' frames on, and isn't to get a copy of those: their hash is a seal, of whatever is left of the frame.
    let is_an_endpoints = || {
        me.entry.flags & ROUTES != 0 && metadata.hash != 0
            || claim::source_endpoint_at_start(packet, metadata.protocol, me.parent, tables).is_some()
    };
    if metadata.looped_back && (hook != Hook::ParentIngress || !is_an_endpoints()) {
        return Verdict::Pass;
    }
    let judged = match Frame::parse(packet) {
        _ if metadata.looped_back => refuse(me.slot, DropReason::HostFilter),
        Ok(frame) => match hook {
            Hook::SlaveEgress => slave_egress(&frame, metadata, me, tables),
            Hook::SlaveIngress => slave_ingress(&frame, metadata, me, tables),
            Hook::ParentIngress => parent_ingress(&frame, metadata, me, tables),
            Hook::ParentEgress => parent_egress(&frame, metadata, me, tables),
            Hook::LoopbackEgress => loopback_egress(&frame, metadata, me, tables),
            Hook::ParentXdp => parent_xdp(&frame, me, tables),
        },
        Err(reason) => match hook {
            Hook::SlaveEgress => refuse(me.slot, reason),
            Hook::SlaveIngress => refuse(me.slot, DropReason::Unsealed),
            Hook::ParentEgress | Hook::LoopbackEgress if metadata.origin.is_slave() => {
                refuse(me.slot, DropReason::Unsealed)
            }
            _ => Ok(Verdict::Pass),
        },
    };
    let (Ok(verdict) | Err(verdict)) = judged;
    verdict
}

/// What [`decide`] says at a slave's egress of what [`resolve::asks`]; of anything else, that it is malformed.
#[inline(always)]
pub fn decide_request<P: Packet + ?Sized>(
    packet: &P,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Verdict {
    let frame = Frame::parse(packet).ok().filter(|_| !metadata.unfinished);
    match frame.and_then(|frame| resolve::by_endpoint(&frame, metadata, me, tables)) {
        Some(Ok(verdict) | Err(verdict)) => verdict,
        None => Verdict::Drop { slot: me.slot, reason: DropReason::Malformed },
    }
}

/// `Err` is a drop, so that `?` leaves at the first rule broken.
pub(crate) type Judged = Result<Verdict, Verdict>;

#[inline(always)]
pub(crate) const fn refuse<T>(slot: Slot, reason: DropReason) -> Result<T, Verdict> {
    Err(Verdict::Drop { slot, reason })
}

/// Anti-spoofing: a frame leaves an endpoint only as its own.
#[inline(always)]
fn slave_egress<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if metadata.unfinished {
        return refuse(me.slot, DropReason::Malformed);
    }
    if resolve::asks(frame.packet, me, tables)
        && let Some(judged) = resolve::by_endpoint(frame, metadata, me, tables)
    {
        return judged;
    }
    if let Err(reason) = sender::check(frame, metadata, &me.entry, &me.mac) {
        return refuse(me.slot, reason);
    }
    // Our own mark: the parent's egress would make a broadcast of it, at nobody's rate.
    if frame.ethernet.destination == resolve::ASIDE {
        return refuse(me.slot, DropReason::GroupMismatch);
    }
    let is_group = frame.ethernet.is_group();
    if me.group_interval != 0 && is_group && !tables.afford_group(me.slot, me.group_interval) {
        return refuse(me.slot, DropReason::GroupRate);
    }
    // The host may route to any of its interfaces, so an internal network's frames can't wait for the parent's egress.
    if me.entry.flags & L3 != 0 && me.entry.flags & INTERNAL != 0 {
        let receiver = frame
            .claim()
            .and_then(|claim| claim.destination_endpoint(me.parent, tables))
            .and_then(|slot| tables.slot(slot));
        if receiver.is_none_or(|it| it.network != me.entry.network) {
            return refuse(me.slot, DropReason::Internal);
        }
    }
    Ok(sealed(frame, me))
}

/// Under the seal of the hook's own slot.
#[inline(always)]
pub(crate) fn sealed<P: Packet + ?Sized>(frame: &Frame<'_, P>, me: &Identity) -> Verdict {
    Verdict::Seal { slot: me.slot, seal: seal(frame, &me.entry) }
}

/// Isolation between endpoints, and between an internal network and the wire.
#[inline(always)]
fn slave_ingress<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    let Some(sender) = named(metadata, tables) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    let is_parent = metadata.tc_index == me.parent;
    match behalf(frame, sender, metadata.hash) {
        Some(Behalf::Slot) => {}
        Some(Behalf::Host) if is_parent && me.entry.flags & HOST_ACCESS != 0 => return Ok(Verdict::Open),
        _ => return refuse(me.slot, DropReason::Unsealed),
    }
    if sender.flags & WIRE != 0 {
        return from_wire(frame, me, tables);
    }
    let reason = if sender.network != me.entry.network {
        DropReason::OtherNetwork
    } else if me.entry.flags & PRIVATE != 0 {
        DropReason::Private
    } else {
        return open(frame, metadata, sender, me);
    };
    refuse_isolated(frame, metadata.tc_index, me.slot, reason)
}

/// What an endpoint receives from the wire.
#[inline(always)]
fn from_wire<P: Packet + ?Sized>(frame: &Frame<'_, P>, me: &Identity, tables: &impl Tables) -> Judged {
    if me.entry.flags & INTERNAL != 0 {
        return refuse_isolated(frame, me.slot, me.slot, DropReason::Internal);
    }
    if me.entry.flags & (MULTICAST_LOCAL | MULTICAST_OFF) != 0 && frame.is_dispensable_group() {
        return refuse(me.slot, DropReason::Multicast);
    }
    // Whoever has its own address too, it is to hear of: so it finds a duplicate.
    let advertised =
        if frame.ethernet.ethertype == packet::IPV6 { nd::advertised(frame.packet) } else { None };
    if advertised.and_then(|it| tables.ipv6(me.parent, it)).is_some_and(|holder| holder != me.slot) {
        return refuse(me.slot, DropReason::WireSpoof);
    }
    Ok(Verdict::Open)
}

/// The sender that the seal proves.
#[inline(always)]
pub(crate) fn sealed_by<'a, P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    tables: &'a impl Tables,
) -> Option<&'a SlotEntry> {
    sealed_for(Behalf::Slot, frame, metadata, tables)
}

/// The same on somebody's behalf.
#[inline(always)]
pub(crate) fn sealed_for<'a, P: Packet + ?Sized>(
    behalf: Behalf,
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    tables: &'a impl Tables,
) -> Option<&'a SlotEntry> {
    named(metadata, tables).filter(|entry| seal_for(behalf, frame, entry) == metadata.hash)
}

/// Whom the seal, if it is one, is to prove.
#[inline(always)]
fn named<'a>(metadata: &Metadata<impl Origin>, tables: &'a impl Tables) -> Option<&'a SlotEntry> {
    tables.slot(metadata.tc_index).filter(|entry| entry.key != [0; 2])
}

/// Accepts an endpoint's frame where it comes out, if it still is the sender's own.
#[inline(always)]
pub(crate) fn open<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    sender: &SlotEntry,
    me: &Identity,
) -> Judged {
    match sender::check(frame, metadata, sender, &me.mac) {
        Ok(()) => Ok(Verdict::Open),
        Err(reason) => refuse(metadata.tc_index, reason),
    }
}

/// An attempt counts for `charged`, its sender where that is an endpoint; a flood that merely came by, as broadcasts do, counts as
/// such where it was cut.
#[inline(always)]
pub(crate) fn refuse_isolated<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    charged: Slot,
    here: Slot,
    reason: DropReason,
) -> Judged {
    if frame.ethernet.is_group() { refuse(here, DropReason::Flood) } else { refuse(charged, reason) }
}
