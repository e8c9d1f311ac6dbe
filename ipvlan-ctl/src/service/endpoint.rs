//! Endpoints: a slave in a namespace, enforced before it is up.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::Ipv4Net;
use nix::errno::Errno;

use super::{Error, Plan, Session, Step, network::new_seal};
use crate::{
    bpf::EndpointIdentity,
    ipam,
    model::{Addresses, Endpoint, Flag, IfName, Invalid, Name, Network, Parent, Pool, State, link_local},
    netlink::{Link, Netlink, Netns, NetnsError, NewSlave},
};

const LINK_LOCAL_PREFIX: u8 = 64;

/// The namespace that an endpoint is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// A name, as `ip netns` lists it, or a path.
    Named(String),
    /// A process.
    Pid(u32),
}

impl Target {
    /// Opens the namespace.
    pub fn open(&self) -> Result<Netns, NetnsError> {
        match self {
            Self::Named(name) => Netns::named(name),
            Self::Pid(pid) => Netns::of_process(*pid),
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
}

/// An endpoint being attached or detached.
pub struct Attachment<'s> {
    session: &'s mut Session,
    network: Network,
    parent: Parent,
    endpoint: Endpoint,
    /// `None` once the namespace is gone, and the slave with it.
    inside: Option<Inside>,
}

struct Inside {
    netns: Netns,
    netlink: Netlink,
}

impl Inside {
    fn open(netns: Netns) -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open_in(&netns)?, netns })
    }

    /// The endpoint's slave, whatever it is called by now. The namespace isn't ours, so an index alone proves nothing.
    fn slave(&self, endpoint: &Endpoint, parent: &Parent) -> Result<Option<Link>, Error> {
        let link = match endpoint.ifindex {
            Some(index) => self.netlink.link_by_index(index)?,
            None => self.netlink.link_by_name(&endpoint.temporary_ifname())?,
        };
        Ok(link.filter(|link| link.is_slave() && link.lower == Some(parent.ifindex)))
    }
}

