//! Endpoints: a slave in a namespace, enforced before it is up.

use std::net::IpAddr;

use ipnet::Ipv4Net;
use nix::errno::Errno;

use super::{AttachRequest, Error, Plan, Session, Step, slave::Inside};
use crate::{
    bpf::{EndpointIdentity, LOOPBACK},
    model::{Addresses, ArpSuppress, Endpoint, Flag, Mode, Network, Parent, Pool, Snat, State},
    netlink::{Link, Netns},
};

const LINK_LOCAL_PREFIX: u8 = 64;

/// What programs are told of an endpoint.
pub(super) fn identity(endpoint: &Endpoint, network: &Network, parent: &Parent) -> EndpointIdentity {
    let Addresses { ipv4, ipv6, link_local } = endpoint.addresses;
    let pool = ipv4.and_then(|address| network.spec.pool_of(address.into()));
    let prefix = pool.map(|pool| pool.subnet.prefix_len());
    EndpointIdentity {
        slot: endpoint.slot,
        key: endpoint.key,
        network: network.id,
        internal: network.spec.internal,
        private: network.spec.flag == Flag::Private,
        mode: network.spec.mode,
        multicast: network.spec.multicast,
        asks_all: network.spec.arp_suppress == ArpSuppress::Off,
        snat: network.spec.snat == Snat::On,
        host_access: endpoint.host_access,
        multicast_rate: Some(network.spec.multicast_rate).filter(|rate| *rate != 0),
        parent: parent.slot,
        mac: parent.mac,
        ipv4: ipv4.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()),
        ipv6,
        link_local,
    }
}

/// An endpoint being attached or detached.
pub struct Attachment<'s> {
    pub(super) session: &'s mut Session,
    pub(super) network: Network,
    pub(super) parent: Parent,
    pub(super) endpoint: Endpoint,
    /// `None` once the namespace is gone, and the slave with it.
    pub(super) inside: Option<Inside>,
}

