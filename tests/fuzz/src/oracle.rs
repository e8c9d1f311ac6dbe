//! What must hold wherever a verdict lets a frame go on.

use etherparse::{ArpPacketSlice, EtherType, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};
use ipvlan_common::{
    DropReason, Hook, Slot, SlotEntry, Verdict,
    packet::Sender,
    resolve::ASIDE,
    tables::Tables as _,
    types::{
        ASK_ALL, HOST_ACCESS, INTERNAL, L3, L3S, MULTICAST_LOCAL, MULTICAST_OFF, Mac, PRIVATE, ROUTES, SNAT,
        VEPA, WIRE,
    },
};

use crate::{
    input::Input,
    own::{self, Rule, ethernet, is_ethernet, is_group, keep},
    request::Request,
    world::{FIRST, MAC, World, seal_of, seal_of_host},
};

/// Holds `verdict` against the rules.
///
/// # Errors
/// The rule that it breaks.
pub fn check(input: &Input<'_>, verdict: Verdict) -> Result<(), &'static str> {
    let world = input.world();
    if input.metadata.looped_back {
        return looped_back(input, &world, verdict);
    }
    if let Verdict::Drop { slot, reason } = verdict {
        let sealed = sealed_by(input, &world).is_some() && slot == input.metadata.tc_index;
        keep(
            slot == input.me || sealed || reason == DropReason::Internal || is_claimed(input, &world, slot),
            "charged to who is known",
        )?;
        // The wire's is for endpoints alone.
        let is_wires = input.hook == Hook::ParentIngress && input.metadata.tc_index == input.me;
        let counts = !is_wires && sealed_by(input, &world).is_some();
        return keep(reason != DropReason::Unsealed || !counts, "a seal counts");
    }
    match input.hook {
        Hook::SlaveEgress => slave_egress(input, &world, verdict),
        Hook::SlaveIngress => slave_ingress(input, &world, verdict),
        Hook::ParentIngress => parent_ingress(input, &world, verdict),
        Hook::ParentEgress => parent_egress(input, &world, verdict),
        Hook::ParentXdp => parent_xdp(input, &world, verdict),
        Hook::LoopbackEgress => {
            keep(verdict == Verdict::Pass, "nothing of ours comes out of lo")?;
            if let Some(sender) = sealed_by(input, &world) {
                let (source, _) = to_host(input, &world, sender)?;
                return keep(
                    sender.flags & L3 != 0 && holder(&world, source) == Some(input.metadata.tc_index),
                    "by lo to the host, as itself",
                );
            }
            keep(input.metadata.origin != Sender::Slave, "a slave's frame is not for the host")?;
            hosts_own(input, &world)
        }
    }
}

fn looped_back(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let packet = input.frame;
    let source = match EtherType(input.metadata.protocol) {
        EtherType::IPV4 => packet.get(12..).and_then(|it| it.first_chunk()).copied().map(Address::V4),
        EtherType::IPV6 => packet.get(8..).and_then(|it| it.first_chunk()).copied().map(Address::V6),
        _ => None,
    };
    let is_sealed = input.identity().entry.flags & ROUTES != 0 && input.metadata.hash != 0;
    let is_endpoints = is_sealed || source.is_some_and(|it| holder(world, it).is_some());
    let to_host = input.hook == Hook::ParentIngress && is_endpoints;
    let refused = Verdict::Drop { slot: input.me, reason: DropReason::HostFilter };
    let due = if to_host { refused } else { Verdict::Pass };
    keep(verdict == due, "a device's own copy goes to its sender, and no endpoint is the host")
}

fn slave_egress(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let me = input.identity();
    own::check(input.frame, &input.metadata, &me.entry)?;
    let granted = me.entry.flags & HOST_ACCESS != 0;
    let request = Request::to_group(input.frame).filter(|_| me.entry.flags & L3 == 0);
    if let Some(asked) = request.as_ref().filter(|it| granted && is_hosts(world, target(it))) {
        let seal = world.seal_of_host(FIRST, &asked.reply(MAC));
        return keep(verdict == Verdict::Answer { slot: FIRST, seal }, "the host's address is answered for");
    }
    if let Verdict::Answer { .. } = verdict {
        keep(request.is_some(), "only requests to all are answered")?;
        return answered(input, world, verdict, |holder| {
            holder.network == me.entry.network && me.entry.flags & (PRIVATE | ASK_ALL) == 0
        });
    }
    if request.is_some() && me.entry.flags & ASK_ALL == 0 {
        let due = world.seal(input.me, &addressed(input.frame, ASIDE));
        keep(verdict == Verdict::Aside { seal: due }, "who asks is answered, or asks the wire alone")?;
        keep(me.entry.flags & INTERNAL == 0, "internal, asks the wire")?;
        let target = request.map(|it| target(&it));
        keep(target.is_some_and(|it| anybody(world, it).is_none()), "of those here, nobody is asked")?;
    } else {
        keep(verdict == own_seal(input), "accepted by a seal")?;
    }
    let group = ethernet(input.frame).is_some_and(|it| is_group(&it));
    keep(!group || me.group_interval == 0 || input.affords_group, "no broadcast beyond the rate")?;
    if me.entry.flags & L3 != 0 && me.entry.flags & INTERNAL != 0 {
        let destination = addresses(input.frame).map(|(_, to)| to);
        let receiver = destination.and_then(|to| holder(world, to)).and_then(|slot| world.slot(slot));
        let to_peer = receiver.is_some_and(|it| it.network == me.entry.network);
        keep(to_peer, "internal, by the host's routes")?;
    }
    Ok(())
}

fn slave_ingress(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    keep(verdict == Verdict::Open, "accepted by opening")?;
    let me = input.identity().entry;
    let Some(sender) = sealed_by(input, world) else {
        keep(me.flags & HOST_ACCESS != 0, "host access, from the host")?;
        let hosts = input.metadata.tc_index == FIRST && is_sealed_by_host(input, world);
        return keep(hosts, "no endpoint gets what isn't sealed");
    };
    if sender.flags & WIRE != 0 {
        keep(me.flags & INTERNAL == 0, "internal, from the wire")?;
        let limited = me.flags & (MULTICAST_LOCAL | MULTICAST_OFF) != 0;
        keep(!limited || !is_plain_group(input.frame), "no multicast from the wire")?;
        let advertised = advertised(input.frame).and_then(|it| anybody(world, it));
        return keep(advertised.is_none_or(|it| it == input.me), "nobody on the wire has a peer's address");
    }
    keep(sender.network == me.network, "one network")?;
    keep(me.flags & PRIVATE == 0, "private")?;
    own::check(input.frame, &input.metadata, sender)
}

fn parent_ingress(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let in_parents_name = input.metadata.tc_index == input.me;
    if let Some(sender) = sealed_by(input, world).filter(|_| !in_parents_name) {
        keep(verdict == Verdict::Admit { receiver: None }, "for the host, and not counted as the wire's")?;
        to_host(input, world, sender)?;
        return own::check(input.frame, &input.metadata, sender);
    }
    if in_parents_name && is_sealed_by_host(input, world) {
        return from_host(input, world, verdict);
    }
    let me = input.identity();
    let Some(ethernet) = ethernet(input.frame) else {
        return keep(verdict == Verdict::Pass, "no header, no endpoint");
    };
    let (source, destination) =
        addresses(input.frame).map_or((None, None), |(from, to)| (Some(from), Some(to)));
    let sender = source.and_then(|it| holder(world, it));
    let receiver =
        destination.and_then(|it| holder(world, it)).and_then(|slot| Some((slot, world.slot(slot)?)));
    if let Verdict::Seal { slot, seal } = verdict
        && me.entry.flags & VEPA != 0
        && ethernet.source() == MAC
    {
        keep(sender == Some(slot), "resealed for the sender")?;
        keep(!is_group(&ethernet), "of a broadcast the host alone gets a copy")?;
        let network = world.slot(slot).filter(|it| it.flags & INTERNAL == 0).map(|it| it.network);
        keep(network.is_some(), "internal, so never on the wire")?;
        keep(receiver.map(|(_, it)| it.network) == network, "one network, by way of the switch")?;
        return keep(seal == world.seal(slot, input.frame), "with the sender's seal");
    }
    keep(ethernet.source() != MAC, "the parent's MAC is a slave's")?;
    keep(ethernet.source() != ethernet.destination(), "one MAC twice is a slave's")?;
    if input.metadata.vlan.is_some_and(|id| id != 0) {
        return keep(verdict == Verdict::Pass, "another VLAN");
    }
    keep(sender.is_none(), "nobody outside has an endpoint's address")?;
    if source.is_some_and(|it| is_hosts(world, it)) {
        return keep(
            verdict == Verdict::Pass && receiver.is_none(),
            "no endpoint hears of who has the host's address",
        );
    }
    if let Verdict::Answer { .. } = verdict {
        return answered(input, world, verdict, |holder| holder.flags & (INTERNAL | L3 | ASK_ALL) == 0);
    }
    match (verdict, receiver) {
        (Verdict::Seal { .. }, _) if is_group(&ethernet) => {
            keep(verdict == own_seal(input), "a seal")?;
            keep(receiver.is_none_or(|(_, it)| it.flags & L3S == 0), "by the stack, whatever the MAC")
        }
        (Verdict::Seal { .. }, Some((_, it))) => {
            keep(verdict == own_seal(input), "the parent's seal")?;
            keep(it.flags & (INTERNAL | L3S) == 0, "internal, or by the stack")
        }
        (Verdict::Deliver { slot }, Some((holder, it))) => {
            keep(slot == holder && it.flags & L3S != 0 && it.flags & INTERNAL == 0, "delivered by the stack")
        }
        (Verdict::Pass, None) => Ok(()),
        _ => Err("sealed for the receiver"),
    }
}

fn parent_egress(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let Some(sender) = sealed_by(input, world) else {
        keep(input.metadata.origin != Sender::Slave, "a slave's frame needs a seal")?;
        hosts_own(input, world)?;
        return if verdict == Verdict::Pass {
            is_not_ours(input, world)
        } else {
            to_endpoint(input, world, verdict)
        };
    };
    let frame = match verdict {
        Verdict::Restore => {
            keep(input.frame.starts_with(&ASIDE), "to all that was set aside")?;
            addressed(input.frame, group(input.frame).ok_or("no request, and yet restored")?)
        }
        _ => input.frame.to_vec(),
    };
    keep(matches!(verdict, Verdict::Open | Verdict::Restore), "accepted by opening")?;
    keep(sender.flags & INTERNAL == 0, "internal, to the wire")?;
    let limited = sender.flags & (MULTICAST_LOCAL | MULTICAST_OFF) != 0;
    keep(!limited || !is_plain_group(&frame), "multicast that stays here")?;
    if sender.flags & L3 == 0 {
        return own::check(&frame, &input.metadata, sender);
    }
    let (source, _) = addresses(input.frame).ok_or("l3, a source")?;
    let by_nat = sender.flags & SNAT != 0 && is_hosts(world, source);
    keep(
        by_nat || holder(world, source) == Some(input.metadata.tc_index),
        "l3, the own source, or the host's",
    )
}

/// What goes on to the wire: to no endpoint from the MAC that it has itself.
fn is_not_ours(input: &Input<'_>, world: &World) -> Rule {
    let Some(ethernet) = ethernet(input.frame) else { return Ok(()) };
    let among_us = ethernet.source() == MAC && ethernet.destination() == MAC && input.metadata.vlan.is_none();
    let protocol = u16::from(ethernet.ether_type()) == input.metadata.protocol;
    let receiver = addresses(input.frame).and_then(|(_, to)| holder(world, to));
    keep(!among_us || !protocol || receiver.is_none(), "an endpoint is not on the wire")
}

/// What the host sends to an endpoint, or is answered in its name.
fn to_endpoint(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let ethernet = ethernet(input.frame).ok_or("a whole Ethernet header")?;
    let (source, destination) = addresses(input.frame).ok_or("addresses")?;
    keep(input.metadata.origin == Sender::Host, "the host's own, nothing that it passes on")?;
    keep(ethernet.source() == MAC && is_hosts(world, source), "from the host")?;
    keep(input.metadata.vlan.is_none(), "no VLAN's")?;
    let to_one = ethernet.destination() == MAC;
    if let Verdict::Answer { slot, seal } = verdict {
        let request = Request::read(input.frame).ok_or("only requests are answered")?;
        keep(to_one || is_group(&ethernet), "asked of the endpoint, or of all")?;
        keep(is_granted(world, target(&request)), "answered for whom the host may reach")?;
        // The flag that a parent never has: what of its seals is routed.
        let mut parent = input.identity().entry;
        parent.flags &= !L3;
        let due = seal_of_host(&parent, &request.reply(MAC)).unwrap_or_default();
        return keep((slot, seal) == (input.me, due), "under the host's seal");
    }
    let due = seal_of_host(&input.identity().entry, input.frame).unwrap_or_default();
    keep(verdict == Verdict::Turn { seal: due }, "under the host's seal")?;
    let mac = ArpPacketSlice::from_slice(ethernet.payload_slice())
        .ok()
        .filter(|_| ethernet.ether_type() == EtherType::ARP);
    keep(mac.is_none_or(|it| it.sender_hw_addr() == MAC), "the host is where the parent is")?;
    keep(to_one && is_granted(world, destination), "host access, from the host")
}

/// The same where it comes in.
fn from_host(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    let receiver = addresses(input.frame)
        .and_then(|(_, to)| holder(world, to))
        .and_then(|slot| Some((slot, world.slot(slot)?)));
    match (verdict, receiver) {
        (Verdict::Admit { receiver: None }, None) => Ok(()),
        (Verdict::Admit { receiver: Some(slot) }, Some((due, it))) => keep(
            slot == due && it.flags & L3S != 0 && it.flags & HOST_ACCESS != 0,
            "by the stack, if granted",
        ),
        (Verdict::Pass, Some((_, it))) => {
            keep(it.flags & L3S == 0 && it.flags & HOST_ACCESS != 0, "by its own hook, if granted")
        }
        _ => Err("to whom it is for"),
    }
}

/// What an endpoint may send to its host; returns from where to where.
fn to_host(input: &Input<'_>, world: &World, sender: &SlotEntry) -> Result<(Address, Address), &'static str> {
    keep(sender.flags & HOST_ACCESS != 0, "host access, to the host")?;
    let (source, destination) = addresses(input.frame).ok_or("addresses")?;
    keep(is_hosts(world, destination), "the host itself, and nothing that it passes on")?;
    Ok((source, destination))
}

fn is_granted(world: &World, address: Address) -> bool {
    let endpoint = holder(world, address).and_then(|slot| world.slot(slot));
    endpoint.is_some_and(|it| it.flags & HOST_ACCESS != 0)
}

/// All on the wire that such a request is for.
fn group(frame: &[u8]) -> Option<Mac> {
    let payload = ethernet(frame)?;
    match payload.ether_type() {
        EtherType::ARP => Some([0xff; 6]),
        EtherType::IPV6 => {
            let ip = Ipv6HeaderSlice::from_slice(payload.payload_slice()).ok()?;
            let [a, b, c, d] = *ip.destination().last_chunk()?;
            ip.destination_addr().is_multicast().then_some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}

fn parent_xdp(input: &Input<'_>, world: &World, verdict: Verdict) -> Rule {
    keep(verdict == Verdict::Pass, "nothing is sealed this early")?;
    let Some(ethernet) = ethernet(input.frame) else { return Ok(()) };
    if ethernet.source() == MAC || ethernet.source() == ethernet.destination() {
        return Ok(());
    }
    let Some((source, destination)) = addresses(input.frame) else { return Ok(()) };
    keep(holder(world, source).is_none(), "nobody outside has an endpoint's address")?;
    let receiver = holder(world, destination).and_then(|slot| world.slot(slot));
    keep(
        receiver.is_none() || !is_hosts(world, source),
        "no endpoint hears from who has the host's address",
    )?;
    let by_stack = |flags| !is_group(&ethernet) || flags & L3S != 0;
    let internal = receiver.is_some_and(|it| it.flags & INTERNAL != 0 && by_stack(it.flags));
    keep(!internal, "internal, from the wire")
}

/// Answered in the name of an endpoint that may, and with its seal.
fn answered(
    input: &Input<'_>,
    world: &World,
    verdict: Verdict,
    may: impl FnOnce(&SlotEntry) -> bool,
) -> Rule {
    let request = Request::to_group(input.frame).ok_or("only requests are answered")?;
    let slot = holder(world, target(&request)).ok_or("nobody's address is answered for")?;
    keep(world.slot(slot).is_some_and(may), "answered for whom the asker may reach")?;
    let due = Verdict::Answer { slot, seal: world.seal(slot, &request.reply(MAC)) };
    keep(verdict == due, "in the holder's name")
}

fn target(request: &Request) -> Address {
    match *request {
        Request::Arp { target, .. } => Address::V4(target),
        Request::Solicitation { target, .. } => Address::V6(target),
    }
}

/// The frame for another receiver.
fn addressed(frame: &[u8], destination: Mac) -> Vec<u8> {
    [&destination[..], &frame[destination.len()..]].concat()
}

/// Accepted under the hook's own seal.
fn own_seal(input: &Input<'_>) -> Verdict {
    Verdict::Seal { slot: input.me, seal: seal_of(&input.identity().entry, input.frame).unwrap_or_default() }
}

/// What the host sends: under no endpoint's seal, and from no endpoint's address.
fn hosts_own(input: &Input<'_>, world: &World) -> Rule {
    keep(sealed_by(input, world).is_none(), "an endpoint's frame is not the host's")?;
    let sender = addresses(input.frame).and_then(|(source, _)| holder(world, source));
    keep(sender.is_none(), "an endpoint's address is not the host's")
}

fn sealed_by<'a>(input: &Input<'_>, world: &'a World) -> Option<&'a SlotEntry> {
    world.slot(input.metadata.tc_index).filter(|it| seal_of(it, input.frame) == Some(input.metadata.hash))
}

fn is_sealed_by_host(input: &Input<'_>, world: &World) -> bool {
    let parent = world.slot(input.metadata.tc_index);
    parent.is_some_and(|it| seal_of_host(it, input.frame) == Some(input.metadata.hash))
}

/// Whether the frame claims to be from, or for, the endpoint `slot`.
fn is_claimed(input: &Input<'_>, world: &World, slot: Slot) -> bool {
    addresses(input.frame)
        .is_some_and(|(from, to)| [from, to].iter().any(|it| holder(world, *it) == Some(slot)))
}

/// A broadcast or multicast that is neither ARP nor, as far as its first header shows, ICMPv6.
fn is_plain_group(frame: &[u8]) -> bool {
    let Some(ethernet) = ethernet(frame).filter(is_group) else { return false };
    match ethernet.ether_type() {
        EtherType::ARP => false,
        EtherType::IPV6 => !matches!(
            Ipv6HeaderSlice::from_slice(ethernet.payload_slice()).map(|it| it.next_header().0),
            Ok(0 | 58)
        ),
        _ => true,
    }
}

/// Of whose address an advertisement right behind its IPv6 header is.
fn advertised(frame: &[u8]) -> Option<Address> {
    let ethernet = ethernet(frame).filter(|it| it.ether_type() == EtherType::IPV6)?;
    let (header, message) = ethernet.payload_slice().split_at_checked(40)?;
    let ip = Ipv6HeaderSlice::from_slice(header).ok()?;
    let whole = ip.next_header() == IpNumber::IPV6_ICMP && usize::from(ip.payload_length()) >= 24;
    let target = message.get(8..24)?.first_chunk()?;
    (whole && message.first() == Some(&136) && usize::from(ip.payload_length()) <= message.len())
        .then_some(Address::V6(*target))
}

#[derive(Clone, Copy)]
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
}

fn anybody(world: &World, address: Address) -> Option<Slot> {
    match address {
        Address::V4(address) => world.ipv4(FIRST, address),
        Address::V6(address) => world.ipv6(FIRST, address),
    }
}

/// The endpoint that has the address.
fn holder(world: &World, address: Address) -> Option<Slot> {
    anybody(world, address).filter(|&slot| slot != FIRST)
}

fn is_hosts(world: &World, address: Address) -> bool {
    anybody(world, address) == Some(FIRST)
}

/// Source and destination of a packet that is as long as it says.
fn addresses(frame: &[u8]) -> Option<(Address, Address)> {
    let ethernet = ethernet(frame)?;
    let payload = ethernet.payload_slice();
    match ethernet.ether_type() {
        EtherType::ARP => {
            let arp = ArpPacketSlice::from_slice(payload).ok()?;
            let address = |bytes: &[u8]| bytes.try_into().ok().map(Address::V4);
            let known = arp.proto_addr_type() == EtherType::IPV4 && is_ethernet(&arp);
            known
                .then(|| Some((address(arp.sender_protocol_addr())?, address(arp.target_protocol_addr())?)))?
        }
        EtherType::IPV4 => {
            let ip = Ipv4HeaderSlice::from_slice(payload).ok()?;
            let total = usize::from(ip.total_len());
            let whole = total >= ip.slice().len() && total <= payload.len();
            whole.then(|| (Address::V4(ip.source()), Address::V4(ip.destination())))
        }
        EtherType::IPV6 => {
            let ip = Ipv6HeaderSlice::from_slice(payload).ok()?;
            let whole = usize::from(ip.payload_length()) + 40 <= payload.len();
            whole.then(|| (Address::V6(ip.source()), Address::V6(ip.destination())))
        }
        _ => None,
    }
}