impl Attachment<'_> {
    /// The endpoint as it is so far.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inside(&self) -> Result<&Inside, Error> {
        self.inside.as_ref().ok_or_else(|| Error::NetnsGone(self.endpoint.netns.label.clone()))
    }

    /// The slave's index, once it exists.
    fn index(&self) -> Result<u32, Error> {
        self.endpoint.ifindex.ok_or_else(|| Error::NetnsGone(self.endpoint.netns.label.clone()))
    }

    fn identity(&self) -> EndpointIdentity {
        let Addresses { ipv4, ipv6, link_local } = self.endpoint.addresses;
        let prefix = self.network.spec.pool_for(true).map(|pool| pool.subnet.prefix_len());
        EndpointIdentity {
            slot: self.endpoint.slot,
            seal: self.endpoint.seal,
            network: self.network.id,
            internal: self.network.spec.internal,
            private: self.network.spec.flag == Flag::Private,
            mac: self.parent.mac,
            ipv4: ipv4.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()),
            ipv6,
            link_local,
        }
    }

    fn create_slave(&mut self) -> Result<(), Error> {
        let inside = self.inside()?;
        let name = self.endpoint.temporary_ifname();
        let slave = NewSlave {
            name: &name,
            parent: self.parent.ifindex,
            mode: self.network.spec.mode,
            netns: std::os::fd::AsFd::as_fd(&inside.netns),
        };
        self.session.netlink.add_slave(&slave).map_err(|error| {
            let parent = self.parent.name.to_string();
            if error.is(Errno::EBUSY) { Error::ParentBusy { parent } } else { error.into() }
        })?;
        let link = inside.netlink.link_by_name(&name)?;
        let index = link.ok_or_else(|| Error::NetnsGone(self.endpoint.netns.label.clone()))?.index;
        self.endpoint.ifindex = Some(index);
        Ok(self.session.store.set_endpoint_ifindex(self.endpoint.slot, index)?)
    }

    fn attach_programs(&mut self) -> Result<(), Error> {
        let identity = self.identity();
        let name = self.endpoint.temporary_ifname();
        let dataplane = self.session.dataplane()?;
        let Some(inside) = &self.inside else {
            return Err(Error::NetnsGone(self.endpoint.netns.label.clone()));
        };
        Ok(inside.netns.run(|| dataplane.attach_endpoint(&identity, &name))??)
    }

    fn configure(&self) -> Result<(), Error> {
        let Inside { netns, netlink } = self.inside()?;
        let (index, name) = (self.index()?, self.endpoint.temporary_ifname());
        if self.endpoint.addresses.ipv6.is_some() {
            // The kernel would derive the same link-local address for every slave, and take further addresses from
            // router advertisements, which the programs refuse as a source.
            for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0"), ("disable_ipv6", "0")] {
                netns.set_ipv6_sysctl(&name, key, value)?;
            }
        } else {
            netns.set_ipv6_sysctl(&name, "disable_ipv6", "1")?;
        }
        if let Some(mtu) = self.network.spec.mtu {
            netlink.set_mtu(index, mtu)?;
        }
        let Addresses { ipv4, ipv6, link_local } = self.endpoint.addresses;
        for address in ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)) {
            if let Some(pool) = self.network.spec.pool_for(address.is_ipv4()) {
                netlink.add_address(index, address, pool.subnet.prefix_len())?;
            }
        }
        if let Some(address) = link_local {
            netlink.add_address(index, address.into(), LINK_LOCAL_PREFIX)?;
        }
        Ok(netlink.rename(index, self.endpoint.ifname.as_str())?)
    }

    fn add_routes(&mut self) -> Result<(), Error> {
        if self.network.spec.internal {
            return Ok(());
        }
        for pool in self.network.spec.pools.clone() {
            let result = self.inside()?.netlink.add_default_route(self.index()?, pool.gateway);
            match result {
                // A second endpoint in one namespace: the first one's route stays.
                Err(error) if error.is(Errno::EEXIST) => {
                    let (netns, gateway) = (&self.endpoint.netns.label, pool.gateway);
                    let warning =
                        format!("'{netns}' has a default route already; none was added via {gateway}");
                    self.session.warn(warning);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn delete_slave(&self) -> Result<(), Error> {
        if let Some(inside) = &self.inside
            && let Some(link) = inside.slave(&self.endpoint, &self.parent)?
        {
            inside.netlink.delete_link(link.index)?;
        }
        Ok(())
    }
}

/// The steps from nothing to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStep {
    /// The row, and with it the addresses.
    Record,
    /// The slot, which verifying programs know the endpoint by.
    Slot,
    /// The addresses that are the slot's.
    Addresses,
    /// The slave, down and under a name of its own.
    Slave,
    /// Its programs.
    Programs,
    /// Its MTU, addresses and name.
    Configure,
    /// It goes up: from here on it can send.
    Up,
    /// Its default routes.
    Routes,
    /// The endpoint is complete.
    Commit,
}

impl EndpointStep {
    /// All of them, in order.
    #[must_use]
    pub fn plan() -> Plan<Self> {
        Plan::new(vec![
            Self::Record,
            Self::Slot,
            Self::Addresses,
            Self::Slave,
            Self::Programs,
            Self::Configure,
            Self::Up,
            Self::Routes,
            Self::Commit,
        ])
    }
}

impl Step<Attachment<'_>> for EndpointStep {
    fn name(&self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Slot => "slot",
            Self::Addresses => "addresses",
            Self::Slave => "slave",
            Self::Programs => "programs",
            Self::Configure => "configure",
            Self::Up => "up",
            Self::Routes => "routes",
            Self::Commit => "commit",
        }
    }

    fn apply(&self, context: &mut Attachment<'_>) -> Result<(), Error> {
        let (slot, parent) = (context.endpoint.slot, context.parent.slot);
        match self {
            Self::Record => context.session.store.insert_endpoint(&context.endpoint)?,
            Self::Slot => {
                let entry = context.identity().entry();
                context.session.dataplane()?.register_slot(slot, entry)?;
            }
            Self::Addresses => {
                for address in context.endpoint.addresses.iter() {
                    context.session.dataplane()?.add_address(parent, address, slot)?;
                }
            }
            Self::Slave => context.create_slave()?,
            Self::Programs => context.attach_programs()?,
            Self::Configure => context.configure()?,
            Self::Up => context.inside()?.netlink.set_up(context.index()?)?,
            Self::Routes => context.add_routes()?,
            Self::Commit => context.session.store.set_endpoint_state(slot, State::Up)?,
        }
        Ok(())
    }

    /// The slave goes before its programs do, so that it is at no time up without them.
    fn undo(&self, context: &mut Attachment<'_>) -> Result<(), Error> {
        let (slot, parent) = (context.endpoint.slot, context.parent.slot);
        match self {
            Self::Record => context.session.store.delete_endpoint(slot)?,
            Self::Slot => {
                let dataplane = context.session.dataplane()?;
                dataplane.detach_endpoint(slot)?;
                dataplane.unregister_slot(slot)?;
            }
            Self::Addresses => {
                for address in context.endpoint.addresses.iter() {
                    context.session.dataplane()?.remove_address(parent, address)?;
                }
            }
            Self::Slave => context.delete_slave()?,
            Self::Programs | Self::Configure | Self::Up | Self::Routes => {}
            Self::Commit => context.session.store.set_endpoint_state(slot, State::Closing)?,
        }
        Ok(())
    }

    fn forgets(&self) -> bool {
        *self == Self::Record
    }
}

