//! The maps that all programs and the controller share, each pinned by its name.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
};
use ipvlan_common::{
    Slot, SlotEntry,
    schema::{ADDRESSES, DROP_COUNTERS, SLOTS as SLOT_COUNT},
    tables::Tables,
    types::{DropKey, Ipv4Key, Ipv6Key, Traffic},
};

#[map]
static SLOTS: Array<SlotEntry> = Array::pinned(SLOT_COUNT, 0);
#[map]
static IPV4: HashMap<Ipv4Key, Slot> = HashMap::pinned(ADDRESSES, BPF_F_NO_PREALLOC);
#[map]
static IPV6: HashMap<Ipv6Key, Slot> = HashMap::pinned(ADDRESSES, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::pinned(SLOT_COUNT, 0);
#[map]
pub(crate) static DROPS: PerCpuHashMap<DropKey, u64> =
    PerCpuHashMap::pinned(DROP_COUNTERS, BPF_F_NO_PREALLOC);

/// The maps as a verdict sees them.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn slot(&self, slot: Slot) -> Option<&SlotEntry> {
        SLOTS.get(u32::from(slot))
    }

    #[inline(always)]
    fn ipv4(&self, parent: Slot, address: [u8; 4]) -> Option<Slot> {
        // SAFETY: the map isn't preallocated, so a removed element isn't reused while a program runs.
        unsafe { IPV4.get(Ipv4Key::new(parent, address)) }.copied()
    }

    #[inline(always)]
    fn ipv6(&self, parent: Slot, address: [u8; 16]) -> Option<Slot> {
        // SAFETY: the map isn't preallocated, so a removed element isn't reused while a program runs.
        unsafe { IPV6.get(Ipv6Key::new(parent, address)) }.copied()
    }
}