impl Attachment<'_> {
    /// The endpoint as it is so far.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn identity(&self) -> EndpointIdentity {
        identity(&self.endpoint, &self.network, &self.parent)
    }

    fn add_addresses(&mut self) -> Result<(), Error> {
        let Endpoint { slot, parent, addresses, .. } = self.endpoint;
        for address in addresses.iter() {
            self.session.dataplane()?.add_address(parent, address, slot)?;
        }
        Ok(())
    }

    fn configure(&self) -> Result<(), Error> {
        let Inside { netns, netlink } = self.inside()?;
        let Link { index, name, .. } = self.slave_inside()?;
        // Neighbours may remember who had its addresses before.
        let mut sysctls = vec![("ipv4", "arp_notify", "1")];
        if self.endpoint.addresses.ipv6.is_some() {
            // The kernel would derive the same link-local address for every slave, and take further addresses from
            // router advertisements, which the programs refuse as a source.
            sysctls.extend([
                ("ipv6", "addr_gen_mode", "1"),
                ("ipv6", "accept_ra", "0"),
                ("ipv6", "ndisc_notify", "1"),
                ("ipv6", "disable_ipv6", "0"),
            ]);
        } else {
            sysctls.push(("ipv6", "disable_ipv6", "1"));
        }
        netns.set_sysctls(&name, &sysctls)?;
        if let Some(mtu) = self.network.spec.mtu {
            netlink.set_mtu(index, mtu)?;
        }
        let Addresses { ipv4, ipv6, link_local } = self.endpoint.addresses;
        for address in ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)) {
            if let Some(pool) = self.network.spec.pool_of(address) {
                netlink.add_address(index, address, pool.subnet.prefix_len())?;
            }
        }
        if let Some(address) = link_local {
            netlink.add_address(index, address.into(), LINK_LOCAL_PREFIX)?;
        }
        Ok(netlink.rename(index, self.endpoint.ifname.as_str())?)
    }

    /// A container expects its loopback interface to be up too, as Docker and CNI leave it.
    fn set_up(&self) -> Result<(), Error> {
        let netlink = &self.inside()?.netlink;
        if let Some(lo) = netlink.link_by_name(LOOPBACK)? {
            netlink.set_up(lo.index)?;
        }
        Ok(netlink.set_up(self.endpoint.ifindex)?)
    }

    /// The default routes that the endpoint is to have.
    pub(super) fn default_routes(&self) -> Vec<DefaultRoute> {
        if self.network.spec.internal {
            return Vec::new();
        }
        let pools = self.endpoint.addresses.iter().filter_map(|address| self.network.spec.pool_of(address));
        let route = |pool: &Pool| match self.network.spec.mode {
            Mode::L2 => DefaultRoute::Via(pool.gateway),
            // The host routes: there is no gateway on the link.
            Mode::L3 | Mode::L3s => DefaultRoute::Connected { ipv4: pool.is_ipv4() },
        };
        pools.map(route).collect()
    }

    fn add_routes(&mut self) -> Result<(), Error> {
        for route in self.default_routes() {
            let (netlink, index) = (&self.inside()?.netlink, self.endpoint.ifindex);
            let result = match route {
                DefaultRoute::Via(gateway) => netlink.add_default_route(index, gateway),
                DefaultRoute::Connected { ipv4 } => netlink.add_connected_default_route(index, ipv4),
            };
            match result {
                // A second endpoint in one namespace: the first one's route stays.
                Err(error) if error.is(Errno::EEXIST) => {
                    let (netns, endpoint) = (&self.endpoint.netns.label, &self.endpoint.name);
                    let warning =
                        format!("'{netns}' has a default route already; none was added for '{endpoint}'");
                    self.session.warn(warning);
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// A default route of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRoute {
    /// By way of a gateway.
    Via(IpAddr),
    /// Straight out of the slave.
    Connected {
        /// For IPv4, else for IPv6.
        ipv4: bool,
    },
}

/// The steps from nothing to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStep {
    /// The row, and with it the addresses.
    Record,
    /// The host's way to it, where it has host access.
    Host,
    /// The slot, which verifying programs know the endpoint by.
    Slot,
    /// The addresses that are the slot's.
    Addresses,
    /// The slave, down and under a name of its own.
    Slave,
    /// Its programs.
    Programs,
    /// The slave's way into its namespace, where it wasn't made there.
    Move,
    /// Its MTU, addresses and name.
    Configure,
    /// It goes up: from here on it can send.
    Up,
    /// Its default routes.
    Routes,
    /// Its name, in the hosts files of its network.
    Names,
    /// The endpoint is complete.
    Commit,
    /// What the slave keeps on a way into its namespace that isn't ours.
    Prepare,
    /// The endpoint is complete but for that way.
    Offer,
}

impl EndpointStep {
    /// All of them, in order.
    #[must_use]
    pub fn plan() -> Plan<Self> {
        Plan::new(vec![
            Self::Record,
            Self::Host,
            Self::Slot,
            Self::Addresses,
            Self::Slave,
            Self::Programs,
            Self::Move,
            Self::Configure,
            Self::Up,
            Self::Routes,
            Self::Names,
            Self::Commit,
        ])
    }
}

impl Step<Attachment<'_>> for EndpointStep {
    fn name(&self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Host => "host",
            Self::Slot => "slot",
            Self::Addresses => "addresses",
            Self::Slave => "slave",
            Self::Programs => "programs",
            Self::Move => "move",
            Self::Configure => "configure",
            Self::Up => "up",
            Self::Routes => "routes",
            Self::Names => "names",
            Self::Commit => "commit",
            Self::Prepare => "prepare",
            Self::Offer => "offer",
        }
    }

    fn apply(&self, context: &mut Attachment<'_>) -> Result<(), Error> {
        let slot = context.endpoint.slot;
        match self {
            Self::Record => context.session.store.insert_endpoint(&context.endpoint)?,
            Self::Host => context.open_to_host()?,
            Self::Slot => {
                let entry = context.identity().entry();
                context.session.dataplane()?.register_slot(slot, entry)?;
            }
            Self::Addresses => context.add_addresses()?,
            Self::Slave => context.create_slave()?,
            Self::Programs => context.attach_programs()?,
            Self::Move => context.move_slave()?,
            Self::Configure => context.configure()?,
            Self::Up => context.set_up()?,
            Self::Routes => context.add_routes()?,
            Self::Names => context.write_names(true)?,
            Self::Commit => context.session.store.set_endpoint_state(slot, State::Up)?,
            Self::Prepare => context.prepare()?,
            Self::Offer => context.session.store.set_endpoint_state(slot, State::Offered)?,
        }
        Ok(())
    }

    /// The slave goes before its programs do, so that it is at no time up without them.
    fn undo(&self, context: &mut Attachment<'_>) -> Result<(), Error> {
        let (slot, parent) = (context.endpoint.slot, context.parent.slot);
        match self {
            Self::Record => context.session.store.delete_endpoint(slot)?,
            // Behind the slot's: until then the host learns of it again.
            Self::Host => context.close_to_host()?,
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
            Self::Names => context.write_names(false)?,
            Self::Programs | Self::Move | Self::Configure | Self::Up | Self::Routes | Self::Prepare => {}
            Self::Commit | Self::Offer => context.session.store.set_endpoint_state(slot, State::Closing)?,
        }
        Ok(())
    }

    fn forgets(&self) -> bool {
        *self == Self::Record
    }

    /// A slave that lives on needs its programs and its slot, or it would be free.
    fn holds(&self) -> bool {
        *self == Self::Slave
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

    /// Detaches an endpoint; with `force` even one that an engine manages. Returns what could not be removed; then its record stays for the next try.
    pub fn detach(&mut self, name: &str, force: bool) -> Result<Vec<Error>, Error> {
        match self.store.endpoint(name)? {
            Some(Endpoint { owner: Some(owner), .. }) if !force => {
                Err(Error::OwnedEndpoint { endpoint: name.to_owned(), owner })
            }
            Some(endpoint) => self.tear_down_endpoint(endpoint),
            None if self.was_cleared(name) => Ok(Vec::new()),
            None => Err(Error::NoEndpoint(name.to_owned())),
        }
    }

    pub(super) fn tear_down_endpoint(&mut self, endpoint: Endpoint) -> Result<Vec<Error>, Error> {
        Ok(EndpointStep::plan().undo(&mut self.attachment(endpoint)?))
    }

    /// An endpoint that exists.
    pub(super) fn attachment(&mut self, endpoint: Endpoint) -> Result<Attachment<'_>, Error> {
        let networks = self.store.networks()?;
        let network = networks.into_iter().find(|network| network.id == endpoint.network);
        let network = network.ok_or_else(|| Error::NoNetwork(endpoint.network.to_string()))?;
        let parent = self.parent(&network)?;
        let inside = Netns::find(&endpoint.netns).map(Inside::open).transpose()?;
        Ok(Attachment { session: self, network, parent, endpoint, inside })
    }
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
            ("programs", "move"),
            ("move", "configure"),
            ("programs", "up"),
            ("configure", "up"),
            ("up", "commit"),
        ] {
            assert!(place(before) < place(after), "{before} comes before {after}");
        }
    }
}
