//! The frames of ARP probes (RFC 5227) and duplicate address detection (RFC 4862), and their answers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};

use super::Holder;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Of neighbour discovery: no router has forwarded it.
const HOP_LIMIT: u8 = 255;

/// Asks who has `address`, in nobody's name.
pub(super) fn probe(mac: [u8; 6], address: IpAddr) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    let written = match address {
        IpAddr::V4(address) => {
            let request = ArpEthIpv4Packet {
                operation: ArpOperation::REQUEST,
                sender_mac: mac,
                sender_ipv4: [0; 4],
                target_mac: [0; 6],
                target_ipv4: address.octets(),
            };
            PacketBuilder::ethernet2(mac, BROADCAST).arp(request.into()).write_to_vec(&mut frame)
        }
        IpAddr::V6(address) => {
            let [.., x, y, z] = address.octets();
            let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z];
            PacketBuilder::ethernet2(mac, [0x33, 0x33, 0xff, x, y, z])
                .ipv6(Ipv6Addr::UNSPECIFIED.octets(), group, HOP_LIMIT)
                .icmpv6(Icmpv6Type::NeighborSolicitation)
                .write_to_vec(&mut frame, &address.octets())
        }
    };
    written.map_err(io::Error::other)?;
    Ok(frame)
}

/// Who says in `frame` to have an address; probes say nothing.
pub(super) fn answer(frame: &[u8]) -> Option<Holder> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let source: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Arp(arp)), _) => {
            let arp: ArpEthIpv4Packet = arp.to_packet().try_into().ok()?;
            let address = Ipv4Addr::from(arp.sender_ipv4);
            (!address.is_unspecified()).then_some(Holder { address: address.into(), mac: arp.sender_mac })
        }
        (Some(NetSlice::Ipv6(_)), Some(TransportSlice::Icmpv6(message))) => {
            let Icmpv6Type::NeighborAdvertisement(_) = message.icmp_type() else { return None };
            let target: [u8; 16] = message.payload().get(..16)?.try_into().ok()?;
            Some(Holder { address: Ipv6Addr::from(target).into(), mac: source })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::icmpv6::NeighborAdvertisementHeader;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn arp(operation: ArpOperation, sender: [u8; 4]) -> Vec<u8> {
        let message = ArpEthIpv4Packet {
            operation,
            sender_mac: THEIRS,
            sender_ipv4: sender,
            target_mac: OURS,
            target_ipv4: [0; 4],
        };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(THEIRS, OURS).arp(message.into()).write_to_vec(&mut frame).unwrap();
        frame
    }

    #[test]
    fn answers() {
        let holder = |address: &str| Some(Holder { address: address.parse().unwrap(), mac: THEIRS });
        assert_eq!(answer(&arp(ArpOperation::REPLY, [10, 0, 0, 9])), holder("10.0.0.9"));
        assert_eq!(answer(&arp(ArpOperation::REQUEST, [10, 0, 0, 9])), holder("10.0.0.9"));
        let target: Ipv6Addr = "fd00::9".parse().unwrap();
        let header = NeighborAdvertisementHeader { router: false, solicited: false, r#override: true };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(THEIRS, [0x33, 0x33, 0, 0, 0, 1])
            .ipv6(target.octets(), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], HOP_LIMIT)
            .icmpv6(Icmpv6Type::NeighborAdvertisement(header))
            .write_to_vec(&mut frame, &target.octets())
            .unwrap();
        assert_eq!(answer(&frame), holder("fd00::9"));
        assert!(
            (0..frame.len()).all(|length| answer(&frame[..length]).is_none()),
            "cut short, it says nothing"
        );
    }

    #[test]
    fn probes_claim_nothing() {
        for address in ["10.0.0.9", "fd00::9"] {
            let frame = probe(OURS, address.parse().unwrap()).unwrap();
            assert_eq!(answer(&frame), None);
            assert_eq!(frame[6..12], OURS);
        }
        assert_eq!(answer(&arp(ArpOperation::REQUEST, [0; 4])), None);
    }
}
