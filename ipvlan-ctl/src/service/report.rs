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
    bpf::Dataplane,
    model::{ArpSuppress, Endpoint, Flag, Made, Mode, Multicast, Network, Parent, Pool, Slot, Snat, Xdp},
    netlink::{Netlink, Netns},
    store::Store,
};

/// A network.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NetworkReport {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Its parent interface.
    pub parent: String,
    /// `dummy` or `vlan` where we made the parent.
    pub parent_made: Option<Made>,
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
    /// Whether requests for its endpoints' addresses are answered on the spot.
    pub arp_suppress: ArpSuppress,
    /// Whether the host may put an address of its own in the place of its endpoints'.
    pub snat: Snat,
    /// Whether the host and its endpoints may speak with each other.
    pub host_access: bool,
    /// Its parent's XDP setting.
    pub xdp: Xdp,
    /// The MTU of its endpoints, where it isn't the parent's.
    pub mtu: Option<u32>,
    /// Its subnets.
    pub subnets: Vec<SubnetReport>,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
    /// The container engine that manages it, and the engine's id of it, as in `docker:ID`.
    pub owner: Option<String>,
    /// `up`; `gone` without its parent, `unenforced` without the parent's programs; `creating` or `closing` while it is made or
    /// removed.
    pub state: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointReport>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubnetReport {
    /// The subnet.
    #[cfg_attr(test, schemars(with = "String"))]
    pub subnet: IpNet,
    /// Its gateway.
    pub gateway: IpAddr,
    /// The part of it that addresses are chosen from, where it isn't all.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub ip_range: Option<IpNet>,
    /// Addresses that somebody else has, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// An endpoint.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Whether it and the host may speak with each other: by its network's setting or its own.
    pub host_access: bool,
    /// The container engine that manages it, and the engine's id of it, as in `docker:ID`.
    pub owner: Option<String>,
    /// `up`; `offered` while its engine has not taken it into its namespace yet; `gone` where its slave or its namespace is, `moved`
    /// where the slave was moved out of it, `unenforced` without its programs; `creating` or `closing` while it is made or removed.
    pub state: String,
}

/// The state, for a command that only looks. Takes no lock, makes nothing.
pub struct Report {
    pub(super) networks: Vec<Network>,
    pub(super) parents: Vec<Parent>,
    pub(super) endpoints: Vec<Endpoint>,
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
        let mut report = Self { networks, parents, endpoints, dataplane, rebooted };
        report.settle()?;
        Ok(report)
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
                parent: network.parent_name.to_string(),
                parent_made: self.parent(network.parent).and_then(|parent| parent.made),
                mode: spec.mode,
                flag: spec.flag,
                internal: spec.internal,
                multicast: spec.multicast,
                multicast_rate: spec.multicast_rate,
                arp_suppress: spec.arp_suppress,
                snat: spec.snat,
                host_access: spec.host_access,
                xdp: spec.xdp.unwrap_or(Xdp::Off),
                mtu: spec.mtu,
                subnets: spec
                    .pools
                    .iter()
                    .map(|Pool { subnet, gateway, range, aux }| SubnetReport {
                        subnet: *subnet,
                        gateway: *gateway,
                        ip_range: *range,
                        aux_addresses: aux.clone(),
                    })
                    .collect(),
                labels: spec.labels.clone(),
                owner: spec.owner.as_ref().map(ToString::to_string),
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
        // Each is looked at in its namespace: the others needn't be.
        let endpoints: Vec<_> = names.iter().map(|name| self.endpoint(name)).collect::<Result<_, _>>()?;
        endpoints.into_iter().map(|endpoint| self.endpoint_report(endpoint)).collect()
    }

    /// The names of the networks without endpoints; those of an engine are for it to remove.
    #[must_use]
    pub fn unused_networks(&self) -> Vec<String> {
        let is_unused = |network: &&Network| {
            network.spec.owner.is_none() && self.endpoints.iter().all(|it| it.network != network.id)
        };
        self.networks.iter().filter(is_unused).map(|network| network.spec.name.to_string()).collect()
    }

    fn endpoint(&self, name: &str) -> Result<&Endpoint, Error> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.name.as_str() == name);
        endpoint.ok_or_else(|| Error::NoEndpoint(name.to_owned()))
    }

    /// An endpoint, and its namespace.
    pub(super) fn place(&self, name: &str) -> Result<(&Endpoint, Netns), Error> {
        let endpoint = self.endpoint(name)?;
        let netns = self.netns_of(endpoint);
        Ok((endpoint, netns.ok_or_else(|| Error::NetnsGone(endpoint.netns.label.clone()))?))
    }

    /// All endpoints, by slot.
    pub fn endpoints(&self) -> Result<Vec<EndpointReport>, Error> {
        self.endpoints.iter().map(|endpoint| self.endpoint_report(endpoint)).collect()
    }

    fn endpoint_report(&self, endpoint: &Endpoint) -> Result<EndpointReport, Error> {
        Ok(EndpointReport {
            name: endpoint.name.to_string(),
            network: self.network_name(endpoint.network),
            slot: endpoint.slot,
            ipv4: endpoint.addresses.ipv4,
            ipv6: endpoint.addresses.ipv6,
            link_local: endpoint.addresses.link_local,
            ifname: endpoint.ifname.to_string(),
            netns: endpoint.netns.label.clone(),
            host_access: endpoint.host_access,
            owner: endpoint.owner.as_ref().map(ToString::to_string),
            state: self.endpoint_state(endpoint)?,
        })
    }

    /// Whoever drops are charged to: name, slot, and an endpoint's network; endpoints first.
    pub(super) fn counted(&self) -> Vec<(String, Slot, Option<String>)> {
        let endpoints = self.endpoints.iter().map(|endpoint| {
            (endpoint.name.to_string(), endpoint.slot, Some(self.network_name(endpoint.network)))
        });
        let parents = self.parents.iter().map(|parent| (parent.name.to_string(), parent.slot, None));
        endpoints.chain(parents).collect()
    }
}
