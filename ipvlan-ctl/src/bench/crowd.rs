//! Endpoints in maps that nothing is attached to, as many as there are to be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use ipvlan_common::{Slot, types::Mac};

use crate::{
    bpf::{BpfError, Dataplane, EndpointIdentity, ParentIdentity},
    model::{Mode, Multicast},
    sandbox::PARENT_MAC,
};

/// The parent's MAC, and so everybody's.
pub const MAC: Mac = PARENT_MAC;
/// The parent's slot; the endpoints' follow.
pub const PARENT: Slot = 1;

/// Registers a parent and so many endpoints of one network on it, and shares their programs.
///
/// # Errors
/// Where the kernel refuses.
pub fn register(dataplane: &mut Dataplane, endpoints: u16) -> Result<(), BpfError> {
    dataplane.share()?;
    dataplane.register_slot(PARENT, parent().entry())?;
    for endpoint in (0..endpoints).map(endpoint) {
        dataplane.register_slot(endpoint.slot, endpoint.entry())?;
        for ip in addresses(&endpoint) {
            dataplane.add_address(PARENT, ip, endpoint.slot)?;
        }
    }
    Ok(())
}

/// Their parent.
#[must_use]
pub fn parent() -> ParentIdentity {
    ParentIdentity { slot: PARENT, key: [7, 7], mac: MAC, vepa: false, routes: false }
}

/// One of them.
#[must_use]
pub fn endpoint(number: u16) -> EndpointIdentity {
    let [high, low] = number.to_be_bytes();
    EndpointIdentity {
        slot: PARENT + 1 + number,
        key: [u64::from(number) << 17 | 1, !u64::from(number)],
        network: 1,
        internal: false,
        private: false,
        mode: Mode::L2,
        multicast: Multicast::On,
        asks_all: false,
        snat: false,
        host_access: false,
        multicast_rate: None,
        parent: PARENT,
        mac: MAC,
        ipv4: Ipv4Net::new(Ipv4Addr::new(10, 0, high, low), 8).ok(),
        ipv6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)),
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)),
    }
}

fn addresses(endpoint: &EndpointIdentity) -> impl Iterator<Item = IpAddr> {
    let ipv6 = [endpoint.ipv6, endpoint.link_local].into_iter().flatten().map(IpAddr::from);
    endpoint.ipv4.map(|it| IpAddr::from(it.addr())).into_iter().chain(ipv6)
}
