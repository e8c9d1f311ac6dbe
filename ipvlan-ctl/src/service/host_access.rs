//! The host's way to endpoints that it may speak with: a route, where it has none already.

use std::net::IpAddr;

use super::{Attachment, Error, parent::device};
use crate::{
    model::{Endpoint, Parent},
    netlink::Netlink,
};

/// Addresses of an endpoint with host access that the host has no way to by the parent.
pub(super) fn unreached(
    netlink: &Netlink,
    endpoint: &Endpoint,
    parent: &Parent,
) -> Result<Vec<(u32, IpAddr)>, Error> {
    if !endpoint.host_access {
        return Ok(Vec::new());
    }
    let Some(device) = device(netlink, parent)? else { return Ok(Vec::new()) };
    // The parent's own link-local subnet has all endpoints'.
    let link_local = endpoint.addresses.link_local.map(IpAddr::V6);
    let mut unreached = Vec::new();
    for address in endpoint.addresses.iter().filter(|address| Some(*address) != link_local) {
        if !netlink.leads_to(device.index, address)? {
            unreached.push((device.index, address));
        }
    }
    Ok(unreached)
}

impl Attachment<'_> {
    /// Gives the host a way to the endpoint. Where it can't have one, as where the parent is down, that is reported, and found by
    /// `reconcile`.
    pub(super) fn open_to_host(&mut self) -> Result<(), Error> {
        for (ifindex, address) in unreached(&self.session.netlink, &self.endpoint, &self.parent)? {
            if let Err(error) = self.session.netlink.add_host_route(ifindex, address) {
                let warning =
                    format!("the host doesn't reach endpoint '{}' yet: {error}", self.endpoint.name);
                self.session.warn(warning);
            }
        }
        Ok(())
    }

    /// Leaves nothing of the endpoint on the host's side.
    pub(super) fn close_to_host(&self) -> Result<(), Error> {
        if !self.endpoint.host_access {
            return Ok(());
        }
        let netlink = &self.session.netlink;
        let Some(device) = device(netlink, &self.parent)? else { return Ok(()) };
        for address in self.endpoint.addresses.iter() {
            netlink.remove_host_route(device.index, address)?;
            netlink.forget_neighbour(device.index, address)?;
        }
        Ok(())
    }
}
