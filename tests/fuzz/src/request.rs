//! Requests for a neighbour's address, and what is to be replied, read and written by etherparse.

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, EtherType, Icmpv6Slice, Icmpv6Type, IpNumber,
    Ipv6HeaderSlice, PacketBuilder, icmpv6::NeighborAdvertisementHeader,
};
use ipvlan_common::types::Mac;

use crate::own::{ethernet, is_ethernet, is_group};

/// A request for somebody else's address.
pub enum Request {
    /// By ARP.
    Arp {
        /// Who asks.
        asker: (Mac, [u8; 4]),
        /// For whom.
        target: [u8; 4],
    },
    /// By neighbour discovery.
    Solicitation {
        /// Who asks.
        asker: (Mac, [u8; 16]),
        /// For whom.
        target: [u8; 16],
    },
}

impl Request {
    /// `None` where the frame is none to a group, or not of the form that resolvers send.
    #[must_use]
    pub fn to_group(frame: &[u8]) -> Option<Self> {
        ethernet(frame).filter(is_group).and_then(|_| Self::read(frame))
    }

    /// As [`Self::to_group`], to whomever.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = ethernet(frame)?;
        let payload = ethernet.payload_slice();
        match ethernet.ether_type() {
            EtherType::ARP => {
                let arp = ArpPacketSlice::from_slice(payload).ok()?;
                let fits = is_ethernet(&arp)
                    && arp.proto_addr_type() == EtherType::IPV4
                    && arp.operation() == ArpOperation::REQUEST;
                let mac = arp.sender_hw_addr().try_into().ok().filter(|_| fits)?;
                let sender: [u8; 4] = arp.sender_protocol_addr().try_into().ok()?;
                let target = arp.target_protocol_addr().try_into().ok()?;
                (sender != [0; 4] && sender != target && is_ones_own(&mac))
                    .then_some(Self::Arp { asker: (mac, sender), target })
            }
            EtherType::IPV6 => {
                let ip = Ipv6HeaderSlice::from_slice(payload).ok()?;
                let message = payload.get(ip.slice().len()..)?;
                let fits = message.len() == 32
                    && usize::from(ip.payload_length()) % 32 == 0
                    && ip.next_header() == IpNumber::IPV6_ICMP
                    && ip.hop_limit() == 255
                    && ip.destination_addr().is_multicast() == is_group(&ethernet);
                let icmp = Icmpv6Slice::from_slice(message).ok().filter(|_| fits)?;
                let is_solicitation = (icmp.type_u8(), icmp.code_u8()) == (135, 0);
                let ([target @ .., 1, 1, a, b, c, d, e, f], true) = (&message[8..], is_solicitation) else {
                    return None;
                };
                let (source, target) = (ip.source(), target.try_into().ok()?);
                let mac = [*a, *b, *c, *d, *e, *f];
                (source != [0; 16] && source != target && is_ones_own(&mac))
                    .then_some(Self::Solicitation { asker: (mac, source), target })
            }
            _ => None,
        }
    }

    /// What whoever has `mac` replies; nothing where it can't be written.
    #[must_use]
    pub fn reply(&self, mac: Mac) -> Vec<u8> {
        let mut frame = Vec::new();
        let written = match *self {
            Self::Arp { asker: (asker_mac, asker), target } => {
                let message = ArpEthIpv4Packet {
                    operation: ArpOperation::REPLY,
                    sender_mac: mac,
                    sender_ipv4: target,
                    target_mac: asker_mac,
                    target_ipv4: asker,
                };
                PacketBuilder::ethernet2(mac, asker_mac).arp(message.into()).write(&mut frame)
            }
            Self::Solicitation { asker: (asker_mac, asker), target } => {
                let header = NeighborAdvertisementHeader { router: false, solicited: true, r#override: true };
                PacketBuilder::ethernet2(mac, asker_mac)
                    .ipv6(target, asker, 255)
                    .icmpv6(Icmpv6Type::NeighborAdvertisement(header))
                    .write(&mut frame, &[&target[..], &[2, 1], &mac].concat())
            }
        };
        written.map(|()| frame).unwrap_or_default()
    }
}

/// Not a group's.
fn is_ones_own(mac: &Mac) -> bool {
    mac[0] & 1 == 0
}
