//! The host's own addresses on its parents: the wire may not speak to endpoints in their name.

use std::{collections::BTreeSet, mem, net::IpAddr};

use super::{Error, Foundation};

impl Foundation<'_> {
    /// Has the maps know the addresses that the host has on the parent, interface number `ifindex`, and no others of its.
    pub(super) fn follow_host(&mut self, ifindex: u32) -> Result<(), Error> {
        let now: BTreeSet<_> = self.session.netlink.addresses(ifindex)?.into_iter().collect();
        let known = mem::take(&mut self.parent.host_addresses);
        let slot = self.parent.slot;
        let dataplane = self.session.dataplane()?;
        let (mut missing, mut gone) = (Vec::new(), Vec::new());
        for address in known.union(&now) {
            // An endpoint's stays the endpoint's.
            match (dataplane.holder(slot, *address)?, now.contains(address)) {
                (None, true) => missing.push(*address),
                (Some(holder), false) if holder == slot => gone.push(*address),
                _ => {}
            }
        }
        if !missing.is_empty() {
            // Before the maps have them: nobody else would take them away again.
            self.note_host(known.union(&now).copied().collect())?;
        }
        let dataplane = self.session.dataplane()?;
        for address in gone {
            dataplane.remove_address(slot, address)?;
        }
        for address in missing {
            dataplane.add_address(slot, address, slot)?;
        }
        if known == now {
            self.parent.host_addresses = now;
            return Ok(());
        }
        self.note_host(now)
    }

    /// Has the maps know none of them.
    pub(super) fn forget_host(&mut self) -> Result<(), Error> {
        let slot = self.parent.slot;
        let dataplane = self.session.dataplane()?;
        for address in &self.parent.host_addresses {
            if dataplane.holder(slot, *address)? == Some(slot) {
                dataplane.remove_address(slot, *address)?;
            }
        }
        self.note_host(BTreeSet::new())
    }

    fn note_host(&mut self, addresses: BTreeSet<IpAddr>) -> Result<(), Error> {
        self.session.store.set_host_addresses(self.parent.slot, &addresses)?;
        self.parent.host_addresses = addresses;
        Ok(())
    }
}
