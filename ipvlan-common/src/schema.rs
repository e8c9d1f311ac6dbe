//! Names and sizes of maps and programs: one source for both sides.

use crate::Slot;

/// Part of the pin path. Raise it when a layout in [`crate::types`] or the meaning of a field changes.
pub const ABI_VERSION: u32 = 4;

/// Parents and endpoints that there is room for, together, where nothing else is asked for. Their slots run from 1.
pub const CAPACITY: Slot = 4096;
/// The most room that can be asked for: an endpoint with slot 0xFFFE, EUI-64's own filler, would share its parent's link-local
/// address.
pub const MAX_CAPACITY: Slot = 0xFFFD;
/// Slots in an object as it is compiled; slot 0 is nobody's.
pub const SLOTS: u32 = CAPACITY as u32 + 1;
/// Addresses, per family, in an object as it is compiled: an endpoint has up to two IPv6 addresses.
pub const ADDRESSES: u32 = 2 * SLOTS;
/// Pairs of slot and reason that are counted, in an object as it is compiled; beyond, frames are dropped uncounted.
pub const DROP_COUNTERS: u32 = 4 * SLOTS;

/// The maps that are made larger or smaller than they were compiled, with their entries.
#[must_use]
pub fn sized_maps(capacity: Slot) -> [(&'static str, u32); 6] {
    let scale = |compiled: u32| compiled / SLOTS * (u32::from(capacity) + 1);
    [
        (SLOT_MAP, scale(SLOTS)),
        (TRAFFIC_MAP, scale(SLOTS)),
        (GROUP_MAP, scale(SLOTS)),
        (IPV4_MAP, scale(ADDRESSES)),
        (IPV6_MAP, scale(ADDRESSES)),
        (DROP_MAP, scale(DROP_COUNTERS)),
    ]
}

/// How many entries `map` has with that `capacity`; `None` where its size is always the same.
#[must_use]
pub fn entries(map: &str, capacity: Slot) -> Option<u32> {
    sized_maps(capacity).into_iter().find(|(name, _)| *name == map).map(|(_, entries)| entries)
}

/// Broadcasts and multicasts that an endpoint may send at once before its rate limits it: a tenth of the queue that all
/// endpoints of a parent share (`IPVLAN_QBACKLOG_LIMIT`, Linux 6.12).
pub const GROUP_BURST: u64 = 100;
/// Bytes of the ring buffer that all programs report drops to: a power of two, and of pages.
pub const EVENT_BYTES: u32 = 256 << 10;

/// Array: [`crate::Slot`] → [`crate::SlotEntry`].
pub const SLOT_MAP: &str = "SLOTS";
/// Hash: [`crate::types::Ipv4Key`] → [`crate::Slot`].
pub const IPV4_MAP: &str = "IPV4";
/// Hash: [`crate::types::Ipv6Key`] → [`crate::Slot`].
pub const IPV6_MAP: &str = "IPV6";
/// Per-CPU array: [`crate::Slot`] → [`crate::types::Traffic`].
pub const TRAFFIC_MAP: &str = "TRAFFIC";
/// Per-CPU hash: [`crate::types::DropKey`] → number of frames, u64.
pub const DROP_MAP: &str = "DROPS";
/// Array: [`crate::Slot`] → the time, u64 of monotonic nanoseconds, up to which its broadcasts and multicasts are paid.
pub const GROUP_MAP: &str = "GROUPS";
/// Ring buffer of [`crate::DropEvent`].
pub const EVENT_MAP: &str = "EVENTS";
/// Array of one: the time, u64 of monotonic nanoseconds, up to which somebody reads the events; 0 where nobody does.
pub const MONITOR_MAP: &str = "MONITOR";
/// Per-CPU array of one: [`crate::event::EventBudget`].
pub const BUDGET_MAP: &str = "EVENT_BUDGET";
/// Program array: [`SHARED`], by their index there.
pub const SHARED_MAP: &str = "SHARED";
/// All of the shared maps.
pub const MAPS: [&str; 10] = [
    SLOT_MAP,
    IPV4_MAP,
    IPV6_MAP,
    TRAFFIC_MAP,
    DROP_MAP,
    GROUP_MAP,
    EVENT_MAP,
    MONITOR_MAP,
    BUDGET_MAP,
    SHARED_MAP,
];

/// Ring buffer of aya-log's, where the programs are built with the feature `log`; the crate names it. Nothing relies on it.
pub const LOG_MAP: &str = "AYA_LOGS";

/// The global in `.rodata` that holds a program's [`crate::Identity`].
pub const IDENTITY: &str = "IDENTITY";

/// tc egress of a slave.
pub const SLAVE_EGRESS: &str = "slave_egress";
/// tc ingress of a slave.
pub const SLAVE_INGRESS: &str = "slave_ingress";
/// tc ingress of a parent.
pub const PARENT_INGRESS: &str = "parent_ingress";
/// tc egress of a parent.
pub const PARENT_EGRESS: &str = "parent_egress";
/// tc egress of `lo`.
pub const LOOPBACK_EGRESS: &str = "loopback_egress";
/// XDP of a parent.
pub const PARENT_XDP: &str = "parent_xdp";
/// All programs that are attached.
pub const PROGRAMS: [&str; 6] =
    [SLAVE_EGRESS, SLAVE_INGRESS, PARENT_INGRESS, PARENT_EGRESS, LOOPBACK_EGRESS, PARENT_XDP];
/// What the programs of slaves call, once for all of them: egress, ingress, and requests for a neighbour.
pub const SHARED: [&str; 3] = ["endpoint_egress", "endpoint_ingress", "endpoint_request"];
/// Run, never attached: says where a socket's netns is.
pub const SOCKET_NETNS: &str = "socket_netns";
