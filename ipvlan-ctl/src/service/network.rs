//! Networks: made on a parent, which they share.

use std::collections::BTreeSet;

use ipnet::IpNet;
use ipvlan_common::schema;

use super::{Error, Plan, Session, Step, progress, uppers::macvlans};
use crate::{
    bpf::ParentIdentity,
    ipam,
    model::{Flag, IfName, Made, Mode, Network, NetworkSpec, Parent, Pool, Slot, State, Xdp},
    netlink::Link,
};

/// A network being made or removed.
pub struct Foundation<'s> {
    pub(super) session: &'s mut Session,
    pub(super) spec: NetworkSpec,
    pub(super) parent: Parent,
    id: Option<u32>,
    capacity: Slot,
}

/// The steps from nothing to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkStep {
    /// The row of the network, and of its parent where it is the first one there.
    Record,
    /// The parent, where it is ours to make.
    Link,
    /// The maps that all share.
    Maps,
    /// The parent's slot.
    Slot,
    /// The parent's programs.
    Programs,
    /// The network is complete.
    Commit,
}

impl NetworkStep {
    /// All of them, in order.
    #[must_use]
    pub fn plan() -> Plan<Self> {
        Plan::new(vec![Self::Record, Self::Link, Self::Maps, Self::Slot, Self::Programs, Self::Commit])
    }
}

/// What programs are told of a parent that carries such a network: mode and vepa are the same for all of them.
pub(super) fn identity(parent: &Parent, spec: &NetworkSpec) -> ParentIdentity {
    let Parent { slot, key, mac, .. } = *parent;
    ParentIdentity { slot, key, mac, vepa: spec.flag == Flag::Vepa, routes: spec.mode != Mode::L2 }
}

impl Foundation<'_> {
    /// Whether no other network uses what `used_by` says this one does: the first one makes the shared parts, the last
    /// one removes them.
    fn is_alone(&self, used_by: impl FnMut(&Network) -> bool) -> Result<bool, Error> {
        let networks = self.session.store.networks()?;
        let is_other = |network: &&Network| network.state == State::Up && Some(network.id) != self.id;
        Ok(!networks.iter().filter(is_other).any(used_by))
    }

    fn is_alone_on_parent(&self) -> Result<bool, Error> {
        self.is_alone(|network| network.parent == self.parent.slot)
    }

    pub(super) fn identity(&self) -> ParentIdentity {
        identity(&self.parent, &self.spec)
    }
}

impl Step<Foundation<'_>> for NetworkStep {
    fn name(&self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Link => "link",
            Self::Maps => "maps",
            Self::Slot => "slot",
            Self::Programs => "programs",
            Self::Commit => "commit",
        }
    }

    fn apply(&self, context: &mut Foundation<'_>) -> Result<(), Error> {
        match self {
            Self::Record => {
                context.session.store.set_capacity(context.capacity)?;
                let network = context.session.store.insert_network(&context.spec, &context.parent)?;
                context.id = Some(network.id);
            }
            Self::Link => context.make_parent()?,
            Self::Maps => {
                context.session.dataplane()?;
            }
            Self::Slot if context.is_alone_on_parent()? => {
                context.register()?;
                context.follow_host(context.parent.ifindex)?;
            }
            Self::Programs if context.is_alone_on_parent()? => {
                context.attach_programs()?;
            }
            Self::Slot | Self::Programs => {}
            Self::Commit => context.set_state(State::Up)?,
        }
        Ok(())
    }

    fn undo(&self, context: &mut Foundation<'_>) -> Result<(), Error> {
        let slot = context.parent.slot;
        match self {
            Self::Record => {
                if let Some(id) = context.id {
                    context.session.store.delete_network(id)?;
                }
            }
            Self::Link if context.is_alone_on_parent()? => context.remove_parent()?,
            Self::Maps if context.is_alone(|_| true)? => context.session.remove_dataplane()?,
            Self::Slot if context.is_alone_on_parent()? => {
                context.forget_host()?;
                context.session.dataplane()?.unregister_slot(slot)?;
            }
            Self::Programs if context.is_alone_on_parent()? => {
                context.detach_programs()?;
            }
            Self::Link | Self::Maps | Self::Slot | Self::Programs => {}
            Self::Commit => context.set_state(State::Closing)?,
        }
        Ok(())
    }

    fn forgets(&self) -> bool {
        *self == Self::Record
    }
}

impl Foundation<'_> {
    fn set_state(&mut self, state: State) -> Result<(), Error> {
        if let Some(id) = self.id {
            self.session.store.set_network_state(id, state)?;
        }
        Ok(())
    }
}

impl Session {
    /// Makes a network. The shared maps come with the first one; `capacity` says how large.
    pub fn create_network(&mut self, spec: NetworkSpec, capacity: Option<Slot>) -> Result<(), Error> {
        let mut foundation = self.found(spec, capacity)?;
        let result = NetworkStep::plan().apply(&mut foundation);
        result.map_err(|failure| self.fail(failure))
    }