impl Session {
    /// Attaches an endpoint to `netns`.
    pub fn attach(&mut self, request: &AttachRequest, netns: Netns) -> Result<Endpoint, Error> {
        let mut attachment = self.prepare_attach(request, netns)?;
        match EndpointStep::plan().apply(&mut attachment) {
            Ok(()) => Ok(attachment.endpoint),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    /// Checks all that can be checked before anything is made.
    pub fn prepare_attach(&mut self, request: &AttachRequest, netns: Netns) -> Result<Attachment<'_>, Error> {
        let network = self.store.network(&request.network)?;
        let network = network.ok_or_else(|| Error::NoNetwork(request.network.clone()))?;
        let ifname = IfName::parse(&request.ifname)?;
        if netns.identity().cookie == Netns::current()?.identity().cookie {
            return Err(Error::HostNetns(netns.identity().label.clone()));
        }
        self.require_ipvlan()?;
        let parent = self.parent(&network)?;
        self.check_parent_is_there(&network, &parent)?;

        let slot = self.store.free_slot()?;
        let name = self.endpoint_name(request, &network, slot)?;
        let addresses = Addresses {
            link_local: network.spec.pool_for(false).map(|_| link_local(parent.mac, slot)),
            ..self.choose_addresses(request, &network, &parent)?
        };
        let inside = Inside::open(netns)?;
        if inside.netlink.link_by_name(ifname.as_str())?.is_some() {
            let netns = inside.netns.identity().label.clone();
            return Err(Error::IfNameTaken { ifname: ifname.to_string(), netns });
        }
        let endpoint = Endpoint {
            slot,
            seal: new_seal(),
            name,
            network: network.id,
            parent: parent.slot,
            addresses,
            ifname,
            ifindex: None,
            netns: inside.netns.identity().clone(),
            state: State::Creating,
        };
        Ok(Attachment { session: self, network, parent, endpoint, inside: Some(inside) })
    }

    fn check_parent_is_there(&self, network: &Network, parent: &Parent) -> Result<(), Error> {
        let link = self.netlink.link_by_index(parent.ifindex)?;
        if link.is_some_and(|link| link.mac == Some(parent.mac)) {
            return Ok(());
        }
        Err(Error::ParentGone { parent: parent.name.to_string(), network: network.spec.name.to_string() })
    }

    fn endpoint_name(&self, request: &AttachRequest, network: &Network, slot: u16) -> Result<Name, Error> {
        let endpoints = self.store.endpoints()?;
        let holder = |name: &str| endpoints.iter().find(|endpoint| endpoint.name.as_str() == name);
        let Some(name) = &request.name else {
            let names = (u32::from(slot)..).map(|number| format!("{}-{number}", network.spec.name));
            let free = names.into_iter().find(|name| holder(name).is_none()).unwrap_or_default();
            return Ok(Name::parse("endpoint", &free)?);
        };
        let parsed = Name::parse("endpoint", name)?;
        let Some(holder) = holder(name) else {
            return Ok(parsed);
        };
        let networks = self.store.networks()?;
        let network = networks.iter().find(|network| network.id == holder.network);
        Err(Error::EndpointExists {
            name: name.clone(),
            network: network.map_or_else(String::new, |network| network.spec.name.to_string()),
        })
    }

    fn choose_addresses(
        &self,
        request: &AttachRequest,
        network: &Network,
        parent: &Parent,
    ) -> Result<Addresses, Error> {
        let holders = self.store.addresses(parent.slot)?;
        // The seed's own example: the network's subnet is the one that the host is in.
        let hosts: BTreeSet<_> = self.netlink.addresses(parent.ifindex)?.into_iter().collect();
        let taken: BTreeSet<_> = holders.keys().copied().chain(hosts.iter().copied()).collect();

        let choose = |pool: Option<&Pool>, wanted: Option<IpAddr>| -> Result<Option<IpAddr>, Error> {
            let Some(pool) = pool else {
                return match wanted {
                    None => Ok(None),
                    Some(address) => Err(Invalid::NoFamily {
                        address,
                        network: network.spec.name.to_string(),
                        family: if address.is_ipv4() { "IPv4" } else { "IPv6" },
                    }
                    .into()),
                };
            };
            let Some(address) = wanted else {
                let last = self.store.last_address(network.id, pool.subnet)?;
                return Ok(Some(ipam::allocate(pool, &taken, last)?));
            };
            pool.check(address)?;
            if let Some(endpoint) = holders.get(&address) {
                return Err(Error::AddressTaken { address, endpoint: endpoint.to_string() });
            }
            if hosts.contains(&address) {
                return Err(Error::AddressOfHost { address, parent: parent.name.to_string() });
            }
            Ok(Some(address))
        };
        let ipv4 = choose(network.spec.pool_for(true), wanted("--ip", request.ip.as_deref(), true)?)?;
        let ipv6 = choose(network.spec.pool_for(false), wanted("--ip6", request.ip6.as_deref(), false)?)?;
        Ok(Addresses {
            ipv4: ipv4.and_then(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None }),
            ipv6: ipv6.and_then(|address| if let IpAddr::V6(v6) = address { Some(v6) } else { None }),
            link_local: None,
        })
    }

