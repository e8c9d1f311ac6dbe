//! IPv6 from an endpoint: it may speak for its own addresses and MAC only, and may not hide that it speaks of neighbours.

use crate::{
    DropReason, SlotEntry,
    packet::{HOP_BY_HOP, ICMPV6, Ipv6, Packet, UDP, load_before, udp_ports},
    types::Mac,
};

const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const DHCPV6_CLIENT: [u8; 2] = 546u16.to_be_bytes();
const DHCPV6_SERVER: [u8; 2] = 547u16.to_be_bytes();

/// Extension headers that are followed; a longer chain is dropped. The local stack sends two at most.
const MAX_HEADERS: usize = 5;
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

/// What is at the end of the header chain.
#[derive(Clone, Copy)]
struct Upper {
    protocol: u8,
    offset: usize,
    fragmented: bool,
}

/// Judges an endpoint's IPv6 frame by its source and, where it is ICMPv6, by what it says of neighbours.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub(crate) fn check<P: Packet + ?Sized>(
    packet: &P,
    ip: &Ipv6,
    me: &SlotEntry,
    mac: &Mac,
) -> Result<(), DropReason> {
    let from_me = owns(me, &ip.source);
    // From no address it detects duplicates, and asks routers and groups: all of it to groups, and for an own address to come.
    let has_ipv6 = me.ipv6 != [0; 16] || me.link_local != [0; 16];
    let from_nobody = ip.source == [0; 16] && ip.destination[0] == 0xff && has_ipv6;
    if !from_me && !from_nobody {
        return Err(DropReason::SourceIpv6);
    }
    let own = if from_me { Ok(()) } else { Err(DropReason::SourceIpv6) };
    match upper(packet, ip)? {
        Some(Upper { protocol: ICMPV6, offset, fragmented }) => {
            let [kind] = load_before(packet, offset, ip.end)?;
            match kind {
                ROUTER_ADVERTISEMENT | REDIRECT => Err(DropReason::RouterMessage),
                ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT if fragmented => Err(DropReason::NdFragment),
                ROUTER_SOLICITATION => link_addresses(packet, ip, offset + 8, mac),
                NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
                    let target: [u8; 16] = load_before(packet, offset + 8, ip.end)?;
                    // Asking from an own address is asking for anybody; asking from none is claiming the target (DAD).
                    let asks = kind == NEIGHBOUR_SOLICITATION && from_me;
                    if !asks && !owns(me, &target) {
                        return Err(DropReason::NdSpoof);
                    }
                    link_addresses(packet, ip, offset + 24, mac)
                }
                // Listener reports are sent before duplicate address detection has ended, from no address (RFC 3590).
                LISTENER_REPORT | LISTENER_DONE | LISTENER_REPORT_V2 => Ok(()),
                _ => own,
            }
        }
        Some(Upper { protocol: UDP, offset, .. }) if is_dhcpv6_server(udp_ports(packet, offset, ip.end)?) => {
            Err(DropReason::DhcpServer)
        }
        _ => own,
    }
}

/// Whose address a neighbour advertisement is about; `None` where the frame isn't one. Fragmented, no receiver takes it (RFC 6980).
#[inline(always)]
pub(crate) fn advertised<P: Packet + ?Sized>(packet: &P) -> Option<[u8; 16]> {
    let ip = Ipv6::parse(packet).ok()?;
    let Upper { protocol, offset, .. } = upper(packet, &ip).ok()??;
    let [kind] = load_before(packet, offset, ip.end).ok().filter(|_| protocol == ICMPV6)?;
    if kind == NEIGHBOUR_ADVERTISEMENT { load_before(packet, offset + 8, ip.end).ok() } else { None }
}

#[inline(always)]
pub(crate) fn owns(me: &SlotEntry, address: &[u8; 16]) -> bool {
    *address != [0; 16] && (*address == me.ipv6 || *address == me.link_local)
}

/// Follows the extension headers to their end; `None` where a later fragment is there, which shows nothing.
#[inline(always)]
fn upper<P: Packet + ?Sized>(packet: &P, ip: &Ipv6) -> Result<Option<Upper>, DropReason> {
    // Each header, and what is behind the last. As an inclusive range it has the verifier walk twice as far.
    const LOOKS: usize = MAX_HEADERS + 1;
    let mut protocol = ip.next_header;
    let mut offset = Ipv6::START;
    let mut fragmented = false;
    for _ in 0..LOOKS {
        if !matches!(protocol, HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | AUTHENTICATION | FRAGMENT) {
            return Ok(Some(Upper { protocol, offset, fragmented }));
        }
        let [following, length, high, low] = load_before(packet, offset, ip.end)?;
        offset += match protocol {
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
        protocol = following;
    }
    Err(DropReason::HeaderChain)
}

/// Every link-layer address that the message's options give must be the endpoint's own.
#[inline(always)]
fn link_addresses<P: Packet + ?Sized>(
    packet: &P,
    ip: &Ipv6,
    options: usize,
    mac: &Mac,
) -> Result<(), DropReason> {
    let mut offset = options;
    for _ in 0..MAX_OPTIONS {
        if offset >= ip.end {
            return Ok(());
        }
        let [kind, length, address @ ..]: [u8; 8] = load_before(packet, offset, ip.end)?;
        if length == 0 {
            return Err(DropReason::Malformed);
        }
        if matches!(kind, SOURCE_LINK_ADDRESS | TARGET_LINK_ADDRESS) && address != *mac {
            return Err(DropReason::NdSpoof);
        }
        offset += usize::from(length) * 8;
    }
    if offset >= ip.end { Ok(()) } else { Err(DropReason::HeaderChain) }
}

/// Neither a server's answers nor a relay's.
#[inline(always)]
fn is_dhcpv6_server((source, destination): ([u8; 2], [u8; 2])) -> bool {
    source == DHCPV6_SERVER || destination == DHCPV6_CLIENT
}