    /// Checks all that can be checked before anything is made.
    pub fn found(&mut self, mut spec: NetworkSpec, capacity: Option<Slot>) -> Result<Foundation<'_>, Error> {
        if self.store.network(spec.name.as_str())?.is_some() {
            return Err(Error::NetworkExists(spec.name.to_string()));
        }
        self.require_ipvlan()?;
        if spec.pools.is_empty() {
            spec.pools.push(Pool::new(self.free_subnet()?, None)?);
        }
        let capacity = self.agreed_capacity(capacity)?;
        let parent = match &spec.parent {
            Some(name) => self.named_parent(name, &spec, capacity)?,
            None => self.new_dummy(&spec, capacity)?,
        };
        self.check_stacked(&spec, &parent)?;
        Ok(Foundation { session: self, spec, parent, id: None, capacity })
    }

    /// What the shared maps have room for, where they exist; else what was asked for.
    fn agreed_capacity(&mut self, asked: Option<Slot>) -> Result<Slot, Error> {
        let Some(dataplane) = self.existing_dataplane()? else {
            return Ok(asked.unwrap_or(schema::CAPACITY));
        };
        let capacity = dataplane.capacity();
        match asked.filter(|asked| *asked != capacity) {
            Some(asked) => Err(Error::OtherCapacity { asked, capacity }),
            None => Ok(capacity),
        }
    }

    /// A subnet that neither a network nor the host uses.
    fn free_subnet(&self) -> Result<IpNet, Error> {
        let networks = self.store.networks()?;
        let pools = networks.iter().flat_map(|network| &network.spec.pools).map(|pool| pool.subnet);
        let taken: Vec<_> = pools.chain(self.netlink.ipv4_routes()?).collect();
        ipam::free_subnet(&taken).ok_or(Error::NoSubnet)
    }

    /// The parent that a user names: one that carries networks already, a new one, or a VLAN that has to be made.
    fn named_parent(&self, name: &IfName, spec: &NetworkSpec, capacity: Slot) -> Result<Parent, Error> {
        let Some(link) = self.netlink.link_by_name(name.as_str())? else {
            return self.new_vlan(name, spec, capacity);
        };
        let mac = check_parent(&link)?;
        check_mtu(spec, &link)?;
        let parents = self.store.parents()?;
        match parents.into_iter().find(|parent| parent.ifindex == link.index && parent.mac == mac) {
            Some(parent) => self.check_neighbours(spec, &parent).map(|()| parent),
            None => {
                // The kernel itself would refuse the first endpoint, and not the network.
                let ifindex = link.index;
                let macvlans = macvlans(link)?;
                if !macvlans.is_empty() {
                    return Err(Error::ParentBusy { parent: name.to_string(), macvlans });
                }
                self.new_parent(NewParent { ifindex, name, mac, made: None }, spec, capacity)
            }
        }
    }

    /// Whether the networks that share the parent bear another one.
    fn check_neighbours(&self, spec: &NetworkSpec, parent: &Parent) -> Result<(), Error> {
        for network in self.store.networks()?.iter().filter(|network| network.parent == parent.slot) {
            let name = network.spec.name.to_string();
            if parent.mode != spec.mode {
                return Err(Error::OtherMode {
                    parent: parent.name.to_string(),
                    mode: parent.mode,
                    network: name,
                });
            }
            if (network.spec.flag == Flag::Vepa) != (spec.flag == Flag::Vepa) {
                return Err(Error::OtherFlag {
                    parent: parent.name.to_string(),
                    network: name,
                    flag: network.spec.flag,
                });
            }
            if let Some(asked) = spec.xdp.filter(|asked| *asked != parent.xdp) {
                return Err(Error::OtherXdp {
                    parent: parent.name.to_string(),
                    network: name,
                    xdp: parent.xdp,
                    asked,
                });
            }
            if let Some((subnet, other)) = spec.overlap(&network.spec) {
                let place = "the same parent".into();
                return Err(Error::Overlap { subnet, other, network: name, place });
            }
        }
        Ok(())
    }

    /// A parent that carries no network yet.
    pub(super) fn new_parent(
        &self,
        new: NewParent<'_>,
        spec: &NetworkSpec,
        capacity: Slot,
    ) -> Result<Parent, Error> {
        let NewParent { ifindex, name, mac, made } = new;
        // A parent of that name with another index went away; its networks hold its name.
        if let Some(stale) = self.store.networks()?.into_iter().find(|network| network.parent_name == *name) {
            return Err(Error::ParentGone { parent: name.to_string(), network: stale.spec.name.to_string() });
        }
        Ok(Parent {
            slot: self.free_slot(capacity)?,
            key: rand::random(),
            ifindex,
            name: name.clone(),
            mac,
            mode: spec.mode,
            xdp: spec.xdp.unwrap_or(Xdp::Off),
            made_qdisc: false,
            has_xdp: false,
            made,
            host_addresses: BTreeSet::new(),
        })
    }

    /// Removes a network; with `force` its endpoints before it, else it must have none. Returns what could not be removed; then its
    /// record stays for the next try.
    pub fn remove_network(&mut self, name: &str, force: bool) -> Result<Vec<Error>, Error> {
        let network = match self.store.network(name)? {
            Some(network) => network,
            None if self.was_cleared(name) => return Ok(Vec::new()),
            None => return Err(Error::NoNetwork(name.to_owned())),
        };
        if let Some(owner) = network.spec.owner.clone().filter(|_| !force) {
            return Err(Error::Owned { network: name.to_owned(), owner });
        }
        let mut endpoints = self.store.endpoints()?;
        endpoints.retain(|endpoint| endpoint.network == network.id);
        if !force && !endpoints.is_empty() {
            let endpoints = endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
            return Err(Error::NetworkInUse { network: name.to_owned(), endpoints });
        }
        let (mut left, total) = (Vec::new(), endpoints.len());
        for (done, endpoint) in endpoints.into_iter().enumerate() {
            progress::note("detach", done, total, format!("endpoint {}", endpoint.name));
            left.extend(self.tear_down_endpoint(endpoint)?);
        }
        if left.is_empty() { self.tear_down_network(network) } else { Ok(left) }
    }

    pub(super) fn tear_down_network(&mut self, network: Network) -> Result<Vec<Error>, Error> {
        Ok(NetworkStep::plan().undo(&mut self.foundation(network)?))
    }

    /// A network that exists.
    pub(super) fn foundation(&mut self, network: Network) -> Result<Foundation<'_>, Error> {
        let parent = self.parent(&network)?;
        let capacity = self.store.capacity()?;
        Ok(Foundation { session: self, spec: network.spec, parent, id: Some(network.id), capacity })
    }

    pub(super) fn parent(&self, network: &Network) -> Result<Parent, Error> {
        let parents = self.store.parents()?;
        // The store's foreign key holds it; a row missing is a store changed by hand.
        parents.into_iter().find(|parent| parent.slot == network.parent).ok_or_else(|| Error::NoParent {
            parent: network.parent_name.to_string(),
            candidates: Vec::new(),
        })
    }
}

