//! What read commands show. The field names are those of `--format json`, and stay.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use serde::Serialize;

use super::{
    Error, Root,
    parent::{boot_id, check_pins},
    preflight::Facts,
};
use crate::{
    bpf::{Counters, Dataplane},
    model::{Endpoint, Flag, Mode, Multicast, Network, Parent, Slot, Xdp},
    netlink::{Netlink, Netns},
    store::Store,
};

/// A network.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkReport {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Its parent interface.
    pub parent: String,
    /// Its ipvlan mode.
    pub mode: Mode,
    /// Its ipvlan flag.
    pub flag: Flag,
    /// Whether it has no way to the wire.
    pub internal: bool,
    /// How far its broadcasts and multicasts go.
    pub multicast: Multicast,
    /// How many of them an endpoint may send in a second; 0 for no limit.
    pub multicast_rate: u32,
    /// Its parent's XDP setting.
    pub xdp: Xdp,
    /// The MTU of its endpoints, where it isn't the parent's.
    pub mtu: Option<u32>,
    /// Its subnets.
    pub subnets: Vec<SubnetReport>,
    /// `up`; `gone` without its parent, `unenforced` without the parent's programs; `creating` or `closing` while it is made or
    /// removed.
    pub state: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointReport>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Serialize)]
pub struct SubnetReport {
    /// The subnet.
    pub subnet: IpNet,
    /// Its gateway.
    pub gateway: IpAddr,
}

/// An endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointReport {
    /// Its name.
    pub name: String,
    /// Its network's name.
    pub network: String,
    /// Its number.
    pub slot: u16,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Its IPv6 link-local address.
    pub link_local: Option<Ipv6Addr>,
    /// Its interface.
    pub ifname: String,
    /// Its namespace: a name, a path, `pid:N`, `container:NAME`, or `run:N` with the number of the `ipvlan-ctl run` that made it.
    pub netns: String,
    /// `up`; `gone` where its slave or its namespace is, `moved` where the slave was moved out of it, `unenforced` without its
    /// programs; `creating` or `closing` while it is made or removed.
    pub state: String,
}

/// What an endpoint, or a parent towards the wire, has let through and refused.
#[derive(Debug, Clone, Serialize)]
pub struct StatsReport {
    /// The name of the endpoint or of the parent interface.
    pub name: String,
    /// `endpoint` or `parent`.
    pub kind: &'static str,
    /// The endpoint's network.
    pub network: Option<String>,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames refused.
    pub drops: u64,
    /// Frames refused, by reason.
    pub drops_by_reason: BTreeMap<&'static str, u64>,
}

impl StatsReport {
    fn new(name: String, kind: &'static str, network: Option<String>, counters: &Counters) -> Self {
        let Counters { tx_packets, tx_bytes, rx_packets, rx_bytes, drops } = counters;
        Self {
            name,
            kind,
            network,
            tx_packets: *tx_packets,
            tx_bytes: *tx_bytes,
            rx_packets: *rx_packets,
            rx_bytes: *rx_bytes,
            drops: drops.iter().map(|(_, count)| count).sum(),
            drops_by_reason: drops.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
        }
    }
}

/// The state, for a command that only looks. Takes no lock, makes nothing.
pub struct Report {
    networks: Vec<Network>,
    pub(super) parents: Vec<Parent>,
    endpoints: Vec<Endpoint>,
    pub(super) dataplane: Option<Dataplane>,
    /// Whether the store is of an earlier boot, so that no namespace in it exists.
    pub(super) rebooted: bool,
}

impl Report {
    /// Reads the state; that of a root where nothing was ever made is empty.
    pub fn read(root: &Root) -> Result<Self, Error> {
        Facts::gather().check()?;
        let (mut networks, mut parents, mut endpoints) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        let mut rebooted = false;
        if let Some(store) = Store::open_existing(&root.store())? {
            (networks, parents, endpoints) = (store.networks()?, store.parents()?, store.endpoints()?);
            rebooted = store.boot()?.is_some_and(|boot| boot != boot_id());
            check_pins(&store, root)?;
        }
        let dataplane = Dataplane::open(root.pin_dir())?;
        Ok(Self { networks, parents, endpoints, dataplane, rebooted })
    }

    fn network_name(&self, id: u32) -> String {
        let network = self.networks.iter().find(|network| network.id == id);
        network.map_or_else(String::new, |network| network.spec.name.to_string())
    }

