//! Neighbours.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// Forgets what the kernel has learnt of a neighbour; an entry that somebody made stays. None is fine.
    pub fn forget_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let dump = self.handle.neighbours().get().set_address_family(family).execute();
        let neighbours = self.request(|| "list neighbours".into(), dump.try_collect::<Vec<_>>())?;
        let is_learnt = |it: &NeighbourMessage| {
            it.header.ifindex == index
                && it.header.state != NeighbourState::Permanent
                && destination(it) == Some(address)
        };
        let Some(learnt) = neighbours.into_iter().find(is_learnt) else { return Ok(()) };
        let forget = self.handle.neighbours().del(learnt).execute();
        match self.request(|| format!("forget neighbour {address}"), forget) {
            Err(error) if error.is(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }
}

fn destination(neighbour: &NeighbourMessage) -> Option<IpAddr> {
    neighbour.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some((*address).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}