/// A parent that is to carry its first network.
#[derive(Clone, Copy)]
pub(super) struct NewParent<'a> {
    pub(super) ifindex: u32,
    pub(super) name: &'a IfName,
    pub(super) mac: [u8; 6],
    pub(super) made: Option<Made>,
}

/// Endpoints can't have a larger MTU than what carries them.
pub(super) fn check_mtu(spec: &NetworkSpec, link: &Link) -> Result<(), Error> {
    match spec.mtu.filter(|mtu| *mtu > link.mtu) {
        Some(mtu) => Err(Error::MtuTooLarge { mtu, parent: link.name.clone(), parent_mtu: link.mtu }),
        None => Ok(()),
    }
}

/// Whether an interface can carry slaves; if so, its MAC address.
pub(super) fn check_parent(link: &Link) -> Result<[u8; 6], Error> {
    let refuse = |why: String| Err(Error::NotAParent { parent: link.name.clone(), why });
    if link.loopback {
        return Err(crate::model::Invalid::Loopback.into());
    }
    if link.is_slave() {
        return refuse("it is an ipvlan slave itself".into());
    }
    // A port's master receives all its frames; a VRF is the exception, it only routes.
    if let Some(master) = link.port_of.as_ref().filter(|kind| *kind != "vrf") {
        return refuse(format!("it is a port of a {master}"));
    }
    link.mac.map_or_else(|| refuse("it has no Ethernet address".into()), Ok)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::service) fn link() -> Link {
        Link {
            index: 2,
            name: "eth0".into(),
            kind: String::new(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            lower: None,
            port_of: None,
            mtu: 1500,
            loopback: false,
        }
    }

    #[test]
    fn parents() {
        assert!(check_parent(&link()).is_ok());
        assert!(check_parent(&Link { port_of: Some("vrf".into()), ..link() }).is_ok());
        for (link, message) in [
            (Link { loopback: true, ..link() }, "loopback interface is not a valid ipvlan parent link"),
            (
                Link { kind: "ipvlan".into(), ..link() },
                "eth0 can't be a parent: it is an ipvlan slave itself",
            ),
            (
                Link { port_of: Some("bridge".into()), ..link() },
                "eth0 can't be a parent: it is a port of a bridge",
            ),
            (Link { mac: None, ..link() }, "eth0 can't be a parent: it has no Ethernet address"),
        ] {
            assert_eq!(check_parent(&link).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_record_is_first_to_come_and_last_to_go() {
        let names = NetworkStep::plan().names::<Foundation<'_>>();
        assert_eq!(names, ["record", "link", "maps", "slot", "programs", "commit"]);
        assert!(<NetworkStep as Step<Foundation<'_>>>::forgets(&NetworkStep::Record));
    }
}
