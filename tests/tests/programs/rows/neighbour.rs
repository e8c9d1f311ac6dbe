//! What an endpoint sends: neighbour discovery, and what may hide it.

use std::net::Ipv6Addr;

use anyhow::Result;
use ipvlan_common::{
    DropReason::{
        DhcpServer, HeaderChain, Malformed, Multicast, NdFragment, NdSpoof, RouterMessage, SourceIpv6,
    },
    Hook::SlaveEgress,
    types::Mac,
};
use ipvlan_tests::frame::{self, Link};

use super::{ALL_NODES, ALL_NODES_MAC, NONE6, Row, SEALED, UNSEALED, drop_for, row, sends};
use crate::world::{A, B, LAN_MAC, LAN6, MAC, ONLY4, QUIET, ip6, link_local};

/// An IPv6 frame to all nodes whose payload is `chain`, behind a header of kind `next`.
fn ipv6(source: Ipv6Addr, next: u8, chain: &[u8]) -> Result<Vec<u8>> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(chain.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[next, 255]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&ALL_NODES.octets());
    packet.extend_from_slice(chain);
    frame::raw(Link { source: MAC, destination: ALL_NODES_MAC }, 0x86dd, &packet)
}

/// A neighbour discovery message about `target` with link-layer address options.
fn neighbour(kind: u8, target: Ipv6Addr, options: &[(u8, Mac)]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    for (kind, mac) in options {
        message.extend_from_slice(&[*kind, 1]);
        message.extend_from_slice(mac);
    }
    message
}

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Extension header of `kind` bytes: `next`, length, and zeros.
fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; (usize::from(units) + 1) * 8];
    header[0] = next;
    header[1] = units;
    // PadN over the rest, as a real options header has.
    header[2] = 1;
    header[3] = (header.len() - 4) as u8;
    header
}

fn after(mut first: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    first.extend_from_slice(rest);
    first
}

