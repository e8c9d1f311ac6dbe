//! The verdict at the hooks on the host's side: the parent's, and `lo`'s.

use crate::{
    DropReason, Identity, Slot, SlotEntry, Verdict,
    packet::{Ethernet, Frame, Metadata, Origin, Packet},
    resolve,
    seal::{Behalf, seal, seal_for},
    sender,
    tables::Tables,
    types::{HOST_ACCESS, INTERNAL, L3, L3S, MULTICAST_LOCAL, MULTICAST_OFF, SNAT, VEPA},
    verdict::{Judged, open, refuse, refuse_isolated, sealed, sealed_by, sealed_for},
};

/// The host filter, and what may come in from the wire.
#[inline(always)]
pub(crate) fn parent_ingress<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    // What the wire sends is sealed for endpoints alone, and so in the parent's name only the host's comes here.
    let is_hosts = metadata.tc_index == me.slot;
    let behalf = if is_hosts { Behalf::Host } else { Behalf::Slot };
    if let Some(sender) = sealed_for(behalf, frame, metadata, tables) {
        return if is_hosts {
            from_host(frame, me, tables)
        } else {
            to_host(frame, metadata, sender, me, tables)
        };
    }
    if me.entry.flags & VEPA != 0 && frame.ethernet.source == me.mac {
        return hairpin(frame, me, tables);
    }
    if may_be_a_slaves(frame, me) {
        return refuse(me.slot, DropReason::Unsealed);
    }
    // Another VLAN's frame: without a seal, it reaches no endpoint.
    if metadata.vlan.is_some_and(|id| id != 0) {
        return Ok(Verdict::Pass);
    }
    match arrival(frame, me, tables)? {
        Arrival::Host => Ok(Verdict::Pass),
        Arrival::EndpointByStack(slot) => Ok(Verdict::Deliver { slot }),
        // A reply would have the request's priority tag, which no endpoint may send.
        Arrival::Everyone if metadata.vlan.is_some() => Ok(sealed(frame, me)),
        Arrival::Everyone => Ok(match resolve::by_wire(frame, me, tables) {
            Some((slot, seal)) => Verdict::Answer { slot, seal },
            None => sealed(frame, me),
        }),
        Arrival::Endpoint => Ok(sealed(frame, me)),
    }
}

/// What an endpoint sends to its host: to an address of the host's own on the parent, and nothing for the host to pass on.
#[inline(always)]
fn to_host<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    sender: &SlotEntry,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if sender.flags & HOST_ACCESS == 0 || destination(frame.packet, me.parent, tables) != me.parent {
        return refuse(metadata.tc_index, DropReason::HostFilter);
    }
    match sender::link(frame, metadata, &me.mac)
        .err()
        .or_else(|| sender::objection(frame.packet, sender, &me.mac))
    {
        Some(reason) => refuse(metadata.tc_index, reason),
        None => Ok(Verdict::Admit { receiver: None }),
    }
}

/// Who on the parent holds the destination; 0 for nobody. Its own function, which leaves the verifier one number: it would otherwise
/// walk through all that follows for each kind of address.
#[inline(never)]
fn destination<P: Packet + ?Sized>(packet: &P, parent: Slot, tables: &impl Tables) -> Slot {
    let claim = Frame::parse(packet).ok().and_then(|frame| frame.claim());
    claim.and_then(|it| it.destination_holder(parent, tables)).unwrap_or_default()
}

/// What has turned round at the parent's egress: the host's to an endpoint, or what was answered to it in an endpoint's name.
#[inline(always)]
fn from_host<P: Packet + ?Sized>(frame: &Frame<'_, P>, me: &Identity, tables: &impl Tables) -> Judged {
    let slot = destination(frame.packet, me.parent, tables);
    if slot == 0 || slot == me.parent {
        return Ok(Verdict::Admit { receiver: None });
    }
    match tables.slot(slot).map_or(0, |entry| entry.flags) & (HOST_ACCESS | L3S) {
        HOST_ACCESS => Ok(Verdict::Pass),
        0 | L3S => refuse(slot, DropReason::HostFilter),
        _ => Ok(Verdict::Admit { receiver: Some(slot) }),
    }
}

/// What is refused to the wire is refused here already. What may be a slave's is left to the parent's tc ingress, which sees the
/// seal: generic XDP gets those frames too.
#[inline(always)]
pub(crate) fn parent_xdp<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if !may_be_a_slaves(frame, me) {
        arrival(frame, me, tables)?;
    }
    Ok(Verdict::Pass)
}

/// ipvlan hands a slave's frame to the host only where both its MACs are the same, whatever they are; and nobody but a slave or
/// the host itself sends with the parent's MAC.
#[inline(always)]
fn may_be_a_slaves<P: ?Sized>(frame: &Frame<'_, P>, me: &Identity) -> bool {
    frame.ethernet.source == me.mac || frame.ethernet.source == frame.ethernet.destination
}

