//! What a user asks of an endpoint, checked and completed before anything is made.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use super::{Attachment, Error, Session, slave::Inside};
use crate::{
    ipam,
    model::{
        Addresses, Endpoint, IfName, Invalid, Mode, Name, NetnsRef, Network, Owner, Parent, State,
        link_local, mac_text, may_have_host_access, temporary_ifname,
    },
    netlink::{Netns, NetnsError},
    wire::{self, Holder},
};

/// Numbers that interfaces of ours get: beyond those that the kernel counts up from 1, and too many to guess.
pub(super) const IFINDEXES: std::ops::Range<u32> = 1 << 20..1 << 31;

/// How many addresses may turn out to be somebody else's until the attach is given up: each costs time.
const PATIENCE: usize = 8;

/// The namespace that an endpoint is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// A name, as `ip netns` lists it, or a path.
    Named(String),
    /// A process.
    Pid(u32),
    /// The process of a container.
    Container {
        /// The container.
        name: String,
        /// The process.
        pid: u32,
    },
}

impl Target {
    /// Opens the namespace.
    pub fn open(&self) -> Result<Netns, NetnsError> {
        match self {
            Self::Named(name) => Netns::named(name),
            Self::Pid(pid) => Netns::of_process(*pid),
            Self::Container { name, pid } => Ok(Netns::of_process(*pid)?.called(format!("container:{name}"))),
        }
    }
}

/// What a user wrote to attach an endpoint.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// The network's name.
    pub network: String,
    /// `--name`.
    pub name: Option<String>,
    /// `--ip`.
    pub ip: Option<String>,
    /// `--ip6`.
    pub ip6: Option<String>,
    /// `--ifname`.
    pub ifname: String,
    /// `--no-probe`: don't ask the wire whether somebody has the address.
    pub no_probe: bool,
    /// `--host-access`: as its network may have it for all.
    pub host_access: bool,
}

impl Session {
    /// Checks all that can be checked before anything is made.
    pub fn prepare_attach(&mut self, request: &AttachRequest, netns: Netns) -> Result<Attachment<'_>, Error> {
        let network = self.network(&request.network)?;
        if let Some(owner) = network.spec.owner {
            return Err(Error::Owned { network: request.network.clone(), owner });
        }
        let host_access = host_access(request, &network)?;
        let ifname = IfName::parse(&request.ifname)?;
        if netns.identity().cookie == Netns::current_cookie()? {
            return Err(Error::HostNetns(netns.identity().label.clone()));
        }
        self.require_ipvlan()?;
        let parent = self.parent(&network)?;
        let capacity = self.check_parent(&parent, network.spec.name.as_str())?.capacity();

