//! Endpoints of container engines that take the slave into its namespace themselves, as Docker does: made down and enforced on the
//! host, offered, and settled once the engine has moved it.

use std::{fs, path::PathBuf};

use super::{
    AttachRequest, Attachment, DefaultRoute, EndpointStep, Error, Plan, Report, Session, Step as _, slave,
};
use crate::{
    bpf::has_tcx,
    model::{Endpoint, Engine, IfName, NetnsRef, Network, Owner, Parent, State, kernel_link_local},
    netlink::{Link, Netlink, Netns},
};

/// What an engine needs to take a slave in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The slave's name on the host.
    pub ifname: String,
    /// The default routes that it is to have.
    pub routes: Vec<DefaultRoute>,
}

/// Where the slave of an endpoint is.
pub(super) enum Place {
    Host,
    Inside(Netns, Link),
    Nowhere,
}

/// Looks for the slave of an endpoint whose engine may have taken it in. On the host first: it is moved from there into its namespace,
/// and a look in the other order could miss it at both places.
pub(super) fn place(home: &Netlink, endpoint: &Endpoint, parent: &Parent) -> Result<Place, Error> {
    if slave::find(home, endpoint, parent)?.is_some() {
        return Ok(Place::Host);
    }
    // Where the engine said, else anywhere: it may have mounted the namespace where only its own processes see it.
    for netns in
        Netns::expected(&endpoint.netns).into_iter().chain(std::iter::once_with(Netns::all).flatten())
    {
        let Ok(inside) = Netlink::open_in(&netns) else { continue };
        if let Some(link) = slave::find(&inside, endpoint, parent)? {
            return Ok(Place::Inside(netns, link));
        }
    }
    Ok(Place::Nowhere)
}

/// The endpoint in the namespace that it was taken into.
fn settled(endpoint: &Endpoint, netns: &Netns, link: &Link) -> Endpoint {
    Endpoint {
        netns: NetnsRef { cookie: netns.identity().cookie, ..endpoint.netns.clone() },
        // Root inside may have given it a name that we don't write.
        ifname: IfName::parse(&link.name).unwrap_or_else(|_| endpoint.ifname.clone()),
        state: State::Up,
        ..endpoint.clone()
    }
}

impl Report {
    /// Sees which of the offered slaves have been taken in. The store learns of it with the next command that changes something.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if self.rebooted || self.endpoints.iter().all(|endpoint| endpoint.state != State::Offered) {
            return Ok(());
        }
        let home = Netlink::open()?;
        for endpoint in self.endpoints.iter_mut().filter(|endpoint| endpoint.state == State::Offered) {
            let Some(parent) = self.parents.iter().find(|parent| parent.slot == endpoint.parent) else {
                continue;
            };
            if let Place::Inside(netns, link) = place(&home, endpoint, parent)? {
                *endpoint = settled(endpoint, &netns, &link);
            }
        }
        Ok(())
    }
}

