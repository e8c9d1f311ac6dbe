//! What the maps and the pins hold, whoever put it there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipvlan_common::{
    Slot, SlotEntry,
    schema::{IPV4_MAP, IPV6_MAP, SLOT_MAP},
};

use super::{BpfError, Dataplane, tables::map};

impl Dataplane {
    /// The slots that verifying programs know, and what they know of them.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn slots(&self) -> Result<BTreeMap<Slot, SlotEntry>, BpfError> {
        let mut slots = BTreeMap::new();
        for (slot, entry) in (0..=self.capacity()).zip(self.tables.slots.iter()) {
            let entry = entry.map_err(map(SLOT_MAP, "read"))?;
            if entry != SlotEntry::default() {
                slots.insert(slot, entry);
            }
        }
        Ok(slots)
    }

    /// The addresses that are somebody's: parent and address, and whose.
    ///
    /// # Errors
    /// Where a map refuses.
    pub fn addresses(&self) -> Result<BTreeMap<(Slot, IpAddr), Slot>, BpfError> {
        let mut addresses = BTreeMap::new();
        for entry in &self.tables.ipv4 {
            let (key, slot) = entry.map_err(map(IPV4_MAP, "read"))?;
            addresses.insert((key.parent, Ipv4Addr::from(key.address).into()), slot);
        }
        for entry in &self.tables.ipv6 {
            let (key, slot) = entry.map_err(map(IPV6_MAP, "read"))?;
            addresses.insert((key.parent, Ipv6Addr::from(key.address).into()), slot);
        }
        Ok(addresses)
    }

    /// The slots that links are pinned for.
    #[must_use]
    pub fn pinned_slots(&self) -> BTreeSet<Slot> {
        self.pins.link_slots()
    }

    /// Removes every link that is pinned for `slot`; the programs go with them.
    ///
    /// # Errors
    /// Where the BPF file system refuses.
    pub fn unpin_slot(&self, slot: Slot) -> Result<(), BpfError> {
        self.pins.unpin_slot(slot)
    }
}
