//! Parents: found again, enforced, and mended where something has happened to them.

use tracing::debug;

use super::{Attachment, EndpointStep, Error, Foundation, Root, Session, Step as _, progress};
use crate::{
    bpf::{self, Dataplane, LOOPBACK},
    model::{Endpoint, Network, Parent, Slot, State, Xdp},
    netlink::{Link, Netlink},
    store::Store,
};

/// The interface that a parent is now: the one with its number, else the one with its name, if it was removed and came back. Either
/// has its MAC, or it is another one.
pub(super) fn device(netlink: &Netlink, parent: &Parent) -> Result<Option<Link>, Error> {
    let is_it = |link: &Link| link.mac == Some(parent.mac);
    match netlink.link_by_index(parent.ifindex)?.filter(is_it) {
        Some(link) => Ok(Some(link)),
        None => Ok(netlink.link_by_name(parent.name.as_str())?.filter(is_it)),
    }
}

impl Foundation<'_> {
    pub(super) fn gone(&self) -> Error {
        Error::ParentGone { parent: self.parent.name.to_string(), network: self.spec.name.to_string() }
    }

    /// Puts this version's programs on the parent, or swaps them there.
    pub(super) fn attach_programs(&mut self) -> Result<(), Error> {
        let device = device(&self.session.netlink, &self.parent)?.ok_or_else(|| self.gone())?;
        // Noted before it is made: nobody else would take it away again.
        if bpf::lacks_clsact(&device.name)? {
            self.session.store.set_made_qdisc(self.parent.slot, true)?;
            self.parent.made_qdisc = true;
        }
        if bpf::lacks_clsact(LOOPBACK)? {
            self.session.store.set_made_loopback_qdisc(true)?;
        }
        let identity = self.identity();
        self.session.dataplane()?.attach_parent(&identity, &device.name)?;
        self.attach_xdp(&device.name)
    }

    /// Where the driver has no XDP, `auto` leaves it at tc, which judges all that XDP would.
    fn attach_xdp(&mut self, ifname: &str) -> Result<(), Error> {
        let (setting, identity) = (self.parent.xdp, self.identity());
        if setting == Xdp::Off {
            return Ok(());
        }
        match self.session.dataplane()?.attach_xdp(&identity, ifname, setting == Xdp::Generic) {
            Ok(()) => Ok(self.session.store.set_has_xdp(identity.slot)?),
            Err(error) if setting == Xdp::Auto => {
                self.session.warn(format!("{error}; what the wire sends is judged at tc alone"));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the programs off the parent, which may have another name now, and the qdiscs that we made for them.
    pub(super) fn detach_programs(&mut self) -> Result<(), Error> {
        let Parent { slot, made_qdisc, .. } = self.parent;
        let device = device(&self.session.netlink, &self.parent)?;
        let ifname = device.as_ref().map(|device| device.name.as_str());
        self.session.dataplane()?.detach_parent(slot, ifname)?;
        if let Some(ifname) = ifname.filter(|_| made_qdisc) {
            bpf::remove_unused_clsact(ifname)?;
        }
        if self.session.store.made_loopback_qdisc()? && bpf::remove_unused_clsact(LOOPBACK)? {
            self.session.store.set_made_loopback_qdisc(false)?;
        }
        Ok(())
    }
}

impl Session {
    /// Refuses a parent that is gone, or that doesn't have its programs.
    pub(super) fn check_parent(&mut self, parent: &Parent, network: &str) -> Result<&Dataplane, Error> {
        let (name, network) = (parent.name.to_string(), network.to_owned());
        let Some(device) = device(&self.netlink, parent)? else {
            return Err(Error::ParentGone { parent: name, network });
        };
        match self.existing_dataplane()? {
            Some(dataplane) if dataplane.parent_is_enforced(parent.slot, device.index)? => Ok(dataplane),
            _ => Err(Error::NotEnforced { parent: name, network }),
        }
    }

    /// Brings the kernel's side back where it was lost: by a reboot, with the pins, or with a parent that was removed and has come
    /// back. What can't be brought back is a warning, and is checked again by whoever needs it.
    pub(super) fn restore(&mut self) -> Result<(), Error> {
        if check_pins(&self.store, &self.root)? {
            self.store.set_pin_dir(self.root.pin_dir())?;
        }
        self.store.note_boot(&boot_id())?;
        // Programs are put back where a slave is now.
        self.settle()?;
        let networks: Vec<_> =
            self.store.networks()?.into_iter().filter(|network| network.state == State::Up).collect();
        if networks.is_empty() {
            return Ok(());
        }
        self.remake_parents(&networks)?;
        let parents = self.find_parents()?;
        let maps_lost = self.existing_dataplane()?.is_none() || self.store.is_restoring()?;
        if maps_lost {
            // Noted before there are maps: who comes after a kill finds some, and can't tell that they lack entries.
            self.store.set_restoring(true)?;
            self.restore_entries(&networks)?;
        }
        // A parent that is gone takes its slaves along; there is nothing to enforce until it is back.
        for (slot, ifindex) in parents {
            let Some(network) = networks.iter().find(|network| network.parent == slot) else {
                continue;
            };
            let name = &network.parent_name;
            match self.foundation(network.clone())?.mend(ifindex, maps_lost) {
                Ok(true) => {
                    debug!(parent = %name, "repair: programs put back");
                    self.warn(format!("the programs of parent {name} were gone, and are back"));
                }
                Ok(false) => {}
                Err(error) => self.warn(format!("putting the programs of parent {name} back: {error}")),
            }
            if let Err(error) = self.foundation(network.clone())?.follow_host(ifindex) {
                self.warn(format!("noting the host's addresses on parent {name}: {error}"));
            }
        }
        if maps_lost {
            self.for_each_slave("programs", |attachment| EndpointStep::Programs.apply(attachment))?;
            self.store.set_restoring(false)?;
        }
        Ok(())
    }

    /// Notes which interfaces the parents are now; returns those that are there.
    fn find_parents(&mut self) -> Result<Vec<(Slot, u32)>, Error> {
        let (mut moved, mut there) = (Vec::new(), Vec::new());
        for parent in self.store.parents()? {
            let index = device(&self.netlink, &parent)?.map(|device| device.index);
            if index != Some(parent.ifindex) {
                moved.push((parent.slot, index));
            }
            there.extend(index.map(|index| (parent.slot, index)));
        }
        self.store.set_parent_ifindexes(&moved)?;
        Ok(there)
    }

    /// Tells new maps of everybody, before any program works with them: whoever they don't know passes for the host in some modes.
    fn restore_entries(&mut self, networks: &[Network]) -> Result<(), Error> {
        for network in networks {
            self.foundation(network.clone())?.register()?;
        }
        self.for_each_slave("entries", |attachment| {
            // `lo` takes an endpoint whose addresses it doesn't know for another parent's.
            EndpointStep::Addresses.apply(attachment)?;
            EndpointStep::Slot.apply(attachment)
        })
    }

    /// Puts `what` of every endpoint back that has a slave; the others are for the repair, or for their users.
    fn for_each_slave(
        &mut self,
        what: &str,
        restore: impl Fn(&mut Attachment<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut endpoints = self.store.endpoints()?;
        endpoints.retain(Endpoint::is_complete);
        let total = endpoints.len();
        for (done, endpoint) in endpoints.into_iter().enumerate() {
            let name = endpoint.name.clone();
            progress::note("put back", done, total, format!("{what} of endpoint {name}"));
            let mut attachment = self.attachment(endpoint)?;
            if let Ok(Err(error)) = attachment.slave_anywhere().map(|_slave| restore(&mut attachment)) {
                self.warn(format!("putting the {what} of endpoint '{name}' back: {error}"));
            }
        }
        Ok(())
    }
}

impl Foundation<'_> {
    /// Puts back what is missing; returns whether anything was.
    fn mend(&mut self, ifindex: u32, maps_lost: bool) -> Result<bool, Error> {
        if !maps_lost && self.session.dataplane()?.parent_is_enforced(self.parent.slot, ifindex)? {
            return Ok(false);
        }
        self.attach_programs().map(|()| true)
    }

    /// Makes the parent known to all programs.
    pub(super) fn register(&mut self) -> Result<(), Error> {
        let (slot, entry) = (self.parent.slot, self.identity().entry());
        Ok(self.session.dataplane()?.register_slot(slot, entry)?)
    }
}

/// Whether the pin directory has to be noted. Networks work with the pins that they were made with, and with no others.
pub(super) fn check_pins(store: &Store, root: &Root) -> Result<bool, Error> {
    match store.pin_dir()? {
        Some(pin_dir) if pin_dir == root.pin_dir() => Ok(false),
        Some(pin_dir) if !store.networks()?.is_empty() => Err(Error::OtherPins { pin_dir }),
        _ => Ok(true),
    }
}

/// What tells this boot from all others.
pub(super) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
