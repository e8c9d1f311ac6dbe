//! Endpoints in the maps, as many as there are to be.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use ipnet::Ipv4Net;
use ipvlan_common::{Slot, schema};
use ipvlan_ctl::{
    bpf::{Dataplane, EndpointIdentity, ParentIdentity},
    model::{Mode, Multicast},
};

/// The parent's MAC, and so everybody's.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The parent's slot; the endpoints' follow.
pub(crate) const PARENT: Slot = 1;

/// So many endpoints of one network on one parent.
pub(crate) struct Crowd {
    pub(crate) dataplane: Dataplane,
    pins: PathBuf,
    /// How many.
    pub(crate) endpoints: u16,
}

impl Crowd {
    pub(crate) fn new(endpoints: u16) -> Result<Self> {
        let pins = Path::new("/sys/fs/bpf").join(format!("ipvlan-bench-{}-{endpoints}", std::process::id()));
        let mut dataplane = Dataplane::create(&pins, endpoints + PARENT)?;
        dataplane.share()?;
        dataplane.register_slot(PARENT, parent().entry())?;
        for endpoint in (0..endpoints).map(endpoint) {
            dataplane.register_slot(endpoint.slot, endpoint.entry())?;
            for ip in addresses(&endpoint) {
                dataplane.add_address(PARENT, ip, endpoint.slot)?;
            }
        }
        Ok(Self { dataplane, pins, endpoints })
    }

    /// Where the map is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.pins.join(format!("v{}/maps/{name}", schema::ABI_VERSION))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Err(error) = Dataplane::remove_all(&self.pins) {
            eprintln!("{error}");
        }
    }
}

/// Their parent.
pub(crate) fn parent() -> ParentIdentity {
    ParentIdentity { slot: PARENT, key: [7, 7], mac: MAC, vepa: false, routes: false }
}

/// One of them.
pub(crate) fn endpoint(number: u16) -> EndpointIdentity {
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