/// For whom a frame from the wire is.
enum Arrival {
    Host,
    Everyone,
    Endpoint,
    /// Mode l3s: the host's stack hands it on.
    EndpointByStack(Slot),
}

/// What the wire may send, and to whom.
#[inline(always)]
fn arrival<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    me: &Identity,
    tables: &impl Tables,
) -> Result<Arrival, Verdict> {
    let claim = frame.claim();
    let source = claim.and_then(|it| it.source_holder(me.parent, tables));
    let as_host = source == Some(me.parent);
    if source.is_some() && !as_host {
        return refuse(me.slot, DropReason::WireSpoof);
    }
    let group = frame.ethernet.is_group();
    let Some(slot) = claim.and_then(|it| it.destination_endpoint(me.parent, tables)) else {
        // The host is to hear of whoever has its address too.
        return Ok(if group && !as_host { Arrival::Everyone } else { Arrival::Host });
    };
    if as_host {
        return refuse(me.slot, DropReason::WireSpoof);
    }
    match tables.slot(slot).filter(|entry| entry.network != 0) {
        // Slaves get a copy each, and judge it. In l3s there is none: the host's stack hands on what is addressed to one of them.
        Some(entry) if group && entry.flags & L3S == 0 => Ok(Arrival::Everyone),
        Some(entry) if entry.flags & (INTERNAL | L3S) == 0 => Ok(Arrival::Endpoint),
        Some(entry) if entry.flags & INTERNAL == 0 => Ok(Arrival::EndpointByStack(slot)),
        _ => refuse(slot, DropReason::Internal),
    }
}

/// A frame that an endpoint sent to the switch, and the switch sent back. On the wire it had no seal; whoever can send with the
/// parent's MAC there can pass for an endpoint here, as in every use of VEPA.
#[inline(always)]
fn hairpin<P: Packet + ?Sized>(frame: &Frame<'_, P>, me: &Identity, tables: &impl Tables) -> Judged {
    let claim = frame.claim();
    let slot = claim.and_then(|it| it.source_endpoint(me.parent, tables));
    let Some((slot, sender)) = slot.and_then(|slot| Some((slot, tables.slot(slot)?))) else {
        return refuse(me.slot, DropReason::Unsealed);
    };
    // Never on the wire, so the switch has none of its frames to send back.
    if sender.flags & INTERNAL != 0 {
        return refuse(slot, DropReason::Internal);
    }
    // Of a group frame the host alone would get a copy: its peers had theirs when it was sent (Linux 6.12, ipvlan_external_frame).
    let receiver = claim.and_then(|it| it.destination_endpoint(me.parent, tables));
    let Some(receiver) = receiver.and_then(|it| tables.slot(it)).filter(|_| !frame.ethernet.is_group())
    else {
        return refuse(slot, DropReason::HostFilter);
    };
    // In l3s no ingress of the receiver's sees it.
    if receiver.network != sender.network {
        return refuse(slot, DropReason::OtherNetwork);
    }
    Ok(Verdict::Seal { slot, seal: seal(frame, sender) })
}

/// What may go out to the wire.
#[inline(always)]
pub(crate) fn parent_egress<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    let Some(sender) = sealed_by(frame, metadata, tables) else {
        unsealed(frame, metadata, me, tables)?;
        return to_endpoint(frame, metadata, me, tables);
    };
    let is_aside = frame.ethernet.destination == resolve::ASIDE;
    let group = if is_aside { resolve::group(frame) } else { None };
    let destination = group.unwrap_or(frame.ethernet.destination);
    let restored = Frame { ethernet: Ethernet { destination, ..frame.ethernet }, ..*frame };
    let verdict = to_wire(&restored, metadata, sender, me, tables)?;
    Ok(if group.is_some() { Verdict::Restore } else { verdict })
}

/// What isn't a slave's: for an endpoint it turns round, where the host may speak to that, and is nothing for the wire where not. To the
/// wire nobody sends from a MAC to the same one.
#[inline(always)]
fn to_endpoint<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    let Ethernet { source, destination, ethertype } = frame.ethernet;
    let is_among_us = source == me.mac && (destination == me.mac || frame.ethernet.is_group());
    if !is_among_us || metadata.vlan.is_some() || metadata.protocol != ethertype {
        return Ok(Verdict::Pass);
    }
    let is_hosts = metadata.origin.is_hosts();
    let seal = if is_hosts { answer_to_host(frame.packet, me, tables) } else { 0 };
    if seal != 0 {
        return Ok(Verdict::Answer { slot: me.slot, seal });
    }
    let way = way_to_endpoint(frame.packet, is_hosts, me, tables);
    match way & !u64::from(u32::MAX) {
        TURN => Ok(Verdict::Turn { seal: way as u32 }),
        REFUSE => refuse(way as Slot, DropReason::HostFilter),
        _ => Ok(Verdict::Pass),
    }
}