impl Session {
    /// Notes which of the offered slaves have been taken in.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let parents = self.store.parents()?;
        for endpoint in self.store.endpoints_in(State::Offered)? {
            self.settle_endpoint(&endpoint, &parents)?;
        }
        Ok(())
    }

    /// Notes whether an offered slave has been taken in; returns whether there is one at all. One look decides: it may move any moment.
    pub(super) fn settle_endpoint(&mut self, endpoint: &Endpoint, parents: &[Parent]) -> Result<bool, Error> {
        let Some(parent) = parents.iter().find(|parent| parent.slot == endpoint.parent) else {
            return Ok(false);
        };
        let (netns, link) = match place(&self.netlink, endpoint, parent)? {
            Place::Inside(netns, link) => (netns, link),
            Place::Host => return Ok(true),
            // Not found isn't gone: what its programs are on lives somewhere.
            Place::Nowhere => return self.has_device(endpoint),
        };
        // The engine moves it first, and then gives it its name.
        if link.name == endpoint.temporary_ifname() {
            return Ok(true);
        }
        self.store.set_endpoint_place(&settled(endpoint, &netns, &link))?;
        // Routers' advertisements would give it addresses that its programs refuse as a source.
        if let Err(error) = netns.set_sysctls(&link.name, &[("ipv6", "accept_ra", "0")]) {
            self.warn(format!("endpoint '{}': {error}", endpoint.name));
        }
        Ok(true)
    }

    fn has_device(&mut self, endpoint: &Endpoint) -> Result<bool, Error> {
        Ok(match self.existing_dataplane()? {
            Some(dataplane) => dataplane.endpoint_device(endpoint.slot)?.is_some(),
            None => false,
        })
    }

    /// Whether a slave that was taken in has been given back.
    pub(super) fn is_on_host(&self, endpoint: &Endpoint, parents: &[Parent]) -> Result<bool, Error> {
        let Some(parent) = parents.iter().find(|parent| parent.slot == endpoint.parent) else {
            return Ok(false);
        };
        Ok(slave::find(&self.netlink, endpoint, parent)?.is_some())
    }

    /// The network that an engine manages as `owner`.
    pub fn network_of(&self, owner: &Owner) -> Result<Option<Network>, Error> {
        Ok(self.store.network_of(owner)?)
    }

    /// Whether a network is `engine`'s and has nobody in it, so that the engine may have forgotten it.
    pub fn is_given_up(&self, name: &str, engine: Engine) -> Result<bool, Error> {
        let Some(network) = self.store.network(name)? else { return Ok(false) };
        let is_engines = network.spec.owner.is_some_and(|owner| owner.engine == engine);
        Ok(is_engines && !self.store.has_endpoints(network.id)?)
    }

    /// The endpoint that an engine manages as `owner`.
    pub fn endpoint_of(&self, owner: &Owner) -> Result<Option<Endpoint>, Error> {
        Ok(self.store.endpoint_of(owner)?)
    }

    /// Whether slaves can be handed over at all: without TCX the programs would be lost on the way.
    pub fn require_handover(&self) -> Result<(), Error> {
        if has_tcx() { Ok(()) } else { Err(Error::NoHandover { release: self.facts.release.clone() }) }
    }

    /// Makes an endpoint whose slave waits on the host, down and enforced, until `owner` takes it in. The engine has chosen the
    /// addresses; those that it gives again it has released, even if it couldn't say so.
    pub fn offer(&mut self, request: &AttachRequest, owner: Owner) -> Result<(), Error> {
        self.require_handover()?;
        self.evict(request)?;
        let mut attachment = self.prepare_offer(request, owner)?;
        let result = EndpointStep::offer().apply(&mut attachment);
        result.map_err(|failure| self.fail(failure))
    }

    /// Removes endpoints that were offered and never taken in, and that hold an address which is asked for.
    fn evict(&mut self, request: &AttachRequest) -> Result<(), Error> {
        let Some(network) = self.store.network(&request.network)? else { return Ok(()) };
        let wanted = [&request.ip, &request.ip6].map(|text| text.as_ref()?.parse().ok());
        for endpoint in self.store.endpoints_in(State::Offered)? {
            let holds = endpoint.addresses.iter().any(|address| wanted.contains(&Some(address)));
            if holds && endpoint.network == network.id {
                let left = self.tear_down_endpoint(endpoint)?;
                left.into_iter().for_each(|error| self.warn(error.to_string()));
            }
        }
        Ok(())
    }

    /// Says where the offered slave of `owner` is going to be, and what the engine needs to take it there.
    pub fn hand_over(&mut self, owner: &Owner, label: String, netns: PathBuf) -> Result<Offered, Error> {
        let endpoint = self.store.endpoint_of(owner)?.ok_or_else(|| Error::NoEndpoint(owner.id.clone()))?;
        let mut attachment = self.attachment(endpoint)?;
        if attachment.endpoint.state == State::Offered {
            attachment.endpoint.netns = NetnsRef::to_come(label, netns);
            attachment.session.store.set_endpoint_place(&attachment.endpoint)?;
        }
        let network = attachment.network.spec.name.to_string();
        let (slot, ifindex) = (attachment.endpoint.slot, attachment.endpoint.ifindex);
        let dataplane = attachment.session.check_parent(&attachment.parent, &network)?;
        if !dataplane.endpoint_is_enforced(slot, ifindex)? {
            EndpointStep::Programs.apply(&mut attachment)?;
        }
        Ok(Offered { ifname: attachment.endpoint.temporary_ifname(), routes: attachment.default_routes() })
    }
}

impl EndpointStep {
    /// The steps from nothing to an endpoint whose slave waits on the host. It comes first: the kernel gives it a number, and by that a
    /// link-local address. It is down, so nothing leaves it before the others are done.
    #[must_use]
    pub fn offer() -> Plan<Self> {
        Plan::new(vec![
            Self::Record,
            Self::Host,
            Self::Slave,
            Self::Prepare,
            Self::Slot,
            Self::Addresses,
            Self::Programs,
            Self::Offer,
        ])
    }
}

impl Attachment<'_> {
    /// What survives the way into a namespace of the engine's: the MTU, and with the slave's number its link-local address.
    pub(super) fn prepare(&mut self) -> Result<(), Error> {
        let (netlink, name) = (&self.session.netlink, self.endpoint.temporary_ifname());
        if let Some(mtu) = self.network.spec.mtu {
            netlink.set_mtu(self.endpoint.ifindex, mtu)?;
        }
        if self.endpoint.addresses.ipv6.is_some() {
            let address = kernel_link_local(self.parent.mac, dev_id(&name)?);
            self.session.store.add_link_local(&self.endpoint, address)?;
            self.endpoint.addresses.link_local = Some(address);
        }
        Ok(())
    }
}

/// The number of a slave on its parent; rtnetlink doesn't say it.
fn dev_id(ifname: &str) -> Result<u16, Error> {
    let path = PathBuf::from_iter(["/sys/class/net", ifname, "dev_id"]);
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    u16::from_str_radix(text.trim().trim_start_matches("0x"), 16)
        .map_err(|error| Error::Read { path, source: std::io::Error::other(error) })
}
