//! Parents that we make: VLANs of an interface, and dummies for networks without one.

use nix::errno::Errno;

use super::{
    Error, Foundation, Session,
    attach::IFINDEXES,
    network::{NewParent, check_mtu, check_parent},
    parent::device,
};
use crate::{
    model::{IfName, Made, Network, NetworkSpec, Parent, Slot, Vlan},
    netlink::Link,
};

impl Foundation<'_> {
    /// Makes the parent where it is ours and isn't there, and brings it up.
    pub(super) fn make_parent(&self) -> Result<(), Error> {
        let (Parent { ifindex, name, mac, made, .. }, netlink) = (&self.parent, &self.session.netlink);
        let Some(made) = made else { return Ok(()) };
        if device(netlink, &self.parent)?.is_none() {
            match made {
                Made::Dummy => netlink.add_dummy(name.as_str(), *ifindex, *mac, self.spec.mtu)?,
                Made::Vlan => {
                    let (vlan, base) = self.session.vlan(name)?;
                    netlink.add_vlan(name.as_str(), *ifindex, base.index, vlan.id, *mac)?;
                }
            }
        }
        let Some(link) = device(netlink, &self.parent)? else { return Err(self.gone()) };
        netlink.set_up(link.index).map_err(|error| {
            let parent = name.to_string();
            if error.is(Errno::ENETDOWN) { Error::BaseDown { parent } } else { error.into() }
        })
    }

    /// Removes the parent where it is ours.
    pub(super) fn remove_parent(&self) -> Result<(), Error> {
        let Some(made) = self.parent.made else { return Ok(()) };
        let netlink = &self.session.netlink;
        match device(netlink, &self.parent)?.filter(|link| link.kind == made.as_str()) {
            Some(link) => Ok(netlink.delete_link(link.index)?),
            None => Ok(()),
        }
    }
}

impl Session {
    pub(super) fn new_dummy(&self, spec: &NetworkSpec, capacity: Slot) -> Result<Parent, Error> {
        let mut mac: [u8; 6] = rand::random();
        let name = IfName::parse(&format!("di-{}", mac.map(|byte| format!("{byte:02x}")).concat()))?;
        // Unicast, and locally administered.
        mac[0] = mac[0] & !1 | 2;
        let new =
            NewParent { ifindex: rand::random_range(IFINDEXES), name: &name, mac, made: Some(Made::Dummy) };
        self.new_parent(new, spec, capacity)
    }

    pub(super) fn new_vlan(
        &self,
        name: &IfName,
        spec: &NetworkSpec,
        capacity: Slot,
    ) -> Result<Parent, Error> {
        let (_, base) = self.vlan(name)?;
        let mac = check_parent(&base)?;
        check_mtu(spec, &base)?;
        let new = NewParent { ifindex: rand::random_range(IFINDEXES), name, mac, made: Some(Made::Vlan) };
        self.new_parent(new, spec, capacity)
    }

    /// The VLAN that a missing parent's name stands for, and the interface that it lies on.
    fn vlan(&self, name: &IfName) -> Result<(Vlan, Link), Error> {
        let Some(vlan) = Vlan::parse(name)? else {
            let links = self.netlink.links()?;
            let candidates = links.into_iter().filter(|link| check_parent(link).is_ok());
            return Err(Error::NoParent {
                parent: name.to_string(),
                candidates: candidates.map(|link| link.name).collect(),
            });
        };
        match self.netlink.link_by_name(vlan.base.as_str())? {
            Some(base) => Ok((vlan, base)),
            None => Err(Error::NoVlanBase { parent: name.to_string(), base: vlan.base.to_string() }),
        }
    }

    /// Makes parents of ours that are gone, as all are after a reboot, and that `networks` are on.
    pub(super) fn remake_parents(&mut self, networks: &[Network]) -> Result<(), Error> {
        for parent in self.store.parents()?.into_iter().filter(|parent| parent.made.is_some()) {
            let Some(network) = networks.iter().find(|network| network.parent == parent.slot) else {
                continue;
            };
            if device(&self.netlink, &parent)?.is_some() {
                continue;
            }
            self.store.set_parent_ifindexes(&[(parent.slot, Some(rand::random_range(IFINDEXES)))])?;
            match self.foundation(network.clone())?.make_parent() {
                Ok(()) => self.warn(format!("parent {} was gone, and was made again", parent.name)),
                Err(error) => self.warn(format!("making parent {} again: {error}", parent.name)),
            }
        }
        Ok(())
    }
}
