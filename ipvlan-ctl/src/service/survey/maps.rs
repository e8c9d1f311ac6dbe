//! Where the maps and the pins differ from the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipvlan_common::SlotEntry;

use super::{CLEAR_AWAY, Finding, Kind, Mend, PUT_ENTRIES_BACK, named};
use crate::{
    bpf::Dataplane,
    model::{Network, Parent, Slot, State},
    netlink::Netlink,
    service::{Error, Report, endpoint, network, parent::device},
};

impl Report {
    pub(super) fn survey_slots(
        &self,
        dataplane: &Dataplane,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let slots = dataplane.slots()?;
        for (slot, due, object, mend) in self.due_entries() {
            let found = match slots.get(&slot) {
                Some(entry) if *entry == due => continue,
                Some(entry) if entry.key == due.key => {
                    "the maps have another network, address or setting for it"
                }
                _ => "the maps don't know it, so what it sends is dropped",
            };
            findings.push(Finding::new(Kind::EntryMissing, object, found, PUT_ENTRIES_BACK, mend));
        }
        for slot in slots.into_keys().filter(|slot| !self.has_owner(*slot)) {
            let (found, mend) = ("the maps have it, and nobody has its slot", Mend::DropSlot(slot));
            findings.push(Finding::new(Kind::StrayEntry, named("slot", slot), found, CLEAR_AWAY, mend));
        }
        Ok(())
    }

    /// What the maps have to know of parents and endpoints.
    fn due_entries(&self) -> impl Iterator<Item = (Slot, SlotEntry, String, Mend)> {
        let up = |network: &&Network| network.state == State::Up;
        let parents = self.parents.iter().filter_map(move |parent| {
            let network = self.networks.iter().filter(up).find(|network| network.parent == parent.slot)?;
            let due = network::identity(parent, &network.spec).entry();
            Some((parent.slot, due, named("parent", &parent.name), Mend::ParentEntry(parent.slot)))
        });
        let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.is_complete());
        parents.chain(endpoints.filter_map(|endpoint| {
            let network = self.networks.iter().find(|network| network.id == endpoint.network)?;
            let due = endpoint::identity(endpoint, network, self.parent(endpoint.parent)?).entry();
            Some((endpoint.slot, due, named("endpoint", &endpoint.name), Mend::Entries(endpoint.slot)))
        }))
    }

    pub(super) fn survey_addresses(
        &self,
        dataplane: &Dataplane,
        netlink: &Netlink,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let mut kept = dataplane.addresses()?;
        for endpoint in &self.endpoints {
            for address in endpoint.addresses.iter() {
                let slot = kept.remove(&(endpoint.parent, address));
                if endpoint.is_complete() && slot != Some(endpoint.slot) {
                    let object = named("endpoint", &endpoint.name);
                    let found = format!("the maps don't know its address {address}");
                    let mend = Mend::Entries(endpoint.slot);
                    findings.push(Finding::new(Kind::EntryMissing, object, found, PUT_ENTRIES_BACK, mend));
                }
            }
        }
        for parent in &self.parents {
            if self.is_in_use(parent.slot) {
                self.survey_host(parent, netlink, &mut kept, findings)?;
            } else {
                // Half made; the host's addresses go with it.
                kept.retain(|_, slot| *slot != parent.slot);
            }
        }
        for (parent, address) in kept.into_keys() {
            let (found, mend) = ("the maps have it, and nobody has it", Mend::DropAddress(parent, address));
            findings.push(Finding::new(Kind::StrayEntry, named("address", address), found, CLEAR_AWAY, mend));
        }
        Ok(())
    }

    /// Takes the host's addresses out of what the maps have.
    fn survey_host(
        &self,
        parent: &Parent,
        netlink: &Netlink,
        kept: &mut BTreeMap<(Slot, IpAddr), Slot>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let Some(device) = device(netlink, parent)? else {
            // Nothing comes in there; whatever it comes back with, the maps follow then.
            kept.retain(|_, slot| *slot != parent.slot);
            return Ok(());
        };
        let now: BTreeSet<_> = netlink.addresses(device.index)?.into_iter().collect();
        let is_hosts = |(key, slot): (&(Slot, IpAddr), &Slot)| (*slot == parent.slot).then_some(key.1);
        let known: BTreeSet<_> = kept.iter().filter_map(is_hosts).collect();
        kept.retain(|_, slot| *slot != parent.slot);
        let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.parent == parent.slot);
        let theirs: BTreeSet<_> = endpoints.flat_map(|endpoint| endpoint.addresses.iter()).collect();
        let missing = now.difference(&known).filter(|address| !theirs.contains(address));
        let missing =
            missing.map(|address| format!("the host has {address} on it, which the maps don't know"));
        let stale = known.difference(&now);
        let stale =
            stale.map(|address| format!("the maps have {address} as the host's, which it no longer has"));
        findings.extend(missing.chain(stale).map(|found| {
            let object = named("parent", &parent.name);
            Finding::new(
                Kind::HostAddress,
                object,
                found,
                "follow the host, as 'serve' does while it runs",
                Mend::Begin,
            )
        }));
        Ok(())
    }

    pub(super) fn survey_pins(
        &self,
        dataplane: &Dataplane,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let mut alive = false;
        for slot in dataplane.pinned_slots().into_iter().filter(|slot| !self.has_owner(*slot)) {
            let object = named("pins of slot", slot);
            // Taken off a slave that lives on, they would set it free.
            let finding = if let Some(ifindex) = dataplane.endpoint_device(slot)? {
                alive = true;
                let found = format!("they confine interface number {ifindex}, which is no endpoint's");
                let action = "delete that interface, or end what holds its namespace";
                Finding::new(Kind::StrayPin, object, found, action, Mend::Not)
            } else {
                Finding::new(Kind::StrayPin, object, "nobody has its slot", CLEAR_AWAY, Mend::DropPins(slot))
            };
            findings.push(finding);
        }
        if self.networks.is_empty() && !alive {
            let (object, found) = ("the maps".to_owned(), "they are pinned, and there is no network");
            findings.push(Finding::new(Kind::StrayMaps, object, found, CLEAR_AWAY, Mend::DropMaps));
        }
        Ok(())
    }
}
