//! One parent and its endpoints: the same as in the rows that the programs are tested by, which hold this one against theirs.

use std::{ops::RangeInclusive, sync::LazyLock};

use ipvlan_common::{
    Identity, Slot, SlotEntry,
    packet::Frame,
    seal::{Behalf, seal, seal_for},
    tables::Tables,
    types::{
        ASK_ALL, HOST_ACCESS, INTERNAL, Key, L3, L3S, MULTICAST_LOCAL, MULTICAST_OFF, Mac, PRIVATE, ROUTES,
        SNAT, VEPA, WIRE,
    },
};

/// The parent's MAC, and so every slave's.
pub const MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The first slot: the parent's.
pub const FIRST: Slot = 1;
/// The host's own address, which the tables have in the parent's name.
const HOST: [u8; 4] = [192, 168, 1, 250];
/// Its IPv6 address.
const HOST6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 250];
/// The last slot.
pub const LAST: Slot = 28;
/// Those who may speak with the host.
const GRANTED: RangeInclusive<Slot> = 23..=LAST;
/// The parent, if its networks had the flag vepa; in no table.
const VEPA_PARENT: Slot = 16;
/// An endpoint without IPv6.
const ONLY4: Slot = 9;
/// One without IPv4.
const ONLY6: Slot = 19;
/// One that may send one broadcast a second.
const SLOW: Slot = 17;

/// Networks from 1 on: who is in them, and what they are.
const NETWORKS: [(&[Slot], u32); 14] = [
    (&[2, 3, ONLY4, ONLY6, 23], 0),
    (&[4], 0),
    (&[5, 6, 24], INTERNAL),
    (&[7, 8], PRIVATE),
    (&[10, 25], L3),
    (&[11, 12, 28], L3 | INTERNAL),
    (&[13, 26], L3 | L3S),
    (&[14], MULTICAST_OFF),
    (&[15], MULTICAST_LOCAL),
    (&[SLOW], 0),
    (&[18], L3 | L3S | INTERNAL),
    (&[20], L3 | MULTICAST_OFF),
    (&[21, 27], ASK_ALL),
    (&[22], L3 | SNAT),
];

static ENTRIES: LazyLock<Vec<SlotEntry>> = LazyLock::new(|| (0..=LAST).map(entry).collect());

/// The secret that `slot` seals with.
fn key(slot: Slot) -> Key {
    [0x5ea1_0000_0000_0000 + u64::from(slot), !u64::from(slot)]
}

/// The seal of `sender` on `frame`; `None` where it is too short for one.
pub(crate) fn seal_of(sender: &SlotEntry, frame: &[u8]) -> Option<u32> {
    Frame::parse(frame).ok().map(|frame| seal(&frame, sender))
}

/// The seal of the host's frame to an endpoint of `parent`; `None` where it is too short for one.
pub(crate) fn seal_of_host(parent: &SlotEntry, frame: &[u8]) -> Option<u32> {
    Frame::parse(frame).ok().map(|frame| seal_for(Behalf::Host, &frame, parent))
}

/// The flags that a byte of the input turns round: the first eight, but what makes a parent of an endpoint, in whose place is that the
/// host routes for the parent.
pub(crate) fn flips(byte: u8) -> u32 {
    let byte = u32::from(byte);
    byte & !WIRE | if byte & WIRE != 0 { ROUTES } else { 0 }
}

fn entry(slot: Slot) -> SlotEntry {
    if slot == FIRST {
        return SlotEntry { key: key(slot), flags: WIRE, ..SlotEntry::default() };
    }
    let networks = (1..).zip(NETWORKS);
    let Some((network, (_, flags))) = networks.into_iter().find(|(_, (slots, _))| slots.contains(&slot))
    else {
        return SlotEntry::default();
    };
    let flags = flags | if GRANTED.contains(&slot) { HOST_ACCESS } else { 0 };
    let host = 100 + slot as u8;
    let ipv6 = |prefix: u16| {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&prefix.to_be_bytes());
        address[15] = host;
        if slot == ONLY4 { [0; 16] } else { address }
    };
    let ipv4 = |host| if slot == ONLY6 { [0; 4] } else { [192, 168, 1, host] };
    SlotEntry {
        key: key(slot),
        network,
        flags,
        ipv4: ipv4(host),
        broadcast: ipv4(255),
        ipv6: ipv6(0xfd00),
        link_local: ipv6(0xfe80),
    }
}

/// The identity of the programs of `slot`.
#[must_use]
pub fn identity(slot: Slot) -> Identity {
    let mut identity = Identity { entry: entry(slot), slot, mac: MAC, parent: FIRST, ..Identity::default() };
    match slot {
        VEPA_PARENT => identity.entry = SlotEntry { flags: WIRE | VEPA, ..entry(FIRST) },
        SLOW => identity.group_interval = 1_000_000_000,
        _ => {}
    }
    identity
}

/// Its tables, but for the slot under test, whose flags are its own.
pub struct World {
    pub(crate) me: (Slot, SlotEntry),
    pub(crate) affords_group: bool,
}

impl World {
    /// The seal that `slot` leaves on `frame`; 0 where there is nobody or nothing to seal.
    #[must_use]
    pub fn seal(&self, slot: Slot, frame: &[u8]) -> u32 {
        self.slot(slot).and_then(|sender| seal_of(sender, frame)).unwrap_or_default()
    }

    /// The seal that the parent `slot` leaves on the host's `frame`; 0 where there is nobody or nothing to seal.
    #[must_use]
    pub fn seal_of_host(&self, slot: Slot, frame: &[u8]) -> u32 {
        self.slot(slot).and_then(|parent| seal_of_host(parent, frame)).unwrap_or_default()
    }

    /// Every registered endpoint.
    fn endpoints(&self) -> impl Iterator<Item = (Slot, &SlotEntry)> {
        (FIRST..=LAST).filter_map(|slot| Some((slot, self.slot(slot)?))).filter(|(_, it)| it.network != 0)
    }
}

impl Tables for World {
    fn slot(&self, slot: Slot) -> Option<&SlotEntry> {
        let registered = ENTRIES.get(usize::from(slot)).filter(|it| it.key != [0; 2])?;
        Some(if slot == self.me.0 { &self.me.1 } else { registered })
    }

    fn afford_group(&self, _: Slot, _: u32) -> bool {
        self.affords_group
    }

    fn ipv4(&self, parent: Slot, address: [u8; 4]) -> Option<Slot> {
        if (parent, address) == (FIRST, HOST) {
            return Some(FIRST);
        }
        let [192, 168, 1, host] = address else { return None };
        let slot = Slot::from(host.checked_sub(100)?);
        let entry = self.slot(slot).filter(|it| it.network != 0 && parent == FIRST)?;
        (entry.ipv4 == address).then_some(slot)
    }

    fn ipv6(&self, parent: Slot, address: [u8; 16]) -> Option<Slot> {
        if (parent, address) == (FIRST, HOST6) {
            return Some(FIRST);
        }
        let mut endpoints = self.endpoints().filter(|_| parent == FIRST && address != [0; 16]);
        endpoints.find(|(_, it)| it.ipv6 == address || it.link_local == address).map(|(slot, _)| slot)
    }
}
