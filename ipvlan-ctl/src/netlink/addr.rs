//! Addresses.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// The addresses of an interface.
    pub fn addresses(&self, index: u32) -> Result<Vec<IpAddr>, NetlinkError> {
        let dump = self.handle.address().get().set_link_index_filter(index).execute().try_collect::<Vec<_>>();
        let messages = self.request(|| "list addresses".into(), dump)?;
        let attributes = messages.into_iter().flat_map(|message| message.attributes);
        Ok(attributes
            .filter_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(address),
                _ => None,
            })
            .collect())
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