        let slot = self.free_slot(capacity)?;
        let name = self.endpoint_name(request, &network, slot)?;
        let inside = Inside::open(netns)?;
        if inside.netlink.link_by_name(ifname.as_str())?.is_some() {
            let netns = inside.netns.identity().label.clone();
            return Err(Error::IfNameTaken { ifname: ifname.to_string(), netns });
        }
        // Behind all that can be refused at once: the wire is asked, and that takes its time.
        let addresses = Addresses {
            link_local: network.spec.has_family(false).then(|| link_local(parent.mac, slot)),
            ..self.unused_addresses(request, &network, &parent)?
        };
        let endpoint = Endpoint {
            slot,
            key: rand::random(),
            name,
            network: network.id,
            parent: parent.slot,
            addresses,
            ifname,
            ifindex: rand::random_range(IFINDEXES),
            netns: inside.netns.identity().clone(),
            state: State::Creating,
            owner: None,
            host_access,
        };
        Ok(Attachment { session: self, network, parent, endpoint, inside: Some(inside) })
    }

    fn network(&self, name: &str) -> Result<Network, Error> {
        self.store.network(name)?.ok_or_else(|| Error::NoNetwork(name.to_owned()))
    }

    /// As [`Self::prepare_attach`], for a slave that `owner` is to take into its namespace. The addresses are the engine's choice, and
    /// the wire isn't asked for them: who answers there may be a proxy.
    pub(super) fn prepare_offer(
        &mut self,
        request: &AttachRequest,
        owner: Owner,
    ) -> Result<Attachment<'_>, Error> {
        let network = self.network(&request.network)?;
        let host_access = host_access(request, &network)?;
        self.require_ipvlan()?;
        let parent = self.parent(&network)?;
        let capacity = self.check_parent(&parent, network.spec.name.as_str())?.capacity();
        let slot = self.free_slot(capacity)?;
        let name = self.endpoint_name(request, &network, slot)?;
        let addresses = self.choose_addresses(request, &network, &parent, &BTreeSet::new())?;
        let ifindex = rand::random_range(IFINDEXES);
        let endpoint = Endpoint {
            slot,
            key: rand::random(),
            name,
            network: network.id,
            parent: parent.slot,
            addresses,
            ifname: IfName::parse(&temporary_ifname(ifindex))?,
            ifindex,
            netns: NetnsRef::to_come(owner.engine.to_string(), PathBuf::new()),
            state: State::Creating,
            owner: Some(owner),
            host_access,
        };
        Ok(Attachment { session: self, network, parent, endpoint, inside: None })
    }

    fn endpoint_name(&self, request: &AttachRequest, network: &Network, slot: u16) -> Result<Name, Error> {
        let Some(name) = &request.name else {
            let mut number = u32::from(slot);
            loop {
                let name = format!("{}-{number}", network.spec.name);
                if self.store.endpoint(&name)?.is_none() {
                    return Ok(Name::parse("endpoint", &name)?);
                }
                number += 1;
            }
        };
        let parsed = Name::parse("endpoint", name)?;
        let Some(holder) = self.store.endpoint(name)? else {
            return Ok(parsed);
        };
        let networks = self.store.networks()?;
        let network = networks.iter().find(|network| network.id == holder.network);
        Err(Error::EndpointExists {
            name: name.clone(),
            network: network.map_or_else(String::new, |network| network.spec.name.to_string()),
        })
    }

    /// Chooses addresses that nobody on the wire has, as far as that is asked.
    fn unused_addresses(
        &mut self,
        request: &AttachRequest,
        network: &Network,
        parent: &Parent,
    ) -> Result<Addresses, Error> {
        let mut foreign = BTreeSet::new();
        // Elsewhere the subnet isn't one that the wire has.
        let on_wire = network.spec.mode == Mode::L2 && !network.spec.internal;
        loop {
            let addresses = self.choose_addresses(request, network, parent, &foreign)?;
            let wanted: Vec<_> = addresses.iter().collect();
            if request.no_probe || !on_wire || wanted.is_empty() {
                return Ok(addresses);
            }
            let holders = match wire::holders(parent.ifindex, parent.mac, &wanted) {
                Ok(holders) => holders,
                Err(source) => {
                    self.warn(format!("can't ask on {} whether an address is in use: {source}", parent.name));
                    return Ok(addresses);
                }
            };
            if holders.is_empty() {
                return Ok(addresses);
            }
            for Holder { address, mac } in holders {
                let is_asked =
                    |text: &Option<String>| text.as_ref().is_some_and(|it| it.parse() == Ok(address));
                let mac = mac_text(mac);
                if is_asked(&request.ip) || is_asked(&request.ip6) || foreign.len() == PATIENCE {
                    return Err(Error::AddressOnWire { address, mac });
                }
                self.warn(format!(
                    "{address} was free here, but {mac} has it on the wire; another one is taken"
                ));
                foreign.insert(address);
            }
        }
    }

    fn choose_addresses(
        &self,
        request: &AttachRequest,
        network: &Network,
        parent: &Parent,
        foreign: &BTreeSet<IpAddr>,
    ) -> Result<Addresses, Error> {
        let holders = self.store.addresses(parent.slot)?;
        // The seed's own example: the network's subnet is the one that the host is in.
        let hosts: BTreeSet<_> = self.netlink.addresses(parent.ifindex)?.into_iter().collect();
        let taken = holders.keys().chain(&hosts).chain(foreign).copied().collect();

        let choose = |ipv4: bool, wanted: Option<IpAddr>| -> Result<Option<IpAddr>, Error> {
            let Some(address) = wanted else {
                let mut result = Ok(None);
                for pool in network.spec.pools_of(ipv4) {
                    let last = self.store.last_address(network.id, pool.subnet)?;
                    result = ipam::allocate(pool, &taken, last).map(Some);
                    if result.is_ok() {
                        break;
                    }
                }
                return Ok(result?);
            };
            network.spec.check(address)?;
            if let Some(endpoint) = holders.get(&address) {
                return Err(Error::AddressTaken { address, endpoint: endpoint.to_string() });
            }
            if hosts.contains(&address) {
                return Err(Error::AddressOfHost { address, parent: parent.name.to_string() });
            }
            Ok(Some(address))
        };
        let ipv4 = choose(true, wanted("--ip", request.ip.as_deref(), true)?)?;
        let ipv6 = choose(false, wanted("--ip6", request.ip6.as_deref(), false)?)?;
        Ok(Addresses {
            ipv4: ipv4.and_then(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None }),
            ipv6: ipv6.and_then(|address| if let IpAddr::V6(v6) = address { Some(v6) } else { None }),
            link_local: None,
        })
    }
}

/// Whether the endpoint and its host are to speak with each other.
fn host_access(request: &AttachRequest, network: &Network) -> Result<bool, Invalid> {
    let spec = &network.spec;
    if request.host_access {
        may_have_host_access(spec.mode, spec.flag, spec.internal)?;
    }
    Ok(request.host_access || network.spec.host_access)
}

/// Reads the address that an option gives, which must be of the option's family.
fn wanted(what: &'static str, text: Option<&str>, ipv4: bool) -> Result<Option<IpAddr>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let address: IpAddr = text.parse().map_err(|_| Invalid::Address { what, text: text.to_owned() })?;
    if address.is_ipv4() == ipv4 {
        return Ok(Some(address));
    }
    Err(Invalid::Family { what, text: text.to_owned(), family: if ipv4 { "IPv4" } else { "IPv6" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_their_options_family() {
        assert_eq!(wanted("--ip", None, true), Ok(None));
        assert_eq!(wanted("--ip", Some("10.0.0.9"), true), Ok("10.0.0.9".parse().ok()));
        for (what, text, ipv4, message) in [
            ("--ip", "x", true, "invalid --ip 'x': not an IP address"),
            ("--ip", "fd00::2", true, "invalid --ip 'fd00::2': not an IPv4 address"),
            ("--ip6", "10.0.0.2", false, "invalid --ip6 '10.0.0.2': not an IPv6 address"),
        ] {
            assert_eq!(wanted(what, Some(text), ipv4).unwrap_err().to_string(), message);
        }
    }
}
