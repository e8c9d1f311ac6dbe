//! Whom a frame claims to come from and to be for.

use crate::{
    DropReason, Slot, SlotEntry, nd,
    packet::{self, Arp, ETHERNET_LEN, Frame, Ipv4, Ipv6, Packet},
    tables::Tables,
};

/// The addresses in a frame. Who holds them is looked up only where it is asked.
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    Ipv4 { source: [u8; 4], destination: [u8; 4] },
    Ipv6 { source: [u8; 16], destination: [u8; 16] },
}

impl<P: Packet + ?Sized> Frame<'_, P> {
    /// `None` where the frame has no such addresses, or is malformed.
    #[inline(always)]
    pub(crate) fn claim(&self) -> Option<Claim> {
        Some(match self.ethernet.ethertype {
            packet::ARP => {
                let Arp { sender, target, .. } = Arp::parse(self.packet).ok()?;
                Claim::Ipv4 { source: sender, destination: target }
            }
            packet::IPV4 => {
                let Ipv4 { source, destination, .. } = Ipv4::parse(self.packet).ok()?;
                Claim::Ipv4 { source, destination }
            }
            packet::IPV6 => {
                let Ipv6 { source, destination, .. } = Ipv6::parse(self.packet).ok()?;
                Claim::Ipv6 { source, destination }
            }
            _ => return None,
        })
    }
}

/// Which endpoint of `parent` holds the source of a packet that starts at its IP header.
#[inline(always)]
pub(crate) fn source_endpoint_at_start<P: Packet + ?Sized>(
    packet: &P,
    protocol: u16,
    parent: Slot,
    tables: &impl Tables,
) -> Option<Slot> {
    let holder = match protocol {
        packet::IPV4 => tables.ipv4(parent, packet.load(Ipv4::ADDRESSES - ETHERNET_LEN)?),
        packet::IPV6 => tables.ipv6(parent, packet.load(Ipv6::ADDRESSES - ETHERNET_LEN)?),
        _ => None,
    };
    holder.filter(|&slot| slot != parent)
}

impl Claim {
    /// Whether the source is the endpoint's own.
    #[inline(always)]
    pub(crate) fn is_from(&self, endpoint: &SlotEntry) -> bool {
        match *self {
            Self::Ipv4 { source, .. } => source != [0; 4] && source == endpoint.ipv4,
            Self::Ipv6 { source, .. } => nd::owns(endpoint, &source),
        }
    }

    /// Who on `parent` holds the source: an endpoint, or the host in the parent's name.
    #[inline(always)]
    pub(crate) fn source_holder(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        match *self {
            Self::Ipv4 { source, .. } => tables.ipv4(parent, source),
            Self::Ipv6 { source, .. } => tables.ipv6(parent, source),
        }
    }

    /// Which endpoint of `parent` holds the source.
    #[inline(always)]
    pub(crate) fn source_endpoint(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        self.source_holder(parent, tables).filter(|&slot| slot != parent)
    }

    /// Who on `parent` holds the destination: an endpoint, or the host in the parent's name.
    #[inline(always)]
    pub(crate) fn destination_holder(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        match *self {
            Self::Ipv4 { destination, .. } => tables.ipv4(parent, destination),
            Self::Ipv6 { destination, .. } => tables.ipv6(parent, destination),
        }
    }

    /// Which endpoint of `parent` holds the destination.
    #[inline(always)]
    pub(crate) fn destination_endpoint(&self, parent: Slot, tables: &impl Tables) -> Option<Slot> {
        self.destination_holder(parent, tables).filter(|&slot| slot != parent)
    }

    /// Why to drop it if the source isn't the sender's.
    #[inline(always)]
    pub(crate) const fn spoof(&self) -> DropReason {
        match self {
            Self::Ipv4 { .. } => DropReason::SourceIpv4,
            Self::Ipv6 { .. } => DropReason::SourceIpv6,
        }
    }
}
