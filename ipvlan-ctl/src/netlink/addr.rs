//! Addresses.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// The addresses of an interface.
    pub fn addresses(&self, index: u32) -> Result<Vec<IpAddr>, NetlinkError> {
        let dump = self.handle.address().get().set_link_index_filter(index).execute().try_collect::<Vec<_>>();
        let messages = self.request(|| "list addresses".into(), dump)?;
        Ok(messages.iter().filter_map(own_address).collect())
    }

    /// Gives an interface an address. IPv6 skips duplicate address detection: the controller has seen to it that the
    /// address is free, and a tentative one would keep the endpoint from sending for a second.
    pub fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(index, address, prefix);
        if address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        self.request(|| format!("add address {address}/{prefix}"), request.execute())
    }
}

/// Where an address has a peer (`ip address add … peer …`), the kernel gives that as the address.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |of: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(of);
    find(|it| match it {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
    .or_else(|| {
        find(|it| match it {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_peer_is_the_local_one() {
        let (local, peer) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut message = AddressMessage::default();
        message.attributes = vec![AddressAttribute::Address(peer)];
        assert_eq!(own_address(&message), Some(peer));
        message.attributes.push(AddressAttribute::Local(local));
        assert_eq!(own_address(&message), Some(local));
    }
}