    /// Detaches an endpoint. Returns what could not be removed; then its record stays for the next try.
    pub fn detach(&mut self, name: &str) -> Result<Vec<Error>, Error> {
        match self.store.endpoint(name)? {
            Some(endpoint) => self.tear_down_endpoint(endpoint),
            None if self.was_cleared(name) => Ok(Vec::new()),
            None => Err(Error::NoEndpoint(name.to_owned())),
        }
    }

    pub(super) fn tear_down_endpoint(&mut self, endpoint: Endpoint) -> Result<Vec<Error>, Error> {
        let networks = self.store.networks()?;
        let network = networks.into_iter().find(|network| network.id == endpoint.network);
        let network = network.ok_or_else(|| Error::NoNetwork(endpoint.network.to_string()))?;
        let parent = self.parent(&network)?;
        let inside = Netns::find(&endpoint.netns).map(Inside::open).transpose()?;
        let mut attachment = Attachment { session: self, network, parent, endpoint, inside };
        Ok(EndpointStep::plan().undo(&mut attachment))
    }
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
    fn nothing_is_up_before_its_programs() {
        let names = EndpointStep::plan().names::<Attachment<'_>>();
        let place = |name| names.iter().position(|step| *step == name).unwrap();
        for (before, after) in [
            ("record", "slot"),
            ("slot", "slave"),
            ("addresses", "slave"),
            ("slave", "programs"),
            ("programs", "configure"),
            ("programs", "up"),
            ("configure", "up"),
            ("up", "commit"),
        ] {
            assert!(place(before) < place(after), "{before} comes before {after}");
        }
    }

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
