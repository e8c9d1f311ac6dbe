//! The maps that all programs and the controller share, each pinned by its name.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use ipvlan_common::{
    Slot, SlotEntry,
    event::EventBudget,
    schema::{ADDRESSES, DROP_COUNTERS, EVENT_BYTES, SLOTS as SLOT_COUNT},
    tables::{Tables, pay_group},
    types::{DropKey, Ipv4Key, Ipv6Key, Traffic},
};

#[map]
pub(crate) static SLOTS: Array<SlotEntry> = Array::pinned(SLOT_COUNT, 0);
#[map]
static IPV4: HashMap<Ipv4Key, Slot> = HashMap::pinned(ADDRESSES, BPF_F_NO_PREALLOC);
#[map]
static IPV6: HashMap<Ipv6Key, Slot> = HashMap::pinned(ADDRESSES, BPF_F_NO_PREALLOC);
/// Written by several CPUs without a lock: a frame more or less gets through, and none is dropped wrongly.
#[map]
static GROUPS: Array<u64> = Array::pinned(SLOT_COUNT, 0);
#[map]
pub(crate) static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::pinned(SLOT_COUNT, 0);
#[map]
pub(crate) static DROPS: PerCpuHashMap<DropKey, u64> =
    PerCpuHashMap::pinned(DROP_COUNTERS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::pinned(EVENT_BYTES, 0);
#[map]
pub(crate) static MONITOR: Array<u64> = Array::pinned(1, 0);
#[map]
pub(crate) static EVENT_BUDGET: PerCpuArray<EventBudget> = PerCpuArray::pinned(1, 0);

/// The maps as a verdict sees them.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn slot(&self, slot: Slot) -> Option<&SlotEntry> {
        SLOTS.get(u32::from(slot))
    }

    #[inline(always)]
    fn afford_group(&self, slot: Slot, interval: u32) -> bool {
        let Some(paid) = GROUPS.get_ptr_mut(u32::from(slot)) else {
            return false;
        };
        // SAFETY: the helper has no precondition.
        let now = unsafe { bpf_ktime_get_ns() };
        // SAFETY: the element is valid, aligned, and only ever used as a whole.
        match pay_group(unsafe { *paid }, now, interval) {
            Some(next) => {
                // SAFETY: as above.
                unsafe { *paid = next };
                true
            }
            None => false,
        }
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