/// The seal of what the host's request is answered; 0 where it is none for an endpoint that the host may speak to. Its own function, as
/// [`destination`]; so is [`way_to_endpoint`], since a program's stack is short.
#[inline(never)]
fn answer_to_host<P: Packet + ?Sized>(packet: &P, me: &Identity, tables: &impl Tables) -> u32 {
    let Ok(frame) = Frame::parse(packet) else { return 0 };
    match frame.claim() {
        Some(claim) if claim.source_holder(me.parent, tables) == Some(me.parent) => {
            resolve::by_host(&frame, me, tables).unwrap_or_default()
        }
        _ => 0,
    }
}

/// What [`way_to_endpoint`] says, above a seal, or the slot that is spoken to.
const TURN: u64 = 1 << 32;
const REFUSE: u64 = 2 << 32;

/// What becomes of a frame from the parent's MAC to the same; 0 where it is for no endpoint.
#[inline(never)]
fn way_to_endpoint<P: Packet + ?Sized>(
    packet: &P,
    is_hosts: bool,
    me: &Identity,
    tables: &impl Tables,
) -> u64 {
    let Ok(frame) = Frame::parse(packet) else { return 0 };
    let Some(claim) = frame.claim().filter(|_| !frame.ethernet.is_group()) else { return 0 };
    let Some(slot) = claim.destination_endpoint(me.parent, tables) else { return 0 };
    let is_hosts = is_hosts && claim.source_holder(me.parent, tables) == Some(me.parent);
    let is_granted = tables.slot(slot).is_some_and(|entry| entry.flags & HOST_ACCESS != 0);
    if is_hosts && is_granted && resolve::is_where_it_says(&frame, &me.mac) {
        TURN | u64::from(seal_for(Behalf::Host, &frame, &me.entry))
    } else {
        REFUSE | u64::from(slot)
    }
}

/// What an endpoint sends to the wire.
#[inline(always)]
fn to_wire<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    sender: &SlotEntry,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if sender.flags & INTERNAL != 0 {
        return refuse_isolated(frame, metadata.tc_index, metadata.tc_index, DropReason::Internal);
    }
    if sender.flags & (MULTICAST_LOCAL | MULTICAST_OFF) != 0 && frame.is_dispensable_group() {
        return refuse(metadata.tc_index, DropReason::Multicast);
    }
    if sender.flags & L3 == 0 {
        return open(frame, metadata, sender, me);
    }
    let Some(claim) = frame.claim() else {
        return refuse(metadata.tc_index, DropReason::Malformed);
    };
    let by_nat = || sender.flags & SNAT != 0 && claim.source_holder(me.parent, tables) == Some(me.parent);
    if claim.is_from(sender) || by_nat() {
        Ok(Verdict::Open)
    } else {
        refuse(metadata.tc_index, claim.spoof())
    }
}

/// The host filter of modes l3 and l3s, whose frames for the host don't pass the parent. It stands in mode l2 too: root in a
/// container can switch its parent's mode.
#[inline(always)]
pub(crate) fn loopback_egress<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if let Some(sender) = sealed_by(frame, metadata, tables) {
        if sender.flags & HOST_ACCESS == 0 || sender.flags & L3 == 0 {
            return refuse(metadata.tc_index, DropReason::HostFilter);
        }
        // `lo` has a program of each parent, and the seal must last for all of them.
        if !is_on(sender, metadata.tc_index, me, tables) {
            return Ok(Verdict::Pass);
        }
        if destination(frame.packet, me.parent, tables) != me.parent {
            return refuse(metadata.tc_index, DropReason::HostFilter);
        }
        return match sender::objection(frame.packet, sender, &me.mac) {
            Some(reason) => refuse(metadata.tc_index, reason),
            None => Ok(Verdict::Pass),
        };
    }
    unsealed(frame, metadata, me, tables)
}

/// Whether the endpoint `slot` is one of the parent's.
#[inline(always)]
fn is_on(endpoint: &SlotEntry, slot: Slot, me: &Identity, tables: &impl Tables) -> bool {
    endpoint.ipv4 != [0; 4] && tables.ipv4(me.parent, endpoint.ipv4) == Some(slot)
        || endpoint.ipv6 != [0; 16] && tables.ipv6(me.parent, endpoint.ipv6) == Some(slot)
}

/// A frame without a seal is the host's own, unless the kernel knows better or it claims an endpoint's address.
#[inline(always)]
fn unsealed<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    metadata: &Metadata<impl Origin>,
    me: &Identity,
    tables: &impl Tables,
) -> Judged {
    if metadata.origin.is_slave() {
        return refuse(me.slot, DropReason::Unsealed);
    }
    match frame.claim().and_then(|it| it.source_endpoint(me.parent, tables)) {
        Some(_) => refuse(me.slot, DropReason::Unsealed),
        None => Ok(Verdict::Pass),
    }
}
