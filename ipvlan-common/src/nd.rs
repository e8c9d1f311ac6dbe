//! Neighbour discovery from an endpoint: it may speak for its own addresses and MAC only, and may not hide that it speaks.

use crate::{
    DropReason, Identity,
    packet::{Ipv6, Packet},
};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers that are followed; a longer chain is dropped. The local stack sends two at most.
const MAX_HEADERS: usize = 6;
/// Options of one message that are read; more is dropped. A solicitation carries one, or a nonce beside it.
const MAX_OPTIONS: usize = 4;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const LISTENER_REPORT: u8 = 131;
const LISTENER_DONE: u8 = 132;
const LISTENER_REPORT_V2: u8 = 143;

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// An ICMPv6 message.
#[derive(Clone, Copy)]
struct Message {
    kind: u8,
    offset: usize,
    fragmented: bool,
}

/// Judges an endpoint's IPv6 frame by its source and, where it is ICMPv6, by what it says of neighbours.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub(crate) fn check<P: Packet + ?Sized>(packet: &P, ip: &Ipv6, me: &Identity) -> Result<(), DropReason> {
    let from_me = owns(me, &ip.source);
    if !from_me && ip.source != [0; 16] {
        return Err(DropReason::SourceIpv6);
    }
    let Some(message) = find(packet, ip)? else {
        return if from_me {
            Ok(())
        } else {
            Err(DropReason::SourceIpv6)
        };
    };
    match message.kind {
        ROUTER_ADVERTISEMENT | REDIRECT => Err(DropReason::RouterMessage),
        ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT if message.fragmented => Err(DropReason::NdFragment),
        ROUTER_SOLICITATION => link_addresses(packet, ip, message.offset + 8, me),
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
            let target: [u8; 16] = packet.load_at(message.offset + 8).ok_or(DropReason::Malformed)?;
            // Asking from an address of one's own is asking for anybody; asking from none is claiming the target (DAD).
            let asks = message.kind == NEIGHBOUR_SOLICITATION && from_me;
            if !asks && !owns(me, &target) {
                return Err(DropReason::NdSpoof);
            }
            link_addresses(packet, ip, message.offset + 24, me)
        }
        // Listener reports are sent before duplicate address detection has ended, so from no address (RFC 3590).
        LISTENER_REPORT | LISTENER_DONE | LISTENER_REPORT_V2 => Ok(()),
        _ if from_me => Ok(()),
        _ => Err(DropReason::SourceIpv6),
    }
}

#[inline(always)]
fn owns(me: &Identity, address: &[u8; 16]) -> bool {
    *address != [0; 16] && (*address == me.ipv6 || *address == me.link_local)
}

/// Follows the extension headers to an ICMPv6 message; `None` where something else, or a later fragment, is at their end.
#[inline(always)]
fn find<P: Packet + ?Sized>(packet: &P, ip: &Ipv6) -> Result<Option<Message>, DropReason> {
    let mut next = ip.next_header;
    let mut offset = Ipv6::START;
    let mut fragmented = false;
    for _ in 0..MAX_HEADERS {
        match next {
            ICMPV6 => {
                let [kind] = packet.load_at(offset).ok_or(DropReason::Malformed)?;
                return Ok(Some(Message {
                    kind,
                    offset,
                    fragmented,
                }));
            }
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | AUTHENTICATION | FRAGMENT => {}
            _ => return Ok(None),
        }
        let [following, length, high, low]: [u8; 4] = packet.load_at(offset).ok_or(DropReason::Malformed)?;
        offset += match next {
            FRAGMENT => {
                fragmented = true;
                if u16::from_be_bytes([high, low]) >> 3 != 0 {
                    return Ok(None);
                }
                8
            }
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            // Routing header 0 is a way around every filter (RFC 5095).
            ROUTING if high == 0 => return Err(DropReason::HeaderChain),
            _ => (usize::from(length) + 1) * 8,
        };
        next = following;
    }
    Err(DropReason::HeaderChain)
}

/// Every link-layer address that the message's options give must be the endpoint's own.
#[inline(always)]
fn link_addresses<P: Packet + ?Sized>(
    packet: &P,
    ip: &Ipv6,
    options: usize,
    me: &Identity,
) -> Result<(), DropReason> {
    let mut offset = options;
    for _ in 0..MAX_OPTIONS {
        if offset >= ip.end {
            return Ok(());
        }
        let [kind, length, mac @ ..]: [u8; 8] = packet.load_at(offset).ok_or(DropReason::Malformed)?;
        if length == 0 {
            return Err(DropReason::Malformed);
        }
        if matches!(kind, SOURCE_LINK_ADDRESS | TARGET_LINK_ADDRESS) && mac != me.mac {
            return Err(DropReason::NdSpoof);
        }
        offset += usize::from(length) * 8;
    }
    if offset >= ip.end {
        Ok(())
    } else {
        Err(DropReason::HeaderChain)
    }
}
