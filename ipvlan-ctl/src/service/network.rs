//! Networks: made on a parent, which they share.

use ipvlan_common::schema;

use super::{Error, Plan, Session, Step};
use crate::{
    bpf::{Dataplane, ParentIdentity},
    model::{Flag, IfName, Network, NetworkSpec, Parent, Slot, State, Xdp},
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
        Plan::new(vec![Self::Record, Self::Maps, Self::Slot, Self::Programs, Self::Commit])
    }
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
        let Parent { slot, key, mac, .. } = self.parent;
        ParentIdentity { slot, key, mac, vepa: self.spec.flag == Flag::Vepa }
    }
}

impl Step<Foundation<'_>> for NetworkStep {
    fn name(&self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Maps => "maps",
            Self::Slot => "slot",
            Self::Programs => "programs",
            Self::Commit => "commit",
        }
    }

    fn apply(&self, context: &mut Foundation<'_>) -> Result<(), Error> {
        let slot = context.parent.slot;
        match self {
            Self::Record => {
                context.session.store.set_capacity(context.capacity)?;
                let network = context.session.store.insert_network(&context.spec, &context.parent)?;
                context.id = Some(network.id);
            }
            Self::Maps => {
                context.session.dataplane()?;
            }
            Self::Slot if context.is_alone_on_parent()? => {
                let entry = context.identity().entry();
                context.session.dataplane()?.register_slot(slot, entry)?;
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
            Self::Maps if context.is_alone(|_| true)? => context.session.remove_dataplane()?,
            Self::Slot if context.is_alone_on_parent()? => {
                context.session.dataplane()?.unregister_slot(slot)?;
            }
            Self::Programs if context.is_alone_on_parent()? => {
                context.detach_programs()?;
            }
            Self::Maps | Self::Slot | Self::Programs => {}
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
    pub fn found(&mut self, spec: NetworkSpec, capacity: Option<Slot>) -> Result<Foundation<'_>, Error> {
        if self.store.network(spec.name.as_str())?.is_some() {
            return Err(Error::NetworkExists(spec.name.to_string()));
        }
        self.require_ipvlan()?;
        let link = self.parent_link(&spec.parent)?;
        let mac = check_parent(&link)?;
        if let Some(mtu) = spec.mtu.filter(|mtu| *mtu > link.mtu) {
            return Err(Error::MtuTooLarge { mtu, parent: link.name, parent_mtu: link.mtu });
        }
        let capacity = self.agreed_capacity(capacity)?;
        let parent = match self
            .store
            .parents()?
            .into_iter()
            .find(|parent| parent.ifindex == link.index && parent.mac == mac)
        {
            Some(parent) => {
                self.check_neighbours(&spec, &parent)?;
                parent
            }
            None => self.new_parent(&link, mac, &spec, capacity)?,
        };
        Ok(Foundation { session: self, spec, parent, id: None, capacity })
    }

    /// What the shared maps have room for, where they exist; else what was asked for.
    fn agreed_capacity(&self, asked: Option<Slot>) -> Result<Slot, Error> {
        let Some(dataplane) = Dataplane::open(self.root.pin_dir())? else {
            return Ok(asked.unwrap_or(schema::CAPACITY));
        };
        let capacity = dataplane.capacity();
        match asked.filter(|asked| *asked != capacity) {
            Some(asked) => Err(Error::OtherCapacity { asked, capacity }),
            None => Ok(capacity),
        }
    }

    fn parent_link(&self, name: &IfName) -> Result<Link, Error> {
        let found = self.netlink.link_by_name(name.as_str())?;
        found.map_or_else(
            || {
                let links = self.netlink.links()?;
                let candidates = links.into_iter().filter(|link| check_parent(link).is_ok());
                Err(Error::NoParent {
                    parent: name.to_string(),
                    candidates: candidates.map(|link| link.name).collect(),
                })
            },
            Ok,
        )
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
                return Err(Error::Overlap { subnet, other, network: name });
            }
        }
        Ok(())
    }

    fn new_parent(
        &self,
        link: &Link,
        mac: [u8; 6],
        spec: &NetworkSpec,
        capacity: Slot,
    ) -> Result<Parent, Error> {
        // A parent of that name with another index went away; its networks hold its name.
        let stale =
            self.store.networks()?.into_iter().find(|network| network.spec.parent.as_str() == link.name);
        if let Some(stale) = stale {
            return Err(Error::ParentGone {
                parent: link.name.clone(),
                network: stale.spec.name.to_string(),
            });
        }
        Ok(Parent {
            slot: self.free_slot(capacity)?,
            key: rand::random(),
            ifindex: link.index,
            name: IfName::parse(&link.name)?,
            mac,
            mode: spec.mode,
            xdp: spec.xdp.unwrap_or(Xdp::Off),
            made_qdisc: false,
        })
    }

    /// Removes a network that no endpoint uses. Returns what could not be removed; then its record stays for the next
    /// try.
    pub fn remove_network(&mut self, name: &str) -> Result<Vec<Error>, Error> {
        let network = match self.store.network(name)? {
            Some(network) => network,
            None if self.was_cleared(name) => return Ok(Vec::new()),
            None => return Err(Error::NoNetwork(name.to_owned())),
        };
        let endpoints: Vec<_> = self
            .store
            .endpoints()?
            .into_iter()
            .filter(|endpoint| endpoint.network == network.id)
            .map(|endpoint| endpoint.name.to_string())
            .collect();
        if !endpoints.is_empty() {
            return Err(Error::NetworkInUse { network: name.to_owned(), endpoints });
        }
        self.tear_down_network(network)
    }

    /// The network called `name`, to take it back step by step.
    pub fn network_to_remove(&mut self, name: &str) -> Result<Foundation<'_>, Error> {
        let network = self.store.network(name)?.ok_or_else(|| Error::NoNetwork(name.to_owned()))?;
        self.foundation(network)
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
            parent: network.spec.parent.to_string(),
            candidates: Vec::new(),
        })
    }
}

/// Whether an interface can carry slaves; if so, its MAC address.
fn check_parent(link: &Link) -> Result<[u8; 6], Error> {
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
mod tests {
    use super::*;

    fn link() -> Link {
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
        assert_eq!(names, ["record", "maps", "slot", "programs", "commit"]);
        assert!(<NetworkStep as Step<Foundation<'_>>>::forgets(&NetworkStep::Record));
    }
}