    /// All networks, by name.
    pub fn networks(&self) -> Result<Vec<NetworkReport>, Error> {
        let (netlink, endpoints) = (Netlink::open()?, self.endpoints()?);
        let report = |network: &Network| {
            let Network { id, spec, .. } = network;
            Ok(NetworkReport {
                name: spec.name.to_string(),
                id: *id,
                parent: spec.parent.to_string(),
                mode: spec.mode,
                flag: spec.flag,
                internal: spec.internal,
                multicast: spec.multicast,
                multicast_rate: spec.multicast_rate,
                xdp: spec.xdp.unwrap_or(Xdp::Off),
                mtu: spec.mtu,
                subnets: spec
                    .pools
                    .iter()
                    .map(|pool| SubnetReport { subnet: pool.subnet, gateway: pool.gateway })
                    .collect(),
                state: self.network_state(&netlink, network)?,
                endpoints: endpoints
                    .iter()
                    .filter(|endpoint| endpoint.network == spec.name.as_str())
                    .cloned()
                    .collect(),
            })
        };
        self.networks.iter().map(report).collect()
    }

    /// The networks called so, in the order of `names`.
    pub fn inspect(&self, names: &[String]) -> Result<Vec<NetworkReport>, Error> {
        let networks = self.networks()?;
        let find = |name: &String| networks.iter().find(|network| network.name == *name).cloned();
        names.iter().map(|name| find(name).ok_or_else(|| Error::NoNetwork(name.clone()))).collect()
    }

    /// The endpoints called so, in the order of `names`.
    pub fn inspect_endpoints(&self, names: &[String]) -> Result<Vec<EndpointReport>, Error> {
        let endpoints = self.endpoints()?;
        let find = |name: &String| endpoints.iter().find(|endpoint| endpoint.name == *name).cloned();
        names.iter().map(|name| find(name).ok_or_else(|| Error::NoEndpoint(name.clone()))).collect()
    }

    /// An endpoint, and its namespace.
    pub(super) fn place(&self, name: &str) -> Result<(&Endpoint, Netns), Error> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.name.as_str() == name);
        let endpoint = endpoint.ok_or_else(|| Error::NoEndpoint(name.to_owned()))?;
        // After a reboot, another namespace may have its cookie.
        let netns = Some(&endpoint.netns).filter(|_| !self.rebooted).and_then(Netns::find);
        Ok((endpoint, netns.ok_or_else(|| Error::NetnsGone(endpoint.netns.label.clone()))?))
    }

    /// All endpoints, by slot.
    pub fn endpoints(&self) -> Result<Vec<EndpointReport>, Error> {
        let report = |endpoint: &Endpoint| {
            Ok(EndpointReport {
                name: endpoint.name.to_string(),
                network: self.network_name(endpoint.network),
                slot: endpoint.slot,
                ipv4: endpoint.addresses.ipv4,
                ipv6: endpoint.addresses.ipv6,
                link_local: endpoint.addresses.link_local,
                ifname: endpoint.ifname.to_string(),
                netns: endpoint.netns.label.clone(),
                state: self.endpoint_state(endpoint)?,
            })
        };
        self.endpoints.iter().map(report).collect()
    }

    /// Whoever drops are charged to: name, slot, and an endpoint's network; endpoints first.
    pub(super) fn counted(&self) -> Vec<(String, Slot, Option<String>)> {
        let endpoints = self.endpoints.iter().map(|endpoint| {
            (endpoint.name.to_string(), endpoint.slot, Some(self.network_name(endpoint.network)))
        });
        let parents = self.parents.iter().map(|parent| (parent.name.to_string(), parent.slot, None));
        endpoints.chain(parents).collect()
    }

    /// The counters of the endpoints and parents called so, or of all; endpoints first.
    pub fn stats(&self, names: &[String]) -> Result<Vec<StatsReport>, Error> {
        let rows = self.counted();
        if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|(known, ..)| known == *name)) {
            return Err(Error::NoStats(unknown.clone()));
        }
        let counters = |slot| {
            self.dataplane
                .as_ref()
                .map_or_else(|| Ok(Counters::default()), |dataplane| dataplane.counters(slot))
        };
        rows.into_iter()
            .filter(|(name, ..)| names.is_empty() || names.contains(name))
            .map(|(name, slot, network)| {
                let kind = if network.is_some() { "endpoint" } else { "parent" };
                Ok(StatsReport::new(name, kind, network, &counters(slot)?))
            })
            .collect()
    }
}