pub(super) fn rows() -> Result<Vec<Row>> {
    let ask = |target, options: &[(u8, Mac)]| neighbour(SOLICITATION, target, options);
    let tell = |target, options: &[(u8, Mac)]| neighbour(ADVERTISEMENT, target, options);
    let own = |message: &[u8]| ipv6(ip6(A), ICMPV6, message);
    let nobody = |message: &[u8]| ipv6(NONE6, ICMPV6, message);
    let fragment = |offset: u16, more: u16| {
        let [high, low] = ((offset << 3) | more).to_be_bytes();
        vec![ICMPV6, 0, high, low, 0, 0, 0, 1]
    };
    let advert = tell(ip6(B), &[(2, MAC)]);
    let chain = |length: usize, last: &[u8]| {
        let mut bytes = Vec::new();
        for index in 0..length {
            bytes.extend(extension(if index + 1 == length { ICMPV6 } else { 60 }, 0));
        }
        after(bytes, last)
    };
    let routing = |kind: u8| vec![17, 0, kind, 0, 0, 0, 0, 0];
    let udp = [0x10, 0x92, 0x10, 0x92, 0, 8, 0, 0];
    let dhcp = |source: u16, destination: u16| {
        [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0, 8, 0, 0]].concat()
    };
    let quiet = |next, chain: &[u8]| ipv6(ip6(QUIET), next, chain);
    let report = [143, 0, 0, 0, 0, 0, 0, 0];
    let mut zero_option = ask(ip6(B), &[(1, MAC)]);
    zero_option[25] = 0;
    let mut report_to_one = nobody(&report)?;
    report_to_one[..6].copy_from_slice(&LAN_MAC);
    report_to_one[38..54].copy_from_slice(&LAN6.octets());
    let only4 = |name, frame| row(name, SlaveEgress, ONLY4, UNSEALED, frame, drop_for(ONLY4, SourceIpv6));
    Ok(vec![
        sends("asks with another's MAC", own(&ask(ip6(B), &[(1, LAN_MAC)]))?, Some(NdSpoof)),
        sends(
            "asks with another's MAC in the second option",
            own(&ask(ip6(B), &[(1, MAC), (1, LAN_MAC)]))?,
            Some(NdSpoof),
        ),
        sends("asks with a nonce", own(&ask(ip6(B), &[(14, LAN_MAC), (1, MAC)]))?, None),
        sends("option of no length", own(&zero_option)?, Some(Malformed)),
        sends("more options than are read", own(&ask(ip6(B), &[(14, MAC); 5]))?, Some(HeaderChain)),
        sends("detects a duplicate of its own", nobody(&ask(ip6(A), &[]))?, None),
        sends("detects a duplicate of its own link-local", nobody(&ask(link_local(A), &[]))?, None),
        sends("denies a peer its address", nobody(&ask(ip6(B), &[]))?, Some(NdSpoof)),
        sends("announces itself", own(&tell(ip6(A), &[(2, MAC)]))?, None),
        sends("announces a peer", own(&advert)?, Some(NdSpoof)),
        sends("announces itself with another's MAC", own(&tell(ip6(A), &[(2, LAN_MAC)]))?, Some(NdSpoof)),
        sends("announces itself from nobody", nobody(&tell(ip6(A), &[(2, MAC)]))?, None),
        sends(
            "solicits routers",
            own(&after(vec![133, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 2, 0, 0, 0, 0, 1]))?,
            None,
        ),
        sends(
            "solicits routers with another's MAC",
            own(&after(vec![133, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 2, 0, 0, 0, 0, 9]))?,
            Some(NdSpoof),
        ),
        sends(
            "advertises a router",
            own(&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])?,
            Some(RouterMessage),
        ),
        sends("redirects", own(&[137; 40])?, Some(RouterMessage)),
        sends("advert behind a destination header", ipv6(ip6(A), 60, &chain(1, &advert))?, Some(NdSpoof)),
        sends("advert behind five headers", ipv6(ip6(A), 60, &chain(5, &advert))?, Some(NdSpoof)),
        sends("own solicitation behind five headers", ipv6(ip6(A), 60, &chain(5, &ask(ip6(B), &[])))?, None),
        sends("advert behind six headers", ipv6(ip6(A), 60, &chain(6, &advert))?, Some(HeaderChain)),
        sends(
            "own solicitation in a first fragment",
            ipv6(ip6(A), 44, &after(fragment(0, 1), &ask(ip6(B), &[(1, MAC)])))?,
            Some(NdFragment),
        ),
        sends(
            "own solicitation in an atomic fragment",
            ipv6(ip6(A), 44, &after(fragment(0, 0), &ask(ip6(B), &[(1, MAC)])))?,
            Some(NdFragment),
        ),
        sends("fragment too short for its message", ipv6(ip6(A), 44, &fragment(0, 1))?, Some(Malformed)),
        sends(
            "fragmented echo",
            ipv6(ip6(A), 44, &after(fragment(0, 1), &[128, 0, 0, 0, 0, 0, 0, 0]))?,
            None,
        ),
        sends("later fragment", ipv6(ip6(A), 44, &after(fragment(5, 0), &[1; 8]))?, None),
        sends(
            "later fragment from nobody",
            ipv6(NONE6, 44, &after(fragment(5, 0), &[1; 8]))?,
            Some(SourceIpv6),
        ),
        sends("routing header 0", ipv6(ip6(A), 43, &after(routing(0), &udp))?, Some(HeaderChain)),
        sends("routing header 2", ipv6(ip6(A), 43, &after(routing(2), &udp))?, None),
        sends(
            "listener report before an address",
            ipv6(NONE6, 0, &after(extension(ICMPV6, 0), &report))?,
            None,
        ),
        sends("answers as a DHCPv6 server", ipv6(ip6(A), 17, &dhcp(547, 546))?, Some(DhcpServer)),
        sends(
            "answers a DHCPv6 client behind a header",
            ipv6(ip6(A), 60, &after(extension(17, 0), &dhcp(4242, 546)))?,
            Some(DhcpServer),
        ),
        sends("asks for a DHCPv6 lease", ipv6(link_local(A), 17, &dhcp(546, 547))?, None),
        sends("UDP cut in its ports, IPv6", ipv6(ip6(A), 17, &[1, 2])?, Some(Malformed)),
        sends("solicits routers from nobody", nobody(&[133, 0, 0, 0, 0, 0, 0, 0])?, None),
        sends("listener report from nobody to one receiver", report_to_one, Some(SourceIpv6)),
        only4(
            "solicits routers without an address of that kind",
            ipv6(NONE6, ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0])?,
        ),
        only4("reports to listeners without an address of that kind", ipv6(NONE6, ICMPV6, &report)?),
        sends("echo from nobody", nobody(&[128, 0, 0, 0, 0, 0, 0, 0])?, Some(SourceIpv6)),
        sends("solicitation cut short", own(&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0, 1])?, Some(Malformed)),
        row(
            "no multicast, but neighbour discovery",
            SlaveEgress,
            QUIET,
            UNSEALED,
            quiet(ICMPV6, &neighbour(SOLICITATION, ip6(QUIET), &[(1, MAC)]))?,
            SEALED,
        ),
        row(
            "no multicast, but listener reports",
            SlaveEgress,
            QUIET,
            UNSEALED,
            quiet(0, &after(extension(ICMPV6, 0), &report))?,
            SEALED,
        ),
        row(
            "no multicast, UDP behind a hop-by-hop header",
            SlaveEgress,
            QUIET,
            UNSEALED,
            quiet(0, &after(extension(17, 0), &udp))?,
            drop_for(QUIET, Multicast),
        ),
    ])
}
